"""Finds providers and models by name: those of the catalogue, merged with the user's own models."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from .. import clock
from ..errors import InvalidRequestError, Remedy, RequestError
from ..misspellings import or_nearest
from ..result import Notice
from ..untrusted_text import quoted
from . import catalog
from .built_in import built_in_ids
from .configured import CatalogAdditions, configured_providers, provider_named
from .inheritance import merge_fields, without_own_facts
from .of_the_day import as_of, named, newest
from .provider_config import ProviderConfig
from .schema import ModelConfig
from .unknown_models import (
    assert_not_misspelt,
    not_discovered,
    without_default,
    without_key,
    without_models,
    without_provider,
)

__all__ = ["Registry", "ResolvedModel"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """A model that was found by name.

    Attributes:
        model: The model.
        notices: How it was found, if not by a name in the catalogue.
    """

    model: ModelConfig
    notices: tuple[Notice, ...] = ()


class Registry:
    """All known providers and models.

    Args:
        user: The providers and models that the user's ``invokeai_external.yaml`` adds or changes.
        today: Returns the date that decides whether a model is active or retired; by default, today's date in UTC.

    Raises:
        SettingsError: One of the user's providers or models is not valid; the message names the file, the line and the
            field.
    """

    def __init__(
        self, user: CatalogAdditions | None = None, *, today: Callable[[], datetime.date] | None = None
    ) -> None:
        self._today = today or clock.utc_today
        self._providers = configured_providers(user)
        # As written in the files. What is returned has the status of the day, see ``of_the_day``.
        pages = (catalog.page(provider_id) for provider_id in self._providers if provider_id in built_in_ids())
        self._models = {config.reference: config for page in pages for config in page.configs()}
        self._discovered: set[str] = set()
        # The user's models that are not there yet, and the model of a provider's own list that each waits for.
        self._awaited: dict[str, str] = {}
        if user:
            self._add_discovered_of(user)
            self._add_models_of(user)

    def _discovers(self, provider_id: str) -> bool:
        found = self._providers.get(provider_id)
        return found is not None and found.discover_models

    def _add_discovered_of(self, user: CatalogAdditions) -> None:
        for reference, fields in user.discovered.items():
            provider_id, _, model_id = reference.partition("/")
            if not self._discovers(provider_id):
                continue
            own = {"id": model_id, "provider": provider_id, "provider_name": self._providers[provider_id].name}
            try:
                self._models[reference] = ModelConfig.model_validate({**fields, **own})
            except ValidationError:
                # Another version may have written it; no mistake of the user's.
                _log.info("What %s said of %s is not understood.", provider_id, model_id)
            else:
                self._discovered.add(provider_id)

    def _add_models_of(self, user: CatalogAdditions) -> None:
        pending = dict(user.models)
        while pending:
            # A model may extend one that is written below.
            reference = next(iter(pending))
            chain = {reference: None}
            while isinstance(other := pending[reference].get("extends"), str) and other in pending:
                if other in chain:
                    raise user.mistake(
                        ("models", reference, "extends"), f"models.{reference}.extends: it extends itself"
                    )
                reference = other
                chain[reference] = None
            for reference in reversed(chain):
                fields = pending.pop(reference)
                if awaited := self._awaited_by(reference, fields):
                    self._awaited[reference] = awaited
                else:
                    self._models[reference] = self._user_model(reference, fields, user)

    def _user_model(self, reference: str, fields: Mapping[str, Any], user: CatalogAdditions) -> ModelConfig:
        place = ("models", reference)
        try:
            base, own = self._base_of(reference, fields)
        except RequestError as error:
            raise user.mistake(place, f"models.{reference}: {error.message.rstrip('.')}", error.remedy) from None
        _check_taken_out(reference, base, fields, user)
        try:
            return ModelConfig.model_validate({**merge_fields(base, fields), **own})
        except ValidationError as error:
            raise user.invalid(place, error) from None

    def _awaited_by(self, reference: str, fields: Mapping[str, Any]) -> str | None:
        """The model that the user changes or extends, if its provider lists its models itself and has not listed it.

        It may not have been asked yet, and what it lists may change on any day.
        """
        base = fields.get("extends")
        if base is None and "sizing" not in fields:
            base = reference
        if not isinstance(base, str) or base in self._models:
            return None
        return self._awaited.get(base) or (base if self._discovers(base.partition("/")[0]) else None)

    def _base_of(self, reference: str, fields: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The fields that the user's model has where nothing is written for it, and those that cannot be written.

        Raises:
            RequestError: Its name is not valid, or there is no model that it could extend.
        """
        provider_id, _, model_id = reference.partition("/")
        provider = self.provider(provider_id)
        own = {"id": model_id, "provider": provider_id, "provider_name": provider.name}
        if (other := fields.get("extends")) is not None:
            known = self._extended(other)
        elif reference in self._models:
            known = self._models[reference]
        elif provider_id in built_in_ids() and catalog.page(provider_id).models:
            known = self._find(reference, self._today(), has_own_name="name" in fields).model
        else:
            # A new provider's models are like no others.
            return {"name": model_id, "description": f"A model of {provider.name}. Images are billed."}, own
        base = known.model_dump(mode="json", exclude_unset=True)
        if known.reference != reference:
            # The user has set them for that model only, and they may cost more.
            base.pop("defaults", None)
        if known.provider != provider_id:
            base = without_own_facts(base)
        elif known.id != model_id:
            # It was found by an alias, which is now the id of this model.
            base["aliases"] = ()
        if {"prices", "image_tokens", "image_prices"} & fields.keys():
            # The user's own prices are valid on every day.
            prices, _ = known.prices_on(self._today())
            known_prices = {} if _is_by_image(fields) else prices.model_dump(mode="json", exclude_unset=True)
            base |= {"prices": known_prices, "later_prices": ()}
            base |= {"prices_as_of": None, "image_prices": {}}
        return _without_overridden(base, fields), own

    def _extended(self, reference: object) -> ModelConfig:
        """The model that another one extends; raises InvalidRequestError if there is no such model."""
        if isinstance(reference, str) and reference in self._models:
            return self._models[reference]
        raise InvalidRequestError(
            f"extends: there is no model {quoted(reference)}",
            remedy=f"{or_nearest(str(reference), self._models)}Write a known model as provider/model-id.",
        )

    def provider(self, provider_id: str) -> ProviderConfig:
        """The provider with an id; raises UnknownProviderError if there is no such provider."""
        return provider_named(provider_id, self._providers)

    def is_awaited(self, reference: str) -> bool:
        """True if nothing can be said of a model before a provider has listed it, or the one that it extends."""
        lister = self._awaited.get(reference, reference).partition("/")[0]
        return reference not in self._models and self._discovers(lister) and lister not in self._discovered

    @property
    def provider_ids(self) -> tuple[str, ...]:
        """The ids of all providers, in the order in which their models are listed."""
        return tuple(self._providers)

    @property
    def today(self) -> datetime.date:
        """The date for which the models have their status."""
        return self._today()

    def models(self, provider_id: str | None = None) -> tuple[ModelConfig, ...]:
        """The models of one provider, or of all that have a base URL: newest first, the user's own last, each with its
        status of today.
        """
        today = self._today()
        off = {name for name, provider in self._providers.items() if provider.base_url is None and name != provider_id}
        known = self._known(provider_id) if provider_id else self._models.values()
        return tuple(self._as_of(today, model) for model in known if model.provider not in off)

    def _known(self, provider_id: str) -> tuple[ModelConfig, ...]:
        return tuple(m for m in self._models.values() if m.provider == provider_id)

    @property
    def _by_bare_name(self) -> Sequence[ModelConfig]:
        """All models, those that have everything themselves before those that extend another one."""
        return sorted(self._models.values(), key=lambda model: model.extends is not None)

    def _as_of(self, day: datetime.date, model: ModelConfig) -> ModelConfig:
        return as_of(day, model, self._known(model.provider) if model.lifecycle.successor else ())

    def resolve(self, reference: str) -> ResolvedModel:
        """Find a model by ``provider/id``, or by a known id or alias without a provider. It has its status of today.

        An unknown id gets the profile of a known model: that of the longest known id which it continues after a hyphen
        (a dated snapshot), or else that of the newest model of the provider. ``misspellings`` says how an unknown id
        differs from a misspelling.

        Raises:
            UnknownProviderError: There is no such provider.
            InvalidRequestError: The id is misspelt, or is unknown and has no provider, or is missing.
        """
        if not isinstance(reference, str):
            raise InvalidRequestError(f"A model's name must be text, not {type(reference).__name__}.")
        today = self._today()
        found = self._find(reference, today)
        return replace(found, model=self._as_of(today, found.model))

    @property
    def option_names(self) -> frozenset[str]:
        """The names of the options of all models."""
        return frozenset(name for model in self._models.values() for name in model.options)

    def _find(self, reference: str, day: datetime.date, *, has_own_name: bool = False) -> ResolvedModel:
        """The model with a name; ``has_own_name`` says that it is the user's own, however near to another id."""
        if not reference.isprintable():
            raise InvalidRequestError(
                f"{quoted(reference)} is not a valid model id: it has a character that does not show.",
                remedy="Type the id again: it has only letters, digits, dots, hyphens and slashes.",
            )
        # Google lists its ids as models/gemini-..., so users paste them in that form.
        provider_id, slash, model_id = reference.strip().removeprefix("models/").partition("/")
        model_id = model_id.removeprefix("models/")
        if not slash:
            return self._resolve_bare(provider_id)
        self.provider(provider_id)
        if not model_id:
            raise InvalidRequestError(
                f"{quoted(reference)} does not name a model.",
                remedy=Remedy(
                    f"List the models with: invokeai-external models --provider {provider_id}",
                    action="list_models",
                    provider=provider_id,
                ),
            )
        models = self._known(provider_id)
        if found := named(model_id, models):
            return ResolvedModel(found)
        known_as = f"{provider_id}/{model_id}"
        lister, _, listed_id = self._awaited.get(known_as, known_as).partition("/")
        if self._discovers(lister):
            listed = self._known(lister) if lister in self._discovered else ()
            raise not_discovered(self._providers[lister], listed_id, listed)
        if not models:
            raise without_models(provider_id, model_id)
        if not has_own_name:
            assert_not_misspelt(model_id, models)
        return self._resolve_unknown(model_id, models, day)

    def _resolve_bare(self, model_id: str) -> ResolvedModel:
        models = self._by_bare_name
        if found := named(model_id, models):
            return ResolvedModel(found)
        assert_not_misspelt(model_id, models)
        if snapshot_of := _prefix_of(model_id, models):
            return _as_snapshot(model_id, snapshot_of)
        raise without_provider(model_id, models, self.provider_ids)

    def _resolve_unknown(self, model_id: str, models: Sequence[ModelConfig], day: datetime.date) -> ResolvedModel:
        if snapshot_of := _prefix_of(model_id, models):
            return _as_snapshot(model_id, snapshot_of)
        likely = newest(models, day)
        notice = Notice(
            "unknown_model",
            f"{model_id} is not in the catalogue; it is treated like {likely.name}, and its prices are unknown.",
        )
        return ResolvedModel(likely.as_unknown(model_id), (notice,))

    def similar_to(self, provider_id: str, model_id: str) -> ModelConfig:
        """The model whose profile an unknown id gets."""
        models = self._known(provider_id)
        return _prefix_of(model_id, models) or newest(models, self._today())

    def default_model(self, providers_with_key: Iterable[str]) -> ModelConfig:
        """The newest active model of the first provider with a key; raises NotConfiguredError without a key."""
        ready, today = set(providers_with_key), self._today()
        for provider_id in self.provider_ids:
            if provider_id in ready and self._known(provider_id) and not self._discovers(provider_id):
                return self._as_of(today, newest(self._known(provider_id), today))
        if many := next((name for name in self.provider_ids if name in ready and self._discovers(name)), None):
            raise without_default(self._providers[many])
        raise without_key(self._providers.values())


