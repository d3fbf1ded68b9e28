"""The one HTTP client: sends a request with its key, reads the answer within its limits, and names what went wrong.

Keys enter here as headers and leave only on the wire: no error or log of this module holds a header or a body.
"""

from __future__ import annotations

import io
import json
import math
import time
import zlib
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing, suppress
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, Self

import anyio
import anyio.lowlevel
import anyio.to_thread
import httpx

from ..errors import InvalidResponseError, NetworkError, ProviderError, TimedOutError
from .blobs import AnswerReader
from .bounded_json import MOST_VALUES, load
from .messages import HttpRequest, HttpResponse
from .sse import EventReader

__all__ = ["Allowance", "EventHandler", "Transport"]

EventHandler = Callable[[HttpResponse], Awaitable[float | None]]
"""Is told of an event of a stream: the head of the answer, with the event's data as its document or body. It gives how
many seconds the rest of the stream is worth waiting for: 0 if nothing is missing any more, None for no such limit."""

_BodyReader = Callable[[httpx.Response, HttpResponse], Awaitable[None]]
"""Reads the body of an answer of success, given its head as well."""

_CONNECT_TIMEOUT_S = 5.0
"""The official OpenAI SDK's figure (openai 3.54.0)."""

_HEAD_TIMEOUT_S = 60.0
"""How long the head of an answer may take from its first byte on, and the body of an error."""

_KEEPALIVE_S = 1.0
"""How long a connection that nobody uses is kept. Many servers close theirs after 5 s (uvicorn, Node.js), some after 2
(gunicorn). A request that meets the close on its way is lost, and nobody can tell whether it was read and billed."""

_LINGER_S = 0.1
"""A whole stream is read on for this long, since a connection whose answer was read to its end can be used again."""

_LOOPBACK_WITHOUT_PROXY: Mapping[str, None] = {
    "all://localhost": None,
    "all://127.0.0.1": None,
    "all://[::1]": None,
}

_AT_ONCE = 1 << 18
"""How many bytes are inflated, read or sent before others get their turn."""

_LONG_TEXT = 1 << 16
"""A request with a longer text in it takes longer to encode than a thread to start."""

_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
"""The JSON that httpx makes."""

_PIECES_AT_ONCE = 128
"""After so many pieces of a body others get their turn: one read may hold thousands of chunks of one byte."""

_HEAD_AT_ONCE = 1 << 12
"""How many bytes of a head are read in one go: one read may hold thousands of interim answers (1xx)."""

_LONGEST_ERROR = 1 << 20
"""So much of the body of an error is read; an error is told by its status all the same."""

_MOST_EVENTS = 10_000
_MOST_LINES = 1_000_000
"""A stream with more events or lines is none of an image."""

_FEW_LINES = 1 << 12
"""A piece with more line ends is read in slices of so many bytes."""

_GZIP_BEGINS = b"\x1f"
"""The first byte of gzip (RFC 1952), with which no JSON and no event begins."""

_LONGEST_HEARTBEAT = 64
"""An event of so few bytes that is no JSON says only that the server lives."""

_LAST_WORD = b"[DONE]"
"""What OpenAI's other streams and many gateways send as the last event; no JSON."""

_MAY_BE_BILLED = "It may have been billed all the same: look at your usage before you send it again."


class Allowance:
    """How many bytes may still be read, by all that share it: an answer, or the images that it names by URL.

    Args:
        most: All of them.
    """

    def __init__(self, most: int) -> None:
        self._most = self._left = most

    def take(self, held: int, wanted: int) -> int:
        """Hold ``wanted`` bytes in place of ``held``; gives ``wanted``.

        Raises:
            InvalidResponseError: There are not as many left. What was held is given back at once, so that of several
                images that share an allowance no more are given up than must be.
        """
        self._left += held
        if wanted > self._left:
            raise _too_large(self._most)
        self._left -= wanted
        return wanted

    def give_back(self, count: int) -> None:
        """Have so many again: what was read is let go."""
        self._left += count


