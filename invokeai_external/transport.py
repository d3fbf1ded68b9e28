"""The one HTTP client: sends a request with its key, reads the answer up to a limit, and names what went wrong.

Keys enter here as headers and leave only on the wire: no error or log of this module holds a header or a body.
"""

from __future__ import annotations

import io
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Self

import httpx

from .blobs import AnswerReader
from .errors import InvalidResponseError, NetworkError, ProviderError, TimedOutError
from .providers.base import HttpRequest, HttpResponse
from .sse import EventReader

__all__ = ["EventHandler", "Transport"]

EventHandler = Callable[[HttpResponse, bytes], Awaitable[None]]
"""Is told of an event of a stream: the head of the answer, its body empty, and the event's data."""

_BodyReader = Callable[[httpx.Response, HttpResponse], Awaitable[None]]
"""Reads the body of an answer, given its head as well."""

_CONNECT_TIMEOUT_S = 5.0
"""The official OpenAI SDK's figure (openai 3.54.0)."""

_LOOPBACK_WITHOUT_PROXY: Mapping[str, None] = {
    "all://localhost": None,
    "all://127.0.0.1": None,
    "all://[::1]": None,
}

_LAST_WORD = b"[DONE]"
"""What OpenAI sends as the last event of a stream; no JSON."""

_MAY_BE_BILLED = "It may have been billed all the same: look at your usage before you send it again."


class Transport:
    """A client for all providers, to be closed after use.

    Proxy variables of the environment are honoured, but never for this machine itself. Redirects are not followed,
    so that a key never travels to another host.

    Args:
        timeout_s: The seconds without a sign of life after which a sent request is given up.
        max_response_bytes: The largest answer that is read.
        asgi_app: An application to talk to in process, in place of the network.
    """

    def __init__(self, *, timeout_s: float, max_response_bytes: int, asgi_app: Any = None) -> None:
        self._timeout_s = timeout_s
        self._max_response_bytes = max_response_bytes
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(timeout_s, connect=_CONNECT_TIMEOUT_S),
            # How many calls are in flight is the service's business.
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),
            transport=httpx.ASGITransport(asgi_app) if asgi_app else None,
            mounts=None if asgi_app else dict(_LOOPBACK_WITHOUT_PROXY),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def send(
        self, request: HttpRequest, auth_headers: Mapping[str, str], on_event: EventHandler | None = None
    ) -> HttpResponse:
        """Send a request and read the whole answer, whatever its status; a success's pictures are decoded on the way.

        Args:
            request: What to send.
            auth_headers: The headers that carry the key.
            on_event: Told of each event as it arrives, if the answer is a success and a stream of events; the body
                that is given back is empty then. The limits are those of any answer. What it raises ends the call.

        Raises:
            NetworkError: No connection (``never_sent``), or it was lost.
            TimedOutError: No sign of life in time.
            InvalidResponseError: The answer is larger than allowed.
        """
        body: dict[str, Any] = {}
        if request.json is not None:
            body["json"] = request.json
        elif request.files:
            body["data"] = dict(request.form)
            body["files"] = [(part.name, (part.filename, part.data, part.content_type)) for part in request.files]
        built = self._client.build_request(request.method, request.url, headers=auth_headers, **body)
        reader = AnswerReader()

        async def read(response: httpx.Response, head: HttpResponse) -> None:
            if on_event and head.is_stream:
                await self._read_events(response, head, on_event)
            else:
                await self._read(response, reader.feed)

        head = await self._exchange(built, read)
        document = reader.document() if head.is_success else None
        return replace(head, document=document, body=reader.body() if document is None else b"")

    async def fetch(self, url: str) -> HttpResponse:
        """Fetch a picture that a provider serves elsewhere, without a key; raises what ``send`` raises."""
        try:
            request = self._client.build_request("GET", url)
        except (httpx.InvalidURL, UnicodeError):
            raise InvalidResponseError(
                "The answer names a picture at an address that is none.", hint="It was billed but not fetched."
            ) from None
        body = io.BytesIO()

        async def read(response: httpx.Response, head: HttpResponse) -> None:
            await self._read(response, body.write)

        head = await self._exchange(request, read)
        # The buffer becomes the body without being copied.
        return replace(head, body=body.getvalue())

    async def _exchange(self, request: httpx.Request, read: _BodyReader) -> HttpResponse:
        """Send a request and have the body of its answer read; gives the head of the answer."""
        host = request.url.host
        response: httpx.Response | None = None
        try:
            response = await self._client.send(request, stream=True)
            try:
                await read(response, _head(response))
            finally:
                await response.aclose()
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError) as error:
            raise NetworkError(
                f"No connection to {host} could be made ({_reason(error)}).",
                hint="Check the network and the base URL; nothing was sent.",
                never_sent=True,
            ) from None
        except httpx.HTTPError as error:
            # An error is told by its status, whatever became of its body.
            if response is None or response.status_code < 400:
                raise _lost(error, host, self._timeout_s, response) from None
        return _head(response)

    async def _read(self, response: httpx.Response, take: Callable[[bytes], object]) -> None:
        """The body, decompressed, piece by piece; given up as soon as it is larger than allowed."""
        size = 0
        async for piece in response.aiter_bytes():
            size += len(piece)
            if size > self._max_response_bytes:
                raise _too_large(self._max_response_bytes)
            take(piece)

    async def _read_events(self, response: httpx.Response, head: HttpResponse, on_event: EventHandler) -> None:
        """The events of the body, one by one; given up as soon as all of it is larger than allowed."""
        reader, size = EventReader(), 0
        async for chunk in response.aiter_bytes():
            size += len(chunk)
            if size > self._max_response_bytes:
                raise _too_large(self._max_response_bytes)
            for data in reader.feed(chunk):
                await _tell(on_event, head, data)
        for data in reader.end():
            await _tell(on_event, head, data)


async def _tell(on_event: EventHandler, head: HttpResponse, data: bytes) -> None:
    if data != _LAST_WORD:
        await on_event(head, data)


def _head(response: httpx.Response) -> HttpResponse:
    headers = {name.lower(): value for name, value in response.headers.items()}
    return HttpResponse(response.status_code, headers, b"", time.time())


def _lost(error: httpx.HTTPError, host: str, timeout_s: float, response: httpx.Response | None) -> ProviderError:
    """What was sent and not wholly answered."""
    kind: type[ProviderError] = NetworkError
    message = f"The connection to {host} was lost ({_reason(error)})."
    if isinstance(error, httpx.TimeoutException):
        kind, message = TimedOutError, f"{host} gave no answer within {timeout_s:g} s."
    elif isinstance(error, httpx.DecodingError):
        kind, message = InvalidResponseError, f"The answer of {host} cannot be decompressed."
    return kind(
        message,
        hint=_MAY_BE_BILLED,
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
        hint="It may have been billed. Raise max_response_bytes in invokeai_external.yaml if it is right.",
        may_be_billed=True,
    )
