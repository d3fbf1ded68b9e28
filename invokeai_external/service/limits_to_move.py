"""Which limits on models that end do not apply to their successors yet."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import RequestError
from ..providers.registry import Registry
from ..providers.schema import ModelConfig
from ..result import Notice
from ..spending.limits import Budgets

__all__ = ["limits_to_move"]


def limits_to_move(budgets: Budgets, registry: Registry, used: ModelConfig | None = None) -> list[Notice]:
    """A notice for each model that ends and has a limit, and whose successor has no limit.

    A limit is never moved by itself: the successor may have other prices.

    Args:
        budgets: The limits.
        registry: The models as they are today.
        used: Only what is about this model.
    """
    return [
        Notice(
            "limit_not_moved",
            f"The limit on {model.name} does not apply to its successor, {successor.name}. Set one on "
            f"{successor.reference} too.",
        )
        for model, successor in _pairs(budgets, registry)
        if used is None or used.reference in (model.reference, successor.reference)
    ]


def _pairs(budgets: Budgets, registry: Registry) -> Iterator[tuple[ModelConfig, ModelConfig]]:
    for reference in budgets.models:
        try:
            model = registry.resolve(reference).model
            life = model.lifecycle
            if life.status == "active" or not life.successor:
                continue
            successor = registry.resolve(f"{model.provider}/{life.successor}").model
        except RequestError:
            # A provider may not have said yet which models it has.
            continue
        if successor.reference not in budgets.models:
            yield model, successor
