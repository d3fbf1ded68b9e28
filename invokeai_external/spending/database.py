"""The SQLite file of the spending record: opened, with its transactions, its format and its permissions."""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import SpendingRecordError
from ..file_systems import is_on_network
from .tables import SCHEMA, VERSION, DamagedError, check_tables, highest_number

__all__ = ["BUSY_S", "SOON_S", "Database", "opened"]

BUSY_S = 30.0
"""How long a transaction waits for those of other programs, of which each takes milliseconds."""

SOON_S = 5.0
"""How long it waits if nothing that was paid for depends on it."""

_NOT_SQLITE, _DAMAGED, _NO_FOLDER = "it is not an SQLite file", "it is damaged", "its folder was deleted"

_OTHER_FILE = "To use another file, set spending_record in invokeai_external.yaml."
_MAKE_USABLE = f"Correct its permissions or those of its folder. {_OTHER_FILE}"
_REPLACE = (
    "Move it to another folder; a new one is made. If you have a copy, put it in its place: invokeai-external data "
    "restore FILE"
)

_IN_USE, _FULL, _NEWER = "another program holds it", "the disk is full", "a newer version of this program made it"
_DISK_ERROR, _OF_ANOTHER = "the disk reports an error", "it belongs to another program"

_REMEDIES = {
    _NOT_SQLITE: _REPLACE,
    _DAMAGED: _REPLACE,
    _NO_FOLDER: f"Make the folder again. {_OTHER_FILE}",
    _IN_USE: "Close the program that holds it, or wait until that is done with it; then try again.",
    _FULL: f"Make room on its disk. {_OTHER_FILE}",
    os.strerror(errno.ENOSPC): f"Make room on its disk. {_OTHER_FILE}",
    _NEWER: f"Update this program. {_OTHER_FILE}",
    _DISK_ERROR: f"Check its disk. {_OTHER_FILE}",
    _OF_ANOTHER: _OTHER_FILE,
}
"""What to do about the reasons for which it is not the permissions."""

_REASONS = {
    "database is locked": _IN_USE,
    "database or disk is full": _FULL,
    "file is not a database": _NOT_SQLITE,
    "database disk image is malformed": _DAMAGED,
    "attempt to write a readonly database": "it cannot be written",
    "unable to open database file": "it cannot be opened",
    "disk I/O error": _DISK_ERROR,
}
"""What SQLite's sentences mean to somebody who uses this program."""

_SIGNS_OF_DAMAGE = ("no such ", "malformed ", "integer overflow", "Could not decode to UTF-8")
"""How SQLite's other sentences about a damaged record begin."""

_LOG_PAGES = 100
"""How long SQLite's log becomes before it is used again from its start: in the place of what is there, a transaction is
on the disk in half the time. By default it grows for the first hundreds of calls."""

_log = logging.getLogger(__name__)

_CREATING = threading.Lock()
"""Held while the file is made, so that no thread opens it before it is closed again."""


