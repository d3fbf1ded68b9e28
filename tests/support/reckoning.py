"""The spending record against the sandbox's meter: call by call, to the nano-dollar."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from invokeai_external.root_folder import SPENDING_FILE
from invokeai_external.spending.amounts import nano
from invokeai_external.spending.record import SpendingRecord
from invokeai_external.spending.recorded_call import OPEN, RecordedCall
from invokeai_external.spending.rows import row_of

__all__ = ["Reckoning", "reckon", "rows_in"]


@dataclass(slots=True)
class Reckoning:
    """What the calls came to, in nano-dollars.

    Attributes:
        metered: By the sandbox's meter.
        charged: By the record.
        may_be: What the meter has of calls that may have been charged by the record.
        wrong: What should not be, as sentences.
    """

    metered: int = 0
    charged: int = 0
    may_be: int = 0
    wrong: list[str] = field(default_factory=list)


def rows_in(root: Path) -> list[RecordedCall]:
    """The rows of the record in a root folder."""
    record = SpendingRecord(root / SPENDING_FILE)
    try:
        with record.reading() as db:
            return [row_of(row) for row in db.execute("SELECT * FROM calls ORDER BY id")]
    finally:
        record.close()


def reckon(rows: Iterable[RecordedCall], log: Sequence[Mapping[str, Any]]) -> Reckoning:
    """Compare the rows of a record that has prompts with the sandbox's log of requests.

    Each prompt is that of one request, which may have several calls and tries.
    """
    found = Reckoning()
    texts = [str(entry).replace("'", '"') for entry in log]
    by_prompt: dict[str, list[RecordedCall]] = defaultdict(list)
    for row in rows:
        by_prompt[row.call.prompt or ""].append(row)
    for prompt, calls in by_prompt.items():
        tries = [entry for entry, text in zip(log, texts, strict=True) if f'"{prompt}"' in text]
        metered = sum(nano(entry["metered"]["usd"]) or 0 for entry in tries if entry["metered"])
        charged = sum(row.end.cost or 0 for row in calls if row.end.state == "charged")
        unclear = [row for row in calls if row.end.state == "unconfirmed"]
        found.metered += metered
        found.charged += charged
        found.may_be += metered - charged
        states = " ".join(f"{row.end.state} ({row.end.error})" for row in calls)
        outcomes = [(entry["outcome"], entry["metered"] and entry["metered"]["usd"]) for entry in tries]
        where = f"{prompt} {states}: metered {metered}, charged {charged}; {outcomes}"
        if any(row.end.state in OPEN for row in calls):
            found.wrong.append(f"still in progress: {where}")
        if charged > metered or (charged < metered and not unclear):
            found.wrong.append(f"not equal: {where}")
        bounds = [row.call.at_most for row in unclear]
        if None not in bounds and metered - charged > sum(bound or 0 for bound in bounds):
            found.wrong.append(f"above its bound: {where}")
        if any(row.end.cost is not None and row.end.cost > (row.call.at_most or row.end.cost) for row in calls):
            found.wrong.append(f"an overrun: {where}")
    return found
