"""Plan, send, collect: the one place that knows their order."""

from __future__ import annotations

import datetime
import logging
import time
import warnings
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Self

import anyio
import anyio.lowlevel
import anyio.to_thread

from ..adapters.find import adapter_of
from ..errors import InvalidRequestError, ProviderError, RequestError, ServiceStateError
from ..planning.options import check_option_names
from ..planning.plan import Call, Plan
from ..planning.plan import plan as plan_calls
from ..planning.prompt_weights import prompt_to_send
from ..progress import Failed, Progress
from ..providers.configured import provider_named
from ..providers.listing import ListingCheck, compare_listing, is_listed
from ..providers.provider_config import ProviderConfig
from ..providers.registry import Registry, ResolvedModel
from ..request import GenerationRequest
from ..result import ConnectionCheck, GenerationResult, Notice
from ..settings.settings import Settings
from ..transport.messages import HttpRequest
from ..transport.retry_policy import RetryPolicy
from .access import Access, access_to, base_url_of, shown
from .calls import Caller, Position, no_streams
from .collected_results import Outcome, collect, finisher_of, received, too_little_memory, total
from .discovery import Discovery
from .event_loop import this_run
from .image_urls import Content, ImageFetcher
from .listener import Listener, ListenerFailedError
from .listing import listed_models, verify_key
from .payments import Reserved, payments_of, with_billing
from .refusals import Purse, checked_purse, checked_request
from .retry_loop import Attempts
from .sandboxed import models_by_wire_format, with_sandbox
from .tokens import Tokens

if TYPE_CHECKING:
    from ..transport.client import HttpClient, Transport
    from .image_checks import Finisher

__all__ = ["Service"]

_log = logging.getLogger(__name__)


