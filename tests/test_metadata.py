"""The recall metadata: what is recorded, that it survives in every format, and the command line that it becomes."""

from __future__ import annotations

import io
import json
import shlex
from dataclasses import asdict, replace
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from invokeai_external.adapters.base import Answer, AnswerImage
from invokeai_external.cli.recalled_arguments import recall_command
from invokeai_external.images.errors import ImageError
from invokeai_external.images.inspect import ImageInfo
from invokeai_external.images.metadata_files import embed, read
from invokeai_external.images.text_chunks import embed_text
from invokeai_external.invoke.gallery.result_cache import Destination
from invokeai_external.metadata_keys import image_notices_first, with_notice
from invokeai_external.planning.plan import MASK_SENTENCE, Call, plan
from invokeai_external.providers import catalog
from invokeai_external.request import GenerationRequest, InputImage
from invokeai_external.result import GeneratedImage, GenerationResult, Notice, Usage
from invokeai_external.service.image_metadata import describe, model_identity
from invokeai_external.sizing import AspectRatio, Size
from invokeai_external.version import VERSION

MODELS = {config.id: config for page in catalog.pages() if page.provider.in_invoke for config in page.configs()}
MOMENT = 1795467600.25  # 2026-11-23 21:00:00 UTC, and a quarter of a second


@cache
def image(kind: str = "PNG", mode: str = "RGB") -> bytes:
    """A grey ramp; with alpha it fades out."""
    ramp = Image.linear_gradient("L").resize((40, 30))
    image = ramp.convert(mode)
    if mode == "RGBA":
        image.putalpha(ramp)
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def call(model: str, **asked: object) -> Call:
    request = GenerationRequest(**{"prompt": "a red fox", **asked})  # type: ignore[arg-type]
    return plan(request, MODELS[model]).calls[0]


def described(made_by: Call, **about: Any) -> dict[str, Any]:
    known = {"revised_prompt": None, "cost_usd": None, "notices": (), "received_at": MOMENT}
    image = ImageInfo("image/png", Size(40, 30), has_alpha=False)
    return describe(made_by, about.pop("answer", Answer(images=(AnswerImage(b""),))), image, **{**known, **about})


def test_everything_that_was_sent_and_received_is_recorded() -> None:
    base, reference = InputImage(image(), "base.png"), InputImage(image("JPEG"), "look.jpg")
    mask = InputImage(image(mode="L"), "mask.png")
    asked = {
        "size": Size(1536, 864),
        "seed": 7,
        "init_image": base,
        "mask": mask,
        "references": (reference,),
        "options": {"quality": "high", "background": "transparent", "moderation": "low"},
    }
    answer = Answer(
        images=(AnswerImage(b""), AnswerImage(b"")),
        usage=Usage(input_text_tokens=12, input_image_tokens=300, output_image_tokens=4160, total_tokens=4472),
        request_id="req_1",
        model_version="gpt-image-2.5-flare-2026-09-14",
        text="Here it is.",
    )
    found = described(
        call("gpt-image-2.5-flare", **asked),
        answer=answer,
        revised_prompt="a very red fox",
        cost_usd=0.1273,
        notices=(Notice("option_dropped", "It does not support seeds; 7 was not sent."),),
    )
    assert found == {
        "generation_mode": "inpaint",
        "positive_prompt": "a red fox",
        "width": 1536,
        "height": 864,
        "model": {
            "key": "external:openai:gpt-image-2.5-flare",
            "hash": "external:openai:gpt-image-2.5-flare",
            "name": "GPT Image 2.5 Flare",
            "base": "external",
            "type": "external_image_generator",
        },
        "openai_quality": "high",
        "openai_background": "transparent",
        "openai_moderation": "low",
        "external": {
            "generator": f"invokeai_external {VERSION}",
            "created": "2026-11-23T21:00:00+00:00",
            "provider": "openai",
            "model": "gpt-image-2.5-flare",
            "model_version": "gpt-image-2.5-flare-2026-09-14",
            "request_id": "req_1",
            "size": "1536x864",
            "options": {"quality": "high", "background": "transparent", "moderation": "low"},
            "received": {"width": 40, "height": 30, "mime_type": "image/png"},
            "images_in_call": 2,
            "revised_prompt": "a very red fox",
            "text": "Here it is.",
            "init_image": {"name": "base.png", "sha256": base.sha256},
            "mask": {"name": "mask.png", "sha256": mask.sha256},
            "references": [{"name": "look.jpg", "sha256": reference.sha256}],
            "usage": {
                "input_text_tokens": 12,
                "input_image_tokens": 300,
                "output_text_tokens": None,
                "output_image_tokens": 4160,
                "total_tokens": 4472,
            },
            "cost_usd": 0.1273,
            "cost_from": "prices",
            "notices": [{"code": "option_dropped", "message": "It does not support seeds; 7 was not sent."}],
        },
    }


