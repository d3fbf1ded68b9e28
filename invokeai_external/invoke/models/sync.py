"""Keeps Invoke's installed models in step with the catalogue and the keys.

The sync remembers what it installed and in what form (``memory``), so a model that the user deleted stays deleted, and
a field that the user edited stays edited. A model is deleted when it is retired; one that the user installs by hand
after that stays.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from ...errors import ExternalError
from ...providers.registry import Registry
from ...providers.schema import ModelConfig
from ..log import log
from .carriers import carrier_of, source_of
from .memory import Fields, ModelMemory

__all__ = ["ModelStore", "ModelSync"]


class ModelStore(Protocol):
    """Invoke's installed models."""

    def installed(self) -> Mapping[str, Fields]:
        """The fields of each installed external model, by source."""

    def carried(self) -> set[str]:
        """The sources of the installed models that are carried and that this plugin has installed."""

    def offer(self, models: Sequence[ModelConfig]) -> None:
        """Show these models in the list of starter models, in place of those shown before."""

    def desired(self, model: ModelConfig) -> Fields:
        """The fields of a model's record according to the catalogue."""

    def written_by_invoke(self, model: ModelConfig) -> Sequence[Fields]:
        """The fields that Invoke itself writes if nobody has edited anything."""

    def install(self, model: ModelConfig, fields: Fields) -> None:
        """Install a model, or change the record of an installed one."""

    def delete(self, source: str) -> None:
        """Delete an installed model."""


class ModelSync:
    """Installs, updates and deletes models, so that those of the providers with a key are there, as in the catalogue.

    Args:
        registry: Returns the models; called at each sync.
        providers: Returns the providers that have a key; called at each sync.
        store: Invoke's installed models.
        root: Invoke's root folder.
    """

    def __init__(
        self, registry: Callable[[], Registry], providers: Callable[[], set[str]], store: ModelStore, root: Path
    ) -> None:
        self._registry = registry
        self._providers = providers
        self._store = store
        self._root = root
        # Reentrant, because a deletion in a sync calls ``model_deleted``.
        self._lock = threading.RLock()
        # Held by the sync that is next, while it waits for the one in progress.
        self._next = threading.Lock()
        self._closed = threading.Event()
        # Models that Invoke is still installing. They are not remembered yet: if Invoke stopped now, the next sync
        # would take them for models that the user deleted.
        self._pending: set[str] = set()
        # Providers that had no key at some time since the last sync, although they may have one again.
        self._lost_key: set[str] = set()

    def run(self) -> None:
        """Bring the models up to date. Logs errors and never raises.

        If a sync is in progress and another one waits for it, this returns at once: the one that waits sees every
        change so far. Invoke reports the installation of each model, and a stop waits for all syncs that it has begun.
        """
        if self._next.acquire(blocking=False):
            self._run(self._sync)

    def key_changed(self) -> None:
        """A key was set or removed. Notes, for the next sync, which providers have no key now. Never raises."""
        self._run(lambda: self._lost_key.update(set(self._registry().provider_ids) - self._providers()))

    def model_deleted(self, source: str) -> None:
        """A model was deleted. If its provider has a key, the user did that. Never raises."""
        self._run(lambda: self._remember_deleted(source))

    def stop(self) -> None:
        """Let a sync in progress end after its current model, and start no other."""
        self._closed.set()

    def close(self) -> None:
        """Stop, and wait until a sync in progress has ended."""
        self.stop()
        with self._lock:
            pass

    def _run(self, work: Callable[[], None]) -> None:
        try:
            with self._lock:
                if not self._closed.is_set():
                    work()
        except ExternalError as error:
            log.error("invokeai_external: %s", error)
        except OSError as error:
            log.error("invokeai_external: cannot save which models are installed: %s.", error.strerror)
        except Exception as error:
            log.exception("invokeai_external: cannot update the models: %s", error)

    def _sync(self) -> None:
        self._next.release()
        try:
            registry, usable = self._registry(), self._providers()
        except ExternalError:
            # Until the settings are valid again, the starter models are those of the catalogue.
            self._store.offer(_offered(Registry(), set()))
            raise
        self._store.offer(_offered(registry, usable))
        memory, installed, lost_key = ModelMemory(self._root), self._store.installed(), self._lost_key
        self._lost_key = set()
        known: dict[str, ModelConfig] = {}
        for provider in registry.provider_ids:
            models = [model for model in registry.models(provider) if _is_first(model, known)]
            sources = [source_of(model) for model in models]
            if provider in lost_key:
                # What the user deleted before the key was removed is installed again with the new key.
                for source in sources:
                    if source not in installed:
                        memory.forget(source)
            elif not any(source in installed for source in sources):
                # All are gone but were not deleted one by one: Invoke deleted them with the key, maybe while the plugin
                # was not loaded.
                for source in filter(memory.get, sources):
                    memory.forget(source)
            for model in models:
                if self._closed.is_set():
                    break
                self._sync_model(model, installed.get(source_of(model)), memory, has_key=provider in usable)
        for source in self._store.carried() - known.keys():
            reference = _carried_in(source)
            # A provider's own list may be lost for a while, such as without a network.
            if not (registry.is_awaited(reference) and _provider_in(reference) in usable):
                # Nobody could run it: its provider or its entry was removed from the user's settings.
                self._store.delete(source)
                memory.forget(source)
        memory.save()

    def _sync_model(self, model: ModelConfig, current: Fields | None, memory: ModelMemory, *, has_key: bool) -> None:
        """Bring one model up to date.

        Args:
            model: The model.
            current: The fields of its record; None if it is not installed.
            memory: What was written before; is changed.
            has_key: True if its provider has a key.
        """
        source = source_of(model)
        written, is_pending = memory.get(source), source in self._pending
        if current is not None:
            self._pending.discard(source)
        if not has_key:
            if current is not None and (written is not None or is_pending):
                self._store.delete(source)
            memory.forget(source)
        elif model.lifecycle.status == "retired":
            # What is remembered was installed here, or deleted by the user, before it was retired.
            memory.forget(source)
            if current is not None and written:
                self._store.delete(source)
            elif current is not None and (merged := self._merge(current, model, None)) != current:
                self._store.install(model, merged)
        elif current is None:
            if written is None and not is_pending:
                self._store.install(model, self._store.desired(model))
                self._pending.add(source)
        else:
            merged = self._merge(current, model, written)
            if merged != current:
                self._store.install(model, merged)
            memory.remember(source, self._store.desired(model))

    def _remember_deleted(self, source: str) -> None:
        if _provider_of(source, self._registry()) in self._providers():
            memory = ModelMemory(self._root)
            memory.remember(source, {})
            memory.save()

    def _merge(self, current: Fields, model: ModelConfig, written: Fields | None) -> Fields:
        """The catalogue's fields, except for those that the user has edited."""
        desired = self._store.desired(model)
        unedited = [written or {}, *self._store.written_by_invoke(model)]
        return {
            name: desired[name] if any(name in fields and fields[name] == value for fields in unedited) else value
            for name, value in current.items()
        }


