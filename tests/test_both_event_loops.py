"""The service on asyncio and on trio: every primitive of anyio that it uses, on both."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import httpx
import pytest

from invokeai_external import (
    GenerationRequest,
    NetworkError,
    Preview,
    Progress,
    Received,
    Retrying,
    Sending,
    Service,
    ServiceStateError,
    Settings,
    TimedOutError,
    generate_sync,
    load_settings,
)
from invokeai_external.service import image_checks
from invokeai_external.service import listing as listing_module
from invokeai_external.transport.client import Transport
from invokeai_external.transport.messages import HttpRequest

from .support.clock import Clock
from .support.raw_server import HOLD, RawServer, answer, events
from .support.samples import encoded, noisy

pytestmark = pytest.mark.anyio

OPENAI = "openai/gpt-image-2.5-flare"
GEMINI = "gemini/gemini-nano-banana-2.1"
FILE = encoded(noisy((64, 64)), "PNG")
TEXT = base64.b64encode(FILE).decode()
RESPONSE = {"data": [{"b64_json": TEXT}]}
RED_FOX = GenerationRequest(model=OPENAI, prompt="a red fox")

Handler = Callable[[httpx.Request], Any]


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    keys = {f"INVOKEAI_EXTERNAL_{name}_API_KEY": "sk-1234567890" for name in ("OPENAI", "GEMINI")}
    (tmp_path / "invokeai_external.yaml").write_text("settings:\n  concurrency: 2\n")
    return load_settings(tmp_path, keys)


class Client(httpx.AsyncClient):
    """A client whose responses come from a function, which may be async."""

    def __init__(self, handle: Handler) -> None:
        super().__init__(transport=httpx.MockTransport(handle))


def cancelling(scope: anyio.CancelScope) -> Handler:
    async def never(_: httpx.Request) -> httpx.Response:
        scope.cancel()
        await anyio.sleep_forever()
        raise AssertionError

    return never


async def test_calls_run_side_by_side_in_their_slots(settings: Settings) -> None:
    """A task group and a capacity limiter."""
    in_flight = most = 0
    is_full = anyio.Event()

    async def handle(_: httpx.Request) -> httpx.Response:
        nonlocal in_flight, most
        in_flight += 1
        most = max(most, in_flight)
        if in_flight == 2:
            is_full.set()
        await is_full.wait()
        in_flight -= 1
        part = {"inlineData": {"mimeType": "image/png", "data": TEXT}}
        return httpx.Response(200, json={"candidates": [{"content": {"parts": [part]}, "finishReason": "STOP"}]})

    async with Client(handle) as client, Service(settings, http_client=client) as service:
        result = await service.generate(GenerationRequest(model=GEMINI, prompt="a red fox", n=6))
    assert (len(result.images), most) == (6, 2)


async def test_a_failed_call_waits_and_is_sent_again(settings: Settings) -> None:
    """A sleep that is injected."""
    statuses, clock, seen = [429, 200], Clock(), list[Progress]()
    async with (
        Client(lambda _: httpx.Response(statuses.pop(0), json=RESPONSE)) as client,
        Service(settings, http_client=client, clock=clock, sleep=clock.sleep) as service,
    ):
        assert (await service.generate(RED_FOX, seen.append)).images
    assert [type(event) for event in seen] == [Sending, Retrying, Sending, Received]
    assert len(clock.waits) == 1


async def test_edits_are_planned_and_built_in_threads(settings: Settings) -> None:
    """Threads with limiters."""
    sent: list[bytes] = []

    async def handle(request: httpx.Request) -> httpx.Response:
        sent.append(await request.aread())
        return httpx.Response(200, json=RESPONSE)

    async with Client(handle) as client, Service(settings, http_client=client) as service:
        for _ in range(2):
            edit = GenerationRequest(model=OPENAI, prompt="a red fox", init_image=FILE, references=[FILE])
            assert (await service.generate(edit)).images
    assert [body.count(FILE) for body in sent] == [2, 2]


async def test_a_long_request_is_encoded_in_a_thread() -> None:
    text = "x" * 1_000_000
    with RawServer(answer(b"{}")) as server:
        async with Transport(timeout_s=10, max_response_bytes=1_000_000) as transport:
            assert (await transport.send(HttpRequest(url=server.url, json={"prompt": text}), {})).is_success
    assert json.loads(server.requests[0].body) == {"prompt": text}


async def test_cancelling_ends_a_call_in_flight(settings: Settings) -> None:
    """A cancel scope around a task group."""
    seen: list[Progress] = []
    with anyio.CancelScope() as scope:
        async with Client(cancelling(scope)) as client, Service(settings, http_client=client) as service:
            await service.generate(RED_FOX, seen.append)
    assert scope.cancelled_caught
    assert [type(event) for event in seen] == [Sending]


async def test_what_has_arrived_is_handed_over_though_the_request_is_cancelled(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shielded cancel scope around a thread."""
    check, seen = image_checks.arrived_images, list[Progress]()
    with anyio.CancelScope() as scope:

        def cancel_and_check(*given: Any) -> Any:
            anyio.from_thread.run_sync(scope.cancel)
            return check(*given)

        monkeypatch.setattr(image_checks, "arrived_images", cancel_and_check)
        async with (
            Client(lambda _: httpx.Response(200, json=RESPONSE)) as client,
            Service(settings, http_client=client) as service,
        ):
            await service.generate(RED_FOX, seen.append)
            await anyio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    assert [type(event) for event in seen] == [Sending, Received]


