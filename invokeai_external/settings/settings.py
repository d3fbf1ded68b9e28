"""Reads keys, base URLs and limits, and decides which source has priority.

Three files in the root folder, all optional:

- ``api_keys.yaml``: Invoke's own, with ``external_<provider>_api_key`` and ``external_<provider>_base_url``.
- ``invokeai_external_keys.yaml``: the same entries, of the providers that Invoke does not know.
- ``invokeai_external.yaml``: this project's, with ``settings:``, ``providers:`` and ``models:``.

The environment (``INVOKEAI_EXTERNAL_<PROVIDER>_API_KEY``, ``..._BASE_URL``) has priority over the files of keys, and
those over the provider's usual variables such as ``OPENAI_API_KEY``, if the caller asks for those. ``keys`` decides
which key goes to which base URL. No message of this module ever holds a value from a file of keys.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import Remedy, SettingsError
from ..providers.configured import configured_providers
from ..providers.provider_config import ProviderConfig
from ..regular_files import checked_path
from ..result import Notice
from ..root_folder import API_KEYS_FILE, KEYS_FILE, USER_FILE
from ..spending.limits import Budgets
from .discovered import read_discovered
from .key_file import key_file_of, key_files, misplaced_notices, permission_notices, read_entries
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
from .limits import Limits
from .root import root_folder
from .user_file import UserCatalog, read_user_file
from .yaml_file import YamlFile

__all__ = [
    "Credentials",
    "Limits",
    "Settings",
    "UserCatalog",
    "check_key",
    "credentials_beside_invoke",
    "credentials_in_invoke",
    "load_settings",
    "load_user_file",
    "stated_base_url",
    "unpaired_error",
    "variable_name",
    "wants_sandbox",
    "with_discovered",
]


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of one root folder.

    Attributes:
        root: The folder.
        credentials: Keys and base URLs by provider id.
        limits: How much to do at once and how long to wait.
        catalog: What the user's file adds to the catalogue.
        providers: All providers by id, the user's own included.
        sandbox: True if Invoke uses the sandbox instead of the providers.
        budgets: The limits on what is spent.
        notices: What the user should know about the files.
    """

    root: Path
    credentials: Mapping[str, Credentials]
    limits: Limits = field(default_factory=Limits)
    catalog: UserCatalog = field(default_factory=UserCatalog)
    providers: Mapping[str, ProviderConfig] = field(default_factory=partial(configured_providers, None))
    sandbox: bool = False
    budgets: Budgets = field(default_factory=Budgets)
    notices: tuple[Notice, ...] = ()

    def is_on(self, provider_id: str) -> bool:
        """True if something was set for a provider, or Invoke knows it. The others are offered, and not in use."""
        provider, found = self.providers[provider_id], self.credentials.get(provider_id, Credentials())
        is_named = bool(provider.base_url) and (provider.in_invoke or provider_id in self.catalog.providers)
        return bool(is_named or found.base_url or found.api_key or found.unpaired)

    def with_discovered(self) -> Settings:
        """The same settings with the models that providers listed themselves when they were last asked."""
        return replace(
            self, catalog=with_discovered(self.catalog, self.providers.values(), self.credentials, self.root)
        )

    def is_ready(self, provider_id: str) -> bool:
        """True if a provider has a base URL, and a key if it needs one."""
        provider, found = self.providers[provider_id], self.credentials.get(provider_id, Credentials())
        has_key = found.api_key is not None or not provider.needs_key
        return has_key and bool(found.base_url or provider.base_url)


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
        InvalidRequestError: ``root`` is not a path.
    """
    environ = os.environ if environ is None else environ
    folder = root_folder(None if root is None else checked_path(root), environ)
    found = _in_user_file(folder)
    providers = found.providers.values()
    files = key_files(folder)
    credentials = _own_credentials(providers, files, environ, usual_variables=usual_variables, check_names=True)
    catalog = with_discovered(found.catalog, providers, credentials, folder)
    notices = [notice for file in files.values() for notice in permission_notices(file.path)]
    notices += misplaced_notices(files, providers)
    return replace(found, credentials=credentials, catalog=catalog, notices=tuple(notices))


def with_discovered(
    catalog: UserCatalog, providers: Iterable[ProviderConfig], credentials: Mapping[str, Credentials], root: Path
) -> UserCatalog:
    """What the user adds to the catalogue, with the models that providers listed themselves, at their base URLs."""
    found: dict[str, Mapping[str, Any]] = {}
    asked = [provider for provider in providers if provider.discover_models]
    known = read_discovered(root) if asked else {}
    for provider in asked:
        said = known.get(provider.id)
        if said and said.base_url == stated_base_url(provider, credentials):
            found |= {f"{provider.id}/{model_id}": fields for model_id, fields in said.models.items()}
    return replace(catalog, discovered=found)


def stated_base_url(provider: ProviderConfig, credentials: Mapping[str, Credentials]) -> str:
    """The base URL of a provider as it was set, or its own; empty if there is no base URL."""
    return credentials.get(provider.id, Credentials()).base_url or provider.base_url or ""


def _own_credentials(
    providers: Collection[ProviderConfig],
    files: Mapping[str, YamlFile],
    environ: Mapping[str, str],
    *,
    usual_variables: bool,
    check_names: bool = False,
) -> dict[str, Credentials]:
    """The keys and base URLs of providers, as this program finds them without a running Invoke.

    Args:
        providers: The providers.
        files: The files of keys by their names.
        environ: The environment variables.
        usual_variables: Also use the variables that the provider's own tools read.
        check_names: Refuse a misspelt entry in a file of keys.

    Raises:
        SettingsError: An entry in a file of keys is not valid.
    """
    ids: dict[str, list[str]] = {}
    for provider in providers:
        ids.setdefault(key_file_of(provider), []).append(provider.id)
    entries = {name: read_entries(files[name], known, check_names=check_names) for name, known in ids.items()}
    credentials = {}
    for provider in providers:
        name = key_file_of(provider)
        ours = [environment_place(provider.id, environ), file_place(provider.id, entries[name], str(files[name].path))]
        usual = usual_place(provider, environ) if usual_variables else None
        if not provider.needs_key:
            ours, usual = [replace(place, key=None) for place in ours], None
        credentials[provider.id] = pair(ours, usual, provider.base_url)
    return credentials


def load_user_file(root: Path) -> Settings:
    """The settings in ``invokeai_external.yaml`` only: no keys, and no look into ``api_keys.yaml``, which is Invoke's.

    Raises:
        SettingsError: The file is broken; the message names the file, the line and the field.
    """
    found = _in_user_file(root)
    return replace(found, catalog=with_discovered(found.catalog, found.providers.values(), {}, root))


def _in_user_file(root: Path) -> Settings:
    found = read_user_file(root / USER_FILE)
    return Settings(root, {}, found.limits, found.catalog, found.providers, found.sandbox, found.budgets)


def credentials_in_invoke(
    provider: ProviderConfig, key: str | None, base_url: str | None, root: Path, environ: Mapping[str, str]
) -> Credentials:
    """The key and base URL in a running Invoke of a provider that Invoke knows.

    Args:
        provider: The provider.
        key: The key that Invoke holds now, from any source.
        base_url: The base URL that it holds now.
        root: Invoke's root folder.
        environ: Its environment.
    """

    def stored() -> Mapping[str, str]:
        try:
            return read_entries(YamlFile(root / API_KEYS_FILE), [provider.id])
        except SettingsError:
            # Invoke read the file when it was still valid; what the environment overrides in it is not available now.
            return {}

    return pair(invoke_places(provider.id, key, base_url, environ, stored), own=provider.base_url)


def credentials_beside_invoke(
    providers: Collection[ProviderConfig], root: Path, environ: Mapping[str, str]
) -> dict[str, Credentials]:
    """The keys and base URLs in a running Invoke of providers that Invoke does not know; raises SettingsError."""
    return _own_credentials(providers, {KEYS_FILE: YamlFile(root / KEYS_FILE)}, environ, usual_variables=False)


def unpaired_error(provider: ProviderConfig, found: Credentials, root: Path) -> SettingsError:
    """The error for a key in one place and a base URL in another."""
    key, url = variable_name(provider.id, "api_key"), variable_name(provider.id, "base_url")
    name = provider.name
    return SettingsError(
        f"The key for {name} in {found.unpaired} was not given for the base URL in {found.base_url_source}, so it "
        "is not sent there.",
        remedy=Remedy(
            f"Set both in the same place: {key} and {url} in the environment, or external_{provider.id}_api_key and "
            f"external_{provider.id}_base_url in {root / key_file_of(provider)}. Or remove the base URL, to send the "
            f"key to {name}.",
            action="pair_key",
            provider=provider.id,
        ),
        provider=provider.id,
    )
