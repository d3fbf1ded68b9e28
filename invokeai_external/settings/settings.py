"""Reads keys, base URLs and limits, and decides which source has priority.

Two files in the root folder, both optional:

- ``api_keys.yaml``: Invoke's own, with ``external_<provider>_api_key`` and ``external_<provider>_base_url``.
- ``invokeai_external.yaml``: this project's, with ``settings:`` and ``models:``.

The environment (``INVOKEAI_EXTERNAL_<PROVIDER>_API_KEY``, ``..._BASE_URL``) has priority over ``api_keys.yaml``, and
that over the provider's usual variables such as ``OPENAI_API_KEY``, if the caller asks for those. ``keys`` decides
which key goes to which base URL. No message of this module ever holds a value from ``api_keys.yaml``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import InvalidRequestError, Remedy, RequestError, SettingsError, UnknownProviderError
from ..misspellings import or_nearest
from ..providers import catalog
from ..providers.built_in import built_in_ids
from ..providers.registry import Registry
from ..providers.schema import MODEL_FIELDS
from ..request import MAX_PREVIEWS, MetadataMode
from ..result import Notice
from ..root_folder import API_KEYS_FILE, USER_FILE
from .key_file import permission_notices, read_entries
from .keys import (
    Credentials,
    check_key,
    environment_place,
    file_place,
    invoke_places,
    pair,
    usual_place,
    variable_name,
)
from .root import root_folder
from .yaml_file import YamlFile, problem_of

__all__ = [
    "Credentials",
    "Limits",
    "Settings",
    "UserModels",
    "check_key",
    "credentials_in_invoke",
    "load_settings",
    "load_user_file",
    "unpaired_error",
    "variable_name",
    "wants_sandbox",
]


class Limits(BaseModel):
    """How much to do at once and how long to wait: the ``settings:`` of ``invokeai_external.yaml``.

    Attributes:
        default_model: The model of a request that names no model: ``provider/model-id``, an id or an alias; None for
            the newest model of a provider that has a key.
        concurrency: The maximum number of calls in flight to one provider. A call is one HTTP request for images.
        max_attempts: The maximum number of attempts at one call, including the first.
        max_wait_s: The maximum number of seconds that one call waits between attempts, in total.
        timeout_s: A call ends with an error if nothing arrives for this many seconds.
        total_timeout_s: A call ends with an error after this many seconds, whatever has arrived.
        max_response_bytes: The largest response that is accepted.
        max_image_pixels: The largest image that is checked; a larger one is saved as it was received, with the notice
            ``kept_as_received``.
        verify_images: Decode every PNG that arrives. Otherwise only its checksums are checked, unless it is composited.
        mask_feather_px: Over how many pixels an edit fades in, from the edge of the mask inward; 0 for a hard edge.
        previews: How many previews of each unfinished image to ask for, if the model supports it.
        metadata: Where the command line saves the metadata of an image: in its file, beside it, or nowhere.
        experimental: On the command line and in the library, allow the output formats gif and svg, which not every
            project at OpenAI may use.
        strip_prompt_weights: Send a prompt without its weights, such as ``sketch+++`` or ``(words)1.2``, which Invoke's
            templates contain.
        keep_originals: In Invoke, keep the original files of images that carry Content Credentials.
        look_ahead: In Invoke, send the calls of queued runs before their turn, up to ``concurrency``.
        freeze_gc: In Invoke, shorten the pause between two runs, by excluding what was loaded at the start from
            Python's garbage collection.

    Raises:
        SettingsError: A value is not valid, or there is no such field.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    default_model: str | None = Field(default=None, min_length=1)
    concurrency: int = Field(default=8, ge=1, le=64)
    max_attempts: int = Field(default=6, ge=1, le=20)
    max_wait_s: float = Field(default=120, ge=0, le=3600)
    timeout_s: float = Field(default=600, gt=0, le=3600)
    total_timeout_s: float = Field(default=1800, gt=0, le=86_400)
    max_response_bytes: int = Field(default=300_000_000, ge=1_000_000)
    max_image_pixels: int = Field(default=100_000_000, ge=1_000_000)
    verify_images: bool = False
    mask_feather_px: int = Field(default=8, ge=0, le=64)
    previews: int = Field(default=0, ge=0, le=MAX_PREVIEWS)
    metadata: MetadataMode = "auto"
    experimental: bool = False
    strip_prompt_weights: bool = False
    keep_originals: bool = False
    look_ahead: bool = True
    freeze_gc: bool = True

    if not TYPE_CHECKING:

        def __init__(self, **values: Any) -> None:
            try:
                super().__init__(**values)
            except ValidationError as error:
                first = error.errors(include_url=False, include_input=False)[0]
                name = ".".join(map(str, first["loc"]))
                meant = or_nearest(name, type(self).model_fields) if first["type"] == "extra_forbidden" else ""
                raise SettingsError(f"settings.{name}: {problem_of(first)}.", remedy=meant.strip() or None) from error


