"""The cost that a response states, where the provider's ``cost_from`` says."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from pydantic import ValidationError

from invokeai_external.adapters.base import Adapter
from invokeai_external.adapters.gemini import GeminiAdapter
from invokeai_external.adapters.openai_images import OpenAIImagesAdapter
from invokeai_external.adapters.stated_cost import stated_cost
from invokeai_external.providers import catalog
from invokeai_external.providers.provider_config import ProviderConfig

from .conftest import PNG_BASE64, make_call, make_response


def provider(cost_from: str, provider_id: str = "openai") -> ProviderConfig:
    return ProviderConfig.model_validate({**catalog.page(provider_id).provider.model_dump(), "cost_from": cost_from})


@pytest.mark.parametrize(
    ("stated", "usd"),
    [
        (0.04, 0.04),
        (1, 1.0),
        (0, 0.0),
        (-0.0, 0.0),
        ("0.04", 0.04),
        ("4e-2", 0.04),
        (-0.01, None),
        ("-0.01", None),
        (True, None),
        (float("nan"), None),
        (float("inf"), None),
        ("NaN", None),
        ("inf", None),
        ("", None),
        ("None", None),
        ("0,04", None),
        ("$0.04", None),
        ("0.04, 0.04", None),
        ("1" * 5000, None),
        (10**400, None),
        (1e7, None),
        (None, None),
        ([0.04], None),
        ({"usd": 0.04}, None),
    ],
)
def test_a_stated_cost_is_a_number_of_dollars_or_unknown(stated: object, usd: float | None) -> None:
    assert str(stated_cost(provider("usage.cost"), {"cost": stated, "tokens": 3}, {"x-cost": "5"})) == str(usd)
    if isinstance(stated, str):
        assert stated_cost(provider("header:X-Cost"), {"cost": 5}, {"x-cost": stated}) == usd


@pytest.mark.parametrize("usage", [None, [], "cost", 0.04, {}])
def test_a_response_without_the_field_or_the_header_states_no_cost(usage: object) -> None:
    assert stated_cost(provider("usage.cost"), usage, {"cost": "0.04"}) is None
    assert stated_cost(provider("header:x-cost"), usage, {}) is None


def test_the_cost_of_tokens_is_not_read_in_the_response() -> None:
    assert stated_cost(provider("tokens"), {"tokens": 3, "cost": 4}, {"tokens": "3"}) is None


@pytest.mark.parametrize(
    "cost_from",
    [
        "",
        "cost",
        "usage",
        "usage.",
        "usage.a.b",
        "usage.a b",
        "header:",
        "header:a b",
        "header:a:b",
        "header:ä",
        "tokens\n",
    ],
)
def test_any_other_place_is_refused_in_one_sentence(cost_from: str) -> None:
    with pytest.raises(ValidationError, match=r"must be tokens, usage\.FIELD or header:NAME") as caught:
        provider(cost_from)
    assert caught.value.error_count() == 1


OPENAI_BODY = {"data": [{"b64_json": PNG_BASE64}], "usage": {"cost": 0.04}}
PART = {"inlineData": {"mimeType": "image/png", "data": PNG_BASE64}}
GEMINI_BODY = {"candidates": [{"content": {"parts": [PART]}}], "usageMetadata": {"cost": "0.04"}}
PNG_FILE = b"\x89PNG\r\n\x1a\n" + b"\0" * 100


@pytest.mark.parametrize(
    ("model", "body"), [("openai/gpt-image-2", OPENAI_BODY), ("gemini/gemini-3-pro-image", GEMINI_BODY)]
)
def test_both_adapters_read_it(model: str, body: dict[str, object]) -> None:
    name = model.partition("/")[0]
    kinds: dict[str, Callable[[ProviderConfig], Adapter]] = {"openai": OpenAIImagesAdapter, "gemini": GeminiAdapter}
    call, headers = make_call(model), {"x-cost": "0.05"}
    places = [kinds[name](provider(place, name)) for place in ("usage.cost", "header:X-Cost", "tokens")]
    whole, head = make_response(json.dumps(body).encode(), headers=headers), make_response(b"", headers=headers)
    assert [one.parse(whole, call).cost_usd for one in places] == [0.04, 0.05, None]
    assert [one.join_events([body], head, call).cost_usd for one in places] == [0.04, 0.05, None]
    # The response is the image file itself.
    file = make_response(PNG_FILE, headers=headers)
    assert [one.parse(file, call).cost_usd for one in places] == [None, 0.05, None]
