"""The HTTP client: sends a request with its key and reads the response within its limits.

Keys enter here as headers and leave only on the wire: no error or log of this module contains a header or a body.
"""

from __future__ import annotations

import copy
import io
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager, suppress
from dataclasses import replace
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Self

import anyio
import anyio.to_thread
import httpx

from ..errors import InvalidResponseError, ProviderError, ServiceStateError
from ..images.errors import ImageError
from ..images.formats.containers import parse as parse_image
from ..untrusted_text import fit_to_show
from ..version import VERSION
from .blobs import BodyReader
from .bounded_json import is_json
from .events import EventHandler, read_events
from .failures import lost, not_connected, not_connected_in_time, timed_out
from .head_timeout import HEAD_TIMEOUT_S, HeadWatch, send_with_head_timeout
from .messages import HttpRequest, HttpResponse
from .request_body import InChunks, JsonBody
from .response_body import Allowance, body_chunks, check_values, stated_length
from .routes import Routes
from .sse import is_stream as is_stream_of_events

__all__ = ["USER_AGENT", "HttpClient", "Transport"]

HttpClient = httpx.AsyncClient
"""The client that a user may give."""

USER_AGENT = f"invokeai_external/{VERSION}"

_HEADERS: Mapping[str, str] = {
    # br and zstd, which httpx would accept where they are installed, cannot be decompressed within bounds.
    "Accept-Encoding": "gzip",
    "User-Agent": USER_AGENT,
}

_BY_CLIENT = frozenset(
    {"connection", "content-encoding", "content-length", "content-type", "host", "transfer-encoding"}
)
"""The headers that follow from the URL, the connection and the body."""

_BodyReader = Callable[[httpx.Response, HttpResponse], Awaitable[None]]
"""Reads the body of a successful response, given its head as well."""

_CONNECT_TIMEOUT_S = 5.0
"""As in the official OpenAI SDK (openai 3.54.0)."""

_KEEPALIVE_S = 1.0
"""How long an idle connection is kept. Many servers close theirs after 5 s (uvicorn, Node.js), some after 2 (gunicorn).
A request that crosses the close is lost, and it is unknown whether it was read and billed."""

_LONGEST_START = 1 << 12
"""How many bytes of a body are searched for what it is; they may be spaces."""

_LONGEST_ERROR = 1 << 20
"""How much is read of the body of an error; its status says the most."""


