"""Invoke's start and stop, the uninstall of a node pack, and the routes that a pack adds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import APIRouter
from invokeai.app import api_app
from invokeai.app.api.dependencies import ApiDependencies
from invokeai.app.invocations.baseinvocation import InvocationRegistry
from uvicorn import Server

__all__ = ["added_routes", "on_started", "on_stop", "on_unregister", "services_exist"]


def services_exist() -> bool:
    """True once Invoke has made its services: it loads packs before that, and the node manager loads them later."""
    return getattr(ApiDependencies, "invoker", None) is not None


@contextmanager
def on_started(callback: Callable[[], None]) -> Iterator[None]:
    """Call a function in a thread once Invoke has started and serves requests; never if its start fails.

    There is no event for it, and packs are loaded before any service exists. The web server's ``startup`` returns when
    the application has started, which makes the services and cleans up the database, and the socket is open.
    """
    original = Server.startup

    async def startup(server: Any, *arguments: Any, **named: Any) -> None:
        await original(server, *arguments, **named)
        if server.started:
            asyncio.get_running_loop().run_in_executor(None, callback)

    Server.startup = startup  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        Server.startup = original  # type: ignore[method-assign]


@contextmanager
def on_stop(before: Callable[[], None], after: Callable[[], None]) -> Iterator[None]:
    """Call functions before and after Invoke stops its services; there is no event for it."""
    original = ApiDependencies.shutdown

    def shutdown() -> None:
        before()
        original()
        after()

    ApiDependencies.shutdown = staticmethod(shutdown)
    try:
        yield
    finally:
        ApiDependencies.shutdown = staticmethod(original)


@contextmanager
def on_unregister(pack_name: str, callback: Callable[[], None]) -> Iterator[None]:
    """Call a function before the node manager unregisters a pack's nodes, the only sign of an uninstall.

    Until then, Invoke can read the items of its queue that have nodes of the pack.
    """
    original = InvocationRegistry.unregister_pack

    def unregister_pack(name: str) -> list[str]:
        if name == pack_name:
            callback()
        removed: list[str] = original(name)
        return removed

    InvocationRegistry.unregister_pack = staticmethod(unregister_pack)
    try:
        yield
    finally:
        InvocationRegistry.unregister_pack = original


@contextmanager
def added_routes(api: APIRouter, pages: APIRouter) -> Iterator[None]:
    """Add routes before the catch-all of Invoke's web page: those of the API, which its page shows, and pages."""
    app = api_app.app
    before = list(app.router.routes)
    app.include_router(api, prefix="/api")
    app.include_router(pages)
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
