"""Sends one call of a plan, as a stream of events where it asks for previews, and reads its response."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.to_thread

from ..adapters.base import Adapter, Answer, StreamEvent
from ..errors import CancelledError, InvalidResponseError, ProviderError
from ..planning.plan import Call
from ..progress import Failed, Preview, Progress, Retrying, Sending
from ..providers.schema import ModelConfig
from ..result import Notice
from ..transport.messages import HttpRequest, HttpResponse
from ..transport.redaction import redacted
from ..untrusted_text import ID, TEXT, fit_to_show, without_keys
from .access import Access, with_valid_token
from .retry_loop import Attempts

if TYPE_CHECKING:
    from ..transport.client import Transport

__all__ = ["Caller", "Position", "Reply", "no_streams", "shown_answer"]

_Read = TypeVar("_Read")

_QUICK_BYTES = 1 << 16
"""A body of at most this many bytes is read faster than a thread starts."""

_MOST_PREVIEWS = 40
"""How many previews of a call are shown: three of each of ten images, and a few that nobody asked for."""

_USAGE_WAIT_S = 2.0
"""How long a stream that has sent its image and says that it is done may take to send the token counts."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Which call of a request it is, from 1 to ``calls``."""

    call: int
    calls: int


@dataclass(frozen=True, slots=True)
class Reply:
    """What a provider replied to a call.

    Attributes:
        answer: Its images and facts.
        response: Where they were read.
        notices: What was changed about the call.
    """

    answer: Answer
    response: HttpResponse
    notices: tuple[Notice, ...] = ()


class _StreamRefusedError(Exception):
    """A call was refused, perhaps only because it asked for a stream."""


