"""The event loop of all runs, in a separate thread, and the services that run in it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from anyio.from_thread import BlockingPortal, start_blocking_portal

from ..service.service import Service
from ..settings.settings import Settings

__all__ = ["ServiceThread"]


@dataclass(frozen=True)
class _Made:
    """A service and the settings that it was made for."""

    settings: Settings
    is_sandbox: bool
    service: Service


class ServiceThread:
    """Starts with the first run and ends with ``close``. May be used from any thread.

    Args:
        make_service: Makes a service for settings; the second argument is true for the sandbox.
    """

    def __init__(self, make_service: Callable[[Settings, bool], Service]) -> None:
        self._make_service = make_service
        self._lock = threading.Lock()
        self._portal: BlockingPortal | None = None
        self._context: AbstractContextManager[BlockingPortal] | None = None
        self._services: list[_Made] = []

    def service(self, settings: Settings, *, is_sandbox: bool) -> tuple[Service, BlockingPortal]:
        """The service for these settings. One for older settings continues for the runs that still use it."""
        with self._lock:
            if self._portal is None:
                self._context = start_blocking_portal()
                self._portal = self._context.__enter__()
            newest = self._services[-1] if self._services else None
            if newest is None or (newest.settings, newest.is_sandbox) != (settings, is_sandbox):
                newest = _Made(settings, is_sandbox, self._make_service(settings, is_sandbox))
                self._services.append(newest)
            return newest.service, self._portal

    def close(self, cancel_runs: Callable[[], None]) -> None:
        """End the event loop and everything in it.

        Args:
            cancel_runs: Cancels all runs. It is called before the services are closed: with its client closed, a run
                would see a failed connection and retry.
        """
        with self._lock:
            context, portal, services = self._context, self._portal, self._services
            self._context, self._portal, self._services = None, None, []
        if context is None or portal is None:
            return
        cancel_runs()
        for made in services:
            portal.call(made.service.aclose)
        portal.call(portal.stop, True)
        context.__exit__(None, None, None)
