"""Copies of the spending record: what was copied comes back, calls in progress stay, and no number is given twice."""

from __future__ import annotations

import random
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from invokeai_external.errors import InvalidRequestError
from invokeai_external.spending.copies import CopyFile, write_copy
from invokeai_external.spending.limits import Budgets
from invokeai_external.spending.record import SpendingRecord
from invokeai_external.spending.recorded_call import Payer, PlannedCall, RecordedCall, Settlement
from invokeai_external.spending.rows import count, row_of


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spending.sqlite3"


@pytest.fixture
def record(path: Path) -> Iterator[SpendingRecord]:
    """The record as a running program has it open."""
    with closing(SpendingRecord(path)) as made:
        yield made


@pytest.fixture
def other(path: Path, record: SpendingRecord) -> Iterator[SpendingRecord]:
    """The same record, as the command line opens it."""
    with closing(SpendingRecord(path)) as made:
        yield made


def call(amount: int = 5, model: str = "m") -> PlannedCall:
    return PlannedCall(provider="p", model=model, n=1, expected=amount, at_most=amount, basis="exact")


def reserve(record: SpendingRecord, amount: int = 5) -> int:
    payer = Payer(user="anna", board_id="b", board="Foxes", tag="t")
    return record.reserve([call(amount)], payer, Budgets()).ids[0]


def paid(record: SpendingRecord, amount: int = 5) -> int:
    number = reserve(record, amount)
    record.settle(number, Settlement(state="charged", cost=amount, cost_from="prices", images=1))
    return number


def copied(record: SpendingRecord, path: Path) -> Path:
    with record.reading() as db:
        write_copy(db, path)
    return path


def restore(record: SpendingRecord, path: Path) -> None:
    record.release_ended()
    with closing(CopyFile(path)) as copy:
        record.restore(copy)


def rows(record: SpendingRecord) -> list[RecordedCall]:
    with record.reading() as db:
        return [row_of(row) for row in db.execute("SELECT * FROM calls ORDER BY id")]


def states(record: SpendingRecord) -> dict[int, str]:
    return {row.id: row.end.state for row in rows(record)}


def sums(record: SpendingRecord) -> dict[tuple[str, ...], tuple[int, ...]]:
    """The sums that are not zero."""
    with record.reading() as db:
        found = {tuple(row)[:3]: tuple(row)[3:] for row in db.execute("SELECT * FROM sums")}
    return {name: numbers for name, numbers in found.items() if any(numbers)}


def assert_sums_are_right(record: SpendingRecord, path: Path) -> None:
    with closing(SpendingRecord(path)) as again, again._database.transaction() as db:
        db.execute("DELETE FROM sums")
        for row in rows(record):
            count(db, row, 1)
    assert sums(record) == sums(again)


def test_what_was_copied_comes_back(record: SpendingRecord, other: SpendingRecord, tmp_path: Path) -> None:
    for amount in (1, 2, 3):
        paid(record, amount)
    before, before_sums = rows(record), sums(record)
    copy = copied(other, tmp_path / "copy")
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    paid(record, 100)
    restore(other, copy)
    assert (rows(record), sums(record)) == (before, before_sums)
    assert paid(record) == 5, "4 is the number of a call that was made"


def test_a_copy_is_not_written_over_a_file(record: SpendingRecord, tmp_path: Path) -> None:
    paid(record)
    (tmp_path / "copy").write_text("mine")
    with record.reading() as db, pytest.raises(FileExistsError):
        write_copy(db, tmp_path / "copy")
    assert (tmp_path / "copy").read_text() == "mine"
    assert not list(tmp_path.glob(".saving-*"))


def test_calls_in_progress_stay_and_are_settled(record: SpendingRecord, other: SpendingRecord, tmp_path: Path) -> None:
    ended, early = reserve(record), reserve(record)
    copy = copied(other, tmp_path / "copy")
    record.settle(ended, Settlement(state="charged", cost=3))
    late = reserve(record)
    restore(other, copy)
    # That the first was charged is not in the copy.
    assert states(record) == {ended: "unconfirmed", early: "reserved", late: "reserved"}
    assert_sums_are_right(record, tmp_path / "again")
    record.settle(early, Settlement(state="charged", cost=4))
    record.settle(late, Settlement(state="charged", cost=4))
    assert states(record) == {ended: "unconfirmed", early: "charged", late: "charged"}
    assert_sums_are_right(record, tmp_path / "again")


