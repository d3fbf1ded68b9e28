"""What a cancellation ends, and what it does not lose."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import httpx
import pytest
import respx

from invokeai_external.adapters.openai_images import OpenAIImagesAdapter
from invokeai_external.progress import Preview, Progress, Received, Sending
from invokeai_external.request import GenerationRequest
from invokeai_external.service import image_checks
from invokeai_external.service.service import Service
from invokeai_external.transport import client, response_body
from invokeai_external.transport.blobs import BodyReader

from ..support.raw_server import HOLD, RawServer, Step, answer, chunked
from ..support.raw_server import Received as RawReceived
from .common import (
    ANSWER,
    GEMINI,
    MODELS,
    OPENAI,
    PHOTO,
    PNG_1X1,
    URL,
    Order,
    candidate,
    generate,
    marked_box,
    png_file,
    received_calls,
    relay,
    settings_of,
)

pytestmark = pytest.mark.anyio


class OddError(BaseException):
    """What no library expects."""


@MODELS
async def test_cancelling_ends_a_call_in_flight(model: str, sandbox_url: str, order: Order, tmp_path: Path) -> None:
    order(model, "slow", seconds=30)
    with anyio.move_on_after(0.2) as scope:
        await generate(settings_of(tmp_path), model)
    assert scope.cancelled_caught


async def test_cancelling_ends_a_wait(sandbox_url: str, order: Order, tmp_path: Path) -> None:
    order(OPENAI, "rate_limited", seconds=100)

    async def sleep(_: float) -> None:
        scope.cancel()
        await anyio.sleep_forever()

    with anyio.CancelScope() as scope:
        async with Service(settings_of(tmp_path), sleep=sleep) as service:
            await service.generate(GenerationRequest(model=OPENAI, prompt="a fox"))
    assert scope.cancelled_caught
    assert len(received_calls(sandbox_url)) == 1


async def test_an_error_of_on_progress_reaches_the_caller(sandbox_url: str, tmp_path: Path) -> None:
    class DiskFullError(Exception):
        pass

    def fail(_: Progress) -> None:
        raise DiskFullError

    async with Service(settings_of(tmp_path)) as service:
        with pytest.raises(DiskFullError):
            await service.generate(GenerationRequest(model=OPENAI, prompt="a fox"), fail)


async def test_fetched_images_are_handed_over_though_the_wait_for_the_rest_is_cancelled(
    tmp_path: Path, respx_mock: respx.MockRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = "https://images.example/1.png", "https://images.example/2.png"
    respx_mock.post(URL).mock(return_value=httpx.Response(200, json={"data": [{"url": first}, {"url": second}]}))
    respx_mock.get(first).mock(return_value=httpx.Response(200, content=base64.b64decode(PNG_1X1)))
    is_there = anyio.Event()
    seen: list[Progress] = []
    with anyio.CancelScope() as scope:

        async def never(_: httpx.Request) -> httpx.Response:
            await is_there.wait()
            scope.cancel()
            await anyio.sleep_forever()
            raise AssertionError

        respx_mock.get(second).mock(side_effect=never)
        async with Service(settings_of(tmp_path)) as service:
            fetch = service._transport.fetch

            async def fetch_and_tell(url: str, *more: Any) -> Any:
                response = await fetch(url, *more)
                is_there.set()
                return response

            monkeypatch.setattr(service._transport, "fetch", fetch_and_tell)
            await service.generate(GenerationRequest(model=OPENAI, prompt="a fox", n=2), seen.append)
    assert scope.cancelled_caught
    assert [type(event) for event in seen] == [Sending, Received]
    assert isinstance(seen[1], Received)
    assert [image.data for image in seen[1].images] == [base64.b64decode(PNG_1X1)]


@pytest.mark.parametrize("is_thought_alone", [False, True])
async def test_the_image_of_a_stream_is_handed_over_though_the_request_is_cancelled(
    is_thought_alone: bool, sandbox_url: str, tmp_path: Path
) -> None:
    part = {"inlineData": {"mimeType": "image/png", "data": PNG_1X1}}

    class NeverDone(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            if not is_thought_alone:
                yield b"data: %b\n\n" % candidate(part)
            yield b"data: %b\n\n" % candidate({**part, "thought": True}, finishReason="STOP")
            await anyio.sleep_forever()

    answer = httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=NeverDone())
    seen: list[Progress] = []
    with anyio.CancelScope() as scope:

        def cancel_at_the_preview(event: Progress) -> None:
            seen.append(event)
            if isinstance(event, Preview):
                scope.cancel()

        with respx.mock:
            respx.post(url__regex=r".*:streamGenerateContent").mock(return_value=answer)
            async with Service(settings_of(tmp_path)) as service:
                request = GenerationRequest(model=GEMINI, prompt="a red fox", previews=1)
                await service.generate(request, cancel_at_the_preview)
    assert scope.cancelled_caught
    assert [type(event) for event in seen] == [Sending, Preview, Received]


async def test_arrived_images_are_handed_over_though_the_request_is_cancelled(
    sandbox_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Progress] = []
    with anyio.CancelScope() as scope:
        async with Service(settings_of(tmp_path)) as service:
            look = image_checks.arrived_images

            def cancel_and_look(*arguments: Any) -> Any:
                anyio.from_thread.run_sync(scope.cancel)
                return look(*arguments)

            monkeypatch.setattr(image_checks, "arrived_images", cancel_and_look)
            request = GenerationRequest(
                model=OPENAI, prompt="a fox", init_image=png_file(PHOTO, "photo.png"), mask=marked_box()
            )
            await service.generate(request, seen.append)
    assert scope.cancelled_caught
    assert [type(event) for event in seen] == [Sending, Received]


@pytest.mark.parametrize(
    ("model", "body", "media_type", "previews"),
    [
        (OPENAI, b'{"data": [{"b64_json": "%b"}]}' % PNG_1X1.encode(), "application/json", 0),
        (OPENAI, b'{"data": [{"b64_json": "%b"}]}' % PNG_1X1.encode(), "application/json", 1),
        (OPENAI, b'data: {"type": ".completed", "b64_json": "%b"}\n' % PNG_1X1.encode(), "text/event-stream", 1),
    ],
)
async def test_a_complete_image_is_handed_over_though_the_request_is_cancelled_before_its_transfer_ends(
    model: str, body: bytes, media_type: str, previews: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces, seen = response_body.body_chunks, list[Progress]()
    with anyio.fail_after(30), anyio.CancelScope() as scope:

        async def cancelled_at_the_end(*given: Any) -> AsyncIterator[bytes]:
            came = 0
            async for piece in pieces(*given):
                yield piece
                came += len(piece)
                if came == len(body):
                    scope.cancel()

        monkeypatch.setattr(client, "body_chunks", cancelled_at_the_end)
        with RawServer(chunked(body, content_type=media_type), HOLD) as server:
            await generate(relay(settings_of(tmp_path), server.url), model, seen=seen, previews=previews)
    assert scope.cancelled_caught
    assert [type(event) for event in seen] == [Sending, Received]


@pytest.mark.parametrize(
    ("body", "events"),
    [
        (f'{{"data": [{{"b64_json": "{PNG_1X1}"}}, {{}}', [Sending, Received]),
        (f'{{"data": [{{"b64_json": "{PNG_1X1[:40]}', [Sending]),
    ],
)
async def test_a_cancellation_hands_over_the_complete_images_of_an_unfinished_response(
    body: str, events: list[type[Progress]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed, seen = BodyReader.feed, list[Progress]()
    with anyio.fail_after(30), anyio.CancelScope() as scope:

        def cancelled(self: BodyReader, piece: bytes) -> None:
            feed(self, piece)
            scope.cancel()

        monkeypatch.setattr(BodyReader, "feed", cancelled)
        with RawServer(chunked(body.encode()), HOLD) as server:
            await generate(relay(settings_of(tmp_path), server.url), OPENAI, seen=seen)
    assert scope.cancelled_caught
    assert [type(event) for event in seen] == events


@pytest.mark.parametrize("previews", [0, 1])
async def test_a_response_that_takes_long_to_parse_is_handed_over_though_the_request_is_cancelled(
    previews: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some servers escape letters of base64, which is read in a thread then."""
    body = json.dumps({**ANSWER, "rest": "x" * (1 << 17)}).replace(PNG_1X1, f"\\u0069{PNG_1X1[1:]}").encode()
    parse, seen = OpenAIImagesAdapter.parse, list[Progress]()
    with anyio.fail_after(30), anyio.CancelScope() as scope:

        def cancel_and_parse(*arguments: Any) -> Any:
            anyio.from_thread.run_sync(scope.cancel)
            return parse(*arguments)

        monkeypatch.setattr(OpenAIImagesAdapter, "parse", cancel_and_parse)
        with RawServer(answer(body)) as server:
            await generate(relay(settings_of(tmp_path), server.url), OPENAI, seen=seen, previews=previews)
    assert scope.cancelled_caught
    assert [type(event) for event in seen] == [Sending, Received]


