"""The SQLite file of the spending record."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from invokeai_external.spending.database import Database

pytestmark = pytest.mark.slow


def test_a_second_connection_of_a_program_leaves_the_locks_of_the_first(tmp_path: Path) -> None:
    """A system that forgets them would let another program delete the log of the database, with what is in it."""
    path = tmp_path / "spending.sqlite3"
    first, second = Database(path), Database(path)
    for database in (first, second):
        with database.transaction() as db:
            db.execute("INSERT OR REPLACE INTO facts VALUES ('zone', 'UTC')")
    other = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute('SELECT * FROM facts').fetchall()"
    subprocess.run([sys.executable, "-c", f"{other}; db.close()", path], check=True)
    assert path.with_name(f"{path.name}-wal").exists()
    with first.transaction(writes=False) as db:
        assert db.execute("SELECT value FROM facts").fetchone()[0] == "UTC"
    for database in (first, second):
        database.close()
