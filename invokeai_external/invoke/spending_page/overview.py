"""What the page shows of the spending record, as JSON: amounts in USD, times in ISO format."""

from __future__ import annotations

import datetime
import sqlite3
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...errors import BudgetExceededError
from ...spending.amounts import usd
from ...spending.calendar_days import Calendar
from ...spending.limits import Amounts, Budgets, Limit, every_limit, limits_of
from ...spending.recorded_call import OPEN, RecordedCall
from ...spending.reports import By, Total, failed_on, latest_calls, spent_so_far, totals, unconfirmed
from ...spending.rows import calendar_of, used_of
from .viewer import Viewer

__all__ = ["CHART_DAYS", "all_limits", "chart", "iso_time", "more_like", "overview", "run", "runs", "usual_seconds"]

CHART_DAYS = 31
"""How many days the charts show."""

_LOOKED_AT = 200
"""How many of the newest calls are read to find the last one that was charged, and how long calls take."""


def overview(db: sqlite3.Connection, viewer: Viewer, budgets: Budgets, now: float) -> dict[str, Any]:
    """What a user has spent today and this month, the limits, and what needs the user."""
    calendar = calendar_of(db)
    today = calendar.day_of(now)
    so_far = spent_so_far(db, budgets, now, user=viewer.only)
    limits = [*all_limits(db, budgets, viewer, calendar, today)]
    unsettled = unconfirmed(db, user=viewer.only)
    newest = latest_calls(db, _LOOKED_AT, user=viewer.only)
    refused, last_refused = failed_on(db, today, BudgetExceededError.code, user=viewer.only)
    return {
        "day": _period(so_far.today.first_day, so_far.today.amounts, so_far.today.resets_at),
        "month": _period(so_far.month.first_day, so_far.month.amounts, so_far.month.resets_at),
        "limits": [_limit(db, limit, calendar, today) for limit in limits],
        "last": _last(db, newest, viewer, budgets, calendar, today),
        "unconfirmed": {
            "calls": unsettled.calls,
            "at_most_usd": usd(unsettled.at_most),
            "unknown": unsettled.unknown,
            "up_to": unsettled.last,
        },
        "refused_today": {"runs": refused, "last": last_refused},
    }


def all_limits(
    db: sqlite3.Connection, budgets: Budgets, viewer: Viewer, calendar: Calendar, today: datetime.date
) -> Iterator[Limit]:
    """The limits that a user sees: all of them, or those of this user."""
    names = [viewer.only] if viewer.only is not None else _spenders(db, budgets, calendar.first_day("month", today))
    if viewer.only is None:
        yield from (limit for limit in every_limit(budgets, today) if limit.scope != "user")
    for name in names:
        found = limits_of(budgets, provider="", model="", user=name, today=today)
        yield from (limit for limit in found if limit.scope == "user")


def _spenders(db: sqlite3.Connection, budgets: Budgets, first_day: datetime.date) -> list[str]:
    """The users who have another limit than the others, and those who have spent something this month."""
    spent = [total.who for total in totals(db, "user", since=first_day) if total.who]
    return sorted({*(name for name in budgets.users if name != "default"), *spent})


def _limit(db: sqlite3.Connection, limit: Limit, calendar: Calendar, today: datetime.date) -> dict[str, Any]:
    amounts = used_of(db, limit, calendar, today)
    return {
        "name": limit.name,
        "scope": limit.scope,
        "who": limit.who,
        "period": limit.period,
        "limit_usd": usd(limit.amount),
        "left_usd": usd(max(0, limit.amount - amounts.used)),
        "is_nearly_used": amounts.used >= limit.warn_at * limit.amount,
        "resets_at": calendar.end_of(limit.period, today).isoformat(),
        **_amounts_usd(amounts),
    }


def _period(first_day: datetime.date, amounts: Amounts, resets_at: datetime.datetime) -> dict[str, Any]:
    return {"first_day": first_day.isoformat(), "resets_at": resets_at.isoformat(), **_amounts_usd(amounts)}


def _amounts_usd(amounts: Amounts) -> dict[str, Any]:
    return {
        "used_usd": usd(amounts.used),
        "charged_usd": usd(amounts.charged),
        "unconfirmed_usd": usd(amounts.unconfirmed),
        "in_progress_usd": usd(amounts.reserved),
    }


