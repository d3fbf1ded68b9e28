"""Plan, send, collect. The only place that knows the order of things."""

from __future__ import annotations

import datetime
import itertools
import logging
import math
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar
from urllib.parse import urljoin, urlsplit

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup
from anyio.lowlevel import RunVar
from pydantic import SecretStr

from ..adapters.base import SANDBOX_HEADER, Adapter, Answer, AnswerImage
from ..adapters.base_url import is_private_host, normalise_base_url
from ..adapters.find import adapter_of
from ..errors import (
    AuthenticationError,
    InvalidResponseError,
    NetworkError,
    NotConfiguredError,
    ProviderError,
    Remedy,
    RequestError,
    ServiceStateError,
    TimedOutError,
)
from ..images.errors import ImageError, TooManyPixelsError
from ..planning.plan import MAX_IMAGES, Call, Plan
from ..planning.plan import plan as plan_calls
from ..pricing.prices import cost_usd
from ..providers.registry import PROVIDER_IDS, Registry, ResolvedModel
from ..providers.schema import ProviderConfig
from ..request import GenerationRequest
from ..result import (
    ConnectionCheck,
    Failed,
    GeneratedImage,
    GenerationResult,
    Notice,
    Preview,
    Progress,
    Received,
    Retrying,
    Sending,
    Usage,
)
from ..root_files import API_KEYS_FILE
from ..settings.keys import origin
from ..settings.settings import Credentials, Settings, check_key, unpaired_error, variable_name
from ..sizing import Size
from ..transport.messages import HttpRequest, HttpResponse
from ..transport.redaction import redacted
from ..transport.retry import RetryPolicy, pauses_model, retry_after_from_headers, seconds_before_retry
from .description import describe
from .in_flight import InFlight
from .results import redacted_answer

if TYPE_CHECKING:
    from ..images.inspect import ImageInfo
    from ..transport.response_body import Allowance

__all__ = ["Service"]

_Answered = TypeVar("_Answered")
_Read = TypeVar("_Read")

_RUN: RunVar[object] = RunVar("invokeai_external.service")
"""Stands for an event loop as long as it runs."""

_BILLED = "It was billed all the same."
_MAYBE_BILLED = "It may have been billed."

_FETCH_S = 30.0
"""How long the pictures behind an answer's URLs are asked for again and again: some servers answer 404 for a while."""

_LONGEST_URL = 1 << 16
"""In characters; httpx takes no longer one, and megabytes of ``../`` take a second to be put together."""

_FIRST_FETCH_WAIT_S, _LONGEST_FETCH_WAIT_S = 0.5, 4.0

_DOWNLOAD_S = 120.0
"""How long they may take to arrive, all together, once they were asked for in time."""

_MOST_FETCHED = MAX_IMAGES
"""How many URLs of one answer are fetched: no call asks for more pictures."""

_LONGEST_HOLD_S = 120.0
"""How long a model is left alone, whatever a provider asks for: behind that the next call may find out."""

_NOT_THERE_YET = frozenset({401, 403, 404, 408, 409, 425, 429})
"""What a server of finished pictures may answer, besides 5xx, while a picture is not there yet."""

_CHECK_TIMEOUT_S = 15.0
"""A list of models is there at once; who tests a connection does not want to wait as long as for a picture."""

_log = logging.getLogger(__name__)

_QUICK_BYTES = 1 << 16
"""A body of so many bytes is read faster than a thread is started."""

_SANDBOX_NOTICE = Notice(
    "sandbox", "The picture comes from the sandbox and cost nothing; the cost is what it would have been."
)

_CUT_SHORT_NOTICE = Notice(
    "answer_cut_short",
    "The connection ended before the response was complete. The image is complete; its cost may be unknown.",
)

_USAGE_WAIT_S = 2.0
"""How long a stream that has given its image and says that it is done may keep the tokens back."""

_UNSEEN_STRETCH = 0.03
"""How far the ratios of an edit and its original may differ before people are told: the nearest of a model's are within
that of each other."""


@dataclass(frozen=True, slots=True)
class _Access:
    """How to reach a provider: checked, with its key."""

    adapter: Adapter
    base_url: str
    api_key: str = field(repr=False)
    key_source: str | None
    notices: tuple[Notice, ...]


class _StreamRefusedError(Exception):
    """A call was refused, perhaps only because it asked for a stream."""


class _Outcome(NamedTuple):
    """What one call gave: its pictures, and the pictures of it that were lost."""

    images: tuple[GeneratedImage, ...]
    notices: tuple[Notice, ...]
    usage: Usage | None
    cost_usd: float | None
    request_id: str | None
    errors: tuple[ProviderError, ...]


class _Hold(NamedTuple):
    """No call may go to a model before ``until`` (of the service's clock), for this reason.

    ``asked_until`` is what the provider asked for, which may be much longer.
    """

    until: float
    asked_until: float
    reason: ProviderError


