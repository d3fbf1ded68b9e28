"""A record that holds what this program never writes is damaged: whoever reads it says so, and nothing is lost."""

from __future__ import annotations

import datetime
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from invokeai_external.errors import InvalidRequestError, SpendingRecordError
from invokeai_external.spending.bills import check_bill
from invokeai_external.spending.copies import CopyFile, write_copy
from invokeai_external.spending.limits import Budget, Budgets
from invokeai_external.spending.record import SpendingRecord
from invokeai_external.spending.recorded_call import Payer, PlannedCall, Settlement
from invokeai_external.spending.reports import call_of, latest_calls, spent_so_far, totals, unconfirmed, waiting
from invokeai_external.spending.rows import calendar_of

from ..support.clock import Clock
from .conftest import NOON

DAY = datetime.date(2026, 11, 1)
CALL = PlannedCall(provider="openai", model="m", n=1, expected=5, at_most=5, basis="exact")
LIMIT = Budgets(timezone="UTC", total=Budget(day_usd=1))
NO_LIMIT = Budgets(timezone="UTC")

WRONG_CALLS = [
    "state = 'odd'",
    "state = x'00'",
    "started_at = 'y'",
    "started_at = 9223372036854775807",
    "started_at = 9e999",
    "settled_at = -9223372036854775807",
    "at_most = 'x'",
    "at_most = 9e999",
    "model = x'00ff'",
    "model = CAST(x'ff' AS TEXT)",
    "images = 1.5",
    "sandbox = 'no'",
    "hashes = x'00'",
    "id = -3",
    "id = 9223372036854775807",
]
WRONG_SUMS = ["charged = 'abc'", "reserved = 9e999", "calls = x'ff'", "images = 0.5", "charged = 9223372036854775807"]


@pytest.fixture
def path(tmp_path: Path, record: SpendingRecord) -> Path:
    """A record with two calls that may have been charged."""
    for _ in range(2):
        [number] = record.reserve([CALL], Payer(user="anna"), NO_LIMIT).ids
        record.settle(number, Settlement(state="unconfirmed"))
    record.close()
    return tmp_path / "spending.sqlite3"


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        for statement in statements:
            db.execute(statement)


READERS: dict[str, Callable[[sqlite3.Connection], Any]] = {
    "latest": lambda db: latest_calls(db, 10),
    "waiting": lambda db: waiting(db, "unconfirmed"),
    "one": lambda db: [call_of(db, number) for number in (1, 2)],
    "by day": lambda db: totals(db, "day", since=DAY),
    "by model": lambda db: totals(db, "model", since=DAY),
    "of a user": lambda db: totals(db, "model", since=DAY, user="anna"),
    "so far": lambda db: spent_so_far(db, LIMIT, NOON),
    "unconfirmed": unconfirmed,
    "bill": lambda db: check_bill(db, "openai", DAY, 1),
}
OF_CALLS = ("latest", "waiting", "one")
OF_SUMS = ("by day", "so far", "bill")


def outcomes(path: Path) -> dict[str, str]:
    """How each reader ends: it reads, or says that the record is damaged."""
    found = {}
    for name, read in READERS.items():
        with closing(SpendingRecord(path)) as record:
            try:
                with record.reading() as db:
                    read(db)
                found[name] = "read"
            except SpendingRecordError as error:
                found[name] = "damaged" if "data restore" in str(error.hint) else "unusable"
    return found


@pytest.mark.parametrize("wrong", WRONG_CALLS)
def test_a_call_with_a_wrong_value_is_damage(path: Path, wrong: str) -> None:
    change(path, f"UPDATE calls SET {wrong} WHERE id = 2")
    found = outcomes(path)
    if wrong != "id = -3":
        assert {found[name] for name in OF_CALLS} - {"read"} == {"damaged"}
    assert found["latest"] == "damaged"


@pytest.mark.parametrize("wrong", WRONG_SUMS)
def test_a_sum_with_a_wrong_value_is_damage(path: Path, wrong: str, clock: Clock) -> None:
    # The second row is of another day: only together are the two largest integers too many.
    change(
        path,
        "INSERT INTO sums SELECT scope, who, '2026-11-30', calls, images, charged, unconfirmed, reserved, expected, "
        "compared FROM sums",
        f"UPDATE sums SET {wrong}",
    )
    found = outcomes(path)
    assert "damaged" in {found[name] for name in OF_SUMS}
    # Without a limit too, nothing is added to what is not a number.
    budgets = LIMIT if wrong == WRONG_SUMS[-1] else NO_LIMIT
    with closing(SpendingRecord(path, clock=clock)) as record, pytest.raises(SpendingRecordError):
        record.reserve([CALL], Payer(user="anna"), budgets)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT count(*) FROM calls").fetchone() == (2,)


def test_a_sum_never_becomes_too_large(path: Path, clock: Clock) -> None:
    change(path, "UPDATE sums SET reserved = 9223372036854775807")
    with closing(SpendingRecord(path, clock=clock)) as record, pytest.raises(SpendingRecordError):
        record.reserve([CALL], Payer(), NO_LIMIT)