class Transport:
    """A client for all providers, to be closed after use.

    Proxy variables of the environment are honoured, but never for this machine itself. Redirects are not followed,
    so that a key never travels to another host.

    Args:
        timeout_s: The seconds without a sign of life after which a sent request is given up.
        max_response_bytes: The largest answer that is read, decompressed.
        total_timeout_s: The seconds after which a request is given up, whatever signs of life there are.
        head_timeout_s: The seconds from the first byte of an answer to the end of its head.
        keepalive_s: The seconds after which a connection that nobody uses is not used again.
        asgi_app: An application to talk to in process, in place of the network.
    """

    def __init__(
        self,
        *,
        timeout_s: float,
        max_response_bytes: int,
        total_timeout_s: float = math.inf,
        head_timeout_s: float = _HEAD_TIMEOUT_S,
        keepalive_s: float = _KEEPALIVE_S,
        asgi_app: Any = None,
    ) -> None:
        self._timeout_s = timeout_s
        self._total_timeout_s = total_timeout_s
        self._head_timeout_s = head_timeout_s
        self._max_response_bytes = max_response_bytes
        self._encoders = anyio.CapacityLimiter(1)
        self._client = httpx.AsyncClient(
            # br and zstd, for which httpx would ask where they are installed, have no bounds.
            headers={"Accept-Encoding": "gzip"},
            timeout=httpx.Timeout(timeout_s, connect=_CONNECT_TIMEOUT_S),
            # How many calls are in flight is the service's business.
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=keepalive_s),
            transport=httpx.ASGITransport(asgi_app) if asgi_app else None,
            mounts=None if asgi_app else dict(_LOOPBACK_WITHOUT_PROXY),
            event_hooks={"response": [_without_location]},
        )
        _report_reads(self._client)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def send(
        self, request: HttpRequest, auth_headers: Mapping[str, str], on_event: EventHandler | None = None
    ) -> HttpResponse:
        """Send a request and read the whole answer, whatever its status; a success's images are decoded on the way.

        Args:
            request: What to send.
            auth_headers: The headers that carry the key.
            on_event: Told of each event as it arrives, if the answer is a success and a stream of events; the body
                that is given back is empty then. The limits are those of any answer. What it raises ends the call.

        Returns:
            The answer; ``is_cut_short`` if its JSON is whole and its transfer did not end as announced.

        Raises:
            NetworkError: No connection (``never_sent``), or it was lost.
            TimedOutError: No sign of life in time, or no end.
            InvalidResponseError: The answer is larger than allowed, or packed in a way that was not asked for.
        """
        built = await self._built(request, auth_headers)
        reader, allowance = AnswerReader(), self.allowance()
        begun: HttpResponse | None = None

        async def read(response: httpx.Response, head: HttpResponse) -> None:
            nonlocal begun
            begun = head
            if on_event and head.is_stream:
                await _read_events(response, head, on_event, allowance)
                return
            async with aclosing(_pieces(response, allowance)) as pieces:
                async for piece in pieces:
                    reader.feed(piece)
                    _check_values(reader.values)

        try:
            head, lost = await self._exchange(built, read)
        except anyio.get_cancelled_exc_class():
            if begun is None or not reader.may_be_whole:
                raise
            # All of it is there but the end of its transfer, which some relays keep back.
            lost = _timed_out(f"{built.url.host} did not end its answer.", None)
            with anyio.CancelScope(shield=True), suppress(ProviderError):
                return await anyio.to_thread.run_sync(_answer, begun, reader, lost)
            raise
        if not head.is_success:
            return head
        if on_event and head.is_stream:
            if lost:
                raise lost
            return head
        if reader.is_quick:
            return _answer(head, reader, lost)
        # What has arrived is not lost to a cancellation.
        with anyio.CancelScope(shield=True):
            answer = await anyio.to_thread.run_sync(_answer, head, reader, lost)
        return answer

    def allowance(self) -> Allowance:
        """What one answer may take, or all the images together that one names by URL."""
        return Allowance(self._max_response_bytes)

    async def fetch(self, url: str, headers: Mapping[str, str], allowance: Allowance) -> HttpResponse:
        """Fetch an image that is served elsewhere, with no key but what ``headers`` hold; raises like ``send``.

        All images of an answer share one allowance, since they are in memory at the same time. If its transfer did not
        end as announced, or was cancelled, what came of it is given with ``is_cut_short``.
        """
        try:
            request = self._client.build_request("GET", url, headers=headers)
        except (httpx.InvalidURL, UnicodeError):
            raise InvalidResponseError(
                "The answer names a picture at an address that is none.", remedy="It was billed but not fetched."
            ) from None
        body = io.BytesIO()
        begun: HttpResponse | None = None

        async def read(response: httpx.Response, head: HttpResponse) -> None:
            nonlocal begun
            begun = head
            async with aclosing(_pieces(response, allowance)) as pieces:
                async for piece in pieces:
                    body.write(piece)

        try:
            head, lost = await self._exchange(request, read)
        except anyio.get_cancelled_exc_class():
            if begun is None:
                raise
            return replace(begun, body=body.getvalue(), is_cut_short=True)
        if lost and begun is None:
            raise lost
        # The buffer becomes the body without being copied.
        return replace(head, body=body.getvalue(), is_cut_short=lost is not None) if head.is_success else head

    async def _built(self, request: HttpRequest, headers: Mapping[str, str]) -> httpx.Request:
        """A request as it goes out; a large one is encoded in a thread, one at a time, and sent in pieces."""
        if request.json is None:
            files = [(part.name, (part.filename, part.data, part.content_type)) for part in request.files]
            built = self._client.build_request(
                request.method, request.url, headers=headers, data=dict(request.form) or None, files=files or None
            )
            if request.files and isinstance(built.stream, httpx.AsyncByteStream):
                built.stream = _InPieces(built.stream)
            return built
        if _has_long_text(request.json):
            encoded = await anyio.to_thread.run_sync(_encoded, request.json, limiter=self._encoders)
        else:
            encoded = _encoded(request.json)
        length = sum(map(len, encoded))
        head = {**headers, "Content-Type": "application/json", "Content-Length": str(length)}
        content = encoded[0] if len(encoded) == 1 else _each(encoded)
        return self._client.build_request(request.method, request.url, headers=head, content=content)

    async def _exchange(self, request: httpx.Request, read: _BodyReader) -> tuple[HttpResponse, ProviderError | None]:
        """Send a request and have the body of its answer read.

        Returns:
            The head of the answer, with the body of an error; and the error of an answer of success that broke off.
        """
        host = request.url.host
        response: httpx.Response | None = None
        lost: ProviderError | None = None
        with anyio.move_on_after(self._total_timeout_s) as total:
            try:
                response = await self._sent(request)
                try:
                    head = _head(response)
                    if not head.is_success:
                        return replace(head, body=await self._error_body(response)), None
                    await read(response, head)
                finally:
                    await response.aclose()
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError) as error:
                raise NetworkError(
                    f"No connection to {host} could be made ({_reason(error)}).",
                    remedy="Check the network and the base URL; nothing was sent.",
                    never_sent=True,
                ) from None
            except httpx.HTTPError as error:
                lost = _lost(error, host, self._timeout_s, response)
        if total.cancelled_caught:
            lost = _timed_out(f"{host} gave no whole answer within {self._total_timeout_s:g} s.", response)
        if lost and response is None:
            raise lost
        assert response is not None
        return _head(response), lost

    async def _sent(self, request: httpx.Request) -> httpx.Response:
        """Send a request and read the head of its answer, which has little time from its first byte on."""
        watch = _HeadWatch(self._head_timeout_s)
        request.extensions["trace"] = watch.trace
        token = _WATCH.set(watch)
        try:
            with watch.scope:
                return await self._client.send(request, stream=True)
        finally:
            _WATCH.reset(token)
        message = f"The answer of {request.url.host} began and had no whole head within {self._head_timeout_s:g} s."
        raise _timed_out(message, None)

    async def _error_body(self, response: httpx.Response) -> bytes:
        """The beginning of the body of an error; what cannot be read of it is left out."""
        body = bytearray()
        with anyio.move_on_after(self._head_timeout_s):
            try:
                async with aclosing(_pieces(response, self.allowance())) as pieces:
                    async for piece in pieces:
                        body += piece
                        if len(body) >= _LONGEST_ERROR:
                            break
            except (httpx.HTTPError, InvalidResponseError):
                pass
        return bytes(body[:_LONGEST_ERROR])


