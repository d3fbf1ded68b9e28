"""Runs requests for the nodes: Invoke's threads are synchronous, the service is not."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import CancelledError as FutureCancelledError
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import TypeVar

from .. import clock
from ..adapters.find import adapter_of
from ..errors import CancelledError, ExternalError, SettingsError
from ..planning.plan import count_calls
from ..progress import Preview
from ..providers.registry import Registry
from ..request import GenerationRequest, OptionValue
from ..result import ConnectionCheck, GenerationResult, Notice
from ..service.progress_text import ProgressLine
from ..service.refusals import Purse
from ..service.service import Service
from ..service.uses_of_ending_models import EXTERNAL_MODEL, ending_notices
from ..settings.live_settings import LiveSettings
from ..settings.settings import Settings, UserCatalog, credentials_beside_invoke, wants_sandbox
from .gallery.originals import Originals
from .gallery.result_cache import Destination, Handover, fingerprint, with_notice_on_images
from .host_api import Host
from .log import BatchLog, calls_were, log, report_broken_settings
from .look_ahead.account_errors import AccountErrors
from .look_ahead.run_table import Run, RunKey, RunTable
from .look_ahead.sent_record import MAY_BE_BILLED_TWICE, SentItems
from .models.carriers import Record, recalled_options, reference_of
from .queue_items import ItemId, QueuedNode
from .remedies import errors_in_invoke, in_invoke, limit_name
from .run_costs import log_abandoned, log_cost_soon
from .service_thread import ServiceThread
from .unclaimed_images import RunImages, partial_result
from .waits import Waits

__all__ = ["Runtime"]

_Answer = TypeVar("_Answer")
_Error = TypeVar("_Error", bound=ExternalError)


class Runtime:
    """The service inside Invoke, with the keys that Invoke has when a run starts.

    Args:
        host: The running Invoke.
        make_service: Makes a service for settings; the second argument is true for the sandbox.
        waits: How long it waits.
        sleep: Sleeps for a number of seconds.
        settings_changed: Called after the settings file has changed.

    Attributes:
        table: The runs, and which of them were started before their turn.
        sent_items: What was sent before its turn, by this Invoke and by the one before.
        account_errors: Errors for which nothing more of a batch is sent.
        batch_log: Logs what is the same for each item of a batch.
        is_stopping: True from the moment that Invoke starts to stop.
        has_succeeded: True once a request has returned images.
        images: Decides who gets the images of the runs.
    """

    def __init__(
        self,
        host: Host,
        *,
        make_service: Callable[[Settings, bool], Service] = lambda found, sandbox: Service(found, sandbox=sandbox),
        waits: Waits | None = None,
        sleep: Callable[[float], None] = time.sleep,
        settings_changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.table = RunTable()
        self.sent_items = SentItems(host.root)
        self.account_errors = AccountErrors(
            host.queued_items, lambda provider: self.settings().credentials.get(provider)
        )
        self.batch_log = BatchLog()
        self.is_stopping = False
        self.has_succeeded = False
        self._host = host
        self._waits = waits or Waits()
        self._sleep = sleep
        self.images = RunImages(host, self.originals)
        self._thread = ServiceThread(make_service)
        self._files = LiveSettings(host.root, settings_changed, report_broken_settings)
        self._catalog: tuple[Settings, UserCatalog] | None = None
        self._registry: tuple[UserCatalog, Registry] | None = None
        self._lock = threading.Lock()
        self._with_nodes: set[Run] = set()
        self._stopped_items: set[ItemId] = set()

    def settings(self) -> Settings:
        """The settings and the keys as they are now; raises SettingsError if the file never was valid."""
        files = self._files()
        providers = files.providers.values()
        in_invoke = self._host.credentials([provider for provider in providers if provider.in_invoke])
        others = [provider for provider in providers if not provider.in_invoke]
        ours = credentials_beside_invoke(others, self._host.root, os.environ)
        found = replace(files, credentials={**in_invoke, **ours}, notices=())
        known = self._catalog
        # The models that providers have listed stay the same until they are asked again.
        if known is None or known[0] is not files:
            self._catalog = known = (files, found.with_discovered().catalog)
        return replace(found, catalog=known[1])

    def sandbox(self) -> bool:
        """True if everything is sent to the sandbox and not to the providers."""
        return wants_sandbox(os.environ) or self.settings().sandbox

    def registry(self) -> Registry:
        """The models; raises SettingsError if the user's file is not valid."""
        catalog = self.settings().catalog
        known = self._registry
        # To read all models takes as long as many other steps of a run together.
        if known is None or known[0] is not catalog:
            self._registry = known = (catalog, Registry(catalog))
        return known[1]

    def ending_models(self) -> list[Notice]:
        """What of the user's uses a model that ends soon or has ended; raises SettingsError."""
        workflows = self._host.saved_workflows(EXTERNAL_MODEL)
        return ending_notices(self.settings(), self.registry(), workflows, clock.utc_today())

    def originals(self) -> Originals:
        """The files of signed images as they were received; raises SettingsError."""
        return Originals(self._host.root, is_enabled=self.settings().limits.keep_originals)

    def providers_on(self) -> list[str]:
        """The providers that Invoke knows, and the others that are in use, with or without a key."""
        current = self.settings()
        return [name for name in current.providers if current.is_on(name)]

    def is_carried(self, record: Record) -> bool:
        """True if a record of Invoke's is one of a model that another provider carries, see ``carriers``."""
        return self.reference_of(record) == record.provider_model_id

    def reference_of(self, record: Record) -> str:
        """The model of a record of Invoke's as ``provider/model``."""
        try:
            return reference_of(record, self.registry(), self.providers_on())
        except SettingsError:
            return reference_of(record, Registry(), ())

    def providers(self) -> set[str]:
        """The providers that have a key. One whose key is for another URL counts too: its models report that."""
        current = self.settings()
        if self.sandbox():
            return {name for name in self.providers_on() if adapter_of(current.providers[name]).sandbox_path}
        return {name for name, found in current.credentials.items() if found.unpaired or current.is_ready(name)}

    def recalled_options(self, record: Record, request: GenerationRequest) -> Mapping[str, OptionValue]:
        """The options of a request that Invoke's page recalls under other names than the provider's own."""
        if request.model != record.provider_model_id:
            return {}
        with errors_in_invoke():
            return recalled_options(record, self.registry().resolve(request.model).model, request.options)

    def previews(self, model: str) -> int:
        """How many previews of each image the settings ask for; 0 for a model without previews."""
        wanted = self.settings().limits.previews
        with errors_in_invoke():
            return wanted if wanted and self.registry().resolve(model).model.previews else 0

    def key_of(self, request: GenerationRequest, node: QueuedNode) -> RunKey:
        """What identifies the run of a node's request; raises SettingsError."""
        provider = (request.model or "").partition("/")[0]
        known = self.settings().credentials.get(provider)
        where = "sandbox" if self.sandbox() else (known.base_url if known else None) or ""
        return RunKey(node, fingerprint(node.user, where, request))

    def provider_and_calls(self, request: GenerationRequest) -> tuple[str, int]:
        """The id of the provider that a request is sent to, and how many calls it makes; raises RequestError."""
        with errors_in_invoke():
            model = self._service().resolve(request.model).model
        return model.provider, count_calls(request, model)

    def check_connection(self, provider: str) -> ConnectionCheck:
        """What ``Service.check_connection`` returns or raises."""
        return self._call(lambda service: service.check_connection(provider))

    def discover_models(self) -> bool:
        """Ask the providers that list their models themselves, at most once a day; True if their models changed.

        Logs the errors of providers; raises SettingsError.
        """
        current = self.settings()
        lists = {name for name, provider in current.providers.items() if provider.discover_models}
        for name in sorted(lists & self.providers()):
            try:
                self._call(partial(Service.discover_models, provider_id=name))
            except ExternalError as error:
                log.warning("invokeai_external: %s has not said its models. %s", current.providers[name].name, error)
        self._catalog = None
        return self.settings().catalog != current.catalog

    def _call(self, ask: Callable[[Service], Awaitable[_Answer]]) -> _Answer:
        """Ask something of a service that makes no images."""
        service, portal = self._thread.acquire(self.settings(), is_sandbox=self.sandbox())

        async def call() -> _Answer:
            try:
                return await ask(service)
            finally:
                await self._thread.release(service)

        with errors_in_invoke():
            return portal.call(call)

    def run(self, request: GenerationRequest, node: QueuedNode, destination: Destination) -> Run:
        """The run for a node: the one started before its turn, a cached result of an equal request, or a new run.

        Raises:
            RequestError: The settings are not valid, or no model has this name.
            ProviderError: See ``account_errors``.
        """
        key = self.key_of(request, node)
        run = self.table.claim(key)
        if run is None or run.failed_before_sending:
            run = self.images.cached_run(key, destination, is_claimed=True)
            if run is None:
                provider, _ = self.provider_and_calls(request)
                if error := self.account_errors.of(node.item, provider):
                    raise self._in_terms_of(node.user, error)
                run = self._start(request, key, destination, is_ahead=False)
                if self.sent_items.is_unconfirmed(node.item):
                    run.notice = MAY_BE_BILLED_TWICE
                    log.warning("Queue item %s: %s", node.item.number, run.notice.message)
            self.table.add(run)
        with self._lock:
            self._with_nodes.add(run)
        return run

    def run_ahead(self, request: GenerationRequest, key: RunKey, destination: Destination) -> Run:
        """Start a run that its node will claim, or reserve a cached result for it."""
        if run := self.images.cached_run(key, destination, is_claimed=False):
            return run
        provider, _, model = (request.model or "").partition("/")
        self.sent_items.add(key.node.item, provider, model)
        try:
            return self._start(request, key, destination, is_ahead=True)
        except ExternalError:
            self.sent_items.confirm(key.node.item)
            raise

    def follow(
        self,
        run: Run,
        *,
        check: Callable[[], None],
        report: Callable[[str, Preview | None], None],
        has_options: bool = True,
    ) -> GenerationResult:
        """Wait for a run and report its progress.

        If this raises, the images received so far are paid for and go into the gallery; when Invoke stops, the images
        received within some seconds go into the result cache.

        Args:
            run: The run.
            check: Called ten times a second; raises if the run was cancelled.
            report: Called with the progress line, at most once a second, and with each new preview.
            has_options: True if the user can set each option of the model, see ``in_invoke``.

        Raises:
            ExternalError: What ``Service.generate`` raises, or a CancelledError if the plugin was removed.
            Exception: What ``check`` or ``report`` raises.
        """
        reported, reported_at = "", 0.0
        shown: Preview | None = None
        over = threading.Event()
        in_terms = partial(self._in_terms_of, run.key.node.user if run.key else None, has_options=has_options)
        run.future.add_done_callback(lambda _: over.set())
        try:
            prefix = "SANDBOX · " if self.sandbox() else ""
            while not over.wait(self._waits.poll):
                check()
                text, preview, now = prefix + run.line.text(), run.line.newest_preview(), time.monotonic()
                is_new = preview is not None and preview is not shown
                if is_new or (text != reported and now - reported_at >= self._waits.report):
                    report(text, preview if is_new else None)
                    reported, reported_at, shown = text, now, preview
            result = self.images.loaded(run.future.result(), run)
        except BaseException as error:
            self._leave(run)
            if isinstance(error, ExternalError):
                raise in_terms(error) from None
            if not isinstance(error, FutureCancelledError):
                raise
            raise CancelledError(
                "The plugin was removed before the image was received.",
                remedy="Install it again, then press Retry on this item. The provider may bill the first as well.",
            ) from None
        if run.notice:
            result = with_notice_on_images(result, run.notice)
        return replace(result, errors=tuple(map(in_terms, result.errors)))

    @contextmanager
    def handing_over(self, run: Run) -> Iterator[Handover]:
        """Save the images of a run in this block; a stop of Invoke waits for it.

        The images stay in the result cache until the block says that it is done. Otherwise, the next equal request gets
        them.
        """
        try:
            with self.images.handing_over(run) as handover:
                yield handover
        finally:
            self._release_node(run)

    def cancel(self, run: Run, *, is_item_gone: bool) -> None:
        """Cancel a run that its node will not claim, and store its images, see ``RunImages.abandon``."""
        run.future.cancel()
        self.images.abandon(run, is_item_gone=is_item_gone)

    def stop_begins(self) -> None:
        """Invoke starts to stop: items in progress end, and responses about to arrive are waited for."""
        self.is_stopping = True

    def stop_ends(self) -> None:
        """Wait a few seconds for calls in flight, for images being saved, and for items that have to be ended."""
        deadline = time.monotonic() + self._waits.stop
        runs = self.table.runs()
        for run in runs:
            if not run.in_flight:
                run.future.cancel()
        for run in runs:
            run.ended.wait(max(0.0, deadline - time.monotonic()))
        late = [run for run in runs if not run.ended.is_set()]
        calls = sum(len(run.in_flight) for run in late)
        for run in late:
            run.future.cancel()
        if calls:
            log.warning(
                "invokeai_external: %s cancelled, since they had no response within %g s of the stop. The"
                " provider may bill them.",
                calls_were(calls),
                self._waits.stop,
            )
        deadline = time.monotonic() + self._waits.end
        for run in late:
            run.ended.wait(max(0.0, deadline - time.monotonic()))
        while time.monotonic() < deadline and self._is_busy():
            self._sleep(self._waits.poll)

    def refuse(self) -> None:
        """Start no more runs: the plugin is being removed."""
        self._thread.refuse()

    def close(self) -> None:
        """Start no more runs, wait for calls in flight as at a stop of Invoke, then end the event loop."""
        self.refuse()
        self.stop_ends()

        def cancel_runs() -> None:
            for run in self.table.runs():
                run.future.cancel()

        self._thread.close(cancel_runs)

    def _in_terms_of(self, user: str | None, error: _Error, *, has_options: bool = True) -> _Error:
        """An error as a user sees it: only an administrator can change keys and limits."""
        is_admin = user is None
        if user is not None:
            # A run that has been paid for must not end because Invoke cannot say who its user is.
            with suppress(Exception):
                is_admin = self._host.is_admin(user)
        return in_invoke(error, has_options=has_options, is_admin=is_admin)

    def _service(self) -> Service:
        return self._thread.service(self.settings(), is_sandbox=self.sandbox())

    def _start(self, request: GenerationRequest, key: RunKey, destination: Destination, *, is_ahead: bool) -> Run:
        """Start a run. Its result is cached under its fingerprint until its node has saved the images."""
        provider, calls = self.provider_and_calls(request)
        line = ProgressLine(request.n, limit_name=limit_name)
        run = Run(provider, calls, is_claimed=not is_ahead, key=key, destination=destination, line=line)
        current = self.settings()
        payer = replace(self._host.payer(key.node.user, destination.board), tag=current.limits.tag)
        withdraw = partial(self.table.withdraw, run) if is_ahead else None
        purse = Purse(payer=payer, may_wait=True, withdraw=withdraw)
        service, portal = self._thread.acquire(current, is_sandbox=self.sandbox())

        def confirm() -> None:
            if is_ahead:
                self.sent_items.confirm(key.node.item)

        def leave_unconfirmed() -> None:
            """The item stays recorded."""

        async def carry_out() -> GenerationResult:
            try:
                try:
                    result = await service.generate(request, run.on_progress, purse=purse)
                except BaseException as error:
                    # At once, since look-ahead sends the next one soon.
                    self.account_errors.add(key.node.item, provider, error)
                    if service.is_billed(request):
                        log_abandoned(run, request.model)
                    before_end = leave_unconfirmed if run.may_be_billed else confirm
                    if run.received:
                        await self.images.store(partial_result(request, run), run, key.fingerprint, before_end)
                    else:
                        before_end()
                    raise
                self.has_succeeded = True
                await self.images.store(result, run, key.fingerprint, confirm)
                if service.is_billed(request):
                    await service.settled()
                    log_cost_soon(current, result)
                return self.images.waiting(result, run)
            finally:
                run.ended.set()
                await self._thread.release(service)

        run.future = portal.start_task_soon(carry_out)
        return run

    def _leave(self, run: Run) -> None:
        """Abandon a run whose node goes without its images; a stop of Invoke or of the plugin waits for its item."""
        is_stopping = self.is_stopping
        if run.key and (is_stopping or self._thread.is_refusing):
            self._stopped_items.add(run.key.node.item)
        if not is_stopping:
            run.future.cancel()
            # An image may be arriving right now.
            run.ended.wait(self._waits.end)
        self.images.abandon(run, is_item_gone=not is_stopping)
        self._release_node(run)

    def _release_node(self, run: Run) -> None:
        with self._lock:
            self._with_nodes.discard(run)

    def _is_busy(self) -> bool:
        """True while a node has a run, or an item in progress has not ended with Invoke's stop yet."""
        if self._with_nodes:
            return True
        in_progress = {item.id for item in self._host.queued_items() if item.status == "in_progress"}
        return not self._stopped_items.isdisjoint(in_progress)
