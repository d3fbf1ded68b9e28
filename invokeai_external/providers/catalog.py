"""The model configs as data: one YAML file a provider beside this module, and the functions that read them."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from .schema import ModelConfig, ProviderConfig

__all__ = ["PROVIDER_IDS", "CatalogPage", "merge_fields", "page", "pages"]

PROVIDER_IDS = ("gemini", "openai")

# Nearly all installs of PyYAML have the loader in C, which takes a tenth of the time: part of every start of Invoke.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class CatalogPage(NamedTuple):
    """One provider's file: what was known on a day of the provider, and its models as raw fields by id, newest first.

    The fields are kept raw so that the user's own can be laid over them before they are checked.
    """

    as_of: datetime.date
    provider: ProviderConfig
    models: Mapping[str, Mapping[str, Any]]

    def configs(self) -> tuple[ModelConfig, ...]:
        return tuple(ModelConfig.model_validate(fields) for fields in self.models.values())


@cache
def page(provider_id: str) -> CatalogPage:
    """The catalogue file of one provider."""
    text = Path(__file__).with_name(f"{provider_id}.yaml").read_text(encoding="utf-8")
    raw = yaml.load(text, Loader=_Loader)
    provider = ProviderConfig.model_validate(raw["provider"])
    models = {
        fields["id"]: {
            **fields,
            "provider": provider.id,
            "description": f"{fields['description']} {provider.billing_note}",
        }
        for fields in raw["models"]
    }
    return CatalogPage(raw["as_of"], provider, models)


def pages() -> tuple[CatalogPage, ...]:
    """All catalogue files."""
    return tuple(page(provider_id) for provider_id in PROVIDER_IDS)


def merge_fields(base: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one mapping over another, field by field and at every depth; neither is changed."""
    merged = dict(base)
    for name, value in override.items():
        below = merged.get(name)
        if isinstance(below, Mapping) and isinstance(value, Mapping) and _same_kind(below, value):
            merged[name] = merge_fields(below, value)
        else:
            merged[name] = value
    return merged


def _same_kind(below: Mapping[str, Any], above: Mapping[str, Any]) -> bool:
    """False where the upper one is of another kind of sizing, whose fields cannot be mixed with the lower one's."""
    return "kind" not in above or above["kind"] == below.get("kind")
