"""What one image costs at each size and quality that a model offers, for the price helper of the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...pricing.estimate import ImagePrice, listed_prices, whole_price
from ...pricing.tables import qualities_of
from ...providers.schema import ModelConfig
from ...sizing import SizeChoice

__all__ = ["prices_of"]


def prices_of(model: ModelConfig, seconds: Mapping[str, float], *, previews: int = 0) -> dict[str, Any]:
    """The prices of a model as JSON: ``prices`` has a row for each size, and in it a price for each quality.

    Args:
        model: The model, with the prices of the day and the user's defaults.
        seconds: How long calls usually take, by the reference of the model.
        previews: How many previews of each image the settings ask for, of models that bill them.
    """
    named = [quality for quality in qualities_of(model) if quality]
    # Invoke's tabs send no quality by default: then it is the user's default, or else the model chooses it.
    default = str(model.defaults["quality"]) if "quality" in model.defaults else None
    previews = previews if model.preview_tokens else 0
    sizes = {"chosen by the model": SizeChoice(), **{str(listed.size): listed.size for listed in listed_prices(model)}}
    return {
        "model": model.reference,
        "name": model.name,
        "provider": model.provider_name,
        "sizes": list(sizes),
        "qualities": [f"auto: {default}" if default else "auto", *named] if named else [],
        "previews": previews,
        "prices": [
            [_price(whole_price(model, size, quality, previews=previews)) for quality in (default, *named)]
            for size in sizes.values()
        ],
        "prices_as_of": model.prices_as_of and model.prices_as_of.isoformat(),
        "usual_s": seconds.get(model.reference),
    }


def _price(price: ImagePrice) -> dict[str, Any]:
    return {"usd": price.usd, "at_most_usd": price.at_most_usd, "basis": price.basis}
