"""What a run has cost and what today comes to, as the hosts say it after a run."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from ..settings.settings import Settings
from ..settings.spending import LiveBudgets, record_path
from ..spending.amounts import shown_usd, usd
from ..spending.record import SpendingRecord
from ..spending.reports import spent_so_far

__all__ = ["SpentToday", "cost_text", "spent_today"]


@dataclass(frozen=True, slots=True)
class SpentToday:
    """What today comes to, in nano-dollars.

    Attributes:
        used: What was charged, may have been charged, or may still be by calls in progress.
        unconfirmed: What of that may have been charged.
        limit: The limit of the day on everything; None without such a limit.
    """

    used: int
    unconfirmed: int
    limit: int | None

    def __str__(self) -> str:
        """``today $1.37 of $5.00``"""
        limit = "" if self.limit is None else f" of {shown_usd(self.limit)}"
        unclear = f", of it {shown_usd(self.unconfirmed)} may have been charged" if self.unconfirmed else ""
        return f"today {shown_usd(self.used)}{limit}{unclear}"

    @property
    def fields(self) -> dict[str, Any]:
        """As the JSON output has it."""
        return {"today_usd": usd(self.used), "day_limit_usd": usd(self.limit)}


def cost_text(cost_usd: float | None) -> str:
    """``$0.0410``, or that the cost is unknown."""
    return "cost unknown" if cost_usd is None else f"${cost_usd:.4f}"


def spent_today(settings: Settings) -> SpentToday | None:
    """What today comes to; None if nothing is recorded.

    Raises:
        SettingsError: The limits cannot be read.
        SpendingRecordError: The record cannot be read.
    """
    path = record_path(settings)
    if path is None or not path.exists():
        return None
    budgets = LiveBudgets(settings)()
    with closing(SpendingRecord(path)) as record, record.reading() as db:
        today = spent_so_far(db, budgets, time.time()).today
    return SpentToday(today.amounts.used, today.amounts.unconfirmed, today.limit.amount if today.limit else None)