async def test_what_on_progress_raises_ends_the_calls(settings: Settings) -> None:
    """A task group whose scope is cancelled from within."""

    def fail(_: Progress) -> None:
        raise KeyboardInterrupt

    async with (
        Client(lambda _: httpx.Response(200, json=RESPONSE)) as client,
        Service(settings, http_client=client) as service,
    ):
        with pytest.raises(KeyboardInterrupt):
            await service.generate(GenerationRequest(model=GEMINI, prompt="a fox", n=3), fail)
        assert (await service.generate(RED_FOX)).images


async def test_images_behind_urls_are_fetched_side_by_side(settings: Settings) -> None:
    """A task group within a time limit, and a sleep that is injected."""
    clock = Clock()
    asked: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return httpx.Response(200, json={"data": [{"url": f"https://images.example/{i}.png"} for i in range(2)]})
        asked.append(request.url.path)
        return httpx.Response(404 if len(asked) <= 2 else 200, content=FILE + request.url.path.encode())

    async with (
        Client(handle) as client,
        Service(settings, http_client=client, clock=clock, sleep=clock.sleep) as service,
    ):
        result = await service.generate(GenerationRequest(model=OPENAI, prompt="a fox", n=2))
    assert (len(result.images), result.errors) == (2, ())
    assert sorted(asked) == ["/0.png", "/0.png", "/1.png", "/1.png"]


async def test_a_stream_shows_previews_and_ends_with_its_image(settings: Settings) -> None:
    """A cancel scope with a deadline on the clock of the event loop: the server never ends its stream."""
    last = {"type": "image_generation.completed", "b64_json": TEXT, "usage": {"total_tokens": 1}}
    preview = {"type": "image_generation.partial_image", "b64_json": TEXT, "partial_image_index": 0}

    class Endless(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            for event in (preview, last):
                yield b"data: %b\n\n" % json.dumps(event).encode()
            await anyio.sleep_forever()

    seen: list[Progress] = []
    stream = httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=Endless())
    async with Client(lambda _: stream) as client, Service(settings, http_client=client) as service:
        result = await service.generate(GenerationRequest(model=OPENAI, prompt="a fox", previews=1), seen.append)
    assert [image.data for image in result.images] == [FILE]
    assert [type(event) for event in seen] == [Sending, Preview, Received]


async def test_a_request_that_takes_too_long_in_all_is_given_up() -> None:
    with RawServer(HOLD) as server:
        async with Transport(timeout_s=10, total_timeout_s=0.05, max_response_bytes=1000) as transport:
            with pytest.raises(TimedOutError):
                await transport.send(HttpRequest(url=server.url, json={}), {})


async def test_a_head_that_has_begun_and_does_not_end_is_given_up() -> None:
    """A network backend of httpcore that reports its reads."""
    with RawServer(b"HTTP/1.1 200 OK\r\n", HOLD) as server:
        async with Transport(timeout_s=10, head_timeout_s=0.05, max_response_bytes=1000) as transport:
            with pytest.raises(TimedOutError):
                await transport.send(HttpRequest(url=server.url, json={}), {})


async def test_a_stream_on_a_real_connection_ends_with_its_last_event() -> None:
    told: list[object] = []

    async def on_event(event: Any) -> float | None:
        told.append(event.document)
        return 0.0

    with RawServer(events(json.dumps(RESPONSE).encode()), HOLD) as server:
        async with Transport(timeout_s=10, max_response_bytes=1_000_000) as transport:
            await transport.send(HttpRequest(url=server.url, json={}), {}, on_event)
    assert told == [{"data": [{"b64_json": FILE}]}]


async def test_a_connection_test_has_a_time_limit(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """``fail_after``."""
    monkeypatch.setattr(listing_module, "_TIMEOUT_S", 0.05)

    async def never(_: httpx.Request) -> httpx.Response:
        await anyio.sleep_forever()
        raise AssertionError

    async with Client(never) as client, Service(settings, http_client=client) as service:
        with pytest.raises(NetworkError):
            await service.check_connection("openai")


async def test_the_sandbox_runs_in_process(settings: Settings) -> None:
    async with Service(settings, sandbox=True) as service:
        assert (await service.generate(RED_FOX)).images


async def test_generate_sync_works_inside_a_running_loop(settings: Settings) -> None:
    """A portal."""
    assert generate_sync(RED_FOX, settings=settings, sandbox=True).images


@pytest.mark.parametrize("other", ["asyncio", "trio"])
def test_a_service_belongs_to_one_event_loop(other: str, anyio_backend: str, settings: Settings) -> None:
    """A variable of the event loop."""
    service = Service(settings, sandbox=True)
    assert anyio.run(service.generate, RED_FOX, backend=anyio_backend).images
    with pytest.raises(ServiceStateError):
        anyio.run(service.generate, RED_FOX, backend=other)
