"""Edits: composited inside their mask, and untouched without one."""

from __future__ import annotations

import base64
import gc
import hashlib
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import respx
from PIL import Image
from pydantic import SecretStr

from invokeai_external.errors import ContentBlockedError, InvalidResponseError
from invokeai_external.images import metadata_files
from invokeai_external.images.compositing import Canvas, Decoded, Original
from invokeai_external.images.errors import TooManyPixelsError
from invokeai_external.images.painted_masks import mask_pixels
from invokeai_external.images.pixels import decoded
from invokeai_external.planning.plan import MASK_SENTENCE
from invokeai_external.settings.settings import Credentials
from invokeai_external.sizing import AspectRatio, Size

from .common import (
    GEMINI,
    MARKED,
    MODELS,
    OPENAI,
    PHOTO,
    USUAL_TYPE,
    Order,
    generate,
    marked_box,
    opened,
    png_file,
    received_calls,
    settings_of,
    with_hole,
)

pytestmark = pytest.mark.anyio


@MODELS
@pytest.mark.parametrize("fault", [None, "sloppy_mask", "jpeg_answer"])
async def test_an_edit_changes_nothing_outside_its_mask_whatever_the_provider_sends(
    model: str, fault: str | None, sandbox_url: str, order: Order, tmp_path: Path
) -> None:
    if fault:
        order(model, fault, times=2)
    asked: dict[str, Any] = {"init_image": png_file(PHOTO, "photo.png"), "mask": marked_box(), "n": 2}
    result = await generate(settings_of(tmp_path), model, **asked)
    assert len(result.images) == 2
    for image in result.images:
        made = opened(image.data)
        assert (image.mime_type, image.size, made.size) == ("image/png", Size(900, 600), (900, 600))
        assert with_hole(made) == with_hole(PHOTO)
        assert made.crop(MARKED).tobytes() != PHOTO.crop(MARKED).tobytes()
        told = image.metadata
        assert (told["generation_mode"], told["width"], told["height"]) == ("inpaint", 900, 600)
        external: Any = told["external"]
        assert external["composited"] is True
        assert external["received"]["mime_type"] == ("image/jpeg" if fault == "jpeg_answer" else USUAL_TYPE[model])
        assert external["received"]["width"] != 900
        assert external.get("mask_sentence") == (MASK_SENTENCE if model == GEMINI else None)
        assert metadata_files.read(metadata_files.embed(image.data, told)) is not None


