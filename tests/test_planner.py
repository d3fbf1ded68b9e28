"""The planner: the calls for a request, the notices, and what is refused before anything is sent."""

from __future__ import annotations

import hashlib
import io
import random
import zlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from invokeai_external.errors import CapabilityError, InvalidRequestError, RequestError
from invokeai_external.images.inputs import PreparedImage, prepare_input
from invokeai_external.planning.plan import MASK_SENTENCE, Call, Plan, count_calls, plan
from invokeai_external.pricing.estimate import image_price
from invokeai_external.providers.registry import Registry
from invokeai_external.providers.schema import ChoiceOption, InputImageLimits, ModelConfig, NumberOption, TextOption
from invokeai_external.request import GenerationRequest, InputImage, OptionValue
from invokeai_external.result import Notice
from invokeai_external.sizing import AspectRatio, Size
from invokeai_external.untrusted_text import shows_nothing

from .support.clock import TODAY

MODELS = {model.id: model for model in Registry(today=lambda: TODAY).models()}
GPT_26 = MODELS["gpt-image-2.6-flare"]
FLARE, GPT_2, GPT_15, MINI = (MODELS[f"gpt-image-{name}"] for name in ("2.5-flare", "2", "1.5", "1-mini"))
BANANA, OLD_BANANA = MODELS["gemini-nano-banana-2.1"], MODELS["gemini-2.5-flash-image"]
DALLE_3, DALLE_2 = MODELS["dall-e-3"], MODELS["dall-e-2"]

SECRETS = ("2026:01:02", "secret prompt")


@cache
def image(
    name: str = "fox.png", size: tuple[int, int] = (64, 48), *, noise: bool = False, orientation: int = 1
) -> InputImage:
    """An image file with private EXIF; noise does not compress, so it makes a large file."""
    pixels = Image.new("RGB", size, "teal")
    if noise:
        pixels = Image.frombytes("RGB", size, random.Random(name).randbytes(size[0] * size[1] * 3))
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010E] = SECRETS[1]
    exif[0x9003] = SECRETS[0]
    return InputImage(_bytes(pixels, name, exif), name)


def _bytes(image: Image.Image, name: str, exif: Image.Exif) -> bytes:
    file = io.BytesIO()
    image.save(file, {"png": "PNG", "jpg": "JPEG", "webp": "WEBP", "bmp": "BMP"}[name.rpartition(".")[2]], exif=exif)
    return file.getvalue()


