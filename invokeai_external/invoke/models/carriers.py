"""Which provider of Invoke's page carries a model of a provider that the page does not know. Pure.

The page builds graphs only for the models of four providers. A model of any other provider is *carried*: it is
installed as ``external://<carrier>/<provider>/<model>``, with the carrier as its provider, so that the page shows the
carrier's options and builds a graph with the carrier's node. Our nodes send the request to the model's own provider.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from typing import Protocol

from ...providers.registry import Registry
from ...providers.schema import ChoiceOption, ModelConfig, NumberOption, Option
from ...request import OptionValue

__all__ = [
    "PLAIN",
    "PLAIN_NODE",
    "Record",
    "carrier_of",
    "is_carried",
    "is_ours",
    "key_of",
    "recalled_options",
    "reference_of",
    "source_of",
]

_CONTROLS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "openai": {
        "quality": ("low", "medium", "high"),
        "background": ("transparent", "opaque"),
        "input_fidelity": ("low", "high"),
    },
    "gemini": {"thinking_level": ("minimal", "high"), "temperature": ()},
}
"""The options in the panel for the models of a provider, with their values; without values, a number (6.14.2)."""

PLAIN = "alibabacloud"
"""The provider whose models have no options in the panel. Invoke itself has models of it, which we never touch."""

PLAIN_NODE = "alibabacloud_image_generation"
"""The type of the node that the page uses for the models of that provider."""

_KEY = "carried-"
"""What the keys of carried models begin with, in the records that we install."""


class Record(Protocol):
    """What Invoke's record of an installed model says of its identity."""

    @property
    def key(self) -> str: ...

    @property
    def provider_id(self) -> str: ...

    @property
    def provider_model_id(self) -> str: ...


def carrier_of(model: ModelConfig) -> str | None:
    """The provider that carries a model: the one with the most controls that the model has, or else the one without
    any. None for a model whose own provider the page knows.
    """
    if model.provider in _CONTROLS:
        return None
    usable = {
        carrier: sum(_has_control(model.options.get(name), values) for name, values in controls.items())
        for carrier, controls in _CONTROLS.items()
    }
    best = max(usable, key=lambda carrier: usable[carrier])
    return best if usable[best] else PLAIN


def _has_control(option: Option | None, values: Collection[str]) -> bool:
    if isinstance(option, ChoiceOption):
        return any(value in values for value in option.values)
    return isinstance(option, NumberOption) and not values


def source_of(model: ModelConfig) -> str:
    """The name under which Invoke installs a model."""
    carrier = carrier_of(model)
    return f"external://{carrier}/{model.reference}" if carrier else f"external://{model.reference}"


def key_of(model: ModelConfig) -> str | None:
    """The key of a carried model's record; None for another model, whose key Invoke makes.

    Invoke's own keys are made of letters, digits and hyphens only, so two models could get the same one.
    """
    if carrier_of(model) is None:
        return None
    return f"{_KEY}{hashlib.sha256(model.reference.encode()).hexdigest()[:32]}"


def is_ours(record: Record) -> bool:
    """True if a record is one of a carried model that we installed."""
    return record.key.startswith(_KEY)


def is_carried(record: Record, registry: Registry, providers_on: Collection[str]) -> bool:
    """True if a record is one of a carried model, whoever installed it.

    A gateway may have names like ``azure/gpt-image-2`` for its own models, so one that the catalogue has as a model of
    the record's provider is not carried, nor is one of a provider that is not in use.

    Args:
        record: The record.
        registry: The models.
        providers_on: The providers that are in use.
    """
    if is_ours(record):
        return True
    provider, _, model_id = record.provider_model_id.partition("/")
    if not model_id or provider not in providers_on:
        return False
    own = registry.models(record.provider_id)
    return all(model.id != record.provider_model_id for model in own)


def reference_of(record: Record, registry: Registry, providers_on: Collection[str]) -> str:
    """The model of a record as ``provider/model``; for the arguments, see ``is_carried``."""
    if is_carried(record, registry, providers_on):
        return record.provider_model_id
    return f"{record.provider_id}/{record.provider_model_id}"


def recalled_options(record: Record, model: ModelConfig, options: Mapping[str, OptionValue]) -> dict[str, OptionValue]:
    """The options of a carried model under the names by which the page recalls those of the carrier."""
    if model.provider == record.provider_id:
        return {}
    names = _CONTROLS.get(record.provider_id, {}).keys() & model.options.keys()
    return {f"{record.provider_id}_{name}": options[name] for name in names if options.get(name, "auto") != "auto"}
