"""Copies of the spending record, and deleting what is in it, while other programs use it.

Their calls in progress stay in every case: their programs settle them by their numbers, and no number is given twice.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from ..errors import InvalidRequestError
from ..regular_files import take_name, temporary_file
from ..sqlite_files import opened_to_read
from .rows import call_with, count, insert_values, row_of
from .tables import VERSION, check_tables, checked, highest_number

__all__ = ["CopyFile", "clear", "replace_by", "write_copy"]

_REMEDY = "Name a file that 'invokeai-external data backup' has written."

_OTHERS = ("warned", "boards", "facts")
"""The small tables."""


def write_copy(db: sqlite3.Connection, path: Path) -> int:
    """Write what a record holds at this moment into a new file, for its owner only; return how many calls it has.

    Args:
        db: The record, as ``SpendingRecord.reading`` gives it.
        path: The new file.

    Raises:
        OSError: It cannot be written, or there is such a file.
    """
    # Before anything is written; the name is taken only if it is still free then.
    if path.exists():
        raise FileExistsError
    with temporary_file(path.parent, ()) as temporary:
        with closing(sqlite3.connect(temporary, isolation_level=None)) as copy:
            db.backup(copy)
            # One file, which other disks can hold too.
            copy.execute("PRAGMA journal_mode = DELETE")
            (calls,) = copy.execute("SELECT count(*) FROM calls").fetchone()
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        take_name(temporary, path)
    return int(calls)


class CopyFile:
    """A file that ``write_copy`` has written, opened to be read.

    Args:
        path: The file.

    Raises:
        InvalidRequestError: It is not there, is damaged, or is another file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            raise InvalidRequestError(f"There is no file {path}.", remedy=_REMEDY)
        if not path.is_file():
            raise self._error("is not a regular file")
        try:
            self.db = opened_to_read(path)
        except sqlite3.Error:
            raise self._error("cannot be opened") from None
        try:
            self.db.row_factory = sqlite3.Row
            (version,) = self.db.execute("PRAGMA user_version").fetchone()
            if version > VERSION:
                raise self._error("was written by a newer version of this program")
            check_tables(self.db)
            if self.db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                raise self._error("is damaged")
            self.highest = highest_number(self.db)
            (self.calls,) = self.db.execute("SELECT count(*) FROM calls").fetchone()
        except sqlite3.Error:
            self.db.close()
            raise self._error("is not a copy of a spending record") from None
        except InvalidRequestError:
            self.db.close()
            raise

    def rows(self, table: str) -> Iterator[sqlite3.Row]:
        """The rows of a table, calls in the order of their numbers; raises InvalidRequestError if one is damaged."""
        try:
            for row in self.db.execute(f"SELECT * FROM {table} ORDER BY 1"):
                yield checked(table, row)
        except sqlite3.Error:
            raise self._error("is damaged") from None

    def close(self) -> None:
        """Close it."""
        self.db.close()

    def _error(self, what: str) -> InvalidRequestError:
        return InvalidRequestError(f"{self.path} {what}.", remedy=_REMEDY)


def replace_by(db: sqlite3.Connection, copy: CopyFile) -> int:
    """Put a copy in the place of what a record holds; return how many calls it has now.

    Args:
        db: The record, in a transaction that writes; calls in progress are those of running programs.
        copy: The copy.

    Raises:
        InvalidRequestError: The copy is damaged.
    """
    running = _open_rows(db)
    highest = max(highest_number(db), copy.highest)
    db.execute("DELETE FROM calls")
    db.execute("DELETE FROM sums")
    for table in ("sums", *_OTHERS):
        for row in copy.rows(table):
            db.execute(f"INSERT OR IGNORE INTO {table} VALUES ({', '.join('?' * len(row))})", tuple(row))
    in_progress: list[sqlite3.Row] = []

    def ended() -> Iterator[sqlite3.Row]:
        for row in copy.rows("calls"):
            if row["owner"] is None and row["id"] not in running:
                yield row
            else:
                in_progress.append(row)

    # A record may have hundreds of thousands of calls.
    width = len(db.execute("SELECT * FROM calls LIMIT 0").description)
    db.executemany(f"INSERT INTO calls VALUES ({', '.join('?' * width)})", ended())
    for row in in_progress:
        values: dict[str, Any] = dict(row)
        mine = running.get(row["id"])
        if mine and _is_same(mine, row):
            # It is in progress still.
            count(db, row_of(row), -1)
            continue
        if mine:
            highest += 1
            values["id"] = highest
        if row["owner"] is not None:
            count(db, row_of(row), -1)
            values |= {"state": "unconfirmed", "owner": None}
        insert_values(db, values)
        if row["owner"] is not None and (call := call_with(db, values["id"])):
            count(db, call, 1)
    for row in running.values():
        insert_values(db, dict(row))
        count(db, row_of(row), 1)
    db.execute("DELETE FROM sqlite_sequence WHERE name = 'calls'")
    db.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('calls', ?)", (highest,))
    (calls,) = db.execute("SELECT count(*) FROM calls").fetchone()
    return int(calls)


def clear(db: sqlite3.Connection) -> int:
    """Delete all calls but those in progress, all sums and all names; return how many calls were deleted.

    Args:
        db: The record, in a transaction that writes.
    """
    # What is deleted is overwritten too.
    db.execute("PRAGMA secure_delete = ON")
    deleted = db.execute("DELETE FROM calls WHERE owner IS NULL").rowcount
    for table in ("sums", "warned", "boards"):
        db.execute(f"DELETE FROM {table}")
    for row in _open_rows(db).values():
        count(db, row_of(row), 1)
    return deleted


def _open_rows(db: sqlite3.Connection) -> dict[int, sqlite3.Row]:
    return {row["id"]: row for row in db.execute("SELECT * FROM calls WHERE owner IS NOT NULL")}


def _is_same(mine: sqlite3.Row, other: sqlite3.Row) -> bool:
    return all(mine[name] == other[name] for name in ("started_at", "provider", "model", "at_most"))
