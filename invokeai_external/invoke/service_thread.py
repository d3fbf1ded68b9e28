"""The event loop of all runs, in a separate thread, and the services that run in it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass

import anyio
from anyio.from_thread import BlockingPortal, start_blocking_portal

from ..errors import ServiceStateError
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
    """Starts with the first run and ends with ``close``; nothing starts after ``refuse``. May be used from any thread.

    Args:
        make_service: Makes a service for settings; the second argument is true for the sandbox.

    Attributes:
        is_refusing: True after ``refuse``.
    """

    def __init__(self, make_service: Callable[[Settings, bool], Service]) -> None:
        self._make_service = make_service
        self._lock = threading.Lock()
        self._portal: BlockingPortal | None = None
        self._context: AbstractContextManager[BlockingPortal] | None = None
        self._services: list[_Made] = []
        self._uses: Counter[Service] = Counter()
        self.is_refusing = False

    def service(self, settings: Settings, *, is_sandbox: bool) -> Service:
        """The service for these settings, to look things up; raises ServiceStateError after ``refuse``."""
        with self._lock:
            service, portal, is_new = self._made_for(settings, is_sandbox)
        if is_new:
            self._close_unused_soon(portal)
        return service

    def acquire(self, settings: Settings, *, is_sandbox: bool) -> tuple[Service, BlockingPortal]:
        """The same, to send requests; it stays open until it is released."""
        with self._lock:
            service, portal, is_new = self._made_for(settings, is_sandbox)
            self._uses[service] += 1
        if is_new:
            self._close_unused_soon(portal)
        return service, portal

    async def release(self, service: Service) -> None:
        """Release a service. One for older settings is closed when nothing uses it any more."""
        with self._lock:
            self._uses[service] -= 1
        with anyio.CancelScope(shield=True):
            await self._close_unused()

    def _made_for(self, settings: Settings, is_sandbox: bool) -> tuple[Service, BlockingPortal, bool]:
        """The service for these settings, its event loop, and whether it was made just now."""
        if self.is_refusing:
            raise ServiceStateError("The plugin was removed.", remedy="Install it again, then press Retry.")
        if self._portal is None:
            self._context = start_blocking_portal()
            self._portal = self._context.__enter__()
        newest = self._services[-1] if self._services else None
        is_new = newest is None or (newest.settings, newest.is_sandbox) != (settings, is_sandbox)
        if newest is None or is_new:
            newest = _Made(settings, is_sandbox, self._make_service(settings, is_sandbox))
            self._services.append(newest)
        return newest.service, self._portal, is_new

    def _close_unused_soon(self, portal: BlockingPortal) -> None:
        """Close the services for older settings. Not with the lock: this waits for the event loop, which may wait for
        the lock.
        """
        # The event loop may have ended in the meantime, and then they are closed.
        with suppress(RuntimeError):
            portal.start_task_soon(self._close_unused)

    async def _close_unused(self) -> None:
        with self._lock:
            unused = [made for made in self._services[:-1] if not self._uses[made.service]]
            self._services = [made for made in self._services if made not in unused]
            for made in unused:
                del self._uses[made.service]
        for made in unused:
            await made.service.aclose()

    def refuse(self) -> None:
        """Start nothing more; what is running goes on."""
        with self._lock:
            self.is_refusing = True

    def close(self, cancel_runs: Callable[[], None]) -> None:
        """End the event loop and everything in it.

        Args:
            cancel_runs: Cancels all runs. It is called before the services are closed: with its client closed, a run
                would see a failed connection and retry.
        """
        self.refuse()
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
