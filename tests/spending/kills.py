"""Kills a program at each step of a call: ``python -m tests.spending.kills TIMES``. Needs ``fork``.

Each child makes a call as a ``Service`` does, and is killed before one of the statements that it sends to SQLite, or
between them. Afterwards every call must have ended or be one that may have been charged, and the sums must be those of
the rows.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import tempfile
from collections import Counter
from contextlib import closing
from itertools import count
from pathlib import Path
from unittest import mock

from invokeai_external.spending import database
from invokeai_external.spending.limits import Budget, Budgets
from invokeai_external.spending.record import SpendingRecord
from invokeai_external.spending.recorded_call import Payer, PlannedCall, Settlement

_BUDGETS = Budgets(total=Budget(day_usd=1000), providers={"openai": Budget(month_usd=1000)})
_CALL = PlannedCall(provider="openai", model="m", n=1, expected=3, at_most=5, basis="exact")
_CHARGED = Settlement(state="charged", cost=4, images=1)


def _call(path: Path, last: int) -> None:
    """Make a call, and be killed at the step with that number."""
    steps = count()

    def step(_: object = None) -> None:
        if next(steps) == last:
            os.kill(os.getpid(), signal.SIGKILL)

    opened = database.opened

    def watched(file: Path, wait_s: float) -> sqlite3.Connection:
        db = opened(file, wait_s)
        db.set_trace_callback(step)
        return db

    with mock.patch.object(database, "opened", watched):
        record = SpendingRecord(path)
        record.release_ended()
        [number] = record.reserve([_CALL], Payer(user="anna", tag="a"), _BUDGETS).ids
        step()
        record.sent(number)
        step()
        record.settle(number, _CHARGED)
        step()
        record.close()
    os._exit(0)


def _sums_of_rows(db: sqlite3.Connection) -> dict[str, int]:
    found: Counter[str] = Counter()
    for state, at_most, cost in db.execute("SELECT state, at_most, cost FROM calls"):
        counts = {"charged": ("charged", cost), "unconfirmed": ("unconfirmed", at_most)}.get(state)
        if counts:
            found[counts[0]] += counts[1]
    return dict(found)


def check(path: Path) -> Counter[str]:
    """The states of all calls; raises AssertionError unless each has ended and the sums are those of the rows."""
    record = SpendingRecord(path)
    record.release_ended()
    record.close()
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        states = Counter(state for (state,) in db.execute("SELECT state FROM calls"))
        assert states.keys() <= {"charged", "not_charged", "unconfirmed"}, states
        for scope in ("total", "provider", "model", "user", "tag"):
            names = ("charged", "unconfirmed", "reserved")
            sums = db.execute(f"SELECT {', '.join(f'sum({n})' for n in names)} FROM sums WHERE scope = ?", (scope,))
            found = {name: amount for name, amount in zip(names, sums.fetchone(), strict=True) if amount}
            assert found == _sums_of_rows(db), (scope, found)
    return states


def run(folder: Path, times: int) -> Counter[str]:
    """Kill so many programs, each at the next step, from the first to the last and again; return the states."""
    path, step, states = folder / "spending.sqlite3", 0, Counter[str]()
    SpendingRecord(path).release_ended()
    for _ in range(times):
        child = os.fork()
        if child == 0:
            _call(path, step)
        _, status = os.waitpid(child, 0)
        # A call that went through had no such step.
        step = step + 1 if os.WIFSIGNALED(status) else 0
        states = check(path)
    return states


def main() -> None:
    times = int(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        print(f"{times} programs were killed: {dict(run(Path(folder), times))}. The sums are those of the rows.")


if __name__ == "__main__":
    main()