class _ListenerFailedError(Exception):
    """``on_progress`` raised, which ends the request; its error is kept elsewhere."""


class _Listener:
    """Tells of progress, and keeps what ``on_progress`` raises until the calls are ended.

    Anything may come of it, KeyboardInterrupt too, which would end the event loop if it left a task.

    Attributes:
        error: What it raised first; None if nothing.
    """

    def __init__(self, on_progress: Callable[[Progress], None], group: TaskGroup) -> None:
        self.error: BaseException | None = None
        self._on_progress = on_progress
        self._group = group

    def __call__(self, event: Progress) -> None:
        # Pictures that have arrived are handed over even then.
        if self.error and not isinstance(event, Received):
            raise _ListenerFailedError
        try:
            self._on_progress(event)
        except BaseException as error:
            self.error = self.error or error
            self._group.cancel_scope.cancel()
            raise _ListenerFailedError from None


class _Arrived(NamedTuple):
    """A picture of an answer with its bytes, and what they are."""

    image: AnswerImage
    data: bytes
    info: ImageInfo


class _Finished(NamedTuple):
    """A picture as it is handed over; ``composited`` if what arrived was laid into the picture to edit."""

    data: bytes
    mime_type: str
    size: Size
    composited: bool


class Service:
    """Makes pictures. Use as ``async with Service(settings) as service``.

    Args:
        settings: Keys, addresses and limits.
        sandbox: True to talk to the sandbox in process: no key, no network, no cost.
        today: The day on which models are active or retired; that of the call, in UTC, if none is given.
        clock: Seconds that only go up, for tests.
        sleep: Waits for so many of them, for tests.

    Raises:
        SettingsError: A model in the user's file is not valid.
        ServiceStateError: It was closed, is entered twice, or is used from another event loop than before.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        sandbox: bool = False,
        today: Callable[[], datetime.date] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self.registry = Registry(settings.models, today=today)
        self._settings = _with_sandbox(settings) if sandbox else settings
        limits = settings.limits
        self._policy = RetryPolicy(max_attempts=limits.max_attempts, max_wait_s=limits.max_wait_s)
        # The HTTP client takes longer to load than all the rest, and many a program only plans.
        from ..transport.client import Transport

        self._transport = Transport(
            timeout_s=limits.timeout_s,
            total_timeout_s=limits.total_timeout_s,
            max_response_bytes=limits.max_response_bytes,
            asgi_app=_sandbox_app(today) if sandbox else None,
        )
        # The sandbox in process bills nothing.
        self._in_flight = InFlight(None if sandbox else settings.root)
        self._clock, self._sleep = clock, sleep
        self._run: object | None = None
        self._is_entered = self._is_closed = False
        # More threads at work at a time would hold up the event loop, which gets its turn after all of them.
        self._planners, self._builders = anyio.CapacityLimiter(2), anyio.CapacityLimiter(1)
        self._without_streams: set[str] = set()
        self._holds: dict[str, _Hold] = {}
        self._slots = {provider: anyio.CapacityLimiter(limits.concurrency) for provider in PROVIDER_IDS}

    async def __aenter__(self) -> Self:
        self._check_state()
        if self._is_entered:
            raise ServiceStateError("This Service was entered before.", remedy="Use one 'async with' for each Service.")
        self._is_entered = True
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._is_closed = True
        await self._transport.__aexit__(*exc)

    def resolve(self, reference: str | None) -> ResolvedModel:
        """The model of a request; without a name, the newest of a provider that has a key."""
        if reference:
            return self.registry.resolve(reference)
        known = self._settings.credentials.items()
        with_key = [name for name, found in known if found.api_key] or [name for name, found in known if found.unpaired]
        return ResolvedModel(self.registry.default_model(with_key))

    def plan(self, request: GenerationRequest) -> Plan:
        """What would be sent; nothing is. Raises a RequestError if the model cannot take it."""
        resolved = self.resolve(request.model)
        model, notices = resolved.model, resolved.notices
        if request.previews and model.previews and model.provider in self._without_streams:
            request = replace(request, previews=0)
            notices = (*notices, _no_streams(self.registry.provider(model.provider).name))
        try:
            plan = plan_calls(request, model)
        except RequestError as error:
            raise error.replace(provider=model.provider, model=model.id) from None
        return replace(plan, notices=(*notices, *plan.notices))

    def preview(self, request: GenerationRequest) -> tuple[Plan, list[HttpRequest]]:
        """The plan of a request and the HTTP requests that it would send, without keys; nothing is sent."""
        plan = self.plan(request)
        provider = self.registry.provider(plan.model.provider)
        adapter = adapter_of(provider)
        credentials = self._credentials(plan.model.provider)
        base_url = normalise_base_url(credentials.base_url or provider.base_url, provider)
        notices = (*self._settings.notices, *_base_url_notices(base_url), *plan.notices)
        return replace(plan, notices=notices), [adapter.build(call, base_url) for call in plan.calls]

    async def generate(
        self, request: GenerationRequest, on_progress: Callable[[Progress], None] = lambda _: None
    ) -> GenerationResult:
        """Make the pictures of a request, its calls side by side.

        Args:
            request: What to make.
            on_progress: Told of every step; a picture is handed over as soon as it is there.

        Returns:
            The pictures in the order of the request. When some calls failed and others did not, the errors are in it.

        Raises:
            RequestError: Nothing was sent: the key, the settings or the request must change.
            ProviderError: All calls failed; this is the first one's error.
            BaseException: Whatever ``on_progress`` raises, as it is; the calls are ended.
        """
        self._check_state()
        started = time.monotonic()
        access = self._access(self.resolve(request.model).model.provider)
        plan = await anyio.to_thread.run_sync(self.plan, request, abandon_on_cancel=True, limiter=self._planners)
        notices = (*self._settings.notices, *access.notices, *plan.notices)
        outcomes: list[_Outcome | None] = [None] * len(plan.calls)

        async def run(place: int, call: Call, listener: _Listener) -> None:
            place_of_all = (place + 1, len(plan.calls))
            names = access.adapter.provider.id, call.model.id
            with suppress(_ListenerFailedError), self._in_flight.call(*names, call.n, listener) as tell:
                outcomes[place] = await self._outcome(access, request, call, plan.notices, place_of_all, tell)

        try:
            async with anyio.create_task_group() as group:
                listener = _Listener(on_progress, group)
                for place, call in enumerate(plan.calls):
                    group.start_soon(run, place, call, listener)
        except BaseExceptionGroup as failures:
            # Of errors that nobody foresaw the first one says enough.
            raise failures.exceptions[0] from None
        if listener.error:
            raise listener.error
        result = _result(plan, notices, [o for o in outcomes if o], time.monotonic() - started)
        for notice in result.notices:
            _log.info("%s: %s", plan.model.reference, notice.message)
        return result

    async def check_connection(self, provider_id: str) -> ConnectionCheck:
        """Ask a provider for its list of models, once, which costs nothing and shows whether the key is taken.

        Raises:
            RequestError: There is no such provider, no key, or no base URL that can be used.
            ProviderError: The provider refused, or did not answer within 15 seconds.
        """
        self._check_state()
        access = self._access(provider_id)
        adapter, provider = access.adapter, access.adapter.provider
        try:
            with anyio.fail_after(_CHECK_TIMEOUT_S):
                request = adapter.build_listing(access.base_url)
                response = await self._transport.send(request, adapter.auth_headers(access.api_key))
            listed = adapter.parse_listing(response)
        except (NetworkError, TimedOutError, TimeoutError) as error:
            # What a lost call says of money is not true of a list.
            what = f"{provider.name} did not answer within {_CHECK_TIMEOUT_S:g} s."
            message = error.message if isinstance(error, ProviderError) else what
            raise NetworkError(message, remedy="Check the network and the base URL.", provider=provider_id) from None
        except ProviderError as error:
            raise _shown(error.replace(provider=provider_id), access) from None
        known = self.registry.models(provider_id)
        return ConnectionCheck(
            provider.name,
            listed=tuple(model.id for model in known if model.id in listed),
            missing=tuple(m.id for m in known if m.id not in listed and m.lifecycle.status != "retired"),
        )

    def _check_state(self) -> None:
        """Raise ServiceStateError unless the service is open and belongs to this event loop, or to none yet."""
        if self._is_closed:
            raise ServiceStateError("This Service is closed.", remedy="Make another Service for further requests.")
        run = _this_run()
        self._run = self._run or run
        if self._run is not run:
            raise ServiceStateError(
                "This Service belongs to another event loop.",
                remedy="Make a Service in each event loop that needs one.",
            )

    def _access(self, provider_id: str) -> _Access:
        provider = self.registry.provider(provider_id)
        credentials = self._credentials(provider_id)
        if credentials.api_key is None:
            raise _missing_key(provider, self._settings)
        key = credentials.api_key.get_secret_value()
        check_key(provider_id, key, credentials.source)
        base_url = normalise_base_url(credentials.base_url or provider.base_url, provider)
        return _Access(adapter_of(provider), base_url, key, credentials.source, _base_url_notices(base_url))

    def _credentials(self, provider_id: str) -> Credentials:
        """A provider's key, if there is one, and its address; SettingsError if there is only a key for another one."""
        found = self._settings.credentials.get(provider_id, Credentials())
        if found.unpaired:
            raise unpaired_error(provider_id, found, self._settings.root)
        return found

    async def _outcome(
        self,
        access: _Access,
        request: GenerationRequest,
        call: Call,
        notices: tuple[Notice, ...],
        place: tuple[int, int],
        on_progress: Callable[[Progress], None],
    ) -> _Outcome:
        try:
            answer, response, more = await self._ask(access, call, place, on_progress)
            contents: list[bytes | ProviderError | None] = [image.data for image in answer.images]
            collect = partial(self._collect, access, request, call, answer, response, (*notices, *more), contents)
            try:
                if None in contents:
                    await self._fetch(access, answer, contents)
            except anyio.get_cancelled_exc_class():
                # What has arrived is handed over, whatever ends the wait for the rest.
                if any(isinstance(content, bytes) for content in contents):
                    with anyio.CancelScope(shield=True), suppress(ProviderError, _ListenerFailedError):
                        on_progress(Received(*place, (await collect()).images))
                raise
            with anyio.CancelScope(shield=True):
                outcome = await collect()
        except ProviderError as error:
            failure = _shown(error.replace(provider=access.adapter.provider.id, model=call.model.id), access)
            on_progress(Failed(*place, failure))
            return _Outcome((), (), None, None, failure.request_id, (failure,))
        on_progress(Received(*place, outcome.images))
        return outcome

    async def _ask(
        self, access: _Access, call: Call, place: tuple[int, int], on_progress: Callable[[Progress], None]
    ) -> tuple[Answer, HttpResponse, tuple[Notice, ...]]:
        """Send one call until it is answered; without its previews if the server knows no streams."""
        info = access.adapter.provider
        if not call.previews:
            return *await self._answered(access, call, place, on_progress), ()
        answered = None
        if info.id not in self._without_streams:
            try:
                answered = await self._answered(access, call, place, on_progress)
            except _StreamRefusedError:
                _log.info("%s refused a call that asked for previews; it is sent again without.", info.name)
            else:
                if answered[1].is_stream:
                    return *answered, ()
        answer, response = answered or await self._answered(access, replace(call, previews=0), place, on_progress)
        # Only now it is certain that the stream was what the server did not like.
        self._without_streams.add(info.id)
        return answer, response, (_no_streams(info.name),)

    async def _answered(
        self, access: _Access, call: Call, place: tuple[int, int], on_progress: Callable[[Progress], None]
    ) -> tuple[Answer, HttpResponse]:
        """Send one call until it is answered or it is no use any more.

        Raises:
            ProviderError: What the last try met.
            _StreamRefusedError: It was refused, and asked for previews, which may be why; nothing was billed.
        """
        adapter = access.adapter
        slot = self._slots[adapter.provider.id]
        if call.images:
            # Base64 of many images takes a while; one call at a time, since they would only hold up each other.
            build = partial(adapter.build, call, access.base_url)
            request = await anyio.to_thread.run_sync(build, abandon_on_cancel=True, limiter=self._builders)
        else:
            request = adapter.build(call, access.base_url)
        headers = adapter.auth_headers(access.api_key)

        def show(index: int, data: bytes, mime_type: str) -> None:
            count = max(index, call.previews) if adapter.counts_previews else None
            on_progress(Preview(*place, index, count, data, mime_type, call.size.size))

        async def once(attempt: int) -> tuple[Answer, HttpResponse]:
            on_progress(Sending(*place, attempt))
            if call.previews:
                answer, response = await self._streamed(adapter, call, request, headers, show)
            else:
                response = await self._transport.send(request, headers)
                answer = await _in_thread_if_large(adapter.parse, response, call)
            return redacted_answer(answer, access.api_key), response

        def tell(wait_s: float, error: ProviderError) -> None:
            shown = redacted(error, access.api_key)
            _log.info("%s Again in %.1f s.", shown.message, wait_s)
            on_progress(Retrying(*place, wait_s, shown))

        return await self._patiently(once, tell, call.model.reference, slot)

    async def _streamed(
        self,
        adapter: Adapter,
        call: Call,
        request: HttpRequest,
        headers: Mapping[str, str],
        show: Callable[[int, bytes, str], None],
    ) -> tuple[Answer, HttpResponse]:
        """Send a call that asks for a stream, once; ``show`` is given each preview: its number, its bytes, their type.

        Raises what ``_answered`` does.
        """
        bodies: list[Mapping[str, Any]] = []
        heads: list[HttpResponse] = []
        numbers = itertools.count(1)
        lost: ProviderError | None = None
        has_image = is_last = has_usage = False

        async def read(answer: HttpResponse) -> float | None:
            nonlocal has_image, is_last, has_usage
            event = await _in_thread_if_large(adapter.read_event, answer, call)
            heads.append(replace(answer, body=b"", document=None))
            if event.body is not None:
                bodies.append(event.body)
            has_image, is_last = has_image or event.has_image, is_last or event.is_last
            has_usage = has_usage or event.has_usage
            for preview in event.previews:
                mime_type = await anyio.to_thread.run_sync(self._type_of, preview, abandon_on_cancel=True)
                if mime_type:
                    show(next(numbers), preview, mime_type)
            if has_image and is_last:
                return 0.0 if has_usage else _USAGE_WAIT_S
            return None

        try:
            response = await self._transport.send(request, headers, read)
        except ProviderError as error:
            # Whatever came behind the image, and whether it came whole: the image is there.
            if not has_image and not is_last:
                raise
            response, lost = heads[0], error
        except anyio.get_cancelled_exc_class():
            # The image is there, and goes to its owner on the way out: all that follows is shielded.
            if not has_image and not is_last:
                raise
            response = heads[0]
        if adapter.refuses_stream(response):
            raise _StreamRefusedError
        if not response.is_stream:
            return await _in_thread_if_large(adapter.parse, response, call), response
        try:
            with anyio.CancelScope(shield=True):
                answer = await anyio.to_thread.run_sync(adapter.join_events, bodies, response, call)
        except ProviderError as error:
            raise lost or error from None
        return answer, replace(response, is_cut_short=not is_last)

    async def _patiently(
        self,
        once: Callable[[int], Awaitable[_Answered]],
        tell: Callable[[float, ProviderError], None],
        model: str,
        slot: anyio.CapacityLimiter,
    ) -> _Answered:
        """Try until it works or is no use any more; ``once`` is given the count of tries, ``tell`` every wait.

        What one call of a ``model`` is asked to wait, all calls of that model wait. A ``slot`` is taken for each try
        and given back for the wait, so that other models go on meanwhile.

        Raises:
            ProviderError: What the last try met.
        """
        tries, waited_s = 0, 0.0
        while True:
            try:
                if held := self._held(model):
                    raise held
                async with slot:
                    # While this call waited for its slot, another one may have been asked to wait.
                    if held := self._held(model):
                        raise held
                    self._check_state()
                    tries += 1
                    return await once(tries)
            except ProviderError as error:
                if not held and pauses_model(error):
                    self._hold(model, error)
                wait_s = seconds_before_retry(
                    error, attempt=tries, waited_s=waited_s, policy=self._policy, jitter=random.random()
                )
                tell(wait_s, error)
            await self._sleep(wait_s)
            waited_s += wait_s

    def _hold(self, model: str, error: ProviderError) -> None:
        """Have all calls of a model wait for as long as one of them was asked to, within reason."""
        asked_s, now = error.retry_after or 0.0, self._clock()
        hold = self._holds.get(model)
        # One that is over says nothing any more, however long it was asked to be.
        if hold is None or hold.until <= now or hold.asked_until < now + asked_s:
            self._holds[model] = _Hold(now + min(asked_s, _LONGEST_HOLD_S), now + asked_s, error)

    def _held(self, model: str) -> ProviderError | None:
        """What a call of the model met that was asked to wait, with what is left of the wait; None if it is over."""
        hold, now = self._holds.get(model), self._clock()
        if hold is None or hold.until <= now:
            return None
        return hold.reason.replace(retry_after=hold.asked_until - now)

    async def _fetch(self, access: _Access, answer: Answer, contents: list[bytes | ProviderError | None]) -> None:
        """Fetch the pictures of an answer that are behind URLs, side by side; each is put in its place as it comes.

        At most ten are fetched. What fails leaves its error in its place.
        """
        ends_at = self._clock() + _FETCH_S
        allowance = self._transport.allowance()
        urls: dict[int, str] = {}
        for place, image in enumerate(answer.images):
            if image.url and len(urls) < _MOST_FETCHED:
                urls[place] = image.url
            elif not image.is_readable:
                contents[place] = InvalidResponseError("A picture of the answer cannot be read.", remedy=_MAYBE_BILLED)

        async def fetch(place: int, url: str) -> None:
            try:
                contents[place] = await self._fetched(access, url, ends_at, allowance)
            except ProviderError as error:
                contents[place] = error

        with anyio.move_on_after(_DOWNLOAD_S):
            async with anyio.create_task_group() as group:
                for place, url in urls.items():
                    group.start_soon(fetch, place, url)
        for place in urls:
            if contents[place] is None:
                contents[place] = _not_fetched(f"It did not arrive within {_DOWNLOAD_S:g} s.")

    async def _fetched(self, access: _Access, address: str, ends_at: float, allowance: Allowance) -> bytes:
        """A finished picture from its URL; asked for again after any failure that may pass, since that costs nothing.

        The key goes along only to the provider's own origin, and only after that has asked for it; no redirect is
        followed.
        """
        url = _absolute(address, access.base_url)
        if url is None or not _may_fetch(url, access.base_url):
            raise InvalidResponseError(
                "The answer names a picture at an address that is neither https nor the provider's own.",
                remedy="It was billed but not fetched; check the base URL.",
            )
        headers: Mapping[str, str] = {}
        for tries in itertools.count(1):
            wait_s = min(_FIRST_FETCH_WAIT_S * 2.0 ** (tries - 1), _LONGEST_FETCH_WAIT_S)
            try:
                response = await self._transport.fetch(url, headers, allowance)
                if response.status in (401, 403) and not headers and origin(url) == origin(access.base_url):
                    headers = access.adapter.auth_headers(access.api_key)
                    response = await self._transport.fetch(url, headers, allowance)
            except (NetworkError, TimedOutError) as error:
                failure = error.message
            else:
                if response.status == 200 and await self._is_whole(response):
                    return response.body
                allowance.give_back(len(response.body))
                failure = "It ended too early." if response.is_cut_short else f"HTTP {response.status}."
                if response.status < 500 and response.status not in _NOT_THERE_YET and not response.is_cut_short:
                    raise _not_fetched(failure)
                wait_s = retry_after_from_headers(response.headers, now=response.received_at) or wait_s
            if self._clock() + wait_s >= ends_at:
                raise _not_fetched(failure)
            await self._sleep(wait_s)
        raise AssertionError  # the count never ends

    async def _is_whole(self, response: HttpResponse) -> bool:
        """True if a fetched image is all there, whatever its transfer says. No cancellation loses it."""
        if not response.is_cut_short:
            return True
        with anyio.CancelScope(shield=True):
            mime_type = await anyio.to_thread.run_sync(self._type_of, response.body)
        return mime_type is not None

    async def _collect(
        self,
        access: _Access,
        request: GenerationRequest,
        call: Call,
        answer: Answer,
        response: HttpResponse,
        notices: tuple[Notice, ...],
        contents: Sequence[bytes | ProviderError | None],
    ) -> _Outcome:
        """The pictures of an answer, verified, laid into their original, with their metadata: at most as many as were
        asked for.

        The notices of the metadata are the plan's and the answer's own: those on the user's files are nobody else's.
        """
        usage = answer.usage
        cost = cost_usd(usage, call.model.prices)
        share = None if cost is None else round(cost / min(len(answer.images), call.n), 9)
        common = (*notices, *answer.notices)
        if SANDBOX_HEADER in response.headers:
            common = (*common, _SANDBOX_NOTICE)
        if response.is_cut_short:
            common = (*common, _CUT_SHORT_NOTICE)
        arrived, found, errors = await anyio.to_thread.run_sync(self._made, request, call, answer, contents)
        came = len(answer.images) - (len(arrived) - len(_distinct(arrived)))
        if came > call.n:
            common = (*common, _more_images(call.n, came))
        place = {"provider": access.adapter.provider.id, "model": call.model.id}
        errors = [
            failure.replace(**place, may_be_billed=True, status=response.status, request_id=answer.request_id)
            for failure in errors
        ]
        if not found:
            raise errors[-1]
        # A picture that nobody asked for is no loss.
        errors = errors[: call.n - len(found)]
        if len(answer.images) < call.n:
            errors.insert(0, _too_few(access, call, answer, response))
        pictures = tuple(
            GeneratedImage(
                data=finished.data,
                mime_type=finished.mime_type,
                size=finished.size,
                metadata=describe(
                    call,
                    answer,
                    one.info,
                    revised_prompt=one.image.revised_prompt,
                    cost_usd=share,
                    notices=(*common, *_image_notices(call, one.info, finished)),
                    received_at=response.received_at,
                    composited=finished.size if finished.composited else None,
                ),
                seed=call.seed,
                cost_usd=share,
                revised_prompt=one.image.revised_prompt,
            )
            for one, finished in found
        )
        told = [notice for one, finished in found for notice in _image_notices(call, one.info, finished)]
        told_errors = tuple(redacted(failure, access.api_key) for failure in errors)
        return _Outcome(pictures, (*common, *told), usage, cost, answer.request_id, told_errors)

    def _made(
        self, request: GenerationRequest, call: Call, answer: Answer, contents: Sequence[bytes | ProviderError | None]
    ) -> tuple[list[_Arrived], list[tuple[_Arrived, _Finished]], list[ProviderError]]:
        """The pictures of an answer that arrived, those of them that are handed over, and the errors of the others."""
        arrived, errors = self._looked_at(answer, contents)
        found: list[tuple[_Arrived, _Finished]] = []
        for one in _chosen(call, arrived):
            try:
                found.append((one, self._finished(request, call, one.data, one.info)))
            except ProviderError as error:
                errors.append(error)
        return arrived, found, errors

    def _looked_at(
        self, answer: Answer, contents: Sequence[bytes | ProviderError | None]
    ) -> tuple[list[_Arrived], list[ProviderError]]:
        """The pictures of an answer whose bytes are there and whole, and the errors of the others."""
        arrived, errors = [], []
        for image, content in zip(answer.images, contents, strict=True):
            try:
                if isinstance(content, ProviderError):
                    raise content
                if content is not None:
                    arrived.append(_Arrived(image, content, self._inspect(content)))
            except ProviderError as error:
                errors.append(error)
        return arrived, errors

    def _type_of(self, data: bytes) -> str | None:
        """The MIME type of an image; None if the data are not a whole one."""
        from ..images.inspect import inspect_image

        try:
            return inspect_image(data, max_pixels=self._settings.limits.max_image_pixels).mime_type
        except ImageError:
            return None

    def _inspect(self, data: bytes) -> ImageInfo:
        from ..images.inspect import inspect_image

        most = self._settings.limits.max_image_pixels
        try:
            return inspect_image(data, max_pixels=most)
        except TooManyPixelsError as error:
            remedy = Remedy(
                "It was billed. Raise max_image_pixels in invokeai_external.yaml to take such pictures.",
                action="change_setting",
                setting="max_image_pixels",
            )
            raise InvalidResponseError(f"A picture arrived and was not taken: {error}", remedy=remedy) from None
        except ImageError as error:
            raise InvalidResponseError(f"A picture arrived broken: {error}", remedy=_MAYBE_BILLED) from None

    def _finished(self, request: GenerationRequest, call: Call, data: bytes, info: ImageInfo) -> _Finished:
        """What arrived as it is; with a mask, laid into the picture to edit: a provider takes a mask for guidance."""
        if request.init_image is None or request.mask is None:
            return _Finished(data, info.mime_type, info.size, composited=False)
        from ..images.compositing import composite
        from ..images.inputs import size_of
        from ..images.masks import from_square

        original = request.init_image.data
        try:
            size = size_of(original)
            if call.model.input_images.square_rgba:
                data = from_square(data, size)
            feather = self._settings.limits.mask_feather_px
            made = composite(original, data, request.mask.data, feather=feather)
        except ImageError as error:
            raise InvalidResponseError(f"A picture arrived broken: {error}", remedy=_MAYBE_BILLED) from None
        return _Finished(made, "image/png", size, composited=True)


