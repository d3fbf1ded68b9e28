"""The sandbox in the place of the providers: its base URL and key, and the models that it serves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from pydantic import SecretStr

from ..adapters.base import SANDBOX_HOST
from ..adapters.find import adapter_of
from ..providers.provider_config import ProviderConfig
from ..providers.registry import Registry
from ..providers.schema import ModelConfig
from ..settings.settings import Credentials, Settings

__all__ = ["models_by_wire_format", "with_sandbox"]


def with_sandbox(settings: Settings) -> Settings:
    """The settings with the sandbox in the place of every provider whose wire format it has."""
    # With this word, the sandbox also makes the files that only some projects may make.
    key = SecretStr(f"the-sandbox-takes-any-key{'-with-preview' if settings.limits.experimental else ''}")
    credentials: dict[str, Credentials] = {}
    providers: dict[str, ProviderConfig] = {}
    for provider in settings.providers.values():
        # The sandbox has the usual form of a wire format, and no key of the user's goes there.
        usual: dict[str, object] = {"auth": None, "headers": {}, "query": {}, "paths": {}, "list_models": True}
        providers[provider.id] = provider.model_copy(update=usual)
        if path := adapter_of(provider).sandbox_path:
            credentials[provider.id] = Credentials(key, f"https://{SANDBOX_HOST}/{path}", "the sandbox")
    return replace(settings, credentials=credentials, providers=providers)


def models_by_wire_format(registry: Registry, providers: Iterable[ProviderConfig]) -> dict[str, list[ModelConfig]]:
    """The models of the providers, by the name that their wire format has in the sandbox."""
    models: dict[str, list[ModelConfig]] = {}
    for provider in providers:
        if path := adapter_of(provider).sandbox_path:
            models.setdefault(path.partition("/")[0], []).extend(registry.models(provider.id))
    return models
