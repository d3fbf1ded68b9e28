"""Many programs spend from one record: ``python -m tests.spending.contention CALLS [SEED]``.

Four processes with sixteen threads each make calls at random prices, on fake clocks that pass midnight, with limits on
three levels. After no commit may anything be above a limit, and every refusal must have been right at its moment: both
are replayed from the rows of the record.
"""

from __future__ import annotations

import datetime
import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from invokeai_external.spending.amounts import NANO
from invokeai_external.spending.limits import Budget, Budgets, Limit, LimitExceededError, limits_of
from invokeai_external.spending.record import SpendingRecord
from invokeai_external.spending.recorded_call import Payer, PlannedCall, Settlement, State

PROCESSES, THREADS = 4, 16
START = datetime.datetime(2026, 11, 28, 23, tzinfo=datetime.UTC).timestamp()
HOURS = 2
MODELS = (("openai", "a"), ("openai", "b"), ("gemini", "c"))


def budgets_for(calls: int) -> Budgets:
    """Limits that about half of so many calls meet."""
    return Budgets(
        timezone="UTC",
        total=Budget(day_usd=0.009 * calls, month_usd=0.016 * calls),
        providers={"openai": Budget(day_usd=0.006 * calls)},
        models={"openai/a": Budget(day_usd=0.004 * calls)},
    )


class Clock:
    """Goes on each time that it is asked, which is twice for a call; after so many calls, some hours have passed."""

    def __init__(self, calls: int) -> None:
        self._steps, self._step_s = 0, HOURS * 3600 / (2 * calls)
        self._lock = threading.Lock()

    def __call__(self) -> float:
        with self._lock:
            self._steps += 1
            return START + self._steps * self._step_s