def test_what_concerns_an_image_comes_first() -> None:
    """Invoke's page has no other place to show it, and viewers begin at the top."""
    found = described(call("gemini-3-pro-image", seed=7), notices=(Notice("option_dropped", "Not sent."),))
    bare = described(call("gemini-3-pro-image", seed=7))
    assert "notices" not in bare["external"]
    late = Notice("incomplete", "1 of 3 failed.")
    in_gallery = Destination("user", panel={"app_version": "6"}, recalled={"seed": 8})
    for one, codes in (
        (found, ["option_dropped"]),
        (with_notice(found, late), ["incomplete", "option_dropped"]),
        (with_notice(bare, late), ["incomplete"]),
        (in_gallery.metadata(with_notice(bare, late)), ["incomplete"]),
    ):
        assert next(iter(one)) == "external"
        assert next(iter(one["external"])) == "notices"
        assert [notice["code"] for notice in one["external"]["notices"]] == codes


def test_the_notices_of_a_result_begin_with_those_of_its_images() -> None:
    ours, late = Notice("plain_http", "The connection is not encrypted."), Notice("size_received", "Another size.")
    made = GeneratedImage(
        data=b"", mime_type="image/png", size=Size(1, 1), metadata={"external": {"notices": [asdict(late)]}}
    )
    result = GenerationResult(
        provider="openai",
        model="gpt-image-2",
        images=(made,),
        notices=(ours, late),
        usage=None,
        cost_usd=None,
        request_ids=(),
        errors=(),
        elapsed_s=1,
    )
    assert image_notices_first(result) == [late, ours]


def test_a_composited_edit_has_the_size_of_its_original_and_says_so() -> None:
    asked = {"init_image": InputImage(image(), "base.png"), "mask": InputImage(image(mode="L"), "mask.png")}
    found = described(call("gemini-nano-banana-2.1", size=Size(1376, 768), **asked), composited=Size(800, 450))
    assert (found["width"], found["height"]) == (800, 450)
    external = found["external"]
    assert (external["composited"], external["mask_sentence"]) == (True, MASK_SENTENCE)
    assert (external["size"], external["received"]["width"]) == ("1376x768", 40)


def test_unknown_values_are_not_recorded_and_zeros_are() -> None:
    found = described(call("gemini-nano-banana-2.1", seed=0, options={"temperature": 0}), cost_usd=0.0)
    assert found == {
        "generation_mode": "txt2img",
        "positive_prompt": "a red fox",
        "seed": 0,
        # No size was sent, so the received size is the one to recall.
        "width": 40,
        "height": 30,
        "model": model_identity(MODELS["gemini-nano-banana-2.1"]),
        "gemini_temperature": 0.0,
        "external": {
            "generator": f"invokeai_external {VERSION}",
            "created": "2026-11-23T21:00:00+00:00",
            "provider": "gemini",
            "model": "gemini-nano-banana-2.1",
            "options": {"temperature": 0.0},
            "received": {"width": 40, "height": 30, "mime_type": "image/png"},
            "images_in_call": 1,
            "cost_usd": 0.0,
            "cost_from": "prices",
        },
    }