def _not_fetched(why: str) -> NetworkError:
    return NetworkError(f"The finished picture could not be fetched: {why}", remedy=_BILLED)


def _too_few(access: _Access, call: Call, answer: Answer, response: HttpResponse) -> ProviderError:
    return InvalidResponseError(
        f"{call.n} pictures were asked for and {len(answer.images)} came.",
        remedy="Ask again for the rest; the cost is of what came.",
        provider=access.adapter.provider.id,
        model=call.model.id,
        status=response.status,
        request_id=answer.request_id,
    )


def _distinct(arrived: Sequence[_Arrived]) -> list[_Arrived]:
    """Each picture once: some models send the same one twice."""
    first: dict[bytes, _Arrived] = {}
    for one in arrived:
        first.setdefault(one.data, one)
    return list(first.values())


def _chosen(call: Call, arrived: Sequence[_Arrived]) -> Sequence[_Arrived]:
    """At most as many pictures as were asked for: if more came, each once, those of the asked size first."""
    if len(arrived) <= call.n:
        return arrived
    distinct, size, pixels = _distinct(arrived), call.size.size, _pixels_asked_for(call)
    if pixels:
        # Among other sizes the nearest: a model may send a draft of 1K before the 2K that it was asked for.
        distinct.sort(key=lambda one: (one.info.size != size, abs(math.log(_area(one.info.size) / pixels))))
    return distinct[: call.n]


