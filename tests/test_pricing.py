"""Money: from tokens to USD; what is unknown is never taken for zero."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invokeai_external.planning.cheaper import cheaper_near_size, named_choice
from invokeai_external.planning.plan import Plan, plan
from invokeai_external.pricing.estimate import (
    Tier,
    cheapest_quality,
    estimate_call,
    image_price,
    listed_prices,
    price_range,
    prices_of_tier,
    whole_price,
)
from invokeai_external.pricing.prices import cost_usd
from invokeai_external.pricing.tokens import Basis
from invokeai_external.providers import catalog
from invokeai_external.providers.schema import Prices
from invokeai_external.request import GenerationRequest, OptionValue
from invokeai_external.result import Usage
from invokeai_external.sizing import AspectRatio, Size, SizeChoice

MODELS = {config.id: config for page in catalog.pages() if page.provider.in_invoke for config in page.configs()}


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
        # GPT Image prices an image by quality and size: what the model chooses is not known.
        ("gpt-image-1", 1, {"size": Size(1024, 1024)}, {"quality": "high"}, 0.1664),
        # Without the text that GPT Image 1.5 bills with each image.
        ("gpt-image-1.5", 10, {"size": Size(1024, 1536)}, {"quality": "low"}, 10 * 0.013056),
        ("gpt-image-1.5", 1, {"size": Size(1536, 1024)}, {"quality": "medium"}, 0.050176),
        ("gpt-image-1.5", 1, {"size": Size(1536, 1024)}, {}, None),
        ("gpt-image-1.5", 1, {}, {"quality": "low"}, None),
        ("gpt-image-2.5-flare", 1, {"size": Size(1024, 1024)}, {"quality": "low"}, 0.00588),
        ("gpt-image-2.5-flare", 1, {"size": Size(1024, 1024)}, {"quality": "auto"}, None),
        ("gpt-image-2", 10, {"size": Size(1536, 1024)}, {"quality": "high"}, 10 * 0.16464),
        # Usually 4.2 times the tokens of 2.5.
        ("gpt-image-2.6-flare", 1, {"size": Size(1536, 1024)}, {"quality": "low"}, 664 * 30 / 1e6),
        ("gpt-image-1-mini", 2, {"size": Size(1024, 1024)}, {"quality": "medium"}, 0.022),
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
    square = SizeChoice(Size(1024, 1024))
    without_text = MODELS["gpt-image-1.5"].model_copy(update={"prices": Prices(image_out=32)})
    assert image_price(without_text, square, "high").basis == "table"
    assert estimate_call(without_text, size=square, quality="high").total.basis == "unknown"
    model = MODELS["gemini-3-pro-image"].model_copy(update={"prices": Prices(text_in=2)})
    assert plan(GenerationRequest(prompt="a red fox"), model).estimate_usd is None


# The published prices of one image, as the providers' pages show them: to three digits, of Google's 512 to four.
PUBLISHED = """
gpt-image-2         | 1024x1024 | low 0.006, medium 0.053, high 0.211
gpt-image-2         | 1024x1536 | low 0.005, medium 0.041, high 0.165
gpt-image-2         | 1536x1024 | low 0.005, medium 0.041, high 0.165
gpt-image-2.5-flare | 1024x1024 | low 0.006, medium 0.013, high 0.053, xhigh 0.094, max 0.211
gpt-image-1-mini    | 1024x1024 | low 0.005, medium 0.011, high 0.036
gpt-image-1-mini    | 1536x1024 | low 0.006, medium 0.015, high 0.052
gpt-image-1         | 1024x1024 | low 0.011, medium 0.042, high 0.166
gpt-image-1         | 1024x1536 | low 0.016, medium 0.063, high 0.250
"""


@pytest.mark.parametrize("line", PUBLISHED.strip().splitlines())
def test_the_published_prices_of_an_image(line: str) -> None:
    model, size, prices = (cell.strip() for cell in line.split("|"))
    for each in prices.split(", "):
        quality, usd = each.split()
        found = image_price(MODELS[model], SizeChoice(Size.parse(size)), quality)
        assert found.usd == found.at_most_usd == pytest.approx(float(usd), abs=0.0005)


@pytest.mark.parametrize(
    ("model", "size", "quality", "basis", "at_most_tokens"),
    [
        ("gpt-image-2", "1024x1024", "high", "exact", 7024),
        ("gpt-image-2", "1024x1024", None, "bounded", 7024),
        ("gpt-image-2", None, "low", "bounded", 659),
        ("gpt-image-2", None, None, "bounded", 23719),
        ("gpt-image-2.5-sunburst", "2880x2880", "max", "exact", 23719),
        ("gpt-image-2.5-sunburst", None, "auto", "bounded", 23719),
        ("gpt-image-2.6-sunburst", "1024x1024", "low", "bounded", 196 * 4.5),
        ("gpt-image-2.6-sunburst", "1024x1024", "high", "bounded", 1792),  # 1756 * 1.02, rounded up
        ("gpt-image-2.6-sunburst", "1024x1024", None, "bounded", 7165),
        ("gemini-3.1-flash-image", None, None, "table", 1120 * 2),
    ],
)
def test_what_is_left_to_the_model_is_bounded_by_the_dearest(
    model: str, size: str | None, quality: str | None, basis: Basis, at_most_tokens: float
) -> None:
    choice = SizeChoice(Size.parse(size)) if size else SizeChoice()
    found = image_price(MODELS[model], choice, quality)
    assert found.basis == basis
    assert found.at_most_usd == pytest.approx(at_most_tokens * 30 / 1e6)


def test_a_quality_of_a_table_that_is_not_set_is_bounded_by_its_dearest_too() -> None:
    wide = SizeChoice(Size(1536, 1024))
    assert image_price(MODELS["gpt-image-1"], wide).at_most_usd == pytest.approx(6208 * 40 / 1e6)
    assert image_price(MODELS["gpt-image-1-mini"], wide).at_most_usd == 0.052
    assert image_price(MODELS["gpt-image-1"], SizeChoice(), "low").at_most_usd == pytest.approx(408 * 40 / 1e6)
    # A quality without tokens: the bound is unknown.
    lacks_high = MODELS["gpt-image-1"].model_copy(update={"image_tokens": {"low 1536x1024": 400}})
    assert image_price(lacks_high, wide).basis == "unknown"


@pytest.mark.parametrize(
    ("model", "tier", "usd"),
    [
        ("gpt-image-2", "batch", 1756 * 15 / 1e6),
        ("gpt-image-2", "flex", None),
        ("gpt-image-2.6-flare", "batch", None),
        ("gemini-3-pro-image", "batch", 0.0672),
        ("gemini-3-pro-image", "flex", 0.0672),
        ("gemini-nano-banana-2.1", "batch", 0.0168),
        ("gemini-nano-banana-2.1", "flex", None),
        ("gemini-2.5-flash-image", "flex", 0.01935),
    ],
)
def test_the_price_of_an_image_in_a_slower_tier(model: str, tier: Tier, usd: float | None) -> None:
    found = image_price(MODELS[model], SizeChoice(Size(1024, 1024)), "medium" if "gpt" in model else None, tier=tier)
    assert found.at_most_usd == (None if usd is None else pytest.approx(usd))


def test_batch_prices_of_tokens() -> None:
    prices = prices_of_tier(MODELS["gpt-image-2.5-sunburst"].prices, "batch")
    assert prices is not None
    assert (prices.text_in, prices.image_in, prices.image_out) == (2.5, 4, 15)


def test_an_estimate_counts_all_that_is_sent_with_each_image() -> None:
    found = estimate_call(
        MODELS["gpt-image-2"],
        size=SizeChoice(Size(1024, 1024)),
        quality="low",
        n=2,
        prompt="a red fox",
        input_sizes=[Size(1024, 1024), Size(128, 128)],
        mask_size=Size(1024, 1024),
        previews=3,
    )
    assert found.part("images").usd == pytest.approx(2 * 196 * 30 / 1e6)
    images = found.part("input_images")
    assert images.usd == pytest.approx(2 * (1024 + 64) * 8 / 1e6)
    assert images.at_most_usd == pytest.approx(2 * (1024 + 64 + 1024) * 8 / 1e6)
    assert found.part("previews").at_most_usd == pytest.approx(2 * 300 * 30 / 1e6)
    assert (found.part("prompt").at_most_usd or 0) >= 2 * 9 * 5 / 1e6
    assert found.total.at_most_usd == pytest.approx(sum(part.price.at_most_usd or 0 for part in found.parts))
    assert found.total.basis == "bounded"


def test_an_estimate_is_as_sure_as_its_images_and_unknown_if_a_part_is() -> None:
    square = SizeChoice(Size(1024, 1024))
    sure = estimate_call(MODELS["gpt-image-2"], size=square, quality="low", prompt="a red fox")
    assert (sure.total.basis, sure.part("prompt").basis) == ("exact", "bounded")
    edit = estimate_call(MODELS["gpt-image-1-mini"], size=square, quality="low", input_sizes=[Size(64, 64)])
    assert (edit.part("images").basis, edit.total.basis, edit.total.at_most_usd) == ("table", "unknown", None)


def test_the_range_of_prices_of_each_model() -> None:
    ranges = {
        model.id: f"{found.low_usd:.3f} {found.high_usd:.3f} {found.basis}"
        for model in MODELS.values()
        if (found := price_range(model))
    }
    assert ranges == {
        "gemini-nano-banana-2.1": "0.034 0.113 table",
        "gemini-3-pro-image": "0.134 0.240 table",
        "gemini-3.1-flash-lite-image": "0.034 0.034 table",
        "gemini-3.1-flash-image": "0.045 0.151 table",
        "gemini-2.5-flash-image": "0.039 0.039 table",
        "gemini-3-pro-image-preview": "0.134 0.240 table",
        "gemini-3.1-flash-image-preview": "0.045 0.151 table",
        "gpt-image-2.6-sunburst": "0.011 0.726 bounded",
        "gpt-image-2.6-flare": "0.011 0.726 bounded",
        "gpt-image-2.5-sunburst": "0.003 0.712 exact",
        "gpt-image-2.5-flare": "0.003 0.712 exact",
        "gpt-image-2": "0.003 0.712 exact",
        "gpt-image-1.5": "0.009 0.200 table",
        "gpt-image-1-mini": "0.005 0.052 table",
        "gpt-image-1": "0.011 0.250 table",
    }
    usual = price_range(MODELS["gpt-image-2"], usual_sizes=True)
    assert usual is not None
    assert (round(usual.low_usd, 3), round(usual.high_usd, 3)) == (0.003, 0.211)


def test_every_offered_size_and_quality_of_a_priced_model_has_a_price() -> None:
    without = {model.id for model in MODELS.values() for entry in listed_prices(model) if entry.price.usd is None}
    assert without == {"dall-e-3", "dall-e-2"}


def test_the_cheapest_quality() -> None:
    found = cheapest_quality(MODELS["gpt-image-2.5-flare"], SizeChoice(Size(1024, 1024)))
    assert found is not None
    assert found.quality == "low"
    assert found.price.usd == pytest.approx(0.00588)
    assert cheapest_quality(MODELS["gemini-3-pro-image"], SizeChoice()) is None
    assert cheapest_quality(MODELS["dall-e-3"], SizeChoice()) is None


def planned(model: str, size: str | None = None, **options: OptionValue) -> Plan:
    asked = {} if size is None else {"size": Size.parse(size)}
    return plan(GenerationRequest(prompt="a red fox", options=options, **asked), MODELS[model])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("model", "size", "quality", "usd"),
    [
        # 1,756 tokens of medium quality at 1024x1024, and 3 of the prompt.
        ("gpt-image-2", None, None, (1756 * 30 + 3 * 5) / 1e6),
        ("gpt-image-2", None, "auto", (1756 * 30 + 3 * 5) / 1e6),
        ("gpt-image-2", None, "high", (7024 * 30 + 3 * 5) / 1e6),
        ("gpt-image-2", "1536x1024", None, (1372 * 30 + 3 * 5) / 1e6),
        ("gpt-image-2", "1536x1024", "high", (5488 * 30 + 3 * 5) / 1e6),
        # What it writes and thinks is not expected.
        ("gemini-nano-banana-2.1", None, None, (1120 * 30 + 3 * 1.5) / 1e6),
        ("dall-e-3", None, None, None),
    ],
)
def test_what_to_expect_of_what_is_left_to_the_model(
    model: str, size: str | None, quality: str | None, usd: float | None
) -> None:
    found = planned(model, size, **({"quality": quality} if quality else {}))
    assert found.expected_usd == (None if usd is None else pytest.approx(usd))


def test_an_input_image_of_which_only_a_bound_is_known_is_expected_at_it() -> None:
    size = Size(64, 64)
    found = estimate_call(MODELS["gemini-nano-banana-2.1"], size=SizeChoice(), input_sizes=[size])
    assert found.total.usd is None
    assert found.expected_usd == pytest.approx((1120 * 30 + 1120 * 1.5) / 1e6)
    unknown = estimate_call(MODELS["gpt-image-1-mini"], size=SizeChoice(), quality="low", input_sizes=[size])
    assert unknown.expected_usd is None


def test_text_and_thoughts_are_counted_in_the_most_that_an_image_costs() -> None:
    found = planned("gemini-3-pro-image").estimate
    assert found.part("text").usd == 0
    assert found.part("text").at_most_usd == pytest.approx(3000 * 12 / 1e6)
    assert (found.part("images").basis, found.total.basis) == ("table", "bounded")
    assert found.total.at_most_usd == pytest.approx((1120 * 120 + 3000 * 12 + 109 * 2) / 1e6)
    assert image_price(MODELS["gemini-3-pro-image"], SizeChoice()).at_most_usd == pytest.approx(1120 * 120 / 1e6)


def test_the_whole_price_of_an_image() -> None:
    pro = whole_price(MODELS["gemini-3-pro-image"], SizeChoice())
    assert (pro.usd, pro.at_most_usd, pro.basis) == (0.1344, 0.1704, "bounded")
    left_to_it = whole_price(MODELS["gpt-image-2"], SizeChoice())
    assert (left_to_it.usd, left_to_it.at_most_usd) == (0.05268, 0.71157)
    exact = whole_price(MODELS["gpt-image-2"], SizeChoice(Size(1024, 1024)), "low")
    assert (exact.usd, exact.at_most_usd, exact.basis) == (0.00588, 0.00588, "exact")


@pytest.mark.parametrize(
    ("model", "size", "quality", "named", "near"),
    [
        ("gpt-image-2", None, None, "--size 1024x1024 --quality medium", None),
        ("gpt-image-2", "1024x1024", None, "--quality medium", "--size 944x1120"),
        ("gpt-image-2", None, "low", "--size 1024x1024", None),
        ("gpt-image-2", "1024x1024", "high", None, "--size 944x1120"),
        # Nothing is wider.
        ("gpt-image-2", "1536x512", "high", None, None),
        ("gpt-image-1", "1024x1024", "low", None, None),
        ("gemini-nano-banana-2.1", None, None, None, None),
    ],
)
def test_what_costs_less_is_named(
    model: str, size: str | None, quality: str | None, named: str | None, near: str | None
) -> None:
    asked = planned(model, size, **({"quality": quality} if quality else {}))
    before = asked.estimate.total.at_most_usd or 0
    for found, expected in ((named_choice(asked), named), (cheaper_near_size(asked), near)):
        assert (str(found) if found else None) == expected
        assert found is None or found.at_most_usd < before


@given(st.integers(40, 240), st.integers(40, 240), st.sampled_from(["low", "medium", "high"]))
def test_a_near_size_saves_what_it_promises(across: int, down: int, quality: str) -> None:
    size, model = Size(16 * across, 16 * down), MODELS["gpt-image-2"]
    if not model.sizing.allows(size):
        return
    found = cheaper_near_size(planned("gpt-image-2", str(size), quality=quality))
    if found is None:
        return
    assert found.size is not None
    prices = [image_price(model, SizeChoice(each), quality).usd or 0 for each in (found.size, size)]
    assert prices[0] <= 0.85 * prices[1]
    assert found.size.pixels >= 0.97 * size.pixels
    assert model.sizing.allows(found.size)


def test_the_number_of_web_searches_is_not_known_before() -> None:
    request = GenerationRequest(prompt="a red fox", options={"web_search": "web"})
    found = plan(request, MODELS["gemini-nano-banana-2.1"]).estimate
    assert (found.part("web_search").usd, found.part("web_search").at_most_usd) == (None, None)
    assert found.part("images").usd == pytest.approx(0.0336)
    assert (found.total.usd, found.total.at_most_usd, found.total.basis) == (None, None, "unknown")


@pytest.mark.parametrize("output_format", ["gif", "svg"])
def test_the_price_of_an_animation_or_a_drawing_is_not_known_before(output_format: str) -> None:
    request = GenerationRequest(prompt="a red fox", options={"output_format": output_format, "quality": "low"})
    found = plan(request, MODELS["gpt-image-2.6-flare"], experimental=True)
    assert (found.estimate_usd, found.estimate.total.basis) == (None, "unknown")
