"""What an answer cost, by its tokens. What is unknown stays unknown: it is None, never zero."""

from __future__ import annotations

from ..providers.schema import Prices
from ..result import Usage

__all__ = ["MILLION", "cost_usd"]

MILLION = 1_000_000
"""Prices are in USD for so many tokens."""

_MOST_USD = 1_000_000
"""What is above this is no cost of a call, but a wrong price or a wrong count."""


def cost_usd(usage: Usage | None, prices: Prices) -> float | None:
    """What a call cost in USD; None if a token count or the price of tokens that were used is unknown,
    or if it is more than any call can cost."""
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
    if not total <= _MOST_USD * MILLION:
        return None
    # Rounded where binary fractions would show; a token of the cheapest model costs a quarter of a millionth.
    return round(total / MILLION, 9)