def _pixels_asked_for(call: Call) -> int | None:
    """How many pixels an image was asked to have; those of a named size are about the same in each ratio."""
    if call.size.size:
        return _area(call.size.size)
    presets = call.model.sizing.presets() if call.size.image_size else ()
    return next((_area(p.size) for p in presets if p.size and p.image_size == call.size.image_size), None)


def _area(size: Size) -> int:
    return size.width * size.height


def _more_images(asked: int, came: int) -> Notice:
    was = "was" if asked == 1 else "were"
    return Notice(
        "more_images", f"The provider sent {came} images where {asked} {was} asked for; the rest is not kept."
    )


def _no_streams(provider: str) -> Notice:
    return Notice("option_dropped", f"The server of {provider} takes no calls with previews; there are none.")


def _image_notices(call: Call, info: ImageInfo, finished: _Finished) -> list[Notice]:
    """What to say of one image."""
    notices = _size_notices(call, info.size, finished)
    if info.is_signed and finished.composited:
        what = "The edit carried Content Credentials, which ended when it was laid into the original."
        notices.append(Notice("credentials_ended", what))
    return notices


def _size_notices(call: Call, came: Size, finished: _Finished) -> list[Notice]:
    """What to say of the size that came: that it was not asked for, or that it has not the original's ratio."""
    notices = []
    if call.size.size and came != call.size.size:
        kept = f"it was brought to the picture's {finished.size}" if finished.composited else "it is kept"
        notices.append(Notice("size_received", f"{call.size.size} was asked for and {came} came; {kept}."))
    is_stretched = abs(came.ratio / finished.size.ratio - 1) > _UNSEEN_STRETCH
    if finished.composited and is_stretched and not call.model.input_images.square_rgba:
        notices.append(
            Notice("edit_stretched", f"The edit came as {came} and was stretched to the picture's {finished.size}.")
        )
    return notices


