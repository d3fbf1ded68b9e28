"""From tokens to money. What is unknown stays unknown: it is None, never zero."""

from __future__ import annotations

from .models import ModelConfig, Prices
from .planner import Call, Plan
from .request import Usage

__all__ = ["MILLION", "cost_usd", "estimate_usd", "image_usd"]

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


def estimate_usd(plan: Plan) -> float | None:
    """What the pictures of a plan will cost in USD, without prompt and input pictures; None if that is unknown."""
    total = 0.0
    for call in plan.calls:
        tokens = _image_tokens(call)
        cost = None if tokens is None else image_usd(call.model, tokens)
        if cost is None:
            return None
        total += call.n * cost
    return total


def image_usd(model: ModelConfig, tokens: int) -> float | None:
    """What one finished picture of so many image tokens costs in USD at most, with the text that is billed with it;
    None if a price is unknown."""
    prices = model.prices
    if prices.image_out is None or (model.text_tokens and prices.text_out is None):
        return None
    return (tokens * prices.image_out + model.text_tokens * (prices.text_out or 0.0)) / MILLION


def _image_tokens(call: Call) -> int | None:
    """The tokens of one finished picture, from the first key of the catalogue that fits the call."""
    # Where no image size is sent, the provider's default is 1K (types of google-genai 3.4.0).
    keys = (call.size.image_size or "1K", f"{call.options.get('quality')} {call.size.size}", "any")
    return next((call.model.image_tokens[key] for key in keys if key in call.model.image_tokens), None)
