"""The one seam: everything of Invoke that is not its public node API is touched here and nowhere else.

Each function says why it is needed and which version it was seen in. Those that change Invoke are context managers that
change it back, so that an uninstall leaves nothing behind. Seen in 6.14.2; ``tests/host`` holds it to what is used.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from fastapi_events.handlers.local import local_handler
from invokeai.app import api_app
from invokeai.app.api.dependencies import ApiDependencies
from invokeai.app.api.routers import app_info
from invokeai.app.invocations.baseinvocation import BaseInvocation, InvocationRegistry
from invokeai.app.services.config.config_default import get_config
from invokeai.app.services.events.events_common import ModelInstallCompleteEvent, register_events
from invokeai.app.services.model_records.model_records_base import UnknownModelException
from invokeai.app.services.session_processor.session_processor_common import CanceledException
from invokeai.backend.model_manager.configs.external_api import ExternalApiModelConfig
from invokeai.backend.model_manager.starter_models import STARTER_MODELS, StarterModel
from invokeai.backend.model_manager.taxonomy import BaseModelType, ModelType
from invokeai.backend.util.logging import InvokeAILogger
from pydantic import SecretStr

from ..settings import Credentials

__all__ = [
    "CanceledException",
    "added_routes",
    "cache_of",
    "credentials",
    "delete_model",
    "log",
    "model_records",
    "models",
    "node_pack_of",
    "on_key_change",
    "on_model_installed",
    "on_unregister",
    "registered",
    "replaced_nodes",
    "replaced_starter_models",
    "root",
    "services_exist",
    "started",
    "starter_models",
]

log = InvokeAILogger.get_logger("InvokeAI")


def root() -> Path:
    """Invoke's root folder, in which the settings files lie."""
    return Path(get_config().root_path)


def credentials(providers: Sequence[str]) -> dict[str, Credentials]:
    """The keys and addresses that Invoke holds now: its settings page changes the live object, not only the file."""
    config = get_config()
    found = {}
    for provider in providers:
        key = getattr(config, f"external_{provider}_api_key", None)
        url = getattr(config, f"external_{provider}_base_url", None)
        found[provider] = Credentials(SecretStr(key.strip()) if key and key.strip() else None, url or None, "Invoke")
    return found


def services_exist() -> bool:
    """False while Invoke starts: it loads packs before it makes its services. The node manager loads them after."""
    return getattr(ApiDependencies, "invoker", None) is not None


def models() -> Any:
    """The model manager, whose ``install`` names, stores and announces models; no node context has it."""
    return ApiDependencies.invoker.services.model_manager


def model_records() -> list[ExternalApiModelConfig]:
    """All external models that are installed."""
    found = models().store.search_by_attr(
        base_model=BaseModelType.External, model_type=ModelType.ExternalImageGenerator
    )
    return [record for record in found if isinstance(record, ExternalApiModelConfig)]


def delete_model(record: ExternalApiModelConfig) -> None:
    """Take a model out; one that is gone already is what was wanted, since Invoke removes them with the key as well."""
    with suppress(UnknownModelException):
        models().install.delete(record.key)


def cache_of(services: Any, node: BaseInvocation) -> tuple[Any, Any]:
    """The invocation cache and a node's key in it; (None, None) where Invoke's settings or the node switch it off."""
    if services.configuration.node_cache_size == 0 or not node.use_cache:
        return None, None
    return services.invocation_cache, services.invocation_cache.create_key(node)


def registered(node_types: Sequence[str]) -> list[type[BaseInvocation]]:
    """The node classes that are registered under these types."""
    known = InvocationRegistry.get_invocations_map()
    return [known[name] for name in node_types if name in known]


def node_pack_of(node_type: str) -> str | None:
    """The pack that a node type comes from now: ``invokeai`` for the core."""
    found = registered([node_type])
    return found[0].UIConfig.node_pack if found else None


@contextmanager
def replaced_nodes(ours: Sequence[type[BaseInvocation]], core: Sequence[type[BaseInvocation]]) -> Iterator[None]:
    """Register our classes in place of the core's of the same types, and the core's again at the end.

    Registering over a core node is the supported way to replace it; unregistering alone leaves a hole (6.14.2).
    """
    current = set(registered([node.get_type() for node in ours]))
    for node in ours:
        if node not in current:
            InvocationRegistry.register_invocation(node)
    try:
        yield
    finally:
        for node in core:
            InvocationRegistry.register_invocation(node)