async def _in_thread_if_large(read: Callable[[HttpResponse, Call], _Read], response: HttpResponse, call: Call) -> _Read:
    """What a provider reads in an answer; in a thread if a large body takes a while. No cancellation loses it."""
    if len(response.body) <= _QUICK_BYTES:
        return read(response, call)
    with anyio.CancelScope(shield=True):
        answer = await anyio.to_thread.run_sync(read, response, call)
    return answer


def _result(plan: Plan, notices: tuple[Notice, ...], outcomes: list[_Outcome], elapsed_s: float) -> GenerationResult:
    """Put the outcomes together; raises the first error if there is no picture at all."""
    errors = tuple(error for outcome in outcomes for error in outcome.errors)
    pictures = tuple(image for outcome in outcomes for image in outcome.images)
    if not pictures:
        raise errors[0]
    answered = [outcome for outcome in outcomes if outcome.images]
    usages = [outcome.usage for outcome in answered]
    costs = [outcome.cost_usd for outcome in answered]
    return GenerationResult(
        provider=plan.model.provider,
        model=plan.model.id,
        images=pictures,
        # The same notice from several calls is told once.
        notices=tuple(dict.fromkeys((*notices, *(n for outcome in answered for n in outcome.notices)))),
        usage=_total_usage(usages),
        cost_usd=None if None in costs else round(sum(cost for cost in costs if cost is not None), 9),
        request_ids=tuple(outcome.request_id for outcome in answered if outcome.request_id),
        errors=errors,
        elapsed_s=elapsed_s,
    )


