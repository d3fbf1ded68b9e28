"""What a call cost: by the provider's prices of an image, or as its response states it."""

from __future__ import annotations

import base64
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import respx
from PIL import Image

from invokeai_external.adapters.gemini import GeminiAdapter
from invokeai_external.root_folder import SPENDING_FILE
from invokeai_external.settings.settings import Settings, load_settings

from .common import GEMINI, OPENAI, PNG_1X1, URL, candidate, generate, png_file, settings_of

pytestmark = pytest.mark.anyio

USAGE = {
    "input_tokens": 20,
    "input_tokens_details": {"text_tokens": 20, "image_tokens": 0},
    "output_tokens": 196,
    "total_tokens": 216,
}


def priced(root: Path, prices: str) -> Settings:
    (root / "invokeai_external.yaml").write_text(f"models:\n  {OPENAI}:\n    prices: {prices}\n", encoding="utf-8")
    return load_settings(root)


def answers(respx_mock: respx.MockRouter, *data: str, **more: object) -> None:
    images = [{"b64_json": text} for text in data]
    respx_mock.post(URL).mock(return_value=httpx.Response(200, json={"data": images, **more}))


@pytest.mark.parametrize(
    ("prices", "usage", "usd"),
    [
        ("{per_image: 0.02}", None, 0.06),
        ("{per_image: 0.02}", USAGE, 0.06),
        ("{per_image: 0.02, text_in: 5}", USAGE, 0.0601),
        ("{per_image: 0.02, text_in: 5}", None, None),
        # The model chose the size, which is that of the images.
        ("{per_image: {1x1: 0.01}}", None, 0.03),
        ("{per_image: {1024x1024: 0.01}}", None, None),
        ("{per_megapixel: 1000}", None, 0.003),
        ("{per_image: 0}", None, 0),
    ],
)
async def test_images_with_a_price_cost_it(
    prices: str, usage: object, usd: float | None, tmp_path: Path, respx_mock: respx.MockRouter
) -> None:
    answers(respx_mock, *[PNG_1X1] * 3, **({"usage": usage} if usage else {}))
    result = await generate(priced(tmp_path, prices), OPENAI, n=3)
    assert result.cost_usd == (None if usd is None else pytest.approx(usd))
    assert [image.cost_usd for image in result.images] == [None if usd is None else pytest.approx(usd / 3)] * 3


@pytest.mark.parametrize(
    ("received", "usd"), [("A", 0.02), ("AB", 0.04), ("ABC", 0.06), ("AAB!", 0.06), ("AAAA", 0.04)]
)
async def test_each_image_that_was_received_counts(
    received: str, usd: float, tmp_path: Path, respx_mock: respx.MockRouter
) -> None:
    """Copies count as far as they were asked for, and an image that cannot be read was made all the same."""
    files = {letter: png_file(Image.new("L", (2, 1), number), "x").data for number, letter in enumerate("ABC")}
    answers(respx_mock, *[base64.b64encode(files[one]).decode() if one in files else one for one in received])
    result = await generate(priced(tmp_path, "{per_image: 0.02}"), OPENAI, n=2)
    assert result.cost_usd == pytest.approx(usd)


async def test_the_images_of_a_response_that_was_cut_off_may_all_be_billed(
    tmp_path: Path, respx_mock: respx.MockRouter
) -> None:
    body = f'{{"data": [{{"b64_json": "{PNG_1X1}"}}, {{"b64_json": "{PNG_1X1[:20]}'
    respx_mock.post(URL).mock(return_value=httpx.Response(200, content=body))
    settings = priced(tmp_path, "{per_image: 0.02}")
    assert (await generate(settings, OPENAI, n=2)).cost_usd is None
    assert (await generate(settings, OPENAI)).cost_usd == 0.02


def stating(cost_from: str, settings: Settings) -> Settings:
    """The settings of providers that state their cost."""
    providers = {name: found.model_copy(update={"cost_from": cost_from}) for name, found in settings.providers.items()}
    return replace(settings, providers=providers)


async def test_the_cost_that_a_response_states_comes_before_the_prices(
    tmp_path: Path, respx_mock: respx.MockRouter
) -> None:
    answers(respx_mock, PNG_1X1, PNG_1X1, usage={**USAGE, "cost": 0.07})
    result = await generate(stating("usage.cost", priced(tmp_path, "{per_image: 0.02}")), OPENAI, n=2)
    assert result.cost_usd == 0.07
    with closing(sqlite3.connect(tmp_path / SPENDING_FILE)) as db:
        assert db.execute("SELECT cost, cost_from, computed FROM calls").fetchall() == [
            (70_000_000, "provider", 40_000_000)
        ]
    assert [image.cost_usd for image in result.images] == [0.035] * 2
    external = [image.metadata["external"] for image in result.images]
    assert [(one["cost_usd"], one["cost_from"]) for one in external] == [(0.035, "provider")] * 2  # type: ignore[index]


async def test_without_a_stated_cost_the_prices_count(tmp_path: Path, respx_mock: respx.MockRouter) -> None:
    answers(respx_mock, PNG_1X1, usage=USAGE)
    (image,) = (await generate(stating("header:x-cost", priced(tmp_path, "{per_image: 0.02}")), OPENAI)).images
    assert (image.cost_usd, image.metadata["external"]["cost_from"]) == (0.02, "prices")  # type: ignore[index]


@pytest.mark.parametrize(("costs", "usd"), [(("0.01", "0.02"), 0.03), (("0.01", "unknown"), None), (("0", "0"), 0)])
async def test_the_costs_of_several_calls_are_added(
    costs: tuple[str, str],
    usd: float | None,
    tmp_path: Path,
    respx_mock: respx.MockRouter,
) -> None:
    body = candidate({"inlineData": {"mimeType": "image/png", "data": PNG_1X1}}, finishReason="STOP")
    respx_mock.post(url__regex="generateContent").mock(
        side_effect=[httpx.Response(200, content=body, headers={"x-cost": cost}) for cost in costs]
    )
    assert (await generate(stating("header:x-cost", settings_of(tmp_path)), GEMINI, n=2)).cost_usd == usd


async def test_a_search_does_not_hide_the_cost_that_the_response_states(
    tmp_path: Path, respx_mock: respx.MockRouter
) -> None:
    grounding = {"webSearchQueries": ["foxes"]}
    image = {"inlineData": {"mimeType": "image/png", "data": PNG_1X1}}
    body = candidate(image, finishReason="STOP", groundingMetadata=grounding)
    respx_mock.post(url__regex="generateContent").mock(
        return_value=httpx.Response(200, content=body, headers={"x-cost": "0.05"})
    )
    result = await generate(stating("header:x-cost", settings_of(tmp_path)), GEMINI)
    (notice,) = [notice.message for notice in result.notices if notice.code == "web_search"]
    assert (result.cost_usd, "unknown" in notice) == (0.05, False)


async def test_the_seed_that_a_response_names_is_the_seed_of_its_image(
    tmp_path: Path, respx_mock: respx.MockRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    parse = GeminiAdapter.parse
    monkeypatch.setattr(GeminiAdapter, "parse", lambda *given: replace(parse(*given), seed=11))
    body = candidate({"inlineData": {"mimeType": "image/png", "data": PNG_1X1}}, finishReason="STOP")
    respx_mock.post(url__regex="generateContent").mock(return_value=httpx.Response(200, content=body))
    (image,) = (await generate(settings_of(tmp_path), GEMINI, seed=7)).images
    assert (image.seed, image.metadata["seed"]) == (11, 11)
