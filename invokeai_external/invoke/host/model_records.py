"""The records of installed models, and the list of starter models."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from invokeai.app.api.dependencies import ApiDependencies
from invokeai.app.services.events.events_common import ModelInstallCompleteEvent
from invokeai.app.services.model_install.model_install_default import ModelInstallService
from invokeai.app.services.model_records.model_records_base import (
    ModelRecordChanges,
    ModelRecordOrderBy,
    UnknownModelException,
)
from invokeai.app.services.model_records.model_records_sql import ModelRecordServiceSQL
from invokeai.app.services.shared.sqlite.sqlite_common import SQLiteDirection
from invokeai.backend.model_manager.configs.external_api import ExternalApiModelConfig
from invokeai.backend.model_manager.starter_models import STARTER_MODELS, StarterModel
from invokeai.backend.model_manager.taxonomy import BaseModelType, ModelType

from .events import handled

__all__ = [
    "StarterModels",
    "delete_model",
    "install_model",
    "model_records",
    "on_model_deleted",
    "on_model_installed",
    "ordered_models",
]


def model_records() -> list[ExternalApiModelConfig]:
    """All installed external models. The public node API gives only one at a time, by its key."""
    found = ApiDependencies.invoker.services.model_manager.store.search_by_attr(
        base_model=BaseModelType.External, model_type=ModelType.ExternalImageGenerator
    )
    return [record for record in found if isinstance(record, ExternalApiModelConfig)]


@contextmanager
def ordered_models(rank: Callable[[str], int]) -> Iterator[None]:
    """List the external models by rank instead of by name, for the page's lists; all other models stay as they are.

    Invoke's page shows the models of a base in the order of the response, which is that of the database.

    Args:
        rank: Returns the place of a model by its source; a lower one comes first. Equal ones keep their order.
    """
    original = ModelRecordServiceSQL.search_by_attr

    def search_by_attr(store: ModelRecordServiceSQL, *arguments: Any, **named: Any) -> list[Any]:
        found = list(original(store, *arguments, **named))
        by_name = named.get("order_by", ModelRecordOrderBy.Default) in (
            ModelRecordOrderBy.Default,
            ModelRecordOrderBy.Name,
        )
        if by_name and named.get("direction", SQLiteDirection.Ascending) == SQLiteDirection.Ascending:
            places = [place for place, record in enumerate(found) if isinstance(record, ExternalApiModelConfig)]
            external = sorted((found[place] for place in places), key=lambda record: rank(record.source))
            for place, record in zip(places, external, strict=True):
                found[place] = record
        return found

    ModelRecordServiceSQL.search_by_attr = search_by_attr
    try:
        yield
    finally:
        ModelRecordServiceSQL.search_by_attr = original


def install_model(source: str, changes: ModelRecordChanges) -> None:
    """Install a model with Invoke's installer, which names it and notifies every open page; or update its record."""
    ApiDependencies.invoker.services.model_manager.install.heuristic_import(source, config=changes)


def delete_model(record: ExternalApiModelConfig) -> None:
    """Delete a model. It may be deleted already, since Invoke deletes a provider's models with its key."""
    with suppress(UnknownModelException):
        ApiDependencies.invoker.services.model_manager.install.delete(record.key)


class StarterModels:
    """Invoke's list of starter models, in which the entries of some providers are replaced by ours.

    The list itself is changed, since other modules refer to it. It must have no entry of ours while Invoke starts: its
    own sync would install models during the clean-up of the database, which can crash Invoke.

    Args:
        providers: The providers.

    Attributes:
        built_in: The core's own entries of these providers.
    """

    def __init__(self, providers: Container[str]) -> None:
        self.built_in = [entry for entry in STARTER_MODELS if _provider_of(entry) in providers]
        self._shown = self.built_in
        self.show([])

    def show(self, entries: Sequence[StarterModel]) -> None:
        """Replace what is shown by these entries."""
        before = {id(entry) for entry in self._shown}
        STARTER_MODELS[:] = [*(entry for entry in STARTER_MODELS if id(entry) not in before), *entries]
        self._shown = list(entries)

    def restore(self) -> None:
        """Bring the core's own entries back."""
        self.show(self.built_in)


def _provider_of(entry: StarterModel) -> str | None:
    scheme, _, rest = entry.source.partition("://")
    return str(rest.partition("/")[0]) if scheme == "external" else None


@contextmanager
def on_model_installed(callback: Callable[[], None]) -> Iterator[None]:
    """Call a function in a thread after each install of an external model; the page installs them without details."""

    async def handle(event: tuple[str, ModelInstallCompleteEvent]) -> None:
        if isinstance(event[1].config, ExternalApiModelConfig):
            await asyncio.to_thread(callback)

    with handled({ModelInstallCompleteEvent}, handle):
        yield


@contextmanager
def on_model_deleted(callback: Callable[[str], None]) -> Iterator[None]:
    """Call a function with the source of each external model that was deleted; there is no event for it."""
    original = ModelInstallService.delete

    def delete(service: ModelInstallService, key: str) -> None:
        sources = [record.source for record in model_records() if record.key == key]
        original(service, key)
        for source in sources:
            callback(source)

    ModelInstallService.delete = delete
    try:
        yield
    finally:
        ModelInstallService.delete = original
