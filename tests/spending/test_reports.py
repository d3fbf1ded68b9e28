"""What is read from the spending record: totals, today and this month, and single calls."""

from __future__ import annotations

import datetime
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from invokeai_external.spending.amounts import NANO
from invokeai_external.spending.limits import Amounts, Budget, Budgets
from invokeai_external.spending.record import SpendingRecord
from invokeai_external.spending.recorded_call import Payer, PlannedCall, Settlement, State
from invokeai_external.spending.reports import (
    By,
    Total,
    call_of,
    latest_calls,
    spent_so_far,
    sum_of,
    totals,
    waiting,
)

from ..support.clock import Clock
from .conftest import DAY_S

TODAY = datetime.date(2026, 11, 29)
UTC = Budgets(timezone="UTC")
EVER = datetime.date.min


Make = Callable[..., int]


@pytest.fixture
def make(record: SpendingRecord) -> Make:
    """Records a call: what it was expected to cost, what became of it, and what it cost."""

    def make(
        expected: int | None = 40,
        state: State = "charged",
        cost: int | None = None,
        *,
        model: str = "openai/gpt-image-2",
        sandbox: bool = False,
        **payer: str | None,
    ) -> int:
        provider, name = model.split("/")
        amount = None if expected is None else expected * NANO // 100
        planned = PlannedCall(
            provider=provider, model=name, n=1, expected=amount, at_most=amount and amount * 2, basis="bounded"
        )
        [number] = record.reserve([planned], Payer(**payer), UTC, sandbox=sandbox).ids  # type: ignore[arg-type]
        if state == "charged":
            paid = (cost if cost is not None else expected or 0) * NANO // 100
            record.settle(number, Settlement(state=state, cost=paid, cost_from="prices", images=1))
        elif state != "reserved":
            record.settle(number, Settlement(state=state, error="timed_out"))
        return number

    return make


def seen(record: SpendingRecord, by: By, **options: object) -> list[tuple[str | None, int, int, int, int]]:
    """Of each total: its name, its calls, and its charged, unconfirmed and reserved amounts in cents."""
    with record.reading() as db:
        found = totals(db, by, since=EVER, **options)  # type: ignore[arg-type]

    def cents(amount: int) -> int:
        return amount * 100 // NANO

    return [
        (each.name, each.calls, cents(each.charged), cents(each.unconfirmed), cents(each.reserved)) for each in found
    ]


def test_days_come_in_their_order_and_others_from_the_dearest_on(
    record: SpendingRecord, make: Make, clock: Clock
) -> None:
    make(40)
    make(10, "unconfirmed")
    clock.now += DAY_S
    make(30, model="gemini/nano")
    make(5, "reserved", model="gemini/nano")
    make(5, "not_charged", model="gemini/pro")
    assert seen(record, "day") == [("2026-11-29", 2, 40, 20, 0), ("2026-11-30", 3, 30, 0, 10)]
    assert seen(record, "model") == [
        ("openai/gpt-image-2", 2, 40, 20, 0),
        ("gemini/nano", 2, 30, 0, 10),
        ("gemini/pro", 1, 0, 0, 0),
    ]
    assert seen(record, "provider") == [("openai", 2, 40, 20, 0), ("gemini", 3, 30, 0, 10)]
    with record.reading() as db:
        [only] = totals(db, "provider", since=datetime.date(2026, 11, 30))
        assert only.name == "gemini"
        [only] = totals(db, "provider", since=EVER, until=TODAY)
        assert only.name == "openai"


def test_calls_without_a_user_a_board_or_a_tag_have_a_total_too(record: SpendingRecord, make: Make) -> None:
    make(10, user="anna", tag="client-a")
    make(20, user="bob")
    make(40)
    assert seen(record, "user") == [(None, 1, 40, 0, 0), ("bob", 1, 20, 0, 0), ("anna", 1, 10, 0, 0)]
    assert seen(record, "tag") == [(None, 2, 60, 0, 0), ("client-a", 1, 10, 0, 0)]
    assert seen(record, "board") == [(None, 3, 70, 0, 0)]


def test_a_board_has_its_newest_name(record: SpendingRecord, make: Make) -> None:
    make(10, board_id="b1", board="Foxes")
    make(20, board_id="b2", board="Foxes")
    make(30, board_id="b1", board="Red foxes")
    make(1, board_id="b3")
    assert seen(record, "board") == [("Red foxes", 2, 40, 0, 0), ("Foxes", 1, 20, 0, 0), ("b3", 1, 1, 0, 0)]


def test_those_of_one_user_are_those_of_a_record_with_this_user_only(
    record: SpendingRecord, clock: Clock, tmp_path: Path
) -> None:
    """They are summed from the single calls, and all others from the sums of each day."""
    chosen = random.Random(1)
    alone = SpendingRecord(tmp_path / "alone.sqlite3", clock=clock)
    for _ in range(60):
        clock.now += chosen.random() * DAY_S / 4
        user = chosen.choice(["anna", "bob"])
        payer = Payer(user=user, board_id=chosen.choice([None, "b1"]), tag=chosen.choice([None, "t"]))
        amount = chosen.choice([None, 0, 3, 5])
        call = PlannedCall(
            provider="p", model=chosen.choice("mn"), n=1, expected=amount, at_most=amount, basis="bounded"
        )
        cost = chosen.choice([1, 2])
        end = chosen.choice(
            [
                Settlement(state="charged", cost=cost, cost_from="prices", images=cost),
                Settlement(state="unconfirmed"),
                Settlement(state="not_charged"),
                None,
            ]
        )
        for each in [record, alone] if user == "anna" else [record]:
            [number] = each.reserve([call], payer, UTC).ids
            if end:
                each.settle(number, end)
    with record.reading() as db, alone.reading() as other:
        for by in get_args(By):
            if by != "user":
                assert totals(db, by, since=EVER, user="anna") == totals(other, by, since=EVER)
        # From the sums.
        [of_anna] = totals(db, "user", since=EVER, user="anna")
        assert replace(of_anna, who=None, name=None) == sum_of(totals(other, "day", since=EVER))
    alone.close()


