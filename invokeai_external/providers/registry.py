"""Finds a provider and a model config by id: the catalogue, with the user's own models laid over it."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from pydantic import ValidationError

from .. import clock
from ..errors import InvalidRequestError, NotConfiguredError, Remedy, RequestError, SettingsError, UnknownProviderError
from ..result import Notice
from . import catalog
from .schema import ModelConfig, ProviderConfig

__all__ = ["PROVIDER_IDS", "Registry", "ResolvedModel"]


PROVIDER_IDS = catalog.PROVIDER_IDS


class UserModels(Protocol):
    """The user's own models: their raw fields by ``provider/id``, and how to name a mistake in them."""

    @property
    def fields(self) -> Mapping[str, Mapping[str, Any]]: ...

    def error(self, reference: str, error: ValidationError) -> SettingsError:
        """The first mistake that a model's fields hold, with its line."""
        ...

    def misnamed(self, reference: str, error: RequestError) -> SettingsError:
        """The error of a model whose name cannot be one, with its line."""
        ...


class ResolvedModel(NamedTuple):
    """A model that was found, and what the user should know of how."""

    model: ModelConfig
    notices: tuple[Notice, ...] = ()


class Registry:
    """All providers and models that are known.

    Args:
        user_models: What the user's ``invokeai_external.yaml`` adds or overrides.
        today: The day on which models are active or retired; that of the call, in UTC, if none is given.

    Raises:
        SettingsError: One of the user's models is not valid; the message names the file, the line and the field.
    """

    def __init__(
        self, user_models: UserModels | None = None, *, today: Callable[[], datetime.date] | None = None
    ) -> None:
        self._today = today or clock.utc_today
        # As they are written down. What is given out has the status of its day, see ``_as_of``.
        known = {config.reference: config for page in catalog.pages() for config in page.configs()}
        self._models = dict(known)
        for reference, fields in (user_models.fields if user_models else {}).items():
            assert user_models is not None
            self._models[reference] = self._user_model(reference, fields, user_models)

    def _user_model(self, reference: str, fields: Mapping[str, object], user_models: UserModels) -> ModelConfig:
        provider, _, model_id = reference.partition("/")
        try:
            base = self._find(reference, self._today()).model.model_dump(mode="json", exclude_unset=True)
        except RequestError as error:
            raise user_models.misnamed(reference, error) from None
        if base["id"] != model_id:
            # It was found by an alias, which from now on is the name of this model alone.
            base["aliases"] = ()
        try:
            merged = catalog.merge_fields(_without_overruled(base, fields), fields)
            return ModelConfig.model_validate({**merged, "id": model_id, "provider": provider})
        except ValidationError as error:
            raise user_models.error(reference, error) from None

    def provider(self, provider_id: str) -> ProviderConfig:
        """The provider of that id; raises UnknownProviderError."""
        if provider_id not in PROVIDER_IDS:
            raise UnknownProviderError(
                f"There is no provider {provider_id!r}.", remedy=f"Choose one of: {', '.join(PROVIDER_IDS)}."
            )
        return catalog.page(provider_id).provider

    def models(self, provider_id: str | None = None) -> tuple[ModelConfig, ...]:
        """All models, or one provider's, newest first, the user's own last; each with its status of today."""
        today = self._today()
        return tuple(self._as_of(today, model) for model in self._known(provider_id))

    def _known(self, provider_id: str | None = None) -> tuple[ModelConfig, ...]:
        return tuple(m for m in self._models.values() if provider_id in (None, m.provider))

    def _as_of(self, day: datetime.date, model: ModelConfig) -> ModelConfig:
        """The model with the status that it has on a day, and a successor that is not retired on it."""
        life = model.lifecycle
        update = {"status": life.status_on(day), "successor": self._living_successor(day, model)}
        return model.model_copy(update={"lifecycle": life.model_copy(update=update)})

    def _living_successor(self, day: datetime.date, model: ModelConfig) -> str | None:
        """What to use instead: its successor, or that one's where it is retired itself; None if none of them lives."""
        passed, name = {model.id}, model.lifecycle.successor
        while name:
            found = _named(name, self._known(model.provider))
            if found is None or found.lifecycle.status_on(day) != "retired":
                return name
            if found.id in passed:
                return None
            passed.add(found.id)
            name = found.lifecycle.successor
        return None

    def resolve(self, reference: str) -> ResolvedModel:
        """Find a model by ``provider/id``, by a known bare id, or by an alias; it has its status of today.

        An id that a provider may have but the catalogue does not know borrows a profile: of the longest known id that
        it begins with and continues after a dash (a dated snapshot), else of the provider's newest model.

        Raises:
            UnknownProviderError: No provider has that id.
            InvalidRequestError: A bare id is not known, so that its provider cannot be told.
        """
        today = self._today()
        found = self._find(reference, today)
        return found._replace(model=self._as_of(today, found.model))

    def _find(self, reference: str, day: datetime.date) -> ResolvedModel:
        # Google lists its ids as models/gemini-..., and so people paste them.
        provider_id, slash, model_id = reference.strip().removeprefix("models/").partition("/")
        model_id = model_id.removeprefix("models/")
        if not slash:
            return self._resolve_bare(provider_id)
        self.provider(provider_id)
        if not model_id:
            raise InvalidRequestError(
                f"{reference!r} names no model.", remedy=f"See: invokeai-external models --provider {provider_id}"
            )
        models = self._known(provider_id)
        found = _named(model_id, models)
        return ResolvedModel(found) if found else self._borrow(model_id, models, day)

    def _resolve_bare(self, model_id: str) -> ResolvedModel:
        found = _named(model_id, self._known())
        if found:
            return ResolvedModel(found)
        if snapshot_of := _prefix_of(model_id, self._known()):
            return _as_snapshot(model_id, snapshot_of)
        raise InvalidRequestError(
            f"No known model is called {model_id!r}.",
            remedy=f"Write it as provider/model-id, with a provider out of {', '.join(PROVIDER_IDS)}; "
            "see 'invokeai-external models'.",
        )

    def _borrow(self, model_id: str, models: Sequence[ModelConfig], day: datetime.date) -> ResolvedModel:
        if snapshot_of := _prefix_of(model_id, models):
            return _as_snapshot(model_id, snapshot_of)
        newest = _newest(models, day)
        notice = Notice(
            "unknown_model",
            f"{model_id} is not in the catalogue: it is treated like {newest.name}, and its prices are unknown.",
        )
        return ResolvedModel(newest.as_unknown(model_id), (notice,))

    def default_model(self, providers_with_key: Iterable[str]) -> ModelConfig:
        """The newest active model of the first provider that has a key; raises NotConfiguredError if none has."""
        ready, today = set(providers_with_key), self._today()
        for provider_id in PROVIDER_IDS:
            if provider_id in ready:
                return self._as_of(today, _newest(self._known(provider_id), today))
        raise NotConfiguredError(
            "No provider has a key yet.",
            remedy=Remedy(
                f"Set one with 'invokeai-external keys set {PROVIDER_IDS[-1]}' (or {' or '.join(PROVIDER_IDS[:-1])}), "
                "or try everything for nothing with --sandbox.",
                action="set_key",
            ),
        )


