"""What does it cost to record what a call costs, and how does that grow?"""

from __future__ import annotations

import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

from invokeai_external.spending.limits import Budget, Budgets
from invokeai_external.spending.record import SpendingRecord
from invokeai_external.spending.recorded_call import Payer, PlannedCall, Settlement

from .measuring import Part, Table, interleaved, median

__all__ = ["TITLE", "measure"]

TITLE = "The spending record"

_TEXT = """\
A call is written twice: before it is sent, under limits on three levels, and when it has ended. Beside it stand two
bare transactions of SQLite that insert one row each. All of them end on the same disk, with `synchronous = FULL`, and
take turns; the figures are medians of calls, in milliseconds. The limits: at most twice the bare ones, and with a
million calls in the record at most 1.5 times what it takes with a thousand."""

_CALLS = 100
"""How many calls a round makes of each."""

_BARE = "Two bare transactions"
_ROWS = {"The record, with 1,000 calls in it": 1_000, "The record, with 1,000,000 calls in it": 1_000_000}

_LIMITS = Budgets(
    total=Budget(day_usd=900_000, month_usd=900_000),
    providers={"openai": Budget(day_usd=900_000)},
    models={"openai/gpt-image-2": Budget(month_usd=900_000)},
)
_CALL = PlannedCall(provider="openai", model="gpt-image-2", n=1, expected=5, at_most=6, basis="exact")
_END = Settlement(state="charged", cost=5, cost_from="prices", images=1)

_FILL = """
WITH RECURSIVE number(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM number WHERE n + 1 < :rows)
INSERT INTO calls (state, day, started_at, settled_at, sandbox, imported, host, provider, model, tier, n, at_most,
                   basis, cost, images, hashes)
SELECT 'charged', date('now', '-' || (n * 360 / :rows) || ' days'),
       (strftime('%s', 'now') - n * 360 * 86400 / :rows) * 1000000,
       (strftime('%s', 'now') - n * 360 * 86400 / :rows) * 1000000,
       0, 0, 'invoke', 'openai', 'gpt-image-2', 'standard', 1, 6, 'exact', 5, 1, hex(randomblob(32))
FROM number
"""
_SUMS = """
INSERT OR REPLACE INTO sums (scope, who, day, calls, images, charged, unconfirmed, reserved, expected, compared)
SELECT scope, who, day, count(*), count(*), 5 * count(*), 0, 0, 0, 0
FROM calls, (SELECT 'total' AS scope, '' AS who UNION SELECT 'provider', 'openai'
             UNION SELECT 'model', 'openai/gpt-image-2')
GROUP BY scope, who, day
"""


def measure(rounds: int, report: Callable[[str], None]) -> Part:
    report(TITLE)
    with tempfile.TemporaryDirectory() as folder, closing(_bare(Path(folder) / "bare.sqlite3")) as bare:
        records = {name: _filled(Path(folder) / f"{rows}.sqlite3", rows) for name, rows in _ROWS.items()}
        peers = {_BARE: partial(_two_commits, bare)}
        peers |= {name: partial(_reserve_and_settle, record) for name, record in records.items()}
        interleaved(1, peers)
        times = {name: median(each) for name, each in interleaved(rounds, peers, report).items()}
        for record in records.values():
            record.close()
    rows = [[name, f"{1e3 * times[name]:.2f} ms", f"{times[name] / times[_BARE]:.2f}"] for name in times]
    small, large = (times[name] for name in _ROWS)
    rows.append(["The second to the first", "", f"{large / small:.2f}"])
    return Part(TITLE, _TEXT, [Table("", ["", "A call", "Relative"], rows)])


def _bare(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE one (value INTEGER)")
    return db


def _filled(path: Path, rows: int) -> SpendingRecord:
    record = SpendingRecord(path)
    record.release_ended()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(_FILL, {"rows": rows})
        db.execute(_SUMS)
    return record


def _two_commits(db: sqlite3.Connection) -> float:
    def commits() -> None:
        for _ in range(2):
            db.execute("BEGIN IMMEDIATE")
            db.execute("INSERT INTO one VALUES (1)")
            db.execute("COMMIT")

    return _median_of(commits)


def _reserve_and_settle(record: SpendingRecord) -> float:
    def call() -> None:
        [number] = record.reserve([_CALL], Payer("invoke"), _LIMITS).ids
        record.settle(number, _END)

    return _median_of(call)


def _median_of(call: Callable[[], object]) -> float:
    times = []
    for _ in range(_CALLS):
        before = time.perf_counter()
        call()
        times.append(time.perf_counter() - before)
    return median(times)
