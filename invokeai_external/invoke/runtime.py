"""Runs requests for the nodes: Invoke's threads are synchronous, the service is not.

One event loop in one thread (anyio's blocking portal) serves all runs; it is made for the first and ends with the pack.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError as FutureCancelledError
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cached_property

import anyio
import anyio.to_thread
from anyio.from_thread import BlockingPortal, start_blocking_portal

from ..errors import CancelledError, ExternalError, RequestError
from ..planner import count_calls
from ..registry import PROVIDER_IDS, Registry
from ..request import ConnectionCheck, GenerationRequest, GenerationResult, Preview
from ..service import Service
from ..settings import Settings, load_settings, wants_sandbox
from . import host
from .kept import KeptResults, fingerprint, told_as_kept
from .originals import Originals
from .runs import Asked, Ledger, Place, Run

__all__ = ["Runtime"]

_POLL_S = 0.1
"""How often a run looks whether it was cancelled."""

_TELL_S = 1.0
"""How often the progress line is told at most: each telling is an event to every browser."""


class Runtime:
    """The service inside Invoke, with the keys that Invoke holds when a run begins.

    Attributes:
        ledger: The runs, and which of them were started before their turn.
    """

    def __init__(self) -> None:
        self.ledger = Ledger()
        self._lock = threading.Lock()
        self._portal: BlockingPortal | None = None
        self._portal_context: AbstractContextManager[BlockingPortal] | None = None
        self._services: list[tuple[Settings, bool, Service]] = []
        self._files: Settings | None = None

    def settings(self) -> Settings:
        """The files as they were at the first look, and the keys as they are now; raises SettingsError."""
        if self._files is None:
            self._files = load_settings(host.root(), {}, ())
        return replace(self._files, credentials=host.credentials(PROVIDER_IDS), notices=())

    def sandbox(self) -> bool:
        """True if everything goes to the sandbox in place of the providers."""
        return wants_sandbox(os.environ) or self.settings().sandbox

    def registry(self) -> Registry:
        """The models; raises SettingsError if the user's file is broken."""
        return Registry(self.settings().models)

    def originals(self) -> Originals:
        """The files of signed images as they arrived; raises SettingsError."""
        return Originals(host.root(), is_kept=self.settings().limits.keep_originals)

    def providers(self) -> set[str]:
        """The providers that have a key now; one whose key is for another address shows its models, which say so."""
        if self.sandbox():
            return set(PROVIDER_IDS)
        return {provider for provider, found in self.settings().credentials.items() if found.api_key or found.unpaired}

    def run(self, request: GenerationRequest, place: Place) -> Run:
        """What a node asks for: the run that was started before its turn, a kept result of an equal one, or a new run.

        Raises:
            RequestError: The settings are broken, or the model has no name that can be one.
        """
        asked = self.asked(request, place)
        run = self.ledger.fetch(asked)
        if run and not _was_refused_unsent(run):
            return run
        run = self._from_disk(request, asked.name, is_fetched=True) or self._begin(request)
        self.ledger.add(run)
        return run

    def run_ahead(self, request: GenerationRequest, name: str) -> Run:
        """Start a run that its node will fetch, or take hold of a kept result for it; ``name`` is its fingerprint."""
        return self._from_disk(request, name, is_fetched=False) or self._begin(request, ahead_as=name)

    def asked(self, request: GenerationRequest, place: Place) -> Asked:
        """The request of a node, with what tells it from all others; raises SettingsError."""
        provider = (request.model or "").partition("/")[0]
        known = self.settings().credentials.get(provider)
        where = "sandbox" if self.sandbox() else (known.base_url if known else None) or ""
        return Asked(place, fingerprint(place.user, where, request))

    def provider_and_calls(self, request: GenerationRequest) -> tuple[str, int]:
        """The id of the provider that a request goes to, and how many calls it takes; raises RequestError."""
        service, _ = self._service()
        model = service.resolve(request.model).model
        return model.provider, count_calls(request, model)

    def previews(self, model: str) -> int:
        """How many previews of each picture the settings ask for; none of a model that shows none."""
        wanted = self.settings().limits.previews
        return wanted if wanted and self.registry().resolve(model).model.previews else 0

    def follow(
        self, run: Run, *, is_canceled: Callable[[], bool], tell: Callable[[str, Preview | None], None]
    ) -> GenerationResult:
        """Follow a run to its end, telling what goes on, and stop it within a moment of being cancelled.

        Args:
            run: The run.
            is_canceled: Asked ten times a second.
            tell: Given the progress line, once a second at most, and when a preview has come, that as well.

        Raises:
            ExternalError: What ``Service.generate`` raises, or a CancelledError if the pack was taken out meanwhile.
            CanceledException: The run was cancelled; what had arrived of it is paid for.
        """
        told, told_at = "", 0.0
        shown: Preview | None = None
        where = "SANDBOX · " if self.sandbox() else ""
        over = threading.Event()
        run.future.add_done_callback(lambda _: over.set())
        try:
            while not over.wait(_POLL_S):
                if is_canceled():
                    raise host.CanceledException
                text, preview, now = where + run.line.text(), run.line.newest_preview(), time.monotonic()
                is_new = preview is not None and preview is not shown
                if is_new or (text != told and now - told_at >= _TELL_S):
                    tell(text, preview if is_new else None)
                    told, told_at, shown = text, now, preview
            result = run.future.result()
        except FutureCancelledError:
            raise CancelledError(
                "The plugin was removed before the picture was there.",
                hint="Install it again and run again; the provider may bill the first time as well.",
            ) from None
        except ExternalError as error:
            _give_invokes_hint(error)
            raise
        finally:
            run.future.cancel()
            if run.kept:
                self._kept.discard(run.kept)
        for failure in result.errors:
            _give_invokes_hint(failure)
        return result

    def give_up(self, run: Run) -> None:
        """End a run that its node will not fetch; what has come of it stays on disk for whoever asks for the same."""
        run.future.cancel()
        with self._lock:
            run.is_left = True
        if run.kept:
            self._kept.release(run.kept)

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
        for run in self.ledger.runs():
            run.future.cancel()
        for _, _, service in services:
            portal.call(service.__aexit__, None, None, None)
        portal.call(portal.stop, True)
        context.__exit__(None, None, None)

    @cached_property
    def _kept(self) -> KeptResults:
        return KeptResults(host.root())

    def _from_disk(self, request: GenerationRequest, name: str, *, is_fetched: bool) -> Run | None:
        """The run of a kept result, which is then held; None if there is none."""
        if not (entry := self._kept.hold(name)):
            return None
        result = self._kept.read(entry)
        if result is None:
            self._kept.discard(entry)
            return None
        run = Run(result.provider, calls=1, is_fetched=is_fetched, kept=entry)
        run.future.set_result(told_as_kept(result))
        run.ended.set()
        return run

    def _begin(self, request: GenerationRequest, ahead_as: str | None = None) -> Run:
        """Start a run; one that is ahead of its turn is kept under that name when it ends."""
        provider, calls = self.provider_and_calls(request)
        run = Run(provider, calls, is_fetched=ahead_as is None)
        service, portal = self._service()
        run.future = portal.start_task_soon(self._carried_out, service, request, run, ahead_as)
        return run

    async def _carried_out(
        self, service: Service, request: GenerationRequest, run: Run, ahead_as: str | None
    ) -> GenerationResult:
        try:
            try:
                result = await service.generate(request, run.on_progress)
            except anyio.get_cancelled_exc_class():
                if run.arrived:
                    await self._keep(_part_of(request, run), run, ahead_as)
                raise
            await self._keep(result, run, ahead_as)
            return result
        finally:
            run.ended.set()

    async def _keep(self, result: GenerationResult, run: Run, ahead_as: str | None) -> None:
        """Write a result down, unless its node waits for it already."""
        if ahead_as is None or run.is_fetched:
            return
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._write_down, result, run, ahead_as)

    def _write_down(self, result: GenerationResult, run: Run, ahead_as: str) -> None:
        try:
            entry = self._kept.keep(ahead_as, result)
        except OSError as error:
            host.log.warning("invokeai_external could not keep a picture until its turn: %s.", error.strerror)
            return
        with self._lock:
            run.kept = None if run.is_fetched else entry
            is_left = run.is_left
        # Meanwhile its node may have come for it, or have gone.
        if run.is_fetched:
            self._kept.discard(entry)
        elif is_left:
            self._kept.release(entry)

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


def _was_refused_unsent(run: Run) -> bool:
    """True if nothing was sent, for a reason that may be gone since, such as a missing key."""
    return run.future.done() and not run.future.cancelled() and isinstance(run.future.exception(), RequestError)


def _part_of(request: GenerationRequest, run: Run) -> GenerationResult:
    """The pictures that had arrived when a run was cancelled."""
    missing = f"{len(run.arrived)} of {request.n} pictures had come when the run was cancelled."
    provider, _, model = (request.model or "").partition("/")
    return GenerationResult(
        provider=provider,
        model=model,
        images=tuple(run.arrived),
        notices=(),
        usage=None,
        cost_usd=None,
        request_ids=(),
        errors=(CancelledError(missing, hint="Run it again for the rest."),),
        elapsed_s=0.0,
    )


def _give_invokes_hint(error: ExternalError) -> None:
    """Where the core's hint is to set the key on the command line, name Invoke's own place for it."""
    if error.hint and "invokeai-external keys set" in error.hint:
        error.hint = "Set the key on Invoke's External Providers page."
