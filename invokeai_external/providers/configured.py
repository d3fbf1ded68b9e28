"""The providers of a root folder: the built-in ones, and those that the user's file changes or adds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from pydantic import ValidationError

from ..errors import Remedy, SettingsError, UnknownProviderError
from ..misspellings import or_nearest
from ..untrusted_text import quoted
from . import catalog
from .built_in import RESERVED_IDS
from .inheritance import merge_fields
from .provider_config import NOT_IN_A_FILE, PROVIDER_ID, ProviderConfig

__all__ = ["CatalogAdditions", "configured_providers", "provider_named"]


class CatalogAdditions(Protocol):
    """What the user's settings file adds to the catalogue, and the errors that name the line of a mistake there."""

    @property
    def providers(self) -> Mapping[str, Mapping[str, Any]]:
        """The raw fields of each provider by its id."""
        ...

    @property
    def models(self) -> Mapping[str, Mapping[str, Any]]:
        """The raw fields of each model by ``provider/id``."""
        ...

    @property
    def discovered(self) -> Mapping[str, Mapping[str, Any]]:
        """The raw fields of each model, by ``provider/id``, that a provider listed itself."""
        ...

    def invalid(self, place: Sequence[str], error: ValidationError) -> SettingsError:
        """The error for the first invalid field below a place, such as ``("models", "acme/acme-image-1")``."""
        ...

    def mistake(self, place: Sequence[str], problem: str, remedy: Remedy | str | None = None) -> SettingsError:
        """The error for what is wrong at a place."""
        ...


def configured_providers(user: CatalogAdditions | None) -> dict[str, ProviderConfig]:
    """All providers by id: those that Invoke knows, then the other built-in ones, then the user's own.

    Raises:
        SettingsError: One of the user's is not valid; the message names the file, the line and the field.
    """
    built_in = sorted(catalog.providers(), key=lambda provider: not provider.in_invoke)
    providers = {provider.id: provider for provider in built_in}
    if user:
        for provider_id, fields in user.providers.items():
            providers[provider_id] = _configured(provider_id, fields, providers.get(provider_id), user)
    return providers


def provider_named(provider_id: str, providers: Mapping[str, ProviderConfig]) -> ProviderConfig:
    """One of the providers; raises UnknownProviderError if no provider has this id."""
    if found := providers.get(provider_id):
        return found
    raise UnknownProviderError(
        f"There is no provider {quoted(provider_id)}.",
        remedy=f"{or_nearest(provider_id, providers)}Choose one of: {', '.join(providers)}.",
    )


def _configured(
    provider_id: str, fields: Mapping[str, Any], built_in: ProviderConfig | None, user: CatalogAdditions
) -> ProviderConfig:
    place = ("providers", provider_id)
    _check_allowed(place, fields, built_in, user)
    base = built_in.model_dump(mode="json", exclude_unset=True) if built_in else {"name": provider_id}
    if "base_url" in fields and built_in and built_in.base_url:
        # The usual variables hold keys for the provider's own base URL.
        base = {name: value for name, value in base.items() if name not in ("key_env", "base_url_env")}
    if isinstance(fields.get("auth"), Mapping):
        base.pop("auth", None)
    try:
        found = ProviderConfig.model_validate({**merge_fields(base, fields), "id": provider_id})
    except ValidationError as error:
        raise user.invalid(place, error) from None
    if built_in is None and found.base_url is None:
        raise user.mistake(place, f"providers.{provider_id}.base_url: this field is missing")
    return found


_KEYS = ("key", "api_key", "token", "secret")
"""What users call a key."""


def _check_allowed(
    place: Sequence[str], fields: Mapping[str, Any], built_in: ProviderConfig | None, user: CatalogAdditions
) -> None:
    """Raise SettingsError for what the user's file cannot decide."""
    provider_id = place[-1]
    if provider_id in RESERVED_IDS:
        raise user.mistake(
            place,
            f"providers.{provider_id}: InvokeAI itself has a provider with this id",
            "Choose another id, then try again.",
        )
    if not PROVIDER_ID.fullmatch(provider_id):
        raise user.mistake(
            place,
            f"providers.{provider_id}: this cannot be the id of a provider",
            "Use lower case letters, digits and underscores, with a letter first, such as acme_2.",
        )
    for name in _KEYS:
        if name in fields:
            raise user.mistake(
                (*place, name),
                f"providers.{provider_id}.{name}: keys do not belong in this file",
                f"Delete that line, and set the key: invokeai-external keys set {provider_id}",
            )
    for name in sorted(NOT_IN_A_FILE):
        if name in fields:
            raise user.mistake((*place, name), f"providers.{provider_id}.{name}: there is no such field")
    if built_in and built_in.in_invoke and "base_url" in fields:
        entry = f"external_{provider_id}_base_url"
        raise user.mistake(
            (*place, "base_url"),
            f"providers.{provider_id}.base_url: Invoke has a setting for it, and the key is beside that",
            f"Delete that line, and set {entry} in api_keys.yaml, beside the key.",
        )
