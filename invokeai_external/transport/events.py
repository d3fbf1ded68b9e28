"""Reads a stream of events until there is no reason to wait for more."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from dataclasses import replace

import anyio
import anyio.lowlevel
import anyio.to_thread
import httpx

from ..errors import ProviderError
from .blobs import BodyReader
from .bounded_json import is_json
from .failures import unreadable
from .messages import HttpResponse
from .response_body import check_values
from .sse import EventReader

__all__ = ["EventHandler", "read_events"]

EventHandler = Callable[[HttpResponse], Awaitable[float | None]]
"""Called with each event of a stream: the head of the response, with the event's data as its document or body. Returns
how many seconds the rest of the stream is worth waiting for: 0 if nothing is missing, None for no such limit."""

_LINGER_S = 0.1
"""How long a stream is read after its last event: a connection whose response was read to its end can be reused."""

_MOST_EVENTS = 10_000
_MOST_LINES = 1_000_000
"""A stream with more events or lines does not come from an image model."""

_FEW_LINES = 1 << 12
"""A chunk with more line ends is read in slices of this many bytes."""

_LONGEST_HEARTBEAT = 64
"""An event of at most this many bytes that is not JSON only says that the server is alive."""

_LAST_WORD = b"[DONE]"
"""The last event of OpenAI's other streams and of many gateways; not JSON."""


async def read_events(
    start: bytes, chunks: AsyncGenerator[bytes, None], head: HttpResponse, on_event: EventHandler
) -> None:
    """Read the events of a body one by one until it ends or the rest of it is not worth waiting for.

    Args:
        start: The start of the body, which was already read.
        chunks: The rest of it.
        head: The head of the response.
        on_event: Called with each event.
    """
    events = _Events(head, on_event)
    try:
        await events.feed(start)
        while (chunk := await _next_before(events.deadline, chunks)) is not None:
            await events.feed(chunk)
    # The last event may still be whole.
    except httpx.HTTPError:
        await events.end()
        raise
    except anyio.get_cancelled_exc_class():
        with anyio.CancelScope(shield=True), suppress(ProviderError):
            await events.end()
        raise
    await events.end()


class _Events:
    """Hands over the events of one stream.

    Attributes:
        deadline: When to stop reading, on the clock of the event loop.
    """

    def __init__(self, head: HttpResponse, on_event: EventHandler) -> None:
        self.deadline = math.inf
        self._head = head
        self._on_event = on_event
        self._stream = EventReader()
        self._event = BodyReader()
        self._values = self._events = self._lines = 0

    async def feed(self, chunk: bytes) -> None:
        lines = chunk.count(b"\n") + chunk.count(b"\r")
        self._lines += lines
        if self._lines > _MOST_LINES:
            raise unreadable(f"has more than {_MOST_LINES:,} lines")
        # A chunk of nothing but line ends takes a hundred times longer than one of an image.
        size = max(len(chunk), 1) if lines < _FEW_LINES else _FEW_LINES
        for start in range(0, len(chunk), size):
            for data in self._stream.feed(chunk[start : start + size]):
                if data is None:
                    await self._hand_over(is_cut=False)
                else:
                    self._event.feed(data)
                    check_values(self._values + self._event.values)
            if size < len(chunk):
                await anyio.lowlevel.checkpoint()

    async def end(self) -> None:
        is_cut = self._stream.is_in_line
        for _ in self._stream.end():
            await self._hand_over(is_cut)

    async def _hand_over(self, is_cut: bool) -> None:
        reader, self._event = self._event, BodyReader()
        self._values += reader.values
        self._events += 1
        if self._events > _MOST_EVENTS:
            raise unreadable(f"has more than {_MOST_EVENTS:,} events")
        if reader.is_quick:
            event = _event(self._head, reader, is_cut)
        else:
            # A cancellation does not lose what has arrived.
            with anyio.CancelScope(shield=True):
                event = await anyio.to_thread.run_sync(_event, self._head, reader, is_cut)
        rest_s: float | None = None
        if event is not None:
            rest_s = 0.0 if event.body.strip() == _LAST_WORD else await self._on_event(event)
        if rest_s is not None:
            self.deadline = min(self.deadline, anyio.current_time() + max(rest_s, _LINGER_S))


def _event(head: HttpResponse, reader: BodyReader, is_cut: bool) -> HttpResponse | None:
    """An event as a response; None for a heartbeat, and for an event that was cut off."""
    if (document := reader.document(head.charset)) is not None:
        return replace(head, document=document)
    body = reader.body()
    word = body.strip() if len(body) <= _LONGEST_HEARTBEAT else body
    is_sign_of_life = len(word) <= _LONGEST_HEARTBEAT and not word.startswith((b"{", b"["))
    if word != _LAST_WORD and (is_sign_of_life or (is_cut and not is_json(body, head.charset))):
        return None
    return replace(head, body=body)


async def _next_before(deadline: float, chunks: AsyncGenerator[bytes, None]) -> bytes | None:
    """The next chunk; None at the end, and if the deadline passes first."""
    if deadline == math.inf:
        return await anext(chunks, None)
    with anyio.CancelScope(deadline=deadline):
        return await anext(chunks, None)
    return None
