"""Calculates the cost of a call from its tokens. An unknown cost is None, never zero."""

from __future__ import annotations

from ..providers.schema import Prices
from ..result import Usage

__all__ = ["MILLION", "cost_usd"]

MILLION = 1_000_000
"""Prices are in USD for this number of tokens."""

_MAX_USD = 1_000_000
"""A higher cost of one call means a wrong price or a wrong number of tokens."""


def cost_usd(usage: Usage | None, prices: Prices) -> float | None:
    """What a call cost in USD.

    Args:
        usage: Its tokens, as the provider counted them.
        prices: The prices of its model.

    Returns:
        USD, rounded to 9 digits; None if a number of tokens is unknown, or the price of tokens that were used, or if it
        is more than a call can cost.
    """
    if usage is None:
        return None
    total = 0.0
    for tokens, price in (
        (usage.input_text_tokens, prices.text_in),
        (usage.input_image_tokens, prices.image_in),
        (usage.output_text_tokens, prices.text_out),
        (usage.output_image_tokens, prices.image_out),
    ):
        if tokens is None or (tokens and price is None):
            return None
        total += tokens * (price or 0.0)
    if not total <= _MAX_USD * MILLION:
        return None
    # 9 digits hide binary fractions; one token of the cheapest model costs 0.25 millionths.
    return round(total / MILLION, 9)