class _Events:
    """Tells of the events of one stream.

    Attributes:
        deadline: When to read no further, on the clock of the event loop.
    """

    def __init__(self, head: HttpResponse, on_event: EventHandler) -> None:
        self.deadline = math.inf
        self._head = head
        self._on_event = on_event
        self._stream = EventReader()
        self._event = AnswerReader()
        self._values = self._events = self._lines = 0

    async def feed(self, piece: bytes) -> None:
        lines = piece.count(b"\n") + piece.count(b"\r")
        self._lines += lines
        if self._lines > _MOST_LINES:
            raise _unreadable(f"has more than {_MOST_LINES:,} lines")
        # A piece of nothing but line ends takes a hundred times longer than one of an image.
        size = len(piece) if lines < _FEW_LINES else _FEW_LINES
        for start in range(0, len(piece), size):
            for data in self._stream.feed(piece[start : start + size]):
                if data is None:
                    await self._tell(is_cut=False)
                else:
                    self._event.feed(data)
                    _check_values(self._values + self._event.values)
            if size < len(piece):
                await anyio.lowlevel.checkpoint()

    async def end(self) -> None:
        is_cut = self._stream.is_in_line
        for _ in self._stream.end():
            await self._tell(is_cut)

    async def _tell(self, is_cut: bool) -> None:
        reader, self._event = self._event, AnswerReader()
        self._values += reader.values
        self._events += 1
        if self._events > _MOST_EVENTS:
            raise _unreadable(f"has more than {_MOST_EVENTS:,} events")
        if reader.is_quick:
            event = _event(self._head, reader, is_cut)
        else:
            # What has arrived is not lost to a cancellation.
            with anyio.CancelScope(shield=True):
                event = await anyio.to_thread.run_sync(_event, self._head, reader, is_cut)
        rest_s: float | None = None
        if event is not None:
            rest_s = 0.0 if event.body.strip() == _LAST_WORD else await self._on_event(event)
        if rest_s is not None:
            self.deadline = min(self.deadline, anyio.current_time() + max(rest_s, _LINGER_S))


