"""Compares a provider's bill for a month with the record."""

from __future__ import annotations

import datetime
import sqlite3
from dataclasses import dataclass

from .reports import Kind, Total, sum_of, totals
from .tables import text, whole

__all__ = ["BillCheck", "check_bill"]


@dataclass(frozen=True, slots=True)
class BillCheck:
    """A bill and what the record has. Amounts are in nano-dollars.

    Attributes:
        billed: What the provider bills.
        recorded: What the calls of the month come to.
        imported: What images come to that were made earlier.
        unknown_cost: How many of these have no cost.
        by_utc: What was charged if the days of UTC are counted; None if only the sums of some days are left.
        first_day: The first day of the record, as ISO text; None if it is empty.
        providers: The ids of all providers in the record.
    """

    billed: int
    recorded: Total
    imported: Total
    unknown_cost: int
    by_utc: int | None
    first_day: str | None
    providers: tuple[str, ...]

    @property
    def difference(self) -> int:
        """How much more the bill is than what was charged by the record."""
        return self.billed - self.recorded.charged - self.imported.charged


def check_bill(db: sqlite3.Connection, provider: str, month: datetime.date, billed: int) -> BillCheck:
    """Compare a bill.

    Args:
        db: The record, as ``SpendingRecord.reading`` gives it.
        provider: The provider's id.
        month: The first day of the month.
        billed: What the provider bills.
    """
    following = (month + datetime.timedelta(days=31)).replace(day=1)

    def of_month(kind: Kind) -> Total:
        found = totals(db, "provider", since=month, until=following - datetime.timedelta(days=1), kind=kind)
        return sum_of(total for total in found if total.who == provider)

    def micro(day: datetime.date) -> int:
        return round(datetime.datetime(day.year, day.month, day.day, tzinfo=datetime.UTC).timestamp() * 1e6)

    (unknown,) = db.execute(
        "SELECT count(*) FROM calls WHERE imported = 1 AND cost IS NULL AND provider = ? AND day >= ? AND day < ?",
        (provider, month.isoformat(), following.isoformat()),
    ).fetchone()
    (by_utc,) = db.execute(
        "SELECT sum(cost) FROM calls WHERE started_at >= ? AND started_at < ? AND provider = ? "
        "AND state = 'charged' AND sandbox = 0",
        (micro(month), micro(following), provider),
    ).fetchone()
    recorded, imported = of_month("paid"), of_month("imported")
    (single,) = db.execute(
        "SELECT count(*) FROM calls WHERE started_at >= ? AND started_at < ? AND day >= ? AND day < ? "
        "AND provider = ? AND sandbox = 0",
        (
            micro(month - datetime.timedelta(days=2)),
            micro(following + datetime.timedelta(days=2)),
            month.isoformat(),
            following.isoformat(),
            provider,
        ),
    ).fetchone()
    by_utc = whole(by_utc) if single == recorded.calls + imported.calls else None
    (first,) = db.execute("SELECT min(day) FROM sums WHERE scope = 'total'").fetchone()
    known = db.execute("SELECT DISTINCT who FROM sums WHERE scope IN ('provider', 'imported provider') ORDER BY who")
    return BillCheck(
        billed, recorded, imported, unknown, by_utc, text(first), tuple(name for (name,) in known if text(name))
    )
