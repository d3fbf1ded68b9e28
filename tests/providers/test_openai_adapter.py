"""OpenAI's adapter: what each model is sent, what each answer becomes, and what a user reads when it fails."""

from __future__ import annotations

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

from .conftest import PNG, PNG_BASE64, Failure, check_outcome, make_call, make_response, picture, responses

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
            {"n": 2, "size": "512x512", "quality": "standard", "response_format": "b64_json"},
        ),
        # Ids that the catalogue does not know speak the dialect of their family.
        ("gpt-image-2.5-flare-2026-09-08", None, {"style": "vivid"}, {"n": 2}),
        ("chatgpt-image-next", None, {}, {"n": 2}),
        ("dall-e-2-azure", None, {}, {"n": 2, "response_format": "b64_json"}),
    ],
)
def test_each_model_is_sent_its_own_fields_and_no_others(
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
        init_image=picture(b"one", "image/png", "Me in Lisbon.png"),
        references=(picture(b"two", "image/jpeg", "b.jpg"), picture(b"three", "image/webp", "c.webp")),
        mask=picture(b"mask", "image/png", "secret.png"),
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


def test_a_single_picture_goes_under_the_name_without_brackets() -> None:
    call = make_call("openai/dall-e-2", references=(picture(b"one"),))
    request = PROVIDER.build(call, BASE)
    assert request.files == (FilePart("image", "image-1.png", "image/png", b"one"),)
    assert request.form == {"model": "dall-e-2", "prompt": "a red fox", "n": "1", "response_format": "b64_json"}


def test_the_key_travels_as_a_bearer_token() -> None:
    assert PROVIDER.auth_headers("sk-x") == {"Authorization": "Bearer sk-x"}


def test_an_answer_gives_pictures_usage_and_request_id() -> None:
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


def test_a_number_that_python_does_not_read_costs_no_picture() -> None:
    body = b'{"data": [{"b64_json": "AAAA"}], "usage": {"output_tokens": 1%s}}' % (b"0" * 5000)
    answer = PROVIDER.parse(make_response(body), CALL)
    assert (answer.images, answer.usage) == ((AnswerImage(b"\0\0\0"),), Usage(output_text_tokens=0))


@pytest.mark.parametrize(
    ("model", "total", "details", "text", "image"),
    [
        ("gpt-image-1.5", 4599, {"text_tokens": 439, "image_tokens": 4160}, 439, 4160),
        ("gpt-image-2", 4599, {"text_tokens": 439, "image_tokens": 4160}, 439, 4160),
        ("gpt-image-2", 4160, {"text_tokens": 0, "image_tokens": 4160}, 0, 4160),
        # Without details all is taken for the picture's, unless the model is known to bill text.
        ("gpt-image-2", 4599, None, 0, 4599),
        ("gpt-image-1.5", 4599, None, None, None),
        # What one kind leaves out of the sum is the other; what both leave out is the dearer one.
        ("gpt-image-1.5", 4599, {"text_tokens": 439}, 439, 4160),
        ("gpt-image-1.5", 4599, {"image_tokens": 4160}, 439, 4160),
        ("gpt-image-1.5", 4599, {"text_tokens": 0, "image_tokens": 0}, 0, 4599),
        ("gpt-image-1.5", 4000, {"text_tokens": 439, "image_tokens": 4160}, 439, 4160),
        ("gpt-image-1.5", 100, {"text_tokens": 439}, 439, 0),
        ("gpt-image-1.5", None, {"text_tokens": 439}, 439, None),
    ],
)
def test_text_and_pictures_of_the_output_are_told_apart(
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
def test_base64_is_read_in_every_form(entry: dict[str, object]) -> None:
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
def test_an_unreadable_picture_costs_only_itself(entry: object) -> None:
    good = {"b64_json": PNG_BASE64}
    answer = PROVIDER.parse(make_response({"data": [good, entry, good]}), CALL)
    assert answer.images == (AnswerImage(PNG), AnswerImage(), AnswerImage(PNG))
    with pytest.raises(InvalidResponseError, match="holds no picture that can be read"):
        PROVIDER.parse(make_response({"data": [entry]}), CALL)


def test_an_address_and_the_revised_prompt_outlive_broken_base64() -> None:
    body = {"data": [{"b64_json": "!", "url": "https://files.example/a.png", "revised_prompt": "fox \ud800"}]}
    assert PROVIDER.parse(make_response(body), CALL).images == (
        # A lone surrogate, which JSON allows, could not be written to a file or a terminal.
        AnswerImage(None, "https://files.example/a.png", "fox ?"),
    )


def test_any_status_of_success_and_a_list_of_one_are_answers() -> None:
    assert PROVIDER.parse(make_response([{"data": [{"b64_json": PNG_BASE64}]}], 201), CALL).images == (
        AnswerImage(PNG),
    )


def error(message: object, code: object = None, kind: object = "invalid_request_error") -> dict[str, object]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


LOOK_FIRST = "It may have been billed: look at your usage before you send it again."
BILLED = "It may have been billed. Try again, or check the base URL if this happens every time."
LIMITS = "https://platform.openai.com/settings/organization/limits"
BILLING = "https://platform.openai.com/settings/organization/billing"
BLOCKED = "Your request was rejected by the safety system. safety_violations=[violence]."
SAFETY_SYSTEM = (
    "OpenAI's safety system blocked the picture: Your request was rejected by the safety system. "
    "safety_violations=[violence]."
)
EXCEEDED = "You exceeded your current quota, please check your plan and billing details."
SLOW_DOWN = "OpenAI asks to slow down: Rate limit reached for images per minute (IPM): Limit 5, Used 5."
FEWER = f"Ask for fewer pictures at once, or see the limits of your tier at {LIMITS}"
LIMITED = error("Rate limit reached for images per minute (IPM): Limit 5, Used 5.", "rate_limit_exceeded", "requests")
NOT_FOUND = error("The model does not exist or you do not have access to it.", "model_not_found")
OUT_OF_ORDER = "OpenAI is overloaded or out of order"
HTML = b"<html><body><h1>502 Bad Gateway</h1></body></html>"

FAILURES = [
    Failure(
        "broken JSON", 200, b'{"data": [{"b64_json": "AAA',
        InvalidResponseError, "invalid_response", "The answer of OpenAI is not whole JSON (27 bytes).", BILLED,
    ),
    Failure(
        "JSON nested too deeply", 200, b"[" * 100_000,
        InvalidResponseError, "invalid_response", "The answer of OpenAI is not whole JSON (100,000 bytes).", BILLED,
    ),
    Failure(
        "no data", 200, {"created": 1},
        InvalidResponseError, "invalid_response", "The answer of OpenAI holds no pictures.", BILLED,
    ),
    Failure(
        "empty data", 200, {"data": []},
        InvalidResponseError, "invalid_response", "The answer of OpenAI holds no pictures.", BILLED,
    ),
    Failure(
        "success that holds an error", 200, error("Upstream gave up\n\x1b[31mtwice"),
        InvalidResponseError, "invalid_response",
        "The answer of OpenAI holds no pictures: Upstream gave up [31mtwice.", BILLED,
    ),
    Failure(
        "no answer to a POST", 302, b"", InvalidResponseError, "invalid_response",
        "OpenAI answered with HTTP 302, which is no answer to such a request.", "Check the base URL.",
    ),
    Failure(
        "wrong value", 400, error("Invalid value: 'huge'. Supported values are: 'low' and 'high'", "invalid_value"),
        RejectedRequestError, "rejected",
        "OpenAI refused the request (HTTP 400): Invalid value: 'huge'. Supported values are: 'low' and 'high'.", None,
        should_retry=False, headers={"x-should-retry": "false"},
    ),
    Failure(
        "an error in one string", 422, {"error": "prompt missing!"}, RejectedRequestError, "rejected",
        "OpenAI refused the request (HTTP 422): prompt missing!", None,
    ),
    Failure(
        "long words", 400, error("word " * 100), RejectedRequestError, "rejected",
        f"OpenAI refused the request (HTTP 400): {('word ' * 60).rstrip()}…", None,
    ),
    Failure(
        "moderation", 400, error(BLOCKED, "moderation_blocked", "image_generation_user_error"),
        ContentBlockedError, "content_blocked", SAFETY_SYSTEM,
        "Change the prompt or the pictures given. The option moderation=low is less strict.",
    ),
    Failure(
        "moderation of DALL·E, which has no such option", 400, error(BLOCKED, "content_policy_violation"),
        ContentBlockedError, "content_blocked", SAFETY_SYSTEM,
        "Change the prompt or the pictures given.", model="openai/dall-e-3",
    ),
    Failure(
        "no credit", 429, error(EXCEEDED, "insufficient_quota", "insufficient_quota"), QuotaError, "quota",
        f"OpenAI refused for lack of money (insufficient_quota): {EXCEEDED}",
        "Add credit to the account at https://platform.openai.com/settings/organization/billing",
        headers={"retry-after": "5"}, retry_after=5.0,
    ),
    Failure(
        "no credit, named by its type alone", 429, error(EXCEEDED, None, "insufficient_quota"), QuotaError, "quota",
        f"OpenAI refused for lack of money (insufficient_quota): {EXCEEDED}",
        "Add credit to the account at https://platform.openai.com/settings/organization/billing",
    ),
    Failure(
        "spending limit of the account", 400,
        error("Billing hard limit has been reached", "billing_hard_limit_reached"), QuotaError, "quota",
        "OpenAI refused for lack of money (billing_hard_limit_reached): Billing hard limit has been reached.",
        f"Raise the spending limit of the account at {LIMITS}",
    ),
    Failure(
        "spending limit of the project", 429, error("", "project_spend_limit_exceeded"), QuotaError, "quota",
        "OpenAI refused for lack of money (project_spend_limit_exceeded).",
        f"Raise the spending limit of the project at {LIMITS}",
    ),
    Failure(
        "402 of a gateway", 402, b"<html>Payment Required</html>", QuotaError, "quota",
        "OpenAI wants to be paid first (HTTP 402).",
        f"Add credit at {BILLING}, or where the operator of your base URL says.",
    ),
    Failure(
        "no credit at a gateway", 403, error("Quota: 0.02", "insufficient_user_quota"), QuotaError, "quota",
        "OpenAI refused for lack of money (insufficient_user_quota): Quota: 0.02.",
        "Add credit where the operator of your base URL says.",
    ),
    Failure(
        "a spending cap without a code", 429, error("You have reached your spending cap"), QuotaError, "quota",
        "OpenAI refused for lack of money: You have reached your spending cap.",
        f"Add credit at {BILLING}, or raise the spending limit at {LIMITS}",
    ),
    Failure(
        "organisation not verified for streams", 400, error("Your organization must be verified to stream this model."),
        QuotaError, "quota", "OpenAI streams gpt-image-2 to verified organisations only.",
        "Verify the organisation at https://platform.openai.com/settings/organization/general "
        "(it can take 15 minutes to count). Without previews, no stream is asked for.",
    ),
    Failure(
        "blocked by Azure", 400, error("The response was filtered", "content_filter"), ContentBlockedError,
        "content_blocked", "OpenAI's safety system blocked the picture: The response was filtered.",
        "Change the prompt or the pictures given. The option moderation=low is less strict.",
    ),
    Failure(
        "429, wait in words", 429, error("Rate limit reached. Please try again after 51.84 seconds."), RateLimitedError,
        "rate_limited", "OpenAI asks to slow down: Rate limit reached. Please try again after 51.84 seconds.", FEWER,
        retry_after=51.84,
    ),
    Failure(
        "429, wait in a header and in words", 429, error("Please try again in 5s."), RateLimitedError,
        "rate_limited", "OpenAI asks to slow down: Please try again in 5s.", FEWER,
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
        "429, HTML", 429, HTML, RateLimitedError, "rate_limited", "OpenAI asks to slow down.", FEWER,
    ),
    Failure(
        "wrong key", 401, error("Incorrect API key provided: sk-proj-********wxyz.", "invalid_api_key"),
        AuthenticationError, "authentication", "OpenAI refused the key.",
        "Make a new one at https://platform.openai.com/api-keys and set it with: invokeai-external keys set openai",
    ),
    Failure(
        "organisation not verified", 403, error("Your organization must be verified to use the model `gpt-image-2`."),
        QuotaError, "quota", "OpenAI serves gpt-image-2 to verified organisations only.",
        "Verify the organisation at https://platform.openai.com/settings/organization/general "
        "(it can take 15 minutes to count).",
    ),
    Failure(
        "key without permission", 403, error("Missing scopes: model.request"), AuthenticationError, "authentication",
        "OpenAI does not allow this key to use gpt-image-2: Missing scopes: model.request.",
        "Check the permissions of the key and its project at https://platform.openai.com/api-keys",
    ),
    Failure(
        "unknown model", 404, NOT_FOUND, RejectedRequestError, "rejected",
        "OpenAI does not serve gpt-image-2: The model does not exist or you do not have access to it.",
        "See 'invokeai-external models' for the models that are known, or check the base URL.",
    ),
    Failure(
        "retired model", 404, NOT_FOUND, ModelRetiredError, "model_retired",
        "DALL·E 3 was retired on 2026-05-12.",
        "Use gpt-image-2 instead.", model="openai/dall-e-3",
    ),
    Failure(
        "deprecated model", 404, HTML, ModelRetiredError, "model_retired",
        "GPT Image 1.5 is no longer served; its end was set for 2026-12-01.",
        "Use gpt-image-2.5-sunburst instead.", model="openai/gpt-image-1.5",
    ),
    Failure(
        "408", 408, error("Request timed out."), TimedOutError, "timed_out",
        "OpenAI gave up waiting (HTTP 408): Request timed out.", LOOK_FIRST,
    ),
    Failure(
        "409", 409, error("The request conflicts with another one."), UnavailableError, "unavailable",
        f"{OUT_OF_ORDER} (HTTP 409): The request conflicts with another one.", "Try again later.",
    ),
    Failure(
        "413", 413, b"<html>413 Request Entity Too Large</html>", RejectedRequestError, "rejected",
        "The request is too large for OpenAI (HTTP 413).", "Give fewer or smaller pictures.",
    ),
    Failure(
        "500", 500, error("The server had an error. Sorry about that!", None, "server_error"),
        UnavailableError, "unavailable",
        f"{OUT_OF_ORDER} (HTTP 500): The server had an error. Sorry about that!", "Try again later.",
    ),
    Failure(
        "502, HTML", 502, HTML, UnavailableError, "unavailable", f"{OUT_OF_ORDER} (HTTP 502).", LOOK_FIRST,
        headers={"retry-after": "3"}, retry_after=3.0,
    ),
    Failure(
        "503, never again", 503, error(None), UnavailableError, "unavailable",
        f"{OUT_OF_ORDER} (HTTP 503).", "Try again later.", headers={"x-should-retry": "false"}, should_retry=False,
    ),
]  # fmt: skip


@pytest.mark.parametrize("failure", FAILURES, ids=[failure.name for failure in FAILURES])
def test_each_failure_tells_the_user_what_happened_and_what_to_do(failure: Failure) -> None:
    call = make_call(failure.model or "openai/gpt-image-2")
    headers = {"x-request-id": "req_1", **failure.headers}
    with pytest.raises(ProviderError) as caught:
        PROVIDER.parse(make_response(failure.body, failure.status, headers), call)
    failure.check(caught.value)
    assert (caught.value.provider, caught.value.model) == ("openai", call.model.id)
    assert caught.value.request_id == "req_1"
    assert "wxyz" not in str(caught.value)


@pytest.mark.parametrize(
    ("mode", "options", "expected"),
    [
        ({}, {"moderation": "low"}, "Change the prompt or the pictures given."),
        ({"init_image": picture()}, {}, "Change the prompt or the pictures given."),
    ],
    ids=["it is low already", "edits have no such option"],
)
def test_less_moderation_is_only_proposed_where_it_helps(
    mode: dict[str, Any], options: dict[str, OptionValue], expected: str
) -> None:
    call = make_call("openai/gpt-image-2", options=options, **mode)
    with pytest.raises(ContentBlockedError) as caught:
        PROVIDER.parse(make_response(error("", "moderation_blocked"), 400), call)
    assert caught.value.hint == expected


NAMES = ["error", "code", "type", "message", "data", "b64_json", "url", "usage", "output_tokens"]


@settings(deadline=None)
@given(response=responses(NAMES), model=st.sampled_from(["openai/gpt-image-2", "openai/dall-e-2"]))
@example(make_response(b'{"error": {"message": "\\ud800\\u001b[2J"}}', 400), "openai/dall-e-2")
@example(make_response(b'{"data": ' + b"[" * 5000), "openai/gpt-image-2")
def test_whatever_arrives_becomes_an_answer_or_a_typed_error_that_can_be_shown(
    response: HttpResponse, model: str
) -> None:
    check_outcome(PROVIDER, response, make_call(model))