def _total_usage(usages: list[Usage | None]) -> Usage | None:
    known = [usage for usage in usages if usage]
    if len(known) < len(usages):
        return None
    total = known[0]
    for usage in known[1:]:
        total += usage
    return total


def _this_run() -> object:
    """What stands for the event loop that is running."""
    try:
        return _RUN.get()
    except LookupError:
        run = object()
        _RUN.set(run)
        return run


def _absolute(url: str, base_url: str) -> str | None:
    """A URL as it is; one without a host at the provider's own origin; None for what is none, or too long for one."""
    if len(url) > _LONGEST_URL:
        return None
    own = urlsplit(base_url)
    try:
        return urljoin(f"{own.scheme}://{own.netloc}/", url)
    except ValueError:
        return None


def _may_fetch(url: str, base_url: str) -> bool:
    """https anywhere, or the same scheme, host and port as the provider's own address."""
    try:
        there, here = origin(url), origin(base_url)
    except ValueError:
        return False
    return bool(there[1]) and (there[0] == "https" or there == here)


def _base_url_notices(base_url: str) -> tuple[Notice, ...]:
    host = urlsplit(base_url).hostname or ""
    if not base_url.startswith("http:") or not is_private_host(host):
        return ()
    return (Notice("plain_http", f"{host} is reached by plain http: the key and the prompt travel unencrypted."),)


