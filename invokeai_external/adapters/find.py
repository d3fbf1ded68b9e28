"""Finds the adapter of a provider: the class ``ADAPTER`` of the module that has the name of its wire format."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module

from ..providers.provider_config import ProviderConfig
from .base import Adapter

__all__ = ["adapter_names", "adapter_of"]


@cache
def adapter_of(provider: ProviderConfig) -> Adapter:
    """The adapter for a provider's wire format. Its module is imported on first use."""
    return _adapter_named(provider.adapter)(provider)


@cache
def adapter_names() -> tuple[str, ...]:
    """The names of all wire formats."""
    folder = import_module(__package__)
    modules = (module.name for module in pkgutil.iter_modules(folder.__path__))
    return tuple(name for name in modules if hasattr(import_module(f".{name}", __package__), "ADAPTER"))


def _adapter_named(name: str) -> type[Adapter]:
    adapter: type[Adapter] = import_module(f".{name}", __package__).ADAPTER
    return adapter
