"""What Invoke's lists show of a model: its place, its name and its description, with the price and the end date."""

from __future__ import annotations

import datetime
from collections.abc import Iterable

from ...pricing.estimate import price_range
from ...providers.schema import ModelConfig
from ..remedies import PAGE
from .carriers import carrier_of

__all__ = ["description_of", "in_list_order", "name_of", "price_of"]


def in_list_order(models: Iterable[ModelConfig]) -> list[ModelConfig]:
    """The models of a registry as the lists show them: by provider; models with an end date last; newest first."""
    models = list(models)
    providers = list(dict.fromkeys(model.provider for model in models))
    return sorted(models, key=lambda model: (providers.index(model.provider), model.lifecycle.status != "active"))


def name_of(model: ModelConfig, day: datetime.date) -> str:
    """The name of a model on a day, with what distinguishes it: the name of a provider that Invoke's page does not
    show, and the end date if that is confirmed and less than 30 days away.
    """
    life = model.lifecycle
    provider = model.provider_name if carrier_of(model) else ""
    end = ""
    if life.status == "retired":
        end = "retired"
    elif life.ends_soon(day) and life.shutdown_confirmed:
        end = f"ends {life.shutdown}"
    added = ", ".join(part for part in (provider, end) if part)
    return f"{model.name} ({added})" if added else model.name


def description_of(model: ModelConfig, day: datetime.date, *, key_is_refused: bool = False) -> str:
    """What a model of a ``Registry`` can do and costs, when it ends, on a day, and where the costs are shown; first, if
    its key is refused.
    """
    refused = f"{model.provider_name} did not accept the key." if key_is_refused else ""
    parts = [refused, model.description, price_of(model)]
    life = model.lifecycle
    if life.status != "active":
        on = f" {'after' if life.status == 'retired' else 'on'} {life.shutdown}" if life.shutdown else ""
        doubt = "" if life.shutdown_confirmed else " (not confirmed)"
        successor = life.successor_name or life.successor
        instead = f"; use {successor} instead" if successor else ""
        end = "Retired" if life.status == "retired" else "Ends" if on else "Deprecated"
        if life.status != "retired" and life.may_have_ended(day):
            # Only an end that is not confirmed can be over without the model being retired.
            end, doubt = "Reportedly ended", ""
        parts.append(f"{end}{on}{doubt}{instead}.")
    parts.append(f"What your runs cost: Invoke's page {PAGE}.")
    return " ".join(part for part in parts if part)


def price_of(model: ModelConfig) -> str:
    """What an image costs in USD, from the cheapest size and quality that the model offers to the dearest."""
    if found := price_range(model):
        low, high = (f"${usd:.2g}" if usd < 0.1 else f"${usd:.2f}" for usd in (found.low_usd, found.high_usd))
        return f"About {low} an image." if low == high else f"About {low} to {high} an image."
    if model.prices.image_out is not None:
        return f"${model.prices.image_out:g} per million image tokens."
    return "The price of an image is not known."
