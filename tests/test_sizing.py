"""Sizes: what each kind of model supports, and which is nearest to a request."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from invokeai_external.providers import catalog
from invokeai_external.providers.schema import ModelConfig
from invokeai_external.providers.sizings import FlexibleSizing, NamedSizing, Sizing
from invokeai_external.sizing import AspectRatio, Size, SizeChoice, SizeRequest, image_size_edge

MODELS = {config.id: config for page in catalog.pages() if page.provider.in_invoke for config in page.configs()}
SIZING: TypeAdapter[Sizing] = TypeAdapter(Sizing)

models = st.sampled_from(list(MODELS.values()))
sizes = st.builds(Size, st.integers(1, 9000), st.integers(1, 9000))
ratios = st.builds(AspectRatio, st.integers(1, 40), st.integers(1, 40))
image_sizes = st.sampled_from(["512", "1K", "2k", "3K", "4K", "8K", "1"])


def asked(size: str | None = None, ratio: str | None = None, image_size: str | None = None) -> SizeRequest:
    return SizeRequest(
        size=Size.parse(size) if size else None,
        aspect_ratio=AspectRatio.parse(ratio) if ratio else None,
        image_size=image_size,
    )


@pytest.mark.parametrize("model", MODELS.values(), ids=list(MODELS))
def test_every_preset_is_allowed_and_is_chosen_when_requested(model: ModelConfig) -> None:
    presets = model.sizing.presets()
    assert presets
    for preset in presets:
        assert preset.size is not None
        assert model.sizing.allows(preset.size)
        request = SizeRequest(size=preset.size)
        assert model.sizing.choose(request) == preset
        assert request.is_met_by(preset)
    assert len({preset.size for preset in presets}) == len(presets)


@settings(deadline=None)
@given(models, sizes)
def test_any_size_becomes_an_allowed_one_which_is_then_unchanged(model: ModelConfig, size: Size) -> None:
    choice = model.sizing.choose(SizeRequest(size=size))
    assert choice.size is not None
    assert model.sizing.allows(choice.size)
    again = SizeRequest(size=choice.size)
    assert model.sizing.choose(again) == choice
    assert again.is_met_by(choice)
    assert SizeRequest(size=size).is_met_by(choice) == (size == choice.size)


@settings(deadline=None)
@given(models, ratios | st.none(), image_sizes | st.none(), st.floats(0.01, 100) | st.none())
def test_any_ratio_and_image_size_become_an_allowed_size(
    model: ModelConfig, ratio: AspectRatio | None, image_size: str | None, natural: float | None
) -> None:
    choice = model.sizing.choose(SizeRequest(aspect_ratio=ratio, image_size=image_size, natural_ratio=natural))
    if ratio is None and (image_size is None or model.sizing.kind == "presets"):
        assert choice.size is None, "the model chooses, or follows the picture that it is given"
        assert choice.aspect_ratio is None
    else:
        assert choice.size is not None
        assert model.sizing.allows(choice.size)


@settings(deadline=None)
@given(models.filter(lambda m: m.sizing.kind != "flexible"), sizes)
def test_the_nearest_size_is_nearest_by_ratio_and_then_by_area(model: ModelConfig, size: Size) -> None:
    choice = model.sizing.choose(SizeRequest(size=size)).size
    assert choice is not None

    def ratio_distance(other: Size) -> float:
        """How many times wider or narrower."""
        factor = Fraction(other.width * size.height, other.height * size.width)
        return float(max(factor, 1 / factor))

    def area_distance(other: Size) -> float:
        factor = Fraction(other.pixels, size.pixels)
        return float(max(factor, 1 / factor))

    for preset in model.sizing.presets():
        assert preset.size is not None
        assert ratio_distance(choice) <= ratio_distance(preset.size) * (1 + 1e-8)
        if Fraction(choice.width, choice.height) == Fraction(preset.size.width, preset.size.height):
            assert area_distance(choice) <= area_distance(preset.size) * (1 + 1e-8)


@pytest.mark.parametrize(
    ("model", "request_", "sent", "is_met"),
    [
        # Any size on a grid: exact, snapped, brought inside the limits; ratios and image sizes by name.
        ("gpt-image-2.5-flare", asked("1536x864"), "1536x864", True),
        ("gpt-image-2.5-flare", asked("1920x1080"), "1920x1088", False),
        ("gpt-image-2.5-flare", asked("512x512"), "816x816", False),
        ("gpt-image-2.5-flare", asked("8000x8000"), "2880x2880", False),
        ("gpt-image-2.5-flare", asked("3072x1024"), "3072x1024", True),
        ("gpt-image-2.5-flare", asked("1024x3072"), "1024x3072", True),
        ("gpt-image-2.5-flare", asked(ratio="16:9"), "1360x768", True),
        ("gpt-image-2.5-flare", asked(ratio="16:9", image_size="4K"), "3840x2160", True),
        ("gpt-image-2.5-flare", asked(ratio="21:9", image_size="4K"), "3840x1648", False),
        ("gpt-image-2.5-flare", asked(ratio="5:1"), "1776x592", False),
        ("gpt-image-2.5-flare", asked(image_size="2K"), "2048x2048", True),
        ("gpt-image-2.5-flare", asked(image_size="512"), "816x816", False),
        ("gpt-image-2.5-flare", asked(), "auto", True),
        # A short list of sizes.
        ("gpt-image-1.5", asked("1920x1080"), "1536x1024", False),
        ("gpt-image-1.5", asked(ratio="16:9"), "1536x1024", False),
        ("gpt-image-1.5", asked(ratio="2:3"), "1024x1536", True),
        ("gpt-image-1.5", asked(ratio="2:3", image_size="4K"), "1024x1536", False),
        ("gpt-image-1.5", asked(image_size="1K"), "1024x1024", True),
        ("gpt-image-1.5", asked(), "auto", True),
        ("dall-e-3", asked(ratio="16:9"), "1792x1024", True),
        ("dall-e-2", asked("300x300"), "256x256", False),
        ("dall-e-2", asked(image_size="512"), "512x512", True),
        # A ratio with an image size.
        ("gemini-nano-banana-2.1", asked("2752x1536"), "2752x1536 (16:9 at 2K)", True),
        ("gemini-nano-banana-2.1", asked("1920x1080"), "1376x768 (16:9 at 1K)", False),
        ("gemini-nano-banana-2.1", asked(ratio="16:9"), "1376x768 (16:9 at 1K)", True),
        ("gemini-nano-banana-2.1", asked(ratio="14:6"), "1584x672 (21:9 at 1K)", True),
        ("gemini-nano-banana-2.1", asked(ratio="7:4"), "1376x768 (16:9 at 1K)", False),
        ("gemini-nano-banana-2.1", asked(ratio="1:20"), "384x3072 (1:8 at 1K)", False),
        ("gemini-nano-banana-2.1", asked(ratio="9:16", image_size="4k"), "3072x5504 (9:16 at 4K)", True),
        ("gemini-nano-banana-2.1", asked(ratio="1:1", image_size="3K"), "4096x4096 (1:1 at 4K)", False),
        ("gemini-nano-banana-2.1", asked(image_size="2048"), "2K", True),
        ("gemini-nano-banana-2.1", asked(image_size="512"), "1K", False),
        ("gemini-nano-banana-2.1", asked(), "auto", True),
        ("gemini-3.1-flash-image", asked(ratio="21:9", image_size="512"), "792x336 (21:9 at 512)", True),
        ("gemini-3-pro-image", asked(ratio="1:8"), "768x1376 (9:16 at 1K)", False),
        # Only a ratio.
        ("gemini-2.5-flash-image", asked(ratio="21:9"), "1536x672 (21:9)", True),
        ("gemini-2.5-flash-image", asked(ratio="21:9", image_size="1K"), "1536x672 (21:9)", True),
        ("gemini-2.5-flash-image", asked(ratio="21:9", image_size="2K"), "1536x672 (21:9)", False),
        ("gemini-2.5-flash-image", asked(image_size="2K"), "auto", False),
        ("gemini-2.5-flash-image", asked("4096x4096"), "1024x1024 (1:1)", False),
    ],
)
def test_what_is_sent_for_a_size(model: str, request_: SizeRequest, sent: str, is_met: bool) -> None:
    choice = MODELS[model].sizing.choose(request_)
    assert str(choice) == sent
    assert request_.is_met_by(choice) is is_met


def test_the_ratio_of_the_image_to_edit_is_the_default() -> None:
    flare, mini, banana = (MODELS[m].sizing for m in ("gpt-image-2.5-flare", "gpt-image-1-mini", "gemini-3-pro-image"))
    wide = SizeRequest(image_size="2K", natural_ratio=2.0)
    assert flare.choose(wide) == SizeChoice(Size(2896, 1456))
    assert mini.choose(wide) == SizeChoice(Size(1536, 1024))
    assert banana.choose(wide) == SizeChoice(image_size="2K"), "Gemini uses the ratio of the image"
    square = SizeRequest(aspect_ratio=AspectRatio(1, 1), natural_ratio=2.0)
    assert mini.choose(square) == SizeChoice(Size(1024, 1024))


@pytest.mark.parametrize(
    ("size", "allowed"),
    [
        ("1024x1024", True),
        ("1024x1032", False),  # off the grid of 16
        ("3840x2160", True),  # the largest area, 8,294,400
        ("3840x2176", False),
        ("3856x1600", False),  # the longest edge
        ("1024x640", True),  # the smallest area, 655,360
        ("1024x624", False),
        ("1536x512", True),  # exactly 3:1
        ("1552x512", False),
        ("512x1536", True),
        ("512x1552", False),
    ],
)
def test_the_rule_of_flexible_sizes(size: str, allowed: bool) -> None:
    assert MODELS["gpt-image-2"].sizing.allows(Size.parse(size)) is allowed


@settings(deadline=None, max_examples=60)
@given(
    step=st.integers(1, 9),
    limits=st.tuples(ratios, ratios).map(lambda pair: sorted(pair, key=lambda ratio: ratio.value)),
    max_edge=st.integers(1, 60),
    pixels=st.tuples(st.integers(1, 3000), st.integers(1, 3000)).map(sorted),
    size=st.builds(Size, st.integers(1, 90), st.integers(1, 90)),
)
def test_a_flexible_rule_finds_an_allowed_size_whenever_there_is_one(
    step: int, limits: list[AspectRatio], max_edge: int, pixels: list[int], size: Size
) -> None:
    narrow, wide = limits
    rule = {
        "kind": "flexible",
        "multiple_of": step,
        "min_ratio": str(narrow),
        "max_ratio": str(wide),
        "max_edge": max_edge,
        "min_pixels": pixels[0],
        "max_pixels": pixels[1],
    }
    edges = range(step, max_edge + 1, step)
    allowed = {
        Size(w, h)
        for w, h in product(edges, edges)
        if pixels[0] <= w * h <= pixels[1]
        and Fraction(narrow.width, narrow.height) <= Fraction(w, h) <= Fraction(wide.width, wide.height)
    }
    if not allowed:
        with pytest.raises(ValidationError, match="no size follows this rule"):
            SIZING.validate_python(rule)
        return
    sizing = SIZING.validate_python(rule)
    assert isinstance(sizing, FlexibleSizing)
    choice = sizing.choose(SizeRequest(size=size)).size
    assert choice in allowed
    assert choice == size or size not in allowed


def test_a_snapped_size_is_within_half_a_grid_step_of_the_request() -> None:
    sizing = MODELS["gpt-image-2"].sizing
    for width, height in product(range(1000, 2000, 37), range(1000, 2000, 41)):
        choice = sizing.choose(SizeRequest(size=Size(width, height))).size
        assert choice is not None
        assert abs(choice.width - width) <= 8
        assert abs(choice.height - height) <= 8


@pytest.mark.parametrize(
    ("parse", "text", "example"),
    [
        (Size.parse, "1536", "1536x864"),
        (Size.parse, "-1x5", "1536x864"),
        (Size.parse, "0x5", "1 pixel"),
        (AspectRatio.parse, "16/9", "16:9"),
        (AspectRatio.parse, "16:0", "16:9"),
        (image_size_edge, "big", "1K, 2K or 4K"),
        (image_size_edge, "0K", "1K, 2K or 4K"),
    ],
)
def test_the_error_of_a_size_that_is_not_valid_shows_the_form(
    parse: Callable[[str], object], text: str, example: str
) -> None:
    with pytest.raises(ValueError, match=rf"{re.escape(text)}.*{re.escape(example)}\.$"):
        parse(text)


def test_sizes_are_parsed_in_all_usual_forms() -> None:
    assert Size.parse(" 1536 X 864 ") == Size.parse("1536×864") == Size(1536, 864)  # noqa: RUF001
    assert AspectRatio.parse("16 : 9") == AspectRatio(16, 9)
    assert (image_size_edge("2k"), image_size_edge("512"), image_size_edge(" 4K ")) == (2048, 512, 4096)
    assert math.isclose(AspectRatio(16, 9).value, 1.7778, rel_tol=1e-4)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"kind": "fixed", "sizes": []}, "at least 1 item"),
        ({"kind": "fixed", "sizes": ["big"]}, "write it like 1536x864"),
        ({"kind": "fixed", "sizes": [1024]}, "this must be text, such as 1024x1024"),
        ({"kind": "presets", "ratios": {"wide": "16x9"}}, "write it like 16:9"),
        ({"kind": "presets", "ratios": {"1:1": "8x8"}, "image_sizes": {"big": 1}}, "write it like 1K"),
        ({"kind": "presets", "ratios": {"1:1": "8x8"}, "image_sizes": {"1K": 0}}, "greater than 0"),
        ({"kind": "presets", "ratios": {"1:1": "8x8"}, "image_sizes": {"1K": float("inf")}}, "finite number"),
        ({"kind": "named", "ratios": ["wide"]}, "write it like 16:9"),
        ({"kind": "named", "image_sizes": ["big"]}, "write it like 1K"),
        ({"kind": "round"}, "'fixed', 'presets', 'named', 'flexible'"),
    ],
)
def test_a_sizing_that_is_not_valid_is_refused(fields: dict[str, object], expected: str) -> None:
    with pytest.raises(ValidationError) as caught:
        SIZING.validate_python(fields)
    assert expected in str(caught.value)


def test_a_size_that_is_required_is_chosen_without_a_request() -> None:
    sizing = SIZING.validate_python({"kind": "fixed", "sizes": ("8x8", "16x8", "8x16"), "required": True})
    assert sizing.choose(SizeRequest()).size == Size(8, 8)
    assert sizing.choose(SizeRequest(natural_ratio=1.9)).size == Size(16, 8)


def test_a_sizing_survives_being_dumped_and_validated() -> None:
    sizing = SIZING.validate_python({"kind": "fixed", "sizes": (Size(8, 8), "16x8")})
    assert SIZING.dump_python(sizing) == {"kind": "fixed", "sizes": ("8x8", "16x8"), "required": False}
    for model in MODELS.values():
        assert SIZING.validate_python(SIZING.dump_python(model.sizing, mode="json")) == model.sizing


def test_an_offered_image_size_that_is_not_valid_is_refused() -> None:
    fields = catalog.page("openai").models["gpt-image-2"]["sizing"]
    with pytest.raises(ValidationError, match="write it like 1K"):
        SIZING.validate_python({**fields, "offered": {"image_sizes": ["huge"]}})


def named_sizing(ratios: str, image_sizes: str = "") -> NamedSizing:
    fields = {"kind": "named", "ratios": ratios.split(), "image_sizes": image_sizes.split()}
    return NamedSizing.model_validate(fields)


@pytest.mark.parametrize(
    ("sizing", "request_", "sent", "is_met"),
    [
        (named_sizing("1:1 16:9", "1K 2K"), SizeRequest(aspect_ratio=AspectRatio(16, 9)), "16:9 at 1K", True),
        (named_sizing("1:1 16:9", "1K 2K"), SizeRequest(image_size="2K"), "2K", True),
        (named_sizing("1:1 16:9", "2K 4K"), SizeRequest(aspect_ratio=AspectRatio(1, 1)), "1:1 at 2K", True),
        (named_sizing("1:1 16:9", "1K 2K"), SizeRequest(size=Size(2731, 1536)), "16:9 at 2K", True),
        # The pixels of an image are not known, so no other size in pixels is met.
        (named_sizing("1:1 16:9", "1K 2K"), SizeRequest(size=Size(2048, 1152)), "16:9 at 2K", False),
        (named_sizing("1:1 16:9"), SizeRequest(aspect_ratio=AspectRatio(9, 16)), "1:1", False),
        (named_sizing("1:1 16:9"), SizeRequest(image_size="4K"), "auto", False),
        (named_sizing("", "1K 2K"), SizeRequest(aspect_ratio=AspectRatio(9, 16)), "1K", False),
        (named_sizing(""), SizeRequest(size=Size(1024, 1024)), "auto", False),
        (named_sizing("1:1", "1K"), SizeRequest(), "auto", True),
    ],
)
def test_names_whose_pixels_are_not_published(
    sizing: NamedSizing, request_: SizeRequest, sent: str, is_met: bool
) -> None:
    choice = sizing.choose(request_)
    assert (str(choice), choice.size) == (sent, None)
    assert request_.is_met_by(choice) is is_met
    assert all(preset.size is None for preset in sizing.presets())
