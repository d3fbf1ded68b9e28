"""Sends calls with one adapter to a scripted server, as the service does."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio.lowlevel
import httpx

from ..adapters.base import Adapter
from ..errors import ProviderError
from ..planning.plan import Call, plan
from ..providers.schema import ModelConfig
from ..request import GenerationRequest
from ..service.access import Access, shown
from ..service.calls import Caller, Position, Reply
from ..service.listing import listed_models
from ..service.retry_loop import Attempts
from ..transport.client import Transport
from ..transport.messages import HttpRequest
from ..transport.retry_policy import RetryPolicy
from .scripted_server import Behaviour, Response, ScriptedServer

__all__ = [
    *("BASE_URL", "KEY", "MOST_ATTEMPTS", "PROMPT", "SENT_ID"),
    *("Clock", "GoodResponse", "Kit", "Outcome", "response_of_sandbox"),
]

KEY = "conformance-key-0123456789abcdef"
BASE_URL = "https://api.conformance.example/base"
SENT_ID = "conformance-model-1"
PROMPT = 'A fox, *ink*; "quoted" {braces}\nsecond line: Füchse'
MOST_ATTEMPTS = 3

_MOST_BYTES = 100_000_000


@dataclass(frozen=True, slots=True)
class GoodResponse:
    """A response with one image, as the provider sends it.

    Attributes:
        body: Its body.
        image: The bytes of the image file in it.
        headers: Its headers.
        seed: The seed that it names, if any.
        cost_usd: The cost that it states, if any.
    """

    body: bytes = field(repr=False)
    image: bytes = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=lambda: {"content-type": "application/json"})
    seed: int | None = None
    cost_usd: float | None = None


@dataclass(slots=True)
class Clock:
    """Time that passes only while somebody sleeps."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await anyio.lowlevel.checkpoint()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a call: its reply or its error, what the server received, and how long was waited."""

    reply: Reply | None
    error: ProviderError | None
    server: ScriptedServer
    waited_s: float

    @property
    def sent(self) -> int:
        return len(self.server.received)

    @property
    def what(self) -> str:
        return f"{type(self.error).__name__ if self.error else 'an image'} after {self.sent} requests"


@dataclass(frozen=True, slots=True)
class Kit:
    """An adapter, a model that it is asked for, and a response of its provider."""

    adapter: Adapter
    model: ModelConfig
    good: GoodResponse
    errors: tuple[tuple[Response, type[ProviderError]], ...] = ()

    @property
    def good_response(self) -> Response:
        return Response(200, self.good.body, self.good.headers)

    @property
    def access(self) -> Access:
        return Access(self.adapter, BASE_URL, KEY, "the kit", ())

    def call(self, **request: Any) -> Call:
        """A call for one image."""
        return plan(GenerationRequest(prompt=PROMPT, model=self.model.reference, **request), self.model).calls[0]

    def built(self, **request: Any) -> HttpRequest:
        return self.adapter.with_headers(self.adapter.build(self.call(**request), BASE_URL))

    @asynccontextmanager
    async def client(self, server: ScriptedServer, total_timeout_s: float = 60) -> AsyncIterator[Transport]:
        async with (
            httpx.AsyncClient(transport=server) as client,
            Transport(
                timeout_s=60,
                total_timeout_s=total_timeout_s,
                max_response_bytes=_MOST_BYTES,
                http_client=client,
            ) as found,
        ):
            yield found

    @asynccontextmanager
    async def caller(
        self, server: ScriptedServer, clock: Clock, total_timeout_s: float = 60
    ) -> AsyncIterator[Callable[[], Coroutine[Any, Any, Reply]]]:
        """Sends a call to a server, as the service does."""
        policy = RetryPolicy(max_attempts=MOST_ATTEMPTS, max_wait_s=60)
        attempts = Attempts({self.adapter.provider.id: 4}, policy, clock, clock.sleep, lambda: None)
        async with self.client(server, total_timeout_s) as transport:
            caller = Caller(lambda _: transport, attempts, lambda _: "image/png")
            yield partial(caller.send, self.access, self.call(), Position(call=1, calls=1), lambda _: None)

    async def send(self, *script: Response | Behaviour) -> Outcome:
        """Send a call to a server with this script."""
        server, clock = ScriptedServer(script), Clock()
        reply = error = None
        async with self.caller(server, clock) as send:
            try:
                reply = await send()
            except ProviderError as failure:
                error = shown(failure, self.access)
        return Outcome(reply, error, server, clock.now)

    async def list_models(self, *script: Response | Behaviour) -> tuple[ProviderError | None, ScriptedServer]:
        """Ask for the list of models."""
        server = ScriptedServer(script)
        async with self.client(server) as transport:
            try:
                await listed_models(self.access, transport)
            except ProviderError as error:
                return error, server
        return None, server


async def response_of_sandbox(adapter: Adapter, model: ModelConfig) -> GoodResponse:
    """What the sandbox responds to a request of this wire format."""
    from ..sandbox import create_app

    base_url = f"https://sandbox.invalid/{adapter.sandbox_path}"
    call = plan(GenerationRequest(prompt=PROMPT, model=model.reference), model).calls[0]
    async with Transport(timeout_s=60, max_response_bytes=_MOST_BYTES, asgi_app=create_app()) as transport:
        response = await transport.send(adapter.build(call, base_url), adapter.auth_headers(KEY))
    image = adapter.parse(response, call).images[0].data
    assert image is not None
    document = _with_text(response.document) if response.document is not None else None
    body = response.body if document is None else json.dumps(document).encode()
    return GoodResponse(body, image, {"content-type": response.headers["content-type"]})


def _with_text(value: Any) -> Any:
    """A document whose images were decoded while it arrived, as it was sent."""
    if isinstance(value, Mapping):
        return {name: _with_text(below) for name, below in value.items()}
    if isinstance(value, list | tuple):
        return [_with_text(below) for below in value]
    return base64.b64encode(value).decode() if isinstance(value, bytes | bytearray | memoryview) else value
