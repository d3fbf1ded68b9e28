"""Estimates the cost of images. An unknown cost is None, never zero."""

from __future__ import annotations

from collections.abc import Mapping

from ..providers.schema import ModelConfig
from ..request import OptionValue
from ..sizing import SizeChoice
from .prices import MILLION

__all__ = ["image_usd", "image_usd_at"]


def image_usd_at(model: ModelConfig, size: SizeChoice, options: Mapping[str, OptionValue]) -> float | None:
    """What one image of a size, made with these options, costs in USD; None if it is unknown."""
    # If no image size is sent, the default is 1K (types of google-genai 3.4.0).
    keys = (size.image_size or "1K", f"{options.get('quality')} {size.size}", "any")
    tokens = next((model.image_tokens[key] for key in keys if key in model.image_tokens), None)
    return None if tokens is None else image_usd(model, tokens)


def image_usd(model: ModelConfig, tokens: int) -> float | None:
    """What one image of a number of image tokens costs in USD, with the most text tokens that are billed with it.

    None if a price is unknown.
    """
    prices = model.prices
    if prices.image_out is None or (model.text_tokens and prices.text_out is None):
        return None
    return (tokens * prices.image_out + model.text_tokens * (prices.text_out or 0.0)) / MILLION