class Transport:
    """A client for all providers. Close it after use, with ``async with`` or ``aclose``.

    Proxy variables of the environment are used, but never for this machine itself. Redirects are not followed, so that
    a key never travels to another host.

    Args:
        timeout_s: How many seconds a sent request may go without a sign of life.
        max_response_bytes: The largest response that is read, decompressed.
        total_timeout_s: How many seconds a request may take in all.
        head_timeout_s: How many seconds the head of a response may take from its first byte on.
        keepalive_s: How many seconds an idle connection is kept for reuse.
        asgi_app: An application to call in process, in place of the network.
        http_client: A client to send with, in place of one made here; it is not closed here. Its proxies, TLS settings
            and connections are used. Its default headers and cookies are only sent to the provider; its
            timeouts, ``auth`` and ``follow_redirects`` are not used. ``head_timeout_s`` does not apply to it.
    """

    def __init__(
        self,
        *,
        timeout_s: float,
        max_response_bytes: int,
        total_timeout_s: float = math.inf,
        head_timeout_s: float = HEAD_TIMEOUT_S,
        keepalive_s: float = _KEEPALIVE_S,
        asgi_app: Any = None,
        http_client: HttpClient | None = None,
    ) -> None:
        self._timeout_s = timeout_s
        self._total_timeout_s = total_timeout_s
        self._head_timeout_s = head_timeout_s
        self._max_response_bytes = max_response_bytes
        self._timeout = httpx.Timeout(timeout_s, connect=_CONNECT_TIMEOUT_S)
        self._owns_client = http_client is None
        self._routes = None if http_client or asgi_app else Routes(_limits(keepalive_s))
        self._client = http_client or _client(self._routes or httpx.ASGITransport(asgi_app))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections, unless they belong to a client that was given."""
        if self._owns_client:
            await self._client.aclose()

    def with_timeouts(self, timeout_s: float | None, total_timeout_s: float | None) -> Self:
        """The same transport with other timeouts; None for its own. It must not be closed."""
        if timeout_s is None and total_timeout_s is None:
            return self
        other = copy.copy(self)
        other._timeout_s = timeout_s or self._timeout_s
        other._total_timeout_s = total_timeout_s or self._total_timeout_s
        other._timeout = httpx.Timeout(other._timeout_s, connect=_CONNECT_TIMEOUT_S)
        return other

    def check_can_send(self, url: str) -> None:
        """Raise what would keep a request to a URL from being sent at all; nothing is connected.

        Raises:
            ServiceStateError: The client that was given is closed.
            SettingsError: The environment names a proxy or certificates that cannot be used.
        """
        self._check_open()
        if self._routes:
            self._routes.of(httpx.URL(url))

    def _check_open(self) -> None:
        if self._client.is_closed:
            raise ServiceStateError("The http_client is closed.", remedy="Close it after the Service, not before.")

    async def send(
        self,
        request: HttpRequest,
        auth_headers: Mapping[str, str],
        on_event: EventHandler | None = None,
        on_unsent: Callable[[], None] = lambda: None,
    ) -> HttpResponse:
        """Send a request and read the whole response, whatever its status; images are decoded while they arrive.

        Args:
            request: What to send.
            auth_headers: The headers that carry the key.
            on_event: Called with each event as it arrives, if the response is a successful stream of events, whatever
                its media type says; the body of the returned response is then empty. The same limits hold. What it
                raises ends the call.
            on_unsent: Called if the request is cancelled before anything of it was sent.

        Returns:
            The response; ``is_cut_short`` if its JSON or an image is whole, and what follows is missing or broken.

        Raises:
            NetworkError: No connection (``never_sent``), or it was lost.
            TimedOutError: No sign of life in time, or no end.
            InvalidResponseError: The response is too large, or compressed in a way that was not requested.
            ServiceStateError: The client that was given is closed.
            SettingsError: The environment names a proxy or certificates that cannot be used; nothing was sent.
        """
        with _sendable_cookies():
            built = self._built(request, auth_headers)
        reader, allowance, watch = BodyReader(), self.allowance(), HeadWatch(self._head_timeout_s)
        begun: HttpResponse | None = None
        is_stream = False

        async def read(response: httpx.Response, head: HttpResponse) -> None:
            nonlocal begun, is_stream
            begun, reader.length = head, stated_length(response)
            async with aclosing(body_chunks(response, allowance)) as chunks:
                if on_event:
                    start, is_stream = await _start_of(chunks, head)
                    if is_stream:
                        await read_events(start, chunks, replace(head, is_stream=True), on_event)
                        return
                    reader.feed(start)
                async for chunk in chunks:
                    reader.feed(chunk)
                    check_values(reader.values)

        try:
            head, failure = await self._exchange(built, read, watch)
        except anyio.get_cancelled_exc_class():
            if watch.never_sent:
                on_unsent()
            if begun is None or not (reader.may_be_whole or reader.has_image):
                raise
            # Some relays hold back the end of the transfer.
            failure = timed_out(f"{built.url.host} did not end its response.", None)
            with anyio.CancelScope(shield=True), suppress(ProviderError):
                return await anyio.to_thread.run_sync(_whole, begun, reader, failure)
            raise
        if not head.is_success:
            return head
        if is_stream:
            if failure:
                raise failure
            return replace(head, is_stream=True)
        if reader.is_quick:
            return _whole(head, reader, failure)
        # A cancellation does not lose what has arrived.
        with anyio.CancelScope(shield=True):
            whole = await anyio.to_thread.run_sync(_whole, head, reader, failure)
        return whole

    def allowance(self) -> Allowance:
        """How many bytes one response may have, or all the images together that it names by URL."""
        return Allowance(self._max_response_bytes)

    async def fetch(self, url: str, headers: Mapping[str, str], allowance: Allowance) -> HttpResponse:
        """Fetch an image from a URL, with no key except what ``headers`` contain; raises like ``send``.

        All images of a response share one allowance, since they are in memory at the same time. If the transfer did
        not end as announced, or was cancelled, the part that arrived is returned with ``is_cut_short``.
        """
        try:
            # Not by the client's own method, which would add its default headers.
            request = httpx.Request(
                "GET",
                url,
                headers={"Accept": "*/*", **_HEADERS, "Connection": "keep-alive", **headers},
                extensions={"timeout": self._timeout.as_dict()},
            )
        except (httpx.InvalidURL, UnicodeError):
            raise InvalidResponseError(
                "The response names an image at a URL that is not valid.", remedy="It was billed but not fetched."
            ) from None
        with _sendable_cookies():
            self._client.cookies.set_cookie_header(request)
        body = io.BytesIO()
        begun: HttpResponse | None = None

        async def read(response: httpx.Response, head: HttpResponse) -> None:
            nonlocal begun
            begun = head
            async with aclosing(body_chunks(response, allowance)) as chunks:
                async for chunk in chunks:
                    body.write(chunk)

        try:
            head, failure = await self._exchange(request, read, HeadWatch(self._head_timeout_s))
        except anyio.get_cancelled_exc_class():
            if begun is None:
                raise
            return replace(begun, body=body.getvalue(), is_cut_short=True)
        if failure and begun is None:
            raise failure
        # The buffer becomes the body without being copied.
        return replace(head, body=body.getvalue(), is_cut_short=failure is not None) if head.is_success else head

    def _built(self, request: HttpRequest, auth_headers: Mapping[str, str]) -> httpx.Request:
        """A request as httpx sends it; a large body is sent in chunks."""
        headers = httpx.Headers(
            {name: value for name, value in request.headers.items() if name.lower() not in _BY_CLIENT}
        )
        # The later one counts, in whatever case its name is written.
        for more in (_HEADERS, auth_headers):
            headers.update(more)
        if request.json is None:
            # A field without a file name is a text field. As ``data`` without files, httpx would send no multipart.
            fields = [(name, (None, value)) for name, value in request.form.items()]
            files = [(part.name, (part.filename, part.data, part.content_type)) for part in request.files]
            built = self._client.build_request(
                request.method, request.url, headers=headers, files=[*fields, *files] or None, timeout=self._timeout
            )
            if isinstance(built.stream, httpx.AsyncByteStream) and request.method == "POST":
                built.stream = InChunks(built.stream)
            return built
        body = JsonBody(request.json)
        headers.update({"Content-Type": "application/json", "Content-Length": str(body.length)})
        return self._client.build_request(
            request.method, request.url, headers=headers, content=body, timeout=self._timeout
        )

    async def _exchange(
        self, request: httpx.Request, read: _BodyReader, watch: HeadWatch
    ) -> tuple[HttpResponse, ProviderError | None]:
        """Send a request and have the body of its response read.

        Returns:
            The head of the response, with the body of an error; and the failure of a success that broke off.
        """
        self._check_open()
        # The URL of an image is the server's, and may have any host.
        host = fit_to_show(request.url.host)
        response: httpx.Response | None = None
        failure: ProviderError | None = None
        with anyio.move_on_after(self._total_timeout_s) as total:
            try:
                response = await send_with_head_timeout(self._client, request, watch)
                try:
                    head = _head(response)
                    if not head.is_success:
                        return replace(head, body=await self._error_body(response)), None
                    await read(response, head)
                finally:
                    # What was read is not lost because the connection of a client that was given cannot be closed.
                    with suppress(httpx.HTTPError, OSError, RuntimeError):
                        await response.aclose()
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError) as error:
                raise not_connected(error, host) from None
            except (httpx.InvalidURL, UnicodeError):
                # A client that was given reads the target of a redirect, though it is not followed.
                raise InvalidResponseError(
                    f"{host} redirects to a URL that is not valid.", remedy="Check the base URL."
                ) from None
            except httpx.HTTPError as error:
                if watch.never_sent and isinstance(error, httpx.TimeoutException):
                    raise not_connected_in_time(host, self._timeout_s) from None
                if watch.never_sent:
                    raise not_connected(error, host) from None
                failure = lost(error, host, self._timeout_s, response)
        if total.cancelled_caught and watch.never_sent:
            raise not_connected_in_time(host, self._total_timeout_s)
        if total.cancelled_caught:
            failure = timed_out(f"{host} did not complete its response within {self._total_timeout_s:g} s.", response)
        if failure and response is None:
            raise failure
        assert response is not None
        return _head(response), failure

    async def _error_body(self, response: httpx.Response) -> bytes:
        """The beginning of the body of an error, as far as it can be read."""
        body = bytearray()
        with anyio.move_on_after(self._head_timeout_s):
            try:
                async with aclosing(body_chunks(response, self.allowance())) as chunks:
                    async for chunk in chunks:
                        body += chunk
                        if len(body) >= _LONGEST_ERROR:
                            break
            except (httpx.HTTPError, InvalidResponseError):
                pass
        return bytes(body[:_LONGEST_ERROR])


def _limits(keepalive_s: float) -> httpx.Limits:
    # The service decides how many calls are in flight.
    return httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=keepalive_s)


def _client(transport: httpx.AsyncBaseTransport) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=transport,
        event_hooks={"response": [_without_location]},
        # No cookie is stored: no provider needs one, and one that cannot be encoded would fail all later requests.
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
    )


@contextmanager
def _sendable_cookies() -> Iterator[None]:
    """Name the problem where a cookie of the client that was given cannot be encoded as a header."""
    try:
        yield
    except UnicodeEncodeError:
        raise ServiceStateError(
            "A cookie of the http_client cannot be sent.", remedy="Clear its cookies: client.cookies.clear()."
        ) from None


async def _without_location(response: httpx.Response) -> None:
    """Drop the target of a redirect: it is not followed, and httpx fails on one that it cannot read."""
    response.headers.pop("location", None)


def _head(response: httpx.Response) -> HttpResponse:
    headers = {name.lower(): value for name, value in response.headers.items()}
    return HttpResponse(response.status_code, headers, b"", time.time())


async def _start_of(chunks: AsyncIterator[bytes], head: HttpResponse) -> tuple[bytes, bool]:
    """The start of a body, and whether it is a stream of events."""
    start, is_said_to_be = b"", head.media_type == "text/event-stream"
    found: bool | None = None
    while found is None and len(start) < _LONGEST_START and (chunk := await anext(chunks, None)) is not None:
        start += chunk
        found = is_stream_of_events(start, is_said_to_be=is_said_to_be)
    return start, is_said_to_be if found is None else found


def _whole(head: HttpResponse, reader: BodyReader, failure: ProviderError | None) -> HttpResponse:
    """A successful response, up to its last whole image if what follows is cut off or broken.

    Raises the failure of one that broke off, unless its JSON or an image is whole.
    """
    if (document := reader.document(head.charset)) is not None:
        return replace(head, document=document, is_cut_short=failure is not None)
    body = reader.body()
    # The JSON of a whole response without images is parsed later.
    if (failure or reader.has_image) and not (is_json(body, head.charset) or _is_image(body)):
        if (document := reader.document_up_to_image(head.charset)) is not None:
            return replace(head, document=document, is_cut_short=True)
        if failure:
            raise failure
    return replace(head, body=body, is_cut_short=failure is not None)


def _is_image(body: bytes) -> bool:
    """True for a body that is an image file, whole as far as its structure shows."""
    try:
        return parse_image(body) is not None
    except ImageError:
        return False