def _shown(error: ProviderError, access: _Access) -> ProviderError:
    """Fit to be shown; the error of a refused key says where that came from: a new one elsewhere changes nothing."""
    if isinstance(error, AuthenticationError) and access.key_source and error.remedy:
        text = f"{error.remedy.text} (the one in use is from {access.key_source})"
        error = error.replace(remedy=replace(error.remedy, text=text, source=access.key_source))
    return redacted(error, access.api_key)


def _missing_key(info: ProviderConfig, settings: Settings) -> NotConfiguredError:
    return NotConfiguredError(
        f"There is no key for {info.name}.",
        remedy=Remedy(
            f"Make one at {info.key_url}, then run 'invokeai-external keys set {info.id}', or set "
            f"{variable_name(info.id, 'api_key')}, or add external_{info.id}_api_key to "
            f"{settings.root / API_KEYS_FILE}.",
            action="set_key",
            provider=info.id,
            url=info.key_url,
        ),
        provider=info.id,
    )


def _with_sandbox(settings: Settings) -> Settings:
    """The settings with every provider's address and key replaced by the sandbox's."""
    credentials: Mapping[str, Credentials] = {
        provider: Credentials(SecretStr("the-sandbox-takes-any-key"), f"https://sandbox.invalid/{path}", "the sandbox")
        for provider, path in (("gemini", "gemini/v1beta"), ("openai", "openai/v1"))
    }
    return replace(settings, credentials=credentials)


def _sandbox_app(today: Callable[[], datetime.date] | None) -> object:
    from ..sandbox import create_app

    return create_app(today=today)