def test_a_call_that_cannot_be_taken_out_of_a_sum_is_damage(path: Path, clock: Clock) -> None:
    """There is no integer for the opposite of the smallest one."""
    change(path, "UPDATE calls SET state = 'reserved', at_most = -9223372036854775808")
    with closing(SpendingRecord(path, clock=clock)) as record, pytest.raises(SpendingRecordError):
        record.reserve([CALL], Payer(), Budgets(timezone="Pacific/Kiritimati"))


def test_names_and_facts_with_wrong_values_are_damage(path: Path, clock: Clock) -> None:
    change(path, "UPDATE facts SET value = x'00'")
    with (
        closing(SpendingRecord(path, clock=clock)) as record,
        pytest.raises(SpendingRecordError),
        record.reading() as db,
    ):
        calendar_of(db)


@pytest.mark.parametrize("zone", ["Nowhere/Land", "../../etc/passwd", "\x1b[31m"])
def test_an_unknown_time_zone_is_that_of_this_computer(path: Path, clock: Clock, zone: str) -> None:
    with closing(SpendingRecord(path, clock=clock)) as record, record.reading() as db:
        db.execute("UPDATE facts SET value = ?", (zone,))
        assert calendar_of(db).zone is None


@pytest.mark.parametrize(
    "statements",
    [
        ("DROP TABLE sums",),
        ("DROP INDEX unconfirmed_calls",),
        ("ALTER TABLE calls RENAME TO others", "CREATE VIEW calls AS SELECT * FROM others"),
        ("ALTER TABLE sums ADD COLUMN more AS (charged * 2)",),
        ("UPDATE sqlite_sequence SET seq = 'x'",),
        ("UPDATE sqlite_sequence SET seq = 9223372036854775807",),
    ],
)
def test_tables_that_are_not_ours_are_damage(path: Path, statements: tuple[str, ...]) -> None:
    change(path, *statements)
    assert outcomes(path)["waiting"] == "damaged"


def test_the_database_of_another_program_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "invokeai.db"
    change(path, "CREATE TABLE images (name TEXT)")
    before = path.read_bytes()
    with closing(SpendingRecord(path)) as record, pytest.raises(SpendingRecordError):
        record.reserve([CALL], Payer(), NO_LIMIT)
    assert path.read_bytes() == before


@pytest.mark.parametrize("owner", ["../victim", "x\0y", "0123456789abcdef/../../victim"])
def test_an_owner_names_no_other_file(path: Path, owner: str) -> None:
    victim = path.with_name("victim")
    victim.touch()
    path.with_name(f"{path.name}-owners").joinpath("0123456789abcdef").mkdir(parents=True)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE calls SET state = 'sent', owner = ? WHERE id = 2", (owner,))
    with closing(SpendingRecord(path)) as record:
        assert [call.id for call in record.release_ended()] == [2]
    assert victim.exists()


def test_the_end_of_a_call_that_cannot_be_recorded_may_have_been_charged(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "spending.sqlite3"
    with closing(SpendingRecord(path, clock=clock)) as record:
        [number] = record.reserve([CALL], Payer(), NO_LIMIT).ids
        change(path, "CREATE TRIGGER refuse BEFORE UPDATE ON calls BEGIN SELECT raise(FAIL, 'no'); END")
        with pytest.raises(SpendingRecordError):
            record.settle(number, Settlement(state="charged", cost=5))
    change(path, "DROP TRIGGER refuse")
    with closing(SpendingRecord(path, clock=clock)) as record:
        assert [call.id for call in record.release_ended()] == [number]
        with record.reading() as db:
            assert waiting(db, "unconfirmed").at_most == 5


# Copies.


@pytest.mark.parametrize(
    "statements",
    [
        *((f"UPDATE calls SET {wrong} WHERE id = 2",) for wrong in WRONG_CALLS),
        *((f"UPDATE sums SET {wrong}",) for wrong in WRONG_SUMS[:-1]),
        ("UPDATE facts SET value = x'00'",),
        ("INSERT INTO boards VALUES ('b', x'00')",),
        ("INSERT INTO warned VALUES ('b', x'00', '')",),
        ("UPDATE sqlite_sequence SET seq = 'x'",),
        ("DROP TABLE boards", "CREATE VIEW boards AS SELECT 'b' AS id, 'Foxes' AS name"),
        ("DROP TABLE boards", "CREATE VIRTUAL TABLE boards USING fts5(id, name)"),
    ],
)
def test_a_damaged_copy_is_refused_and_nothing_changes(
    path: Path, tmp_path: Path, clock: Clock, statements: tuple[str, ...]
) -> None:
    with closing(SpendingRecord(path, clock=clock)) as record:
        with record.reading() as db:
            write_copy(db, tmp_path / "copy")
            before = list(map(tuple, db.execute("SELECT * FROM calls")))
        change(tmp_path / "copy", *statements)
        with pytest.raises(InvalidRequestError), closing(CopyFile(tmp_path / "copy")) as copy:
            record.restore(copy)
        with record.reading() as db:
            assert list(map(tuple, db.execute("SELECT * FROM calls"))) == before