def test_a_copy_of_another_record_loses_no_call(record: SpendingRecord, other: SpendingRecord, tmp_path: Path) -> None:
    with closing(SpendingRecord(tmp_path / "elsewhere")) as elsewhere:
        for amount in (100, 200, 300):
            paid(elsewhere, amount)
        copy = copied(elsewhere, tmp_path / "copy")
    number = reserve(record)
    restore(other, copy)
    # It had the number of the call in progress.
    assert {row.id: row.end.cost for row in rows(record)} == {number: None, 2: 200, 3: 300, 4: 100}
    assert_sums_are_right(record, tmp_path / "again")
    assert reserve(record) == 5


def test_sums_of_days_without_calls_come_back(record: SpendingRecord, tmp_path: Path) -> None:
    with closing(SpendingRecord(tmp_path / "old", clock=lambda: 1_700_000_000.0)) as old:
        paid(old, 7)
        old._clock = lambda: 1_760_000_000.0
        old.release_ended()
        assert rows(old) == []
        copy = copied(old, tmp_path / "copy")
    restore(record, copy)
    assert sums(record)["total", "", "2023-11-14"] == (1, 1, 7, 0, 0, 7, 7)


def test_a_new_record_can_be_made_of_a_copy(record: SpendingRecord, tmp_path: Path) -> None:
    number = paid(record, 7)
    copy = copied(record, tmp_path / "copy")
    with closing(SpendingRecord(tmp_path / "new")) as new:
        restore(new, copy)
        assert rows(new) == rows(record)
        assert paid(new) == number + 1


@pytest.mark.parametrize("content", [b"", b"no database" * 500, None, "another", "newer", "half", "other columns"])
def test_another_file_is_refused_and_nothing_changes(
    record: SpendingRecord, tmp_path: Path, content: bytes | str | None
) -> None:
    paid(record)
    before = rows(record)
    copy = tmp_path / "copy"
    if isinstance(content, bytes):
        copy.write_bytes(content)
    elif content == "another":
        with closing(sqlite3.connect(copy)) as db:
            db.execute("CREATE TABLE calls (id)")
            db.execute("PRAGMA user_version = 1")
    elif content == "newer":
        with closing(sqlite3.connect(copied(record, copy))) as db:
            db.execute("PRAGMA user_version = 2")
    elif content == "other columns":
        with closing(sqlite3.connect(copied(record, copy))) as db:
            db.execute("ALTER TABLE calls RENAME COLUMN tag TO label")
    elif content == "half":
        whole = copied(record, copy).read_bytes()
        copy.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InvalidRequestError):
        restore(record, copy)
    assert rows(record) == before


def test_what_is_deleted_is_gone_from_the_disk(
    record: SpendingRecord, other: SpendingRecord, path: Path, tmp_path: Path
) -> None:
    for _ in range(50):
        paid(record)
    running = reserve(record)
    assert b"Foxes" in path.read_bytes() + path.with_name(f"{path.name}-wal").read_bytes()
    record.release_ended()
    assert other.delete() == 50
    assert states(record) == {running: "reserved"}
    assert_sums_are_right(record, tmp_path / "again")
    record.settle(running, Settlement(state="charged", cost=1))
    assert reserve(record) == running + 1
    record.close()
    other.close()
    with closing(SpendingRecord(path)) as again:
        again.release_ended()
        again.delete()
    assert b"Foxes" not in path.read_bytes()
    assert not path.with_name(f"{path.name}-wal").exists()


@pytest.mark.slow
def test_calls_go_on_while_copies_come_and_go(record: SpendingRecord, other: SpendingRecord, tmp_path: Path) -> None:
    """Whatever happens in between, each call that was settled last is there, and the sums are those of the calls."""
    chosen = random.Random(1)
    done = threading.Event()

    def use() -> None:
        while not done.is_set():
            number = reserve(record)
            record.sent(number)
            record.settle(number, Settlement(state="charged", cost=3))

    user = threading.Thread(target=use)
    user.start()
    try:
        copies = [copied(other, tmp_path / "copy-0")]
        for place in range(1, 12):
            match chosen.choice(["copy", "restore", "delete"]):
                case "copy":
                    copies.append(copied(other, tmp_path / f"copy-{place}"))
                case "restore":
                    restore(other, chosen.choice(copies))
                case _:
                    other.delete()
    finally:
        done.set()
        user.join()
    assert_sums_are_right(record, tmp_path / "again")
    with other.reading() as db:
        (highest,) = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'calls'").fetchone()
    assert reserve(record) == highest + 1
    assert set(states(record).values()) <= {"charged", "unconfirmed", "reserved"}
