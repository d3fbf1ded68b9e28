"""The routes under ``/api/v1/external``."""

from __future__ import annotations

import pytest

from .invoke import PROVIDERS, Invoke
from .sandbox import Sandbox


def test_the_routes_are_on_the_api_page(invoke: Invoke) -> None:
    paths = invoke.request("GET", "/../openapi.json").json()["paths"]
    ours = {path: set(paths[path]) for path in paths if path.startswith("/api/v1/external/")}
    assert ours == {
        "/api/v1/external/status": {"get"},
        "/api/v1/external/models": {"get"},
        "/api/v1/external/test/{provider}": {"post"},
        "/api/v1/external/originals/{image_name}": {"get"},
        "/api/v1/external/spending": {"get"},
        "/api/v1/external/spending/runs": {"get"},
        "/api/v1/external/spending/charts": {"get"},
        "/api/v1/external/spending/settle": {"post"},
        "/api/v1/external/prices": {"get"},
        "/api/v1/external/limits": {"get", "post"},
        "/api/v1/external/settings": {"get", "post"},
        "/api/v1/external/settings/defaults": {"post"},
    }


def test_the_status_names_the_providers_with_a_key_but_no_key(invoke: Invoke, canary: str) -> None:
    status = invoke.request("GET", "/v1/external/status")
    assert canary not in status.text
    found = status.json()
    assert found["sandbox"] is False
    assert [(each["provider"], each["configured"], each["name"]) for each in found["providers"]] == [
        ("gemini", True, "Google Gemini"),
        ("openai", True, "OpenAI"),
    ]
    assert found["ending"] == []


def test_the_catalogue_has_its_prices(invoke: Invoke) -> None:
    models = {model["id"]: model for model in invoke.get("/v1/external/models")}
    assert models["gpt-image-2.5-flare"]["prices"]["image_out"] > 0
    assert set(models) >= {model["provider_model_id"] for model in invoke.models()}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_connection_test_makes_no_image(invoke: Invoke, sandbox: Sandbox, provider: str) -> None:
    answer = invoke.send("POST", f"/v1/external/test/{provider}")
    assert answer["ok"] is True
    assert answer["message"]
    assert answer["hint"] is None
    assert sandbox.calls() == []
    assert [call["path"].rsplit("/", 1)[1] for call in sandbox.all_calls()] == ["models"]


def test_a_connection_test_reports_a_wrong_key(invoke: Invoke, sandbox: Sandbox) -> None:
    invoke.set_key("openai", "invalid-key")
    try:
        answer = invoke.send("POST", "/v1/external/test/openai")
    finally:
        invoke.set_key("openai")
    assert (answer["provider"], answer["ok"]) == ("openai", False)
    assert "key" in answer["message"]
    # The remedy is for Invoke and not for the command line.
    assert "External Providers" in answer["hint"]


def test_an_unknown_provider_is_rejected(invoke: Invoke) -> None:
    assert invoke.request("POST", "/v1/external/test/nobody").status_code == 422
