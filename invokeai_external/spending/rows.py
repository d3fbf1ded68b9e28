"""The tables of the spending record, and what a row of them says."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from datetime import date
from typing import Any

from ..result import Usage
from .calendar_days import Calendar
from .limits import Amounts, Limit, Scope
from .recorded_call import OPEN, Payer, PlannedCall, RecordedCall, Settlement

__all__ = [
    "SCHEMA",
    "VERSION",
    "amounts_since",
    "call_with",
    "count",
    "facts_of",
    "insert",
    "insert_values",
    "row_of",
    "update",
    "used_of",
]

VERSION = 1
"""The format of the file: its ``user_version``."""

SCHEMA = """
CREATE TABLE calls (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    state TEXT NOT NULL, owner TEXT, day TEXT NOT NULL, started_at INTEGER NOT NULL, settled_at INTEGER,
    sandbox INTEGER NOT NULL, imported INTEGER NOT NULL,
    host TEXT NOT NULL, user TEXT, board_id TEXT, board TEXT, tag TEXT,
    provider TEXT NOT NULL, model TEXT NOT NULL, tier TEXT NOT NULL, size TEXT, quality TEXT, n INTEGER NOT NULL,
    expected INTEGER, at_most INTEGER, basis TEXT NOT NULL, prices_of TEXT, prompt TEXT,
    cost INTEGER, cost_from TEXT, computed INTEGER, images INTEGER NOT NULL, hashes TEXT, request_id TEXT, error TEXT,
    input_text_tokens INTEGER, input_image_tokens INTEGER, output_text_tokens INTEGER, output_image_tokens INTEGER,
    total_tokens INTEGER
);
CREATE INDEX calls_by_time ON calls (started_at);
CREATE INDEX open_calls ON calls (owner) WHERE owner IS NOT NULL;
CREATE INDEX unconfirmed_calls ON calls (day) WHERE state = 'unconfirmed';
CREATE INDEX calls_of_users ON calls (user, started_at) WHERE user IS NOT NULL;
CREATE TABLE sums (
    scope TEXT NOT NULL, who TEXT NOT NULL, day TEXT NOT NULL,
    calls INTEGER NOT NULL, images INTEGER NOT NULL,
    charged INTEGER NOT NULL, unconfirmed INTEGER NOT NULL, reserved INTEGER NOT NULL,
    expected INTEGER NOT NULL, compared INTEGER NOT NULL,
    PRIMARY KEY (scope, who, day)
) WITHOUT ROWID;
CREATE TABLE boards (id TEXT PRIMARY KEY, name TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE warned (
    name TEXT NOT NULL, who TEXT NOT NULL, first_day TEXT NOT NULL, PRIMARY KEY (name, who, first_day)
) WITHOUT ROWID;
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
"""
"""``calls`` has a row for each call. Amounts are in nano-dollars, times in microseconds since the epoch, and ``day`` is
that of the time zone in ``facts``. ``owner`` is the program whose call is in progress. ``sums`` has what the calls of a
day come to: of all (``total``), of a provider, a model, a user, a board, a tag; those of the sandbox's calls and of
imported ones have separate scopes. ``expected`` is what the charged ones were expected to cost, ``compared`` what
those with an estimate did cost. ``boards`` has the newest name of each board, ``warned`` the warnings that were
given."""

_TOKENS = tuple(name for name in Usage.__dataclass_fields__)

_ADD = """
INSERT INTO sums VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (scope, who, day) DO UPDATE SET
    calls = calls + excluded.calls, images = images + excluded.images, charged = charged + excluded.charged,
    unconfirmed = unconfirmed + excluded.unconfirmed, reserved = reserved + excluded.reserved,
    expected = expected + excluded.expected, compared = compared + excluded.compared
"""


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
    """A call, from its row."""
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
    """Add a call to the sums of its day, or take it out of them (``times`` is -1)."""
    plan, payer, end = call.call, call.payer, call.end
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
    numbers = tuple(times * number for number in (1, end.images, *amounts, *compared))
    names = {
        "total": "",
        "provider": plan.provider,
        "model": plan.reference,
        "user": payer.user,
        "board": payer.board_id,
        "tag": payer.tag,
    }
    apart = "sandbox " if call.sandbox else "imported " if call.imported else ""
    db.executemany(
        _ADD, [(f"{apart}{scope}", who, call.day, *numbers) for scope, who in names.items() if who is not None]
    )


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
    return Amounts(*(amount or 0 for amount in found))


def used_of(db: sqlite3.Connection, limit: Limit, calendar: Calendar, today: date) -> Amounts:
    """What counts against a limit on a day."""
    return amounts_since(db, limit.scope, limit.who, calendar.first_day(limit.period, today).isoformat())


def call_with(db: sqlite3.Connection, number: int) -> RecordedCall | None:
    """The call with a number; None if there is no such call."""
    row = db.execute("SELECT * FROM calls WHERE id = ?", (number,)).fetchone()
    return row_of(row) if row else None


def facts_of(db: sqlite3.Connection) -> Mapping[str, str | None]:
    """The facts about the record by their names."""
    return dict(db.execute("SELECT name, value FROM facts").fetchall())


def _micro(time: float | None) -> int | None:
    return None if time is None else round(time * 1e6)