def _named(name: str, models: Sequence[ModelConfig]) -> ModelConfig | None:
    by_id = next((m for m in models if name == m.id), None)
    return by_id or next((m for m in models if name in m.aliases), None)


def _prefix_of(model_id: str, models: Iterable[ModelConfig]) -> ModelConfig | None:
    """The model with the longest id that begins another id; ``gpt-image-1`` begins ``gpt-image-1-x``, not ``-10``."""
    fitting = [m for m in models if model_id.startswith(f"{m.id}-")]
    return max(fitting, key=lambda m: len(m.id), default=None)


def _as_snapshot(model_id: str, of: ModelConfig) -> ResolvedModel:
    notice = Notice("snapshot", f"{model_id} is not in the catalogue: it is treated as a snapshot of {of.name}.")
    return ResolvedModel(of.as_snapshot(model_id), (notice,))


def _newest(models: Sequence[ModelConfig], day: datetime.date) -> ModelConfig:
    """The first model that is active on a day; the first of all if none of them is."""
    return next((m for m in models if m.lifecycle.status_on(day) == "active"), models[0])


def _without_overruled(base: Mapping[str, Any], fields: Mapping[str, object]) -> dict[str, Any]:
    """A model's fields without what the user's own say of its end: a status without a day takes the catalogue's day
    with it, and a day of the user's own is confirmed."""
    own = fields.get("lifecycle")
    if not isinstance(own, Mapping) or not isinstance(base.get("lifecycle"), Mapping):
        return dict(base)
    overruled = {"status", "shutdown", "shutdown_confirmed"} if {"status", "shutdown"} & own.keys() else set()
    return {**base, "lifecycle": {name: value for name, value in base["lifecycle"].items() if name not in overruled}}