def _offered(registry: Registry, usable: Collection[str]) -> list[ModelConfig]:
    """The models for the list of starter models. A carried one is only there while it can be used: when a key of its
    carrier is set, Invoke's page installs all starter models of the carrier.
    """
    models = (model for provider in registry.provider_ids for model in registry.models(provider))
    return [
        model
        for model in models
        if model.lifecycle.status != "retired" and (carrier_of(model) is None or model.provider in usable)
    ]


def _is_first(model: ModelConfig, known: dict[str, ModelConfig]) -> bool:
    """True if no other model has the same source, by which Invoke identifies it; adds it to the known ones.

    That happens with a gateway at the base URL of a provider that Invoke knows, if the gateway's models have names like
    ``azure/gpt-image-2``.
    """
    first = known.setdefault(source_of(model), model)
    if first is not model:
        log.warning(
            "invokeai_external: %s cannot be installed in Invoke beside %s. Give it another id in"
            " invokeai_external.yaml, with its own id as api_model.",
            model.reference,
            first.reference,
        )
    return first is model


def _provider_of(source: str, registry: Registry) -> str:
    """The provider of an installed model."""
    known = (model for provider in registry.provider_ids for model in registry.models(provider))
    found = next((model.provider for model in known if source_of(model) == source), None)
    if found is None and registry.is_awaited(reference := _carried_in(source)):
        return _provider_in(reference)
    return found or _provider_in(source.removeprefix("external://"))


def _carried_in(source: str) -> str:
    """The ``provider/model`` that the source of a carried model ends with."""
    return source.removeprefix("external://").partition("/")[2]


def _provider_in(reference: str) -> str:
    return reference.partition("/")[0]
