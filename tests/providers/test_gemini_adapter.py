"""The adapter for Gemini: the request for each model, and what each response becomes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings

from invokeai_external.adapters.base import AnswerImage, Source
from invokeai_external.adapters.gemini import GeminiAdapter
from invokeai_external.errors import (
    AuthenticationError,
    ContentBlockedError,
    InvalidResponseError,
    ModelRetiredError,
    ProviderError,
    QuotaError,
    RateLimitedError,
    RejectedRequestError,
    UnavailableError,
)
from invokeai_external.planning.plan import plan
from invokeai_external.providers import catalog
from invokeai_external.providers.registry import Registry
from invokeai_external.request import GenerationRequest, OptionValue
from invokeai_external.result import Usage
from invokeai_external.sizing import AspectRatio
from invokeai_external.transport.messages import HttpRequest, HttpResponse

from .conftest import PNG, PNG_BASE64, Failure, call_image, check_outcome, make_call, make_response, responses

PROVIDER = GeminiAdapter(catalog.page("gemini").provider)
BASE = "https://generativelanguage.googleapis.com/v1beta"
CALL = make_call("gemini/gemini-3-pro-image")
TEXT_AND_IMAGE = {"responseModalities": ["TEXT", "IMAGE"]}


@pytest.mark.parametrize(
    ("model", "image_size", "image_config", "thinking_config"),
    [
        ("gemini-nano-banana-2.1", "2K", {"aspectRatio": "16:9", "imageSize": "2K"}, {"thinkingLevel": "HIGH"}),
        ("gemini-3-pro-image", "4K", {"aspectRatio": "16:9", "imageSize": "4K"}, None),
        ("gemini-3.1-flash-lite-image", "1K", {"aspectRatio": "16:9", "imageSize": "1K"}, None),
        ("gemini-3.1-flash-image", "512", {"aspectRatio": "16:9", "imageSize": "512"}, {"thinkingLevel": "HIGH"}),
        ("gemini-2.5-flash-image", "2K", {"aspectRatio": "16:9"}, None),
        ("gemini-3-pro-image-preview", None, {"aspectRatio": "16:9", "imageSize": "1K"}, None),
        ("gemini-3.1-flash-image-preview", "4K", {"aspectRatio": "16:9", "imageSize": "4K"}, {"thinkingLevel": "HIGH"}),
    ],
)
def test_the_request_for_each_model_has_its_fields_and_no_others(
    model: str, image_size: str | None, image_config: dict[str, str], thinking_config: dict[str, str] | None
) -> None:
    request = GenerationRequest(
        prompt=" a red\tfox 🦊\n",
        n=2,
        aspect_ratio=AspectRatio(16, 9),
        image_size=image_size,
        seed=0x7FFFFFFF,
        options={"temperature": 0.5, "thinking_level": "high", "quality": "high"},
    )
    calls = plan(request, Registry().resolve(f"gemini/{model}").model).calls
    config: dict[str, Any] = {**TEXT_AND_IMAGE, "temperature": 0.5, "imageConfig": image_config}
    if thinking_config:
        config["thinkingConfig"] = thinking_config
    # candidateCount is refused, so each image is a separate call with a separate seed.
    assert [PROVIDER.build(call, BASE) for call in calls] == [
        HttpRequest(
            url=f"https://generativelanguage.googleapis.com/v1beta/models/{model}:generateContent",
            json={
                "contents": [{"role": "user", "parts": [{"text": " a red\tfox 🦊\n"}]}],
                "generationConfig": {**config, "seed": seed},
            },
        )
        for seed in (0x7FFFFFFF, 0)
    ]


def test_every_model_of_the_catalogue_is_in_the_table_above() -> None:
    assert len(Registry().models("gemini")) == 7


def test_what_is_not_requested_is_not_sent() -> None:
    assert PROVIDER.build(CALL, BASE).json == {
        "contents": [{"role": "user", "parts": [{"text": "a red fox"}]}],
        "generationConfig": TEXT_AND_IMAGE,
    }


def test_the_image_to_edit_is_first_and_the_prompt_last_in_standard_base64_without_names() -> None:
    call = make_call(
        "gemini/gemini-3-pro-image",
        init_image=call_image(),
        references=(call_image(b"two", "image/jpeg"), call_image(b"three", "image/webp")),
    )
    assert json.loads(json.dumps(PROVIDER.build(call, BASE).json, default=str)) == {
        "contents": [
            {
                "role": "user",
                "parts": [
                    {"inlineData": {"mimeType": "image/png", "data": PNG_BASE64}},
                    {"inlineData": {"mimeType": "image/jpeg", "data": "dHdv"}},
                    {"inlineData": {"mimeType": "image/webp", "data": "dGhyZWU="}},
                    {"text": "a red fox"},
                ],
            }
        ],
        "generationConfig": TEXT_AND_IMAGE,
    }


def test_the_mask_is_second_and_its_text_a_separate_part_before_the_prompt() -> None:
    call = make_call(
        "gemini/gemini-3-pro-image",
        init_image=call_image(),
        mask=call_image(b"mask", "image/png"),
        references=(call_image(b"two", "image/jpeg"),),
    )
    assert json.loads(json.dumps(PROVIDER.build(call, BASE).json, default=str)) == {
        "contents": [
            {
                "role": "user",
                "parts": [
                    {"inlineData": {"mimeType": "image/png", "data": PNG_BASE64}},
                    {"inlineData": {"mimeType": "image/png", "data": "bWFzaw=="}},
                    {"inlineData": {"mimeType": "image/jpeg", "data": "dHdv"}},
                    {
                        "text": "Edit the first picture only where the second picture, which is its mask, is white; "
                        "leave everything exactly as it is where the mask is black, and answer with the whole first "
                        "picture, edited."
                    },
                    {"text": "a red fox"},
                ],
            }
        ],
        "generationConfig": TEXT_AND_IMAGE,
    }


@pytest.mark.parametrize(
    ("model_id", "in_url"), [("tuned model?key=#", "tuned%20model%3Fkey%3D%23"), ("../x", "..%2Fx")]
)
def test_a_model_id_cannot_change_the_url_that_it_is_in(model_id: str, in_url: str) -> None:
    url = PROVIDER.build(make_call(f"gemini/{model_id}"), BASE).url
    assert url == f"{BASE}/models/{in_url}:generateContent"


def test_the_key_is_sent_in_googles_header() -> None:
    assert PROVIDER.auth_headers("AIza-x") == {"x-goog-api-key": "AIza-x"}


def answer_of(*parts: object, **candidate: object) -> dict[str, Any]:
    return {"candidates": [{"content": {"role": "model", "parts": parts}, **candidate}]}


def inline(data: object = PNG_BASE64, mime_type: str = "image/png") -> dict[str, Any]:
    return {"inlineData": {"mimeType": mime_type, "data": data}}


CAMEL = {
    **answer_of(
        {"text": "Thinking of foxes.", "thought": True},
        {**inline("dGhvdWdodA=="), "thought": True},
        {"text": "Here is"},
        {**inline(), "thoughtSignature": "c2ln", "unheardOf": 1},
        {"text": "your fox."},
        inline("anBlZw==", "image/jpeg"),
        finishReason="STOP",
        index=0,
    ),
    "usageMetadata": {
        "promptTokenCount": 300,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 42}, {"modality": "IMAGE", "tokenCount": 258}],
        "candidatesTokenCount": 1130,
        "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1120}],
        "thoughtsTokenCount": 90,
        "totalTokenCount": 1520,
    },
    "modelVersion": "gemini-3-pro-image-001",
    "responseId": "resp-1",
}
SNAKE = {
    "candidates": [
        {
            "content": {
                "parts": [
                    {"text": "Hm.", "thought": True},
                    {"text": "Here is"},
                    {"inline_data": {"mime_type": "image/png", "data": PNG_BASE64.replace("/", "_").replace("+", "-")}},
                    {"text": "your fox."},
                    {"inline_data": {"mime_type": "image/jpeg", "data": "anBlZw"}},
                ]
            },
            "finish_reason": "STOP",
        }
    ],
    "usage_metadata": {
        "prompt_token_count": 300,
        "prompt_tokens_details": [{"modality": "TEXT", "token_count": 42}, {"modality": "IMAGE", "token_count": 258}],
        "candidates_token_count": 1130,
        "candidates_tokens_details": [{"modality": "IMAGE", "token_count": 1120}],
        "thoughts_token_count": 90,
        "total_token_count": 1520,
    },
    "model_version": "gemini-3-pro-image-001",
    "response_id": "resp-1",
}


def tokens(modality: str, count: object) -> list[dict[str, object]]:
    return [{"modality": modality, "tokenCount": count}]


@pytest.mark.parametrize("body", [CAMEL, SNAKE, [CAMEL]], ids=["camelCase", "snake_case", "in a list"])
def test_a_response_has_its_final_images_text_usage_and_ids(body: object) -> None:
    answer = PROVIDER.parse(make_response(body), CALL)
    assert answer.images == (AnswerImage(PNG), AnswerImage(b"jpeg"))
    assert answer.text == "Here is your fox."
    assert answer.usage == Usage(
        input_text_tokens=42,
        input_image_tokens=258,
        output_text_tokens=100,
        output_image_tokens=1120,
        total_tokens=1520,
    )
    assert (answer.request_id, answer.model_version) == ("resp-1", "gemini-3-pro-image-001")


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (None, None),
        ({}, Usage(input_image_tokens=0)),
        # Without details, image tokens, which cost more, cannot be distinguished from text tokens.
        (
            {"promptTokenCount": 9, "candidatesTokenCount": 1130, "candidatesTokensDetails": []},
            Usage(input_text_tokens=9, input_image_tokens=0),
        ),
        ({"promptTokenCount": "9", "candidatesTokensDetails": "many"}, Usage(input_image_tokens=0)),
        # Details without the image do not say how many tokens it has.
        (
            {"promptTokenCount": 9, "candidatesTokenCount": 1150, "candidatesTokensDetails": tokens("TEXT", 30)},
            Usage(input_text_tokens=9, input_image_tokens=0),
        ),
        # Details that do not add up to the total.
        (
            {
                "promptTokenCount": 9,
                "promptTokensDetails": tokens("IMAGE", 258),
                "candidatesTokenCount": 1000,
                "candidatesTokensDetails": tokens("IMAGE", 1120),
            },
            Usage(input_text_tokens=0, input_image_tokens=258, output_text_tokens=0, output_image_tokens=1120),
        ),
        *(
            (
                {
                    "promptTokenCount": number,
                    "promptTokensDetails": tokens("IMAGE", number),
                    "candidatesTokenCount": number,
                    "candidatesTokensDetails": tokens("IMAGE", number),
                    "thoughtsTokenCount": number,
                    "totalTokenCount": number,
                },
                Usage(),
            )
            for number in (10**400, 10**308, 10**10, -1, 1e308, 4160.5, True)
        ),
    ],
)
def test_tokens_that_cannot_be_read_are_unknown_and_not_zero(usage: object, expected: Usage | None) -> None:
    answer = PROVIDER.parse(make_response({**answer_of(inline()), "usageMetadata": usage}), CALL)
    assert answer.usage == expected


def test_an_image_may_be_a_url_and_one_that_cannot_be_read_does_not_affect_the_others() -> None:
    address = {"fileData": {"fileUri": "https://files.example/a.png", "mimeType": "image/png"}}
    body = answer_of(inline("not base64!"), "no part", address, inline([1]), inline(), {"inlineData": {}})
    assert PROVIDER.parse(make_response(body), CALL).images == (
        AnswerImage(),
        AnswerImage(None, "https://files.example/a.png"),
        AnswerImage(),
        AnswerImage(PNG),
    )


def test_an_image_that_is_only_in_a_thought_is_the_result_and_has_a_notice() -> None:
    first, last = {**inline("Zmlyc3Q="), "thought": True}, {**inline(), "thought": True}
    answer = PROVIDER.parse(make_response(answer_of(first, last, {"text": "Done."}, finishReason="STOP")), CALL)
    assert (answer.images, answer.text) == ((AnswerImage(PNG),), "Done.")
    assert [notice.code for notice in answer.notices] == ["thought_image"]
    both = PROVIDER.parse(make_response(answer_of(first, inline(), last, finishReason="STOP")), CALL)
    assert (both.images, both.notices) == ((AnswerImage(PNG),), ())


def test_the_images_of_all_candidates_are_used_even_if_one_was_refused() -> None:
    body = {"candidates": [{"finishReason": "IMAGE_SAFETY"}, *answer_of(inline())["candidates"]]}
    assert PROVIDER.parse(make_response(body, 203), CALL).images == (AnswerImage(PNG),)


NAME = "Google Gemini"
CHANGE = ("Change the prompt",)
USAGE_URL = "https://aistudio.google.com/usage"
FEWER = ("fewer", USAGE_URL)
NEW_KEY = ("https://aistudio.google.com/apikey", "invokeai-external keys set gemini")
CHECK_KEY = ("restrictions", "https://aistudio.google.com/apikey")
NO_FREE_QUOTA = (NAME, "(limit: 0).")
BUSY = "The model is overloaded. Please try again later."
EXHAUSTED = "Resource has been exhausted (e.g. check quota)."
MEADOW = "I can paint a meadow instead. Shall I?"
FREE_TIER = (
    "You exceeded your current quota, please check your plan and billing details. For more information on this error, "
    "head to: https://ai.google.dev/gemini-api/docs/rate-limits. To monitor your current usage, head to: "
    "https://ai.dev/rate-limit. \n* Quota exceeded for metric: "
    "generativelanguage.googleapis.com/generate_content_free_tier_requests, limit: {limit}, model: gemini-3-pro-image\n"
    "Please retry in 20.75s."
)
FREE_TIER_SHOWN = (
    "You exceeded your current quota, please check your plan and billing details. For more information on this error, "
    "head to: https://ai.google.dev/gemini-api/docs/rate-limits. To monitor your current usage, head to: "
    "https://ai.dev/rate-limit. * Quota exceeded for metric:…"
)


def error(code: int, message: str, status: str, *details: dict[str, Any]) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "status": status, "details": list(details)}}


def exhausted(message: str, *details: dict[str, Any]) -> dict[str, Any]:
    return error(429, message, "RESOURCE_EXHAUSTED", *details)


def retry_info(delay: object) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}


def quota_failure(*ids: str, **value: object) -> dict[str, Any]:
    metric = "generativelanguage.googleapis.com/requests"
    violations = [{"quotaMetric": metric, "quotaId": quota, **(value or {"quotaValue": "20"})} for quota in ids]
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": violations}


DEPLETED = "Your prepayment credits are depleted."
NO_MODALITIES = (
    "Invalid JSON payload received. Unknown name \"responseModalities\" at 'generation_config': Cannot find field."
)
PAY = ("Add credit", USAGE_URL)
PER_DAY = "GenerateRequestsPerDayPerProjectPerModel-FreeTier"
PER_MINUTE = "GenerateRequestsPerMinutePerProjectPerModel"
BAD_KEY = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}


def refused(name: str, body: object, *message: str) -> Failure:
    return Failure(name, 200, body, ContentBlockedError, "content_blocked", message, CHANGE)


def invalid(name: str, body: object, *message: str) -> Failure:
    return Failure(name, 200, body, InvalidResponseError, "invalid_response", message, (), may_be_billed=True)


def quota(
    name: str, body: object, message: tuple[str, ...], remedy: tuple[str, ...], retry_after: float | None = None
) -> Failure:
    return Failure(name, 429, body, QuotaError, "quota", message, remedy, retry_after=retry_after)


def limited(name: str, body: object, wait_s: float | None, header: dict[str, str] | None = None) -> Failure:
    message = (NAME, EXHAUSTED)
    return Failure(
        name, 429, body, RateLimitedError, "rate_limited", message, FEWER, headers=header or {}, retry_after=wait_s
    )


FAILURES = [
    # Successful responses without an image.
    invalid("broken JSON", b'{"candidates": [', NAME, "16 bytes"),
    invalid("not an object", "hello", NAME, "no reason given", "hello."),
    invalid("an empty object", {}, NAME, "no reason given"),
    invalid("no parts", {"candidates": [{"content": {}}, 5]}, NAME, "no reason given"),
    invalid("only thoughts", answer_of({**inline(), "thought": True}, finishReason="OTHER"), NAME, "OTHER"),
    invalid("a successful response with an error that has no status", {"error": "Upstream gave up"},
            NAME, "no reason given", "Upstream gave up."),
    invalid("an image that cannot be read", answer_of(inline("!")), NAME),
    invalid("NO_IMAGE", answer_of(finishReason="NO_IMAGE"), NAME, "NO_IMAGE"),
    invalid("OTHER", answer_of(finishReason="OTHER"), NAME, "OTHER"),
    invalid("IMAGE_OTHER", answer_of(finishReason="IMAGE_OTHER"), NAME, "IMAGE_OTHER"),
    invalid("an unknown reason", answer_of(finish_reason="NEW\nONE"), NAME, "NEW ONE"),
    invalid("MAX_TOKENS", answer_of({"text": "I will paint"}, finishReason="MAX_TOKENS"),
            NAME, "MAX_TOKENS"),
    *(
        refused(reason, answer_of(finishReason=reason), NAME, f"({reason})")
        for reason in (
            "SAFETY", "RECITATION", "PROHIBITED_CONTENT", "BLOCKLIST", "SPII", "IMAGE_SAFETY",
            "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "MODEL_ARMOR", "LANGUAGE", "ESCALATION",
        )
    ),
    refused("a refusal with the messages of Google and of the model",
            answer_of({"text": "I cannot\npaint that."}, finishReason="IMAGE_SAFETY", finishMessage="Unsafe picture."),
            "IMAGE_SAFETY", "Unsafe picture. I cannot paint that."),
    refused("text instead of an image", answer_of({"text": MEADOW}, finishReason="STOP"),
            NAME, MEADOW),
    refused("text without a reason", answer_of({"text": MEADOW}),
            NAME, MEADOW),
    refused("text with NO_IMAGE", answer_of(finishReason="NO_IMAGE", finishMessage="Try rephrasing the prompt"),
            NAME, "(NO_IMAGE)", "Try rephrasing the prompt."),
    refused("blocked prompt", {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}},
            "blocked", "(PROHIBITED_CONTENT)"),
    refused("blocked prompt with a message",
            {"prompt_feedback": {"block_reason": "OTHER", "block_reason_message": "Not this"}, "candidates": []},
            "blocked", "(OTHER)", "Not this."),
    # The key.
    Failure("wrong key", 400, error(400, "API key not valid: AIzaWXYZ.", "INVALID_ARGUMENT", BAD_KEY),
            AuthenticationError, "authentication", (NAME, "key"), NEW_KEY, action="replace_key"),
    Failure("no key", 401, error(401, "Request had invalid credentials: AIzaWXYZ.", "UNAUTHENTICATED"),
            AuthenticationError, "authentication", (NAME, "key"), NEW_KEY, action="replace_key"),
    Failure("key without permission", 403, error(403, "Generative Language API is disabled.", "PERMISSION_DENIED"),
            AuthenticationError, "authentication",
            (NAME, "gemini-3-pro-image", "Generative Language API is disabled."),
            CHECK_KEY),
    # Quotas.
    limited("429", exhausted(EXHAUSTED), None),
    limited("429, header", exhausted(EXHAUSTED), 7.0, {"retry-after": "7"}),
    limited("429, seconds", exhausted(EXHAUSTED, retry_info("20.75s")), 20.75, {"retry-after": "7"}),
    limited("429, milliseconds", [exhausted(EXHAUSTED, retry_info("900ms"))], 0.9),
    limited("429, a wait of 0", exhausted(EXHAUSTED, retry_info("0s")), None),
    limited("429, a wait that cannot be parsed",
            exhausted(EXHAUSTED, retry_info({"seconds": 5}), retry_info("soon")), None),
    limited("429, longest wait", exhausted(EXHAUSTED, retry_info("300s")), 300.0),
    limited("429, per minute", exhausted(EXHAUSTED, quota_failure(PER_MINUTE)), 60.0),
    limited("429, per minute, with a delay",
            exhausted(EXHAUSTED, quota_failure(PER_MINUTE), retry_info("31s")), 31.0),
    quota("quota of the day", exhausted(EXHAUSTED, quota_failure(PER_MINUTE, PER_DAY), retry_info("20s")),
          (NAME, "today"), ("tomorrow", USAGE_URL), 20.0),
    quota("daily quota", exhausted(EXHAUSTED, quota_failure("DailyImages")),
          (NAME, "today"), ("tomorrow", USAGE_URL)),
    quota("a wait beyond 300 s", exhausted(EXHAUSTED, retry_info("86399.4s")),
          ("86,399 s", EXHAUSTED), (USAGE_URL,), 86399.4),
    quota("no free quota, late in the message",
          exhausted(FREE_TIER.format(limit=0), quota_failure(PER_MINUTE), retry_info("20.75s")),
          NO_FREE_QUOTA, (USAGE_URL,), 20.75),
    quota("no free quota, and the zero is omitted", exhausted(EXHAUSTED, quota_failure(PER_DAY, quotaDimensions={})),
          NO_FREE_QUOTA, (USAGE_URL,)),
    quota("no free quota, in the details",
          exhausted(EXHAUSTED, quota_failure(PER_DAY), {"reason": "X", "metadata": {"quota_limit_value": "0"}}),
          NO_FREE_QUOTA, (USAGE_URL,)),
    Failure("no credit at a gateway", 403, {"error": {"code": "insufficient_user_quota", "message": "Quota: 0.02"}},
            QuotaError, "quota", (NAME, "Quota: 0.02."), ("base URL",)),
    quota("no credit left", exhausted(DEPLETED), (NAME, DEPLETED), PAY),
    Failure("no credit left, as 402", 402, error(402, DEPLETED, "RESOURCE_EXHAUSTED"), QuotaError, "quota",
            (NAME, DEPLETED), PAY),
    Failure("402 of a gateway", 402, b"<html>Payment Required</html>", QuotaError, "quota",
            (NAME,), PAY),
    Failure("a spending cap", 403, error(403, "The spend cap of the project is reached.", "PERMISSION_DENIED"),
            QuotaError, "quota", (NAME, "The spend cap of the project is reached."), PAY),
    Failure("429, a wait in the message", 429, exhausted("Slow down. Please retry in 20.75s."), RateLimitedError,
            "rate_limited", (NAME, "Slow down. Please retry in 20.75s."), FEWER, retry_after=20.75),
    quota("no free quota, in a short message", exhausted("limit: 0"),
          NO_FREE_QUOTA, (USAGE_URL,)),
    Failure("a small free quota", 429, exhausted(FREE_TIER.format(limit="0.5"), retry_info("20.75s")),
            RateLimitedError, "rate_limited", (NAME, FREE_TIER_SHOWN), FEWER, retry_after=20.75),
    # Everything else.
    Failure("wrong value", 400, error(400, "Invalid value at 'generation_config.seed'", "INVALID_ARGUMENT"),
            RejectedRequestError, "rejected",
            (NAME, "HTTP 400", "Invalid value at 'generation_config.seed'."), None),
    Failure("API version v1", 400, error(400, NO_MODALITIES, "INVALID_ARGUMENT"), RejectedRequestError, "rejected",
            (NAME, "HTTP 400", NO_MODALITIES), ("/v1beta",), action="fix_base_url"),
    Failure("wrong country", 400, error(400, "User location is not supported for the API use.", "FAILED_PRECONDITION"),
            RejectedRequestError, "rejected",
            (NAME, "HTTP 400", "User location is not supported for the API use."), ("country", USAGE_URL)),
    Failure("unknown model", 404, error(404, "models/x is not found for API version v1beta.", "NOT_FOUND"),
            RejectedRequestError, "rejected",
            (NAME, "gemini-3-pro-image", "models/x is not found for API version v1beta."), ("base URL",),
            action="check_model"),
    Failure("model whose end was reported", 404, error(404, "models/x is not found.", "NOT_FOUND"),
            ModelRetiredError, "model_retired",
            ("Gemini 3 Pro Image Preview", "reported", "2026-06-25"), ("(gemini-3-pro-image)",),
            model="gemini/gemini-3-pro-image-preview"),
    Failure("the same without a message", 404, b"", ModelRetiredError, "model_retired",
            ("Gemini 3.1 Flash Image", "reported", "2026-10-29"), ("gemini-nano-banana-2.1",),
            model="gemini/gemini-3.1-flash-image"),
    Failure("too large", 413, b"<html>", RejectedRequestError, "rejected",
            (NAME, "HTTP 413"), ("smaller",)),
    Failure("overloaded, in a list", 503, [error(503, BUSY, "UNAVAILABLE", retry_info("2s"))],
            UnavailableError, "unavailable", (NAME, "HTTP 503", BUSY), ("later",),
            headers={"retry-after": "9"}, retry_after=2.0),
    Failure("overloaded, header", 503, error(503, BUSY, "UNAVAILABLE", retry_info(f"{'9' * 400}s")),
            UnavailableError, "unavailable", (NAME, "HTTP 503", BUSY), ("later",),
            headers={"retry-after": "9"}, retry_after=9.0),
    Failure("HTML", 502, b"<html>Bad Gateway</html>", UnavailableError, "unavailable",
            (NAME, "HTTP 502"), ("usage",), may_be_billed=True),
    Failure("redirect", 307, b"", InvalidResponseError, "invalid_response",
            (NAME, "HTTP 307"), ("base URL",)),
]  # fmt: skip


@pytest.mark.parametrize("failure", FAILURES, ids=[failure.name for failure in FAILURES])
def test_each_failure_is_an_error_with_its_facts(failure: Failure) -> None:
    call = make_call(failure.model or "gemini/gemini-3-pro-image")
    with pytest.raises(ProviderError) as caught:
        PROVIDER.parse(make_response(failure.body, failure.status, failure.headers), call)
    failure.check(caught.value)
    assert (caught.value.provider, caught.value.model) == ("gemini", call.model.id)
    assert "WXYZ" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "headers", "expected"),
    [
        ({"responseId": "resp-1", **answer_of(finishReason="SAFETY")}, {}, "resp-1"),
        ({"response_id": "resp-1", "promptFeedback": {"blockReason": "SAFETY"}}, {"x-request-id": "gw-1"}, "resp-1"),
        ({}, {"x-request-id": "gw-1"}, "gw-1"),
        ({"responseId": 5}, {}, None),
    ],
)
def test_the_request_id_of_an_error_is_googles_or_else_the_gateways(
    body: object, headers: dict[str, str], expected: str | None
) -> None:
    with pytest.raises(ProviderError) as caught:
        PROVIDER.parse(make_response(body, 200, headers), CALL)
    assert caught.value.request_id == expected


NAMES = [
    *("candidates", "content", "parts", "text", "thought", "inlineData", "data", "file_data", "fileUri"),
    *("promptFeedback", "blockReason", "finishReason", "usageMetadata", "promptTokenCount", "candidatesTokensDetails"),
    *("error", "code", "message", "status", "details", "retryDelay", "violations", "quotaId", "reason"),
]


@settings(deadline=None)
@given(response=responses(NAMES))
@example(make_response(answer_of({"text": "\ud800"}, finishReason="STOP\ud800")))
@example(make_response(error(503, "", "UNAVAILABLE", retry_info(f"{'9' * 400}s")), 503))
@example(make_response(b'[{"error": ' + b'{"error": ' * 5000, 500))
def test_every_response_becomes_an_image_or_an_error_that_can_be_shown(response: HttpResponse) -> None:
    check_outcome(PROVIDER, response, CALL)


# Web search.

SEARCHED = {
    "webSearchQueries": ["oslo weather"],
    "imageSearchQueries": ["oslo"],
    "groundingChunks": [
        {"web": {"uri": "https://example.com/a?b=1", "title": "A\u202e\nB"}},
        {"web": {"uri": "https://example.com/a?b=1", "title": "the same"}},
        {"image": {"sourceUri": "https://example.com/c", "imageUri": "https://example.com/c.png", "title": "C"}},
        {"web": {"uri": "https://example.com/d"}},
        {"web": {"uri": "javascript:alert(1)", "title": "no page"}},
        {"web": {"uri": "https://example.com/ two", "title": "no URL"}},
        {"web": {"uri": "https://example.com/" + "x" * 3000, "title": "too long"}},
        {"web": {"uri": 1}},
        {"maps": {}},
        "text",
    ],
}


def searched(grounding: object) -> dict[str, Any]:
    part = {"inlineData": {"mimeType": "image/png", "data": PNG_BASE64}}
    return {"candidates": [{"content": {"parts": [part]}, "finishReason": "STOP", "groundingMetadata": grounding}]}


def test_the_queries_and_the_sources_of_a_search_are_read_and_reported() -> None:
    answer = PROVIDER.parse(make_response(searched(SEARCHED)), CALL)
    assert answer.searches == ("oslo weather", "oslo")
    assert answer.sources == (
        Source("https://example.com/a?b=1", "A B"),
        Source("https://example.com/c", "C"),
        Source("https://example.com/d"),
    )
    assert answer.is_grounded


@pytest.mark.parametrize("grounding", [None, {}, [], 7, {"groundingChunks": {}, "webSearchQueries": "x"}])
def test_a_response_without_a_search_has_no_sources(grounding: object) -> None:
    answer = PROVIDER.parse(make_response(searched(grounding)), CALL)
    assert (answer.searches, answer.sources, answer.is_grounded) == ((), (), False)


def test_snake_case_sources_are_read() -> None:
    grounding = {"web_search_queries": ["x"], "grounding_chunks": [{"image": {"source_uri": "https://example.com/"}}]}
    answer = PROVIDER.parse(make_response(searched(grounding)), CALL)
    assert (answer.searches, answer.sources) == (("x",), (Source("https://example.com/"),))


def test_the_sources_of_a_stream_are_those_of_the_chunk_that_has_them() -> None:
    first, last = searched(SEARCHED), searched({})
    del last["candidates"][0]["content"]
    answer = PROVIDER.join_events([first, last], make_response({}), CALL)
    assert answer.searches == ("oslo weather", "oslo")


def test_at_most_fifty_sources_are_kept() -> None:
    chunks = [{"web": {"uri": f"https://example.com/{place}"}} for place in range(200)]
    answer = PROVIDER.parse(make_response(searched({"groundingChunks": chunks})), CALL)
    assert len(answer.sources) == 50


@pytest.mark.parametrize(
    ("body", "options", "is_suggested"),
    [
        ({"promptFeedback": {"blockReason": "SAFETY"}}, {}, True),
        ({"candidates": [{"finishReason": "SAFETY"}]}, {"safety": "block_only_high"}, True),
        ({"candidates": [{"finishReason": "SAFETY"}]}, {"safety": "off"}, False),
        ({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}, {}, False),
        ({"candidates": [{"finishReason": "IMAGE_SAFETY"}]}, {}, False),
    ],
)
def test_a_less_strict_safety_is_suggested_only_if_it_helps(
    body: dict[str, Any], options: dict[str, OptionValue], is_suggested: bool
) -> None:
    with pytest.raises(ContentBlockedError) as caught:
        PROVIDER.parse(make_response(body), make_call("gemini/gemini-3-pro-image", options=options))
    assert ("safety=block_none" in (caught.value.hint or "")) is is_suggested
    # Invoke's tabs have no field for it.
    assert caught.value.remedy is not None
    assert ("safety=block_none" in (caught.value.remedy.option or "")) is is_suggested
