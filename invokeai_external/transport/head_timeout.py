"""Limits how long the head of a response may take from its first byte on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

import anyio
import anyio.lowlevel
import httpx

from ..untrusted_text import fit_to_show
from .chunks import CHUNK_BYTES
from .failures import as_failures_of_httpx, not_connected_in_time, timed_out, unreadable

__all__ = ["HEAD_TIMEOUT_S", "HeadWatch", "is_connecting", "report_reads", "send_with_head_timeout"]

HEAD_TIMEOUT_S = 60.0

_HEAD_CHUNK_BYTES = 1 << 12
"""The most bytes of a head per read: one read may hold thousands of interim responses (1xx)."""


_MOST_LINES = 1000
"""A head with more lines would hold up the event loop; real ones have up to a hundred."""


async def send_with_head_timeout(client: httpx.AsyncClient, request: httpx.Request, watch: HeadWatch) -> httpx.Response:
    """Send a request and read the head of its response. Redirects are not followed.

    Raises:
        TimedOutError: The head began and did not end within the time of the watch.
        InvalidResponseError: It has more lines than any real one.
    """
    request.extensions["trace"] = watch.trace
    token = _WATCH.set(watch)
    try:
        with watch.scope, as_failures_of_httpx():
            await anyio.lowlevel.checkpoint_if_cancelled()
            # A client that was given may report no step of its connections.
            watch.never_sent = False
            return await client.send(request, stream=True, auth=None, follow_redirects=False)
    except BaseException:
        await watch.close_opened()
        raise
    finally:
        _WATCH.reset(token)
    await watch.close_opened()
    if watch.has_too_many_lines:
        raise unreadable(f"has more than {_MOST_LINES:,} headers")
    host, timeout_s = fit_to_show(request.url.host), watch.timeout_s
    if watch.never_sent:
        raise not_connected_in_time(host, timeout_s)
    raise timed_out(f"{host} began a response and did not complete its headers within {timeout_s:g} s.", None)


def report_reads(transport: httpx.AsyncHTTPTransport) -> None:
    """Report what the connections of a transport read to the watch of the request at hand.

    httpcore accepts a network backend and httpx does not pass one on, so this touches private attributes: here and
    nowhere else. Without it, as in a client that was given, the head of a response may take any time within the total.
    """
    pool: Any = transport._pool
    pool._network_backend = _Reporting(pool._network_backend)


def is_connecting() -> bool:
    """True while nothing of the request at hand was sent yet."""
    watch = _WATCH.get()
    return watch is not None and watch.never_sent


class HeadWatch:
    """Starts the clock with the first byte of a response; before that, the provider is at work.

    Args:
        timeout_s: How many seconds the head may take from then on.

    Attributes:
        never_sent: True if it is certain that nothing of the request was sent yet: before the client has it, and while
            the connection is being made.
        scope: Is cancelled when the time is up, and when the head is too long.
        has_too_many_lines: True if the head is too long.
        opened: The connections that were opened for the request.
    """

    def __init__(self, timeout_s: float) -> None:
        self.scope = anyio.CancelScope()
        self.timeout_s = timeout_s
        self.never_sent = True
        self._is_waiting = False
        self._lines = 0
        self.has_too_many_lines = False
        self.opened: list[_Reporting] = []

    async def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """httpcore calls this at each step of a request; a proxy's response to CONNECT has a head too."""
        if event.endswith(("connect_tcp.started", "connect_unix_socket.started")):
            self.never_sent = True
        elif event.endswith("send_request_headers.started") and info["request"].method != b"CONNECT":
            self.never_sent = False
        if ".receive_response_headers." in event:
            self._is_waiting = event.endswith(".started")
            self.scope.deadline = math.inf
            self._lines = 0

    @property
    def chunk_bytes(self) -> int:
        """The most bytes to read at once."""
        return _HEAD_CHUNK_BYTES if self._is_waiting else CHUNK_BYTES

    async def close_opened(self) -> None:
        """Close what was opened for a request that has no response.

        httpcore leaves a connection open if it is cancelled during the handshake of TLS or SOCKS.
        """
        with anyio.CancelScope(shield=True):
            for connection in self.opened:
                await connection.aclose()

    def bytes_arrived(self, data: bytes) -> None:
        if not self._is_waiting:
            return
        if self.scope.deadline == math.inf:
            self.scope.deadline = anyio.current_time() + self.timeout_s
        # What follows an empty line may be the body.
        self._lines += data.partition(b"\r\n\r\n")[0].count(b"\n")
        if self._lines > _MOST_LINES:
            self.has_too_many_lines = True
            self.scope.cancel()


_WATCH: ContextVar[HeadWatch | None] = ContextVar("_WATCH", default=None)


class _Reporting:
    """A network backend of httpcore, or one of its streams, that reports its reads and chooses how much they read."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def connect_tcp(self, *args: Any, **kwargs: Any) -> _Reporting:
        connection = _Reporting(await self._inner.connect_tcp(*args, **kwargs))
        if (watch := _WATCH.get()) is not None:
            watch.opened.append(connection)
        return connection

    async def start_tls(self, *args: Any, **kwargs: Any) -> _Reporting:
        return _Reporting(await self._inner.start_tls(*args, **kwargs))

    async def read(self, max_bytes: int, *args: Any, **kwargs: Any) -> Any:
        watch = _WATCH.get()
        if watch is None:
            # The body: httpcore asks for a quarter of what may be there, and each read costs more than its bytes.
            return await self._inner.read(CHUNK_BYTES, *args, **kwargs)
        data = await self._inner.read(min(max_bytes, watch.chunk_bytes), *args, **kwargs)
        watch.bytes_arrived(data)
        return data
