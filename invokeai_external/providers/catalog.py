"""Reads the catalogue: the YAML files beside this module, one per provider."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

from .built_in import built_in_ids, file_of
from .inheritance import merge_fields, without_own_facts
from .provider_config import ProviderConfig
from .schema import ModelConfig
from .setup import Setup

__all__ = ["CatalogPage", "page", "pages", "providers"]

# The loader in C, which most installations of PyYAML have, takes a tenth of the time; every start of Invoke needs it.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class CatalogPage:
    """The file of one provider.

    Attributes:
        as_of: The date of its facts.
        provider: The provider.
        setup: What ``providers add`` asks; None for a provider with a base URL.
        flags: The options that have a flag in ``generate``, with its help; see ``option_flags``.
        models: The raw fields of its models by id, newest first. They are validated later, after the user's own fields
            are merged into them.
    """

    as_of: datetime.date
    provider: ProviderConfig
    setup: Setup | None
    flags: Mapping[str, str]
    models: Mapping[str, Mapping[str, Any]]

    def configs(self) -> tuple[ModelConfig, ...]:
        """The models of the file as they are, without the user's fields."""
        return _configs_of(self.provider.id)


@cache
def page(provider_id: str) -> CatalogPage:
    """The file of one provider, which is read once."""
    text = file_of(provider_id).read_text(encoding="utf-8")
    raw = yaml.load(text, Loader=_Loader)
    provider = ProviderConfig.model_validate(raw["provider"])
    models = {
        fields["id"]: {
            **_extended(fields),
            "provider": provider.id,
            "provider_name": provider.name,
            "prices_as_of": raw["as_of"],
            "sources": (*raw["sources"], *fields.get("sources", ())),
        }
        for fields in raw["models"]
    }
    setup = Setup.model_validate(raw["setup"]) if "setup" in raw else None
    return CatalogPage(raw["as_of"], provider, setup, raw.get("flags", {}), models)


@cache
def _configs_of(provider_id: str) -> tuple[ModelConfig, ...]:
    """The models of a file, which are validated once: that takes most of the time of a registry."""
    return tuple(ModelConfig.model_validate(fields) for fields in page(provider_id).models.values())


def _extended(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a model of a file, with those of the model of another file that it extends."""
    if "extends" not in fields:
        return dict(fields)
    other, _, model_id = fields["extends"].partition("/")
    return merge_fields(without_own_facts(page(other).models[model_id]), fields)


def pages() -> tuple[CatalogPage, ...]:
    """The files of all providers."""
    return tuple(page(provider_id) for provider_id in built_in_ids())


def providers() -> tuple[ProviderConfig, ...]:
    """The built-in providers."""
    return tuple(page.provider for page in pages())