def _check_taken_out(
    reference: str, base: Mapping[str, Any], fields: Mapping[str, Any], user: CatalogAdditions
) -> None:
    """Raise SettingsError for an option that is to be taken out and is not there: its name may be misspelt."""
    known, written = base.get("options") or {}, fields.get("options")
    for name, value in written.items() if isinstance(written, Mapping) else ():
        if value is None and name not in known:
            raise user.mistake(
                ("models", reference, "options", str(name)),
                f"models.{reference}.options.{name}: there is no such option to take out",
                f"{or_nearest(str(name), known)}Correct or delete that line, then try again.",
            )


def _is_by_image(fields: Mapping[str, object]) -> bool:
    """True if the user's prices are by image: they replace the prices by token, which would be billed beside them."""
    own = fields.get("prices")
    return isinstance(own, Mapping) and any(own.get(name) is not None for name in ("per_image", "per_megapixel"))


def _prefix_of(model_id: str, models: Iterable[ModelConfig]) -> ModelConfig | None:
    """The model with the longest id that another id continues after a hyphen: ``gpt-image-1`` for ``gpt-image-1-x``."""
    candidates = [m for m in models if model_id.startswith(f"{m.id}-")]
    return max(candidates, key=lambda m: len(m.id), default=None)


def _as_snapshot(model_id: str, of: ModelConfig) -> ResolvedModel:
    notice = Notice("snapshot", f"{model_id} is not in the catalogue; it is treated as a snapshot of {of.name}.")
    return ResolvedModel(of.as_snapshot(model_id), (notice,))


def _without_overridden(base: Mapping[str, Any], fields: Mapping[str, object]) -> dict[str, Any]:
    """The fields of a known model without those of its lifecycle that the user's fields override as a whole.

    A status of the user's replaces the catalogue's date too, and a date of the user's is confirmed.
    """
    own = fields.get("lifecycle")
    if not isinstance(own, Mapping) or not isinstance(base.get("lifecycle"), Mapping):
        return dict(base)
    overridden = {"status", "shutdown", "shutdown_confirmed"} if {"status", "shutdown"} & own.keys() else set()
    return {**base, "lifecycle": {name: value for name, value in base["lifecycle"].items() if name not in overridden}}
