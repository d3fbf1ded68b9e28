"""Errors of a provider and of the network, each with its facts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
import respx

from invokeai_external.errors import (
    AuthenticationError,
    CapabilityError,
    ContentBlockedError,
    InvalidResponseError,
    ModelRetiredError,
    NetworkError,
    NotConfiguredError,
    ProviderError,
    QuotaError,
    RateLimitedError,
    RejectedRequestError,
    TimedOutError,
    UnavailableError,
)
from invokeai_external.progress import Failed, Progress

from .common import ANSWER, GEMINI, MODELS, OPENAI, PNG_1X1, URL, Broken, Order, generate, received_calls, settings_of

pytestmark = pytest.mark.anyio


UNREADABLE = ("no_image", "truncated_json", "bad_base64", "not_an_image")


LOST = ("truncated_body", "dropped_connection")


@pytest.mark.parametrize(
    ("model", "fault", "params", "kind", "facts"),
    [
        (OPENAI, "rate_limited", {"seconds": 300}, RateLimitedError, ["300 s", "5 minutes"]),
        (OPENAI, "rate_limited", {"form": "x-should-retry-false"}, RateLimitedError, []),
        (GEMINI, "rate_limited", {"form": "retry-info", "delay": "200s"}, RateLimitedError, ["200 s"]),
        (OPENAI, "quota", {}, QuotaError, ["insufficient_quota"]),
        (OPENAI, "quota", {"code": "billing_hard_limit_reached"}, QuotaError, []),
        (OPENAI, "quota", {"code": "project_spend_limit_exceeded"}, QuotaError, []),
        (OPENAI, "organization_not_verified", {}, QuotaError, []),
        (GEMINI, "quota", {"limit": "zero"}, QuotaError, []),
        (GEMINI, "quota", {"limit": "per_day"}, QuotaError, []),
        (OPENAI, "quota", {"status": 402}, QuotaError, []),
        (OPENAI, "quota", {"code": "insufficient_user_quota", "status": 403}, QuotaError, []),
        (GEMINI, "quota", {"limit": "zero_value"}, QuotaError, []),
        (GEMINI, "quota", {"limit": "prepayment"}, QuotaError, []),
        (GEMINI, "quota", {"limit": "prepayment", "status": 402}, QuotaError, []),
        (OPENAI, "moderation", {"violation": "stream"}, ContentBlockedError, []),
        (OPENAI, "moderation", {}, ContentBlockedError, []),
        (OPENAI, "moderation", {"stage": "input"}, ContentBlockedError, ["blocked the request", "Change the prompt"]),
        (OPENAI, "moderation", {"stage": "output"}, ContentBlockedError, ["the finished image", "Try again"]),
        (GEMINI, "blocked_prompt", {}, ContentBlockedError, ["PROHIBITED_CONTENT"]),
        (GEMINI, "refusal_text", {"text": "I cannot draw that."}, ContentBlockedError, ["I cannot draw that."]),
        (
            GEMINI,
            "finish_reason",
            {"reason": "IMAGE_SAFETY", "message": "It looks unsafe."},
            ContentBlockedError,
            ["IMAGE_SAFETY", "It looks unsafe."],
        ),
        (GEMINI, "finish_reason", {"reason": "MAX_TOKENS"}, InvalidResponseError, ["MAX_TOKENS"]),
        *((model, fault, {}, InvalidResponseError, []) for fault in UNREADABLE for model in (OPENAI, GEMINI)),
        *((model, fault, {}, NetworkError, []) for fault in LOST for model in (OPENAI, GEMINI)),
    ],
)
async def test_a_fault_that_no_retry_fixes_is_reported_at_once(
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
        await generate(settings_of(tmp_path), model)
    assert type(caught.value) is kind
    assert [fact for fact in facts if fact not in str(caught.value)] == []
    # A refusal in a response that calls itself a success counts as well.
    assert caught.value.may_be_billed is (kind in (InvalidResponseError, NetworkError) or caught.value.status == 200)
    assert (caught.value.provider, caught.value.model) == tuple(model.split("/"))
    assert len(received_calls(sandbox_url)) == 1


async def test_a_fault_of_gemini_itself_is_not_a_refusal(sandbox_url: str, order: Order, tmp_path: Path) -> None:
    order(GEMINI, "finish_reason", reason="OTHER", message="Image generation failed due to an internal error.")
    with pytest.raises(UnavailableError) as caught:
        await generate(settings_of(tmp_path), GEMINI)
    assert "due to an internal error" in caught.value.message
    assert caught.value.may_be_billed
    assert len(received_calls(sandbox_url)) == 1


@MODELS
async def test_the_error_of_a_wrong_key_does_not_show_it(
    model: str, sandbox_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"INVOKEAI_EXTERNAL_{model.partition('/')[0].upper()}_API_KEY", "sk-wrong-1234567890")
    with pytest.raises(AuthenticationError) as caught:
        await generate(settings_of(tmp_path), model)
    assert caught.value.remedy is not None
    assert (caught.value.remedy.action, caught.value.remedy.provider) == ("replace_key", model.partition("/")[0])
    assert "1234567890" not in repr(vars(caught.value))


async def test_the_error_of_a_retired_model_names_its_successor(sandbox_url: str, tmp_path: Path) -> None:
    with pytest.raises(ModelRetiredError) as caught:
        await generate(settings_of(tmp_path), "openai/gpt-image-1")
    facts = ("GPT Image 1", "2026-10-23", "gpt-image-2.5-flare")
    assert [fact for fact in facts if fact not in str(caught.value)] == []
    assert caught.value.status == 400


async def test_a_missing_key_names_command_variable_and_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INVOKEAI_EXTERNAL_OPENAI_API_KEY")
    with pytest.raises(NotConfiguredError) as caught:
        await generate(settings_of(tmp_path), OPENAI)
    for part in ("keys set openai", "INVOKEAI_EXTERNAL_OPENAI_API_KEY", str(tmp_path / "api_keys.yaml")):
        assert part in str(caught.value)


async def test_without_a_connection_nothing_was_sent(tmp_path: Path, respx_mock: respx.MockRouter) -> None:
    respx_mock.post(URL).mock(side_effect=httpx.ConnectError("[Errno -2] Name or service not known"))
    with pytest.raises(NetworkError) as caught:
        await generate(settings_of(tmp_path, max_attempts=1), OPENAI)
    assert (caught.value.never_sent, caught.value.may_be_billed) == (True, False)
    assert "api.openai.com" in caught.value.message


async def test_a_response_that_is_too_large_is_an_error(tmp_path: Path, respx_mock: respx.MockRouter) -> None:
    respx_mock.post(URL).mock(return_value=httpx.Response(200, content=b"x" * 1_000_001))
    with pytest.raises(InvalidResponseError, match="1,000,000"):
        await generate(settings_of(tmp_path, max_response_bytes=1_000_000), OPENAI)


async def test_a_call_without_enough_memory_does_not_end_the_others(
    tmp_path: Path, respx_mock: respx.MockRouter
) -> None:
    part = {"inlineData": {"mimeType": "image/png", "data": PNG_1X1}}
    answer = {"candidates": [{"content": {"parts": [part]}, "finishReason": "STOP"}]}
    responses: list[httpx.Response | type[Exception]] = [MemoryError, *[httpx.Response(200, json=answer)] * 2]
    respx_mock.post(host="generativelanguage.googleapis.com").mock(side_effect=responses)
    result = await generate(settings_of(tmp_path), GEMINI, n=3)
    assert len(result.images) == 2
    (error,) = result.errors
    assert isinstance(error, InvalidResponseError)
    assert error.may_be_billed


async def test_a_redirect_is_not_followed_with_the_key(tmp_path: Path, respx_mock: respx.MockRouter) -> None:
    respx_mock.post(URL).mock(return_value=httpx.Response(307, headers={"location": "https://elsewhere.example/"}))
    with pytest.raises(InvalidResponseError, match="HTTP 307"):
        await generate(settings_of(tmp_path), OPENAI)


async def test_a_proxy_is_used(sandbox_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sandbox plays a proxy: it answers 404 for a URL that no other server has."""
    monkeypatch.setenv("HTTP_PROXY", sandbox_url)
    monkeypatch.setenv("INVOKEAI_EXTERNAL_OPENAI_BASE_URL", "http://10.255.255.1/v1")
    with pytest.raises(RejectedRequestError) as caught:
        await generate(settings_of(tmp_path), OPENAI)
    assert caught.value.status == 404


