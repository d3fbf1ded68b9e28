"""The adapter for OpenAI: the request for each model, and what each response becomes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from invokeai_external.adapters.base import AnswerImage
from invokeai_external.adapters.openai_images import OpenAIImagesAdapter
from invokeai_external.errors import (
    AuthenticationError,
    ContentBlockedError,
    InvalidResponseError,
    ModelRetiredError,
    ProviderError,
    QuotaError,
    RateLimitedError,
    RejectedRequestError,
    TimedOutError,
    UnavailableError,
)
from invokeai_external.planning.plan import plan
from invokeai_external.providers import catalog
from invokeai_external.providers.registry import Registry
from invokeai_external.request import GenerationRequest, OptionValue
from invokeai_external.result import Usage
from invokeai_external.sizing import Size, SizeChoice
from invokeai_external.transport.messages import FilePart, HttpRequest, HttpResponse

from .conftest import PNG, PNG_BASE64, Failure, call_image, check_outcome, make_call, make_response, responses

PROVIDER = OpenAIImagesAdapter(catalog.page("openai").provider)
BASE = "https://api.openai.com/v1"
CALL = make_call("openai/gpt-image-2")

EVERYTHING: dict[str, OptionValue] = {
    "quality": "high",
    "background": "opaque",
    "moderation": "low",
    "output_format": "webp",
    "input_fidelity": "low",
    "temperature": 1.0,
}
FIVE_OPTIONS = {"quality": "high", "background": "opaque", "moderation": "low", "output_format": "webp"}


@pytest.mark.parametrize(
    ("model", "size", "options", "expected"),
    [
        *(
            (model, Size(1536, 1024), EVERYTHING, {"n": 2, "size": "1536x1024", **FIVE_OPTIONS})
            for model in (
                "gpt-image-2.6-sunburst",
                "gpt-image-2.6-flare",
                "gpt-image-2.5-sunburst",
                "gpt-image-2.5-flare",
                "gpt-image-2",
                "gpt-image-1.5",
                "gpt-image-1-mini",
                "gpt-image-1",
            )
        ),
        (
            "dall-e-3",
            Size(1792, 1024),
            {"quality": "hd", "style": "vivid", "output_format": "webp", "moderation": "low"},
            {"n": 1, "size": "1792x1024", "quality": "hd", "style": "vivid", "response_format": "b64_json"},
        ),
        (
            "dall-e-2",
            Size(512, 512),
            {"quality": "standard", "style": "vivid", "output_format": "webp"},
            {"n": 2, "size": "512x512", "response_format": "b64_json"},
        ),
        # Ids that the catalogue does not know speak the dialect of their family.
        ("gpt-image-2.5-flare-2026-09-08", None, {"style": "vivid"}, {"n": 2}),
        ("chatgpt-image-next", None, {}, {"n": 2}),
        ("dall-e-2-azure", None, {}, {"n": 2, "response_format": "b64_json"}),
    ],
)
def test_the_request_for_each_model_has_its_fields_and_no_others(
    model: str, size: Size | None, options: dict[str, OptionValue], expected: dict[str, Any]
) -> None:
    request = GenerationRequest(prompt=" a red\tfox 🦊\n", n=2, size=size, seed=7, options=options)
    calls = plan(request, Registry().resolve(f"openai/{model}").model).calls
    assert PROVIDER.build(calls[0], BASE) == HttpRequest(
        url="https://api.openai.com/v1/images/generations",
        json={"model": model, "prompt": " a red\tfox 🦊\n", **expected},
    )


def test_every_model_of_the_catalogue_is_in_the_table_above() -> None:
    assert len(Registry().models("openai")) == 10


@pytest.mark.parametrize("model", ["gpt-image-2.6-flare", "gpt-image-1.5", "gpt-image-1-mini"])
def test_an_edit_is_multipart_with_neutral_file_names_and_the_mask_last(model: str) -> None:
    call = make_call(
        f"openai/{model}",
        n=3,
        size=SizeChoice(Size(1024, 1024)),
        init_image=call_image(b"one", "image/png", "Me in Lisbon.png"),
        references=(call_image(b"two", "image/jpeg", "b.jpg"), call_image(b"three", "image/webp", "c.webp")),
        mask=call_image(b"mask", "image/png", "secret.png"),
        options={"output_compression": 80.0, "strength": 0.75, "background": "transparent"},
    )
    assert PROVIDER.build(call, BASE) == HttpRequest(
        url="https://api.openai.com/v1/images/edits",
        form={
            "model": model,
            "prompt": "a red fox",
            "n": "3",
            "size": "1024x1024",
            "output_compression": "80",
            "strength": "0.75",
            "background": "transparent",
        },
        files=(
            FilePart("image[]", "image-1.png", "image/png", b"one"),
            FilePart("image[]", "image-2.jpg", "image/jpeg", b"two"),
            FilePart("image[]", "image-3.webp", "image/webp", b"three"),
            FilePart("mask", "mask.png", "image/png", b"mask"),
        ),
    )


@pytest.mark.parametrize("text", ["a watercolour", " 12 ", 'say "no" & <go>', "水彩"])
def test_a_text_is_a_field_of_its_name_in_every_form(text: str) -> None:
    image = call_image(b"one")
    generation = PROVIDER.build(make_call("openai/gpt-image-2", options={"style": text}), BASE)
    edit = PROVIDER.build(make_call("openai/gpt-image-2", init_image=image, options={"style": text}), BASE)
    both = {"style": text, "moderation": "low"}
    edit_in_json = PROVIDER.build(make_call("openai/gpt-image-2", init_image=image, options=both), BASE)
    assert generation.json is not None
    assert edit_in_json.json is not None
    assert [generation.json["style"], edit.form["style"], edit_in_json.json["style"]] == [text] * 3


def test_a_single_image_has_the_field_name_without_brackets() -> None:
    call = make_call("openai/dall-e-2", references=(call_image(b"one"),))
    request = PROVIDER.build(call, BASE)
    assert request.files == (FilePart("image", "image-1.png", "image/png", b"one"),)
    assert request.form == {"model": "dall-e-2", "prompt": "a red fox", "n": "1", "response_format": "b64_json"}


def test_the_key_is_sent_as_a_bearer_token() -> None:
    assert PROVIDER.auth_headers("sk-x") == {"Authorization": "Bearer sk-x"}


def test_a_response_has_images_usage_and_a_request_id() -> None:
    body = {
        "created": 1,
        "background": "opaque",
        "unheard_of": {"field": 1},
        "data": [
            {"b64_json": PNG_BASE64, "unheard_of": 1},
            {"url": "https://files.example/a.png", "revised_prompt": "A vivid fox"},
        ],
        "usage": {
            "input_tokens": 100,
            "input_tokens_details": {"text_tokens": 10, "image_tokens": 90},
            "output_tokens": 4160,
            "total_tokens": 4260,
        },
    }
    answer = PROVIDER.parse(make_response(body, headers={"x-request-id": "req_1"}), CALL)
    assert answer.images == (
        AnswerImage(PNG),
        AnswerImage(None, "https://files.example/a.png", "A vivid fox"),
    )
    assert answer.usage == Usage(
        input_text_tokens=10,
        input_image_tokens=90,
        output_text_tokens=0,
        output_image_tokens=4160,
        total_tokens=4260,
    )
    assert (answer.request_id, answer.model_version, answer.text) == ("req_1", None, None)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (None, None),
        ([1], None),
        *(
            (
                {
                    "output_tokens": number,
                    "output_tokens_details": {"text_tokens": number, "image_tokens": number},
                    "input_tokens_details": {"text_tokens": number, "image_tokens": number},
                    "total_tokens": number,
                },
                Usage(output_text_tokens=0),
            )
            for number in (10**400, 10**308, 10**10, -1, 1e308, 4160.5, True)
        ),
        ({"output_tokens": 5}, Usage(output_text_tokens=0, output_image_tokens=5)),
        (
            {"output_tokens": "5", "total_tokens": True, "input_tokens_details": {"text_tokens": -1}},
            Usage(output_text_tokens=0),
        ),
    ],
)
def test_tokens_that_cannot_be_read_are_unknown_and_not_zero(usage: object, expected: Usage | None) -> None:
    answer = PROVIDER.parse(make_response({"data": [{"b64_json": "AAAA"}], "usage": usage}), CALL)
    assert answer.usage == expected


def test_a_number_that_python_does_not_parse_does_not_cost_the_image() -> None:
    body = b'{"data": [{"b64_json": "AAAA"}], "usage": {"output_tokens": 1%s}}' % (b"0" * 5000)
    answer = PROVIDER.parse(make_response(body), CALL)
    assert (answer.images, answer.usage) == ((AnswerImage(b"\0\0\0"),), Usage(output_text_tokens=0))


@pytest.mark.parametrize(
    ("model", "total", "details", "text", "image"),
    [
        ("gpt-image-1.5", 4599, {"text_tokens": 439, "image_tokens": 4160}, 439, 4160),
        ("gpt-image-2", 4599, {"text_tokens": 439, "image_tokens": 4160}, 439, 4160),
        ("gpt-image-2", 4160, {"text_tokens": 0, "image_tokens": 4160}, 0, 4160),
        # Without details, all tokens count as image tokens, unless the model bills text.
        ("gpt-image-2", 4599, None, 0, 4599),
        ("gpt-image-1.5", 4599, None, None, None),
        # A missing kind is the rest of the total; what both are missing counts as image tokens, which cost more.
        ("gpt-image-1.5", 4599, {"text_tokens": 439}, 439, 4160),
        ("gpt-image-1.5", 4599, {"image_tokens": 4160}, 439, 4160),
        ("gpt-image-1.5", 4599, {"text_tokens": 0, "image_tokens": 0}, 0, 4599),
        ("gpt-image-1.5", 4000, {"text_tokens": 439, "image_tokens": 4160}, 439, 4160),
        ("gpt-image-1.5", 100, {"text_tokens": 439}, 439, 0),
        ("gpt-image-1.5", None, {"text_tokens": 439}, 439, None),
    ],
)
def test_text_and_image_tokens_of_the_output_are_distinguished(
    model: str, total: int | None, details: object, text: int | None, image: int | None
) -> None:
    usage = {"output_tokens": total, "output_tokens_details": details}
    answer = PROVIDER.parse(
        make_response({"data": [{"b64_json": "AAAA"}], "usage": usage}), make_call(f"openai/{model}")
    )
    assert answer.usage == Usage(output_text_tokens=text, output_image_tokens=image)


@pytest.mark.parametrize(
    "entry",
    [
        {"b64_json": PNG_BASE64},
        {"b64_json": PNG_BASE64.replace("+", "-").replace("/", "_").rstrip("=")},
        {"b64_json": f"data:image/png;base64,{PNG_BASE64}"},
        {"b64_json": "\r\n".join(PNG_BASE64[i : i + 20] for i in range(0, len(PNG_BASE64), 20))},
        {"b64_json": PNG_BASE64, "url": "https://files.example/a.png", "revised_prompt": 7},
        {"url": f"data:image/png;base64,{PNG_BASE64}"},
        {"b64_json": "!", "url": f"DATA:image/png;base64,{PNG_BASE64}"},
    ],
    ids=[
        "standard",
        "for URLs",
        "data URL",
        "many lines",
        "wins over the address",
        "as an address",
        "as one, in capitals",
    ],
)
def test_base64_is_decoded_in_every_form(entry: dict[str, object]) -> None:
    assert PROVIDER.parse(make_response({"data": [entry]}), CALL).images == (AnswerImage(PNG),)


@pytest.mark.parametrize(
    "entry",
    [
        None,
        [],
        {},
        {"b64_json": None, "url": ""},
        {"b64_json": "", "url": 5},
        {"b64_json": "A"},
        {"b64_json": "AA=A"},
        {"b64_json": "====", "url": None},
        {"b64_json": "not base64!"},
        {"b64_json": "sch\u00f6n"},
        {"b64_json": "data:image/png"},
        {"url": "data:image/png;base64,!"},
    ],
    ids=repr,
)
def test_an_image_that_cannot_be_read_does_not_affect_the_others(entry: object) -> None:
    good = {"b64_json": PNG_BASE64}
    answer = PROVIDER.parse(make_response({"data": [good, entry, good]}), CALL)
    assert answer.images == (AnswerImage(PNG), AnswerImage(), AnswerImage(PNG))
    with pytest.raises(InvalidResponseError, match="no image that can be read"):
        PROVIDER.parse(make_response({"data": [entry]}), CALL)


def test_the_url_and_the_revised_prompt_are_kept_if_the_base64_is_broken() -> None:
    body = {"data": [{"b64_json": "!", "url": "https://files.example/a.png", "revised_prompt": "fox \ud800"}]}
    assert PROVIDER.parse(make_response(body), CALL).images == (
        # A lone surrogate, which JSON allows, could not be written to a file or a terminal.
        AnswerImage(None, "https://files.example/a.png", "fox ?"),
    )


def test_any_success_status_and_a_list_of_one_are_accepted() -> None:
    assert PROVIDER.parse(make_response([{"data": [{"b64_json": PNG_BASE64}]}], 201), CALL).images == (
        AnswerImage(PNG),
    )


def error(message: object, code: object = None, kind: object = "invalid_request_error") -> dict[str, object]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


LIMITS = "https://platform.openai.com/settings/organization/limits"
VERIFY = "https://platform.openai.com/settings/organization/general"
BILLING = "https://platform.openai.com/settings/organization/billing"
BLOCKED = "Your request was rejected by the safety system. safety_violations=[violence]."
SAFETY_SYSTEM = ("OpenAI", "(violence): ", BLOCKED)
EXCEEDED = "You exceeded your current quota, please check your plan and billing details."
SLOW_DOWN = ("OpenAI", "Rate limit reached for images per minute (IPM): Limit 5, Used 5.")
FEWER = ("fewer", LIMITS)
LIMITED = error("Rate limit reached for images per minute (IPM): Limit 5, Used 5.", "rate_limit_exceeded", "requests")
NOT_FOUND = error("The model does not exist or you do not have access to it.", "model_not_found")
HTML = b"<html><body><h1>502 Bad Gateway</h1></body></html>"

FAILURES = [
    Failure(
        "broken JSON", 200, b'{"data": [{"b64_json": "AAA',
        InvalidResponseError, "invalid_response", ("OpenAI", "27 bytes"), (),
        may_be_billed=True,
    ),
    Failure(
        "JSON nested too deeply", 200, b"[" * 100_000,
        InvalidResponseError, "invalid_response", ("OpenAI", "100,000 bytes"), (),
        may_be_billed=True,
    ),
    Failure(
        "no data", 200, {"created": 1},
        InvalidResponseError, "invalid_response", ("OpenAI", "no images"), (), may_be_billed=True,
    ),
    Failure(
        "empty data", 200, {"data": []},
        InvalidResponseError, "invalid_response", ("OpenAI", "no images"), (), may_be_billed=True,
    ),
    Failure(
        "a successful response with an error", 200, error("Upstream gave up\n\x1b[31mtwice"),
        InvalidResponseError, "invalid_response",
        ("OpenAI", "no images", "Upstream gave up [31mtwice."), (), may_be_billed=True,
    ),
    Failure(
        "a redirect", 302, b"", InvalidResponseError, "invalid_response",
        ("OpenAI", "HTTP 302"), ("base URL",),
    ),
    Failure(
        "wrong value", 400, error("Invalid value: 'huge'. Supported values are: 'low' and 'high'", "invalid_value"),
        RejectedRequestError, "rejected",
        ("OpenAI", "HTTP 400", "Invalid value: 'huge'. Supported values are: 'low' and 'high'."), None,
        should_retry=False, headers={"x-should-retry": "false"},
    ),
    Failure(
        "an error in one string", 422, {"error": "prompt missing!"}, RejectedRequestError, "rejected",
        ("OpenAI", "HTTP 422", "prompt missing!"), None,
    ),
    Failure(
        "a long message", 400, error("word " * 100), RejectedRequestError, "rejected",
        ("OpenAI", "HTTP 400", f": {('word ' * 60).rstrip()}…"), None,
    ),
    Failure(
        "moderation", 400, error(BLOCKED, "moderation_blocked", "image_generation_user_error"),
        ContentBlockedError, "content_blocked", SAFETY_SYSTEM,
        ("Change the prompt", "moderation=low"),
    ),
    Failure(
        "moderation of DALL·E, which has no such option", 400, error(BLOCKED, "content_policy_violation"),
        ContentBlockedError, "content_blocked", SAFETY_SYSTEM,
        ("Change the prompt",), model="openai/dall-e-3",
    ),
    Failure(
        "no credit", 429, error(EXCEEDED, "insufficient_quota", "insufficient_quota"), QuotaError, "quota",
        ("OpenAI", "(insufficient_quota)", EXCEEDED),
        ("Add credit", BILLING),
        headers={"retry-after": "5"}, retry_after=5.0,
    ),
    Failure(
        "no credit, named by the type only", 429, error(EXCEEDED, None, "insufficient_quota"), QuotaError, "quota",
        ("OpenAI", "(insufficient_quota)", EXCEEDED),
        ("Add credit", BILLING),
    ),
    Failure(
        "spending limit of the account", 400,
        error("Billing hard limit has been reached", "billing_hard_limit_reached"), QuotaError, "quota",
        ("OpenAI", "(billing_hard_limit_reached)", "Billing hard limit has been reached."),
        ("account", LIMITS),
    ),
    Failure(
        "spending limit of the project", 429, error("", "project_spend_limit_exceeded"), QuotaError, "quota",
        ("OpenAI", "(project_spend_limit_exceeded)"),
        ("project", LIMITS),
    ),
    Failure(
        "402 of a gateway", 402, b"<html>Payment Required</html>", QuotaError, "quota",
        ("OpenAI", "HTTP 402"), ("Add credit", BILLING, "base URL"),
    ),
    Failure(
        "no credit at a gateway", 403, error("Quota: 0.02", "insufficient_user_quota"), QuotaError, "quota",
        ("OpenAI", "(insufficient_user_quota)", "Quota: 0.02."), ("base URL",),
    ),
    Failure(
        "a spending cap without a code", 429, error("You have reached your spending cap"), QuotaError, "quota",
        ("OpenAI", "You have reached your spending cap."), (BILLING, LIMITS),
    ),
    Failure(
        "organisation not verified for streams", 400, error("Your organization must be verified to stream this model."),
        QuotaError, "quota", ("streams gpt-image-2",), (VERIFY, "15 minutes", "previews"),
    ),
    Failure(
        "blocked by Azure", 400, error("The response was filtered", "content_filter"), ContentBlockedError,
        "content_blocked", ("OpenAI", "The response was filtered."),
        ("Change the prompt", "moderation=low"),
    ),
    Failure(
        "429, wait in the message", 429, error("Rate limit reached. Please try again after 51.84 seconds."),
        RateLimitedError, "rate_limited", ("OpenAI", "Rate limit reached. Please try again after 51.84 seconds."),
        FEWER,        retry_after=51.84,
    ),
    Failure(
        "429, wait in a header and in the message", 429, error("Please try again in 5s."), RateLimitedError,
        "rate_limited", ("OpenAI", "Please try again in 5s."), FEWER,
        headers={"retry-after": "7"}, retry_after=7.0,
    ),
    Failure("429", 429, LIMITED, RateLimitedError, "rate_limited", SLOW_DOWN, FEWER),
    Failure(
        "429, wait in ms", 429, LIMITED, RateLimitedError, "rate_limited", SLOW_DOWN, FEWER,
        headers={"retry-after-ms": "1500", "retry-after": "9", "x-should-retry": "true"},
        retry_after=1.5, should_retry=True,
    ),
    Failure(
        "429, wait in s", 429, LIMITED, RateLimitedError, "rate_limited", SLOW_DOWN, FEWER,
        headers={"retry-after": "12.5"}, retry_after=12.5,
    ),
    Failure(
        "429, wait until", 429, LIMITED, RateLimitedError, "rate_limited", SLOW_DOWN, FEWER,
        headers={"retry-after": "Mon, 23 Nov 2026 00:00:30 GMT"}, retry_after=30.0,
    ),
    Failure(
        "429, HTML", 429, HTML, RateLimitedError, "rate_limited", ("OpenAI",), FEWER,
    ),
    Failure(
        "wrong key", 401, error("Incorrect API key provided: sk-proj-********wxyz.", "invalid_api_key"),
        AuthenticationError, "authentication", ("OpenAI", "key"),
        ("https://platform.openai.com/api-keys", "invokeai-external keys set openai"), action="replace_key",
    ),
    Failure(
        "organisation not verified", 403, error("Your organization must be verified to use the model `gpt-image-2`."),
        QuotaError, "quota", ("offers gpt-image-2",), (VERIFY, "15 minutes"),
    ),
    Failure(
        "key without permission", 403, error("Missing scopes: model.request"), AuthenticationError, "authentication",
        ("OpenAI", "gpt-image-2", "Missing scopes: model.request."),
        ("permissions", "https://platform.openai.com/api-keys"),
    ),
    Failure(
        "unknown model", 404, NOT_FOUND, RejectedRequestError, "rejected",
        ("OpenAI", "gpt-image-2", "The model does not exist or you do not have access to it."), ("base URL",),
        action="check_model",
    ),
    Failure(
        "retired model, as OpenAI says it", 400,
        {"error": {"message": "The model 'dall-e-3' does not exist.", "param": "model", "code": "invalid_value"}},
        ModelRetiredError, "model_retired", ("DALL·E 3", "2026-05-12"), ("(gpt-image-2)",), model="openai/dall-e-3",
    ),
    Failure(
        "retired model", 404, NOT_FOUND, ModelRetiredError, "model_retired",
        ("DALL·E 3", "2026-05-12"), ("(gpt-image-2)",), model="openai/dall-e-3",
    ),
    Failure(
        # A wrong base URL, or the wrong name of a deployment: the model has not ended yet.
        "deprecated model", 404, HTML, RejectedRequestError, "rejected",
        ("does not offer gpt-image-1.5",), ("base URL",), model="openai/gpt-image-1.5", action="check_model",
    ),
    Failure(
        "408", 408, error("Request timed out."), TimedOutError, "timed_out",
        ("OpenAI", "HTTP 408", "Request timed out."), ("usage",), may_be_billed=True,
    ),
    Failure(
        "409", 409, error("The request conflicts with another one."), UnavailableError, "unavailable",
        ("OpenAI", "HTTP 409", "The request conflicts with another one."), ("later",),
    ),
    Failure(
        "413", 413, b"<html>413 Request Entity Too Large</html>", RejectedRequestError, "rejected",
        ("OpenAI", "HTTP 413"), ("smaller",),
    ),
    Failure(
        "500", 500, error("The server had an error. Sorry about that!", None, "server_error"),
        UnavailableError, "unavailable",
        ("OpenAI", "HTTP 500", "The server had an error. Sorry about that!"), ("later",),
    ),
    Failure(
        "502, HTML", 502, HTML, UnavailableError, "unavailable", ("OpenAI", "HTTP 502"), ("usage",), may_be_billed=True,
        headers={"retry-after": "3"}, retry_after=3.0,
    ),
    Failure(
        "503, no retry", 503, error(None), UnavailableError, "unavailable",
        ("OpenAI", "HTTP 503"), ("later",), headers={"x-should-retry": "false"}, should_retry=False,
    ),
]  # fmt: skip


def test_a_model_that_is_not_found_after_its_last_day_has_ended() -> None:
    day_after = datetime(2026, 12, 2, tzinfo=UTC).timestamp()
    response = replace(make_response(HTML, 404, {}), received_at=day_after)
    with pytest.raises(ModelRetiredError, match="announced as 2026-12-01"):
        PROVIDER.parse(response, make_call("openai/gpt-image-1.5"))


@pytest.mark.parametrize("failure", FAILURES, ids=[failure.name for failure in FAILURES])
def test_each_failure_is_an_error_with_its_facts(failure: Failure) -> None:
    call = make_call(failure.model or "openai/gpt-image-2")
    headers = {"x-request-id": "req_1", **failure.headers}
    with pytest.raises(ProviderError) as caught:
        PROVIDER.parse(make_response(failure.body, failure.status, headers), call)
    failure.check(caught.value)
    assert (caught.value.provider, caught.value.model) == ("openai", call.model.id)
    assert caught.value.request_id == "req_1"
    assert "wxyz" not in str(caught.value)


@pytest.mark.parametrize(
    ("mode", "options", "is_suggested"),
    [
        ({}, {}, True),
        ({}, {"moderation": "low"}, False),
        ({"init_image": call_image()}, {}, True),
        ({"init_image": call_image(), "markup": call_image()}, {}, False),
    ],
    ids=["the default", "already low", "an edit", "an edit with markup"],
)
def test_moderation_low_is_suggested_only_if_it_helps(
    mode: dict[str, Any], options: dict[str, OptionValue], is_suggested: bool
) -> None:
    call = make_call("openai/gpt-image-2", options=options, **mode)
    with pytest.raises(ContentBlockedError) as caught:
        PROVIDER.parse(make_response(error("", "moderation_blocked"), 400), call)
    assert ("moderation=low" in (caught.value.hint or "")) is is_suggested


@pytest.mark.parametrize(
    ("message", "details", "categories"),
    [
        ("No. safety_violations=[violence, sexual].", None, " (violence, sexual): "),
        ("No. safety_violations=[violence].", {"categories": ["self_harm", "violence"]}, " (self_harm, violence): "),
        ("No.", {"moderation_stage": "output", "categories": ["violence"]}, " (violence): "),
        ("No.", {"categories": []}, "content: "),
        ("No.", {"categories": [None, 3, {}]}, "content: "),
        ("No.", {"categories": "violence"}, "content: "),
        ("No.", [], "content: "),
        ("No. safety_violations=[].", None, "content: "),
        ("No.", {"categories": ["a", "a", "\x1b[2J", "c", "d", "e"]}, " (a, [2J, c, d): "),
        ("No.", {"categories": ["long " * 50]}, "long…): "),
    ],
)
def test_the_categories_come_before_the_message_of_openai(message: str, details: object, categories: str) -> None:
    body = error(message, "moderation_blocked")
    body["error"] |= {"moderation_details": details}  # type: ignore[operator]
    with pytest.raises(ContentBlockedError) as caught:
        PROVIDER.parse(make_response(body, 400), make_call("openai/gpt-image-2"))
    assert f"{categories}{message}" in caught.value.message


NAMES = ["error", "code", "type", "message", "data", "b64_json", "url", "usage", "output_tokens"]


@settings(deadline=None)
@given(response=responses(NAMES), model=st.sampled_from(["openai/gpt-image-2", "openai/dall-e-2"]))
@example(make_response(b'{"error": {"message": "\\ud800\\u001b[2J"}}', 400), "openai/dall-e-2")
@example(make_response(b'{"data": ' + b"[" * 5000), "openai/gpt-image-2")
def test_every_response_becomes_an_image_or_an_error_that_can_be_shown(response: HttpResponse, model: str) -> None:
    check_outcome(PROVIDER, response, make_call(model))
