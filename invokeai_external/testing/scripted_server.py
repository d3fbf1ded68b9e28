"""A server in process that responds as a script says, and records what it received."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import anyio
import httpx

__all__ = ["HANGS", "LOST", "NOT_CONNECTED", "Behaviour", "Received", "Response", "ScriptedServer"]


@dataclass(frozen=True, slots=True)
class Response:
    """A response: its status, its body and its headers."""

    status: int = 200
    body: bytes = field(default=b"", repr=False)
    headers: Mapping[str, str] = field(default_factory=lambda: {"content-type": "application/json"})


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What happens in place of a response."""

    name: str


NOT_CONNECTED = Behaviour("there is no connection")
LOST = Behaviour("the connection is lost after the request was received")
HANGS = Behaviour("there is never a response")


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it was received."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class ScriptedServer(httpx.AsyncBaseTransport):
    """The transport of an HTTP client that reaches this server only.

    Args:
        script: What happens to each request, in order; the last one happens to all that follow.

    Attributes:
        received: The requests.
        waiting: Is set while a request hangs.
    """

    def __init__(self, script: Iterable[Response | Behaviour]) -> None:
        self._script = list(script)
        self.received: list[Received] = []
        self.waiting = anyio.Event()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Respond to a request as the script says."""
        step = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        if step is NOT_CONNECTED:
            raise httpx.ConnectError("refused", request=request)
        body = b"".join([chunk async for chunk in request.stream])  # type: ignore[union-attr]
        self.received.append(Received(request.method, str(request.url), dict(request.headers), body))
        if step is LOST:
            raise httpx.RemoteProtocolError("closed", request=request)
        if isinstance(step, Response):
            return httpx.Response(step.status, headers=dict(step.headers), content=step.body, request=request)
        self.waiting.set()
        await anyio.sleep_forever()
        raise AssertionError