@cache
def left_half(size: tuple[int, int] = (64, 48)) -> InputImage:
    """A mask in the internal form (L, 255 = change): the left half."""
    image = Image.new("L", size)
    image.paste(255, (0, 0, size[0] // 2, size[1]))
    return InputImage(_bytes(image, "mask.png", Image.Exif()), "mask.png")


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def planned(model: ModelConfig, **asked: object) -> Plan:
    return plan(replace(GenerationRequest(prompt="a red fox"), **asked), model)  # type: ignore[arg-type]


def only_call(found: Plan) -> Call:
    (call,) = found.calls
    return call


def notices_of(found: Plan) -> list[Notice]:
    """The notices of a plan, without those of the model's lifecycle."""
    return [notice for notice in found.notices if notice.code not in ("model_retired", "model_deprecated")]


def codes_of(found: Plan) -> list[str]:
    return [notice.code for notice in notices_of(found)]


def assert_notices(found: Plan, expected: Sequence[tuple[str, ...]]) -> None:
    """A plan has exactly these notices: the code of each, and the facts that its message must contain."""
    notices = notices_of(found)
    assert [notice.code for notice in notices] == [code for code, *_ in expected]
    for notice, (_, *facts) in zip(notices, expected, strict=True):
        assert [fact for fact in facts if fact not in notice.message] == []


# Any request of any model.


@st.composite
def option_values(draw: st.DrawFn, model: ModelConfig) -> dict[str, OptionValue]:
    """Options of the model with values that it supports, as a user may write them."""
    given_: dict[str, OptionValue] = {}
    for name, option in model.options.items():
        if isinstance(option, NumberOption):
            values = st.floats(option.minimum, option.maximum)
            values = st.integers(int(option.minimum), int(option.maximum)).map(float) if option.whole else values
            given_[name] = draw(values | values.map(str))
        elif isinstance(option, ChoiceOption):
            allowed = [value for value in option.values if value not in option.experimental]
            given_[name] = draw(st.sampled_from([*allowed, option.values[0].upper(), "", "auto"]))
    if given_.get("background") == "transparent":
        given_["output_format"] = "png"
    return given_


@st.composite
def requests(draw: st.DrawFn) -> tuple[ModelConfig, GenerationRequest]:
    """A model and a request that it supports."""
    model = draw(st.sampled_from(list(MODELS.values())))
    exact = draw(st.booleans())
    images: dict[str, object] = {}
    if "img2img" in model.modes and draw(st.booleans()):
        images["init_image"] = image()
        if "inpaint" in model.modes and draw(st.booleans()):
            images["mask"] = left_half()
        if model.input_images.max_count > 1:
            images["references"] = (image("cat.jpg"),) * draw(st.integers(0, 1 if "mask" in images else 2))
    request = GenerationRequest(
        prompt=draw(st.text(min_size=1, max_size=30).filter(lambda text: not shows_nothing(text))),
        n=draw(st.integers(1, 10)),
        size=draw(st.builds(Size, st.integers(50, 5000), st.integers(50, 5000))) if exact else None,
        aspect_ratio=None
        if exact
        else draw(st.none() | st.builds(AspectRatio, st.integers(1, 30), st.integers(1, 30))),
        image_size=None if exact else draw(st.sampled_from([None, "", "512", "1K", "2K", "4K"])),
        seed=draw(st.none() | st.integers(0, 2**32 - 1)),
        options=draw(option_values(model)),
    )
    return model, replace(request, **images)  # type: ignore[arg-type]


@settings(deadline=None, max_examples=100)
@given(requests())
def test_every_plan_is_within_what_the_model_supports(asked: tuple[ModelConfig, GenerationRequest]) -> None:
    model, request = asked
    found = plan(request, model)
    assert sum(call.n for call in found.calls) == request.n
    assert len(found.calls) == count_calls(request, model)
    for call in found.calls:
        assert 1 <= call.n <= model.max_images_per_call
        assert call.mode in model.modes
        assert call.prompt == request.prompt
        assert call.size.size is None or model.sizing.allows(call.size.size)
        mask_counts = call.mask is not None and model.input_images.mask_format == "white"
        assert len(call.images) + mask_counts <= model.input_images.max_count
        assert call.mask_sentence == (MASK_SENTENCE if mask_counts else None)
        assert call.mode == ("inpaint" if call.mask else "img2img" if call.images else "txt2img")
        for name, value in call.options.items():
            option = model.options[name]
            assert call.mode in option.modes
            assert value not in ("", "auto")
            if isinstance(option, ChoiceOption):
                assert value in option.values
            elif isinstance(option, NumberOption):
                assert type(value) is (int if option.whole else float)
                assert option.minimum <= value <= option.maximum
    seeds = [call.seed for call in found.calls]
    if request.seed is None or not model.seed:
        assert set(seeds) == {None}
    else:
        assert seeds == [(request.seed + i) & 0x7FFFFFFF for i in range(request.n)]


@settings(deadline=None, max_examples=60)
@given(requests())
def test_planning_with_the_size_of_a_plan_gives_the_same_plan(asked: tuple[ModelConfig, GenerationRequest]) -> None:
    model, request = asked
    first = plan(request, model)
    size = first.calls[0].size.size
    if size is None:
        return
    again = plan(replace(request, size=size, aspect_ratio=None, image_size=None), model)
    assert "size_changed" not in [notice.code for notice in again.notices]
    assert again.calls == first.calls


# Sizes, the number of images, seeds.


def test_the_notice_of_the_size_of_an_edit_does_not_say_that_the_result_has_it() -> None:
    def said(**asked: Any) -> str:
        return next(
            n.message for n in planned(BANANA, size=Size(1000, 900), **asked).notices if n.code == "size_changed"
        )

    assert "used instead" in said()
    assert "requested instead" in said(init_image=image())
    assert "scaled" not in said(init_image=image())
    assert "scaled" in said(init_image=image(), mask=left_half())


def test_an_edit_that_becomes_another_ratio_has_a_notice() -> None:
    def codes(size: tuple[int, int], **asked: Any) -> list[str]:
        return [notice.code for notice in planned(FLARE, init_image=image(size=size), **asked).notices]

    assert "size_changed" in codes((1200, 300), image_size="2K")
    assert "size_changed" not in codes((1200, 400), image_size="2K")
    # The model chooses the size.
    assert "size_changed" not in codes((1200, 300))


@pytest.mark.parametrize(
    ("size", "is_refused"),
    [((900, 300), False), ((3000, 999), False), ((940, 300), True), ((300, 940), True)],
)
def test_a_mask_on_an_image_outside_the_ratios_of_the_model_is_refused(size: tuple[int, int], is_refused: bool) -> None:
    refused: AbstractContextManager[Any] = pytest.raises(CapabilityError) if is_refused else nullcontext()
    with refused:
        planned(FLARE, init_image=image(size=size), mask=left_half(size))


@pytest.mark.parametrize(
    ("model", "asked", "expected"),
    [
        (FLARE, {"size": Size(1536, 864)}, []),
        (
            FLARE,
            {"size": Size(1920, 1080)},
            [("size_changed", "GPT Image 2.5 Flare", "1920x1080", "1920x1088")],
        ),
        (
            FLARE,
            {"aspect_ratio": AspectRatio(16, 9), "image_size": "4K"},
            [("experimental_size", "GPT Image 2.5 Flare", "3840x2160")],
        ),
        (FLARE, {"size": Size(2560, 1440)}, []),
        (
            BANANA,
            {"aspect_ratio": AspectRatio(7, 4), "image_size": "2K"},
            [("size_changed", "7:4 at 2K", "2752x1536 (16:9 at 2K)")],
        ),
        (BANANA, {"image_size": "512"}, [("size_changed", "512", "1K")]),
        (OLD_BANANA, {"image_size": "2K"}, [("size_changed", "2K")]),
        (GPT_15, {}, []),
    ],
)
def test_a_size_that_the_model_does_not_support_has_a_notice(
    model: ModelConfig, asked: Mapping[str, object], expected: list[tuple[str, ...]]
) -> None:
    assert_notices(planned(model, **asked), expected)


def test_the_ratio_of_the_image_to_edit_is_the_default_once_it_is_upright() -> None:
    standing = image("phone.jpg", (60, 40), orientation=6)
    assert str(only_call(planned(FLARE, init_image=standing, image_size="1K")).size) == "832x1248"


@pytest.mark.parametrize(
    ("model", "n", "seed", "calls"),
    [
        (FLARE, 10, None, [(10, None)]),
        (DALLE_3, 2, None, [(1, None), (1, None)]),
        (BANANA, 3, None, [(1, None), (1, None), (1, None)]),
        (BANANA, 3, 0x7FFFFFFE, [(1, 0x7FFFFFFE), (1, 0x7FFFFFFF), (1, 0)]),
        (BANANA, 1, 0xFFFFFFFF, [(1, 0x7FFFFFFF)]),
        (FLARE.model_copy(update={"max_images_per_call": 4}), 10, None, [(4, None), (4, None), (2, None)]),
        # A call has one seed, so images with different seeds need a call each.
        (FLARE.model_copy(update={"max_images_per_call": 4, "seed": True}), 2, 7, [(1, 7), (1, 8)]),
    ],
)
def test_several_images_become_calls_that_the_model_supports(
    model: ModelConfig, n: int, seed: int | None, calls: list[tuple[int, int | None]]
) -> None:
    assert [(call.n, call.seed) for call in planned(model, n=n, seed=seed).calls] == calls


# Options.


@pytest.mark.parametrize(
    ("model", "options", "sent", "expected"),
    [
        (FLARE, {"quality": "auto", "background": "", "moderation": " Auto "}, {}, []),
        (FLARE, {"quality": " HIGH ", "output_format": "webp"}, {"quality": "high", "output_format": "webp"}, []),
        (BANANA, {"temperature": "0.5"}, {"temperature": 0.5}, []),
        (BANANA, {"temperature": 1, "thinking_level": "high"}, {"temperature": 1.0, "thinking_level": "high"}, []),
        (
            FLARE,
            {"temperature": 1.0, "thinking_level": "high"},
            {},
            [
                ("option_dropped", "GPT Image 2.5 Flare", "temperature", "1.0"),
                ("option_dropped", "GPT Image 2.5 Flare", "thinking level", "'high'"),
            ],
        ),
        (BANANA, {"background": "opaque"}, {}, [("option_dropped", "background", "'opaque'")]),
        (
            GPT_15,
            {"input_fidelity": "high"},
            {},
            [("option_dropped", "Input fidelity", "'high'")],
        ),
        (GPT_2, {"input_fidelity": "high"}, {}, [("option_dropped", "input fidelity", "'high'")]),
        (MINI, {"input_fidelity": "low"}, {}, [("option_dropped", "input fidelity", "'low'")]),
        (DALLE_2, {"quality": "standard"}, {}, [("option_dropped", "quality", "'standard'")]),
        (
            GPT_2,
            {"background": "transparent"},
            {"background": "transparent"},
            [("preview", "Background transparent", "GPT Image 2")],
        ),
        (DALLE_3, {"style": "vivid", "quality": "hd"}, {"style": "vivid", "quality": "hd"}, []),
        (GPT_26, {"complexity": "low"}, {"complexity": "low"}, []),
        (FLARE, {"complexity": "low"}, {}, [("option_dropped", "GPT Image 2.5 Flare", "complexity", "'low'")]),
        (
            FLARE,
            {"output_format": "jpeg", "output_compression": "80"},
            {"output_format": "jpeg", "output_compression": 80},
            [],
        ),
        (
            FLARE,
            {"output_format": "webp", "output_compression": 0.0},
            {"output_format": "webp", "output_compression": 0},
            [],
        ),
        (FLARE, {"output_compression": 80}, {}, [("option_dropped", "jpeg and webp", "80")]),
        (
            FLARE,
            {"output_format": "png", "output_compression": 80},
            {"output_format": "png"},
            [("option_dropped", "jpeg and webp", "80")],
        ),
        (BANANA, {"safety": "BLOCK_NONE"}, {"safety": "block_none"}, []),
        (OLD_BANANA, {"safety": "off"}, {"safety": "off"}, []),
        (BANANA, {"web_search": "off"}, {}, []),
        (OLD_BANANA, {"web_search": "off"}, {}, []),
        (BANANA, {"web_search": "image"}, {"web_search": "image"}, [("search_billed", "$0.014")]),
        (OLD_BANANA, {"web_search": "web"}, {}, [("option_dropped", "web search", "'web'")]),
    ],
)
def test_an_option_is_sent_or_has_a_notice(
    model: ModelConfig,
    options: dict[str, OptionValue],
    sent: dict[str, OptionValue],
    expected: list[tuple[str, ...]],
) -> None:
    found = planned(model, options=options)
    assert only_call(found).options == sent
    assert_notices(found, expected)


def test_options_that_depend_on_the_mode() -> None:
    options: dict[str, OptionValue] = {"input_fidelity": "high", "moderation": "low"}
    from_words, edit = planned(GPT_15, options=options), planned(GPT_15, options=options, init_image=image())
    assert only_call(from_words).options == {"moderation": "low"}
    assert only_call(edit).options == options
    assert_notices(edit, [])
    assert only_call(planned(GPT_15, options=options, references=(image(),))).options == options


@pytest.mark.parametrize("value", [80.5, -1, 101, "much", "nan", "inf"])
def test_a_compression_that_is_not_a_whole_number_of_the_range_is_refused(value: OptionValue) -> None:
    with pytest.raises(CapabilityError) as caught:
        planned(FLARE, options={"output_format": "jpeg", "output_compression": value})
    assert caught.value.remedy
    assert "whole number from 0 to 100" in caught.value.remedy.text


def test_image_search_is_refused_where_there_is_only_a_web_search() -> None:
    with pytest.raises(CapabilityError, match="web search"):
        planned(MODELS["gemini-3-pro-image"], options={"web_search": "image"})


@pytest.mark.parametrize("seed", [0, 7, 0x7FFFFFFF])
def test_a_seed_within_31_bits_is_sent_as_it_is(seed: int) -> None:
    found = planned(BANANA, seed=seed)
    assert only_call(found).seed == seed
    assert_notices(found, [])


@pytest.mark.parametrize("seed", [0x80000000, 4_000_000_000, 0xFFFFFFFF])
def test_a_seed_of_32_bits_has_a_notice_with_the_seed_that_is_sent(seed: int) -> None:
    found = planned(BANANA, seed=seed)
    sent = only_call(found).seed
    assert sent == seed - 0x80000000
    assert_notices(found, [("seed_changed", "Gemini Nano Banana 2.1", str(seed), f"{sent} was sent")])
    # What was sent is sent again.
    assert only_call(planned(BANANA, seed=sent)).seed == sent


def test_the_notice_names_only_the_seeds_that_change() -> None:
    found = planned(BANANA, n=3, seed=0x7FFFFFFF)
    assert [call.seed for call in found.calls] == [0x7FFFFFFF, 0, 1]
    assert_notices(found, [("seed_changed", "for seeds 2147483648, 2147483649, 0, 1 were sent")])


@pytest.mark.parametrize("seed", [-1, -0x80000000, 0x100000000, 99_999_999_999])
def test_a_number_that_is_not_a_valid_seed_is_refused(seed: int) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        planned(BANANA, seed=seed)
    assert [fact for fact in (str(seed), "0 to 4294967295") if fact not in str(caught.value)] == []


def test_a_seed_that_the_model_does_not_support_has_a_notice() -> None:
    found = planned(FLARE, seed=7)
    assert only_call(found).seed is None
    assert_notices(found, [("option_dropped", "GPT Image 2.5 Flare", "seed", "7")])


def test_a_value_is_sent_as_the_model_spells_it() -> None:
    shouting = FLARE.model_copy(update={"options": {"quality": ChoiceOption(values=("Best",))}})
    assert only_call(planned(shouting, options={"quality": "best"})).options == {"quality": "Best"}


# Texts.

WITH_STYLE = FLARE.model_copy(update={"options": {"style": TextOption(text=True, max_characters=12)}})


@pytest.mark.parametrize("text", ["Auto", "auto", " WaterColour", "=a=", "12", "水彩 \U0001f58c", "e\u0301", "x" * 12])
def test_a_text_is_sent_as_it_is_written(text: str) -> None:
    assert only_call(planned(WITH_STYLE, options={"style": text})).options == {"style": text}


@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_text_is_not_sent(text: str) -> None:
    assert only_call(planned(WITH_STYLE, options={"style": text})).options == {}


@pytest.mark.parametrize("text", ["a\nb", "a\tb", "a\r", "a\x1b[0m", "a\x00", "a\ud800", "a\u202eb", "a\u200bb"])
def test_a_text_with_a_character_that_does_not_show_is_refused(text: str) -> None:
    with pytest.raises(CapabilityError):
        planned(WITH_STYLE, options={"style": text})


def test_a_text_that_is_too_long_is_refused_with_both_lengths() -> None:
    with pytest.raises(CapabilityError) as caught:
        planned(WITH_STYLE, options={"style": "x" * 13})
    assert [fact for fact in ("style", "13 characters", "at most 12", "Shorten") if fact not in str(caught.value)] == []


def test_a_text_applies_in_its_modes_only() -> None:
    only_edits = FLARE.model_copy(update={"options": {"style": TextOption(text=True, modes=("img2img",))}})
    found = planned(only_edits, options={"style": "watercolour"})
    assert only_call(found).options == {}
    assert_notices(found, [("option_dropped", "Style", "with input images", "watercolour")])


# GIF and SVG.


def kept(output_format: str, **asked: object) -> Plan:
    options: dict[str, OptionValue] = {"output_format": output_format, **asked.pop("options", {})}  # type: ignore[dict-item]
    request = replace(GenerationRequest(prompt="a red fox"), options=options, **asked)  # type: ignore[arg-type]
    return plan(request, FLARE, experimental=True)


@pytest.mark.parametrize("output_format", ["gif", "svg", " GIF "])
def test_gif_and_svg_are_refused_without_the_setting(output_format: str) -> None:
    with pytest.raises(CapabilityError) as caught:
        planned(FLARE, options={"output_format": output_format})
    assert caught.value.remedy
    assert "experimental: true" in caught.value.remedy.text


def test_a_mistyped_format_is_answered_with_those_that_are_accepted() -> None:
    with pytest.raises(CapabilityError) as caught:
        planned(FLARE, options={"output_format": "bmp"})
    assert caught.value.remedy
    assert "Choose one of: png, jpeg, webp." in caught.value.remedy.text


@pytest.mark.parametrize("model", [GPT_2, GPT_15])
def test_a_model_without_gif_refuses_it_with_the_setting_too(model: ModelConfig) -> None:
    with pytest.raises(CapabilityError, match="gif"):
        plan(GenerationRequest(prompt="a fox", options={"output_format": "gif"}), model, experimental=True)


def test_a_gif_has_frames_and_no_compression_previews_or_estimate() -> None:
    options = {"frame_count": 4, "frame_duration_ms": 100.0, "output_compression": 50}
    found = kept("gif", n=3, previews=2, options=options)
    call = only_call(found)
    assert call.options == {"output_format": "gif", "frame_count": 4, "frame_duration_ms": 100}
    assert (call.n, call.previews, call.keeps_file) == (3, 0, True)
    assert_notices(found, [("option_dropped", "compression", "50"), ("option_dropped", "previews", "gif")])
    assert found.estimate_usd is None


def test_each_svg_is_a_call() -> None:
    found = kept("svg", n=3, options={"frame_count": 4})
    assert [(call.n, call.options) for call in found.calls] == [(1, {"output_format": "svg"})] * 3
    assert count_calls(GenerationRequest(prompt="x", n=3, options={"output_format": "svg"}), FLARE) == 3
    assert count_calls(GenerationRequest(prompt="x", n=3, options={"output_format": "svg"}), GPT_2) == 1
    assert_notices(found, [("option_dropped", "Frame count", "gif", "4")])


def test_frames_of_other_formats_are_not_sent() -> None:
    found = planned(FLARE, options={"frame_count": 4, "frame_duration_ms": 100})
    assert only_call(found).options == {}
    assert_notices(found, [("option_dropped", "Frame count", "4"), ("option_dropped", "Frame duration ms", "100")])


@pytest.mark.parametrize("output_format", ["gif", "svg"])
def test_gif_and_svg_have_no_mask_and_no_transparent_background(output_format: str) -> None:
    with pytest.raises(CapabilityError, match="mask"):
        kept(output_format, init_image=image(), mask=left_half())
    with pytest.raises(CapabilityError, match="transparency"):
        kept(output_format, options={"background": "transparent"})
    with pytest.raises(CapabilityError):
        kept("gif", options={"frame_count": 17})


# Markup.


@cache
def markup(size: tuple[int, int] = (64, 48), *, alpha: tuple[int, int] = (0, 255)) -> InputImage:
    """A red stroke on a ground, with the alpha of each."""
    image = Image.new("RGBA", size, (0, 0, 0, alpha[0]))
    image.paste((255, 0, 0, alpha[1]), (4, 4, 8, 8))
    return InputImage(_bytes(image, "notes.png", Image.Exif()), "notes.png")


@pytest.mark.parametrize("model", [FLARE, GPT_26])
def test_markup_is_sent_as_a_transparent_png_of_the_image_to_edit(model: ModelConfig) -> None:
    call = only_call(planned(model, init_image=image(), markup=markup(), references=(image("b.jpg"),)))
    assert call.mode == "img2img"
    assert [one.name for one in call.images] == ["fox.png", "b.jpg"]
    assert call.markup is not None
    assert (call.markup.name, call.markup.sha256, call.markup.mime_type) == (
        "notes.png",
        markup().sha256,
        "image/png",
    )
    sent = opened(call.markup.data)
    assert (sent.mode, sent.size) == ("RGBA", (64, 48))
    assert (sent.getpixel((5, 5)), sent.getpixel((20, 20))) == ((255, 0, 0, 255), (0, 0, 0, 0))


def test_markup_has_the_size_of_the_image_as_it_is_shown_and_as_it_is_sent() -> None:
    turned = only_call(planned(FLARE, init_image=image("a.jpg", (60, 40), orientation=6), markup=markup((40, 60))))
    assert turned.markup
    assert opened(turned.markup.data).size == (40, 60)
    small = FLARE.model_copy(
        update={"input_images": InputImageLimits(max_count=2, max_bytes=20_000, max_mask_bytes=20_000, markup=True)}
    )
    call = only_call(planned(small, init_image=image(size=(160, 120), noise=True), markup=markup((160, 120))))
    assert call.markup
    assert call.init_image
    assert opened(call.markup.data).size == opened(call.init_image.data).size != (160, 120)


@pytest.mark.parametrize(
    ("given_", "fact"),
    [
        (markup((32, 24)), "32x24"),
        (markup(alpha=(255, 255)), "no transparent pixel"),
        (image(), "no transparent pixel"),
        (markup(alpha=(0, 0)), "completely transparent"),
        (InputImage(b"text", "notes.png"), "not a readable image"),
    ],
)
def test_markup_that_cannot_be_used_is_refused(given_: InputImage, fact: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        planned(FLARE, init_image=image(), markup=given_)
    assert given_.name in caught.value.message
    assert fact in caught.value.message


def test_where_markup_does_not_go() -> None:
    with pytest.raises(InvalidRequestError, match="mask"):
        planned(FLARE, init_image=image(), mask=left_half(), markup=markup())
    with pytest.raises(InvalidRequestError, match="no image to edit"):
        planned(FLARE, references=(image(),), markup=markup())
    for model in (GPT_2, BANANA, DALLE_2):
        with pytest.raises(CapabilityError, match="markup"):
            planned(model, init_image=image(), markup=markup())


def test_moderation_does_not_go_with_markup() -> None:
    found = planned(FLARE, init_image=image(), markup=markup(), options={"moderation": "low"})
    assert only_call(found).options == {}
    assert_notices(found, [("option_dropped", "Moderation", "markup", "'low'")])


# Input images and masks.


@pytest.mark.parametrize("name", ["fox.png", "fox.jpg", "fox.webp"])
def test_an_image_is_sent_upright_and_without_private_data(name: str) -> None:
    given_ = image(name, (60, 40), orientation=6)
    assert SECRETS[1].encode() in given_.data, "the original file contains it"
    sent = only_call(planned(FLARE, init_image=given_)).init_image
    assert sent is not None
    assert opened(sent.data).size == (40, 60)
    assert not opened(sent.data).getexif()
    assert not any(secret.encode() in sent.data for secret in SECRETS)
    assert (sent.name, sent.sha256) == (name, given_.sha256)


def test_the_image_to_edit_is_sent_first_and_then_the_references_in_order() -> None:
    references = (image("a.png"), image("b.jpg"), image("c.webp"))
    call = only_call(planned(FLARE, init_image=image("base.png"), references=references))
    assert [image.name for image in call.images] == ["base.png", "a.png", "b.jpg", "c.webp"]
    assert [image.mime_type for image in call.images] == ["image/png", "image/png", "image/jpeg", "image/webp"]
    only_references = only_call(planned(FLARE, references=references))
    assert only_references.init_image is None
    assert [image.name for image in only_references.images] == ["a.png", "b.jpg", "c.webp"]


def test_an_image_that_is_too_large_is_scaled_down_and_has_a_notice() -> None:
    tight = FLARE.model_copy(update={"input_images": InputImageLimits(max_count=2, max_bytes=20_000)})
    found = planned(tight, init_image=image("big.png", (200, 100), noise=True), references=(image(),))
    big, small = only_call(found).images
    assert len(big.data) <= 20_000
    width, height = opened(big.data).size
    assert 100 < width < 200
    assert width / height == pytest.approx(2, abs=0.03)
    assert opened(small.data).size == (64, 48)
    assert_notices(found, [("image_downscaled", "big.png", "GPT Image 2.5 Flare", f"{width}x{height}")])


def test_images_share_a_total_and_small_ones_leave_their_share_to_large_ones() -> None:
    limits = InputImageLimits(max_count=6, max_bytes=90_000, max_total_bytes=100_000)
    model = BANANA.model_copy(update={"input_images": limits})
    large = image("large.png", (160, 150), noise=True)
    small = tuple(image(f"{i}.png", (40, 40), noise=True) for i in range(4))
    assert [72_000 < len(large.data) < 73_000, *(4_800 < len(i.data) < 5_100 for i in small)] == [True] * 5
    assert codes_of(planned(model, references=(large, *small))) == [], "92 kB of 100 kB, though a fifth of it is 20 kB"
    other_large = image("other.png", (160, 150), noise=True)
    found = planned(model, references=(large, *small, other_large))
    first, *middle, last = only_call(found).images
    assert sum(len(image.data) for image in (first, *middle, last)) <= 100_000
    assert [image.data for image in middle] == [i.data for i in only_call(planned(model, references=small)).images]
    assert all(32_000 < len(image.data) <= 40_250 for image in (first, last)), "half of what the small ones leave"
    assert codes_of(found) == ["image_downscaled"] * 2


def test_images_that_together_exceed_the_total_are_prepared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared: list[int] = []

    def counted(data: bytes, **options: Any) -> PreparedImage:
        prepared.append(len(data))
        return prepare_input(data, **options)

    monkeypatch.setattr("invokeai_external.images.inputs.prepare_input", counted)
    limits = InputImageLimits(max_count=6, max_bytes=90_000, max_total_bytes=100_000)
    model = BANANA.model_copy(update={"input_images": limits})
    large = [image(f"{i}.png", (160, 150), noise=True) for i in range(3)]
    sent = only_call(planned(model, references=tuple(large))).images
    assert prepared == [len(one.data) for one in large]
    assert all(26_000 < len(one.data) <= 33_334 for one in sent)


def test_the_same_image_is_prepared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared: list[bytes] = []

    def counted(data: bytes, **options: Any) -> PreparedImage:
        prepared.append(data)
        return prepare_input(data, **options)

    monkeypatch.setattr("invokeai_external.images.inputs.prepare_input", counted)
    cat, dog = image("cat.png", (40, 40), noise=True), image("dog.png", (40, 40), noise=True)
    again = InputImage(bytes(bytearray(cat.data)), "again.png")
    sent = only_call(planned(FLARE, init_image=cat, references=(dog, again, cat))).images
    assert prepared == [cat.data, dog.data]
    assert [one.name for one in sent] == ["cat.png", "dog.png", "again.png", "cat.png"]
    assert sent[0].data == sent[2].data == sent[3].data != sent[1].data


def test_a_file_that_becomes_smaller_leaves_the_rest_to_the_others() -> None:
    """The length of a BMP says nothing about that of the PNG that is sent."""
    limits = InputImageLimits(max_count=6, max_bytes=90_000, max_total_bytes=160_000)
    model = BANANA.model_copy(update={"input_images": limits})
    large = [image(f"{i}.png", (160, 150), noise=True) for i in range(2)]
    flat = InputImage(_bytes(Image.new("RGB", (200, 200)), "flat.bmp", Image.Exif()), "flat.bmp")
    found = planned(model, references=(*large, flat))
    assert codes_of(found) == []
    assert only_call(found).images[:2] == only_call(planned(model, references=tuple(large))).images


def test_a_mask_is_a_png_of_the_image_s_size_that_is_transparent_where_to_change() -> None:
    call = only_call(planned(FLARE, init_image=image("wide.jpg", (60, 40), orientation=6), mask=left_half((20, 30))))
    assert call.mode == "inpaint"
    assert call.init_image is not None
    assert call.mask is not None
    assert (call.mask.mime_type, call.mask.name) == ("image/png", "mask.png")
    mask = opened(call.mask.data)
    assert (mask.mode, mask.size) == ("RGBA", opened(call.init_image.data).size) == ("RGBA", (40, 60))
    alpha = mask.getchannel("A")
    assert [alpha.getpixel(place) for place in ((0, 0), (19, 59), (20, 0), (39, 59))] == [0, 0, 255, 255]


def test_a_mask_that_is_sent_as_an_image_has_the_image_s_size_and_is_white_where_to_change() -> None:
    asked = {"init_image": image("wide.jpg", (60, 40), orientation=6), "references": (image(),) * 12}
    call = only_call(planned(BANANA, mask=left_half((20, 30)), **asked))
    assert call.mode == "inpaint"
    assert call.mask is not None
    assert (call.mask.mime_type, call.mask.name) == ("image/png", "mask.png")
    mask = opened(call.mask.data)
    assert (mask.mode, mask.size) == ("L", opened(call.images[0].data).size) == ("L", (40, 60))
    assert [mask.getpixel(place) for place in ((0, 0), (19, 59), (20, 0), (39, 59))] == [255, 255, 0, 0]
    assert call.prompt == "a red fox"
    assert call.mask_sentence == MASK_SENTENCE
    assert planned(BANANA, **asked).calls[0].mask_sentence is None
    assert only_call(planned(FLARE, mask=left_half((20, 30)), **asked)).mask_sentence is None


def test_a_mask_that_is_sent_as_an_image_counts_towards_the_total_bytes() -> None:
    limits = InputImageLimits(max_count=3, max_bytes=90_000, max_total_bytes=76_000, mask_format="white")
    model = BANANA.model_copy(update={"input_images": limits})
    large = image("large.png", (160, 150), noise=True)
    assert 72_000 < len(large.data) < 73_000
    soft = Image.frombytes("L", (160, 150), random.Random(1).randbytes(160 * 150))
    soft_mask = InputImage(_bytes(soft, "mask.png", Image.Exif()), "mask.png")
    assert codes_of(planned(model, init_image=large)) == []
    assert codes_of(planned(model, init_image=large, mask=left_half((160, 150)))) == ["mask_area"]
    found = planned(model, init_image=large, mask=soft_mask)
    assert codes_of(found) == ["mask_area", "image_downscaled"]
    call = only_call(found)
    assert call.mask is not None
    assert len(call.images[0].data) <= 57_000, "a quarter is left to the mask"
    assert len(call.mask.data) <= 19_000
    assert opened(call.mask.data).size == opened(call.images[0].data).size < (160, 150)


@pytest.mark.parametrize(
    ("size", "fits"),
    [
        *[((400, 400), False), ((1200, 800), False), ((840, 1200), False)],
        *[((800, 1200), True), ((400, 600), True), ((812, 1200), True), ((3, 4), True)],
    ],
)
@pytest.mark.parametrize("model", [FLARE, BANANA, DALLE_2], ids=lambda model: model.id)
def test_a_mask_has_the_ratio_of_its_image(model: ModelConfig, size: tuple[int, int], fits: bool) -> None:
    asked = {"init_image": image("tall.png", (800, 1200)), "mask": left_half(size)}
    if fits:
        assert only_call(planned(model, **asked)).mask is not None
    else:
        with pytest.raises(InvalidRequestError, match=f"{size[0]}x{size[1]}.*800x1200"):
            planned(model, **asked)


@pytest.mark.parametrize(
    ("pixels", "said"),
    [(1, "less than 0.1%"), (200, "2.0%"), (3333, "33%"), (9999, "more than 99.9%"), (10000, "100%")],
)
def test_the_share_that_a_mask_marks_is_in_a_notice(pixels: int, said: str) -> None:
    marks = Image.frombytes("L", (100, 100), bytes([255] * pixels + [0] * (10_000 - pixels)))
    mask = InputImage(_bytes(marks, "mask.png", Image.Exif()), "mask.png")
    (notice,) = planned(FLARE, init_image=image("a.png", (100, 100)), mask=mask).notices
    assert (notice.code, said in notice.message) == ("mask_area", True)


def test_a_mask_in_a_file_is_read_as_by_read_mask_and_keeps_its_hash() -> None:
    hole = Image.new("RGBA", (60, 40), "red")
    hole.paste((0, 0, 0, 0), (0, 0, 30, 40))
    file = InputImage(_bytes(hole, "hole.png", Image.Exif()), "hole.png")
    red = Image.new("RGB", (60, 40))
    red.paste("red", (0, 0, 30, 40))
    red_file = InputImage(_bytes(red, "red.png", Image.Exif()), "red.png", marks="red")
    for mask in (file, red_file):
        sent = only_call(planned(FLARE, init_image=image("a.png", (60, 40)), mask=mask)).mask
        assert sent is not None
        assert sent.sha256 == hashlib.sha256(mask.data).hexdigest()
        assert opened(sent.data).getchannel("A").tobytes() == bytes(([0] * 30 + [255] * 30) * 40)


@pytest.mark.parametrize("output_format", ["jpeg", "webp"])
def test_with_a_mask_the_result_is_a_png(output_format: str) -> None:
    asked = {"init_image": image("a.png", (60, 40)), "options": {"output_format": output_format}}
    assert only_call(planned(FLARE, **asked)).options == {"output_format": output_format}
    found = planned(FLARE, mask=left_half((60, 40)), **asked)
    assert only_call(found).options == {}
    assert sorted(codes_of(found)) == ["mask_area", "option_dropped"]


def test_an_image_is_its_own_mask_only_if_it_has_a_hole() -> None:
    whole, hole = image("a.png", (60, 40)), Image.new("RGBA", (60, 40), "red")
    with pytest.raises(InvalidRequestError):
        planned(FLARE, init_image=whole, mask=whole)
    hole.paste((0, 0, 0, 0), (0, 0, 30, 40))
    file = InputImage(_bytes(hole, "hole.png", Image.Exif()), "hole.png")
    assert codes_of(planned(FLARE, init_image=file, mask=file)) == ["mask_area"]


def test_an_image_to_edit_inside_a_mask_has_fewer_pixels_than_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("invokeai_external.images.pixels.MAX_EDITED_PIXELS", 2399)
    large = image("large.png", (60, 40))
    assert codes_of(planned(FLARE, init_image=large)) == []
    with pytest.raises(InvalidRequestError, match="2,399"):
        planned(FLARE, init_image=large, mask=left_half((60, 40)))


def test_images_that_take_too_long_to_decode_together_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("invokeai_external.planning.input_images._MOST_TOGETHER", 3 * 60 * 40)
    files = [image(f"{name}.png", (60, 40)) for name in "abcd"]
    assert codes_of(planned(FLARE, references=files[:3])) == []
    for asked in (
        {"references": files},
        {"init_image": files[0], "mask": left_half((60, 40)), "references": files[1:3]},
    ):
        with pytest.raises(InvalidRequestError):
            planned(FLARE, **asked)


def test_the_images_of_a_request_have_a_limit_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("invokeai_external.request.MOST_INPUT_BYTES", 10)
    assert GenerationRequest(prompt="x", init_image=b"12345", references=[b"12345"]).references
    with pytest.raises(InvalidRequestError, match="11 bytes"):
        GenerationRequest(prompt="x", init_image=b"12345", references=[b"12345", b"6"])


def test_the_text_on_the_mask_counts_towards_the_longest_prompt() -> None:
    longest = 131_072 - len(MASK_SENTENCE)
    asked = {"init_image": image(), "mask": left_half()}
    assert len(only_call(planned(BANANA, prompt="x" * longest, **asked)).prompt) == longest
    with pytest.raises(CapabilityError, match=f"{longest:,}"):
        planned(BANANA, prompt="x" * (longest + 1), **asked)


def test_dall_e_2_receives_the_image_and_the_mask_as_square_pngs_with_alpha() -> None:
    asked = {"init_image": image("wide.jpg", (64, 32)), "mask": left_half((64, 32)), "size": Size(256, 256)}
    call = only_call(planned(DALLE_2, **asked))
    assert call.init_image is not None
    assert call.mask is not None
    base, mask = opened(call.init_image.data), opened(call.mask.data).getchannel("A")
    assert (call.init_image.mime_type, base.mode, base.size, mask.size) == (
        "image/png",
        "RGBA",
        (256, 256),
        (256, 256),
    )
    top, middle = (128, 10), (128, 128)
    assert [base.getchannel("A").getpixel(place) for place in (top, middle)] == [0, 255]
    # Above the image, in its left half and in its right half: change, change, keep.
    assert [mask.getpixel(place) for place in (top, (20, 128), (230, 128))] == [0, 0, 255]
    without_mask = only_call(planned(DALLE_2, init_image=image()))
    assert without_mask.mask is None
    assert opened(without_mask.images[0].data).size == (1024, 1024)


# What is refused.


@pytest.mark.parametrize(
    ("model", "asked", "kind", "facts"),
    [
        (
            FLARE,
            {"prompt": " \n "},
            InvalidRequestError,
            ("prompt",),
        ),
        (
            FLARE,
            {"prompt": "x" * 32_001},
            CapabilityError,
            ("32,001", "GPT Image 2.5 Flare", "32,000"),
        ),
        (
            FLARE,
            {"n": 0},
            InvalidRequestError,
            ("0 ", "1 to 10"),
        ),
        (
            BANANA,
            {"n": 11},
            InvalidRequestError,
            ("11 ", "1 to 10"),
        ),
        (
            FLARE,
            {"size": Size(64, 64), "image_size": "1K"},
            InvalidRequestError,
            ("size", "aspect ratio", "image size"),
        ),
        (
            FLARE,
            {"size": Size(64, 64), "aspect_ratio": AspectRatio(1, 1)},
            InvalidRequestError,
            ("size", "aspect ratio", "image size"),
        ),
        *(
            (
                model,
                {"image_size": "huge"},
                InvalidRequestError,
                ("1K, 2K", "'huge'"),
            )
            for model in (FLARE, GPT_15, BANANA, OLD_BANANA)
        ),
        (
            FLARE,
            {"options": {"quality": "best"}},
            CapabilityError,
            ("'best'", "quality", "GPT Image 2.5 Flare", "auto, low, medium, high, xhigh, max."),
        ),
        (
            GPT_15,
            {"options": {"input_fidelity": "medium"}, "init_image": image()},
            CapabilityError,
            ("'medium'", "input fidelity", ": low, high."),
        ),
        *(
            (
                BANANA,
                {"options": {"temperature": value}},
                CapabilityError,
                (repr(value), "temperature", "0 to 1."),
            )
            for value in ("hot", 1.1, "nan", -0.1)
        ),
        (
            BANANA,
            {"options": {"background": "Transparent"}},
            CapabilityError,
            ("Gemini Nano Banana 2.1", "transparent", "background"),
        ),
        (
            FLARE.model_copy(update={"options": {"background": ChoiceOption(values=("auto", "opaque"))}}),
            {"options": {"background": "transparent"}},
            CapabilityError,
            ("'transparent'", "background", "auto, opaque."),
        ),
        (
            FLARE,
            {"options": {"background": "transparent", "output_format": "jpeg"}},
            CapabilityError,
            ("JPEG", "png or webp", "background"),
        ),
        (
            FLARE,
            {"mask": left_half()},
            InvalidRequestError,
            ("mask", "image to edit"),
        ),
        (
            FLARE,
            {"mask": left_half(), "references": (image(),)},
            InvalidRequestError,
            ("mask", "image to edit"),
        ),
        (
            BANANA,
            {"mask": left_half(), "init_image": image(), "references": (image(),) * 13},
            CapabilityError,
            ("Gemini Nano Banana 2.1", "14", "15", "mask"),
        ),
        (
            BANANA.model_copy(update={"modes": ("txt2img", "img2img")}),
            {"mask": left_half(), "init_image": image()},
            CapabilityError,
            ("Gemini Nano Banana 2.1", "masks"),
        ),
        (
            DALLE_3,
            {"references": (image(),)},
            CapabilityError,
            ("DALL·E 3", "input images"),
        ),
        (
            OLD_BANANA,
            {"init_image": image(), "references": (image(),) * 3},
            CapabilityError,
            ("Gemini 2.5 Flash Image", "3", "4"),
        ),
        (
            FLARE,
            {"init_image": InputImage(b"not an image", "notes.txt")},
            InvalidRequestError,
            ("notes.txt",),
        ),
        (
            FLARE,
            {"references": (InputImage(image().data[:200], "half.png"),)},
            InvalidRequestError,
            ("half.png",),
        ),
        *(
            (
                model,
                {"init_image": image(), "mask": InputImage(b"not an image", "mask.txt")},
                InvalidRequestError,
                ("mask.txt",),
            )
            for model in (FLARE, BANANA, DALLE_2)
        ),
        (
            DALLE_2,
            {"init_image": InputImage(b"not an image", "notes.txt")},
            InvalidRequestError,
            ("notes.txt",),
        ),
    ],
)
def test_a_request_that_is_not_valid_or_not_supported_is_refused(
    model: ModelConfig, asked: dict[str, object], kind: type[RequestError], facts: tuple[str, ...]
) -> None:
    with pytest.raises(RequestError) as caught:
        planned(model, **asked)
    assert type(caught.value) is kind
    assert [fact for fact in facts if fact not in str(caught.value)] == []


@pytest.mark.parametrize("model", [FLARE, BANANA, DALLE_2])
def test_an_image_that_an_edit_cannot_be_composited_into_is_refused_before_it_costs(model: ModelConfig) -> None:
    """A PNG with valid checksums whose pixels cannot be decompressed."""
    head, _, tail = image().data.partition(b"IDAT")
    length = int.from_bytes(head[-4:])
    rotten = b"\xff" * length
    data = head + b"IDAT" + rotten + zlib.crc32(b"IDAT" + rotten).to_bytes(4) + tail[length + 4 :]
    with pytest.raises(InvalidRequestError, match=r"rotten\.png"):
        planned(model, init_image=InputImage(data, "rotten.png"), mask=left_half())


def test_the_longest_prompt_is_accepted() -> None:
    assert len(only_call(planned(FLARE, prompt="x" * 32_000)).prompt) == 32_000


# The lifecycle of a model.


@pytest.mark.parametrize(
    ("model", "lifecycle", "code", "facts"),
    [
        (
            "gpt-image-1",
            {},
            "model_retired",
            ("GPT Image 1", "2026-10-23", "gpt-image-2.5-flare"),
        ),
        (
            "gpt-image-1.5",
            {},
            "model_deprecated",
            ("GPT Image 1.5", "2026-12-01", "gpt-image-2.5-sunburst"),
        ),
        (
            "gemini-3.1-flash-image",
            {},
            "model_deprecated",
            ("Gemini 3.1 Flash Image", "2026-10-29", "reported", "gemini-nano-banana-2.1"),
        ),
        (
            "gemini-3.1-flash-image",
            {"shutdown": None},
            "model_deprecated",
            ("Gemini 3.1 Flash Image", "gemini-nano-banana-2.1"),
        ),
        (
            "gpt-image-1",
            {"shutdown": None, "successor": None},
            "model_retired",
            ("GPT Image 1",),
        ),
    ],
)
def test_a_deprecated_or_retired_model_has_a_notice(
    model: str, lifecycle: dict[str, object], code: str, facts: tuple[str, ...]
) -> None:
    config = MODELS[model]
    config = config.model_copy(update={"lifecycle": config.lifecycle.model_copy(update=lifecycle)})
    (notice,) = planned(config).notices
    assert notice.code == code
    assert [fact for fact in facts if fact not in notice.message] == []
    assert ("instead" in notice.message) is (config.lifecycle.successor is not None)


def test_the_repr_of_a_call_does_not_contain_the_images() -> None:
    assert "data" not in repr(planned(FLARE, init_image=image()).calls[0].images)


@pytest.mark.parametrize("name", ["openai/gpt-image-2", "gemini/gemini-3-pro-image"])
def test_previews_are_requested_with_one_call_per_image(name: str) -> None:
    model = Registry().resolve(name).model
    found = planned(model, n=2, previews=3)
    assert [(call.n, call.previews) for call in found.calls] == [(1, 3), (1, 3)]
    assert notices_of(found) == notices_of(planned(model, n=2))
    assert {call.previews for call in planned(model, n=2).calls} == {0}


@pytest.mark.parametrize("name", ["openai/dall-e-2", "gemini/gemini-2.5-flash-image"])
def test_previews_that_the_model_does_not_support_have_a_notice(name: str) -> None:
    model = Registry().resolve(name).model
    found = planned(model, n=2, previews=2)
    assert found.calls == planned(model, n=2).calls
    assert_notices(found, [("option_dropped", model.name, "previews", "2")])


@pytest.mark.parametrize("previews", [-1, 4])
@pytest.mark.parametrize("name", ["openai/gpt-image-2", "openai/dall-e-2"])
def test_a_number_of_previews_out_of_range_is_refused(name: str, previews: int) -> None:
    with pytest.raises(InvalidRequestError, match=rf"{previews} .* 0 to 3"):
        planned(Registry().resolve(name).model, previews=previews)


# Sizes and money: a size that becomes another never costs more than what was asked for, unless there is no cheaper one.


@pytest.mark.parametrize(
    ("model", "asked", "sent"),
    [
        ("gemini-3-pro-image", {"image_size": "3K"}, "2K"),
        ("gemini-nano-banana-2.1", {"image_size": "3K", "aspect_ratio": AspectRatio(16, 9)}, "2752x1536 (16:9 at 2K)"),
        ("gemini-nano-banana-2.1", {"image_size": "4000"}, "4K"),
        ("gemini-nano-banana-2.1", {"size": Size(3000, 3000)}, "2048x2048 (1:1 at 2K)"),
        # Nearly the size: Invoke's panel and people round.
        ("gemini-nano-banana-2.1", {"size": Size(2560, 1440)}, "2752x1536 (16:9 at 2K)"),
        ("gemini-nano-banana-2.1", {"size": Size(2000, 2000)}, "2048x2048 (1:1 at 2K)"),
        ("gemini-nano-banana-2.1", {"size": Size(1016, 1016)}, "1024x1024 (1:1 at 1K)"),
        ("gemini-3.1-flash-image", {"size": Size(800, 800)}, "512x512 (1:1 at 512)"),
        # A smaller one costs the same.
        ("gemini-3-pro-image", {"image_size": "1700"}, "2K"),
        # There is no cheaper one.
        ("gemini-nano-banana-2.1", {"image_size": "512"}, "1K"),
        ("gpt-image-2", {"size": Size(512, 512)}, "816x816"),
        # The ratio comes before the price.
        ("gpt-image-1.5", {"aspect_ratio": AspectRatio(16, 9)}, "1536x1024"),
        ("gpt-image-2", {"image_size": "3K"}, "2880x2880"),
        # Without known prices, a larger image is taken to cost more.
        ("dall-e-2", {"size": Size(400, 400)}, "256x256"),
    ],
)
def test_a_size_that_becomes_another_does_not_cost_more(model: str, asked: dict[str, object], sent: str) -> None:
    found = planned(MODELS[model], **asked)
    assert str(only_call(found).size) == sent
    assert all(sent in notice.message for notice in found.notices if notice.code == "size_changed")


@pytest.mark.parametrize(
    "asked",
    [
        {"size": Size(99999, 99999)},
        {"size": Size(99999, 1)},
        {"size": Size(1, 500)},
        {"image_size": "99K"},
        {"image_size": "4"},
        {"aspect_ratio": AspectRatio(999, 1)},
    ],
)
@pytest.mark.parametrize(
    ("model", "facts"),
    [
        ("gemini-nano-banana-2.1", ("1024x1024", "12288x1536")),
        ("gpt-image-2.5-flare", ("655,360", "8,294,400", "3840", "1:3", "3:1")),
        ("gpt-image-1.5", ("1024x1024", "1024x1536")),
    ],
)
def test_an_absurd_size_is_refused_and_the_sizes_are_named(
    model: str, facts: tuple[str, ...], asked: dict[str, object]
) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        planned(MODELS[model], **asked)
    assert refused.value.hint is not None
    assert [fact for fact in facts if fact not in refused.value.hint] == []


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(list(MODELS.values())), st.integers(60, 6000), st.integers(60, 6000))
def test_no_size_that_is_sent_costs_more_than_a_smaller_one_of_its_ratio(
    model: ModelConfig, width: int, height: int
) -> None:
    asked = Size(width, height)
    sent = only_call(planned(model, size=asked)).size
    assert sent.size is not None
    if sent.size.pixels <= asked.pixels * 1.1**2:
        return
    cheaper = [
        choice
        for choice in model.sizing.presets()
        if choice.aspect_ratio == sent.aspect_ratio is not None
        and (image_price(model, choice).at_most_usd or 0) < (image_price(model, sent).at_most_usd or 0)
    ]
    assert cheaper == []