@pytest.mark.slow
async def test_large_edits_are_composited_one_after_the_other(
    sandbox_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each takes hundreds of megabytes."""
    at_work, most = 0, 0

    def counted(canvas: Canvas, result: bytes) -> bytes:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        try:
            return with_edit(canvas, result)
        finally:
            at_work -= 1

    with_edit = Canvas.with_edit
    monkeypatch.setattr(Canvas, "with_edit", counted)
    photo, mask = Image.new("RGB", (3000, 2700)), Image.new("L", (3000, 2700))
    mask.paste(255, (100, 100, 2000, 2000))
    asked: dict[str, Any] = {"init_image": png_file(photo, "photo.png"), "mask": png_file(mask, "mask.png")}
    result = await generate(settings_of(tmp_path), GEMINI, n=3, **asked)
    assert [image.size for image in result.images] == [Size(3000, 2700)] * 3
    assert most == 1


async def test_an_edit_that_does_not_fit_into_the_memory_is_returned_as_it_arrived(
    sandbox_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_memory(*_: object, **__: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr(Canvas, "with_edit", without_memory)
    result = await generate(settings_of(tmp_path), OPENAI, init_image=png_file(PHOTO, "photo.png"), mask=marked_box())
    (image,) = result.images
    assert hashlib.sha256(image.data).hexdigest() in received_calls(sandbox_url)[0]["images"]
    assert "kept_as_received" in [notice.code for notice in result.notices]
    assert "composited" not in image.metadata["external"]  # type: ignore[operator]


async def test_an_edit_that_turns_out_too_large_when_it_is_decoded_is_returned_as_it_arrived(
    sandbox_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a WebP of more than 64 million pixels, whose header allows a hundred."""

    def too_large(*_: object) -> bytes:
        raise TooManyPixelsError("The image has too many pixels.")

    monkeypatch.setattr(Canvas, "with_edit", too_large)
    result = await generate(settings_of(tmp_path), OPENAI, init_image=png_file(PHOTO, "photo.png"), mask=marked_box())
    (image,) = result.images
    assert hashlib.sha256(image.data).hexdigest() in received_calls(sandbox_url)[0]["images"]
    assert "kept_as_received" in [notice.code for notice in result.notices]


async def test_the_image_to_edit_is_decoded_once_for_all_calls_of_a_request(
    sandbox_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = 0

    def counted(*arguments: Any, **options: Any) -> Canvas:
        nonlocal made
        made += 1
        return Canvas(*arguments, **options)

    monkeypatch.setattr("invokeai_external.service.image_checks.Canvas", counted)
    monkeypatch.setattr("invokeai_external.images.compositing._LARGE", 1)  # so that they are one after the other
    asked: dict[str, Any] = {"init_image": png_file(PHOTO, "photo.png"), "mask": marked_box()}
    result = await generate(settings_of(tmp_path), GEMINI, n=3, **asked)
    assert (len(result.images), made) == (3, 1)


async def test_an_error_that_is_kept_keeps_no_pixels(
    sandbox_url: str, order: Order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order(OPENAI, "moderation")
    asked: dict[str, Any] = {"init_image": png_file(PHOTO, "photo.png"), "mask": marked_box()}
    with pytest.raises(ContentBlockedError) as caught:
        await generate(settings_of(tmp_path), OPENAI, **asked)
    assert caught.value.__traceback__
    assert [one for one in gc.get_objects() if isinstance(one, Decoded)] == []


def test_of_large_images_one_stays_decoded_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    photo, mask = png_file(PHOTO, "photo.png").data, marked_box().data
    both = Decoded(decoded(photo), mask_pixels(mask, "white"))

    def new() -> Original:
        return Original(photo, mask, "white", both)

    assert all(one.decoded() is both for one in [new(), new()])
    monkeypatch.setattr("invokeai_external.images.compositing._LARGE", 900 * 600 - 1)
    first, second = new(), new()
    assert [one.decoded() is both for one in (first, second)] == [True, False]
    assert second.decoded().pixels.image == both.pixels.image
    second.forget()
    assert new().decoded() is not both
    first.forget()
    first.forget()
    third = new()
    assert [one.decoded() is both for one in (first, third, new())] == [False, True, False]
    # One that is never used, such as that of a plan, gives its place back as well.
    del third
    assert new().decoded() is both


@MODELS
async def test_without_a_mask_an_edit_is_returned_as_it_arrived(
    model: str, sandbox_url: str, order: Order, tmp_path: Path
) -> None:
    order(model, "jpeg_answer")
    (image,) = (await generate(settings_of(tmp_path), model, init_image=png_file(PHOTO, "photo.png"))).images
    assert image.mime_type == "image/jpeg"
    assert image.size != Size(900, 600)
    assert "composited" not in image.metadata["external"]  # type: ignore[operator]


@pytest.mark.parametrize(("feather", "mixed"), [(0, False), (16, True)])
async def test_the_width_of_the_feather_is_a_setting(
    feather: int, mixed: bool, sandbox_url: str, order: Order, tmp_path: Path
) -> None:
    black = Image.new("RGB", (1024, 1024))
    mask = Image.new("L", black.size)
    mask.paste(255, (0, 0, 512, 1024))
    (image,) = (
        await generate(
            settings_of(tmp_path, mask_feather_px=feather),
            OPENAI,
            size=Size(1024, 1024),
            init_image=png_file(black, "black.png"),
            mask=png_file(mask, "mask.png"),
        )
    ).images
    edge = opened(image.data).crop((508, 0, 512, 1024)).convert("L").getextrema()[1]
    assert (edge < 110) is mixed  # type: ignore[operator]


@MODELS
async def test_an_edit_of_another_ratio_is_stretched_with_a_notice(
    model: str, sandbox_url: str, order: Order, tmp_path: Path
) -> None:
    order(model, "other_size", width=640, height=640)
    asked: dict[str, Any] = {
        "init_image": png_file(PHOTO, "photo.png"),
        "mask": marked_box(),
        "aspect_ratio": AspectRatio(3, 2),
    }
    result = await generate(settings_of(tmp_path), model, **asked)
    assert result.images[0].size == Size(900, 600)
    messages = {notice.code: notice.message for notice in result.notices}
    asked_for = "1248x832" if model == OPENAI else "1264x848"
    assert all(size in messages["size_received"] for size in (asked_for, "640x640", "900x600"))
    assert all(size in messages["edit_stretched"] for size in ("640x640", "900x600"))


@respx.mock
async def test_the_square_of_dall_e_2_is_composited_without_its_margins(tmp_path: Path) -> None:
    square = Image.new("RGB", (512, 512), "blue")
    square.paste((255, 0, 0), (0, 85, 512, 85 + 341))
    b64 = base64.b64encode(png_file(square, "x").data).decode()
    respx.post(path="/v1/images/edits").respond(json={"created": 1, "data": [{"b64_json": b64}]})
    settings = replace(
        settings_of(tmp_path, mask_feather_px=0),
        credentials={"openai": Credentials(SecretStr("sk-test"), "https://proxy.example/v1", "a test")},
    )
    asked: dict[str, Any] = {"size": Size(512, 512), "init_image": png_file(PHOTO, "photo.png"), "mask": marked_box()}
    result = await generate(settings, "openai/dall-e-2", **asked)
    made = opened(result.images[0].data)
    assert with_hole(made) == with_hole(PHOTO)
    assert made.crop(MARKED) == Image.new("RGB", (200, 200), "red")
    assert "edit_stretched" not in [notice.code for notice in result.notices]


@respx.mock
@pytest.mark.parametrize(("mask", "verify"), [(True, False), (False, True), (False, False)])
async def test_an_image_that_cannot_be_decoded_is_reported_as_damaged(mask: bool, verify: bool, tmp_path: Path) -> None:
    """Its checksums are good, so that it is kept unless it is decoded; its pixels cannot be inflated."""
    good = png_file(Image.new("RGB", (8, 8)), "x").data
    head, _, tail = good.partition(b"IDAT")
    length = int.from_bytes(head[-4:])
    rotten = b"\xff" * length
    data = head + b"IDAT" + rotten + zlib.crc32(b"IDAT" + rotten).to_bytes(4) + tail[length + 4 :]
    b64 = base64.b64encode(data).decode()
    respx.post(path="/v1/images/edits").respond(json={"created": 1, "data": [{"b64_json": b64}]})
    settings = replace(
        settings_of(tmp_path, verify_images=verify),
        credentials={"openai": Credentials(SecretStr("sk-test"), "https://proxy.example/v1", "a test")},
    )
    asked: dict[str, Any] = {"init_image": png_file(PHOTO, "photo.png"), **({"mask": marked_box()} if mask else {})}
    if mask or verify:
        with pytest.raises(InvalidResponseError) as caught:
            await generate(settings, OPENAI, **asked)
        assert caught.value.may_be_billed
    else:
        assert (await generate(settings, OPENAI, **asked)).images[0].data == data
