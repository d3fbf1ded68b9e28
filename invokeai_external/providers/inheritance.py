"""What a model or a provider has of another one: raw fields, merged before they are validated. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .schema import option_kind

__all__ = ["merge_fields", "without_own_facts"]


def merge_fields(base: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping with the fields of another merged into it at every depth; neither is changed.

    A field that is None in ``override`` is taken out, so that its default holds.
    """
    merged = dict(base)
    for name, value in override.items():
        old = merged.get(name)
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, Mapping):
            merged[name] = merge_fields(old if isinstance(old, Mapping) and _same_kind(old, value) else {}, value)
        else:
            merged[name] = value
    return merged


def without_own_facts(model: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a model without those that do not hold with another provider: its names, its end, its listing."""
    return {name: value for name, value in model.items() if name not in _OWN_FACTS}


_OWN_FACTS = frozenset({"id", "provider", "provider_name", "api_model", "extends", "aliases", "lifecycle"})


def _same_kind(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """False if the new fields are for another kind of sizing or option, so that they replace the old ones."""
    if "kind" in new:
        return bool(new["kind"] == old.get("kind"))
    return option_kind(new) in (None, option_kind(old)) or option_kind(old) is None
