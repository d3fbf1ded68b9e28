"""What a call cost: by the provider's prices of an image, or as its response states it."""

from __future__ import annotations

import base64
from pathlib import Path

import httpx
import pytest
import respx
from PIL import Image

from invokeai_external.settings.settings import Settings, load_settings

from .common import OPENAI, PNG_1X1, URL, generate, png_file

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
