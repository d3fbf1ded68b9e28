"""Fills a spending record with made-up calls, of every kind that the page shows."""

from __future__ import annotations

import datetime
import random
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from invokeai_external.spending.amounts import NANO
from invokeai_external.spending.calendar_days import Calendar
from invokeai_external.spending.database import Database
from invokeai_external.spending.recorded_call import Payer, PlannedCall, RecordedCall, Settlement
from invokeai_external.spending.rows import insert

__all__ = ["call", "clear", "fill", "many_calls"]

MODELS = (("openai", "gpt-image-2.5-flare"), ("openai", "gpt-image-2"), ("gemini", "gemini-nano-banana-2.1"))


def call(
    at: float,
    *,
    state: str = "charged",
    usd: float = 0.04,
    at_most_usd: float | None = 0.05,
    user: str | None = None,
    host: str = "invoke",
    provider: str = "openai",
    model: str = "gpt-image-2.5-flare",
    error: str | None = None,
    images: int = 1,
    request_id: str | None = None,
    board: str | None = None,
    zone: str | None = None,
) -> RecordedCall:
    """A call at a time, in seconds since the epoch."""
    is_charged = state == "charged"
    return RecordedCall(
        id=0,
        call=PlannedCall(
            provider=provider,
            model=model,
            n=max(1, images),
            expected=round(usd * NANO),
            at_most=None if at_most_usd is None else round(at_most_usd * NANO),
            basis="table",
            size="1024x1024",
            quality="medium",
        ),
        payer=Payer(host=host, user=user, board_id=board and f"id-of-{board}", board=board),
        end=Settlement(
            state=state,  # type: ignore[arg-type]
            cost=round(usd * NANO) if is_charged else None,
            cost_from="prices" if is_charged else None,
            images=images if is_charged else 0,
            request_id=request_id,
            error=error,
        ),
        started_at=at,
        settled_at=at + 12,
        day=Calendar(zone).day_of(at).isoformat(),
    )


def many_calls(count: int, now: float, users: tuple[str | None, ...] = (None,)) -> list[RecordedCall]:
    """Calls of the last 31 days, the oldest first, of every kind; always the same ones for the same arguments."""
    chance = random.Random(count)
    step = datetime.timedelta(days=31).total_seconds() / max(1, count)
    kinds = [("charged", None)] * 16 + [
        ("unconfirmed", "timed_out"),
        ("not_charged", "budget_exceeded"),
        ("not_charged", "content_blocked"),
        ("not_charged", "unavailable"),
    ]
    made = []
    for number in range(count):
        state, error = kinds[number % len(kinds)]
        provider, model = MODELS[number % len(MODELS)]
        usd = round(chance.uniform(0.005, 0.06), 4)
        made.append(
            call(
                now - (count - number) * step,
                state=state,
                error=error,
                usd=usd,
                at_most_usd=round(usd * 1.3, 4),
                provider=provider,
                model=model,
                user=users[number % len(users)],
                board=("foxes", None)[number % 2],
            )
        )
    return made


def fill(path: Path, calls: Iterable[RecordedCall]) -> list[int]:
    """Write calls to a record, which is made if it is not there; return their numbers."""
    database = Database(path)
    try:
        with database.transaction() as db:
            return [insert(db, replace(each, id=0), None) for each in calls]
    finally:
        database.close()


def clear(path: Path) -> None:
    """Forget every call, as if the record were new, though programs have it open."""
    database = Database(path)
    try:
        with database.transaction() as db:
            for table in ("calls", "sums", "warned"):
                db.execute(f"DELETE FROM {table}")
    finally:
        database.close()
