"""Invoke's configuration: its root folder, its keys, and whether it has several users."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from invokeai.app.api.dependencies import ApiDependencies
from invokeai.app.api.routers import app_info
from invokeai.app.services.config.config_default import InvokeAIAppConfig, get_config

from ...providers.provider_config import ProviderConfig
from ...settings.settings import Credentials, credentials_in_invoke

__all__ = ["configured_credentials", "has_several_users", "invoke_root", "on_key_change"]


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


@contextmanager
def on_key_change(changed: Callable[[], None], settled: Callable[[], None]) -> Iterator[None]:
    """Call functions after each change of a key or base URL by Invoke's own routes, which send no event.

    Args:
        changed: Called at once.
        settled: Called when Invoke has deleted the models of a key that was removed. Whoever deletes them earlier makes
            it log a warning for each, through a logger that repeats every later line of the log.
    """
    apply, remove = app_info._apply_external_provider_update, app_info._remove_external_models_for_provider

    def applied(updates: dict[str, str | None]) -> None:
        apply(updates)
        changed()
        if not any(name.endswith("_api_key") and value is None for name, value in updates.items()):
            settled()

    def removed(provider_id: str) -> None:
        remove(provider_id)
        settled()

    app_info._apply_external_provider_update, app_info._remove_external_models_for_provider = applied, removed
    try:
        yield
    finally:
        app_info._apply_external_provider_update, app_info._remove_external_models_for_provider = apply, remove
