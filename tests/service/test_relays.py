"""What relays omit, and what they never end."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import anyio
import anyio.from_thread
import anyio.lowlevel
import pytest
from PIL import Image

from invokeai_external.errors import InvalidResponseError, NetworkError, RejectedRequestError, UnavailableError
from invokeai_external.progress import Progress, Received, Sending
from invokeai_external.result import GenerationResult
from invokeai_external.service import calls as calls_module

from ..support.raw_server import HOLD, RESET, RawServer, Step, answer, chunk, chunked, events
from .common import ANSWER, GEMINI, MODELS, OPENAI, PNG_1X1, candidate, generate, relay, settings_of

pytestmark = pytest.mark.anyio


GEMINI_IMAGE = {"inlineData": {"mimeType": "image/png", "data": PNG_1X1}}


GEMINI_USAGE = {
    "promptTokenCount": 5,
    "candidatesTokenCount": 1120,
    "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1120}],
}


COMPLETED = json.dumps({"type": "image_generation.completed", "b64_json": PNG_1X1}).encode()


async def relayed(tmp_path: Path, model: str, *said: Step, previews: int = 0) -> GenerationResult:
    with anyio.fail_after(30), RawServer(*said) as server:
        result = await generate(relay(settings_of(tmp_path), server.url), model, previews=previews)
        assert len(server.requests) == 1
    assert [image.data for image in result.images] == [base64.b64decode(PNG_1X1)]
    return result


COMPRESSION: dict[str, dict[str, int]] = {
    "PNG": {"compress_level": 0},
    "JPEG": {"quality": 100},
    "WEBP": {"quality": 100},
}


ANSWER_BODY = json.dumps(ANSWER).encode()


WHOLE = candidate(GEMINI_IMAGE, finishReason="STOP", usage=GEMINI_USAGE)


def is_cut_short(result: GenerationResult) -> bool:
    return "answer_cut_short" in [notice.code for notice in result.notices]


@pytest.mark.parametrize("ends", [(), (RESET,), (chunk(b""),), (chunk(b'data: {"candi'),), (chunk(b"data: {}{}\n\n"),)])
async def test_a_complete_image_counts_though_its_stream_broke_off(ends: tuple[Step, ...], tmp_path: Path) -> None:
    """Also where the stream says nothing of its end, or something that cannot be read comes behind the image."""
    result = await relayed(tmp_path, GEMINI, events(candidate(GEMINI_IMAGE)), *ends, previews=1)
    assert is_cut_short(result)
    assert result.cost_usd is None


async def test_a_stream_that_broke_off_before_its_image_is_lost(tmp_path: Path) -> None:
    server = RawServer(events(candidate({"text": "Here it "}), candidate({"text": "is"})))
    with server, pytest.raises(NetworkError) as caught:
        await generate(relay(settings_of(tmp_path), server.url), GEMINI, previews=1)
    assert caught.value.may_be_billed


@pytest.mark.parametrize(
    ("model", "body"), [(OPENAI, json.dumps(ANSWER).encode()), (GEMINI, candidate(GEMINI_IMAGE, finishReason="STOP"))]
)
async def test_complete_json_counts_though_its_transfer_did_not_end(model: str, body: bytes, tmp_path: Path) -> None:
    for said in (chunked(body), answer(body, content_length=len(body) + 2)):
        result = await relayed(tmp_path, model, said)
        assert is_cut_short(result)
        assert "answer_cut_short" in [n["code"] for n in result.images[0].metadata["external"]["notices"]]  # type: ignore[index]
    assert not is_cut_short(await relayed(tmp_path, model, answer(body)))


@pytest.mark.parametrize(
    ("model", "body", "end"),
    [
        (OPENAI, json.dumps({**ANSWER, "usage": {"input_tokens": 50}}).encode(), b"_tokens"),
        (GEMINI, candidate(GEMINI_IMAGE, finishReason="STOP"), b"finishReason"),
    ],
)
async def test_a_complete_image_counts_though_the_json_ends_behind_it(
    model: str, body: bytes, end: bytes, tmp_path: Path
) -> None:
    cut = body[: body.rindex(end)]
    for said in (answer(cut), answer(cut, content_length=len(body)), chunked(cut)):
        result = await relayed(tmp_path, model, said)
        assert is_cut_short(result)
        assert result.cost_usd is None


async def test_the_images_before_one_that_is_cut_off_count(tmp_path: Path) -> None:
    body = json.dumps({"data": [{"b64_json": PNG_1X1}] * 2}).encode()[:-10]
    with RawServer(answer(body, content_length=len(body) + 10)) as server:
        result = await generate(relay(settings_of(tmp_path), server.url), OPENAI, n=2)
        assert len(server.requests) == 1
    assert [image.data for image in result.images] == [base64.b64decode(PNG_1X1)]
    assert is_cut_short(result)
    assert [error.may_be_billed for error in result.errors] == [True]


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (OPENAI, [COMPLETED]),
        (OPENAI, [COMPLETED, b"[DONE]"]),
        (GEMINI, [candidate(GEMINI_IMAGE, finishReason="STOP", usage=GEMINI_USAGE)]),
        (GEMINI, [candidate(GEMINI_IMAGE, usage=GEMINI_USAGE), candidate(finishReason="STOP")]),
        (GEMINI, [candidate(GEMINI_IMAGE), candidate(finishReason="STOP"), candidate(usage=GEMINI_USAGE)]),
        (GEMINI, [candidate(GEMINI_IMAGE, finishReason="STOP"), b"[DONE]"]),
    ],
)
async def test_a_stream_ends_with_its_image_though_the_connection_stays_open(
    model: str, said: list[bytes], tmp_path: Path
) -> None:
    result = await relayed(tmp_path, model, events(*said), HOLD, previews=1)
    assert not is_cut_short(result)
    if b"usageMetadata" in b"".join(said):
        assert result.cost_usd is not None


async def test_token_counts_that_never_arrive_are_not_waited_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls_module, "_USAGE_WAIT_S", 0.2)
    said = events(candidate(GEMINI_IMAGE), candidate(finishReason="STOP"))
    result = await relayed(tmp_path, GEMINI, said, HOLD, previews=1)
    assert (is_cut_short(result), result.cost_usd) == (False, None)


async def test_a_gateway_that_says_in_every_event_that_it_is_done_is_read_to_the_end(tmp_path: Path) -> None:
    words = [candidate({"text": word}, finishReason="STOP", usage=GEMINI_USAGE) for word in ("Here ", "it is")]
    said = chunk(b"data: %b\n\n" % candidate(GEMINI_IMAGE, finishReason="STOP", usage=GEMINI_USAGE))
    assert not is_cut_short(await relayed(tmp_path, GEMINI, events(*words), 0.3, said, HOLD, previews=1))


@MODELS
async def test_heartbeats_lose_no_image(model: str, tmp_path: Path) -> None:
    image = COMPLETED if model == OPENAI else candidate(GEMINI_IMAGE, finishReason="STOP", usage=GEMINI_USAGE)
    said = events(b"", b"keep-alive", b"ping", image, b"", b"keep-alive")
    await relayed(tmp_path, model, said, chunk(b": ping\n\n"), HOLD, previews=1)


# What a body is counts, and not what it is said to be.

JSON, EVENTS = "application/json", "text/event-stream"
IMAGES = {
    OPENAI: [
        (ANSWER_BODY, "in one piece"),
        (b"data: %b\n\n" % COMPLETED, "an event"),
        (b": ping\n\nevent: image_generation.completed\ndata: %b\n\ndata: [DONE]\n\n" % COMPLETED, "named events"),
        (b"data: %b\n\n" % ANSWER_BODY, "a whole response in an event"),
        (b'data: {"b64_json": "%b"}\n\n' % PNG_1X1.encode(), "an event without a type"),
        (b" \r\n\n%b" % ANSWER_BODY, "behind spaces"),
    ],
    GEMINI: [
        (WHOLE, "in one piece"),
        (b"data: %b\n\n" % WHOLE, "an event"),
        (b"\n\ndata: %b\n\ndata: %b\n\n" % (candidate(GEMINI_IMAGE), candidate(finishReason="STOP")), "two events"),
        (b"[%b,\n%b]" % (candidate(GEMINI_IMAGE), candidate(finishReason="STOP")), "a list"),
        (b"\n\n\n%b" % WHOLE, "behind spaces"),
    ],
}


@pytest.mark.parametrize("previews", [0, 1])
@pytest.mark.parametrize("media_type", [JSON, EVENTS, "text/plain"])
@pytest.mark.parametrize(("model", "body"), [(model, body) for model, bodies in IMAGES.items() for body, _ in bodies])
async def test_a_response_is_read_as_what_it_is(
    model: str, body: bytes, media_type: str, previews: int, tmp_path: Path
) -> None:
    said = answer(body, content_type=media_type)
    assert not is_cut_short(await relayed(tmp_path, model, said, previews=previews))
    # The same in pieces of one byte: what it is shows late.
    if len(body) < 1000:
        pieces = [bytes([byte]) for byte in body]
        await relayed(tmp_path, model, chunked(*pieces, content_type=media_type), chunk(b""), previews=previews)


@MODELS
async def test_a_stream_that_nobody_asked_for_shows_no_previews(model: str, tmp_path: Path) -> None:
    thought = {**GEMINI_IMAGE, "thought": True}
    partial = json.dumps({"type": "image_generation.partial_image", "b64_json": PNG_1X1}).encode()
    said = events(*([partial, COMPLETED] if model == OPENAI else [candidate(thought), WHOLE]))
    seen: list[Progress] = []
    with anyio.fail_after(30), RawServer(said, chunk(b"")) as server:
        await generate(relay(settings_of(tmp_path), server.url), model, seen=seen)
    assert [type(event) for event in seen] == [Sending, Received]


PRETTY = json.dumps({"error": {"code": 503, "message": "The model is overloaded", "status": "UNAVAILABLE"}}, indent=2)


@pytest.mark.parametrize("ends", [b"", b"\n", b"\n\n"])
@pytest.mark.parametrize("before", [b"", b"data: {}\n\n", b": ping\n\n", b"data: {}\n"])
@MODELS
async def test_an_error_behind_the_events_of_a_stream_is_that_error(
    model: str, before: bytes, ends: bytes, tmp_path: Path
) -> None:
    said = chunked(before + PRETTY.encode() + ends, content_type=EVENTS)
    with anyio.fail_after(30), RawServer(said, chunk(b"")) as server, pytest.raises(UnavailableError) as caught:
        await generate(relay(settings_of(tmp_path), server.url), model, previews=1)
    assert "The model is overloaded" in caught.value.message
    assert len(server.requests) == 1


@MODELS
async def test_an_error_behind_the_image_does_not_lose_it(model: str, tmp_path: Path) -> None:
    image = COMPLETED if model == OPENAI else candidate(GEMINI_IMAGE)
    await relayed(tmp_path, model, events(image), chunk(PRETTY.encode()), chunk(b""), previews=1)


@MODELS
async def test_an_error_response_in_the_form_of_events_is_quoted(model: str, tmp_path: Path) -> None:
    body = b'event: error\ndata: {"error": {"message": "No such size"}}\n\n'
    with RawServer(answer(body, 400, content_type=EVENTS)) as server, pytest.raises(RejectedRequestError) as caught:
        await generate(relay(settings_of(tmp_path), server.url), model)
    assert caught.value.message.endswith(": No such size.")


@MODELS
@pytest.mark.parametrize("previews", [0, 1])
@pytest.mark.parametrize(
    ("kind", "format_name"), [("image/png", "PNG"), ("image/jpeg", "JPEG"), ("image/webp", "WEBP")]
)
async def test_a_body_that_is_the_image_itself_is_used(
    model: str, previews: int, kind: str, format_name: str, tmp_path: Path
) -> None:
    file = io.BytesIO()
    # As many brackets, braces, commas and colons as no JSON may have.
    Image.frombytes("RGB", (500, 500), b"[{,:" * 187_500).save(file, format_name, **COMPRESSION[format_name])
    body = file.getvalue()
    for said in (answer(body, content_type=kind), answer(body, content_type="application/json"), chunked(body)):
        with RawServer(said) as server:
            result = await generate(relay(settings_of(tmp_path), server.url), model, previews=previews)
            assert len(server.requests) == 1
        assert [image.data for image in result.images] == [body]
        assert (result.cost_usd, result.images[0].mime_type) == (None, kind)


@MODELS
async def test_an_image_as_the_body_that_is_cut_off_is_lost(model: str, tmp_path: Path) -> None:
    body = base64.b64decode(PNG_1X1)
    with RawServer(answer(body[:-20], content_length=len(body))) as server, pytest.raises(NetworkError) as caught:
        await generate(relay(settings_of(tmp_path), server.url), model)
    assert caught.value.may_be_billed


async def test_thousands_of_images_that_are_small_are_used(tmp_path: Path) -> None:
    padded = {"inlineData": {"mimeType": "image/png", "data": PNG_1X1, "x": "A" * 5000}}
    body = candidate(*[padded] * 2000, finishReason="STOP", usage=GEMINI_USAGE)
    assert len(body) > 8 << 20
    with RawServer(answer(body)) as server:
        result = await generate(relay(settings_of(tmp_path), server.url), GEMINI)
    assert result.images[0].data == base64.b64decode(PNG_1X1)


@MODELS
@pytest.mark.parametrize("event", [b"{broken " + b"x" * 100, b'{"data": [', b"<html>" + b"x" * 100, b"\xff" * 100])
async def test_an_event_that_cannot_be_read_does_not_end_the_stream(model: str, event: bytes, tmp_path: Path) -> None:
    image = COMPLETED if model == OPENAI else candidate(GEMINI_IMAGE, finishReason="STOP", usage=GEMINI_USAGE)
    assert not is_cut_short(await relayed(tmp_path, model, events(event, image), HOLD, previews=1))
    with RawServer(events(event), chunk(b"")) as server, pytest.raises(InvalidResponseError, match="JSON") as caught:
        await generate(relay(settings_of(tmp_path), server.url), model, previews=1)
    assert (caught.value.may_be_billed, len(server.requests)) == (True, 1)