class Caller:
    """Sends calls.

    Args:
        transport_to: Returns what sends HTTP requests to a provider.
        attempts: Retries them.
        type_of: The MIME type of an image file, None for one that cannot be read; it may take a while.
    """

    def __init__(
        self, transport_to: Callable[[str], Transport], attempts: Attempts, type_of: Callable[[bytes], str | None]
    ) -> None:
        self._transport_to, self._attempts, self._type_of = transport_to, attempts, type_of
        self._without_streams: set[str] = set()

    def supports_streams(self, model: ModelConfig) -> bool:
        """False if a provider's server has refused a stream of this model before."""
        return model.reference not in self._without_streams

    async def send(
        self, access: Access, call: Call, position: Position, on_progress: Callable[[Progress], None]
    ) -> Reply:
        """Send one call until it is answered; without its previews if the server does not support streams.

        Raises:
            ProviderError: The error of the last try.
        """
        info = access.provider
        if not call.previews:
            return await self._answered(access, call, position, on_progress)
        reply = None
        if self.supports_streams(call.model):
            try:
                reply = await self._answered(access, call, position, on_progress)
            except _StreamRefusedError:
                _log.info("%s refused a call that asked for previews; it is sent again without them.", info.name)
            else:
                if reply.response.is_stream:
                    return reply
        reply = reply or await self._answered(access, replace(call, previews=0), position, on_progress)
        # Only now is it certain that the server refused the stream and nothing else.
        self._without_streams.add(call.model.reference)
        return replace(reply, notices=(no_streams(info.name),))

    async def _answered(
        self, access: Access, call: Call, position: Position, on_progress: Callable[[Progress], None]
    ) -> Reply:
        """Send one call until it is answered or another try is pointless.

        Raises:
            ProviderError: The error of the last try.
            _StreamRefusedError: It was refused, and asked for previews, which may be why; nothing was billed.
        """
        adapter = access.adapter
        request = adapter.with_headers(adapter.build(call, access.base_url))

        def show(index: int, data: bytes, mime_type: str) -> None:
            on_progress(
                Preview(
                    call=position.call,
                    calls=position.calls,
                    index=index,
                    count=max(index, call.previews) if adapter.counts_previews else None,
                    data=data,
                    mime_type=mime_type,
                    size=call.size.size,
                )
            )

        def end_unsent() -> None:
            error = CancelledError("The call was cancelled before it was sent.", never_sent=True)
            on_progress(Failed(call=position.call, calls=position.calls, reason=error))

        async def once(attempt: int) -> Reply:
            on_progress(Sending(call=position.call, calls=position.calls, attempt=attempt))

            async def send(access: Access) -> Reply:
                headers = adapter.auth_headers(access.api_key)
                answer, response = await self._sent(adapter, call, request, headers, show, end_unsent)
                return Reply(shown_answer(answer, access.api_key), response)

            return await with_valid_token(access, send)

        def on_wait(wait_s: float, error: ProviderError) -> None:
            reason = redacted(error, access.api_key)
            _log.info("%s Retrying in %.1f s.", reason.message, wait_s)
            on_progress(Retrying(call=position.call, calls=position.calls, wait_s=wait_s, reason=reason))

        return await self._attempts.run(once, on_wait, provider=adapter.provider.id, model=call.model.reference)

    async def _sent(
        self,
        adapter: Adapter,
        call: Call,
        request: HttpRequest,
        headers: Mapping[str, str],
        show: Callable[[int, bytes, str], None],
        on_unsent: Callable[[], None],
    ) -> tuple[Answer, HttpResponse]:
        """Send a call once, and read its response: some servers send a stream though they were not asked for one.

        ``show`` gets each preview that was asked for: its number, its bytes, their type. ``on_unsent`` is called if the
        call is cancelled before anything of it was sent. Raises like ``_answered``.
        """
        bodies: list[Mapping[str, Any]] = []
        heads: list[HttpResponse] = []
        shown = 0
        lost: ProviderError | None = None
        has_image = is_last = has_usage = False

        async def read(answer: HttpResponse) -> float | None:
            nonlocal has_image, is_last, has_usage, lost, shown
            try:
                event = await _in_thread_if_large(adapter.read_event, answer, call)
            except InvalidResponseError as error:
                if has_image:
                    raise
                # The image may still arrive.
                lost = lost or error
                event = StreamEvent()
            heads.append(replace(answer, body=b"", document=None))
            if event.body is not None:
                bodies.append(event.body)
            has_image, is_last = has_image or event.has_image, is_last or event.is_last
            has_usage = has_usage or event.has_usage
            for preview in event.previews[: _MOST_PREVIEWS - shown] if call.previews else ():
                mime_type = await anyio.to_thread.run_sync(self._type_of, preview, abandon_on_cancel=True)
                if mime_type:
                    shown += 1
                    show(shown, preview, mime_type)
            if has_image and is_last:
                return 0.0 if has_usage else _USAGE_WAIT_S
            return None

        try:
            response = await self._transport_to(adapter.provider.id).send(request, headers, read, on_unsent)
        except ProviderError as error:
            # Whatever followed the image, and whether it arrived whole: the image is there.
            if not has_image and not is_last:
                raise
            response, lost = heads[0], error
        except anyio.get_cancelled_exc_class():
            # The image is there, and goes to its owner on the way out: all that follows is shielded.
            if not has_image and not is_last:
                raise
            response = heads[0]
        if call.previews and adapter.refuses_stream(response):
            raise _StreamRefusedError
        if not response.is_stream:
            return await _in_thread_if_large(adapter.parse, response, call), response
        try:
            with anyio.CancelScope(shield=True):
                answer = await anyio.to_thread.run_sync(adapter.join_events, bodies, response, call)
        except ProviderError as error:
            raise lost or error from None
        return answer, replace(response, is_cut_short=not is_last)


def no_streams(provider: str) -> Notice:
    return Notice("option_dropped", f"The server of {provider} does not support previews, so there were no previews.")


def shown_answer(answer: Answer, key: str) -> Answer:
    """The same answer with texts that are fit to be shown: they go into metadata, and a proxy may quote the key."""

    def text(value: str | None) -> str | None:
        return fit_to_show(value, TEXT, key=key, keeps_lines=True) or None

    return replace(
        answer,
        request_id=fit_to_show(answer.request_id, ID, key=key) or None,
        model_version=fit_to_show(answer.model_version, ID, key=key) or None,
        text=text(answer.text),
        searches=tuple(fit_to_show(query, key=key) for query in answer.searches),
        sources=tuple(
            replace(source, title=fit_to_show(source.title, key=key) or None)
            for source in answer.sources
            if without_keys(source.url, key) == source.url
        ),
        images=tuple(replace(image, revised_prompt=text(image.revised_prompt)) for image in answer.images),
    )


async def _in_thread_if_large(read: Callable[[HttpResponse, Call], _Read], response: HttpResponse, call: Call) -> _Read:
    """What an adapter reads in a response; in a thread if the body is large. A cancellation does not lose it."""
    if len(response.body) <= _QUICK_BYTES:
        return read(response, call)
    with anyio.CancelScope(shield=True):
        answer = await anyio.to_thread.run_sync(read, response, call)
    return answer