async def test_this_machine_is_never_reached_through_a_proxy(
    sandbox_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    assert len((await generate(settings_of(tmp_path), OPENAI)).images) == 1


async def test_a_key_that_a_proxy_quotes_is_in_no_image_and_no_error(
    canary: str, tmp_path: Path, respx_mock: respx.MockRouter
) -> None:
    quoting = {
        **ANSWER,
        "data": [{"b64_json": PNG_1X1, "revised_prompt": f"a fox for {canary}"}],
    }
    respx_mock.post(URL).mock(
        side_effect=[
            httpx.Response(200, json=quoting, headers={"x-request-id": f"req-{canary}"}),
            httpx.Response(400, json={"error": {"message": f"no such project for {canary}"}}),
        ]
    )
    result = await generate(settings_of(tmp_path), OPENAI)
    assert canary not in repr(result) + repr(result.images[0].metadata)
    assert result.images[0].revised_prompt == "a fox for [key]"
    with pytest.raises(RejectedRequestError, match=r"\[key\]"):
        await generate(settings_of(tmp_path), OPENAI)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (httpx.ReadError, NetworkError),
        (httpx.ReadTimeout, TimedOutError),
        (httpx.DecodingError, InvalidResponseError),
    ],
)
async def test_a_response_that_breaks_off_keeps_its_request_id(
    error: type[httpx.RequestError], kind: type[ProviderError], tmp_path: Path, respx_mock: respx.MockRouter
) -> None:
    answer = httpx.Response(200, headers={"x-request-id": "req_7"}, stream=Broken(error("gone")))
    route = respx_mock.post(URL).mock(return_value=answer)
    with pytest.raises(kind) as caught:
        await generate(settings_of(tmp_path), OPENAI)
    assert (caught.value.status, caught.value.request_id, route.call_count) == (200, "req_7", 1)
    assert caught.value.may_be_billed


@MODELS
async def test_the_error_of_a_refused_key_names_its_source(
    model: str, sandbox_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = f"INVOKEAI_EXTERNAL_{model.partition('/')[0].upper()}_API_KEY"
    monkeypatch.setenv(variable, "sk-wrong-1234567890")
    with pytest.raises(AuthenticationError) as caught:
        await generate(settings_of(tmp_path), model)
    assert caught.value.remedy is not None
    assert caught.value.remedy.source == variable


async def test_a_failed_call_is_reported_as_it_happens(sandbox_url: str, order: Order, tmp_path: Path) -> None:
    order(GEMINI, "refusal_text")
    seen: list[Progress] = []
    await generate(settings_of(tmp_path), GEMINI, n=2, seen=seen)
    assert [type(event) for event in seen].count(Failed) == 1


async def test_the_error_of_an_unsupported_option_names_the_model(tmp_path: Path) -> None:
    with pytest.raises(CapabilityError) as caught:
        await generate(settings_of(tmp_path), GEMINI, options={"background": "transparent"})
    assert (caught.value.provider, caught.value.model) == tuple(GEMINI.split("/"))
