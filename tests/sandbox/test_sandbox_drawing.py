"""The images that the sandbox draws."""

from __future__ import annotations

import dataclasses
import io

import pytest
from PIL import Image, ImageChops

from invokeai_external.sandbox.codec import UnreadableImageError, decode, encode
from invokeai_external.sandbox.drawing import Scene, render
from invokeai_external.sandbox.lettering import drawable
from invokeai_external.sizing import Size

SCENE = Scene(prompt="a lighthouse at dawn", seed=1, size=Size(320, 240), label="gpt-image-2")


def changed(scene: Scene, **fields: object) -> Scene:
    return dataclasses.replace(scene, **fields)  # type: ignore[arg-type]


def share_that_differs(a: Image.Image, b: Image.Image) -> float:
    different = ImageChops.difference(a.convert("RGB"), b.convert("RGB")).convert("L").point([0] + [255] * 255)
    return different.histogram()[255] / (a.width * a.height)


def test_the_same_scene_gives_the_same_pixels() -> None:
    assert render(SCENE) == render(changed(SCENE))


@pytest.mark.parametrize("other", [{"prompt": "a lighthouse at dusk"}, {"seed": 2}])
def test_another_prompt_or_seed_gives_another_image(other: dict[str, object]) -> None:
    assert share_that_differs(render(SCENE), render(changed(SCENE, **other))) > 0.5


@pytest.mark.parametrize(
    "size", [Size(256, 256), Size(384, 3072), Size(3072, 384), Size(16, 16), Size(1, 1), Size(12288, 1536)], ids=str
)
def test_the_size_is_exact(size: Size) -> None:
    for transparent, mode in ((False, "RGB"), (True, "RGBA")):
        image = render(changed(SCENE, size=size, transparent=transparent))
        assert (image.size, image.mode) == ((size.width, size.height), mode)


@pytest.mark.parametrize("seed", range(3))
def test_a_transparent_scene_has_an_opaque_middle(seed: int) -> None:
    image = render(changed(SCENE, seed=seed, transparent=True))
    assert image.mode == "RGBA"
    alpha = image.getchannel("A")
    assert alpha.getpixel((319, 0)) == 0
    assert alpha.getpixel((160, 120)) == 255
    assert 0.2 < alpha.histogram()[0] / (320 * 240) < 0.8


@pytest.mark.parametrize("prompt", ["", "東京の夜 🐈", "naïve café in Łódź", "x" * 5000, "a\nb\tc\x00", "\u202eabc"])
def test_any_prompt_can_be_drawn(prompt: str) -> None:
    assert render(changed(SCENE, prompt=prompt)).size == (320, 240)


def test_letters_that_the_font_does_not_have() -> None:
    assert drawable("naïve café in Łódź — at  night") == "naive cafe in Lodz - at night"
    assert drawable("a 🐈🐈 cat") == "a … cat"
    assert drawable("東京の夜") == "(a prompt of 4 characters)"


def test_outside_the_mask_nothing_changes(photo: Image.Image) -> None:
    mask = Image.new("L", photo.size, 0)
    mask.paste(255, (40, 30, 240, 160))
    image = render(changed(SCENE, size=Size(300, 200), base=photo, mask=mask))
    outside = Image.composite(photo, image, mask)
    assert outside == photo
    assert share_that_differs(image.crop((40, 30, 240, 160)), photo.crop((40, 30, 240, 160))) > 0.9


def test_a_base_of_another_size_is_scaled_first(photo: Image.Image) -> None:
    mask = Image.new("L", photo.size, 0)
    mask.paste(255, (150, 0, 300, 200))
    image = render(changed(SCENE, size=Size(600, 400), base=photo, mask=mask))
    scaled = photo.resize((600, 400), Image.Resampling.BICUBIC)
    assert image.crop((0, 0, 290, 400)) == scaled.crop((0, 0, 290, 400))


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_sloppy_scene_also_changes_a_little_outside_the_mask(photo: Image.Image, mode: str) -> None:
    mask = Image.new("L", photo.size, 0)
    mask.paste(255, (40, 30, 140, 130))
    base = photo.convert(mode)
    image = render(changed(SCENE, size=Size(300, 200), base=base, mask=mask, sloppy=True))
    assert image.mode == mode
    outside = (0, 140, 300, 200)
    assert share_that_differs(image.crop(outside), photo.crop(outside)) > 0.9
    difference = ImageChops.difference(image.crop(outside).convert("RGB"), photo.crop(outside))
    assert max(high for _, high in difference.getextrema()) < 40  # type: ignore[misc]


def test_an_empty_mask_changes_nothing(photo: Image.Image) -> None:
    scene = changed(SCENE, size=Size(300, 200), base=photo, mask=Image.new("L", photo.size, 0))
    assert render(scene) == photo


def test_the_alpha_of_a_base_stays_outside_the_mask(photo: Image.Image) -> None:
    base = photo.convert("RGBA")
    base.putalpha(Image.linear_gradient("L").resize(base.size))
    mask = Image.new("L", base.size, 0)
    mask.paste(255, (100, 100, 140, 140))
    image = render(changed(SCENE, size=Size(300, 200), base=base, mask=mask))
    assert image.crop((0, 0, 300, 100)) == base.crop((0, 0, 300, 100))
    assert image.crop((100, 100, 140, 140)).getchannel("A").getextrema() == (255, 255)


def test_a_base_without_a_mask_changes_everywhere(photo: Image.Image) -> None:
    image = render(changed(SCENE, size=Size(300, 200), base=photo))
    assert image.mode == "RGB"
    assert share_that_differs(image, photo) > 0.8
    see_through = photo.convert("RGBA")
    see_through.putalpha(0)
    assert render(changed(SCENE, size=Size(300, 200), base=see_through)).mode == "RGB"


def test_a_base_can_become_transparent(photo: Image.Image) -> None:
    image = render(changed(SCENE, size=Size(300, 200), base=photo, transparent=True))
    assert [image.getpixel(place)[3] for place in ((299, 0), (150, 100))] == [0, 255]  # type: ignore[index]


@pytest.mark.parametrize("count", [1, 6, 20])
def test_references_are_visible(photo: Image.Image, count: int) -> None:
    with_references = render(changed(SCENE, references=(photo,) * count))
    assert 0.005 < share_that_differs(with_references, render(SCENE)) < 0.5


@pytest.mark.parametrize(("file_format", "mode"), [("png", "RGBA"), ("webp", "RGBA"), ("jpeg", "RGB")])
def test_files_can_be_written_and_read(file_format: str, mode: str) -> None:
    image = decode(encode(render(changed(SCENE, transparent=True)), file_format))
    assert (image.info["mime_type"], image.mode, image.size) == (f"image/{file_format}", mode, (320, 240))


def test_compression_makes_a_file_smaller() -> None:
    image = render(SCENE)
    for file_format in ("jpeg", "webp"):
        assert len(encode(image, file_format, 10)) < len(encode(image, file_format, 90))


def test_orientation_is_applied() -> None:
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20)).save(buffer, "JPEG", exif=exif)
    assert decode(buffer.getvalue()).size == (20, 30)


@pytest.mark.parametrize("data", [b"", b"text", b"\x89PNG\r\n\x1a\n" + b"\0" * 40, b"GIF89a" + b"\0" * 20])
def test_an_unreadable_file(data: bytes) -> None:
    with pytest.raises(UnreadableImageError):
        decode(data)
