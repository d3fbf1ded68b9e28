"""Invoke's configuration: its root folder, its keys, and whether it has several users."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from invokeai.app.api.dependencies import ApiDependencies
from invokeai.app.api.routers import app_info
from invokeai.app.services.config.config_default import InvokeAIAppConfig, get_config
from invokeai.app.services.external_generation.external_generation_common import ExternalProviderStatus
from invokeai.app.services.external_generation.external_generation_default import ExternalGenerationService
from invokeai.backend.model_manager.configs.external_api import ExternalApiModelConfig

from ...providers.provider_config import ProviderConfig
from ...settings.settings import Credentials, credentials_in_invoke
from .model_records import delete_model, model_records

__all__ = [
    "configured_credentials",
    "has_several_users",
    "invoke_root",
    "on_key_change",
    "provider_messages",
    "web_url",
]


def invoke_root() -> Path:
    """Invoke's root folder, which has the settings files."""
    return Path(get_config().root_path)


def configured_credentials(providers: Sequence[ProviderConfig]) -> dict[str, Credentials]:
    """The keys and base URLs that Invoke has now: its settings page changes the live object, not only the file.

    Invoke reads a key and its base URL independently from the environment or from its file. They are paired here.
    """
    config: InvokeAIAppConfig = get_config()
    found = {}
    for provider in providers:
        key = getattr(config, f"external_{provider.id}_api_key", None)
        url = getattr(config, f"external_{provider.id}_base_url", None)
        found[provider.id] = credentials_in_invoke(provider, key, url, invoke_root(), os.environ)
    return found


def has_several_users() -> bool:
    """True if Invoke has several users, whose images are separate."""
    return bool(ApiDependencies.invoker.services.configuration.multiuser)


def web_url() -> str:
    """The URL of its web page on this computer, without a slash at the end; a proxy may give it others."""
    config: InvokeAIAppConfig = get_config()
    host = "127.0.0.1" if config.host in ("0.0.0.0", "::") else config.host
    path = str(getattr(config, "base_url", None) or "").rstrip("/")
    return f"{'https' if config.ssl_certfile else 'http'}://{host}:{config.port}{path}"


@contextmanager
def on_key_change(
    changed: Callable[[], None],
    settled: Callable[[Set[str]], None],
    is_kept: Callable[[ExternalApiModelConfig], bool],
) -> Iterator[None]:
    """Call functions after each change of a key or base URL by Invoke's own routes, which send no event.

    When a key is removed, Invoke deletes every model whose record has its provider. Its function is replaced by one
    that keeps some of them.

    Args:
        changed: Called at once.
        settled: Called with the ids of the providers whose key or base URL was set, or empty when the models of a key
            that was removed are deleted. Whoever deletes them earlier makes Invoke
            log a warning for each, through a logger that repeats every later line of the log.
        is_kept: True for a model that stays although a key of the provider in its record was removed.
    """
    apply, remove = app_info._apply_external_provider_update, app_info._remove_external_models_for_provider

    def applied(updates: dict[str, str | None]) -> None:
        apply(updates)
        changed()
        if not any(name.endswith("_api_key") and value is None for name, value in updates.items()):
            settled({name.removeprefix("external_").rsplit("_", 2)[0] for name in updates})

    def removed(provider_id: str) -> None:
        for record in model_records():
            if record.provider_id == provider_id and not is_kept(record):
                delete_model(record)
        settled(frozenset())

    app_info._apply_external_provider_update, app_info._remove_external_models_for_provider = applied, removed
    try:
        yield
    finally:
        app_info._apply_external_provider_update, app_info._remove_external_models_for_provider = apply, remove


@contextmanager
def provider_messages(message_of: Callable[[str], str | None]) -> Iterator[None]:
    """Add a message about each provider, by its id, to what Invoke says of it in its list of external providers."""
    original = ExternalGenerationService.get_provider_statuses

    def get_provider_statuses(service: ExternalGenerationService) -> dict[str, ExternalProviderStatus]:
        found = original(service)
        return {name: replace(status, message=message_of(name) or status.message) for name, status in found.items()}

    ExternalGenerationService.get_provider_statuses = get_provider_statuses
    try:
        yield
    finally:
        ExternalGenerationService.get_provider_statuses = original
