"""The limits as an administrator sets them on the page: of all together, of each user, of an image."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable
from typing import Any

from ...spending.calendar_days import Period
from ...spending.limits import FIELDS, Budget, Budgets

__all__ = ["limit_list"]


def limit_list(budgets: Budgets, users: Iterable[str], today: datetime.date) -> dict[str, Any]:
    """The limits as JSON.

    Args:
        budgets: The limits.
        users: The names of all users of Invoke.
        today: The day on which limits may be raised.
    """
    names = list(dict.fromkeys([*users, *(name for name in budgets.users if name != "default")]))
    default = budgets.users.get("default")
    return {
        "total": _budget(budgets.total, today),
        "default": _budget(default, today),
        "users": [
            {"name": name, "is_default": name not in budgets.users, **_budget(budgets.users.get(name, default), today)}
            for name in names
        ],
        "max_per_image_usd": budgets.max_per_image_usd,
        "exceed_total": [
            period
            for period in FIELDS
            if _sum_of_users(budgets, names, period) > _amount(budgets.total, period, math.inf)
        ],
    }


def _amount(budget: Budget | None, period: Period, otherwise: float) -> float:
    found: float | None = getattr(budget, FIELDS[period], None)
    return otherwise if found is None else found


def _budget(budget: Budget | None, today: datetime.date) -> dict[str, Any]:
    raised = budget.raised if budget and budget.raised and today <= budget.raised.until else None
    return {
        "day_usd": budget and budget.day_usd,
        "month_usd": budget and budget.month_usd,
        "raised": raised and raised.model_dump(mode="json"),
    }


def _sum_of_users(budgets: Budgets, names: Iterable[str], period: Period) -> float:
    """What the limits of all users come to together."""
    default = budgets.users.get("default")
    return sum(_amount(budgets.users.get(name, default), period, 0.0) for name in names)
