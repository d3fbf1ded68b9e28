"""Streams of both providers: the request, the content of each event, and how a stream ends."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from invokeai_external.adapters.base import Adapter, Answer, StreamEvent
from invokeai_external.adapters.gemini import GeminiAdapter
from invokeai_external.adapters.openai_images import OpenAIImagesAdapter
from invokeai_external.errors import (
    ContentBlockedError,
    InvalidResponseError,
    ProviderError,
    QuotaError,
    RateLimitedError,
    UnavailableError,
)
from invokeai_external.planning.plan import Call
from invokeai_external.providers import catalog
from invokeai_external.transport.retry_policy import RetryPolicy, seconds_before_retry
from invokeai_external.untrusted_text import fit_to_show

from .conftest import PNG, PNG_BASE64, call_image, make_call, make_response

OPENAI, GEMINI = OpenAIImagesAdapter(catalog.page("openai").provider), GeminiAdapter(catalog.page("gemini").provider)
OPENAI_CALL = make_call("openai/gpt-image-2", previews=2)
GEMINI_CALL = make_call("gemini/gemini-nano-banana-2.1", previews=2)
HEAD = make_response(b"", headers={"content-type": "text/event-stream; charset=utf-8", "x-request-id": "req_7"})
BOTH = pytest.mark.parametrize(("provider", "call"), [(OPENAI, OPENAI_CALL), (GEMINI, GEMINI_CALL)], ids=["O", "G"])

USAGE = {"input_tokens": 5, "input_tokens_details": {"text_tokens": 5, "image_tokens": 0}, "output_tokens": 300}
GOOGLE_USAGE = {
    "promptTokenCount": 5,
    "candidatesTokenCount": 1124,
    "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1120}],
}
IMAGE = {"inlineData": {"mimeType": "image/png", "data": PNG_BASE64}}
THOUGHT = {**IMAGE, "thought": True}


def data(event: object) -> bytes:
    return event if isinstance(event, bytes) else json.dumps(event).encode()


def read(provider: Adapter, call: Call, *events: object) -> list[StreamEvent]:
    return [provider.read_event(replace(HEAD, body=data(event)), call) for event in events]


def joined(provider: Adapter, call: Call, *events: object) -> Answer:
    bodies = [event.body for event in read(provider, call, *events) if event.body is not None]
    return provider.join_events(bodies, HEAD, call)


def chunk(*parts: object, **candidate: object) -> dict[str, Any]:
    return {"candidates": [{"content": {"parts": list(parts), "role": "model"}, **candidate}], "responseId": "r1"}


def test_the_request_to_openai_has_the_number_of_partial_images() -> None:
    asked = OPENAI.build(OPENAI_CALL, "https://x.test/v1").json
    assert asked is not None
    assert (asked["stream"], asked["partial_images"]) == (True, 2)
    edit = make_call("openai/gpt-image-2", previews=3, references=(call_image(),))
    form = OPENAI.build(edit, "https://x.test/v1").form
    assert (form["stream"], form["partial_images"]) == ("true", "3")


@pytest.mark.parametrize("options", [{}, {"thinking_level": "high"}])
def test_the_request_to_gemini_is_for_events_with_thoughts(options: dict[str, Any]) -> None:
    request = GEMINI.build(make_call("gemini/gemini-nano-banana-2.1", previews=1, options=options), "https://x.test/v1")
    assert request.url == "https://x.test/v1/models/gemini-nano-banana-2.1:streamGenerateContent?alt=sse"
    assert request.json is not None
    level = {"thinkingLevel": "HIGH"} if options else {}
    assert request.json["generationConfig"]["thinkingConfig"] == {**level, "includeThoughts": True}


@pytest.mark.parametrize("kind", ["image_generation", "image_edit"])
def test_openai_events_are_previews_and_then_the_response(kind: str) -> None:
    partial = {"type": f"{kind}.partial_image", "b64_json": PNG_BASE64, "partial_image_index": 0}
    completed = {"type": f"{kind}.completed", "b64_json": PNG_BASE64, "usage": USAGE}
    events = read(OPENAI, OPENAI_CALL, partial, completed, {"type": "new.kind"}, {"error": None}, [1, 2])
    answer = StreamEvent(body=completed, has_image=True, is_last=True, has_usage=True)
    assert events == [StreamEvent((PNG,)), answer, *[StreamEvent()] * 3]
    whole = make_response({"data": [{"b64_json": PNG_BASE64}], "usage": USAGE}, headers=HEAD.headers)
    assert joined(OPENAI, OPENAI_CALL, partial, completed) == OPENAI.parse(whole, OPENAI_CALL)


@pytest.mark.parametrize(
    "beside", [{"detail": "high"}, {"errors": ["a warning"]}, {"error": {"message": "x", "code": 503}}]
)
def test_an_image_is_used_whatever_is_beside_it(beside: dict[str, Any]) -> None:
    completed = {"type": "image_generation.completed", "b64_json": PNG_BASE64, **beside}
    assert [image.data for image in joined(OPENAI, OPENAI_CALL, completed).images] == [PNG]
    last = {**chunk(IMAGE, finishReason="STOP"), **beside}
    assert [image.data for image in joined(GEMINI, GEMINI_CALL, last).images] == [PNG]


def test_gemini_events_are_previews_and_parts_of_the_response() -> None:
    chunks = [
        chunk({"text": "I sketch.", "thought": True}, THOUGHT),
        chunk({"text": "Here is "}),
        chunk({"text": "the fox."}, IMAGE),
        {**chunk(finishReason="STOP"), "usageMetadata": GOOGLE_USAGE, "modelVersion": "m"},
    ]
    events = read(GEMINI, GEMINI_CALL, *chunks)
    assert [event.previews for event in events] == [(PNG,), (), (), ()]
    assert [event.has_image for event in events] == [False, False, True, False]
    assert [event.is_last for event in events] == [event.has_usage for event in events] == [False, False, False, True]
    whole = {
        **chunk({"text": "Here is the fox."}, IMAGE, finishReason="STOP"),
        "usageMetadata": GOOGLE_USAGE,
        "modelVersion": "m",
    }
    assert joined(GEMINI, GEMINI_CALL, *chunks) == GEMINI.parse(make_response(whole), GEMINI_CALL)


def test_an_image_from_gemini_is_used_even_if_the_stream_does_not_end() -> None:
    assert joined(GEMINI, GEMINI_CALL, chunk(THOUGHT), chunk(IMAGE)) == joined(
        GEMINI, GEMINI_CALL, chunk(IMAGE, finishReason="STOP")
    )


@BOTH
def test_a_preview_that_cannot_be_read_is_ignored(provider: Adapter, call: Call) -> None:
    broken = {"type": "image_edit.partial_image", "b64_json": "***"}
    broken |= chunk({"inlineData": {"data": "***"}, "thought": True}, {"text": "Hm.", "thought": True})
    assert read(provider, call, broken)[0].previews == ()


@pytest.mark.parametrize(
    ("provider", "call", "events"),
    [
        (OPENAI, OPENAI_CALL, []),
        (OPENAI, OPENAI_CALL, [{"type": "image_generation.partial_image", "b64_json": PNG_BASE64}]),
        (GEMINI, GEMINI_CALL, []),
        (GEMINI, GEMINI_CALL, [chunk(THOUGHT)]),
        (GEMINI, GEMINI_CALL, [chunk(THOUGHT), chunk({"text": "Here"})]),
        (GEMINI, GEMINI_CALL, [chunk({"inlineData": {"data": "***"}})]),
    ],
)
def test_a_stream_that_ends_early_is_an_error_that_is_never_retried(
    provider: Adapter, call: Call, events: Sequence[object]
) -> None:
    with pytest.raises(InvalidResponseError) as caught:
        joined(provider, call, *events)
    assert caught.value.may_be_billed
    assert "billed" in (caught.value.hint or "")
    assert (caught.value.status, caught.value.request_id, caught.value.model) == (200, "req_7", call.model.id)
    assert_final(caught.value)


def assert_final(error: ProviderError) -> None:
    """After the first event of a stream, there is no retry."""
    with pytest.raises(ProviderError):
        seconds_before_retry(error, attempt=1, waited_s=0, policy=RetryPolicy(), jitter=0)


def openai_error(code: str | None, message: str = "Too bad", **more: object) -> dict[str, object]:
    return {"type": "error", "error": {"message": message, "type": "x", "code": code, **more}}


def google_error(code: object, message: str = "Too bad", **more: object) -> dict[str, object]:
    return {"error": {"code": code, "message": message, **more}}


@pytest.mark.parametrize(
    ("provider", "call", "event", "kind", "quoted"),
    [
        (OPENAI, OPENAI_CALL, openai_error("moderation_blocked"), ContentBlockedError, ": Too bad"),
        (OPENAI, OPENAI_CALL, openai_error("rate_limit_exceeded"), RateLimitedError, ": Too bad"),
        (OPENAI, OPENAI_CALL, openai_error("insufficient_quota"), QuotaError, "insufficient_quota.*: Too bad"),
        (OPENAI, OPENAI_CALL, openai_error("server_error"), UnavailableError, ": Too bad"),
        (OPENAI, OPENAI_CALL, openai_error(None, message=""), UnavailableError, "no reason given"),
        (OPENAI, OPENAI_CALL, {"error": "Too bad"}, UnavailableError, ": Too bad"),
        (OPENAI, OPENAI_CALL, {"type": "error", "message": "Too bad"}, UnavailableError, ": Too bad"),
        (OPENAI, OPENAI_CALL, b"{", InvalidResponseError, "1 bytes"),
        (GEMINI, GEMINI_CALL, google_error(503), UnavailableError, "503.*: Too bad"),
        (GEMINI, GEMINI_CALL, google_error(429), RateLimitedError, ": Too bad"),
        (GEMINI, GEMINI_CALL, google_error(None), UnavailableError, ": Too bad"),
        (GEMINI, GEMINI_CALL, google_error(200, message=""), UnavailableError, "no reason given"),
        (GEMINI, GEMINI_CALL, b"{", InvalidResponseError, "1 bytes"),
    ],
)
def test_an_error_inside_a_stream_is_the_usual_error_and_final(
    provider: Adapter, call: Call, event: object, kind: type[ProviderError], quoted: str
) -> None:
    with pytest.raises(kind, match=quoted) as caught:
        read(provider, call, event)
    assert type(caught.value) is kind
    assert caught.value.status == 200
    assert_final(caught.value)


def test_a_stream_of_gemini_says_why_there_is_no_image() -> None:
    with pytest.raises(ContentBlockedError, match=r"\(SAFETY\)"):
        joined(GEMINI, GEMINI_CALL, {"promptFeedback": {"blockReason": "SAFETY"}})
    with pytest.raises(ContentBlockedError, match=r"\(IMAGE_SAFETY\): It is unsafe"):
        joined(GEMINI, GEMINI_CALL, chunk(THOUGHT), chunk(finishReason="IMAGE_SAFETY", finishMessage="It is unsafe"))
    with pytest.raises(ContentBlockedError, match="I cannot draw that"):
        joined(GEMINI, GEMINI_CALL, chunk({"text": "I cannot "}), chunk({"text": "draw that."}, finishReason="STOP"))
    with pytest.raises(InvalidResponseError, match="no image"):
        joined(GEMINI, GEMINI_CALL, chunk({"text": "Hm.", "thought": True}, finishReason="STOP"))


def test_a_streamed_image_that_is_only_in_a_thought_is_the_result() -> None:
    first = {"inlineData": {"mimeType": "image/png", "data": "Zmlyc3Q="}, "thought": True}
    answer = joined(GEMINI, GEMINI_CALL, chunk(first), chunk(THOUGHT), chunk(finishReason="STOP"))
    assert [image.data for image in answer.images] == [PNG]
    assert [notice.code for notice in answer.notices] == ["thought_image"]
    answer = joined(GEMINI, GEMINI_CALL, chunk(first), chunk(IMAGE), chunk(THOUGHT), chunk(finishReason="STOP"))
    assert ([image.data for image in answer.images], answer.notices) == ([PNG], ())


@pytest.mark.parametrize(
    ("provider", "status", "body", "refuses"),
    [
        (OPENAI, 400, {"error": {"param": "stream", "message": "Unknown parameter"}}, True),
        (OPENAI, 400, {"error": {"param": None, "message": "partial_images: not supported"}}, True),
        (OPENAI, 422, {"detail": [{"loc": ["body", "stream"]}]}, True),
        (OPENAI, 400, {"error": {"param": "size", "message": "Bad size"}}, False),
        (OPENAI, 404, {"error": {"message": "no stream here"}}, False),
        (OPENAI, 500, {"error": {"message": "stream broke"}}, False),
        # A code is decisive, whatever the message is about.
        (OPENAI, 400, openai_error("moderation_blocked", "The image shows a stream of blood"), False),
        (OPENAI, 400, openai_error("content_filter", "A stream of blood"), False),
        (OPENAI, 400, openai_error("billing_hard_limit_reached", "No stream for you"), False),
        (OPENAI, 400, openai_error(None, "Your organization must be verified to stream this model."), False),
        (OPENAI, 400, openai_error("invalid_value", "Bad prompt: a stream", param="prompt"), False),
        (GEMINI, 404, {}, True),
        (GEMINI, 405, {}, True),
        (GEMINI, 400, google_error(400, "Unknown name streamGenerateContent"), True),
        (GEMINI, 400, google_error(400, "Thinking is not enabled"), True),
        (GEMINI, 400, google_error(400, "API key not valid"), False),
        (GEMINI, 400, google_error(400, "No streamGenerateContent", details=[{"reason": "API_KEY_INVALID"}]), False),
        (GEMINI, 400, google_error(400, "Spending cap reached for streams"), False),
        (GEMINI, 503, google_error(503, "stream broke"), False),
        (GEMINI, 200, {"text": "stream"}, False),
    ],
)
def test_responses_that_may_mean_that_a_server_does_not_support_streams(
    provider: Adapter, status: int, body: object, refuses: bool
) -> None:
    assert provider.refuses_stream(make_response(body, status)) is refuses


NAMES = "candidates content parts thought inlineData data text finishReason promptFeedback blockReason error code"
NAMES += " message type b64_json usage partial_image"
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["x.completed", "x.partial_image", "STOP"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES.split()), inner, max_size=4),
    max_leaves=12,
)


@BOTH
@settings(max_examples=150)
@given(events=st.lists(_JSON | st.binary(max_size=50), max_size=4))
def test_every_stream_becomes_an_image_or_an_error_that_can_be_shown(
    provider: Adapter, call: Call, events: list[object]
) -> None:
    try:
        outcome: Answer | ProviderError = joined(provider, call, *events)
    except ProviderError as error:
        outcome = error
    if isinstance(outcome, Answer):
        assert any(image.is_readable for image in outcome.images)
        return
    assert outcome.message == fit_to_show(outcome.message, len(outcome.message))
    assert outcome.status == 200
    assert_final(outcome)