def _last(
    db: sqlite3.Connection,
    newest: Sequence[RecordedCall],
    viewer: Viewer,
    budgets: Budgets,
    calendar: Calendar,
    today: datetime.date,
) -> dict[str, Any] | None:
    """The last call that was charged, and how many more images like it the limits allow."""
    last = next((call for call in newest if call.end.state == "charged" and call.end.cost and call.end.images), None)
    if last is None:
        return None
    limits = limits_of(budgets, provider=last.call.provider, model=last.call.reference, user=viewer.name, today=today)
    left = [(limit.amount - used_of(db, limit, calendar, today).used, limit.name) for limit in limits]
    room, name = min(left, default=(None, None))
    assert last.end.cost
    return {
        "model": last.call.reference,
        "usd": usd(last.end.cost // last.end.images),
        "more": None if room is None else more_like(room, last.end.cost, last.call.at_most, last.end.images),
        "limit": name,
    }


def more_like(left: int, cost: int, at_most: int | None, images: int) -> int:
    """How many more images like those of a call fit in what is left of a limit.

    A call may start if the most that it can cost fits, and then only what it has cost counts.
    """
    room = left - max(cost, at_most or 0)
    return (room // cost + 1) * images if room >= 0 else 0


def is_refused(call: RecordedCall) -> bool:
    """True if a limit did not allow a call."""
    return call.end.error == BudgetExceededError.code


def runs(calls: Sequence[RecordedCall], viewer: Viewer, names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Calls as the list of runs shows them.

    Args:
        calls: The calls.
        viewer: Who sees them.
        names: The names of models by their references.
    """
    return [run(call, viewer, names) for call in calls]


def run(call: RecordedCall, viewer: Viewer, names: Mapping[str, str]) -> dict[str, Any]:
    """One call as the list of runs shows it; an administrator does not see the boards of others."""
    plan, end, is_own = call.call, call.end, viewer.is_payer(call)
    cost = end.cost if end.state == "charged" else None
    return {
        "id": call.id,
        "at": iso_time(call.started_at),
        "seconds": None if call.settled_at is None else round(call.settled_at - call.started_at, 1),
        "model": plan.reference,
        "model_name": names.get(plan.reference, plan.model),
        "size": plan.size,
        "quality": plan.quality,
        "n": plan.n,
        "images": end.images,
        "state": "in_progress" if end.state in OPEN else end.state,
        "cost_usd": usd(cost),
        "at_most_usd": usd(plan.at_most),
        "is_overrun": bool(cost and plan.at_most is not None and cost > plan.at_most),
        "is_refused": is_refused(call),
        "error": end.error,
        "host": call.payer.host,
        "user": call.payer.user if viewer.is_admin else None,
        "board": call.payer.board if is_own or call.payer.host != "invoke" else None,
        "tag": call.payer.tag,
        "sandbox": call.sandbox,
        "imported": call.imported,
        "may_settle": end.state == "unconfirmed" and viewer.may_settle(call),
        "image": None,
        "notices": [],
    }


def usual_seconds(db: sqlite3.Connection) -> dict[str, float]:
    """How long the last calls to each model usually took, by its reference."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    for call in latest_calls(db, _LOOKED_AT, kind="paid"):
        if call.end.images and call.settled_at is not None:
            found[call.call.reference].append(call.settled_at - call.started_at)
    return {model: round(statistics.median(seconds), 1) for model, seconds in found.items()}


def chart(db: sqlite3.Connection, viewer: Viewer, names: Mapping[str, str], now: float) -> dict[str, Any]:
    """What the last days come to, by day, model and, for an administrator, user.

    Args:
        db: The record.
        viewer: Who sees it.
        names: The names of models by their references.
        now: Seconds since the epoch.
    """
    last = calendar_of(db).day_of(now)
    first = last - datetime.timedelta(days=CHART_DAYS - 1)
    days = {total.who: total for total in totals(db, "day", since=first, user=viewer.only)}
    dates = [(first + datetime.timedelta(days=number)).isoformat() for number in range(CHART_DAYS)]
    by: tuple[By, ...] = ("model", "user") if viewer.is_admin else ("model",)
    return {
        "days": [_bar(days.get(date) or Total(who=date, name=date), {}) for date in dates],
        **{
            f"{name}s": [_bar(total, names) for total in totals(db, name, since=first, user=viewer.only)] for name in by
        },
    }


def _bar(total: Total, names: Mapping[str, str]) -> dict[str, Any]:
    return {
        "name": names.get(total.who or "", total.name),
        "charged_usd": usd(total.charged),
        "unconfirmed_usd": usd(total.unconfirmed),
        "images": total.images,
    }


def iso_time(time: float) -> str:
    """Seconds since the epoch as the page gets them."""
    return datetime.datetime.fromtimestamp(time, datetime.UTC).isoformat(timespec="seconds")