def _event(head: HttpResponse, reader: AnswerReader, is_cut: bool) -> HttpResponse | None:
    """An event as an answer; None for a sign of life, and for an event that was cut off."""
    if (document := reader.document()) is not None:
        return replace(head, document=document)
    body = reader.body()
    word = body.strip() if len(body) <= _LONGEST_HEARTBEAT else body
    if word != _LAST_WORD and (
        (len(word) <= _LONGEST_HEARTBEAT and not word.startswith((b"{", b"["))) or (is_cut and not _is_json(body))
    ):
        return None
    return replace(head, body=body)


def _answer(head: HttpResponse, reader: AnswerReader, lost: ProviderError | None) -> HttpResponse:
    """An answer of success; raises what befell one that broke off, unless its JSON is whole."""
    document = reader.document()
    body = reader.body() if document is None else b""
    if lost and document is None and not _is_json(body):
        raise lost
    return replace(head, document=document, body=body, is_cut_short=lost is not None)


def _is_json(body: bytes) -> bool:
    try:
        load(body)
    except ValueError:
        return False
    return True


async def _next_before(deadline: float, pieces: AsyncGenerator[bytes, None]) -> bytes | None:
    """The next piece; None at the end, and if the deadline comes first."""
    if deadline == math.inf:
        return await anext(pieces, None)
    with anyio.CancelScope(deadline=deadline):
        return await anext(pieces, None)
    return None


class _InPieces(httpx.AsyncByteStream):
    """A body that goes out in pieces of a bounded size, so that none of them holds up the others for long."""

    def __init__(self, parts: AsyncIterable[bytes]) -> None:
        self._parts = parts

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._parts:
            for piece in _cut(part):
                yield piece


