"""Errors of gateways: their text is kept in every dialect, and a successful response with an error is that error."""

from __future__ import annotations

import json
from typing import Any

import pytest

from invokeai_external.adapters.base import Adapter
from invokeai_external.adapters.gemini import GeminiAdapter
from invokeai_external.adapters.openai_images import OpenAIImagesAdapter
from invokeai_external.errors import (
    ContentBlockedError,
    InvalidResponseError,
    ProviderError,
    QuotaError,
    RateLimitedError,
    RejectedRequestError,
    UnavailableError,
)
from invokeai_external.planning.plan import Call
from invokeai_external.providers import catalog

from .conftest import PNG_BASE64, make_call, make_response

OPENAI = OpenAIImagesAdapter(catalog.page("openai").provider)
GEMINI = GeminiAdapter(catalog.page("gemini").provider)
OPENAI_CALL = make_call("openai/gpt-image-2")
GEMINI_CALL = make_call("gemini/gemini-nano-banana-2.1")
BOTH = pytest.mark.parametrize(("adapter", "call"), [(OPENAI, OPENAI_CALL), (GEMINI, GEMINI_CALL)], ids=["O", "G"])


def failure(adapter: Adapter, call: Call, body: object, status: int = 400, **headers: str) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        adapter.parse(make_response(body, status, {name.replace("_", "-"): v for name, v in headers.items()}), call)
    assert caught.value.status == status
    return caught.value


DIALECTS: list[tuple[object, str]] = [
    ({"error": {"message": "No such size"}}, "No such size"),
    ([{"error": {"message": "No such size"}}], "No such size"),
    ({"error": "No such size"}, "No such size"),
    ({"error": {"error": {"message": "No such size"}}}, "No such size"),
    ({"error": [{"message": "No such size"}]}, "No such size"),
    ({"error": "Bad Request", "message": "No such size", "statusCode": 400}, "No such size"),
    ({"error": "invalid_request", "error_description": "No such size"}, "No such size"),
    ({"detail": "No such size"}, "No such size"),
    ({"detail": [{"loc": ["body", "size"], "msg": "No such size"}]}, "body.size: No such size"),
    ({"detail": [{"loc": ["body", 0], "msg": "One"}, {"loc": [], "msg": "Two"}]}, "body.0: One; Two"),
    ({"detail": {"message": "No such size", "code": 7}}, "No such size"),
    ({"detail": {"error": "No such size"}}, "No such size"),
    ({"type": "about:blank", "title": "Bad", "detail": "No such size", "status": 400}, "Bad"),
    ({"message": "No such size"}, "No such size"),
    ({"Message": "No such size"}, "No such size"),
    ({"msg": "No such size", "code": 12}, "No such size"),
    ({"message": ["No such size", "Nor such a model"]}, "No such size; Nor such a model"),
    ({"errors": ["No such size"]}, "No such size"),
    ({"success": False, "errors": [{"code": 1, "message": "One"}, {"message": "Two"}]}, "One; Two"),
    ({"title": "Bad", "errors": {"size": ["No such size"], "n": ["Too many"]}}, "Bad: size: No such size; n: Too many"),
    ("No such size", "No such size"),
    (b"No such size\n", "No such size"),
    (b'  \n {"detail": "No such size"}', "No such size"),
]


@BOTH
@pytest.mark.parametrize(("body", "quoted"), DIALECTS, ids=repr)
def test_the_text_of_an_error_is_quoted_in_every_dialect(
    adapter: Adapter, call: Call, body: object, quoted: str
) -> None:
    error = failure(adapter, call, body)
    assert type(error) is RejectedRequestError
    assert error.message == f"{adapter.provider.name} refused the request (HTTP 400): {quoted}."


@BOTH
@pytest.mark.parametrize(
    ("body", "media_type"),
    [
        (b"<html><title>Bad Gateway</title></html>", "text/html"),
        (b"Bad Gateway, in HTML", "text/html; charset=utf-8"),
        (b"<!DOCTYPE html>", "text/plain"),
        (b'{"data": [{"b64_json": "iVBORw0KGgo', "application/json"),
        (b"\x89PNG\0\0", "text/plain"),
        (b"", "text/plain"),
        (b"[" * 10_000, "application/json"),
        ({"error": {}}, "application/json"),
        ({"error": {"message": None}}, "application/json"),
        ({"error": 5, "detail": True, "message": 1.5, "errors": {"a": 1}}, "application/json"),
        ({"a": {"message": "of something else"}}, "application/json"),
    ],
)
def test_what_is_not_the_text_of_an_error_is_not_quoted(
    adapter: Adapter, call: Call, body: object, media_type: str
) -> None:
    error = failure(adapter, call, body, content_type=media_type)
    assert error.message == f"{adapter.provider.name} refused the request (HTTP 400)."


