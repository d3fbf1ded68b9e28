"""The spending record: limits hold, sums are those of the rows, and what is unclear is never free."""

from __future__ import annotations

import datetime
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from invokeai_external.errors import SpendingRecordError
from invokeai_external.result import Usage
from invokeai_external.spending.amounts import NANO
from invokeai_external.spending.limits import Amounts, Budget, Budgets, LimitExceededError, limits_of
from invokeai_external.spending.owners import owners_folder
from invokeai_external.spending.record import SpendingRecord
from invokeai_external.spending.recorded_call import Payer, PlannedCall, RecordedCall, Settlement
from invokeai_external.spending.rows import row_of

from ..support.clock import Clock
from .conftest import DAY_S, NOON

ONE_DOLLAR = Budgets(timezone="UTC", total=Budget(day_usd=1, month_usd=3))


def call(cents: int | None = 40, *, model: str = "gpt-image-2", provider: str = "openai") -> PlannedCall:
    amount = None if cents is None else cents * NANO // 100
    return PlannedCall(provider=provider, model=model, n=1, expected=amount, at_most=amount, basis="exact")


def reserve(record: SpendingRecord, *calls: PlannedCall, budgets: Budgets = ONE_DOLLAR, user: str | None = None) -> int:
    return record.reserve(calls or [call()], Payer(user=user), budgets).ids[0]


