"""Calculates the cost of a call from its tokens and its images. An unknown cost is None, never zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..providers.schema import ModelConfig, Prices
from ..result import Usage
from ..sizing import Size, SizeChoice
from .tables import entries

__all__ = ["MAX_USD", "MILLION", "cost_usd", "images_usd"]

MILLION = 1_000_000
"""Prices are in USD for this number of tokens."""

MAX_USD = 1_000_000
"""A higher cost of one call means a wrong price or a wrong number of tokens."""


def cost_usd(usage: Usage | None, prices: Prices, of_images: float | None = 0.0) -> float | None:
    """What a call cost in USD.

    A model without a price by image bills all kinds of tokens. One with such a price bills its images, and beside them
    only the kinds of tokens that have a price: a response without tokens then has a cost if no kind has one.

    Args:
        usage: Its tokens, as the provider counted them.
        prices: The prices of its model.
        of_images: What its images cost by their sizes: ``images_usd``.

    Returns:
        USD, rounded to 9 digits; None if a number of tokens is unknown, or the price of tokens that were used, or the
        price of an image, or if it is more than a call can cost.
    """
    if of_images is None:
        return None
    usage = usage or Usage()
    total = of_images * MILLION
    for tokens, price in (
        (usage.input_text_tokens, prices.text_in),
        (usage.input_image_tokens, prices.image_in),
        (usage.output_text_tokens, prices.text_out),
        (usage.output_image_tokens, prices.image_out),
    ):
        if price is None and prices.is_by_image:
            continue
        if tokens is None or (tokens and price is None):
            return None
        total += tokens * (price or 0.0)
    if not total <= MAX_USD * MILLION:
        return None
    # 9 digits hide binary fractions; one token of the cheapest model costs 0.25 millionths.
    return round(total / MILLION, 9)


def images_usd(
    model: ModelConfig, size: SizeChoice, quality: str | None, received: Sequence[Size | None], *, sent: int = 0
) -> float | None:
    """What the images of a call cost by their sizes and their number; 0 if the model bills only tokens.

    Each image costs ``per_image`` for the size that was sent, as in an estimate, or for its own size if the model chose
    it; and ``per_megapixel`` for its own pixels.

    Args:
        model: The model, with the prices of the day.
        size: The size that was sent.
        quality: The quality that was sent; None or ``auto`` if the model chose it.
        received: The size of each image in the response; None for one that could not be read.
        sent: The number of input images.

    Returns:
        USD; None if the price of an image is unknown: its size or quality is not in the table, or is unknown itself.
    """
    prices = model.prices
    quality = None if quality in (None, "", "auto") else quality
    costs: list[float | None] = []
    for one in received:
        named = size if size.size else replace(size, size=one)
        if prices.per_image:
            found = set(entries(prices.per_image, model, named, quality))
            costs.append(found.pop() if len(found) == 1 else None)
        if prices.per_megapixel is not None:
            area = one or size.size
            costs.append(prices.per_megapixel * area.pixels / MILLION if area else None)
    if sent and prices.per_input_image:
        # Whether each of several images is billed with its input is not published.
        costs.append(prices.per_input_image * sent if len(received) == 1 else None)
    known = [cost for cost in costs if cost is not None]
    return sum(known) if len(known) == len(costs) else None
