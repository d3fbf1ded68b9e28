"""Responses as they were recorded from the services, written by hand: the sandbox sends the same, with the same fields,
types and order of events, and the adapters read them as they are meant.

Only what was recorded is here. Image data, ids, times and texts are shortened.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from invokeai_external.adapters.base import Answer
from invokeai_external.adapters.find import adapter_of
from invokeai_external.errors import (
    ContentBlockedError,
    ModelRetiredError,
    ProviderError,
    QuotaError,
    RateLimitedError,
)
from invokeai_external.providers.registry import Registry
from invokeai_external.result import Usage

from ..golden.compare import shape
from ..providers.conftest import make_call, make_response
from ..support.clock import TODAY

Json = Any
JPEG = base64.b64encode(b"\xff\xd8\xff\xe0 a JPEG image").decode()
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n a PNG image").decode()
GENERATIONS = "/openai/v1/images/generations"


@dataclass(frozen=True)
class Recorded:
    """A request, what the service responded, and what the adapter makes of it.

    Attributes:
        path: The path of the request on the sandbox.
        body: Its JSON body; None for a GET.
        response: The recorded response; a list for the events of a stream.
        model: The model, as ``provider/id``.
        status: The HTTP status.
        fault: The fault that makes the sandbox respond like this.
        usage: The tokens in the response.
        images: How many images it contains.
        error: The error that it is.
        facts: Attributes of the error.
    """

    path: str
    body: Json
    response: Json
    model: str
    status: int = 200
    fault: Mapping[str, object] = field(default_factory=dict)
    usage: Usage | None = None
    images: int = 1
    previews: int = 0
    error: type[ProviderError] | None = None
    facts: Mapping[str, object] = field(default_factory=dict)

    @property
    def provider(self) -> str:
        return self.model.partition("/")[0]


def gemini_path(model: str, method: str = "generateContent") -> str:
    return f"/gemini/v1beta/models/{model}:{method}"


def gemini_body(**settings: object) -> Json:
    return {"contents": [{"role": "user", "parts": [{"text": "a red fox in snow"}]}], "generationConfig": settings}


def openai_usage(text: int, output_text: int, output_image: int) -> Json:
    return {
        "input_tokens": text,
        "input_tokens_details": {"image_tokens": 0, "text_tokens": text},
        "output_tokens": output_text + output_image,
        "output_tokens_details": {"image_tokens": output_image, "text_tokens": output_text},
        "total_tokens": text + output_text + output_image,
    }


def usage_of(text_in: int, image_in: int, text_out: int, image_out: int, total: int) -> Usage:
    return Usage(
        input_text_tokens=text_in,
        input_image_tokens=image_in,
        output_text_tokens=text_out,
        output_image_tokens=image_out,
        total_tokens=total,
    )


RECORDED: Mapping[str, Recorded] = {
    "GPT Image 1.5 counts text with its image": Recorded(
        path=GENERATIONS,
        body={"model": "gpt-image-1.5", "prompt": "a red fox", "quality": "high", "size": "1024x1024"},
        response={
            "created": 1779000000,
            "background": "opaque",
            "data": [{"b64_json": PNG, "generation_id": "gen-1"}],
            "output_format": "png",
            "quality": "high",
            "size": "1024x1024",
            "usage": openai_usage(169, 439, 4160),
        },
        model="openai/gpt-image-1.5",
        usage=usage_of(169, 0, 439, 4160, 4768),
    ),
    "two images count the input twice": Recorded(
        path=GENERATIONS,
        body={"model": "gpt-image-2", "prompt": "a red fox in snow", "quality": "low", "size": "1536x864", "n": 2},
        response={
            "created": 1779000000,
            "background": "opaque",
            "data": [{"b64_json": PNG, "generation_id": "gen-1"}, {"b64_json": PNG, "generation_id": "gen-2"}],
            "output_format": "png",
            "quality": "low",
            "size": "1536x864",
            "usage": openai_usage(22, 0, 240),
        },
        model="openai/gpt-image-2",
        usage=usage_of(22, 0, 0, 240, 262),
        images=2,
    ),
    "a stream has numbers, fewer previews than requested, and no [DONE]": Recorded(
        path=GENERATIONS,
        body={
            "model": "gpt-image-2",
            "prompt": "a red fox",
            "quality": "low",
            "size": "1536x864",
            "stream": True,
            "partial_images": 3,
        },
        response=[
            {
                "type": "image_generation.partial_image",
                "b64_json": PNG,
                "partial_image_index": 0,
                "created_at": 1779000000,
                "background": "opaque",
                "output_format": "png",
                "quality": "low",
                "size": "1536x864",
                "sequence_number": 0,
            },
            {
                "type": "image_generation.partial_image",
                "b64_json": PNG,
                "partial_image_index": 1,
                "created_at": 1779000000,
                "background": "opaque",
                "output_format": "png",
                "quality": "low",
                "size": "1536x864",
                "sequence_number": 1,
            },
            {
                "type": "image_generation.completed",
                "b64_json": PNG,
                "created_at": 1779000000,
                "background": "opaque",
                "output_format": "png",
                "quality": "low",
                "size": "1536x864",
                "usage": openai_usage(11, 0, 320),
                "sequence_number": 2,
            },
        ],
        model="openai/gpt-image-2",
        usage=usage_of(11, 0, 0, 320, 331),
        previews=2,
    ),
    "a model that has ended does not exist": Recorded(
        path=GENERATIONS,
        body={"model": "dall-e-3", "prompt": "a red fox"},
        response={
            "error": {
                "message": "The model 'dall-e-3' does not exist.",
                "type": "image_generation_user_error",
                "param": "model",
                "code": "invalid_value",
            }
        },
        model="openai/dall-e-3",
        status=400,
        error=ModelRetiredError,
        facts={"status": 400},
    ),
    "moderation_blocked says at which stage": Recorded(
        path=GENERATIONS,
        body={"model": "gpt-image-2", "prompt": "a red fox"},
        response={
            "error": {
                "message": "Your request was rejected by the safety system. safety_violations=[violence].",
                "type": "image_generation_user_error",
                "param": None,
                "code": "moderation_blocked",
                "moderation_details": {"moderation_stage": "output", "categories": ["violence"]},
            }
        },
        model="openai/gpt-image-2",
        status=400,
        fault={"fault": "moderation", "stage": "output"},
        error=ContentBlockedError,
    ),
    "a 429 names its wait only in its message": Recorded(
        path=GENERATIONS,
        body={"model": "gpt-image-2", "prompt": "a red fox"},
        response={
            "error": {
                "message": "Rate limit reached for images per minute. Please try again after 51.84 seconds.",
                "type": "requests",
                "param": None,
                "code": "rate_limit_exceeded",
            }
        },
        model="openai/gpt-image-2",
        status=429,
        fault={"fault": "rate_limited", "form": "words"},
        error=RateLimitedError,
        facts={"retry_after": 51.84},
    ),
    "the hard limit of an account comes as 400": Recorded(
        path=GENERATIONS,
        body={"model": "gpt-image-2", "prompt": "a red fox"},
        response={
            "error": {
                "message": "Billing hard limit has been reached.",
                "type": "invalid_request_error",
                "param": None,
                "code": "billing_hard_limit_reached",
            }
        },
        model="openai/gpt-image-2",
        status=400,
        fault={"fault": "quota", "status": 400, "code": "billing_hard_limit_reached"},
        error=QuotaError,
    ),
    "Gemini 3 sends a JPEG without text, and tokens that are no image": Recorded(
        path=gemini_path("gemini-3-pro-image"),
        body=gemini_body(seed=9),
        response={
            "candidates": [
                {
                    "content": {
                        "parts": [
                            {"inlineData": {"mimeType": "image/jpeg", "data": JPEG}, "thoughtSignature": "c2lnbmVk"}
                        ],
                        "role": "model",
                    },
                    "finishReason": "STOP",
                    "index": 0,
                }
            ],
            "usageMetadata": {
                "promptTokenCount": 32,
                "candidatesTokenCount": 1220,
                "totalTokenCount": 2000,
                "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 32}],
                "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1120}],
                "thoughtsTokenCount": 748,
            },
            "modelVersion": "gemini-3-pro-image",
            "responseId": "response-1",
        },
        model="gemini/gemini-3-pro-image",
        usage=usage_of(32, 0, 848, 1120, 2000),
    ),
    "Gemini 2.5 sends a PNG and does not think": Recorded(
        path=gemini_path("gemini-2.5-flash-image"),
        body=gemini_body(seed=9),
        response={
            "candidates": [
                {
                    "content": {"parts": [{"inlineData": {"mimeType": "image/png", "data": PNG}}], "role": "model"},
                    "finishReason": "STOP",
                    "index": 0,
                }
            ],
            "usageMetadata": {
                "promptTokenCount": 9,
                "candidatesTokenCount": 1290,
                "totalTokenCount": 1299,
                "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 9}],
                "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1290}],
            },
            "modelVersion": "gemini-2.5-flash-image",
            "responseId": "response-1",
        },
        model="gemini/gemini-2.5-flash-image",
        usage=usage_of(9, 0, 0, 1290, 1299),
    ),
    "a quota of zero is a violation without its value": Recorded(
        path=gemini_path("gemini-3-pro-image"),
        body=gemini_body(),
        response={
            "error": {
                "code": 429,
                "message": "You exceeded your current quota.",
                "status": "RESOURCE_EXHAUSTED",
                "details": [
                    {
                        "@type": "type.googleapis.com/google.rpc.QuotaFailure",
                        "violations": [
                            {
                                "quotaMetric": "generativelanguage.googleapis.com/requests",
                                "quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier",
                            }
                        ],
                    }
                ],
            }
        },
        model="gemini/gemini-3-pro-image",
        status=429,
        fault={"fault": "quota", "limit": "zero_value"},
        error=QuotaError,
    ),
}

CASES = pytest.mark.parametrize("recorded", RECORDED.values(), ids=RECORDED)


def sent_by_the_sandbox(http: httpx.Client, recorded: Recorded, queue_fault: Callable[..., None]) -> tuple[int, Json]:
    """The status and the body of the sandbox's response; the events of a stream as a list."""
    if recorded.fault:
        queue_fault(recorded.provider, **recorded.fault)
    response = http.post(recorded.path, json=recorded.body)
    if not response.headers["content-type"].startswith("text/event-stream"):
        return response.status_code, response.json()
    events = response.text.replace("\r\n", "\n").split("\n\n")
    assert events.pop() == ""
    return response.status_code, [json.loads(event.partition("data: ")[2]) for event in events]