def test_calls_to_the_sandbox_are_kept_apart(record: SpendingRecord, make: Make) -> None:
    make(40, sandbox=True)
    assert seen(record, "model") == []
    assert seen(record, "model", kind="sandbox") == [("openai/gpt-image-2", 1, 40, 0, 0)]
    with record.reading() as db:
        assert [call.sandbox for call in latest_calls(db, 9)] == [True]
        assert latest_calls(db, 9, kind="paid") == ()


def test_estimates_are_compared_with_what_calls_did_cost(record: SpendingRecord, make: Make) -> None:
    make(40, cost=50)
    make(None, cost=70)
    make(40, "unconfirmed")
    # What you confirm counts at the most that it can be, which says nothing about the estimate.
    record.confirm([make(10, "unconfirmed")], charged=True)
    with record.reading() as db:
        [total] = totals(db, "model", since=EVER)
    assert (total.expected, total.compared, total.charged) == (4 * NANO // 10, 5 * NANO // 10, 14 * NANO // 10)


def test_what_today_and_this_month_come_to(record: SpendingRecord, make: Make, clock: Clock) -> None:
    make(30, user="anna")
    clock.now += 3 * DAY_S
    make(10, user="anna")
    make(5, "unconfirmed")
    clock.now += DAY_S
    make(1, "reserved", user="anna")
    budgets = Budgets(
        timezone="UTC", total=Budget(day_usd=5), users={"default": Budget(month_usd=3), "bob": Budget(day_usd=9)}
    )

    def cents(*amounts: int) -> Amounts:
        return Amounts(*(amount * NANO // 100 for amount in amounts))

    with record.reading() as db:
        found = spent_so_far(db, budgets, clock.now)
        assert (found.today.amounts, found.month.amounts) == (cents(0, 0, 2), cents(10, 10, 2))
        assert found.today.limit
        assert (found.today.limit.name, found.today.limit.amount, found.month.limit) == ("total.day", 5 * NANO, None)
        assert found.today.first_day == datetime.date(2026, 12, 3)
        assert found.month.resets_at == datetime.datetime(2027, 1, 1, tzinfo=datetime.UTC)
        found = spent_so_far(db, budgets, clock.now, user="anna")
        assert (found.today.amounts, found.month.amounts) == (cents(0, 0, 2), cents(10, 0, 2))
        assert found.month.limit
        assert (found.month.limit.name, found.today.limit) == ("users.default.month", None)


def test_calls_come_newest_first_in_pages(record: SpendingRecord, make: Make, clock: Clock) -> None:
    numbers = []
    for place in range(7):
        numbers.append(make(user="anna" if place % 2 else None))
        # Calls that were reserved together have the same time.
        clock.now += place // 3
    newest = numbers[::-1]

    def page(**options: object) -> list[int]:
        with record.reading() as db:
            return [call.id for call in latest_calls(db, 3, **options)]  # type: ignore[arg-type]

    assert [page(), page(before=newest[2]), page(before=newest[5])] == [newest[:3], newest[3:6], newest[6:]]
    assert page(user="anna") == [numbers[5], numbers[3], numbers[1]]
    assert page(user="anna", before=numbers[3]) == [numbers[1]]
    assert page(user="bob") == []
    # It was deleted meanwhile.
    assert page(before=99) == []


def test_calls_whose_cost_is_not_known_yet(record: SpendingRecord, make: Make, clock: Clock) -> None:
    make(10)
    old = make(20, "unconfirmed", user="anna")
    clock.now += 90 * DAY_S
    new = make(None, "unconfirmed")
    open_call = make(5, "reserved")
    make(20, "unconfirmed", sandbox=True)
    with record.reading() as db:
        found = waiting(db, "unconfirmed")
        assert [call.id for call in found.calls] == [new, old]
        assert (found.at_most, found.unknown) == (40 * NANO // 100, 1)
        assert [call.id for call in waiting(db, "unconfirmed", user="anna").calls] == [old]
        assert [call.id for call in waiting(db, "in progress").calls] == [open_call]


def test_one_call(record: SpendingRecord, make: Make) -> None:
    number = make(10, tag="client-a")
    with record.reading() as db:
        found = call_of(db, number)
        assert found
        assert (found.id, found.payer.tag) == (number, "client-a")
        assert call_of(db, number + 1) is None
        assert call_of(db, 2**63) is None


@pytest.mark.parametrize("by", get_args(By))
def test_an_empty_record(record: SpendingRecord, by: By) -> None:
    assert seen(record, by) == []
    assert sum_of(()) == Total(who=None, name=None)
