"""The options of models with their defaults, for the page, and what may become a default."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...errors import InvalidRequestError
from ...planning.options import check_default
from ...providers.registry import Registry
from ...providers.schema import ChoiceOption, ModelConfig, NumberOption, Option
from ...request import OptionValue

__all__ = ["checked_default", "models_with_options"]


def models_with_options(models: Iterable[ModelConfig]) -> list[dict[str, Any]]:
    """The models that have options or defaults as JSON, each with what its options can be and what they are set to."""
    return [
        {
            "model": model.reference,
            "name": model.name,
            "provider": model.provider_name,
            "options": {name: _limits_of(option) for name, option in model.options.items()},
            "defaults": model.defaults,
        }
        for model in models
        if model.defaults or (model.options and model.lifecycle.status != "retired")
    ]


def _limits_of(option: Option) -> dict[str, Any]:
    if isinstance(option, ChoiceOption):
        return {"values": [value for value in option.values if value not in option.experimental]}
    if isinstance(option, NumberOption):
        return {"minimum": option.minimum, "maximum": option.maximum, "whole": option.whole}
    return {"max_characters": option.max_characters}


def checked_default(registry: Registry, reference: str, name: str, value: OptionValue | None) -> OptionValue | None:
    """The value to write as the default of an option; None removes the default, also of an option that is gone.

    Raises:
        InvalidRequestError: There is no such model.
        CapabilityError: The model does not have the option, or not that value.
    """
    model = next((model for model in registry.models() if model.reference == reference), None)
    if model is None:
        raise InvalidRequestError("There is no such model.", remedy="Choose another one.")
    if value is not None:
        check_default(model, name, value)
    return value
