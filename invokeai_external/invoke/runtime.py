"""Runs requests for the nodes: Invoke's threads are synchronous, the service is not.

One event loop in one thread (anyio's blocking portal) serves all runs; it is made for the first and ends with the pack.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError as FutureCancelledError
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import AbstractContextManager
from dataclasses import replace

from anyio.from_thread import BlockingPortal, start_blocking_portal

from ..errors import CancelledError, ExternalError
from ..progress import ProgressLine
from ..registry import PROVIDER_IDS, Registry
from ..request import ConnectionCheck, GeneratedImage, GenerationRequest, GenerationResult, Preview, Progress, Received
from ..service import Service
from ..settings import Settings, load_settings
from . import host

__all__ = ["Runtime"]

_POLL_S = 0.1
"""How often a run looks whether it was cancelled."""

_TELL_S = 1.0
"""How often the progress line is told at most: each telling is an event to every browser."""


class Runtime:
    """The service inside Invoke, with the keys that Invoke holds when a run begins."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._portal: BlockingPortal | None = None
        self._portal_context: AbstractContextManager[BlockingPortal] | None = None
        self._services: list[tuple[Settings, bool, Service]] = []
        self._running: set[Future[GenerationResult]] = set()
        self._files: Settings | None = None

    def settings(self) -> Settings:
        """The files as they were at the first look, and the keys as they are now; raises SettingsError."""
        if self._files is None:
            self._files = load_settings(host.root(), {}, ())
        return replace(self._files, credentials=host.credentials(PROVIDER_IDS), notices=())

    def sandbox(self) -> bool:
        """True if everything goes to the sandbox in place of the providers."""
        named = os.environ.get("INVOKEAI_EXTERNAL_SANDBOX", "").strip().lower()
        return named not in ("", "0", "false", "no") or self.settings().sandbox

    def registry(self) -> Registry:
        """The models; raises SettingsError if the user's file is broken."""
        return Registry(self.settings().models)

    def providers(self) -> set[str]:
        """The providers that can be used now."""
        if self.sandbox():
            return set(PROVIDER_IDS)
        return {provider for provider, found in self.settings().credentials.items() if found.api_key}

    def previews(self, model: str) -> int:
        """How many previews of each picture the settings ask for; none of a model that shows none."""
        wanted = self.settings().limits.previews
        return wanted if wanted and self.registry().resolve(model).model.previews else 0

    def generate(
        self,
        request: GenerationRequest,
        *,
        is_canceled: Callable[[], bool],
        tell: Callable[[str, Preview | None], None],
        on_images: Callable[[tuple[GeneratedImage, ...]], None],
    ) -> GenerationResult:
        """Run a request to its end, telling what goes on, and stop it within a moment of being cancelled.

        Args:
            request: What to make.
            is_canceled: Asked ten times a second.
            tell: Given the progress line, once a second at most, and when a preview has come, that as well.
            on_images: Given pictures as they come, in another thread; those of a run that is cancelled are paid for.

        Raises:
            ExternalError: What ``Service.generate`` raises, or a CancelledError if the pack was taken out meanwhile.
            CanceledException: The run was cancelled.
        """
        line = ProgressLine()

        def on_progress(progress: Progress) -> None:
            line.on_progress(progress)
            if isinstance(progress, Received):
                on_images(progress.images)

        service, portal = self._service()
        future: Future[GenerationResult] = portal.start_task_soon(service.generate, request, on_progress)
        self._running.add(future)
        told, told_at = "", 0.0
        shown: Preview | None = None
        where = "SANDBOX · " if self.sandbox() else ""
        try:
            while True:
                try:
                    result = future.result(timeout=_POLL_S)
                    for failure in result.errors:
                        _give_invokes_hint(failure)
                    return result
                except FutureTimeoutError:
                    if future.done():
                        raise
                except FutureCancelledError:
                    raise CancelledError(
                        "The plugin was removed before the picture was there.",
                        hint="Install it again and run again; the provider may bill the first time as well.",
                    ) from None
                except ExternalError as error:
                    _give_invokes_hint(error)
                    raise
                if is_canceled():
                    raise host.CanceledException
                text, preview, now = where + line.text(), line.newest_preview(), time.monotonic()
                is_new = preview is not None and preview is not shown
                if is_new or (text != told and now - told_at >= _TELL_S):
                    tell(text, preview if is_new else None)
                    told, told_at, shown = text, now, preview
        finally:
            future.cancel()
            self._running.discard(future)

    def check_connection(self, provider: str) -> ConnectionCheck:
        """What ``Service.check_connection`` gives or raises."""
        service, portal = self._service()
        try:
            return portal.call(service.check_connection, provider)
        except ExternalError as error:
            _give_invokes_hint(error)
            raise

    def close(self) -> None:
        """End the event loop, and with it all that is under way."""
        with self._lock:
            context, portal = self._portal_context, self._portal
            services = self._services
            self._portal_context, self._portal, self._services = None, None, []
        if context is None or portal is None:
            return
        # The runs first: with their client closed under them, they would take it for a failure and try again.
        for future in list(self._running):
            future.cancel()
        for _, _, service in services:
            portal.call(service.__aexit__, None, None, None)
        portal.call(portal.stop, True)
        context.__exit__(None, None, None)

    def _service(self) -> tuple[Service, BlockingPortal]:
        """The service for the settings as they are now; one for older settings goes on for who still uses it."""
        settings, sandbox = self.settings(), self.sandbox()
        with self._lock:
            if self._portal is None:
                self._portal_context = start_blocking_portal()
                self._portal = self._portal_context.__enter__()
            if not self._services or self._services[-1][:2] != (settings, sandbox):
                self._services.append((settings, sandbox, Service(settings, sandbox=sandbox)))
            return self._services[-1][2], self._portal


def _give_invokes_hint(error: ExternalError) -> None:
    """Where the core's hint is to set the key on the command line, name Invoke's own place for it."""
    if error.hint and "invokeai-external keys set" in error.hint:
        error.hint = "Set the key on Invoke's External Providers page."