class Service:
    """Makes images. Use as ``async with Service(settings) as service``, or call ``aclose`` after use.

    Args:
        settings: Keys, base URLs and limits, as ``load_settings`` reads them.
        sandbox: True to use the sandbox in process: no key, no network, no cost.
        http_client: An ``httpx.AsyncClient`` to send with; you close it, after the service. Its proxies, TLS settings
            and connections are used; redirects are not followed and its timeouts and ``auth`` are not used. Its default
            headers are only sent to the provider.
        today: The day on which models are active or retired; by default that of the call, in UTC.
        clock: Seconds that only go up, by which retries and waits are timed.
        sleep: Waits for so many seconds between retries.

    Raises:
        SettingsError: A model in the user's file is not valid.
        InvalidRequestError: Both ``sandbox`` and ``http_client`` are given.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        sandbox: bool = False,
        http_client: HttpClient | None = None,
        today: Callable[[], datetime.date] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        if sandbox and http_client:
            raise InvalidRequestError("The sandbox in process sends nothing over an http_client.")
        if not isinstance(settings, Settings):
            raise InvalidRequestError(
                f"The settings must be Settings, not {type(settings).__name__}.",
                remedy="Read them with load_settings(folder).",
            )
        self.registry = Registry(settings.catalog, today=today)
        self._today = today
        self._settings = with_sandbox(settings) if sandbox else settings
        limits = settings.limits
        # The HTTP client takes longer to load than all the rest, and many programs only plan.
        from ..transport.client import Transport

        self._transport = Transport(
            timeout_s=limits.timeout_s,
            total_timeout_s=limits.total_timeout_s,
            max_response_bytes=limits.max_response_bytes,
            asgi_app=self._sandbox_app(today) if sandbox else None,
            http_client=http_client,
        )
        self._is_sandbox = sandbox
        self._payments = payments_of(settings, lambda: self.registry, sandbox=sandbox, clock=clock, sleep=sleep)
        type_of = partial(_type_of, max_pixels=limits.max_image_pixels)
        policy = RetryPolicy(max_attempts=limits.max_attempts, max_wait_s=limits.max_wait_s)
        providers = self._settings.providers
        concurrency = {name: found.limits.concurrency or limits.concurrency for name, found in providers.items()}
        self._attempts = Attempts(concurrency, policy, clock, sleep, self._check_state)
        self._caller = Caller(self._transport_to, self._attempts, type_of)
        self._tokens = Tokens(clock)
        self._discovery = Discovery(self._transport, self._tokens, clock)
        self._fetcher = ImageFetcher(self._transport, clock, sleep, type_of)
        self._run: object | None = None
        self._is_entered = self._is_closed = False
        # More threads at work would hold up the event loop, which gets its turn after all of them.
        self._planners = anyio.CapacityLimiter(2)
        # One of 36 million pixels takes half a gigabyte.
        self._large_edits = anyio.CapacityLimiter(1)

    async def __aenter__(self) -> Self:
        self._check_state()
        if self._is_entered:
            raise ServiceStateError("This Service was entered before.", remedy="Use one 'async with' per Service.")
        self._is_entered = True
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections. The service can make no more requests then."""
        self._is_closed = True
        await self._payments.aclose()
        await self._transport.aclose()

    def resolve(self, reference: str | None) -> ResolvedModel:
        """The model of a request; without a name, that of the settings or the newest of a provider that has a key."""
        if reference := reference or self._settings.limits.default_model:
            return self.registry.resolve(reference)
        known = self._settings.credentials.items()
        ready = [name for name, _ in known if self._settings.is_ready(name)]
        with_key = ready or [name for name, found in known if found.unpaired]
        return ResolvedModel(self.registry.default_model(with_key))

    def plan(self, request: GenerationRequest) -> Plan:
        """What would be sent; nothing is sent. Raises a RequestError if the model does not support the request."""
        request = checked_request(request)
        resolved = self.resolve(request.model)
        model, notices = resolved.model, resolved.notices
        if request.previews and model.previews and not self._caller.supports_streams(model):
            request = replace(request, previews=0)
            notices = (*notices, no_streams(self.registry.provider(model.provider).name))
        prompt, about_it = prompt_to_send(request.prompt, strips_weights=self._settings.limits.strip_prompt_weights)
        request, notices = replace(request, prompt=prompt), (*notices, *about_it)
        try:
            check_option_names(request.options, self.registry.option_names, model)
            sent = adapter_of(self._provider(model.provider)).sent_options
            plan = plan_calls(request, model, experimental=self._settings.limits.experimental, sent_options=sent)
        except RequestError as error:
            raise error.replace(provider=model.provider, model=model.id) from None
        except MemoryError:
            raise InvalidRequestError(
                "The images of this request do not fit into this computer's memory.",
                remedy="Close other programs, or use smaller images.",
                provider=model.provider,
                model=model.id,
            ) from None
        return replace(plan, notices=(*notices, *plan.notices))

    def dry_run(self, request: GenerationRequest) -> tuple[Plan, list[HttpRequest]]:
        """The plan of a request and the HTTP requests that it would send, without keys; nothing is sent."""
        plan = self.plan(request)
        provider = self._provider(plan.model.provider)
        base_url, about_it = base_url_of(provider, self._settings)
        plan = replace(plan, notices=(*self._settings.notices, *about_it, *plan.notices))
        adapter = adapter_of(provider)
        return plan, [adapter.with_headers(adapter.build(call, base_url)) for call in plan.calls]

    def preview(self, request: GenerationRequest) -> tuple[Plan, list[HttpRequest]]:
        """The former name of ``dry_run``."""
        warnings.warn("Service.preview is now Service.dry_run.", DeprecationWarning, stacklevel=2)
        return self.dry_run(request)

    async def generate(
        self,
        request: GenerationRequest,
        on_progress: Callable[[Progress], None] = lambda _: None,
        *,
        purse: Purse | None = None,
    ) -> GenerationResult:
        """Make the images of a request, its calls side by side.

        Args:
            request: What to make.
            on_progress: Called at every step; an image is handed over as soon as it is there.
            purse: Who pays, and what the request may cost; by default nobody in particular, and what the limits allow.

        Returns:
            The images in the order of the request. If some calls failed and others did not, their errors are in it.

        Raises:
            RequestError: Nothing was sent: the key, the settings, the proxy or the request must change, or a limit does
                not allow what it could cost.
            ProviderError: All calls failed; this is the first one's error.
            BaseException: Whatever ``on_progress`` raises, as it is; the calls are ended.
        """
        self._check_state()
        request, purse = checked_request(request), checked_purse(purse)
        started = time.monotonic()
        about_models = await self._discover_for(request)
        access = await self._tokens.completed(self._access(self._provider_of(request)))
        plan = await self._planned(request)
        notices = (*self._settings.notices, *access.notices, *about_models, *plan.notices)
        is_sandbox = self._is_sandbox or access.is_sandbox
        # What cannot be sent is not reserved.
        self._transport.check_can_send(access.base_url)
        try:
            async with self._payments.reserved(plan, purse, on_progress, sandbox=is_sandbox) as reserved:
                outcomes = await self._outcomes(access, request, plan, reserved, on_progress)
        finally:
            # An error may be kept for long, and its traceback holds the plan.
            for call in plan.calls:
                if call.original:
                    call.original.forget()
        result = total(plan, (*notices, *reserved.notices), outcomes, time.monotonic() - started)
        for notice in result.notices:
            _log.info("%s: %s", plan.model.reference, notice.message)
        return result

    async def _planned(self, request: GenerationRequest) -> Plan:
        if not (request.init_image or request.mask or request.references or request.markup):
            # Faster than to get into a thread and back.
            await anyio.lowlevel.checkpoint_if_cancelled()
            return self.plan(request)
        return await anyio.to_thread.run_sync(self.plan, request, abandon_on_cancel=True, limiter=self._planners)

    async def _outcomes(
        self,
        access: Access,
        request: GenerationRequest,
        plan: Plan,
        reserved: Reserved,
        on_progress: Callable[[Progress], None],
    ) -> list[Outcome]:
        """Run the calls of a plan side by side."""
        outcomes: list[Outcome | None] = [None] * len(plan.calls)
        finisher = finisher_of(self._settings.limits)

        async def run(place: int, call: Call, listener: Listener) -> None:
            position = Position(call=place + 1, calls=len(plan.calls))
            with suppress(ListenerFailedError):
                async with self._payments.call(reserved, place, call.model.prices, listener) as paid:
                    outcomes[place] = await self._outcome(access, request, call, plan.notices, finisher, position, paid)

        try:
            async with anyio.create_task_group() as group:
                listener = Listener(on_progress, group)
                for place, call in enumerate(plan.calls):
                    group.start_soon(run, place, call, listener)
        except BaseExceptionGroup as failures:
            # These are errors that nobody expected; the first one is enough.
            raise failures.exceptions[0] from None
        if listener.error:
            raise listener.error
        return [outcome for outcome in outcomes if outcome]

    async def settled(self) -> tuple[Notice, ...]:
        """Wait until the spending record has the end of all calls so far: a request returns its images before that.

        Returns:
            A notice ``not_recorded`` for each that it could not get since this was last called.
        """
        return await self._payments.settled()

    def is_billed(self, request: GenerationRequest) -> bool:
        """False if a request would go to the sandbox; raises a RequestError if it cannot be sent."""
        access = self._access(self._provider_of(request))
        return not (self._is_sandbox or access.is_sandbox)

    async def check_connection(self, provider_id: str) -> ConnectionCheck:
        """Ask a provider for its list of models, once, which costs nothing and shows whether it accepts the key.

        Of a provider that has no such list, and a token in the place of a key, only the token is made.

        Raises:
            RequestError: There is no such provider, no key, or no base URL that can be used; or there is neither a list
                nor a token.
            ProviderError: The provider refused, or did not respond within 15 seconds.
        """
        self._check_state()
        access = await self._tokens.completed(self._access(provider_id))
        if access.another_token and not access.adapter.lists_models:
            return ConnectionCheck(access.provider.name, (), (), sent="token", token_source=access.key_source)
        await verify_key(access, self._transport)
        await self.discover_models(provider_id)
        listed = await listed_models(access, self._transport)
        known = self.registry.models(provider_id)
        return ConnectionCheck(
            access.provider.name,
            listed=tuple(model.id for model in known if is_listed(model, listed)),
            missing=tuple(m.id for m in known if not is_listed(m, listed) and m.lifecycle.status != "retired"),
            sent="token" if access.another_token else "key" if access.provider.needs_key else None,
        )

    async def check_models(self, provider_id: str) -> ListingCheck:
        """Compare a provider's list of models with the catalogue and your own models; raises like
        ``check_connection``, and costs nothing either.
        """
        await self.discover_models(provider_id, always=True)
        listed = await listed_models(await self._tokens.completed(self._access(provider_id)), self._transport)
        return compare_listing(listed, self.registry.models(provider_id), self.registry.today)

    async def discover_models(self, provider_id: str, *, always: bool = False) -> tuple[Notice, ...]:
        """Ask a provider that lists its models itself for them, unless it was asked within a day; this is free.

        Args:
            provider_id: The provider. Nothing is asked of one whose models are in the catalogue.
            always: True to ask even if it was asked within a day.

        Returns:
            A notice if it did not respond, so that its models are those of an earlier day.

        Raises:
            RequestError: There is no such provider, or no base URL that can be used.
            ProviderError: It refused or did not respond, and its models are not known from an earlier day.
        """
        self._check_state()
        provider = self._provider(provider_id)
        if self._is_sandbox or not adapter_of(provider).discovers_models:
            return ()
        catalog, notices = await self._discovery.catalog(provider, self._settings, always=always)
        if catalog != self._settings.catalog:
            self._settings = replace(self._settings, catalog=catalog)
            self.registry = Registry(catalog, today=self._today)
        return notices

    async def _discover_for(self, request: GenerationRequest) -> tuple[Notice, ...]:
        """Discover the models of the provider that a request names."""
        provider = self._named_provider(request)
        if provider is None or not adapter_of(provider).discovers_models:
            return ()
        # Without a key, nothing is asked.
        self._access(provider.id)
        return await self.discover_models(provider.id)

    def _provider_of(self, request: GenerationRequest) -> str:
        """The id of the provider that a request is sent to; raises like ``resolve``."""
        named = self._named_provider(request)
        # Its models may not be known yet.
        return named.id if named and named.discover_models else self.resolve(request.model).model.provider

    def _named_provider(self, request: GenerationRequest) -> ProviderConfig | None:
        """The provider with which the name of a request's model begins."""
        name, slash, _ = str(request.model or self._settings.limits.default_model or "").strip().partition("/")
        return self._settings.providers.get(name) if slash else None

    async def _outcome(
        self,
        access: Access,
        request: GenerationRequest,
        call: Call,
        notices: tuple[Notice, ...],
        finisher: Callable[[], Finisher],
        position: Position,
        on_progress: Callable[[Progress], None],
    ) -> Outcome:
        """Run one call: send it, fetch the images that it names by URL, and collect what it made."""
        try:
            reply = await self._caller.send(access, call, position, on_progress)
            contents: list[Content] = [image.data for image in reply.answer.images]
            collected = partial(
                collect,
                access,
                request,
                call,
                reply,
                notices,
                contents,
                self._settings.limits,
                finisher=finisher,
                large_edits=self._large_edits,
            )
            try:
                if None in contents:
                    await self._fetcher.fetch(access, reply.answer, contents)
            except anyio.get_cancelled_exc_class():
                # What has arrived is handed over, whatever ends the wait for the rest.
                if any(isinstance(content, bytes) for content in contents):
                    with anyio.CancelScope(shield=True), suppress(ProviderError, ListenerFailedError):
                        on_progress(received(position, await collected()))
                raise
            with anyio.CancelScope(shield=True):
                outcome = await collected()
        except (ProviderError, MemoryError) as problem:
            # Memory that one call lacks does not end the others: their images are paid for.
            error = problem if isinstance(problem, ProviderError) else too_little_memory()
            failure = shown(with_billing(error.replace(provider=access.provider.id, model=call.model.id)), access)
            on_progress(Failed(call=position.call, calls=position.calls, reason=failure))
            return Outcome(request_id=failure.request_id, errors=(failure,))
        on_progress(received(position, outcome))
        return outcome

    def _sandbox_app(self, today: Callable[[], datetime.date] | None) -> object:
        from ..sandbox import create_app

        return create_app(today=today, others=models_by_wire_format(self.registry, self._settings.providers.values()))

    def _transport_to(self, provider_id: str) -> Transport:
        limits = self._settings.providers[provider_id].limits
        return self._transport.with_timeouts(limits.timeout_s, limits.total_timeout_s)

    def _access(self, provider_id: str) -> Access:
        provider = self._provider(provider_id)
        if self._is_sandbox and provider_id not in self._settings.credentials:
            raise InvalidRequestError(
                f"The sandbox does not have the API of {provider.name}.",
                remedy="Choose a model of another provider.",
                provider=provider_id,
            )
        return access_to(provider, self._settings)

    def _provider(self, provider_id: str) -> ProviderConfig:
        """A provider as it is used, which may be the sandbox in its place; raises UnknownProviderError."""
        return provider_named(provider_id, self._settings.providers)

    def _check_state(self) -> None:
        """Raise ServiceStateError unless the service is open and belongs to this event loop or was not used yet."""
        if self._is_closed:
            raise ServiceStateError("This Service is closed.", remedy="Create another Service for further requests.")
        run = this_run()
        self._run = self._run or run
        if self._run is not run:
            raise ServiceStateError(
                "This Service belongs to another event loop.",
                remedy="Create a Service in each event loop that needs one.",
            )


def _type_of(data: bytes, max_pixels: int) -> str | None:
    # Pillow takes a while to load, and is first needed here.
    from .image_checks import type_of

    return type_of(data, max_pixels)
