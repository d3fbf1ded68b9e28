"""The rows of the spending record: what each says, how it is changed, and the sums that count it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from ..result import Usage
from .calendar_days import Calendar, is_time_zone
from .limits import Amounts, Limit, Scope
from .recorded_call import OPEN, Payer, PlannedCall, RecordedCall, Settlement
from .tables import DamagedError, checked, whole

__all__ = [
    "amounts_since",
    "calendar_of",
    "call_with",
    "count",
    "count_all",
    "facts_of",
    "insert",
    "insert_values",
    "row_of",
    "update",
    "used_of",
]

_TOKENS = tuple(name for name in Usage.__dataclass_fields__)

_SUMMED = ("calls", "images", "charged", "unconfirmed", "reserved", "expected", "compared")

_ADD = f"""
INSERT INTO sums VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (scope, who, day) DO UPDATE SET {", ".join(f"{name} = {name} + excluded.{name}" for name in _SUMMED)}
WHERE {" AND ".join(f"typeof({name}) = 'integer' AND typeof({name} + excluded.{name}) = 'integer'" for name in _SUMMED)}
"""
"""Adds to a row of ``sums``, unless that holds something else than integers, or their sum would."""


def _values_of(call: RecordedCall, owner: str | None) -> dict[str, Any]:
    """The columns of a row but for its number."""
    plan, payer, end = call.call, call.payer, call.end
    return {
        "state": end.state,
        "owner": owner,
        "day": call.day,
        "started_at": _micro(call.started_at),
        "settled_at": _micro(call.settled_at),
        "sandbox": int(call.sandbox),
        "imported": int(call.imported),
        **{name: getattr(payer, name) for name in ("host", "user", "board_id", "board", "tag")},
        **{name: getattr(plan, name) for name in ("provider", "model", "tier", "size", "quality", "n", "expected")},
        **{name: getattr(plan, name) for name in ("at_most", "basis", "prices_of", "prompt")},
        **{name: getattr(end, name) for name in ("cost", "cost_from", "computed", "images", "request_id", "error")},
        "hashes": " ".join(end.image_hashes) or None,
        **{name: getattr(end.usage, name, None) for name in _TOKENS},
    }


def row_of(row: sqlite3.Row) -> RecordedCall:
    """A call, from its whole row; raises DamagedError."""
    checked("calls", row)
    tokens = {name: row[name] for name in _TOKENS}
    return RecordedCall(
        id=row["id"],
        call=PlannedCall(
            **{name: row[name] for name in ("provider", "model", "tier", "size", "quality", "n", "expected")},
            **{name: row[name] for name in ("at_most", "basis", "prices_of", "prompt")},
        ),
        payer=Payer(**{name: row[name] for name in ("host", "user", "board_id", "board", "tag")}),
        end=Settlement(
            state=row["state"],
            usage=Usage(**tokens) if any(count is not None for count in tokens.values()) else None,
            image_hashes=tuple((row["hashes"] or "").split()),
            **{name: row[name] for name in ("cost", "cost_from", "computed", "images", "request_id", "error")},
        ),
        started_at=row["started_at"] / 1e6,
        settled_at=None if row["settled_at"] is None else row["settled_at"] / 1e6,
        day=row["day"],
        sandbox=bool(row["sandbox"]),
        imported=bool(row["imported"]),
    )


def insert(db: sqlite3.Connection, call: RecordedCall, owner: str | None) -> int:
    """Add a row, whose number the database chooses, and count it; return the number."""
    number = insert_values(db, _values_of(call, owner))
    count(db, call, 1)
    if call.payer.board_id and call.payer.board and not call.imported:
        # Most calls are for a board whose name is there already.
        db.execute(
            "INSERT INTO boards VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET name = excluded.name "
            "WHERE name <> excluded.name",
            (call.payer.board_id, call.payer.board),
        )
    return number


def insert_values(db: sqlite3.Connection, values: Mapping[str, Any]) -> int:
    """Add a row with these columns, which is not counted; return its number."""
    marks = ", ".join("?" * len(values))
    cursor = db.execute(f"INSERT INTO calls ({', '.join(values)}) VALUES ({marks})", tuple(values.values()))
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def update(db: sqlite3.Connection, before: RecordedCall, after: RecordedCall, owner: str | None) -> None:
    """Change a row, and what counts."""
    values = _values_of(after, owner)
    assignments = ", ".join(f"{name} = ?" for name in values)
    db.execute(f"UPDATE calls SET {assignments} WHERE id = ?", (*values.values(), before.id))
    count(db, before, -1)
    count(db, after, 1)


def count(db: sqlite3.Connection, call: RecordedCall, times: int) -> None:
    """Add a call to the sums of its day, or take it out of them (``times`` is -1); raises DamagedError."""
    count_all(db, [(call, times)])


def count_all(db: sqlite3.Connection, calls: Iterable[tuple[RecordedCall, int]]) -> None:
    """Add many calls to the sums of their days, or take them out; they are added up before anything is written."""
    sums: dict[tuple[str, str, str], tuple[int, ...]] = {}
    for call, times in calls:
        numbers = _numbers_of(call)
        for place in _places_of(call):
            before = sums.get(place) or (0,) * len(numbers)
            sums[place] = tuple(one + times * more for one, more in zip(before, numbers, strict=True))
    try:
        done = db.executemany(_ADD, [(*place, *numbers) for place, numbers in sums.items()]).rowcount
    except OverflowError:
        raise DamagedError from None
    if done != len(sums):
        raise DamagedError


def _numbers_of(call: RecordedCall) -> tuple[int, ...]:
    """What a call adds to each of its sums."""
    plan, end = call.call, call.end
    at_most = plan.at_most or 0
    amounts = {
        "charged": (end.cost or 0, 0, 0),
        "unconfirmed": (0, at_most, 0),
        "not_charged": (0, 0, 0),
        **dict.fromkeys(OPEN, (0, 0, at_most)),
    }[end.state]
    # What you confirmed is the most that it can have been, which says nothing about the estimate.
    is_compared = end.state == "charged" and plan.expected is not None and end.cost_from is not None
    compared = (plan.expected or 0, end.cost or 0) if is_compared else (0, 0)
    return (1, end.images, *amounts, *compared)


def _places_of(call: RecordedCall) -> list[tuple[str, str, str]]:
    """The rows of ``sums`` in which a call is counted: scope, who and day."""
    plan, payer = call.call, call.payer
    names = {
        "total": "",
        "provider": plan.provider,
        "model": plan.reference,
        "user": payer.user,
        "board": payer.board_id,
        "tag": payer.tag,
    }
    apart = "sandbox " if call.sandbox else "imported " if call.imported else ""
    return [(f"{apart}{scope}", who, call.day) for scope, who in names.items() if who is not None]


def amounts_since(db: sqlite3.Connection, scope: Scope, who: str, first_day: str) -> Amounts:
    """What counts from a day on, of a model with its dated snapshots.

    Later days than today's are counted too: a clock that was set back frees nothing.
    """
    is_this, values = "who = ?", [who]
    if scope == "model":
        # A hyphen and a digit; the colon follows the nine.
        is_this, values = "(who = ? OR who >= ? AND who < ?)", [who, f"{who}-0", f"{who}-:"]
    found = db.execute(
        f"SELECT sum(charged), sum(unconfirmed), sum(reserved) FROM sums WHERE scope = ? AND {is_this} AND day >= ?",
        (scope, *values, first_day),
    ).fetchone()
    return Amounts(*map(whole, found))


def used_of(db: sqlite3.Connection, limit: Limit, calendar: Calendar, today: date) -> Amounts:
    """What counts against a limit on a day."""
    return amounts_since(db, limit.scope, limit.who, calendar.first_day(limit.period, today).isoformat())


def call_with(db: sqlite3.Connection, number: int) -> RecordedCall | None:
    """The call with a number; None if there is no such call."""
    row = db.execute("SELECT * FROM calls WHERE id = ?", (number,)).fetchone()
    return row_of(row) if row else None


def facts_of(db: sqlite3.Connection) -> Mapping[str, str | None]:
    """The facts about the record by their names."""
    return {row["name"]: checked("facts", row)["value"] for row in db.execute("SELECT * FROM facts")}


def calendar_of(db: sqlite3.Connection) -> Calendar:
    """The days that the record counts by; those of this computer if it does not know that time zone."""
    zone = facts_of(db).get("zone")
    return Calendar(zone if zone and is_time_zone(zone) else None)


def _micro(time: float | None) -> int | None:
    return None if time is None else round(time * 1e6)