@pytest.mark.parametrize(("reported", "n", "seed"), [(None, 1, 7), (11, 1, 11), (0, 1, 0), (11, 3, 7)])
def test_the_seed_that_the_provider_reports_for_an_image_is_recorded(reported: int | None, n: int, seed: int) -> None:
    """A seed stands for one image: of several, which one it made is not known."""
    answer = Answer(images=(AnswerImage(b""),), seed=reported)
    found = described(replace(call("gemini-nano-banana-2.1", seed=7), n=n), answer=answer)
    assert found["seed"] == seed


def test_a_cost_that_the_provider_states_is_recorded_as_such() -> None:
    answer = Answer(images=(AnswerImage(b""),), cost_usd=0.04)
    external = described(call("gpt-image-2"), answer=answer, cost_usd=0.04)["external"]
    assert (external["cost_usd"], external["cost_from"]) == (0.04, "provider")
    assert "cost_from" not in described(call("gpt-image-2"))["external"]


def test_an_image_size_is_recorded_if_it_was_sent() -> None:
    found = described(call("gemini-nano-banana-2.1", aspect_ratio=AspectRatio(16, 9), image_size="2K"))
    assert (found["width"], found["height"], found["image_size"]) == (2752, 1536, "2K")
    assert (found["external"]["size"], found["external"]["aspect_ratio"]) == ("2752x1536", "16:9")


@pytest.mark.parametrize(("kind", "mode"), [("PNG", "RGBA"), ("PNG", "RGB"), ("JPEG", "RGB"), ("WEBP", "RGBA")])
def test_metadata_is_read_from_every_format_and_the_pixels_are_unchanged(kind: str, mode: str) -> None:
    data = image(kind, mode)
    metadata = described(call("gpt-image-2", prompt="ein Füchslein 🦊 «rot»\n\0", size=Size(1024, 1024)), cost_usd=0.1)
    marked = embed(data, metadata)
    assert read(marked) == metadata
    assert read(embed(marked, {"positive_prompt": "again"})) == {"positive_prompt": "again"}
    with Image.open(io.BytesIO(data)) as before, Image.open(io.BytesIO(marked)) as after:
        assert (after.format, after.mode, after.tobytes()) == (kind, mode, before.tobytes())


def test_invoke_finds_the_metadata_of_a_png() -> None:
    with Image.open(io.BytesIO(embed(image(), described(call("gpt-image-2"))))) as opened:
        assert json.loads(opened.info["invokeai_metadata"])["positive_prompt"] == "a red fox"


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=200), st.sampled_from(["PNG", "JPEG", "WEBP"]))
def test_any_prompt_is_read_unchanged(prompt: str, kind: str) -> None:
    assert read(embed(image(kind), {"positive_prompt": prompt})) == {"positive_prompt": prompt}


@pytest.mark.parametrize(("letter", "kept"), [("x", 4000), ("ä", 4000), ("🦊", 1000)])
def test_a_prompt_too_long_for_a_jpeg_is_recorded_in_part(letter: str, kept: int) -> None:
    references = tuple(InputImage(image(), "日" * 80 + f"{i}.png") for i in range(14))
    made_by = call("gemini-3-pro-image", prompt=letter * 131_072, references=references)
    answer = Answer(images=(AnswerImage(b""),), text="w" * 100_000)
    metadata = described(made_by, answer=answer, revised_prompt="r" * 100_000)
    found = read(embed(image("JPEG"), metadata))
    assert found is not None
    assert found["positive_prompt"] == letter * kept
    assert found["external"]["prompt_shortened_from"] == 131_072
    assert len(found["external"]["references"]) == 14
    assert not {"text", "revised_prompt"} & set(found["external"])
    assert read(embed(image("PNG"), metadata)) == metadata


