"""Prices by image, by size and quality, and by megapixel: estimates, and the cost of what was received."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image
from pydantic import ValidationError

from invokeai_external.planning.plan import plan
from invokeai_external.pricing.estimate import estimate_call, image_price, price_range
from invokeai_external.pricing.prices import cost_usd, images_usd
from invokeai_external.pricing.tokens import image_tokens
from invokeai_external.providers import catalog
from invokeai_external.providers.schema import ModelConfig, Prices
from invokeai_external.providers.sizings import FlexiblePresets, NamedSizing
from invokeai_external.request import GenerationRequest, InputImage
from invokeai_external.result import Usage
from invokeai_external.sizing import Size, SizeChoice

from .support.samples import encoded

MODELS = {config.id: config for page in catalog.pages() if page.provider.in_invoke for config in page.configs()}
SQUARE, WIDE = Size(1024, 1024), Size(1536, 1024)

FIXED = MODELS["gpt-image-1"]
"""Three sizes and three qualities."""

FLEXIBLE = MODELS["gpt-image-2"]
NAMED = MODELS["gemini-3.1-flash-image"]


def priced(model: ModelConfig, **prices: Any) -> ModelConfig:
    return model.model_copy(update={"prices": Prices(**prices), "image_prices": {}})


BY_SIZE = {"low 1024x1024": 0.01, "high 1024x1024": 0.04, "1536x1024": 0.05}


@pytest.mark.parametrize(
    ("model", "per_image", "size", "quality", "usd", "at_most", "basis"),
    [
        (FIXED, 0.02, SizeChoice(), None, 0.02, 0.02, "exact"),
        (FLEXIBLE, 0.02, SizeChoice(), None, 0.02, 0.02, "exact"),
        (NAMED, 0.02, SizeChoice(image_size="4K"), None, 0.02, 0.02, "exact"),
        (FIXED, 0, SizeChoice(SQUARE), None, 0, 0, "exact"),
        (FIXED, BY_SIZE, SizeChoice(SQUARE), "high", 0.04, 0.04, "exact"),
        (FIXED, BY_SIZE, SizeChoice(WIDE), "high", 0.05, 0.05, "exact"),
        (FIXED, BY_SIZE, SizeChoice(WIDE), "auto", 0.05, 0.05, "exact"),
        # The table does not name medium, nor the portrait: unknown, and so is what may become one of them.
        (FIXED, BY_SIZE, SizeChoice(SQUARE), "medium", None, None, "unknown"),
        (FIXED, BY_SIZE, SizeChoice(Size(1024, 1536)), "high", None, None, "unknown"),
        (FIXED, BY_SIZE, SizeChoice(SQUARE), None, None, None, "unknown"),
        (FIXED, BY_SIZE, SizeChoice(), "high", None, None, "unknown"),
        (FIXED, {**BY_SIZE, "any": 0.03}, SizeChoice(SQUARE), "medium", 0.03, 0.03, "exact"),
        (FIXED, {**BY_SIZE, "any": 0.03}, SizeChoice(SQUARE), None, None, 0.04, "bounded"),
        (FIXED, {**BY_SIZE, "any": 0.03}, SizeChoice(), None, None, 0.05, "bounded"),
        # A model with any size may choose one that the table does not name.
        (FLEXIBLE, BY_SIZE, SizeChoice(), "low", None, None, "unknown"),
        # A named size means nothing to a model that gets its sizes in pixels.
        (FLEXIBLE, {"1K": 0.02, "2K": 0.04}, SizeChoice(Size(2048, 2048)), "low", None, None, "unknown"),
        (NAMED, {"1K": 0.02, "2K": 0.04}, SizeChoice(), None, 0.02, 0.02, "exact"),
        (NAMED, {"1K": 0.02, "2K": 0.04}, SizeChoice(image_size="2K"), None, 0.04, 0.04, "exact"),
        (NAMED, {"1K": 0.02, "2K": 0.04}, SizeChoice(SQUARE, aspect_ratio="1:1"), None, 0.02, 0.02, "exact"),
        (NAMED, {"1K": 0.02, "2K": 0.04}, SizeChoice(image_size="4K"), None, None, None, "unknown"),
        (NAMED, {512: 0.01}, SizeChoice(image_size="512"), None, 0.01, 0.01, "exact"),
    ],
)
def test_the_price_of_an_image_by_its_size_and_quality(
    model: ModelConfig, per_image: Any, size: SizeChoice, quality: str, usd: float, at_most: float, basis: str
) -> None:
    found = image_price(priced(model, per_image=per_image), size, quality)
    assert (found.usd, found.at_most_usd, found.basis) == (usd, at_most, basis)


@pytest.mark.parametrize(
    ("model", "size", "usd", "at_most", "basis"),
    [
        (FIXED, SizeChoice(SQUARE), 0.01048576, 0.01048576, "exact"),
        (FIXED, SizeChoice(), None, 0.01572864, "bounded"),
        (FLEXIBLE, SizeChoice(Size(1000, 1000)), 0.01, 0.01, "exact"),
        (FLEXIBLE, SizeChoice(), None, 0.01 * 3840 * 2160 / 1e6, "bounded"),
        (
            NAMED,
            SizeChoice(image_size="2K", aspect_ratio="1:1", size=Size(2048, 2048)),
            0.04194304,
            0.04194304,
            "exact",
        ),
    ],
)
def test_the_price_of_an_image_by_its_pixels(
    model: ModelConfig, size: SizeChoice, usd: float, at_most: float, basis: str
) -> None:
    found = image_price(priced(model, per_megapixel=0.01), size, "low")
    assert (found.usd, found.at_most_usd, found.basis) == (usd, at_most, basis)


def test_a_plan_is_exact_where_nothing_else_is_billed() -> None:
    request = GenerationRequest(
        prompt="a red fox",
        n=3,
        size=SQUARE,
        references=(InputImage(encoded(Image.new("RGB", (40, 30)), "PNG"), "x"),),
        options={"quality": "low"},
    )
    found = plan(request, priced(MODELS["gpt-image-1.5"], per_image=0.02)).estimate
    assert [part.name for part in found.parts] == ["images"]
    assert (found.total.usd, found.total.at_most_usd, found.total.basis) == (0.06, 0.06, "exact")


def test_tokens_with_a_price_are_added_to_the_price_of_an_image() -> None:
    model = priced(FLEXIBLE, per_image=0.02, text_in=5, image_out=30)
    asked = {"size": SizeChoice(SQUARE), "quality": "low", "previews": 1}
    found = estimate_call(model, **asked, prompt="a red fox", input_sizes=[SQUARE])  # type: ignore[arg-type]
    assert found.part("images").usd == pytest.approx(0.02 + 196 * 30 / 1e6)
    assert found.part("images").basis == "exact"
    assert [part.name for part in found.parts] == ["images", "prompt", "previews"]


def test_a_slower_tier_costs_its_share_of_the_price_of_an_image() -> None:
    square = SizeChoice(SQUARE)
    model = priced(FIXED, per_image=0.02, batch=0.5)
    assert image_price(model, square, tier="batch").usd == 0.01
    assert image_price(model, square, tier="flex").basis == "unknown"
    assert image_price(priced(FIXED, per_megapixel=0.01, batch=0.5), square, tier="batch").usd == 0.00524288


def test_the_range_of_prices_by_image() -> None:
    found = price_range(priced(FIXED, per_image={"any": 0.02, "1536x1024": 0.03}))
    assert found is not None
    assert (found.low_usd, found.high_usd, found.basis) == (0.02, 0.03, "exact")
    offers_none = FLEXIBLE.sizing.model_copy(update={"offered": FlexiblePresets()})
    found = price_range(priced(FLEXIBLE.model_copy(update={"sizing": offers_none}), per_image=0.02))
    assert found is not None
    assert (found.low_usd, found.high_usd) == (0.02, 0.02)


def test_published_prices_have_the_same_names() -> None:
    """They stay an estimate: the cost of a response is that of its tokens."""
    by_name = NAMED.model_copy(update={"image_prices": {"1K": 0.03, "4K": 0.1}})
    assert image_price(by_name, SizeChoice(image_size="4K")).usd == 0.1
    assert image_price(by_name, SizeChoice(image_size="4K")).basis == "table"
    assert images_usd(by_name, SizeChoice(image_size="4K"), None, [SQUARE]) == 0


def test_a_named_size_of_tokens_means_nothing_to_a_model_with_sizes_in_pixels() -> None:
    by_name = FIXED.model_copy(update={"image_tokens": {"1K": 1000}})
    assert image_tokens(by_name, SizeChoice(WIDE), "low").basis == "unknown"
    lacks = NAMED.model_copy(update={"image_tokens": {"1K": 1000}})
    assert image_tokens(lacks, SizeChoice(image_size="4K"), None).basis == "unknown"


@pytest.mark.parametrize(
    ("model", "prices", "size", "quality", "received", "usd"),
    [
        (FIXED, {"per_image": 0.02}, SizeChoice(SQUARE), None, [SQUARE] * 3, 0.06),
        (FIXED, {"per_image": 0.02}, SizeChoice(), None, [None], 0.02),
        (FIXED, {"per_image": BY_SIZE}, SizeChoice(SQUARE), "high", [SQUARE, None], 0.08),
        # The price list names what is asked for, and the image may have a few pixels less.
        (FIXED, {"per_image": BY_SIZE}, SizeChoice(SQUARE), "high", [Size(1000, 1000)], 0.04),
        # The model chose the size.
        (FIXED, {"per_image": BY_SIZE}, SizeChoice(), "high", [SQUARE, WIDE], 0.09),
        (FIXED, {"per_image": BY_SIZE}, SizeChoice(), "high", [SQUARE, None], None),
        (FIXED, {"per_image": BY_SIZE}, SizeChoice(), "high", [Size(1024, 1536)], None),
        # The model chose the quality.
        (FIXED, {"per_image": BY_SIZE}, SizeChoice(WIDE), "auto", [WIDE], 0.05),
        (FIXED, {"per_image": {**BY_SIZE, "any": 1}}, SizeChoice(SQUARE), None, [SQUARE], None),
        (NAMED, {"per_image": {"1K": 0.02, "2K": 0.04}}, SizeChoice(image_size="2K"), None, [WIDE], 0.04),
        (NAMED, {"per_image": {"1K": 0.02}}, SizeChoice(image_size="2K"), None, [WIDE], None),
        (FIXED, {"per_megapixel": 0.01}, SizeChoice(SQUARE), None, [Size(1000, 500)], 0.005),
        (FIXED, {"per_megapixel": 0.01}, SizeChoice(SQUARE), None, [None], 0.01048576),
        (FIXED, {"per_megapixel": 0.01}, SizeChoice(), None, [None], None),
        (FIXED, {"per_image": 0.02, "per_megapixel": 0.01}, SizeChoice(SQUARE), None, [Size(1000, 500)], 0.025),
        (FIXED, {"image_out": 30}, SizeChoice(SQUARE), None, [SQUARE], 0),
    ],
)
def test_what_the_images_of_a_response_cost(
    model: ModelConfig,
    prices: dict[str, Any],
    size: SizeChoice,
    quality: str,
    received: list[Size | None],
    usd: float | None,
) -> None:
    found = images_usd(priced(model, **prices), size, quality, received)
    assert found == (None if usd is None else pytest.approx(usd))


TOKENS = Usage(input_text_tokens=20, input_image_tokens=0, output_text_tokens=400, output_image_tokens=1000)


@pytest.mark.parametrize(
    ("usage", "prices", "of_images", "usd"),
    [
        (None, {"per_image": 0.02}, 0.04, 0.04),
        (TOKENS, {"per_image": 0.02}, 0.04, 0.04),
        (TOKENS, {"per_image": 0.02, "text_in": 5}, 0.04, 0.0401),
        (TOKENS, {"per_image": 0.02, "image_out": 30}, 0.04, 0.07),
        # Tokens are billed beside, and their number is unknown.
        (None, {"per_image": 0.02, "text_in": 5}, 0.04, None),
        (Usage(output_text_tokens=1), {"per_megapixel": 0.02, "text_in": 5}, 0.04, None),
        (TOKENS, {"per_image": 0.02}, None, None),
        (None, {"per_image": 1e6}, 2e6, None),
    ],
)
def test_the_cost_of_images_and_tokens(
    usage: Usage | None, prices: dict[str, Any], of_images: float | None, usd: float | None
) -> None:
    assert cost_usd(usage, Prices(**prices), of_images) == (None if usd is None else pytest.approx(usd))


@pytest.mark.parametrize(
    "per_image", ["dear", True, [0.02], -1, float("nan"), float("inf"), {"1K": "dear"}, {"1K": -0.02}, {"1K": None}]
)
def test_a_price_that_is_not_valid_is_refused(per_image: object) -> None:
    with pytest.raises(ValidationError):
        Prices(per_image=per_image)


def test_no_price_is_written_as_null_too() -> None:
    assert not Prices(per_image=None, per_megapixel=None).is_by_image


RATIOS = NAMED.model_copy(
    update={"sizing": NamedSizing.model_validate({"kind": "named", "ratios": ["1:1", "16:9"], "image_sizes": []})}
)
TIERS = NAMED.model_copy(
    update={"sizing": NamedSizing.model_validate({"kind": "named", "ratios": ["1:1"], "image_sizes": ["1K", "2K"]})}
)


@pytest.mark.parametrize(
    ("model", "prices", "size", "usd", "at_most"),
    [
        (RATIOS, {"per_image": 0.04}, SizeChoice(), 0.04, 0.04),
        # How many pixels 16:9 has is not published.
        (RATIOS, {"per_megapixel": 0.014}, SizeChoice(aspect_ratio="16:9"), None, None),
        (TIERS, {"per_image": {"1K": 0.03, "2K": 0.04}}, SizeChoice(image_size="2K"), 0.04, 0.04),
        # Nor which of the two is the default.
        (TIERS, {"per_image": {"1K": 0.03, "2K": 0.04}}, SizeChoice(), None, 0.04),
        (TIERS, {"per_image": {"1K": 0.03}}, SizeChoice(image_size="2K"), None, None),
    ],
)
def test_the_price_of_a_size_that_has_only_a_name(
    model: ModelConfig, prices: dict[str, Any], size: SizeChoice, usd: float | None, at_most: float | None
) -> None:
    found = image_price(priced(model, **prices), size)
    assert (found.usd, found.at_most_usd) == (usd, at_most)


def test_input_images_may_have_a_price_each() -> None:
    model = priced(RATIOS, per_image=0.04, per_input_image=0.003)
    size, sent = SizeChoice(aspect_ratio="1:1"), [SQUARE, WIDE]
    one = estimate_call(model, size=size, input_sizes=sent).total
    assert (one.usd, one.at_most_usd, one.basis) == (0.046, 0.046, "exact")
    # Whether the input is billed with each of several images is not known.
    three = estimate_call(model, size=size, n=3, input_sizes=sent).total
    assert three.usd is None
    assert three.at_most_usd == pytest.approx(0.138)
    assert estimate_call(model, size=size).total.usd == 0.04
    assert images_usd(model, size, None, [SQUARE], sent=2) == pytest.approx(0.046)
    assert images_usd(model, size, None, [SQUARE, SQUARE], sent=2) is None
    assert images_usd(model, size, None, [SQUARE, SQUARE]) == pytest.approx(0.08)
