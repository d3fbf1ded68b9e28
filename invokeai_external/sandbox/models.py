"""Finds the models that the sandbox serves, by id, alias or dated snapshot."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache

from ..providers.catalog import page
from ..providers.schema import ModelConfig

__all__ = ["find_model", "gpt_image_version", "is_gpt_image", "listed_models"]


@cache
def _by_name(provider_id: str) -> dict[str, ModelConfig]:
    configs = page(provider_id).configs()
    return {name: config for config in configs for name in (config.id, *config.aliases)}


def find_model(provider_id: str, name: str) -> ModelConfig | None:
    """The model with this id, alias or dated snapshot (``gpt-image-2-2026-04-21``), even if retired; else None."""
    undated = re.sub(r"-\d{4}-\d{2}-\d{2}$", "", name)
    return _by_name(provider_id).get(name) or _by_name(provider_id).get(undated)


def listed_models(provider_id: str, *, serves: Callable[[ModelConfig], bool]) -> dict[str, ModelConfig]:
    """The models of a list of models, by id and alias, newest first."""
    return {name: config for name, config in _by_name(provider_id).items() if serves(config)}


def is_gpt_image(model: str) -> bool:
    """True if a model id belongs to the GPT image family; by prefix, because there are dated snapshots."""
    return model.startswith(("gpt-image-", "chatgpt-image-"))


def gpt_image_version(model: str) -> float:
    """The version in the id of a GPT image model, such as 2.5; 0 for any other model."""
    found = re.match(r"gpt-image-(\d+(?:\.\d+)?)", model)
    return float(found[1]) if found else 0.0