@pytest.mark.parametrize(("missing", "seen_then"), [(0, [Sending, Received]), (20, [Sending])])
async def test_a_complete_fetched_image_is_handed_over_though_the_request_is_cancelled(
    missing: int, seen_then: list[type], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = base64.b64decode(PNG_1X1)
    pieces, seen = response_body.body_chunks, list[Progress]()
    said = image[: len(image) - missing]
    with anyio.fail_after(30), anyio.CancelScope() as scope:

        async def cancelled_at_the_end(*given: Any) -> AsyncIterator[bytes]:
            async for piece in pieces(*given):
                yield piece
                if piece == said:
                    scope.cancel()

        def script(request: RawReceived) -> list[Step]:
            if request.method == "POST":
                return [answer(b'{"data": [{"url": "/1.png"}]}')]
            return [answer(said, content_length=len(image) + 2), HOLD]

        monkeypatch.setattr(client, "body_chunks", cancelled_at_the_end)
        with RawServer(script=script) as server:
            await generate(relay(settings_of(tmp_path), server.url), OPENAI, seen=seen)
    assert scope.cancelled_caught
    assert [type(event) for event in seen] == seen_then


@pytest.mark.slow
@pytest.mark.parametrize("raised", [KeyboardInterrupt(), SystemExit(3), OddError(), ValueError("no"), GeneratorExit()])
@pytest.mark.parametrize("at", [Sending, Preview, Received])
async def test_whatever_on_progress_raises_reaches_the_caller_and_frees_the_slots(
    raised: BaseException, at: type[Progress], sandbox_url: str, tmp_path: Path
) -> None:
    def fail(event: Progress) -> None:
        if isinstance(event, at):
            raise raised

    async with Service(settings_of(tmp_path, concurrency=1)) as service:
        request = GenerationRequest(model=OPENAI, prompt="a fox", n=3, previews=1)
        with pytest.raises(BaseException) as caught:  # noqa: PT011 - which one is asserted below
            await service.generate(request, fail)
        assert caught.value is raised
        assert len((await service.generate(replace(request, n=1))).images) == 1


async def test_cancelling_in_the_middle_of_a_stream_ends_it(sandbox_url: str, tmp_path: Path) -> None:
    file = base64.b64encode(png_file(PHOTO, "x").data).decode()
    closed = anyio.Event()

    class NeverDone(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield f'data: {{"type": "image_generation.partial_image", "b64_json": "{file}"}}\n\n'.encode()
            await anyio.sleep_forever()

        async def aclose(self) -> None:
            closed.set()

    answer = httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=NeverDone())
    with respx.mock:
        respx.post(url__regex=r".*/images/generations").mock(return_value=answer)
        async with Service(settings_of(tmp_path)) as service, anyio.create_task_group() as group:
            seen: list[Progress] = []

            def stop_at_the_preview(event: Progress) -> None:
                seen.append(event)
                if isinstance(event, Preview):
                    group.cancel_scope.cancel()

            request = GenerationRequest(model=OPENAI, prompt="a red fox", previews=1)
            group.start_soon(service.generate, request, stop_at_the_preview)
    assert [type(event) for event in seen] == [Sending, Preview]
    assert closed.is_set()
