"""Reads the catalogue: the YAML files beside this module, one per provider."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

from .built_in import built_in_ids, file_of
from .schema import ModelConfig, ProviderConfig, option_kind

__all__ = ["CatalogPage", "merge_fields", "page", "pages", "provider_name", "providers"]

# The loader in C, which most installations of PyYAML have, takes a tenth of the time; every start of Invoke needs it.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class CatalogPage:
    """The file of one provider.

    Attributes:
        as_of: The date of its facts.
        provider: The provider.
        flags: The options that have a flag in ``generate``, with its help; see ``option_flags``.
        models: The raw fields of its models by id, newest first. They are validated later, after the user's own fields
            are merged into them.
    """

    as_of: datetime.date
    provider: ProviderConfig
    flags: Mapping[str, str]
    models: Mapping[str, Mapping[str, Any]]

    def configs(self) -> tuple[ModelConfig, ...]:
        """The models of the file as they are, without the user's fields."""
        return tuple(ModelConfig.model_validate(fields) for fields in self.models.values())


@cache
def page(provider_id: str) -> CatalogPage:
    """The file of one provider, which is read once."""
    text = file_of(provider_id).read_text(encoding="utf-8")
    raw = yaml.load(text, Loader=_Loader)
    provider = ProviderConfig.model_validate(raw["provider"])
    models = {
        fields["id"]: {
            **fields,
            "provider": provider.id,
            "prices_as_of": raw["as_of"],
            "sources": (*raw["sources"], *fields.get("sources", ())),
        }
        for fields in raw["models"]
    }
    return CatalogPage(raw["as_of"], provider, raw.get("flags", {}), models)


def pages() -> tuple[CatalogPage, ...]:
    """The files of all providers."""
    return tuple(page(provider_id) for provider_id in built_in_ids())


def providers() -> tuple[ProviderConfig, ...]:
    """The built-in providers."""
    return tuple(page.provider for page in pages())


def provider_name(provider_id: str) -> str:
    """The name of a provider in a sentence; its id if it is not known."""
    return page(provider_id).provider.name if provider_id in built_in_ids() else provider_id


def merge_fields(base: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping with the fields of another merged into it at every depth; neither is changed."""
    merged = dict(base)
    for name, value in override.items():
        old = merged.get(name)
        if isinstance(old, Mapping) and isinstance(value, Mapping) and _same_kind(old, value):
            merged[name] = merge_fields(old, value)
        else:
            merged[name] = value
    return merged


def _same_kind(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """False if the new fields are for another kind of sizing or option, so that they replace the old ones."""
    if "kind" in new:
        return bool(new["kind"] == old.get("kind"))
    return option_kind(new) in (None, option_kind(old)) or option_kind(old) is None
