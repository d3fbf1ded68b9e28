"""Tokens of images, computed by the catalogue's rules, against figures that were published or recorded."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invokeai_external.pricing.tokens import image_tokens, input_image_tokens, prompt_tokens
from invokeai_external.providers import catalog
from invokeai_external.providers.schema import InputImageTokens
from invokeai_external.sizing import Size, SizeChoice

MODELS = {config.id: config for page in catalog.pages() if page.provider.in_invoke for config in page.configs()}

# model | size | tokens by quality, as published or recorded
FIGURES = """
gpt-image-2         | 1024x1024 | low 196, medium 1756, high 7024
gpt-image-2         | 1536x1024 | low 158, medium 1372, high 5488
gpt-image-2         | 1536x864  | low 120
gpt-image-2.5-flare | 1024x1024 | low 196, medium 439, high 1756, xhigh 3122, max 7024
gpt-image-2.5-sunburst | 2880x2880 | max 23719
gpt-image-1.5       | 1024x1024 | low 272, medium 1056, high 4160
gpt-image-1         | 1536x1024 | low 400, medium 1568, high 6208
gpt-image-1         | 1024x1536 | low 408, medium 1584, high 6240
"""

# Seen by third parties: what the model used must be below the bound.
SEEN_OF_26 = [("1536x1024", "low", 664), ("1536x1024", "high", 1353), ("3840x2160", "high", 3337)]


def tokens(model: str, size: str, quality: str | None) -> int:
    found = image_tokens(MODELS[model], SizeChoice(Size.parse(size)), quality)
    assert found.basis == ("exact" if model.startswith("gpt-image-2") else "table")
    assert found.usual is not None
    assert found.usual == found.at_most
    return found.usual


@pytest.mark.parametrize("line", FIGURES.strip().splitlines())
def test_the_tokens_of_a_finished_image(line: str) -> None:
    model, size, figures = (cell.strip() for cell in line.split("|"))
    expected = {quality: int(figure) for quality, figure in (each.split() for each in figures.split(", "))}
    assert {quality: tokens(model, size, quality) for quality in expected} == expected


@pytest.mark.parametrize(("size", "quality", "seen"), SEEN_OF_26)
def test_what_was_seen_of_26_is_below_its_bound(size: str, quality: str, seen: int) -> None:
    found = image_tokens(MODELS["gpt-image-2.6-flare"], SizeChoice(Size.parse(size)), quality)
    assert found.basis == "bounded"
    assert found.usual == pytest.approx(seen, rel=0.02)
    assert found.at_most is not None
    assert seen <= found.at_most


@given(st.integers(1, 240), st.integers(1, 240), st.sampled_from([16, 24, 48, 64, 96]))
def test_the_rule_has_no_rounding_errors(across: int, down: int, longer: int) -> None:
    size = Size(16 * across, 16 * down)
    short, long = sorted((size.width, size.height))
    shorter = int(Fraction(longer * short, long) + Fraction(1, 2))
    exact = Fraction(longer * shorter * (2_000_000 + size.pixels), 4_000_000)
    quality = {16: "low", 24: "medium", 48: "high", 64: "xhigh", 96: "max"}[longer]
    found = image_tokens(MODELS["gpt-image-2.5-flare"], SizeChoice(size), quality).usual
    assert found is not None
    assert found - 1 < exact <= found


@given(st.integers(1, 240), st.integers(1, 240))
def test_no_size_has_more_tokens_than_the_bound_of_a_size_that_the_model_chooses(across: int, down: int) -> None:
    model, size = MODELS["gpt-image-2.6-flare"], Size(16 * across, 16 * down)
    most = image_tokens(model, SizeChoice(), None).at_most
    if model.sizing.allows(size):
        found = image_tokens(model, SizeChoice(size), None).at_most
        assert found is not None
        assert most is not None
        assert found <= most


@pytest.mark.parametrize(
    ("image_size", "by_model"),
    [
        ("512", {"gemini-3.1-flash-image": 747}),
        (
            "1K",
            {
                "gemini-nano-banana-2.1": 1120,
                "gemini-3-pro-image": 1120,
                "gemini-3.1-flash-lite-image": 1120,
                "gemini-3.1-flash-image": 1120,
                "gemini-2.5-flash-image": 1290,
            },
        ),
        ("2K", {"gemini-nano-banana-2.1": 1680, "gemini-3-pro-image": 1120, "gemini-3.1-flash-image": 1680}),
        ("4K", {"gemini-nano-banana-2.1": 3780, "gemini-3-pro-image": 2000, "gemini-3.1-flash-image": 2520}),
        # If no size is sent, it is 1K.
        (None, {"gemini-nano-banana-2.1": 1120, "gemini-3-pro-image": 1120, "gemini-2.5-flash-image": 1290}),
    ],
)
def test_the_tokens_of_gemini_by_image_size(image_size: str | None, by_model: dict[str, int]) -> None:
    found = {name: image_tokens(MODELS[name], SizeChoice(image_size=image_size), None).usual for name in by_model}
    assert found == by_model


@pytest.mark.parametrize(
    ("model", "size", "count", "basis"),
    [
        ("gpt-image-2", "128x128", 64, "table"),  # recorded
        ("gpt-image-2.6-flare", "1024x1024", 1024, "table"),
        ("gpt-image-2.5-flare", "512x512", 1024, "table"),  # scaled up to twice its size
        ("gpt-image-2.5-flare", "4000x3000", 1536, "bounded"),
        ("gpt-image-1.5", "1024x1024", 194, "table"),  # recorded
        ("gpt-image-1", "400x400", 194, "table"),
        ("gpt-image-1", "1536x1024", 323, "bounded"),
        ("gemini-3.1-flash-lite-image", "400x300", 1120, "table"),  # recorded
        ("gemini-3-pro-image", "4000x3000", 560, "table"),
        ("gemini-nano-banana-2.1", "400x300", 1120, "bounded"),
        ("gpt-image-1-mini", "1024x1024", None, "unknown"),
        ("gemini-2.5-flash-image", "1024x1024", 6192, "bounded"),
        ("dall-e-2", "1024x1024", None, "unknown"),
    ],
)
def test_the_tokens_of_an_input_image(model: str, size: str, count: int | None, basis: str) -> None:
    found = input_image_tokens(MODELS[model], Size.parse(size))
    assert (found.at_most, found.basis) == (count, basis)


def test_high_fidelity_adds_tokens_to_input_images() -> None:
    found = input_image_tokens(MODELS["gpt-image-1.5"], Size(1024, 1024), high_fidelity=True)
    assert (found.usual, found.at_most, found.basis) == (None, 194 + 6240, "bounded")
    patches = MODELS["gpt-image-2"].model_copy(update={"input_image_tokens": InputImageTokens(rule="patches")})
    assert input_image_tokens(patches, Size(128, 128), high_fidelity=True).at_most == 64


@given(st.text(max_size=200))
def test_a_prompt_has_no_more_tokens_than_bytes(text: str) -> None:
    found = prompt_tokens(text)
    assert found.usual is not None
    assert found.at_most is not None
    assert len(text.encode("utf-8", "replace")) + 32 <= found.at_most
    assert found.usual <= found.at_most
