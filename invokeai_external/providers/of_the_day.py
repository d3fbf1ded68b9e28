"""A model as it is on a day: its status, its prices, and a successor that is there then. Pure."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from .schema import ModelConfig

__all__ = ["as_of", "named", "newest"]


def as_of(day: datetime.date, model: ModelConfig, known: Sequence[ModelConfig]) -> ModelConfig:
    """The model with its status and prices on a day, and with a successor that is not retired on that day.

    ``known`` are the models of its provider.
    """
    life = model.lifecycle
    successor = _available_successor(day, model, known)
    found = named(successor, known) if successor else None
    name = found.name if found else None
    update = {"status": life.status_on(day), "successor": successor, "successor_name": name}
    prices, later = model.prices_on(day)
    return model.model_copy(
        update={"lifecycle": life.model_copy(update=update), "prices": prices, "later_prices": later}
    )


def _available_successor(day: datetime.date, model: ModelConfig, known: Sequence[ModelConfig]) -> str | None:
    """The successor, or the successor of a successor that ends, and so on, as far as one does not end.

    If all of them end, it is the first one that is not retired; None if all of them are retired.
    """
    seen, name, available = {model.id}, model.lifecycle.successor, None
    while name:
        found = named(name, known)
        if found is None or found.lifecycle.status_on(day) == "active":
            return name
        if found.id in seen:
            break
        if found.lifecycle.status_on(day) != "retired":
            available = available or name
        seen.add(found.id)
        name = found.lifecycle.successor
    return available


def newest(models: Sequence[ModelConfig], day: datetime.date) -> ModelConfig:
    """The first model that is active on a day; the first model if all are retired or deprecated."""
    return next((m for m in models if m.lifecycle.status_on(day) == "active"), models[0])


def named(name: str, models: Sequence[ModelConfig]) -> ModelConfig | None:
    """The model with an id, or else the one with an alias."""
    by_id = next((m for m in models if name == m.id), None)
    return by_id or next((m for m in models if name in m.aliases), None)