@BOTH
def test_an_error_that_is_nested_too_deeply_is_not_quoted(adapter: Adapter, call: Call) -> None:
    body: Any = "deep"
    for name in ["error", "detail", "errors", "message"] * 20:
        body = {name: [body]}
    assert "deep" not in failure(adapter, call, body).message


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"detail": {"code": "moderation_blocked", "message": "No"}}, ContentBlockedError),
        ({"code": "content_filter", "message": "No"}, ContentBlockedError),
        ({"errors": [{"code": "contentFilter", "message": "No"}]}, ContentBlockedError),
        ({"code": "insufficient_user_quota", "message": "No"}, QuotaError),
        ({"detail": "Your prepayment credits are depleted"}, QuotaError),
        ({"message": "You have reached your spending cap."}, QuotaError),
    ],
)
def test_codes_and_texts_mean_the_same_in_every_dialect(body: object, kind: type[ProviderError]) -> None:
    assert type(failure(OPENAI, OPENAI_CALL, body)) is kind


@BOTH
@pytest.mark.parametrize("body", [{"detail": "Try again in 7s"}, {"message": "retry after 7 seconds"}, b"wait 7 s"])
def test_a_wait_is_found_in_every_dialect(adapter: Adapter, call: Call, body: object) -> None:
    error = failure(adapter, call, body, 429)
    assert (type(error), error.retry_after) == (RateLimitedError, 7)


# Azure and moderation.


@BOTH
@pytest.mark.parametrize("code", ["content_policy_violation", "contentFilter", "content_filter", "moderation_blocked"])
@pytest.mark.parametrize("field", ["code", "type"])
def test_a_blocked_prompt_is_named_by_many_codes(adapter: Adapter, call: Call, code: str, field: str) -> None:
    error = failure(adapter, call, {"error": {field: code, "message": "Blocked"}})
    assert type(error) is ContentBlockedError


@pytest.mark.parametrize("name", ["innererror", "inner_error"])
def test_azure_names_a_blocked_prompt_in_an_inner_error(name: str) -> None:
    inner = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {"hate": {"filtered": True}}}
    error = failure(OPENAI, OPENAI_CALL, {"error": {"code": "400", "message": "Blocked", name: inner}})
    assert type(error) is ContentBlockedError


@pytest.mark.parametrize(
    ("details", "what", "todo"),
    [
        ({"moderation_stage": "input", "categories": ["violence"]}, "blocked the request", "Change the prompt"),
        ({"moderation_stage": "output", "categories": []}, "blocked the finished image", "Try again"),
        ({"moderation_stage": ["output"]}, "blocked the request", "Change the prompt"),
        ("output", "blocked the request", "Change the prompt"),
        (None, "blocked the request", "Change the prompt"),
    ],
)
def test_the_stage_of_moderation_says_whether_another_try_may_work(details: object, what: str, todo: str) -> None:
    body = {"error": {"code": "moderation_blocked", "message": "No", "moderation_details": details}}
    error = failure(OPENAI, OPENAI_CALL, body)
    assert what in error.message
    assert todo in (error.hint or "")


# Successful responses that hold an error.


