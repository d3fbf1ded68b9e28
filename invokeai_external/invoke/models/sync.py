"""Keeps Invoke's installed models in step with the catalogue and the keys.

The sync remembers what it installed and in what form (``memory``), so a model that the user deleted stays deleted, and
a field that the user edited stays edited. A model is deleted when it is retired; one that the user installs by hand
after that stays.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from ...errors import ExternalError
from ...providers.built_in import built_in_ids
from ...providers.registry import Registry
from ...providers.schema import ModelConfig
from ..log import log
from .memory import Fields, ModelMemory

__all__ = ["ModelStore", "ModelSync", "source_of"]


class ModelStore(Protocol):
    """Invoke's installed models."""

    def installed(self) -> Mapping[str, Fields]:
        """The fields of each installed external model, by source."""

    def desired(self, model: ModelConfig) -> Fields:
        """The fields of a model's record according to the catalogue."""

    def written_by_invoke(self, model: ModelConfig) -> Sequence[Fields]:
        """The fields that Invoke itself writes if nobody has edited anything."""

    def install(self, model: ModelConfig, fields: Fields) -> None:
        """Install a model, or change the record of an installed one."""

    def delete(self, source: str) -> None:
        """Delete an installed model."""


def source_of(model: ModelConfig) -> str:
    """The name under which Invoke installs a model."""
    return f"external://{model.provider}/{model.id}"


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
        self._run(lambda: self._lost_key.update(set(built_in_ids()) - self._providers()))

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
        registry, usable, memory = self._registry(), self._providers(), ModelMemory(self._root)
        installed, lost_key = self._store.installed(), self._lost_key
        self._lost_key = set()
        for provider in registry.provider_ids:
            models = registry.models(provider)
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
        provider = source.removeprefix("external://").partition("/")[0]
        if provider in self._providers():
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
