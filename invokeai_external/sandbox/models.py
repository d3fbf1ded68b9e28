"""Finds the models that the sandbox serves, by id, alias or dated snapshot."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache

from ..providers.catalog import page
from ..providers.schema import ModelConfig

__all__ = ["ServedModels", "gpt_image_version", "is_gpt_image"]


class ServedModels:
    """The models of the built-in wire formats, and others that are served like them.

    Args:
        others: Further models by wire format (``openai`` or ``gemini``), such as a user's own.
        serve_retired: True if retired models are served too.
        today: Returns the day that decides which models are retired.
    """

    def __init__(
        self,
        others: Mapping[str, Sequence[ModelConfig]],
        today: Callable[[], datetime.date],
        *,
        serve_retired: bool = False,
    ) -> None:
        self._others, self._today, self._serve_retired = others, today, serve_retired
        self._found: dict[str, dict[str, ModelConfig]] = {}

    def find(self, wire: str, name: str) -> ModelConfig | None:
        """The model with this id, alias or dated snapshot (``gpt-image-2-2026-04-21``), even if retired; else None."""
        by_name = self._by_name(wire)
        return by_name.get(name) or by_name.get(re.sub(r"-\d{4}-\d{2}-\d{2}$", "", name))

    def listed(self, wire: str) -> dict[str, ModelConfig]:
        """The models of a list of models, by id and alias, newest first."""
        return {name: config for name, config in self._by_name(wire).items() if self.serves(config)}

    def serves(self, model: ModelConfig) -> bool:
        """False for a retired model, unless retired models are served too."""
        return self._serve_retired or model.lifecycle.status_on(self._today()) != "retired"

    def _by_name(self, wire: str) -> dict[str, ModelConfig]:
        if wire not in self._found:
            others = {config.sent_id: config for config in self._others.get(wire, ())}
            self._found[wire] = {**others, **_built_in(wire)}
        return self._found[wire]


@cache
def _built_in(wire: str) -> dict[str, ModelConfig]:
    configs = page(wire).configs()
    return {name: config for config in configs for name in (config.id, *config.aliases)}


def is_gpt_image(model: str) -> bool:
    """True if a model id belongs to the GPT image family; by prefix, because there are dated snapshots."""
    return model.startswith(("gpt-image-", "chatgpt-image-"))


def gpt_image_version(model: str) -> float:
    """The version in the id of a GPT image model, such as 2.5; 0 for any other model."""
    found = re.match(r"gpt-image-(\d+(?:\.\d+)?)", model)
    return float(found[1]) if found else 0.0