def charged(cents: int) -> Settlement:
    return Settlement(state="charged", cost=cents * NANO // 100, cost_from="prices", images=1)


def used(record: SpendingRecord, clock: Clock, budgets: Budgets = ONE_DOLLAR) -> Amounts:
    today = datetime.datetime.fromtimestamp(clock.now, datetime.UTC).date()
    limit = limits_of(budgets, provider="openai", model="openai/gpt-image-2", user=None, today=today)[0]
    return record.amounts(limit, budgets)


def rows(record: SpendingRecord) -> list[RecordedCall]:
    with record.reading() as db:
        return [row_of(row) for row in db.execute("SELECT * FROM calls ORDER BY id")]


def cents(*amounts: int) -> Amounts:
    return Amounts(*(amount * NANO // 100 for amount in amounts))


def test_what_is_reserved_counts_until_it_is_settled(record: SpendingRecord, clock: Clock) -> None:
    number = reserve(record)
    assert used(record, clock) == cents(0, 0, 40)
    record.sent(number)
    assert used(record, clock) == cents(0, 0, 40)
    record.settle(number, charged(25))
    assert used(record, clock) == cents(25, 0, 0)


@pytest.mark.parametrize(("state", "counts"), [("not_charged", cents(0, 0, 0)), ("unconfirmed", cents(0, 40, 0))])
def test_a_call_that_made_no_image(record: SpendingRecord, clock: Clock, state: str, counts: Amounts) -> None:
    record.settle(reserve(record), Settlement(state=state, error="timed_out"))  # type: ignore[arg-type]
    assert used(record, clock) == counts


def test_calls_that_could_exceed_a_limit_are_refused_whole(record: SpendingRecord, clock: Clock) -> None:
    reserve(record)
    with pytest.raises(LimitExceededError) as caught:
        reserve(record, call(), call())
    refusal = caught.value.refusal
    assert (refusal.limit.name, refusal.amounts) == ("total.day", cents(0, 0, 40))
    assert refusal.could_cost == 80 * NANO // 100
    assert refusal.resets_at == datetime.datetime(2026, 11, 30, tzinfo=datetime.UTC)
    assert used(record, clock) == cents(0, 0, 40)
    # To the limit itself.
    reserve(record, call(60))
    assert used(record, clock) == cents(0, 0, 100)


def test_a_cost_above_the_estimate_counts_in_full(record: SpendingRecord, clock: Clock) -> None:
    record.settle(reserve(record), charged(130))
    assert used(record, clock) == cents(130, 0, 0)


def test_each_limit_holds(record: SpendingRecord) -> None:
    budgets = Budgets(
        timezone="UTC",
        providers={"openai": Budget(day_usd=0.5)},
        models={"gemini/nano": Budget(day_usd=0.5)},
        users={"default": Budget(day_usd=0.5), "anna": Budget(day_usd=0.9)},
    )
    other = call(model="pro", provider="gemini")

    def refused(planned: PlannedCall, user: str | None = None) -> str | None:
        try:
            reserve(record, planned, budgets=budgets, user=user)
        except LimitExceededError as error:
            return error.refusal.limit.name
        return None

    assert [refused(call()), refused(call())] == [None, "providers.openai.day"]
    nano = call(model="nano", provider="gemini")
    assert [refused(nano), refused(nano)] == [None, "models.gemini/nano.day"]
    assert [refused(other, "bob"), refused(other, "bob")] == [None, "users.default.day"]
    assert [refused(other, "anna") for _ in range(3)] == [None, None, "users.anna.day"]
    assert refused(other, "carol") is None
    # Without users, no limit of a user applies.
    assert refused(other) is None


def test_unconfirmed_amounts_leave_the_limit_of_the_day_and_stay_in_that_of_the_month(
    record: SpendingRecord, clock: Clock
) -> None:
    budgets = Budgets(timezone="UTC", total=Budget(day_usd=1, month_usd=1.5))
    record.settle(reserve(record, call(90), budgets=budgets), Settlement(state="unconfirmed"))
    clock.now += DAY_S
    assert used(record, clock, budgets) == cents(0, 0, 0)
    with pytest.raises(LimitExceededError) as caught:
        reserve(record, call(90), budgets=budgets)
    assert caught.value.refusal.limit.name == "total.month"
    assert caught.value.refusal.amounts == cents(0, 90, 0)
    found = rows(record)
    # What was refused is recorded too.
    assert [(one.end.state, one.end.error) for one in found] == [
        ("unconfirmed", None),
        ("not_charged", "budget_exceeded"),
    ]
    assert record.confirm([found[0].id], charged=False) == (found[0].id,)
    reserve(record, call(90), budgets=budgets)


def test_what_a_user_says_of_an_unconfirmed_call(record: SpendingRecord, clock: Clock) -> None:
    numbers = [reserve(record, call(10)) for _ in range(3)]
    for number in numbers[:2]:
        record.settle(number, Settlement(state="unconfirmed"))
    # A call in progress cannot be settled by hand.
    assert record.confirm(numbers, charged=True) == tuple(numbers[:2])
    assert used(record, clock) == cents(20, 0, 10)
    # The states go forward only.
    assert record.confirm(numbers, charged=False) == ()


def test_a_clock_that_is_set_back_frees_nothing(record: SpendingRecord, clock: Clock) -> None:
    clock.now = datetime.datetime(2026, 12, 1, 0, 30, tzinfo=datetime.UTC).timestamp()
    record.settle(reserve(record, call(80)), charged(80))
    clock.now -= 3600
    assert used(record, clock) == cents(80, 0, 0)
    with pytest.raises(LimitExceededError):
        reserve(record)


@pytest.mark.parametrize(
    ("day", "hours"), [(datetime.date(2026, 3, 29), 23), (datetime.date(2026, 10, 25), 25)], ids=["23 h", "25 h"]
)
def test_days_of_23_and_25_hours(record: SpendingRecord, clock: Clock, day: datetime.date, hours: int) -> None:
    budgets = Budgets(timezone="Europe/Berlin", total=Budget(day_usd=1))
    start = datetime.datetime(day.year, day.month, day.day, tzinfo=ZoneInfo("Europe/Berlin")).timestamp()
    clock.now = start
    reserve(record, call(100), budgets=budgets)
    clock.now = start + hours * 3600 - 1
    with pytest.raises(LimitExceededError) as caught:
        reserve(record, budgets=budgets)
    assert caught.value.refusal.resets_at.timestamp() == start + hours * 3600
    clock.now += 1
    reserve(record, call(100), budgets=budgets)


def test_another_time_zone_counts_the_calls_again(record: SpendingRecord, clock: Clock) -> None:
    clock.now = datetime.datetime(2026, 11, 29, 23, 30, tzinfo=datetime.UTC).timestamp()
    reserve(record, call(70))
    clock.now += 3600
    assert used(record, clock) == cents(0, 0, 0)
    berlin = Budgets(timezone="Europe/Berlin", total=Budget(day_usd=1))
    # There it was the 30th already.
    assert used(record, clock, berlin) == cents(0, 0, 70)
    assert [one.day for one in rows(record)] == ["2026-11-30"]


def test_a_warning_is_given_once_in_each_period(record: SpendingRecord, clock: Clock) -> None:
    def warned(cents: int) -> list[tuple[str, int]]:
        found = record.reserve([call(cents)], Payer(), ONE_DOLLAR).warned
        return [(one.limit.name, one.amounts.used * 100 // NANO) for one in found]

    # With the call that is new.
    assert [warned(79), warned(1), warned(1)] == [[], [("total.day", 80)], []]
    clock.now += DAY_S
    assert warned(80) == [("total.day", 80)]


def test_a_limit_may_be_raised_until_a_day(record: SpendingRecord, clock: Clock) -> None:
    budgets = Budgets.model_validate(
        {"timezone": "UTC", "total": {"day_usd": 0.5, "raised": {"day_usd": 2, "until": "2026-11-30"}}}
    )
    for _ in range(2):
        reserve(record, call(150), budgets=budgets)
        clock.now += DAY_S
    with pytest.raises(LimitExceededError):
        reserve(record, call(150), budgets=budgets)


def test_calls_to_the_sandbox_count_nowhere(record: SpendingRecord, clock: Clock) -> None:
    [number] = record.reserve([call(500)], Payer(), ONE_DOLLAR, sandbox=True).ids
    record.settle(number, charged(500))
    assert used(record, clock) == cents(0, 0, 0)
    assert [(one.sandbox, one.end.cost) for one in rows(record)] == [(True, 5 * NANO)]


def test_a_row_has_all_that_is_known(record: SpendingRecord, clock: Clock) -> None:
    planned = PlannedCall(
        provider="openai",
        model="gpt-image-2",
        n=2,
        expected=3,
        at_most=5,
        basis="bounded",
        size="1024x1024",
        quality="low",
        prices_of="2026-11-29",
        prompt="a fox",
    )
    payer = Payer(host="invoke", user="anna", board_id="b1", board="Foxes", tag="client-a")
    [number] = record.reserve([planned], payer, Budgets()).ids
    clock.now += 20
    end = Settlement(
        state="charged",
        cost=4,
        cost_from="provider",
        computed=3,
        usage=Usage(input_text_tokens=9),
        images=2,
        image_hashes=("aa", "bb"),
        request_id="req_1",
    )
    record.settle(number, end)
    [found] = rows(record)
    day = datetime.datetime.fromtimestamp(NOON).date().isoformat()
    assert found == RecordedCall(number, planned, payer, end, NOON, NOON + 20, day)


def test_a_call_of_a_program_that_was_killed_may_have_been_charged(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "spending.sqlite3"
    program = f"""
import os, pathlib
from invokeai_external.spending.owners import owners_folder
from invokeai_external.spending.record import SpendingRecord
from invokeai_external.spending.limits import Budgets
from invokeai_external.spending.recorded_call import Payer, PlannedCall
record = SpendingRecord(pathlib.Path({str(path)!r}))
call = PlannedCall(provider="openai", model="m", n=1, expected=1, at_most=1, basis="exact")
record.reserve([call, call], Payer(), Budgets())
print("reserved", flush=True)
input()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "reserved\n"
        other = SpendingRecord(path)
        assert other.release_ended() == ()
        process.kill()
        process.wait()
    assert len(other.release_ended()) == 2
    assert [one.end.state for one in rows(other)] == ["unconfirmed", "unconfirmed"]
    assert list((tmp_path / "spending.sqlite3-owners").iterdir()) == []
    other.close()


@pytest.mark.parametrize("is_folder", [False, True])
@pytest.mark.parametrize("ends", [False, True])
def test_a_program_whose_file_was_deleted_makes_it_again_with_its_next_call(
    record: SpendingRecord, clock: Clock, is_folder: bool, ends: bool
) -> None:
    """Otherwise, another program takes its calls in progress for those of a program that was killed."""
    ended = reserve(record, call(1))
    reserve(record, call(2))
    folder = owners_folder(record.path)
    [file] = folder.iterdir()
    file.unlink()
    if is_folder:
        folder.rmdir()
    if ends:
        record.settle(ended, charged(1))
    else:
        reserve(record, call(3))
    assert list(folder.iterdir()) == [file]
    assert file.stat().st_mode & 0o777 == 0o600
    with closing(SpendingRecord(record.path, clock=clock)) as other:
        assert other.release_ended() == ()
    record.close()
    assert list(folder.iterdir()) == []


def test_closing_it_settles_what_is_in_progress(record: SpendingRecord, tmp_path: Path) -> None:
    number = reserve(record)
    record.close()
    assert [one.end.state for one in rows(record)] == ["unconfirmed"]
    # Its end may still be known.
    record.settle(number, charged(10))
    assert list((tmp_path / "spending.sqlite3-owners").iterdir()) == []


def test_a_copy_in_its_place_loses_no_call(record: SpendingRecord, clock: Clock, tmp_path: Path) -> None:
    number = reserve(record)
    with sqlite3.connect(tmp_path / "spending.sqlite3") as db:
        db.execute("DELETE FROM calls")
        db.execute("DELETE FROM sums")
    db.close()
    record.settle(number, charged(25))
    assert used(record, clock) == cents(25, 0, 0)


def test_single_calls_are_kept_for_400_days_and_the_sums_stay(record: SpendingRecord, clock: Clock) -> None:
    record.settle(reserve(record), charged(25))
    record.settle(reserve(record), Settlement(state="unconfirmed"))
    clock.now += 401 * DAY_S
    record.release_ended()
    # What may have been charged stays.
    assert [one.end.state for one in rows(record)] == ["unconfirmed"]
    with record.reading() as db:
        [found] = db.execute("SELECT calls, charged, unconfirmed FROM sums WHERE scope = 'total'").fetchall()
    assert tuple(found) == (2, 25 * NANO // 100, 40 * NANO // 100)


def test_its_files_can_be_read_by_their_owner_only(record: SpendingRecord, tmp_path: Path) -> None:
    reserve(record)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes.pop("spending.sqlite3-owners") == 0o700
    assert len(modes) == 3
    assert set(modes.values()) == {0o600}


def broken(path: Path, how: str) -> None:
    match how:
        case "not a database":
            path.write_bytes(b"no database" * 500)
        case "a folder":
            path.mkdir()
        case "newer":
            with sqlite3.connect(path) as db:
                db.execute("PRAGMA user_version = 2")
            db.close()


@pytest.mark.parametrize("how", ["not a database", "a folder", "newer"])
def test_a_file_that_cannot_be_used_is_an_error_and_stays_as_it_is(tmp_path: Path, how: str) -> None:
    path = tmp_path / "spending.sqlite3"
    broken(path, how)
    before = path.read_bytes() if path.is_file() else None
    record = SpendingRecord(path)
    with pytest.raises(SpendingRecordError) as caught:
        reserve(record)
    assert str(path) in caught.value.message
    assert ("data restore" in str(caught.value.hint)) == (how == "not a database")
    assert (path.read_bytes() if path.is_file() else None) == before
    record.close()


def test_a_full_disk_is_an_error_and_nothing_is_reserved(record: SpendingRecord, clock: Clock) -> None:
    reserve(record, call(10))
    with record.reading() as db:
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(SpendingRecordError):
        reserve(record, *[call(0)] * 1000)
    assert used(record, clock) == cents(0, 0, 10)


def test_nothing_of_it_needs_this_process(tmp_path: Path) -> None:
    """No lock stays after the file was closed: another program can delete it."""
    record = SpendingRecord(tmp_path / "spending.sqlite3")
    reserve(record)
    record.close()
    assert {path.name for path in tmp_path.iterdir()} == {"spending.sqlite3", "spending.sqlite3-owners"}


def test_a_limit_on_a_model_is_one_on_its_dated_snapshots(record: SpendingRecord) -> None:
    budgets = Budgets(timezone="UTC", models={"openai/gpt-image-2": Budget(day_usd=1)})
    dated = call(model="gpt-image-2-2026-09-08")
    reserve(record, call(), budgets=budgets)
    reserve(record, dated, budgets=budgets)
    for model in ("gpt-image-2", "gpt-image-2-2026-09-08", "gpt-image-2-2027-01-31"):
        with pytest.raises(LimitExceededError) as caught:
            reserve(record, call(model=model), budgets=budgets)
        assert caught.value.refusal.limit.name == "models.openai/gpt-image-2.day"
        assert caught.value.refusal.amounts == cents(0, 0, 80)
    # These are other models.
    for model in ("gpt-image-2.5-flare", "gpt-image-2-mini", "gpt-image-20"):
        reserve(record, call(90, model=model), budgets=budgets)
