"""The SQLite file of the spending record."""

from __future__ import annotations

import logging
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from invokeai_external.errors import SpendingRecordError
from invokeai_external.spending.copies import write_copy
from invokeai_external.spending.database import BUSY_S, Database, opened

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


@contextmanager
def held(path: Path) -> Iterator[sqlite3.Connection]:
    """Another program writes in this block."""
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield other


class Answering(logging.Handler):
    """Does something at the first message."""

    def __init__(self, answer: Callable[[], object]) -> None:
        super().__init__()
        self.messages: list[str] = []
        self._answer = answer

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())
        self._answer()


@contextmanager
def answered(answer: Callable[[], object]) -> Iterator[list[str]]:
    """Do something at the first message of the log in this block; yields the messages."""
    said, log = Answering(answer), logging.getLogger("invokeai_external.spending.database")
    log.addHandler(said)
    try:
        yield said.messages
    finally:
        log.removeHandler(said)


@pytest.mark.parametrize("is_open", [False, True])
def test_a_wait_that_a_user_notices_is_said_and_goes_on(tmp_path: Path, is_open: bool) -> None:
    path = tmp_path / "spending.sqlite3"
    with closing(Database(path)) as database, database.transaction():
        pass
    waiting = Database(path, quiet_s=0)
    if is_open:
        with waiting.transaction():
            pass
    with held(path) as other, answered(lambda: other.execute("ROLLBACK")) as messages, waiting.transaction() as db:
        assert db.execute("PRAGMA busy_timeout").fetchone()[0] > 0
    [message] = messages
    assert str(path) in message
    waiting.close()


def test_a_copy_put_in_the_place_of_a_record_by_hand_can_be_opened_while_another_program_writes(tmp_path: Path) -> None:
    """Its journal is of another kind, and SQLite does not wait to change it: the transaction could not wait either."""
    path, copy = tmp_path / "spending.sqlite3", tmp_path / "copy.sqlite3"
    with closing(Database(path)) as database, database.transaction(writes=False) as db:
        write_copy(db, copy)
    with held(copy), closing(opened(copy, 0)) as db:
        assert db.execute("PRAGMA journal_mode").fetchone()[0] == "delete"
    with closing(opened(copy, 0)) as db:
        assert db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


def test_a_short_wait_is_not_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    database = Database(tmp_path / "spending.sqlite3")
    with database.transaction():
        pass
    with held(database.path), pytest.raises(SpendingRecordError), database.transaction(wait_s=0.01):
        pass
    with database.transaction() as db:
        # The end of a transaction waits as long as its beginning.
        assert db.execute("PRAGMA busy_timeout").fetchone()[0] == BUSY_S * 1000
    assert caplog.records == []
    database.close()


def test_a_transaction_is_durable_after_one_that_need_not_be_could_not_begin(tmp_path: Path) -> None:
    database = Database(tmp_path / "spending.sqlite3")
    with database.transaction():
        pass
    with held(database.path), pytest.raises(SpendingRecordError), database.transaction(is_durable=False, wait_s=0):
        pass
    with database.transaction() as db:
        assert db.execute("PRAGMA synchronous").fetchone()[0] == 2
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
