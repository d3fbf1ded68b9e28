"""Opens SQLite files that other programs wrote, to read them: what is in them runs no code and is looked at first."""

from __future__ import annotations

import sqlite3
import urllib.parse
from pathlib import Path

__all__ = ["is_table", "opened_to_read"]

_WAIT_S = 2.0
"""How long a read waits for a program that writes."""


def opened_to_read(path: Path) -> sqlite3.Connection:
    """A file, which is not changed; raises sqlite3.Error, if not now, then at the first read."""
    # Not as_uri(): SQLite refuses the host in that of a network share of Windows.
    uri = f"file:{urllib.parse.quote(str(path.absolute()))}?mode=ro"
    db = sqlite3.connect(uri, uri=True, timeout=_WAIT_S, isolation_level=None)
    # Nothing in its schema calls functions that have effects.
    db.execute("PRAGMA trusted_schema = OFF")
    return db


def is_table(db: sqlite3.Connection, name: str) -> bool:
    """True if a name is that of a table: a view or a virtual table may compute its rows for ever."""
    found = db.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND rootpage > 0 AND name = ?", (name,))
    return found.fetchone() is not None