async def _each(pieces: Sequence[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def _cut(part: bytes) -> Iterator[bytes]:
    if len(part) <= _AT_ONCE:
        yield part
        return
    for start in range(0, len(part), _AT_ONCE):
        yield part[start : start + _AT_ONCE]


def _encoded(body: Mapping[str, Any]) -> list[bytes]:
    """A body as JSON, in pieces of about ``_AT_ONCE`` bytes; made in as many steps, between which other threads run."""
    pieces, piece = [], bytearray()
    for text in _json_of(body):
        piece += text.encode("utf-8")
        if len(piece) >= _AT_ONCE:
            pieces.append(bytes(piece))
            piece.clear()
    return [*pieces, bytes(piece)]


def _json_of(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield "{"
        for place, (name, inner) in enumerate(value.items()):
            yield f"{',' if place else ''}{_JSON.encode(name)}:"
            yield from _json_of(inner)
        yield "}"
    elif isinstance(value, list | tuple):
        yield "["
        for place, inner in enumerate(value):
            if place:
                yield ","
            yield from _json_of(inner)
        yield "]"
    elif isinstance(value, str) and len(value) > _LONG_TEXT:
        yield '"'
        for start in range(0, len(value), _AT_ONCE):
            yield _JSON.encode(value[start : start + _AT_ONCE])[1:-1]
        yield '"'
    else:
        yield _JSON.encode(value)


def _has_long_text(value: object) -> bool:
    if isinstance(value, Mapping):
        return any(map(_has_long_text, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_has_long_text, value))
    return isinstance(value, str) and len(value) > _LONG_TEXT


class _Plain:
    """A body that is not compressed."""

    is_whole = True

    def pieces(self, raw: bytes) -> Iterator[bytes]:
        return _cut(raw)


class _Inflater:
    """Inflates gzip, no more than ``_AT_ONCE`` bytes at a time; it may have several members (RFC 1952, 2.2).

    What is announced as gzip and is none is given as it is: some gateways unpack an answer and leave its header.
    """

    def __init__(self) -> None:
        self._zlib: Any = None
        self._is_plain = self._is_over = False

    @property
    def is_whole(self) -> bool:
        return self._is_plain or (self._zlib is not None and self._zlib.eof)

    def pieces(self, raw: bytes) -> Iterator[bytes]:
        if self._zlib is None and not self._is_plain and raw:
            self._is_plain = not raw.startswith(_GZIP_BEGINS)
            self._zlib = _member()
        if self._is_plain:
            yield from _cut(raw)
            return
        is_full = False
        while (raw or is_full) and not self._is_over:
            if self._zlib.eof:
                # What follows the last member is padding.
                self._is_over = not raw.startswith(_GZIP_BEGINS)
                if self._is_over:
                    return
                self._zlib = _member()
            try:
                piece = self._zlib.decompress(raw, _AT_ONCE)
            except zlib.error:
                raise httpx.DecodingError("not gzip") from None
            is_full = len(piece) == _AT_ONCE and not self._zlib.eof
            raw = self._zlib.unused_data if self._zlib.eof else self._zlib.unconsumed_tail
            if piece:
                yield piece


def _member() -> Any:
    return zlib.decompressobj(zlib.MAX_WBITS | 16)


def _inflater(response: httpx.Response) -> _Plain | _Inflater:
    """What unpacks the body of an answer; raises InvalidResponseError for what was not asked for."""
    listed = response.headers.get_list("content-encoding", split_commas=True)
    packings = [
        name for name in (listed_name.strip().lower() for listed_name in listed) if name not in ("", "identity")
    ]
    if not packings:
        return _Plain()
    if packings in (["gzip"], ["x-gzip"]):
        return _Inflater()
    raise InvalidResponseError(
        "The answer is packed in a way that was not asked for.",
        remedy="It may have been billed. Check the base URL; the server must send gzip or nothing as its "
        "Content-Encoding.",
        status=response.status_code,
        request_id=response.headers.get("x-request-id"),
        may_be_billed=True,
    )


class _HeadWatch:
    """Limits the time from the first byte of an answer to the end of its head; before it, the provider is at work.

    Attributes:
        scope: Is cancelled when the time is up.
    """

    def __init__(self, timeout_s: float) -> None:
        self.scope = anyio.CancelScope()
        self._timeout_s = timeout_s
        self._is_waiting = False

    async def trace(self, event: str, _: object) -> None:
        """Is told by httpcore where a request is; a proxy's answer to CONNECT has a head of its own."""
        if ".receive_response_headers." in event:
            self._is_waiting = event.endswith(".started")
            self.scope.deadline = math.inf

    @property
    def at_once(self) -> int:
        """The most bytes to read in one go."""
        return _HEAD_AT_ONCE if self._is_waiting else _AT_ONCE

    def something_came(self) -> None:
        if self._is_waiting and self.scope.deadline == math.inf:
            self.scope.deadline = anyio.current_time() + self._timeout_s


_WATCH: ContextVar[_HeadWatch | None] = ContextVar("_WATCH", default=None)


def _report_reads(client: httpx.AsyncClient) -> None:
    """Have the watch of a request told of what its connection reads.

    httpcore takes a network backend from outside and httpx does not pass one on, so private attributes are touched:
    here and nowhere else. A transport without them (a mock, an application in process) has no head that could be slow.
    """
    for transport in (client._transport, *client._mounts.values()):
        pool = getattr(transport, "_pool", None)
        backend = getattr(pool, "_network_backend", None)
        if backend is not None:
            pool._network_backend = _Reporting(backend)  # type: ignore[union-attr]


class _Reporting:
    """A network backend of httpcore, or a stream of one, whose reads are reported; the rest is as it was."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def connect_tcp(self, *args: Any, **kwargs: Any) -> _Reporting:
        return _Reporting(await self._inner.connect_tcp(*args, **kwargs))

    async def start_tls(self, *args: Any, **kwargs: Any) -> _Reporting:
        return _Reporting(await self._inner.start_tls(*args, **kwargs))

    async def read(self, max_bytes: int, *args: Any, **kwargs: Any) -> Any:
        watch = _WATCH.get()
        if watch is None:
            return await self._inner.read(max_bytes, *args, **kwargs)
        data = await self._inner.read(min(max_bytes, watch.at_once), *args, **kwargs)
        watch.something_came()
        return data


def _check_values(values: int) -> None:
    if values > MOST_VALUES:
        raise _unreadable(f"has more than {MOST_VALUES:,} values")


async def _pieces(response: httpx.Response, allowance: Allowance) -> AsyncGenerator[bytes, None]:
    """The body, decompressed, in pieces of a bounded size; given up as soon as it is larger than allowed."""
    inflated = _inflater(response)
    came = size = taken = count = 0
    async with aclosing(response.aiter_raw()) as raw_pieces:  # type: ignore[type-var]
        async for raw in raw_pieces:
            came += len(raw)
            count += 1
            if count % _PIECES_AT_ONCE == 0:
                await anyio.lowlevel.checkpoint()
            for number, piece in enumerate(inflated.pieces(raw)):
                if number:
                    # Whoever is cancelled, or has other things to do, comes in between.
                    await anyio.lowlevel.checkpoint()
                size += len(piece)
                taken = allowance.take(taken, max(size, came))
                yield piece
            taken = allowance.take(taken, max(size, came))
    if not inflated.is_whole:
        raise httpx.RemoteProtocolError("the compressed data have no end")


async def _read_events(
    response: httpx.Response, head: HttpResponse, on_event: EventHandler, allowance: Allowance
) -> None:
    """The events of the body, one by one, until it ends or the rest of it is not worth waiting for."""
    events = _Events(head, on_event)
    async with aclosing(_pieces(response, allowance)) as pieces:
        try:
            while (piece := await _next_before(events.deadline, pieces)) is not None:
                await events.feed(piece)
        # The last event may be whole all the same.
        except httpx.HTTPError:
            await events.end()
            raise
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True), suppress(ProviderError):
                await events.end()
            raise
    await events.end()


async def _without_location(response: httpx.Response) -> None:
    """Drop where a redirect leads to. It is not followed, and httpx fails on one that it cannot read."""
    response.headers.pop("location", None)


def _head(response: httpx.Response) -> HttpResponse:
    headers = {name.lower(): value for name, value in response.headers.items()}
    return HttpResponse(response.status_code, headers, b"", time.time())


def _lost(error: httpx.HTTPError, host: str, timeout_s: float, response: httpx.Response | None) -> ProviderError:
    """What was sent and not wholly answered."""
    if isinstance(error, httpx.TimeoutException):
        return _timed_out(f"{host} gave no answer within {timeout_s:g} s.", response)
    kind: type[ProviderError] = NetworkError
    message = f"The connection to {host} was lost ({_reason(error)})."
    if isinstance(error, httpx.DecodingError):
        kind, message = InvalidResponseError, f"The answer of {host} cannot be decompressed."
    return _unanswered(kind, message, response)


def _timed_out(message: str, response: httpx.Response | None) -> ProviderError:
    return _unanswered(TimedOutError, message, response)


def _unanswered(kind: type[ProviderError], message: str, response: httpx.Response | None) -> ProviderError:
    return kind(
        message,
        remedy=_MAY_BE_BILLED,
        status=response.status_code if response else None,
        request_id=response.headers.get("x-request-id") if response else None,
        may_be_billed=True,
    )


def _reason(error: httpx.HTTPError) -> str:
    """The kind of a failure in words; httpx's own text may quote what was sent."""
    if isinstance(error, httpx.TimeoutException):
        return "it timed out"
    if isinstance(error, httpx.ProxyError):
        return "the proxy refused"
    text = str(error).lower()
    if "certificate" in text:
        return "its certificate is not trusted"
    if "ssl" in text:
        return "it does not speak https"
    if "name" in text or "getaddrinfo" in text or "nodename" in text:
        return "the host is not known"
    if isinstance(error, httpx.ConnectError):
        return "it was refused"
    return "it was closed before the answer was whole"


def _too_large(limit: int) -> ProviderError:
    return InvalidResponseError(
        f"The answer is larger than the {limit:,} bytes that are allowed.",
        remedy="It may have been billed. Raise max_response_bytes in invokeai_external.yaml if it is right.",
        may_be_billed=True,
    )


def _unreadable(what: str) -> ProviderError:
    return InvalidResponseError(
        f"The answer {what}; that is not the answer of an image model.",
        remedy="It may have been billed. Check the base URL.",
        may_be_billed=True,
    )
