"""Reads what a response says that its call cost."""

from __future__ import annotations

from collections.abc import Mapping

from ..pricing.prices import MAX_USD
from ..providers.provider_config import ProviderConfig
from ..untrusted_number import number, number_in_text

__all__ = ["stated_cost"]


def stated_cost(provider: ProviderConfig, usage: object, headers: Mapping[str, str]) -> float | None:
    """The cost in USD that a response states where the provider's ``cost_from`` says.

    Args:
        provider: The provider.
        usage: The object of the response with the tokens.
        headers: The headers of the response, their names in lower case.

    Returns:
        USD; None if the provider states no cost, or it is not a number, or more than a call can cost.
    """
    place, stated = provider.cost_from, None
    if place.startswith("header:"):
        stated = headers.get(place.removeprefix("header:").lower())
    elif place.startswith("usage.") and isinstance(usage, Mapping):
        stated = usage.get(place.removeprefix("usage."))
    usd = number(number_in_text(stated) if isinstance(stated, str) else stated, 0, MAX_USD)
    # Zero may have a sign.
    return None if usd is None else abs(usd)
