"""The SQLite file of the spending record."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from invokeai_external.errors import SpendingRecordError
from invokeai_external.spending.database import Database

pytestmark = pytest.mark.slow


def test_what_a_record_has_can_be_read_while_another_program_writes(tmp_path: Path) -> None:
    path = tmp_path / "spending.sqlite3"
    first, second = Database(path), Database(path)
    with first.transaction(), second.transaction(writes=False, wait_s=0) as db:
        assert db.execute("SELECT count(*) FROM calls").fetchone()[0] == 0
    with first.transaction(), pytest.raises(SpendingRecordError), second.transaction(wait_s=0):
        pass
    for database in (first, second):
        database.close()


def test_a_thread_waits_for_another_no_longer_than_for_other_programs(tmp_path: Path) -> None:
    database = Database(tmp_path / "spending.sqlite3")
    errors: list[SpendingRecordError] = []

    def ask() -> None:
        with pytest.raises(SpendingRecordError) as caught, database.transaction(wait_s=0.01):
            pass
        errors.append(caught.value)

    with database.transaction():
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join(20)
    assert len(errors) == 1
    database.close()


def test_the_remedy_fits_the_reason(tmp_path: Path) -> None:
    newer = Database(tmp_path / "newer.sqlite3")
    with newer.transaction() as db:
        db.execute("PRAGMA user_version = 1000")
    newer.close()
    remedies = [error_of(newer)]
    (tmp_path / "text.sqlite3").write_text("no database" * 100)
    (tmp_path / "folder.sqlite3").mkdir()
    remedies += [error_of(Database(tmp_path / f"{name}.sqlite3")) for name in ("text", "folder")]
    gone = Database(tmp_path / "gone" / "record.sqlite3")
    with gone.transaction():
        pass
    shutil.rmtree(tmp_path / "gone")
    remedies.append(error_of(gone))
    assert not (tmp_path / "gone").exists()
    assert len(set(remedies)) == len(remedies)


def error_of(database: Database) -> str | None:
    with pytest.raises(SpendingRecordError) as caught, database.transaction():
        pass
    return caught.value.hint


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