@dataclass(frozen=True, slots=True)
class UserModels:
    """The ``models:`` of ``invokeai_external.yaml``: raw fields by ``provider/id``, and the file to name in errors."""

    fields: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    file: YamlFile | None = None

    def error(self, reference: str, error: ValidationError) -> SettingsError:
        """The error for the first mistake in a model's fields, with its line."""
        assert self.file is not None
        return self.file.error_of(error, ("models", reference), MODEL_FIELDS, _written_place)

    def misnamed(self, reference: str, error: RequestError) -> SettingsError:
        """The error for a model whose name is not valid, with its line."""
        assert self.file is not None
        line, _ = self.file.find(("models", reference))
        return self.file.error(line, f"models.{reference}: {error.message.rstrip('.')}", remedy=error.remedy)


def _written_place(place: tuple[str, ...]) -> tuple[str, ...]:
    """The place in the file of a field of ``ModelConfig``: prices that begin later are in the list ``prices``."""
    if place[:1] != ("later_prices",):
        return place
    index = (str(int(place[1]) + 1),) if len(place) > 1 else ()
    return ("prices", *index, *place[2:])


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of one root folder.

    Attributes:
        root: The folder.
        credentials: Keys and base URLs by provider id.
        limits: How much to do at once and how long to wait.
        models: What the user adds to the catalogue.
        sandbox: True if Invoke uses the sandbox instead of the providers.
        notices: What the user should know about the files.
    """

    root: Path
    credentials: Mapping[str, Credentials]
    limits: Limits = field(default_factory=Limits)
    models: UserModels = field(default_factory=UserModels)
    sandbox: bool = False
    notices: tuple[Notice, ...] = ()


def wants_sandbox(environ: Mapping[str, str]) -> bool:
    """True if the environment makes Invoke use the sandbox (``INVOKEAI_EXTERNAL_SANDBOX=1``)."""
    return environ.get("INVOKEAI_EXTERNAL_SANDBOX", "").strip().lower() not in ("", "0", "false", "no")


def load_settings(
    root: Path | str | None = None, environ: Mapping[str, str] | None = None, *, usual_variables: bool = True
) -> Settings:
    """Read all settings.

    Args:
        root: The folder of the two files; neither need exist. Without one, the folder that the command line uses:
            ``INVOKEAI_ROOT`` if that variable is set, else the user's own folder.
        environ: The environment variables; those of this process if None.
        usual_variables: Also use the providers' usual variables such as ``OPENAI_API_KEY``, as the command line does.
            Invoke does not.

    Raises:
        SettingsError: A file is broken; the message names the file, the line and the field.
    """
    environ = os.environ if environ is None else environ
    folder = root_folder(root, environ)
    keys_path = folder / API_KEYS_FILE
    entries = read_entries(keys_path, built_in_ids(), check_names=True)
    credentials = {}
    for provider in catalog.providers():
        ours = (environment_place(provider.id, environ), file_place(provider.id, entries, str(keys_path)))
        usual = usual_place(provider, environ) if usual_variables else None
        credentials[provider.id] = pair(ours, usual, provider.base_url)
    found = load_user_file(folder)
    return replace(found, credentials=credentials, notices=tuple(permission_notices(keys_path)))


def load_user_file(root: Path) -> Settings:
    """The settings in ``invokeai_external.yaml`` only: no keys, and no look into ``api_keys.yaml``, which is Invoke's.

    Raises:
        SettingsError: The file is broken; the message names the file, the line and the field.
    """
    limits, models, sandbox = _read_user_file(root / USER_FILE)
    return Settings(root, {}, limits, models, sandbox)


def credentials_in_invoke(
    provider: str, key: str | None, base_url: str | None, root: Path, environ: Mapping[str, str]
) -> Credentials:
    """A provider's key and base URL in a running Invoke.

    Args:
        provider: Its id.
        key: The key that Invoke holds now, from any source.
        base_url: The base URL that it holds now.
        root: Invoke's root folder.
        environ: Its environment.
    """

    def stored() -> Mapping[str, str]:
        try:
            return read_entries(root / API_KEYS_FILE, [provider])
        except SettingsError:
            # Invoke read the file when it was still valid; what the environment overrides in it is not available now.
            return {}

    own = catalog.page(provider).provider.base_url
    return pair(invoke_places(provider, key, base_url, environ, stored), own=own)


def unpaired_error(provider: str, found: Credentials, root: Path) -> SettingsError:
    """The error for a key in one place and a base URL in another."""
    key, url = variable_name(provider, "api_key"), variable_name(provider, "base_url")
    name = catalog.provider_name(provider)
    return SettingsError(
        f"The key for {name} in {found.unpaired} was not given for the base URL in {found.base_url_source}, so it "
        "was not sent there.",
        remedy=Remedy(
            f"Set both in the same place: {key} and {url} in the environment, or external_{provider}_api_key and "
            f"external_{provider}_base_url in {root / API_KEYS_FILE}. Or remove the base URL, to send the key to "
            f"{name}.",
            action="pair_key",
            provider=provider,
        ),
        provider=provider,
    )


def _read_user_file(path: Path) -> tuple[Limits, UserModels, bool]:
    file = YamlFile(path)
    file.check_unique()
    sandbox = file.data.pop("sandbox", False)
    if not isinstance(sandbox, bool):
        line, _ = file.find(("sandbox",))
        raise file.error(line, "sandbox must be true or false")
    for section, value in file.data.items():
        line, _ = file.find((str(section),))
        if section not in ("settings", "models"):
            raise file.error(line, f"{section} is not a valid section; this file has settings, models and sandbox")
        if value is not None and not isinstance(value, dict):
            raise file.error(line, f"{section} must hold 'name: value' lines")
    models = file.data.get("models") or {}
    for reference, fields in models.items():
        line, _ = file.find(("models", str(reference)))
        if str(reference).count("/") < 1:
            raise file.error(line, f"models.{reference}: the name must be provider/model-id")
        if fields is not None and not isinstance(fields, dict):
            raise file.error(line, f"models.{reference} must hold 'name: value' lines")
    try:
        limits = Limits(**{str(name): value for name, value in (file.data.get("settings") or {}).items()})
    except SettingsError as error:
        if not isinstance(error.__cause__, ValidationError):
            raise
        raise file.error_of(error.__cause__, ("settings",), Limits.model_fields) from None
    user_models = UserModels({str(reference): fields or {} for reference, fields in models.items()}, file)
    if limits.default_model:
        try:
            Registry(user_models).resolve(limits.default_model)
        except (InvalidRequestError, UnknownProviderError) as error:
            line, _ = file.find(("settings", "default_model"))
            raise file.error(line, f"settings.default_model: {error.message.rstrip('.')}", error.remedy) from None
    return limits, user_models, sandbox
