"""The adapter for OpenRouter: the request, and what each response becomes.

The responses are those of OpenRouter's guides and of its SDK's types; ``recorded`` marks what third parties recorded.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from invokeai_external.adapters.base import Answer
from invokeai_external.adapters.openrouter import OpenRouterAdapter
from invokeai_external.errors import (
    AuthenticationError,
    ContentBlockedError,
    InvalidResponseError,
    ProviderError,
    QuotaError,
    RateLimitedError,
    RejectedRequestError,
    TimedOutError,
    UnavailableError,
)
from invokeai_external.planning.plan import Call, plan
from invokeai_external.providers import catalog
from invokeai_external.providers.schema import ModelConfig
from invokeai_external.request import GenerationRequest
from invokeai_external.result import Usage
from invokeai_external.sizing import AspectRatio, Size, SizeChoice
from invokeai_external.transport.messages import HttpResponse
from invokeai_external.transport.retry_policy import RetryPolicy, seconds_before_retry

from .conftest import PNG, PNG_BASE64, Failure, call_image, check_outcome, make_response, responses

ROUTER = OpenRouterAdapter(catalog.page("openrouter").provider)
BASE = "https://openrouter.ai/api/v1"
MODEL = ModelConfig.model_validate(
    {
        "id": "maker/image-1",
        "provider": "openrouter",
        "provider_name": "OpenRouter",
        "name": "Image 1",
        "description": "An image model.",
        "modes": ["txt2img", "img2img"],
        "input_images": {"max_count": 4},
        "seed": True,
        "previews": True,
        "max_images_per_call": 10,
        "sizing": {"kind": "named", "ratios": ["1:1", "16:9"], "image_sizes": ["1K", "2K"]},
        "options": {
            "quality": {"values": ["low", "high"]},
            "background": {"values": ["transparent", "opaque"]},
            "output_format": {"values": ["png", "webp"]},
            "output_compression": {"minimum": 0, "maximum": 100, "whole": True},
        },
    }
)


def call_of(**request: Any) -> Call:
    return plan(GenerationRequest(prompt="a red fox", **request), MODEL, sent_options=ROUTER.sent_options).calls[0]


CALL = call_of()


def test_a_request_with_nothing_else_names_the_model_the_prompt_and_the_number() -> None:
    request = ROUTER.build(CALL, BASE)
    assert (request.method, request.url) == ("POST", f"{BASE}/images")
    assert request.json == {"model": "maker/image-1", "prompt": "a red fox", "n": 1}


def test_everything_has_its_field() -> None:
    options = {"quality": "high", "background": "opaque", "output_format": "webp", "output_compression": 80}
    call = call_of(seed=7, aspect_ratio=AspectRatio(16, 9), image_size="2K", options=options)
    assert ROUTER.build(call, BASE).json == {
        "model": "maker/image-1",
        "prompt": "a red fox",
        "n": 1,
        "aspect_ratio": "16:9",
        "resolution": "2K",
        "seed": 7,
        **options,
    }


@pytest.mark.parametrize(
    ("size", "fields"),
    [
        (SizeChoice(Size(1536, 1024)), {"size": "1536x1024"}),
        # A size in pixels beside the names would have to agree with them.
        (
            SizeChoice(Size(1376, 768), aspect_ratio="16:9", image_size="1K"),
            {"aspect_ratio": "16:9", "resolution": "1K"},
        ),
        (SizeChoice(image_size="2K"), {"resolution": "2K"}),
        (SizeChoice(aspect_ratio="16:9", about=Size(1365, 768)), {"aspect_ratio": "16:9"}),
    ],
)
def test_a_size_is_sent_in_pixels_or_by_its_names(size: SizeChoice, fields: dict[str, str]) -> None:
    sent = ROUTER.build(Call(**{**_fields_of(CALL), "size": size}), BASE).json
    assert sent is not None
    assert {name: sent[name] for name in sent.keys() - {"model", "prompt", "n"}} == fields


def _fields_of(call: Call) -> dict[str, Any]:
    return {name: getattr(call, name) for name in Call.__dataclass_fields__}


def test_input_images_are_data_urls_in_their_order() -> None:
    images = {"init_image": call_image(), "references": (call_image(b"\xff\xd8\xff", "image/jpeg"),)}
    sent = ROUTER.build(Call(**{**_fields_of(CALL), **images}), BASE).json
    assert sent is not None
    urls = [str(entry["image_url"]["url"]) for entry in sent["input_references"]]
    assert [entry["type"] for entry in sent["input_references"]] == ["image_url", "image_url"]
    assert urls == [f"data:image/png;base64,{PNG_BASE64}", "data:image/jpeg;base64,/9j/"]


def test_previews_are_a_stream() -> None:
    sent = ROUTER.build(call_of(previews=2), BASE).json
    assert sent is not None
    assert sent["stream"] is True


IMAGE = {"b64_json": PNG_BASE64, "media_type": "image/png"}
USAGE = {"prompt_tokens": 12, "completion_tokens": 1132, "total_tokens": 1144, "cost": 0.1344}


def answer_of(body: object, call: Call = CALL) -> Answer:
    return ROUTER.parse(make_response(body, headers={"x-generation-id": "gen-1"}), call)


def test_a_response_has_its_images_tokens_cost_and_id() -> None:
    usage = {**USAGE, "completion_tokens_details": {"image_tokens": 1120}}
    answer = answer_of({"created": 1, "data": [IMAGE, IMAGE], "usage": usage})
    assert [image.data for image in answer.images] == [PNG, PNG]
    assert (answer.cost_usd, answer.request_id) == (0.1344, "gen-1")
    assert answer.usage == Usage(
        input_text_tokens=12, input_image_tokens=0, output_text_tokens=12, output_image_tokens=1120, total_tokens=1144
    )


def test_what_the_tokens_are_of_is_not_guessed() -> None:
    edit = Call(**{**_fields_of(CALL), "init_image": call_image()})
    usage = answer_of({"data": [IMAGE], "usage": USAGE}, edit).usage
    assert usage == Usage(total_tokens=1144)
    assert answer_of({"data": [IMAGE]}).usage is None
    assert answer_of({"data": [IMAGE]}).cost_usd is None


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        ({"cost": 0.002, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.04}}, 0.042),
        ({"cost": 0.002, "is_byok": True, "cost_details": None}, None),
        ({"cost": 0.04, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.04}}, 0.04),
        ({"cost": None}, None),
        ({"cost": "much"}, None),
        ({"cost": -1}, None),
    ],
)
def test_with_a_separate_key_for_the_maker_both_bills_count(usage: dict[str, Any], cost: float | None) -> None:
    found = answer_of({"data": [IMAGE], "usage": usage}).cost_usd
    assert found == (cost if cost is None else pytest.approx(cost))


def event(body: object) -> HttpResponse:
    return make_response(body)


def test_a_stream_has_previews_then_the_image_with_its_usage() -> None:
    preview = {"type": "image_generation.partial_image", "partial_image_index": 0, "b64_json": PNG_BASE64}
    assert ROUTER.read_event(event(preview), CALL).previews == (PNG,)
    whole = {"type": "image_generation.completed", "created": 1, "usage": USAGE, **IMAGE}
    last = ROUTER.read_event(event(whole), CALL)
    assert (last.has_image, last.is_last, last.has_usage) == (True, True, True)
    assert last.body is not None
    answer = ROUTER.join_events([last.body], make_response(b""), CALL)
    assert (answer.images[0].data, answer.cost_usd) == (PNG, 0.1344)
    # Only of texts such as SVG.
    chunk = {"type": "image_generation.text_chunk", "phase": "draft", "text": "<svg"}
    assert ROUTER.read_event(event(chunk), CALL).body is None


@pytest.mark.parametrize(
    ("error", "kind", "fact"),
    [
        ({"message": "Generation failed", "code": "server_error"}, UnavailableError, "Generation failed"),
        ({"message": "Slow down", "code": "429"}, RateLimitedError, "Slow down"),
        (
            {"message": "No", "code": 400, "metadata": {"error_type": "content_policy_violation"}},
            ContentBlockedError,
            "No",
        ),
    ],
)
def test_an_error_in_a_stream(error: dict[str, Any], kind: type[ProviderError], fact: str) -> None:
    with pytest.raises(kind) as caught:
        ROUTER.read_event(event({"type": "error", "error": error}), CALL)
    assert fact in caught.value.message


def test_the_list_of_models() -> None:
    body = {"data": [{"id": "maker/image-1"}, {"id": ""}, "x", {"name": "no id"}]}
    assert ROUTER.parse_listing(make_response(body)) == {"maker/image-1"}
    with pytest.raises(InvalidResponseError):
        ROUTER.parse_listing(make_response({"data": {}}))


def error(message: str, code: object, **metadata: object) -> dict[str, Any]:
    # The account's id beside it must not be shown.
    metadata_field = {"metadata": metadata} if metadata else {}
    return {"error": {"message": message, "code": code, **metadata_field}, "user_id": "user_2abc"}


KEYS, CREDITS = "https://openrouter.ai/settings/keys", "https://openrouter.ai/settings/credits"
UPSTREAM = "liquid/x is temporarily rate-limited upstream. Please retry shortly."
ZOD = json.dumps([{"code": "invalid_value", "path": ["quality"], "message": "Invalid option: expected one of …"}])

# fmt: off
FAILURES = [
    Failure(
        "recorded: no key", 401, error("No cookie auth credentials found", 401),
        AuthenticationError, "authentication", ("OpenRouter refused the key.",),
        (KEYS, "keys set openrouter"), action="replace_key",
    ),
    Failure(
        "no credit", 402, error("Insufficient credits. Add more", 402, limit_source="openrouter_credits"),
        QuotaError, "quota", ("OpenRouter", "lack of credit", "Add more."), ("Add credit", CREDITS),
    ),
    Failure(
        "no credit, without metadata", 402, error("Insufficient credits", 402),
        QuotaError, "quota", ("OpenRouter", "lack of credit", "Insufficient credits."), ("Add credit", CREDITS),
    ),
    Failure(
        "the limit of the key", 402, error("Key limit exceeded", 402, limit_source="openrouter_key_limit"),
        QuotaError, "quota", ("spending limit", "Key limit exceeded."), ("limit of the key", KEYS),
    ),
    Failure(
        "credit set aside for calls in flight", 402,
        error("Too many in-flight requests", 402, limit_source="openrouter_in_flight_budget"),
        RateLimitedError, "rate_limited", ("in flight", "Too many in-flight requests."), ("fewer images", CREDITS),
        headers={"retry-after": "5"}, retry_after=5.0, should_retry=True,
    ),
    Failure(
        "moderation", 403,
        error("Your input was flagged", 403, reasons=["sexual", "violence"], flagged_input="a red fox", model_slug="m"),
        ContentBlockedError, "content_blocked", ("because of its content (sexual, violence)", "was flagged."),
        ("Change the prompt",),
    ),
    Failure(
        "a guardrail", 403, error("Request blocked: prompt injection patterns detected", 403, patterns=["ignore all"]),
        ContentBlockedError, "content_blocked", ("Request blocked: prompt injection patterns detected.",),
        ("Change the prompt",),
    ),
    Failure(
        "recorded: the maker's moderation", 400,
        error("Gemini blocked this request.", 400, provider_name="Google", block_reason="PROHIBITED_CONTENT"),
        ContentBlockedError, "content_blocked", ("(PROHIBITED_CONTENT)", "Gemini blocked this request."),
        ("Change the prompt",),
    ),
    Failure(
        "a refusal that looks like a broken provider", 502, error("Refused", 502, error_type="refusal"),
        ContentBlockedError, "content_blocked", ("because of its content", "Refused."), ("Change the prompt",),
    ),
    Failure(
        "the key may not", 403, error("This key cannot use this model", 403, error_type="permission_denied"),
        AuthenticationError, "authentication", ("maker/image-1", "cannot use this model."), (KEYS,),
    ),
    Failure(
        "a slow-down of OpenRouter's own", 429, error("Rate limit exceeded", 429, error_type="rate_limit_exceeded"),
        RateLimitedError, "rate_limited", ("slow down", "Rate limit exceeded."), ("fewer images", CREDITS),
        headers={"retry-after": "60"}, retry_after=60.0,
    ),
    Failure(
        "recorded: a slow-down of the maker's", 429,
        error("Provider returned error", 429, raw=UPSTREAM, provider_name="Liquid", retry_after_seconds=1),
        RateLimitedError, "rate_limited", ("slow down", f"Provider returned error: Liquid: {UPSTREAM}"),
        ("fewer images",), retry_after=1.0,
    ),
    Failure(
        "the maker's error as JSON in a text", 400,
        error("Provider returned error", 400, raw='{"error":{"message":"size is too small"}}', provider_name="OpenAI"),
        RejectedRequestError, "rejected", ("HTTP 400", "Provider returned error: OpenAI: size is too small."), None,
    ),
    Failure(
        "the maker's error as an object", 400, error("Provider returned error", 400, raw={"message": "bad seed"}),
        RejectedRequestError, "rejected", ("HTTP 400", "Provider returned error: bad seed."), None,
    ),
    Failure(
        "the maker's error as a page", 400, error("Provider returned error", 400, raw="<html>Bad gateway</html>"),
        RejectedRequestError, "rejected", ("HTTP 400", "Provider returned error."), None,
    ),
    Failure(
        "no endpoint takes these options", 400,
        error('No provider for maker/image-1 supports the requested parameter(s): quality "max"', 400),
        RejectedRequestError, "rejected", ("HTTP 400", 'parameter(s): quality "max".'), None,
    ),
    Failure(
        "recorded: each field of the request", 400, {"success": False, "error": {"name": "ZodError", "message": ZOD}},
        RejectedRequestError, "rejected", ("HTTP 400", "quality: Invalid option: expected one of …"), None,
    ),
    Failure(
        "recorded: no such model", 404, error('No image model found for "maker/image-1"', 404),
        RejectedRequestError, "rejected", ("does not offer maker/image-1", 'for "maker/image-1".'),
        ("models --provider openrouter",), action="check_model",
    ),
    Failure(
        "too large", 413, error("Request Entity Too Large", 413),
        RejectedRequestError, "rejected", ("too large", "Request Entity Too Large."), ("smaller images",),
    ),
    Failure(
        "the maker is down", 502, error("Bad response", 502, error_type="provider_unavailable"),
        UnavailableError, "unavailable", ("HTTP 502", "Bad response."), ("Try again later",),
    ),
    Failure(
        "no endpoint is free", 503, error("No provider available", 503), UnavailableError, "unavailable",
        ("HTTP 503", "No provider available."), ("Try again later",), headers={"retry-after": "30"}, retry_after=30.0,
    ),
    Failure(
        "the maker is overloaded", 529, error("Provider overloaded", 529, error_type="provider_overloaded"),
        UnavailableError, "unavailable", ("HTTP 529", "Provider overloaded."), ("Try again later",),
    ),
    Failure(
        "the maker took too long", 524, error("Edge network timeout", 524),
        UnavailableError, "unavailable", ("HTTP 524", "Edge network timeout."), ("check your usage",),
        may_be_billed=True,
    ),
    Failure(
        "OpenRouter stopped waiting", 408, error("Timed out", 408),
        TimedOutError, "timed_out", ("HTTP 408", "Timed out."), ("check your usage",), may_be_billed=True,
    ),
    Failure(
        "an error in a response of success", 200, error("Provider disconnected", 502),
        UnavailableError, "unavailable", ("HTTP 502", "Provider disconnected."), ("Try again later",),
    ),
    Failure(
        "no images", 200, {"created": 1, "data": []},
        InvalidResponseError, "invalid_response", ("OpenRouter", "no images"), (), may_be_billed=True,
    ),
]
# fmt: on


@pytest.mark.parametrize("failure", FAILURES, ids=[failure.name for failure in FAILURES])
def test_an_error_says_what_is_wrong_and_what_to_do(failure: Failure) -> None:
    with pytest.raises(failure.kind) as caught:
        ROUTER.parse(make_response(failure.body, failure.status, failure.headers), CALL)
    failure.check(caught.value)
    assert "user_2abc" not in str(caught.value)


def waits(error: ProviderError) -> float | None:
    try:
        return seconds_before_retry(error, attempt=1, waited_s=0, policy=RetryPolicy(), jitter=0)
    except ProviderError:
        return None


def test_only_what_can_pass_is_tried_again() -> None:
    tried = set()
    for failure in FAILURES:
        with pytest.raises(ProviderError) as caught:
            ROUTER.parse(make_response(failure.body, failure.status, failure.headers), CALL)
        if waits(caught.value) is not None:
            tried.add(failure.name)
    assert tried == {
        "credit set aside for calls in flight",
        "a slow-down of OpenRouter's own",
        "recorded: a slow-down of the maker's",
        "the maker is down",
        "no endpoint is free",
        "the maker is overloaded",
    }


_NAMES = [
    *("error", "message", "code", "metadata", "raw", "provider_name", "reasons", "block_reason", "error_type"),
    *("limit_source", "retry_after_seconds", "data", "b64_json", "usage", "cost", "is_byok", "cost_details", "name"),
]


@given(responses(_NAMES))
def test_every_response_is_an_image_or_an_error_that_can_be_shown(response: HttpResponse) -> None:
    check_outcome(ROUTER, response, CALL)