def spend(path: Path, calls: int, seed: str, *, overruns: bool) -> None:
    """What one process does: its threads make its part of so many calls."""
    own, budgets = calls // PROCESSES, budgets_for(calls)
    record = SpendingRecord(path, clock=Clock(own))

    def one_thread(number: int) -> None:
        chance = random.Random(f"{seed}/{number}")
        for _ in range(own // THREADS):
            provider, model = chance.choice(MODELS)
            most = chance.randrange(1, NANO // 10)
            planned = PlannedCall(provider=provider, model=model, n=1, expected=most, at_most=most, basis="bounded")
            with suppress(LimitExceededError):
                [row] = record.reserve([planned], Payer(), budgets).ids
                if chance.random() < 0.5:
                    record.sent(row)
                ends: tuple[State, ...] = ("charged", "charged", "charged", "not_charged", "unconfirmed")
                state = chance.choice(ends)
                cost = chance.randrange(0, 2 * most if overruns and chance.random() < 0.1 else most + 1)
                record.settle(row, Settlement(state=state, cost=cost if state == "charged" else None))

    threads = [threading.Thread(target=one_thread, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    record.close()


_LOG = """
CREATE TABLE log (
    place INTEGER PRIMARY KEY, id INTEGER, provider TEXT, model TEXT, day TEXT, state TEXT, at_most INTEGER,
    cost INTEGER, error TEXT
);
CREATE TRIGGER log_insert AFTER INSERT ON calls BEGIN
    INSERT INTO log (id, provider, model, day, state, at_most, cost, error)
    VALUES (NEW.id, NEW.provider, NEW.model, NEW.day, NEW.state, NEW.at_most, NEW.cost, NEW.error);
END;
CREATE TRIGGER log_update AFTER UPDATE ON calls BEGIN
    INSERT INTO log (id, provider, model, day, state, at_most, cost, error)
    VALUES (NEW.id, NEW.provider, NEW.model, NEW.day, NEW.state, NEW.at_most, NEW.cost, NEW.error);
END;
"""
"""Every row that a commit wrote, in the order of the commits."""


def logged(path: Path) -> None:
    """Make the record, and have it log what is written into it."""
    SpendingRecord(path).release_ended()
    with closing(sqlite3.connect(path)) as db:
        db.executescript(_LOG)


class Replay:
    """Adds up the rows one after the other, on its own, and compares them with the limits.

    Attributes:
        accepted: How many calls were accepted.
        refused: How many were refused.
        excess: What calls cost above the most that they could.
    """

    def __init__(self, budgets: Budgets) -> None:
        self.accepted = self.refused = self.excess = 0
        self._budgets = budgets
        self._counted: dict[int, int] = {}
        self._sums: Counter[tuple[str, str]] = Counter()

    def used(self, row: sqlite3.Row, limit: Limit) -> int:
        """What counts against a limit when the call of a row is reserved, later days of a faster clock included."""
        first = row["day"] if limit.period == "day" else f"{row['day'][:7]}-01"
        return sum(amount for (who, day), amount in self._sums.items() if who == limit.who and day >= first)

    def spent(self, row: sqlite3.Row, limit: Limit) -> int:
        """What counts for the day of a row, or its month."""
        return self._sums[limit.who, row["day"]] if limit.period == "day" else self.used(row, limit)

    def add(self, row: sqlite3.Row) -> None:
        """Follow one row."""
        provider, model, day = row["provider"], f"{row['provider']}/{row['model']}", row["day"]
        today = datetime.date.fromisoformat(day)
        limits = limits_of(self._budgets, provider=provider, model=model, user=None, today=today)
        if row["error"] == "budget_exceeded":
            self.refused += 1
            assert any(self.used(row, limit) + row["at_most"] > limit.amount for limit in limits), dict(row)
            return
        is_new = row["id"] not in self._counted
        counts = {"charged": row["cost"] or 0, "not_charged": 0}.get(row["state"], row["at_most"])
        for who in ("", provider, model):
            self._sums[who, day] += counts - self._counted.get(row["id"], 0)
        self._counted[row["id"]] = counts
        self.accepted += is_new
        self.excess += max(0, counts - row["at_most"])
        for limit in limits:
            assert self.spent(row, limit) <= limit.amount + self.excess, dict(row)
            # What costs more than it could uses up the limit, so that nothing more is accepted.
            assert not is_new or self.used(row, limit) <= limit.amount, dict(row)


def replayed(path: Path, budgets: Budgets) -> Replay:
    """The replay of all rows; raises AssertionError where a limit did not hold or a refusal was wrong."""
    found = Replay(budgets)
    with closing(sqlite3.connect(path)) as db:
        db.row_factory = sqlite3.Row
        for row in db.execute("SELECT * FROM log ORDER BY place"):
            found.add(row)
    return found


def assert_what_fits_is_accepted(path: Path, budgets: Budgets) -> None:
    """The next day, a call that costs all that is left is accepted, and then no other one."""
    record = SpendingRecord(path, clock=lambda: START + 48 * 3600)
    limits = limits_of(budgets, provider="gemini", model="gemini/c", user=None, today=datetime.date(2026, 11, 30))
    left = min(limit.amount - record.amounts(limit, budgets).used for limit in limits)
    if left <= 0:
        # Bills above the estimate may have used up the month.
        return
    planned = PlannedCall(provider="gemini", model="c", n=1, expected=left, at_most=left, basis="exact")
    record.reserve([planned], Payer(), budgets)
    with pytest.raises(LimitExceededError):
        record.reserve([replace(planned, at_most=1)], Payer(), budgets)
    record.close()


def run(folder: Path, calls: int, seed: str, *, overruns: bool) -> Replay:
    """Run the processes and replay what they did."""
    path = folder / "spending.sqlite3"
    logged(path)
    command = [sys.executable, "-m", "tests.spending.contention", "--process", str(path), str(calls)]
    processes = [
        subprocess.Popen([*command, f"{seed}/{number}", str(int(overruns))], cwd=Path(__file__).parents[2])
        for number in range(PROCESSES)
    ]
    assert [process.wait() for process in processes] == [0] * PROCESSES
    found = replayed(path, budgets_for(calls))
    assert_what_fits_is_accepted(path, budgets_for(calls))
    return found


def main() -> None:
    if sys.argv[1] == "--process":
        path, number, name, with_overruns = sys.argv[2:]
        spend(Path(path), int(number), name, overruns=with_overruns == "1")
        return
    calls, seed = int(sys.argv[1]), (sys.argv[2:] or [str(random.randrange(10**9))])[0]
    for overruns in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            found = run(Path(folder), calls, seed, overruns=overruns)
        counts = f"{found.accepted:,} calls accepted, {found.refused:,} refused"
        print(f"Seed {seed}: {counts}, {found.excess / NANO:.2f} USD above what they could cost. All limits held.")


if __name__ == "__main__":
    main()
