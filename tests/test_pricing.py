"""Money: from tokens to USD; what is unknown is never taken for zero."""

from __future__ import annotations

import pytest

from invokeai_external.planning.plan import plan
from invokeai_external.pricing.estimate import image_usd
from invokeai_external.pricing.prices import cost_usd
from invokeai_external.providers import catalog
from invokeai_external.providers.schema import Prices
from invokeai_external.request import GenerationRequest, OptionValue
from invokeai_external.result import Usage
from invokeai_external.sizing import AspectRatio, Size

MODELS = {config.id: config for page in catalog.pages() for config in page.configs()}


def usage(text_in: int | None, image_in: int | None, text_out: int | None, image_out: int | None) -> Usage:
    return Usage(
        input_text_tokens=text_in,
        input_image_tokens=image_in,
        output_text_tokens=text_out,
        output_image_tokens=image_out,
    )


@pytest.mark.parametrize(
    ("tokens", "prices", "usd"),
    [
        (usage(1_000_000, 0, 0, 0), Prices(text_in=5), 5),
        (usage(20, 300, 0, 4160), Prices(text_in=5, image_in=8, image_out=30), 0.1273),
        (usage(100, 258, 400, 1120), Prices(text_in=0.5, image_in=0.5, text_out=3, image_out=60), 0.068579),
        (usage(0, 0, 0, 0), Prices(), 0),
        (usage(10, 0, 0, 0), Prices(text_in=0), 0),
        # The price of tokens that were used is unknown.
        (usage(10, 0, 1, 10), Prices(text_in=5, image_in=8, image_out=30), None),
        (usage(10, 0, 0, 10), Prices(), None),
        # One number of tokens is unknown.
        (usage(10, None, 0, 10), Prices(text_in=1, image_in=1, text_out=1, image_out=1), None),
        (None, Prices(text_in=1, image_in=1, text_out=1, image_out=1), None),
        # gpt-image-1.5, as it was billed.
        (usage(169, 0, 439, 4160), Prices(text_in=5, image_in=8, text_out=10, image_out=32), 0.138355),
        # More than a call can cost.
        (usage(10**9, 0, 0, 10**9), Prices(text_in=1e308, image_out=1e308), None),
        (usage(10**9, 0, 0, 0), Prices(text_in=1e308), None),
    ],
)
def test_the_cost_of_tokens(tokens: Usage | None, prices: Prices, usd: float | None) -> None:
    assert cost_usd(tokens, prices) == (None if usd is None else pytest.approx(usd))


def test_what_is_unknown_in_one_usage_is_unknown_in_the_sum() -> None:
    total = usage(1, 2, None, 4) + usage(10, None, 30, 40)
    assert total == usage(11, None, None, 44)


@pytest.mark.parametrize(
    ("model", "n", "asked", "options", "usd"),
    [
        # Gemini prices an image by its image size, which is 1K by default.
        ("gemini-nano-banana-2.1", 1, {}, {}, 0.0336),
        ("gemini-nano-banana-2.1", 2, {"image_size": "2K"}, {}, 2 * 0.0504),
        ("gemini-nano-banana-2.1", 1, {"image_size": "4K"}, {}, 0.1134),
        ("gemini-3-pro-image", 1, {"image_size": "2K"}, {}, 0.1344),
        ("gemini-3-pro-image", 1, {"aspect_ratio": AspectRatio(16, 9), "image_size": "4K"}, {}, 0.24),
        ("gemini-3.1-flash-image", 1, {"image_size": "512"}, {}, 0.04482),
        ("gemini-3.1-flash-image", 1, {"image_size": "4K"}, {}, 0.1512),
        ("gemini-2.5-flash-image", 3, {}, {}, 3 * 0.0387),
        # GPT Image prices an image by quality and size: known only if both are sent.
        ("gpt-image-1", 1, {"size": Size(1024, 1024)}, {"quality": "high"}, 0.1664),
        # GPT Image 1.5 bills up to 335 text tokens with each image, at 10 USD per million.
        ("gpt-image-1.5", 10, {"size": Size(1024, 1536)}, {"quality": "low"}, 10 * (0.013056 + 0.00335)),
        ("gpt-image-1.5", 1, {"size": Size(1536, 1024)}, {"quality": "medium"}, 0.050176 + 0.00335),
        ("gpt-image-1.5", 1, {"size": Size(1536, 1024)}, {}, None),
        ("gpt-image-1.5", 1, {}, {"quality": "low"}, None),
        ("gpt-image-2.5-flare", 1, {"size": Size(1024, 1024)}, {"quality": "low"}, None),
        ("gemini-3.1-flash-lite-image", 1, {}, {}, 0.0336),
        ("dall-e-3", 1, {}, {}, None),
    ],
)
def test_the_estimate_of_a_plan(
    model: str, n: int, asked: dict[str, Size | AspectRatio | str], options: dict[str, OptionValue], usd: float | None
) -> None:
    request = GenerationRequest(prompt="a red fox", n=n, options=options, **asked)  # type: ignore[arg-type]
    assert plan(request, MODELS[model]).estimate_usd == (None if usd is None else pytest.approx(usd))


def test_an_estimate_needs_the_price_and_the_tokens() -> None:
    without_text = MODELS["gpt-image-1.5"].model_copy(update={"prices": Prices(image_out=32)})
    assert image_usd(without_text, 4160) is None
    model = MODELS["gemini-3-pro-image"].model_copy(update={"prices": Prices(text_in=2)})
    assert plan(GenerationRequest(prompt="a red fox"), model).estimate_usd is None