def starter_models(providers: Sequence[str]) -> list[StarterModel]:
    """The entries of these providers in the list of starter models."""
    return [entry for entry in STARTER_MODELS if _provider_of(entry) in providers]


@contextmanager
def replaced_starter_models(providers: Sequence[str], ours: Sequence[StarterModel]) -> Iterator[None]:
    """Put our entries into the list of starter models in place of these providers' own.

    The list is changed in place, since other modules hold it. Nothing of ours may stand in it while Invoke starts: its
    own sync would install models beside the database's clean-up, and can die of it (6.13.0, 6.14.2).
    """
    theirs = starter_models(providers)
    _keep_starter_models(lambda entry: entry not in theirs)
    STARTER_MODELS.extend(ours)
    try:
        yield
    finally:
        _keep_starter_models(lambda entry: _provider_of(entry) not in providers)
        STARTER_MODELS.extend(theirs)


def _keep_starter_models(wanted: Callable[[StarterModel], bool]) -> None:
    STARTER_MODELS[:] = [entry for entry in STARTER_MODELS if wanted(entry)]


def _provider_of(entry: StarterModel) -> str | None:
    scheme, _, rest = entry.source.partition("://")
    return rest.partition("/")[0] if scheme == "external" else None


@contextmanager
def started(callback: Callable[[], None]) -> Iterator[None]:
    """Call back in a thread once Invoke has started and serves.

    Packs load before any service exists, and there is no event for it: the application's lifespan is wrapped.
    """
    router = api_app.app.router
    original = router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[Any]:
        async with original(app) as state:
            loop = asyncio.get_running_loop()
            # The socket is opened right after this context is entered.
            loop.call_later(0.5, lambda: loop.run_in_executor(None, callback))
            yield state

    router.lifespan_context = lifespan
    try:
        yield
    finally:
        if router.lifespan_context is lifespan:
            router.lifespan_context = original


@contextmanager
def on_key_change(callback: Callable[[], None]) -> Iterator[None]:
    """Call back whenever a provider's key or address is changed over Invoke's own routes, which announce nothing."""
    original = app_info._apply_external_provider_update

    def apply(updates: dict[str, str | None]) -> None:
        original(updates)
        callback()

    app_info._apply_external_provider_update = apply
    try:
        yield
    finally:
        app_info._apply_external_provider_update = original


@contextmanager
def on_model_installed(callback: Callable[[], None]) -> Iterator[None]:
    """Call back in a thread whenever an external model was installed, by whomever: the page does it without details."""

    async def handle(event: tuple[str, ModelInstallCompleteEvent]) -> None:
        if isinstance(event[1].config, ExternalApiModelConfig):
            await asyncio.to_thread(callback)

    register_events(ModelInstallCompleteEvent, handle)
    try:
        yield
    finally:
        # fastapi-events has no way to unregister a handler.
        for handlers in local_handler._registry.values():
            if handle in handlers:
                handlers.remove(handle)


@contextmanager
def on_unregister(pack_name: str, callback: Callable[[], None]) -> Iterator[None]:
    """Call back after the node manager has unregistered a pack's nodes, which is all that it tells of an uninstall."""
    original = InvocationRegistry.unregister_pack

    def unregister_pack(name: str) -> list[str]:
        removed: list[str] = original(name)
        if name == pack_name:
            callback()
        return removed

    InvocationRegistry.unregister_pack = staticmethod(unregister_pack)
    try:
        yield
    finally:
        InvocationRegistry.unregister_pack = original


@contextmanager
def added_routes(router: APIRouter) -> Iterator[None]:
    """Add routes before the catch-all of Invoke's web page, and to the API page."""
    app = api_app.app
    before = list(app.router.routes)
    app.include_router(router, prefix="/api")
    ours = [route for route in app.router.routes if route not in before]
    app.router.routes[:] = [*ours, *before]
    app.openapi_schema = None
    try:
        yield
    finally:
        for route in ours:
            if route in app.router.routes:
                app.router.routes.remove(route)
        app.openapi_schema = None