@pytest.mark.parametrize("space", [b"", b" \n\r\t" * 100, b"\xef\xbb\xbf"])
@pytest.mark.parametrize(
    ("adapter", "body", "kind"),
    [
        (OPENAI, {"error": {"code": "moderation_blocked", "message": "No"}}, ContentBlockedError),
        (OPENAI, {"error": {"code": "rate_limit_exceeded", "message": "Slowly"}}, RateLimitedError),
        (OPENAI, {"error": {"code": "insufficient_quota", "message": "No"}}, QuotaError),
        (OPENAI, {"error": {"code": 503, "message": "Busy"}}, UnavailableError),
        (OPENAI, {"error": {"code": "503", "message": "Busy"}}, UnavailableError),
        (OPENAI, {"error": {"code": "7", "message": "Odd"}}, InvalidResponseError),
        (OPENAI, {"statusCode": 429, "message": "Slowly"}, RateLimitedError),
        (OPENAI, {"error": {"code": "content_filter"}, "data": []}, ContentBlockedError),
        (OPENAI, {"error": {"message": "Something"}}, InvalidResponseError),
        (GEMINI, {"error": {"code": 429, "message": "Slowly", "status": "RESOURCE_EXHAUSTED"}}, RateLimitedError),
        (GEMINI, {"error": {"code": 503, "message": "Busy"}}, UnavailableError),
        (GEMINI, {"error": {"code": 400, "message": "Bad"}}, RejectedRequestError),
        (GEMINI, {"error": {"message": "Something"}}, InvalidResponseError),
        # Of a gateway that writes its errors as OpenAI does.
        (GEMINI, {"error": {"code": "moderation_blocked", "message": "No"}}, ContentBlockedError),
        (GEMINI, {"error": {"code": "rate_limit_exceeded", "message": "Slowly"}}, RateLimitedError),
        (GEMINI, {"error": {"code": "429", "message": "Slowly"}}, RateLimitedError),
        (GEMINI, {"error": {"status": "UNAVAILABLE", "message": "Busy"}}, UnavailableError),
    ],
)
def test_a_successful_response_with_an_error_is_that_error(
    space: bytes, adapter: Adapter, body: dict[str, Any], kind: type[ProviderError]
) -> None:
    call = OPENAI_CALL if adapter is OPENAI else GEMINI_CALL
    error = failure(adapter, call, space + json.dumps(body).encode(), 200)
    assert type(error) is kind
    message = body.get("message") or body["error"].get("message")
    assert message is None or message in error.message


@BOTH
def test_an_error_beside_an_image_does_not_lose_the_image(adapter: Adapter, call: Call) -> None:
    part = {"inlineData": {"mimeType": "image/png", "data": PNG_BASE64}}
    body = {"error": {"code": 500, "message": "late"}, "data": [{"b64_json": PNG_BASE64}]}
    body |= {"candidates": [{"content": {"parts": [part]}, "finishReason": "STOP"}]}
    assert len(adapter.parse(make_response(body), call).images) == 1


# Gemini's finish message is the service's text, and not the model's.


def candidate(text: str | None = None, **fields: object) -> dict[str, Any]:
    parts = {"content": {"parts": [{"text": text}]}} if text else {}
    return {"candidates": [{**parts, **fields}]}


@pytest.mark.parametrize(
    ("body", "kind", "fact"),
    [
        (
            candidate(finishReason="OTHER", finishMessage="Image generation failed due to an internal error."),
            UnavailableError,
            "failed to make the image (OTHER)",
        ),
        (
            candidate(finishReason="IMAGE_OTHER", finishMessage="Internal error, try again later"),
            UnavailableError,
            "failed to make the image (IMAGE_OTHER)",
        ),
        (
            candidate(finishReason="IMAGE_OTHER", finishMessage="Unable to show the image. Try rephrasing the prompt."),
            ContentBlockedError,
            "made no image (IMAGE_OTHER): Unable",
        ),
        (
            candidate("I failed, sorry.", finishReason="STOP"),
            ContentBlockedError,
            "sent text without an image",
        ),
        (candidate(finishReason="IMAGE_SAFETY", finishMessage="It failed"), ContentBlockedError, "IMAGE_SAFETY"),
    ],
)
def test_a_fault_of_the_service_is_not_a_refusal_of_the_model(
    body: object, kind: type[ProviderError], fact: str
) -> None:
    error = failure(GEMINI, GEMINI_CALL, body, 200)
    assert type(error) is kind
    assert fact in error.message


@BOTH
@pytest.mark.parametrize(
    "body",
    [b"<html><title>400</title>", b'{"error": {"message": "' + b"x" * (1 << 20), b"[]", b'["", 5]', b"{}", b""],
    ids=lambda body: body[:9],
)
def test_a_refusal_without_a_reason_says_what_to_do(adapter: Adapter, call: Call, body: bytes) -> None:
    response = make_response(body, 400, {"content-type": "text/html"})
    with pytest.raises(RejectedRequestError) as caught:
        adapter.parse(response, call)
    assert "base URL" in str(caught.value.remedy)
    with pytest.raises(RejectedRequestError) as caught:
        adapter.parse_listing(response)
    assert "base URL" in str(caught.value.remedy)


@BOTH
def test_a_refusal_with_a_reason_says_no_more(adapter: Adapter, call: Call) -> None:
    response = make_response({"error": {"message": "The prompt is too long."}}, 400)
    with pytest.raises(RejectedRequestError, match="too long") as caught:
        adapter.parse(response, call)
    assert caught.value.remedy is None
