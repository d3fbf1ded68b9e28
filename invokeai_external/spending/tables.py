"""The tables of the spending record, and the door for what is in a file: what we never write there is damage.

Any program can write into the file. Each value that is read from it passes ``checked``, ``whole`` or ``text``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from functools import cache, lru_cache
from types import NoneType
from typing import get_args

from ..sqlite_files import is_table
from .recorded_call import State

__all__ = ["SCHEMA", "VERSION", "DamagedError", "check_tables", "checked", "highest_number", "text", "whole"]

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

_TABLES = ("calls", "sums", "boards", "warned", "facts")

_HIGHEST = 2**53
"""No call has a higher number; JavaScript has no integers beyond it."""

_FIRST_US, _LAST_US = -62_135_400_000_000_000, 253_402_100_000_000_000
"""The first and the last time that has a day in every time zone, in microseconds since the epoch."""

_STATES = frozenset(get_args(State))


class DamagedError(sqlite3.DatabaseError):
    """A file holds what this program never writes into a record."""


def check_tables(db: sqlite3.Connection) -> None:
    """Raise DamagedError unless our tables are in a file, as tables: a view could compute its rows for ever."""
    if not all(is_table(db, name) and _columns(db, name) == _our_columns()[name] for name in _TABLES):
        raise DamagedError


def checked(table: str, row: sqlite3.Row) -> sqlite3.Row:
    """A whole row of a table, whose values are what its columns may hold; raises DamagedError."""
    if not _may_be(table, tuple(map(type, row))):
        raise DamagedError
    if table == "calls":
        ended = row["started_at"] if row["settled_at"] is None else row["settled_at"]
        if not (
            row["state"] in _STATES
            and 0 < row["id"] <= _HIGHEST
            and all(_FIRST_US <= time <= _LAST_US for time in (row["started_at"], ended))
        ):
            raise DamagedError
    return row


def whole(value: object) -> int:
    """An integer, or 0 for a sum of nothing; raises DamagedError. A sum is one only if all that it adds are."""
    if value is None:
        return 0
    if type(value) is not int:
        raise DamagedError
    return value


def text(value: object) -> str | None:
    """A text, or nothing; raises DamagedError."""
    if value is not None and not isinstance(value, str):
        raise DamagedError
    return value


def highest_number(db: sqlite3.Connection) -> int:
    """The highest number that a call had; raises DamagedError if hardly any is left for the next one."""
    last = db.execute("SELECT max(seq) FROM sqlite_sequence WHERE name = 'calls'").fetchone()
    highest = max(whole(last[0]), whole(db.execute("SELECT max(id) FROM calls").fetchone()[0]))
    if highest > _HIGHEST:
        raise DamagedError
    return highest


@cache
def _our_columns() -> Mapping[str, list[tuple[object, ...]]]:
    with closing(sqlite3.connect(":memory:")) as empty:
        empty.executescript(SCHEMA)
        return {name: _columns(empty, name) for name in _TABLES}


@lru_cache(1000)
def _may_be(table: str, kinds: tuple[type, ...]) -> bool:
    """True if the columns of a table may hold values of these types; the rows of a record have few such tuples."""
    return all(
        kind is (int if declared == "INTEGER" else str) or (kind is NoneType and not (required or key))
        for kind, (_, _, declared, required, _, key, _) in zip(kinds, _our_columns()[table], strict=True)
    )


def _columns(db: sqlite3.Connection, table: str) -> list[tuple[object, ...]]:
    """The columns of a table: their places, names, types and so on, computed ones too."""
    return [tuple(row) for row in db.execute(f"PRAGMA table_xinfo({table})")]
