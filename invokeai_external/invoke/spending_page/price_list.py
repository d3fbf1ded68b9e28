"""What one image costs at each size and quality that a model offers, for the price helper of the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...pricing.estimate import ImagePrice, listed_prices, whole_price
from ...pricing.tables import qualities_of
from ...providers.schema import ModelConfig
from ...sizing import SizeChoice

__all__ = ["prices_of"]


def prices_of(model: ModelConfig, seconds: Mapping[str, float]) -> dict[str, Any]:
    """The prices of a model as JSON: ``prices`` has a row for each size, and in it a price for each quality.

    Args:
        model: The model, with the prices of the day.
        seconds: How long calls usually take, by the reference of the model.
    """
    qualities = qualities_of(model)
    rows: dict[str, list[dict[str, Any]]] = {}
    for listed in listed_prices(model):
        rows.setdefault(str(listed.size), []).append(_price(whole_price(model, listed.size, listed.quality)))
    # What is not sent, the model chooses.
    open_row = [_price(whole_price(model, SizeChoice(), quality)) for quality in qualities]
    return {
        "model": model.reference,
        "name": model.name,
        "provider": model.provider_name,
        "sizes": ["chosen by the model", *rows],
        "qualities": [quality for quality in qualities if quality],
        "prices": [open_row, *(row[: len(qualities)] for row in rows.values())],
        "prices_as_of": model.prices_as_of and model.prices_as_of.isoformat(),
        "usual_s": seconds.get(model.reference),
    }


def _price(price: ImagePrice) -> dict[str, Any]:
    return {"usd": price.usd, "at_most_usd": price.at_most_usd, "basis": price.basis}