def test_a_file_without_metadata_and_a_file_that_is_not_an_image() -> None:
    assert read(image()) is None
    for text in ("{", "[1]", '"text"', ""):
        assert read(embed_text(image(), {"invokeai_metadata": text})) is None
    for action in (read, lambda data: embed(data, {"a": 1})):
        with pytest.raises(ImageError):
            action(b"not an image")


# Recall.


@pytest.mark.parametrize(
    ("model", "asked", "command"),
    [
        (
            "gpt-image-2.5-flare",
            {"size": Size(1536, 864), "options": {"quality": "high", "output_format": "webp"}},
            "--model openai/gpt-image-2.5-flare --size 1536x864 --quality high --output-format webp",
        ),
        (
            "gemini-nano-banana-2.1",
            {
                "aspect_ratio": AspectRatio(16, 9),
                "image_size": "2K",
                "seed": 7,
                "options": {"temperature": 0.7, "thinking_level": "high"},
            },
            "--model gemini/gemini-nano-banana-2.1 --aspect-ratio 16:9 --image-size 2K --seed 7 "
            "--temperature 0.7 --thinking-level high",
        ),
        (
            "gemini-2.5-flash-image",
            {"size": Size(1344, 768)},
            "--model gemini/gemini-2.5-flash-image --aspect-ratio 16:9",
        ),
        (
            "gemini-3-pro-image",
            {"image_size": "4K", "seed": 0, "references": (InputImage(image(), "a.png"),) * 2},
            "--model gemini/gemini-3-pro-image --image-size 4K --seed 0 --ref a.png --ref a.png",
        ),
        (
            "gpt-image-1.5",
            {
                "init_image": InputImage(image(), "base.png"),
                "mask": InputImage(image(mode="L"), "mask.png"),
                "options": {"input_fidelity": "high"},
            },
            "--model openai/gpt-image-1.5 --init base.png --mask mask.png --input-fidelity high",
        ),
        (
            "gemini-3-pro-image",
            {
                "seed": 3,
                "init_image": InputImage(image(), "base.png"),
                "mask": InputImage(image(mode="L"), "mask.png"),
                "references": (InputImage(image(), "a.png"),),
            },
            "--model gemini/gemini-3-pro-image --seed 3 --init base.png --mask mask.png --ref a.png",
        ),
    ],
)
def test_an_image_becomes_the_command_that_requests_it_again(model: str, asked: dict[str, Any], command: str) -> None:
    metadata = read(embed(image(), described(call(model, **asked))))
    assert metadata is not None
    assert shlex.join(recall_command(metadata)) == f"invokeai-external generate 'a red fox' {command}"


def test_a_prompt_that_looks_like_an_option_is_separated_from_the_options() -> None:
    metadata = described(call("gpt-image-2", prompt="--a fox"))
    command = "invokeai-external generate --model openai/gpt-image-2 -- '--a fox'"
    assert shlex.join(recall_command(metadata)) == command


@pytest.mark.parametrize(
    ("metadata", "command"),
    [
        # An image made by Invoke itself, and metadata that somebody has edited.
        ({"positive_prompt": "a fox", "seed": 5, "width": 512, "height": 512}, ["a fox", "--seed", "5"]),
        ({}, [""]),
        ({"positive_prompt": "a fox", "external": "gone"}, ["a fox"]),
        (
            {
                "positive_prompt": "a fox",
                "image_size": "2K",
                "external": {"provider": "openai", "references": "x", "options": [], "init_image": 5, "mask": {}},
            },
            ["a fox", "--image-size", "2K"],
        ),
    ],
)
def test_foreign_metadata_is_recalled_as_far_as_possible(metadata: dict[str, object], command: list[str]) -> None:
    assert recall_command(metadata) == ["invokeai-external", "generate", *command]