class Database:
    """The file, which is opened at the first use and may be used by several threads, one after the other.

    Args:
        path: The file; it and its folder are made if they are not there.
        quiet_s: How long it waits for other programs without a word.
    """

    def __init__(self, path: Path, *, quiet_s: float = 1.0) -> None:
        self.path, self._quiet_s = path, quiet_s
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._opened: os.stat_result | None = None

    @contextmanager
    def transaction(
        self, *, writes: bool = True, is_durable: bool = True, wait_s: float = BUSY_S
    ) -> Iterator[sqlite3.Connection]:
        """A transaction, which is committed unless an error leaves the block.

        Args:
            writes: False to read only, which does not wait for others.
            is_durable: False if a power failure right afterwards may undo it.
            wait_s: How long it waits for others.

        Raises:
            SpendingRecordError: The file cannot be used.
        """
        # Another thread may wait for another program, and for longer than this one may.
        if not self._lock.acquire(timeout=wait_s):
            raise self.error(_IN_USE)
        try:
            db = self._begun(wait_s, writes=writes, is_durable=is_durable)
            try:
                yield db
                db.execute("COMMIT")
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise self.error(_reason(error)) from error
        except OSError as error:
            raise self.error(error.strerror or "it cannot be opened") from error
        finally:
            self._lock.release()

    def _begun(self, wait_s: float, *, writes: bool, is_durable: bool) -> sqlite3.Connection:
        """The file with a transaction, which has waited for others for so long; logs a wait that a user notices.

        Raises sqlite3.Error or OSError.
        """

        def begun(wait_s: float) -> sqlite3.Connection:
            db = self._usable(wait_s)
            db.execute(f"PRAGMA synchronous = {'FULL' if is_durable else 'NORMAL'}")
            db.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
            return db

        if wait_s <= self._quiet_s:
            return begun(wait_s)
        try:
            db = begun(self._quiet_s)
        except sqlite3.OperationalError as error:
            if _reason(error) != _IN_USE:
                raise
            left_s = wait_s - self._quiet_s
            _log.warning(
                "Another program holds the spending record %s. Waiting for it, for up to %.0f s.", self.path, left_s
            )
            return begun(left_s)
        # Where readers hold up a writer, its end waits too.
        db.execute(f"PRAGMA busy_timeout = {wait_s * 1000:.0f}")
        return db

    def _usable(self, wait_s: float) -> sqlite3.Connection:
        """The file, opened, which waits for others for so long; raises sqlite3.Error or OSError.

        A deleted file that is still open could be written, and nobody would ever read it.
        """
        if self._connection and not self._is_still_there():
            self.close()
        if self._connection is None:
            if self._opened and not self.path.parent.is_dir():
                raise OSError(0, _NO_FOLDER)
            self._connection = opened(self.path, wait_s)
            self._opened = self.path.stat()
        self._connection.execute(f"PRAGMA busy_timeout = {wait_s * 1000:.0f}")
        return self._connection

    def _is_still_there(self) -> bool:
        try:
            return self._opened is not None and os.path.samestat(self._opened, self.path.stat())
        except OSError:
            return False

    def compact(self) -> None:
        """Leave nothing of what was deleted in the files, as far as no other program reads them at this moment."""
        with self._lock, suppress(sqlite3.Error):
            if self._connection:
                self._connection.execute("VACUUM")
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def error(self, reason: str) -> SpendingRecordError:
        """The error for a file that cannot be used."""
        return SpendingRecordError(
            f"The spending record {self.path} cannot be used: {reason}.",
            remedy=_REMEDIES.get(reason, _MAKE_USABLE),
        )

    @property
    def is_open(self) -> bool:
        """True from the first use until it is closed."""
        return self._connection is not None

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._connection:
                with suppress(sqlite3.Error):
                    self._connection.close()
                self._connection = None


def opened(path: Path, wait_s: float) -> sqlite3.Connection:
    """The file, ready to be used; raises sqlite3.Error or OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # SQLite gives its other files the permissions of this one. Only a new file is opened here: to close it would also
    # end the locks of this program's other connections to it, and then another program may delete their log.
    with _CREATING, suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600))
    # Transactions are begun here and not by Python; a lock keeps threads apart.
    db = sqlite3.connect(path, timeout=wait_s, isolation_level=None, check_same_thread=False)
    try:
        db.row_factory = sqlite3.Row
        _refuse_others(db)
        _use_journal(db, path)
        db.execute("PRAGMA synchronous = FULL")
        db.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
        # Nothing in its schema calls functions that have effects.
        db.execute("PRAGMA trusted_schema = OFF")
        _create(db)
        check_tables(db)
        highest_number(db)
    except BaseException:
        db.close()
        raise
    return db


def _use_journal(db: sqlite3.Connection, path: Path) -> None:
    """Use WAL, but on a network disk: what it shares between programs is memory, which computers do not share."""
    try:
        db.execute(f"PRAGMA journal_mode = {'DELETE' if is_on_network(path) else 'WAL'}")
    except sqlite3.OperationalError as error:
        # To change it, SQLite does not wait for a program that writes. The next time will do.
        if _reason(error) != _IN_USE:
            raise


def _reason(error: sqlite3.Error) -> str:
    """Why the record cannot be used."""
    if isinstance(error, DamagedError) or str(error).startswith(_SIGNS_OF_DAMAGE):
        return _DAMAGED
    return _REASONS.get(str(error), "SQLite reports an error")


def _version(db: sqlite3.Connection) -> int:
    """The format of the file, 0 for a new one."""
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    return version


def _refuse_others(db: sqlite3.Connection) -> None:
    """Raise OSError for the database of a newer version or of another program, before anything is changed."""
    # Read at one moment: another program may be making the tables.
    db.execute("BEGIN")
    version, content = _version(db), db.execute("SELECT 1 FROM sqlite_master").fetchone()
    db.execute("COMMIT")
    if version > VERSION:
        raise OSError(0, _NEWER)
    if version == 0 and content:
        raise OSError(0, _OF_ANOTHER)


def _create(db: sqlite3.Connection) -> None:
    """Make the tables of a new file. A file that has them can be read while another program writes."""
    if _version(db) != 0:
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        if _version(db) == 0:
            for statement in SCHEMA.split(";"):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {VERSION}")
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")
