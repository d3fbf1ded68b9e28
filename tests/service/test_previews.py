"""Previews, and the streams in which they arrive."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import httpx
import pytest
import respx

from invokeai_external.errors import (
    ContentBlockedError,
    InvalidResponseError,
    NetworkError,
    ProviderError,
    QuotaError,
    RateLimitedError,
    UnavailableError,
)
from invokeai_external.progress import Failed, Preview, Progress, Received, Retrying, Sending
from invokeai_external.request import GenerationRequest
from invokeai_external.service.service import Service
from invokeai_external.sizing import Size

from .common import (
    GEMINI,
    MODELS,
    OPENAI,
    PHOTO,
    Order,
    generate,
    marked_box,
    opened,
    png_file,
    received_calls,
    settings_of,
    with_hole,
)

pytestmark = pytest.mark.anyio


def previews_in(seen: list[Progress]) -> list[Preview]:
    return [event for event in seen if isinstance(event, Preview)]


@MODELS
async def test_previews_show_the_image_while_it_is_made_and_are_not_results(
    model: str, sandbox_url: str, tmp_path: Path
) -> None:
    seen: list[Progress] = []
    result = await generate(settings_of(tmp_path), model, seen=seen, previews=3)
    previews = previews_in(seen)
    # OpenAI sends fewer than requested, because the image is finished before the third.
    count, come, mime_type = (3, 2, "image/png") if model == OPENAI else (None, 1, "image/jpeg")
    assert [(p.call, p.calls, p.index, p.count) for p in previews] == [(1, 1, i, count) for i in range(1, come + 1)]
    assert all(opened(p.data).format is None and p.mime_type == mime_type for p in previews)
    assert [type(event) for event in seen] == [Sending, *[Preview] * len(previews), Received]
    (image,) = result.images
    assert image.data not in [p.data for p in previews]
    assert len(received_calls(sandbox_url)) == 1
    assert not [notice for notice in result.notices if notice.code == "option_dropped"]
    assert result.cost_usd is not None
    assert "preview" not in str(image.metadata)


async def test_a_streamed_gemini_image_equals_the_one_without_a_stream(sandbox_url: str, tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    streamed = await generate(settings, GEMINI, seed=7, previews=1)
    at_once = await generate(settings, GEMINI, seed=7)
    assert streamed.images[0].data == at_once.images[0].data
    assert streamed.usage == at_once.usage


@MODELS
async def test_a_preview_is_shown_as_soon_as_it_arrives(
    model: str, sandbox_url: str, order: Order, tmp_path: Path
) -> None:
    order(model, "slow_stream", seconds=0.3)
    seen: list[tuple[type[Progress], float]] = []
    async with Service(settings_of(tmp_path)) as service:
        request = GenerationRequest(model=model, prompt="a red fox", previews=1)
        await service.generate(request, lambda event: seen.append((type(event), anyio.current_time())))
    times = dict(seen)
    assert list(times) == [Sending, Preview, Received]
    assert times[Received] - times[Preview] > 0.25


async def test_each_partial_image_of_openai_is_billed(sandbox_url: str, tmp_path: Path) -> None:
    tokens = []
    for previews in (0, 2):
        result = await generate(settings_of(tmp_path), OPENAI, size=Size(1024, 1024), previews=previews)
        assert result.usage is not None
        assert result.usage.output_image_tokens is not None
        tokens.append(result.usage.output_image_tokens)
    assert tokens[1] - tokens[0] == 200


async def test_several_images_with_previews_are_a_call_each(sandbox_url: str, tmp_path: Path) -> None:
    seen: list[Progress] = []
    result = await generate(settings_of(tmp_path), OPENAI, seen=seen, n=2, previews=1)
    assert len(result.images) == len(received_calls(sandbox_url)) == 2
    assert sorted((p.call, p.calls, p.index) for p in previews_in(seen)) == [(1, 2, 1), (2, 2, 1)]


async def test_previews_of_an_edit_are_streamed_and_the_mask_still_holds(sandbox_url: str, tmp_path: Path) -> None:
    seen: list[Progress] = []
    asked: dict[str, Any] = {"init_image": png_file(PHOTO, "photo.png"), "mask": marked_box(), "previews": 2}
    (image,) = (await generate(settings_of(tmp_path), OPENAI, seen=seen, **asked)).images
    assert len(previews_in(seen)) == 2
    assert with_hole(opened(image.data)) == with_hole(PHOTO)


@MODELS
@pytest.mark.parametrize("fault", ["stream_refused", "stream_ignored"])
async def test_a_server_without_streams_still_gives_its_image(
    model: str, fault: str, sandbox_url: str, order: Order, tmp_path: Path
) -> None:
    order(model, fault)
    seen: list[Progress] = []
    async with Service(settings_of(tmp_path)) as service:
        request = GenerationRequest(model=model, prompt="a red fox", previews=2)
        for expected_calls in (2, 3) if fault == "stream_refused" else (1, 2):
            result = await service.generate(request, seen.append)
            assert len(result.images) == 1
            assert len(received_calls(sandbox_url)) == expected_calls
            assert [notice.code for notice in result.notices].count("option_dropped") == 1
    assert previews_in(seen) == []
    assert Failed not in [type(event) for event in seen]


async def test_after_a_refusal_for_another_reason_streams_are_requested_again(sandbox_url: str, tmp_path: Path) -> None:
    seen: list[Progress] = []
    async with Service(settings_of(tmp_path)) as service:
        with pytest.raises(ProviderError, match=r"\bgemini-9\b"):
            await service.generate(GenerationRequest(model="gemini/gemini-9", prompt="a red fox", previews=1))
        await service.generate(GenerationRequest(model=GEMINI, prompt="a red fox", previews=1), seen.append)
    assert len(previews_in(seen)) == 1


@pytest.mark.parametrize("fault", ["truncated_body", "truncated_json"])
async def test_an_image_counts_whatever_happens_to_the_events_after_it(
    fault: str, sandbox_url: str, order: Order, tmp_path: Path
) -> None:
    order(GEMINI, fault)
    result = await generate(settings_of(tmp_path), GEMINI, previews=2)
    assert len(result.images) == 1
    assert "answer_cut_short" in [notice.code for notice in result.notices]
    assert "answer_cut_short" in [n["code"] for n in result.images[0].metadata["external"]["notices"]]  # type: ignore[index]
    assert len(received_calls(sandbox_url)) == 1


@pytest.mark.parametrize(
    ("model", "fault", "params", "kind", "facts"),
    [
        (OPENAI, "stream_ends_early", {}, InvalidResponseError, []),
        (GEMINI, "stream_ends_early", {}, InvalidResponseError, []),
        (OPENAI, "no_image", {}, InvalidResponseError, []),
        (OPENAI, "truncated_body", {}, NetworkError, []),
        (OPENAI, "truncated_json", {}, InvalidResponseError, []),
        (OPENAI, "stream_error", {}, UnavailableError, []),
        (OPENAI, "stream_error", {"code": "rate_limit_exceeded"}, RateLimitedError, []),
        (OPENAI, "stream_error", {"code": "moderation_blocked"}, ContentBlockedError, []),
        (GEMINI, "stream_error", {}, UnavailableError, ["HTTP 503"]),
        (GEMINI, "stream_error", {"status": 429}, RateLimitedError, []),
        (OPENAI, "bad_base64", {}, InvalidResponseError, []),
        (GEMINI, "not_an_image", {}, InvalidResponseError, []),
        (GEMINI, "blocked_prompt", {}, ContentBlockedError, ["PROHIBITED_CONTENT"]),
        (OPENAI, "moderation", {"violation": "stream"}, ContentBlockedError, []),
        (OPENAI, "organization_not_verified", {}, QuotaError, []),
        (GEMINI, "refusal_text", {"text": "I cannot draw that."}, ContentBlockedError, ["I cannot draw that."]),
    ],
)
async def test_a_fault_in_a_stream_is_reported_and_nothing_is_sent_again(
    model: str,
    fault: str,
    params: dict[str, Any],
    kind: type[ProviderError],
    facts: list[str],
    sandbox_url: str,
    order: Order,
    tmp_path: Path,
) -> None:
    order(model, fault, **params)
    with pytest.raises(kind) as caught:
        await generate(settings_of(tmp_path), model, previews=2)
    assert type(caught.value) is kind
    assert [fact for fact in facts if fact not in str(caught.value)] == []
    assert (caught.value.provider, caught.value.model) == tuple(model.split("/"))
    assert len(received_calls(sandbox_url)) == 1


@MODELS
async def test_a_failure_before_a_stream_begins_is_retried(
    model: str, sandbox_url: str, order: Order, tmp_path: Path
) -> None:
    order(model, "rate_limited", seconds=0.02)
    seen: list[Progress] = []
    result = await generate(settings_of(tmp_path), model, seen=seen, previews=1)
    assert len(result.images) == 1
    assert [type(event) for event in seen] == [Sending, Retrying, Sending, Preview, Received]


async def test_a_stream_that_is_too_large_is_an_error(sandbox_url: str, tmp_path: Path) -> None:
    """Each event would be small enough; the limit is for all that comes."""
    event = b'data: {"type": "image_generation.partial_image", "b64_json": "' + b"A" * 400_000 + b'"}\n\n'
    answer = httpx.Response(200, headers={"content-type": "text/event-stream"}, content=event * 3)
    with respx.mock:
        route = respx.post(url__regex=r".*/images/generations").mock(return_value=answer)
        with pytest.raises(InvalidResponseError, match="1,000,000"):
            await generate(settings_of(tmp_path, max_response_bytes=1_000_000), OPENAI, previews=3)
    assert route.call_count == 1


async def test_a_preview_that_is_not_an_image_is_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sandbox_url: str
) -> None:
    from invokeai_external.sandbox import openai as sandbox_openai

    monkeypatch.setattr(sandbox_openai, "_previews", lambda *_: [b"no image", png_file(PHOTO, "x").data])
    seen: list[Progress] = []
    async with Service(settings_of(tmp_path), sandbox=True) as service:
        await service.generate(GenerationRequest(model=OPENAI, prompt="a red fox", previews=2), seen.append)
    assert [(p.index, p.count) for p in previews_in(seen)] == [(1, 2)]


async def test_more_previews_than_any_model_sends_are_not_shown(sandbox_url: str, tmp_path: Path) -> None:
    file = base64.b64encode(png_file(PHOTO, "x").data).decode()
    one = f'data: {{"type": "image_generation.partial_image", "b64_json": "{file}"}}\n\n'
    last = f'data: {{"type": "image_generation.completed", "b64_json": "{file}"}}\n\n'
    answer = httpx.Response(200, headers={"content-type": "text/event-stream"}, content=50 * one + last)
    seen: list[Progress] = []
    with respx.mock:
        respx.post(url__regex=r".*/images/generations").mock(return_value=answer)
        result = await generate(settings_of(tmp_path), OPENAI, seen=seen, previews=1)
    assert (len(previews_in(seen)), len(result.images)) == (40, 1)


@pytest.mark.parametrize("end", ["\r\n\r\ndata: [DONE]\r\n\r\n", "\r\n\r\n", "\r\n"])
async def test_a_stream_may_have_keep_alives_and_events_in_pieces(end: str, sandbox_url: str, tmp_path: Path) -> None:
    file = base64.b64encode(png_file(PHOTO, "x").data).decode()
    stream = (
        ": keep-alive\r\n\r\n"
        f'event: image_generation.partial_image\r\ndata: {{"type": "image_generation.partial_image",\r\n'
        f'data: "b64_json": "{file}"}}\r\n\r\n'
        f'data: {{"type": "image_generation.completed", "b64_json": "{file}"}}{end}'
    ).encode()

    class InPieces(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            for i in range(0, len(stream), 1000):
                yield stream[i : i + 1000]

    answer = httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=InPieces())
    seen: list[Progress] = []
    with respx.mock:
        respx.post(url__regex=r".*/images/generations").mock(return_value=answer)
        result = await generate(settings_of(tmp_path), OPENAI, seen=seen, previews=1)
    assert len(previews_in(seen)) == len(result.images) == 1


@pytest.mark.parametrize("error", [httpx.ReadError, httpx.ReadTimeout])
async def test_an_image_that_arrived_before_the_connection_was_lost_counts(
    error: type[httpx.TransportError], sandbox_url: str, tmp_path: Path
) -> None:
    file = base64.b64encode(png_file(PHOTO, "x").data).decode()

    class LostAtTheEnd(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield f'data: {{"type": "image_generation.completed", "b64_json": "{file}"}}\n\n'.encode()
            raise error("gone")

    answer = httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=LostAtTheEnd())
    with respx.mock:
        route = respx.post(url__regex=r".*/images/generations").mock(return_value=answer)
        result = await generate(settings_of(tmp_path), OPENAI, previews=1)
    assert len(result.images) == route.call_count == 1


async def test_a_stream_without_a_connection_is_retried(
    sandbox_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.random", lambda: 1.0)
    file = base64.b64encode(png_file(PHOTO, "x").data).decode()
    event = f'data: {{"type": "image_generation.completed", "b64_json": "{file}"}}\n\n'
    answer = httpx.Response(200, headers={"content-type": "text/event-stream"}, content=event.encode())
    seen: list[Progress] = []
    with respx.mock:
        route = respx.post(url__regex=r".*/images/generations").mock(side_effect=[httpx.ConnectError("no"), answer])
        await generate(settings_of(tmp_path), OPENAI, seen=seen, previews=1)
    assert route.call_count == 2
    assert [type(event) for event in seen] == [Sending, Retrying, Sending, Received]