@CASES
def test_the_sandbox_sends_the_same(recorded: Recorded, http: httpx.Client, queue_fault: Callable[..., None]) -> None:
    status, sent = sent_by_the_sandbox(http, recorded, queue_fault)
    assert status == recorded.status
    assert in_order(sent) == in_order(recorded.response)
    if recorded.status >= 400:
        # What decides which error it is.
        words = {name: text for name, text in recorded.response["error"].items() if name in ("type", "code", "status")}
        assert words.items() <= sent["error"].items()


def in_order(response: Json) -> Json:
    """The shape of a response; of a stream, that of each event."""
    return [shape(event) for event in response] if isinstance(response, list) else shape(response)


def read(recorded: Recorded, response: Json) -> tuple[Answer, int]:
    """What the adapter reads in a response, and how many previews; raises the error that it is."""
    adapter = adapter_of(Registry(today=lambda: TODAY).provider(recorded.provider))
    call = make_call(recorded.model, previews=recorded.previews)
    if not isinstance(response, list):
        return adapter.parse(make_response(response, recorded.status), call), 0
    events = [adapter.read_event(make_response(event), call) for event in response]
    assert [event.is_last for event in events] == [False] * (len(events) - 1) + [True]
    bodies = [event.body for event in events if event.body is not None]
    previews: Sequence[bytes] = [preview for event in events for preview in event.previews]
    return adapter.join_events(bodies, make_response(b""), call), len(previews)


@CASES
def test_the_adapter_reads_what_was_recorded(recorded: Recorded) -> None:
    if recorded.error:
        with pytest.raises(ProviderError) as caught:
            read(recorded, recorded.response)
        assert type(caught.value) is recorded.error
        assert {name: getattr(caught.value, name) for name in recorded.facts} == recorded.facts
        return
    answer, previews = read(recorded, recorded.response)
    assert answer.usage == recorded.usage
    assert [image.is_readable for image in answer.images] == [True] * recorded.images
    assert previews == recorded.previews
    assert answer.text is None


@CASES
def test_the_adapter_reads_what_the_sandbox_sends(
    recorded: Recorded, http: httpx.Client, queue_fault: Callable[..., None]
) -> None:
    _, sent = sent_by_the_sandbox(http, recorded, queue_fault)
    if recorded.error:
        with pytest.raises(ProviderError) as caught:
            read(recorded, sent)
        assert type(caught.value) is recorded.error
        return
    answer, previews = read(recorded, sent)
    assert len(answer.images) == recorded.images
    assert previews == recorded.previews
    assert answer.usage is not None
    assert recorded.usage is not None
    # The tokens of the images are exact.
    assert answer.usage.output_image_tokens == recorded.usage.output_image_tokens
