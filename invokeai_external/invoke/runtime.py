"""Runs requests for the nodes: Invoke's threads are synchronous, the service is not.

One event loop in one thread (anyio's blocking portal) serves all runs; it is made for the first and ends with the pack.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError as FutureCancelledError
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.to_thread
from anyio.from_thread import BlockingPortal, start_blocking_portal

from ..errors import CancelledError, ExternalError, RequestError
from ..planning.plan import count_calls
from ..providers.registry import PROVIDER_IDS, Registry
from ..request import GenerationRequest
from ..result import ConnectionCheck, GeneratedImage, GenerationResult, Notice, Preview
from ..service.service import Service
from ..settings.settings import Settings, load_user_file, wants_sandbox
from .gallery import delivery
from .gallery.fallback import FallbackFolder
from .gallery.originals import Originals
from .gallery.result_cache import Destination, ResultCache, fingerprint, with_cache_notice, with_notice_on_images
from .host import gallery as invoke_gallery
from .host.config import configured_credentials, has_several_users, invoke_root, log
from .host.nodes import CanceledException
from .host.queue import queued_items
from .look_ahead.runs import Asked, Ledger, Place, Run
from .look_ahead.sent_items import Item, SentAhead
from .remedies import in_invoke

__all__ = ["Runtime"]

_POLL_S = 0.1
"""How often a run looks whether it was cancelled."""

_TELL_S = 1.0
"""How often the progress line is told at most: each telling is an event to every browser."""

_STOP_S = 5.0
"""How long a stop of Invoke waits for the answers to calls that are out; whoever stops it may kill it after ten."""

_LAST_S = 2.0
"""How long something is waited for that needs no answer from anywhere."""

MAY_BE_BILLED_TWICE = Notice(
    "may_be_billed_twice",
    "An earlier Invoke sent this request and ended before it was answered, so that it may be billed twice.",
)


class Runtime:
    """The service inside Invoke, with the keys that Invoke holds when a run begins.

    Attributes:
        ledger: The runs, and which of them were started before their turn.
        sent: What was sent before its turn, by this Invoke and by the one before.
        is_stopping: True from when Invoke was told to stop.
        has_succeeded: True once a request has given images.
    """

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.sent = SentAhead(invoke_root())
        self.is_stopping = False
        self.has_succeeded = False
        self._cache = ResultCache(invoke_root())
        self._with_nodes: set[Run] = set()
        self._at_stop: set[int] = set()
        # Under it is decided who takes what comes of a run; nothing holds it for long, since the event loop wants it.
        self._ends = threading.Lock()
        self._lock = threading.Lock()
        self._portal: BlockingPortal | None = None
        self._portal_context: AbstractContextManager[BlockingPortal] | None = None
        self._services: list[tuple[Settings, bool, Service]] = []
        self._files: Settings | None = None

    def settings(self) -> Settings:
        """The files as they were at the first look, and the keys as they are now; raises SettingsError."""
        if self._files is None:
            self._files = load_user_file(invoke_root())
        return replace(self._files, credentials=configured_credentials(PROVIDER_IDS), notices=())

    def sandbox(self) -> bool:
        """True if everything goes to the sandbox in place of the providers."""
        return wants_sandbox(os.environ) or self.settings().sandbox

    def registry(self) -> Registry:
        """The models; raises SettingsError if the user's file is broken."""
        return Registry(self.settings().models)

    def originals(self) -> Originals:
        """The files of signed images as they arrived; raises SettingsError."""
        return Originals(invoke_root(), is_enabled=self.settings().limits.keep_originals)

    def providers(self) -> set[str]:
        """The providers that have a key now; one whose key is for another address shows its models, which say so."""
        if self.sandbox():
            return set(PROVIDER_IDS)
        return {provider for provider, found in self.settings().credentials.items() if found.api_key or found.unpaired}

    def run(self, request: GenerationRequest, place: Place, destination: Destination) -> Run:
        """What a node asks for: the run that was started before its turn, a kept result of an equal one, or a new run.

        Raises:
            RequestError: The settings are broken, or the model has no name that can be one.
        """
        asked = self.asked(request, place)
        run = self.ledger.fetch(asked)
        if run is None or _was_refused_unsent(run):
            run = self._from_disk(asked, destination, is_fetched=True)
            if run is None:
                run = self._begin(request, asked, destination, is_ahead=False)
                if self.sent.is_doubtful(place.queue_item):
                    run.notice = MAY_BE_BILLED_TWICE
                    log.warning("Queue item %s: %s", place.item, run.notice.message)
            self.ledger.add(run)
        with self._ends:
            self._with_nodes.add(run)
        return run

    def run_ahead(self, request: GenerationRequest, asked: Asked, destination: Destination) -> Run:
        """Start a run that its node will fetch, or take hold of a kept result for it."""
        if run := self._from_disk(asked, destination, is_fetched=False):
            return run
        provider, _, model = (request.model or "").partition("/")
        self.sent.begin(asked.place.queue_item, provider, model)
        try:
            return self._begin(request, asked, destination, is_ahead=True)
        except ExternalError:
            self.sent.answered(asked.place.queue_item)
            raise

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

        If it raises, what had arrived of the run is paid for and goes into the gallery; at a stop of Invoke, what
        arrives within some seconds is kept on disk.

        Args:
            run: The run.
            is_canceled: Asked ten times a second.
            tell: Given the progress line, once a second at most, and when a preview has come, that as well.

        Raises:
            ExternalError: What ``Service.generate`` raises, or a CancelledError if the pack was taken out meanwhile.
            CanceledException: The run was cancelled.
        """
        told, told_at = "", 0.0
        shown: Preview | None = None
        over = threading.Event()
        run.future.add_done_callback(lambda _: over.set())
        try:
            where = "SANDBOX · " if self.sandbox() else ""
            while not over.wait(_POLL_S):
                if is_canceled():
                    raise CanceledException
                text, preview, now = where + run.line.text(), run.line.newest_preview(), time.monotonic()
                is_new = preview is not None and preview is not shown
                if is_new or (text != told and now - told_at >= _TELL_S):
                    tell(text, preview if is_new else None)
                    told, told_at, shown = text, now, preview
            result = run.future.result()
        except BaseException as error:
            self._let_go(run)
            if isinstance(error, ExternalError):
                raise in_invoke(error) from None
            if not isinstance(error, FutureCancelledError):
                raise
            raise CancelledError(
                "The plugin was removed before the picture was there.",
                remedy="Install it again and run again; the provider may bill the first time as well.",
            ) from None
        if run.notice:
            result = with_notice_on_images(result, run.notice)
        return replace(result, errors=tuple(map(in_invoke, result.errors)))

    @contextmanager
    def handing_over(self, run: Run) -> Iterator[None]:
        """Save the images of a run in this block, for which a stop of Invoke waits.

        What is on disk of the run stays there until they are saved; if that fails, for whoever asks for the same.
        """
        part_with = self._cache.release
        try:
            yield
            part_with = self._cache.remove
        finally:
            if run.kept:
                part_with(run.kept)
            with self._ends:
                self._with_nodes.discard(run)

    def give_up(self, run: Run, *, item_is_gone: bool) -> None:
        """End a run that its node will not fetch.

        What has come of it goes into the gallery if its item is gone; else it stays on disk for whoever asks for the
        same, which mostly is that item.
        """
        run.future.cancel()
        self._part_with(run, is_orphan=item_is_gone)

    def deliver_old(self) -> None:
        """Put what nobody has asked for within a day into the gallery; what waits in the queue is left to its item."""
        alive = {Item(item.number, item.batch) for item in queued_items()}
        is_shared = has_several_users()

        def is_wanted(destination: Destination | None) -> bool:
            if destination is None:
                # 0.1 wrote down neither whose it is nor which item asked for it.
                return is_shared or bool(alive)
            return destination.item in alive

        for entry, destination in self._cache.acquire_expired(is_wanted):
            if not self._is_delivered(entry, destination or Destination("system")):
                self._cache.release(entry)

    def stop_begins(self) -> None:
        """Invoke was told to stop: what is at work ends, and what is about to arrive is waited for."""
        self.is_stopping = True

    def stop_ends(self) -> None:
        """Wait a few seconds for the calls that are out, for what is being saved, and for items to be told of it."""
        deadline = time.monotonic() + _STOP_S
        runs = self.ledger.runs()
        for run in runs:
            if not run.under_way:
                run.future.cancel()
        for run in runs:
            run.ended.wait(max(0.0, deadline - time.monotonic()))
        late = [run for run in runs if not run.ended.is_set()]
        calls = sum(len(run.under_way) for run in late)
        for run in late:
            run.future.cancel()
        if calls:
            log.warning(
                "invokeai_external: %s call(s) were not answered within %g s of Invoke's stop and were given up; the"
                " provider may bill them.",
                calls,
                _STOP_S,
            )
        deadline = time.monotonic() + _LAST_S
        for run in late:
            run.ended.wait(max(0.0, deadline - time.monotonic()))
        while time.monotonic() < deadline and self._is_at_work():
            time.sleep(_POLL_S)

    def _is_at_work(self) -> bool:
        """True while a node has a run of its own, or its item was not told of the stop yet."""
        if self._with_nodes:
            return True
        working = {item.number for item in queued_items() if item.status == "in_progress"}
        return not self._at_stop.isdisjoint(working)

    def check_connection(self, provider: str) -> ConnectionCheck:
        """What ``Service.check_connection`` gives or raises."""
        service, portal = self._service()
        try:
            return portal.call(service.check_connection, provider)
        except ExternalError as error:
            raise in_invoke(error) from None

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

    def _from_disk(self, asked: Asked, destination: Destination, *, is_fetched: bool) -> Run | None:
        """The run of a kept result, which is then held; None if there is none."""
        if not (entry := self._cache.acquire(asked.name)):
            return None
        # One that cannot be read stays held, and stays on the disk: its images may be whole.
        if not (result := self._cache.read(entry)):
            return None
        run = Run(result.provider, 1, is_fetched=is_fetched, asked=asked, destination=destination, kept=entry)
        run.future.set_result(with_cache_notice(result))
        run.ended.set()
        return run

    def _begin(self, request: GenerationRequest, asked: Asked, destination: Destination, *, is_ahead: bool) -> Run:
        """Start a run; what comes of it is kept under its fingerprint, unless its node has it by then."""
        provider, calls = self.provider_and_calls(request)
        run = Run(provider, calls, is_fetched=not is_ahead, asked=asked, destination=destination)
        service, portal = self._service()

        def is_known() -> None:
            if is_ahead:
                self.sent.answered(asked.place.queue_item)

        def is_in_doubt() -> None:
            """It stays written down."""

        async def carried_out() -> GenerationResult:
            try:
                try:
                    result = await service.generate(request, run.on_progress)
                except BaseException:
                    at_end = is_in_doubt if run.may_be_billed else is_known
                    if run.arrived:
                        await self._keep(_part_of(request, run), run, asked.name, at_end)
                    else:
                        at_end()
                    raise
                self.has_succeeded = True
                await self._keep(result, run, asked.name, is_known)
                return result
            finally:
                run.ended.set()

        run.future = portal.start_task_soon(carried_out)
        return run

    async def _keep(self, result: GenerationResult, run: Run, name: str, at_end: Callable[[], None]) -> None:
        """Write a result down, unless its node waits for it; ``at_end`` is called before the run counts as ended.

        A stop of Invoke waits for the end of the run, and then no longer notes what became of it.
        """
        with self._ends:
            if run.is_fetched:
                at_end()
                # From here on nobody else takes it, see ``_part_with``.
                run.ended.set()
                return
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._write_down, result, run, name, at_end)

    def _write_down(self, result: GenerationResult, run: Run, name: str, at_end: Callable[[], None]) -> None:
        entry = None
        try:
            entry = self._cache.store(name, result, run.destination)
        except OSError as error:
            log.warning("invokeai_external could not keep an image until its turn: %s.", error.strerror)
        at_end()
        with self._ends:
            run.kept = entry
            run.ended.set()
            is_left = run.is_left
        # Meanwhile its node may have gone.
        if is_left:
            self._leave(run)

    def _let_go(self, run: Run) -> None:
        """Part with a run whose node goes without its images; if Invoke stops, it is waited for by the stop."""
        is_stopping = self.is_stopping
        if is_stopping:
            if run.asked:
                self._at_stop.add(run.asked.place.item)
        else:
            run.future.cancel()
            # What is under way may just arrive.
            run.ended.wait(_LAST_S)
        self._part_with(run, is_orphan=not is_stopping)
        with self._ends:
            self._with_nodes.discard(run)

    def _part_with(self, run: Run, *, is_orphan: bool) -> None:
        """No node takes a run: what has come of it is put where it belongs, here, or when it comes by who writes it."""
        with self._ends:
            has_ended = run.ended.is_set()
            run.is_fetched, run.is_left, run.is_orphan = False, True, is_orphan
        if has_ended:
            self._leave(run)

    def _leave(self, run: Run) -> None:
        """Put what came of a run, which has ended, where it belongs if no node takes it."""
        if run.kept:
            if not (run.is_orphan and run.destination and self._is_delivered(run.kept, run.destination)):
                self._cache.release(run.kept)
        # It is nowhere but in memory.
        elif run.arrived and run.destination:
            undelivered = self._deliver(run.arrived, run.destination)
            if undelivered.images:
                self._save_as_files(undelivered)

    def _is_delivered(self, entry: Path, destination: Destination) -> bool:
        """Put a kept result that is held into the gallery; False if that fails, and it stays where it is."""
        if not (result := self._cache.read(entry)):
            return False
        undelivered = self._deliver(result.images, destination)
        if len(undelivered.images) == len(result.images):
            log.warning(
                "The images of a cancelled run are kept in %s, since the gallery did not take them: %s.",
                entry,
                undelivered.reason,
            )
            return False
        # Some are there, which the next try would put there again.
        if undelivered.images and self._save_as_files(undelivered):
            return False
        self._cache.remove(entry)
        return True

    def _deliver(self, images: Sequence[GeneratedImage], destination: Destination) -> delivery.Undelivered:
        """Put the images of a cancelled run into the gallery; the log says how many are there."""
        undelivered = delivery.deliver(images, destination, self.originals(), invoke_gallery)
        if count := len(images) - len(undelivered.images):
            log.info("invokeai_external: %s image(s) of a cancelled run are in the gallery.", count)
        return undelivered

    def _save_as_files(self, undelivered: delivery.Undelivered) -> int:
        """Put images that the gallery did not take into files; the log says where. Gives how many are lost."""
        saved = FallbackFolder(invoke_root()).save(undelivered.images)
        log.error(
            "The images of a cancelled run could not be saved in the gallery: %s. %s", undelivered.reason, saved.message
        )
        return saved.lost

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
        errors=(CancelledError(missing, remedy="Run it again for the rest."),),
        elapsed_s=0.0,
    )
