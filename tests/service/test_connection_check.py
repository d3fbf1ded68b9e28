"""The connection test."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx
from pydantic import SecretStr

from invokeai_external.adapters.find import adapter_of
from invokeai_external.errors import (
    AuthenticationError,
    InvalidResponseError,
    NetworkError,
    ProviderError,
    RejectedRequestError,
    UnavailableError,
)
from invokeai_external.providers import catalog
from invokeai_external.service.service import Service
from invokeai_external.transport.messages import HttpResponse

from ..support.providers import IN_INVOKE
from .common import received_calls, settings_of

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("provider", IN_INVOKE)
async def test_it_requests_only_the_list_of_models(provider: str, sandbox_url: str, tmp_path: Path) -> None:
    async with Service(settings_of(tmp_path)) as service:
        check = await service.check_connection(provider)
        active = [m.id for m in service.registry.models(provider) if m.lifecycle.status == "active"]
    assert set(active) <= set(check.listed)
    assert check.missing == ()
    (call,) = received_calls(sandbox_url)
    assert call["method"] == "GET"
    assert call["path"].endswith("/models")


@pytest.mark.parametrize("provider", IN_INVOKE)
async def test_a_refused_key_is_an_error_with_its_source(provider: str, sandbox_url: str, tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    credentials = replace(settings.credentials[provider], api_key=SecretStr("invalid-key"), source="a test")
    settings = replace(settings, credentials={**settings.credentials, provider: credentials})
    async with Service(settings) as service:
        with pytest.raises(AuthenticationError) as caught:
            await service.check_connection(provider)
    assert caught.value.provider == provider
    assert caught.value.remedy is not None
    assert caught.value.remedy.source == "a test"
    assert "invalid-key" not in str(caught.value)


@pytest.mark.parametrize("provider", IN_INVOKE)
@respx.mock
async def test_what_is_free_cannot_have_been_billed(provider: str, tmp_path: Path) -> None:
    respx.get(path__regex="/models$").respond(json=[1] * 300_000)
    async with Service(settings_of(tmp_path)) as service:
        for ask in (service.check_connection, service.check_models):
            with pytest.raises(InvalidResponseError) as caught:
                await ask(provider)
            assert not caught.value.may_be_billed
            assert "billed" not in str(caught.value)


@pytest.mark.parametrize("provider", IN_INVOKE)
@respx.mock
async def test_a_key_without_permission_is_not_replaced(provider: str, tmp_path: Path) -> None:
    respx.get(path__regex="/models$").respond(403)
    with pytest.raises(AuthenticationError) as parsed:
        adapter_of(catalog.page(provider).provider).parse_listing(HttpResponse(403, {}, b"", 0.0))
    async with Service(settings_of(tmp_path)) as service:
        with pytest.raises(AuthenticationError) as caught:
            await service.check_connection(provider)
    assert (caught.value.hint or "").endswith(parsed.value.hint or "?")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ({"status_code": 404}, RejectedRequestError),
        ({"status_code": 403}, AuthenticationError),
        ({"status_code": 503}, UnavailableError),
        ({"status_code": 200, "text": "<html>"}, InvalidResponseError),
        ({"status_code": 200, "json": {}}, InvalidResponseError),
    ],
)
@pytest.mark.parametrize("provider", IN_INVOKE)
@respx.mock
async def test_a_response_that_is_not_a_list_is_an_error(
    provider: str, answer: dict[str, Any], kind: type[ProviderError], tmp_path: Path
) -> None:
    respx.get(path__regex="/models$").respond(**answer)
    async with Service(settings_of(tmp_path)) as service:
        with pytest.raises(kind) as caught:
            await service.check_connection(provider)
    assert type(caught.value) is kind
    assert "billed" not in str(caught.value)


@respx.mock
async def test_it_names_models_that_are_not_listed(tmp_path: Path) -> None:
    respx.get(path__regex="/models$").respond(json={"data": [{"id": "gpt-image-2"}, {"id": "dall-e-3"}, "?", {}]})
    async with Service(settings_of(tmp_path)) as service:
        check = await service.check_connection("openai")
        retired = {m.id for m in service.registry.models("openai") if m.lifecycle.status == "retired"}
    assert check.listed == ("gpt-image-2", "dall-e-3")
    assert "gpt-image-2.5-flare" in check.missing
    assert retired.isdisjoint(check.missing)


@respx.mock
async def test_a_model_is_listed_under_its_alias_too(tmp_path: Path) -> None:
    respx.get(path__regex="/models$").respond(json={"data": [{"id": "chatgpt-image-latest"}]})
    async with Service(settings_of(tmp_path)) as service:
        check = await service.check_connection("openai")
    assert check.listed == ("gpt-image-1.5",)
    assert "gpt-image-1.5" not in check.missing


@pytest.mark.parametrize(
    "failure", [httpx.ConnectError("refused"), httpx.ReadTimeout("slow"), httpx.ReadError("cut"), TimeoutError()]
)
@respx.mock
async def test_a_lost_connection_says_nothing_about_billing(failure: Exception, tmp_path: Path) -> None:
    respx.get(path__regex="/models$").mock(side_effect=failure)
    async with Service(settings_of(tmp_path)) as service:
        with pytest.raises(NetworkError) as caught:
            await service.check_connection("gemini")
    assert not caught.value.may_be_billed
    assert "billed" not in str(caught.value)
