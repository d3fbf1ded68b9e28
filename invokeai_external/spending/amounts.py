"""Amounts of money: whole nano-dollars, so that sums are exact."""

from __future__ import annotations

import math

__all__ = ["NANO", "at_most_nano", "nano", "shown_usd", "usd"]

NANO = 1_000_000_000
"""The nano-dollars of a dollar. One token of the cheapest model costs 250."""


def nano(usd: float | None) -> int | None:
    """An amount in USD as nano-dollars; None if it is unknown."""
    return None if usd is None else round(usd * NANO)


def at_most_nano(usd: float | None) -> int | None:
    """The most that something costs, rounded up, but for what binary fractions add; None if it is unknown."""
    return None if usd is None else math.ceil(round(usd * NANO, 3))


def usd(amount: int | None) -> float | None:
    """Nano-dollars in USD; None if the amount is unknown."""
    return None if amount is None else amount / NANO


def shown_usd(amount: int) -> str:
    """An amount as it is shown: in cents, and with four digits below ten cents."""
    dollars = amount / NANO
    return f"${dollars:.2f}" if abs(dollars) >= 0.1 or amount == 0 else f"${dollars:.4f}"
