"""An edit composited into its original: outside the mask nothing changes, whatever the mask, sizes and formats."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageCms

from invokeai_external.images.compositing import Canvas, Decoded
from invokeai_external.images.errors import ImageError
from invokeai_external.images.pixels import decoded, verify_pixels
from invokeai_external.images.png_bands import Written, written

from ..support import samples
from ..support.edits import composite
from ..support.samples import encoded, painted, png_of
from .raising import image_error

KEEP = [255 * (value == 0) for value in range(256)]
originals = samples.pngs() | samples.jpegs() | samples.webps()


def opened(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "PNG"
        return image.copy()


@st.composite
def masks(draw: st.DrawFn, size: tuple[int, int]) -> Image.Image:
    """A mask of a size with any values: noise, or boxes as people paint them."""
    if draw(st.booleans()):
        data = draw(st.binary(min_size=size[0] * size[1], max_size=size[0] * size[1]))
        mask = Image.frombytes("L", size, data)
        return mask.point([255 * (v > 99) for v in range(256)]) if draw(st.booleans()) else mask
    mask = Image.new("L", size)
    for _ in range(draw(st.integers(0, 3))):
        left, top = draw(st.integers(0, size[0] - 1)), draw(st.integers(0, size[1] - 1))
        right, bottom = draw(st.integers(left + 1, size[0])), draw(st.integers(top + 1, size[1]))
        mask.paste(draw(st.integers(1, 255)), (left, top, right, bottom))
    return mask


def unmarked(image: Image.Image, mask: Image.Image) -> bytes:
    """The pixels that the mask does not mark; black elsewhere."""
    return Image.composite(image, Image.new(image.mode, image.size), mask.point(KEEP)).tobytes()


@pytest.mark.slow
@settings(deadline=None, max_examples=300)
@given(originals, originals, st.integers(0, 64), st.data())
def test_outside_the_mask_every_pixel_is_the_originals(
    original: bytes, result: bytes, feather: int, data: st.DataObject
) -> None:
    base = decoded(original).image
    mask = data.draw(masks(base.size))
    made = opened(composite(original, result, encoded(mask, "PNG"), feather=feather))
    assert made.size == base.size
    assert base.mode == "RGB" or made.mode == "RGBA"
    assert unmarked(made, mask) == unmarked(base.convert(made.mode), mask)


@settings(deadline=None)
@given(st.sampled_from(["RGB", "RGBA"]), st.sampled_from(["RGB", "RGBA"]), samples.sizes, st.data())
def test_where_a_hard_mask_is_white_every_pixel_is_the_results(
    mode: str, result_mode: str, size: tuple[int, int], data: st.DataObject
) -> None:
    base, result = painted(mode, size), painted(result_mode, size, seed=99)
    mask = data.draw(masks(size)).point([255 * (v > 127) for v in range(256)])
    made = opened(composite(encoded(base, "PNG"), encoded(result, "PNG"), encoded(mask, "PNG"), feather=0))
    assert made.mode in (base.mode, result.mode)
    assert made == Image.composite(result.convert(made.mode), base.convert(made.mode), mask)


@pytest.mark.parametrize("pixels", [1, 90])
@pytest.mark.parametrize("edit", [(40, 30), (13, 17), (300, 200)])
def test_the_bands_in_which_an_edit_is_mixed_do_not_show(
    pixels: int, edit: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    original, result = png_of("RGBA", (40, 30)), png_of("RGB", edit, 77)
    mask = Image.linear_gradient("L").resize((40, 30))
    mask.paste(0, (0, 0, 40, 7))
    whole = opened(composite(original, result, encoded(mask, "PNG"), feather=3))
    monkeypatch.setattr("invokeai_external.images.png_bands._BAND_PIXELS", pixels)
    banded = opened(composite(original, result, encoded(mask, "PNG"), feather=3))
    # Pillow counts the edges of a part in single precision, and averages it before it scales it.
    most = 0 if edit == (40, 30) else 2
    assert max(high for _, high in ImageChops.difference(whole, banded).getextrema()) <= most  # type: ignore[misc]


def test_what_the_edits_of_an_image_have_in_common_is_compressed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("invokeai_external.images.png_bands._BAND_PIXELS", 40)
    asked: list[bool] = []

    def counted(mode: str, band: Image.Image, *, is_first: bool) -> Written:
        asked.append(is_first)
        return written(mode, band, is_first=is_first)

    monkeypatch.setattr("invokeai_external.images.compositing.written", counted)
    original = png_of("RGB", (40, 30))
    mask = Image.new("L", (40, 30))
    mask.paste(255, (5, 11, 20, 17))
    canvas = Canvas(Decoded(decoded(original), mask), feather=0)
    edits = [png_of("RGB", (40, 30), 77), png_of("RGBA", (40, 30), 78), png_of("RGB", (40, 30), 79)]
    made = [canvas.with_edit(edit) for edit in edits]
    assert made == [composite(original, edit, encoded(mask, "PNG"), feather=0) for edit in edits]
    # The mask and its margin have eight rows, which change, as may how the row below them is filtered.
    assert len(asked[: -3 * 30]) == 30 + 30 + 9


def test_an_edit_is_scaled_as_if_it_were_scaled_as_a_whole() -> None:
    result = painted("RGB", (50, 70))
    mask = Image.new("L", (200, 300))
    mask.paste(255, (33, 44, 155, 222))
    original = png_of("RGB", (200, 300))
    made = opened(composite(original, encoded(result, "PNG"), encoded(mask, "PNG"), feather=0))
    scaled = result.resize((200, 300), Image.Resampling.LANCZOS)
    expected = Image.composite(scaled, decoded(original).image, mask)
    assert max(high for _, high in ImageChops.difference(made, expected).getextrema()) <= 1  # type: ignore[misc]


def test_an_empty_mask_returns_the_original() -> None:
    base = painted("RGBA", (20, 10))
    black = encoded(Image.new("L", (20, 10)), "PNG")
    assert opened(composite(encoded(base, "PNG"), png_of("RGBA", (5, 5)), black, feather=8)) == base


def test_grey_mixes_both() -> None:
    mask = Image.new("L", (3, 1))
    mask.putdata([0, 128, 255])
    made = composite(
        encoded(Image.new("RGB", (3, 1), (0, 100, 200)), "PNG"),
        encoded(Image.new("RGB", (3, 1), (200, 100, 0)), "PNG"),
        encoded(mask, "PNG"),
        feather=0,
    )
    assert [opened(made).getpixel((x, 0)) for x in range(3)] == [(0, 100, 200), (100, 100, 100), (200, 100, 0)]


def test_transparent_pixels_add_no_colour_to_a_mixture() -> None:
    original, result = Image.new("RGBA", (1, 1), (0, 0, 0, 0)), Image.new("RGBA", (1, 1), (200, 40, 10, 255))
    half = encoded(Image.new("L", (1, 1), 128), "PNG")
    pixel = opened(composite(encoded(original, "PNG"), encoded(result, "PNG"), half, feather=0)).getpixel((0, 0))
    assert isinstance(pixel, tuple)
    assert pixel == pytest.approx((200, 40, 10, 128), abs=1)


@pytest.mark.parametrize(
    ("mode", "result_mode", "hole", "made_mode"),
    [
        ("RGB", "RGBA", True, "RGBA"),  # a hole that was requested stays a hole
        ("RGB", "RGBA", False, "RGB"),
        ("RGBA", "RGB", False, "RGBA"),
        ("RGBA", "RGBA", True, "RGBA"),
    ],
)
def test_alpha(mode: str, result_mode: str, hole: bool, made_mode: str) -> None:
    original, result = Image.new(mode, (20, 20), "teal"), Image.new(result_mode, (20, 20), "red")
    if result_mode == "RGBA":
        result.putpixel((0, 0), (1, 2, 3, 0))  # outside the mask, where it does not count
    if hole:
        result.putpixel((10, 10), (1, 2, 3, 4))
    mask = Image.new("L", (20, 20))
    mask.paste(255, (5, 5, 15, 15))
    made = opened(composite(encoded(original, "PNG"), encoded(result, "PNG"), encoded(mask, "PNG"), feather=0))
    assert made.mode == made_mode
    assert made.getpixel((0, 0)) == original.convert(made_mode).getpixel((0, 0))
    assert made.getpixel((10, 10)) == result.convert(made_mode).getpixel((10, 10))


@settings(deadline=None)
@given(st.sampled_from(["PNG", "JPEG", "WEBP"]), st.sampled_from([1, 3, 6, 8]), samples.sizes, samples.sizes)
def test_result_and_mask_are_stretched_to_the_upright_original(
    kind: str, orientation: int, size: tuple[int, int], other: tuple[int, int]
) -> None:
    original = encoded(painted("RGB", size), kind, exif=samples.exif(orientation))
    upright = (size[1], size[0]) if orientation > 4 else size
    white = encoded(Image.new("L", other, 255), "PNG")
    made = opened(composite(original, encoded(Image.new("RGB", other, "red"), "PNG"), white, feather=8))
    assert made.size == upright
    assert made == Image.new("RGB", upright, "red")


def test_only_pixels_and_profile_of_the_original_file_are_used() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    original = encoded(painted("RGB", (20, 10)), "JPEG", exif=samples.exif(6), comment=b"hello", icc_profile=profile)
    made = composite(original, png_of("RGB", (10, 20)), png_of("L", (10, 20)), feather=3)
    assert samples.kinds(made)[:2] == [b"IHDR", b"iCCP"]
    assert set(samples.kinds(made)) == {b"IHDR", b"iCCP", b"IDAT", b"IEND"}


def swapped_profile() -> bytes:
    """An RGB profile with red and blue swapped."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = int.from_bytes(data[128:132])
    tags = {bytes(data[at : at + 4]): at for at in range(132, 132 + 12 * count, 12)}
    red, blue = tags[b"rXYZ"], tags[b"bXYZ"]
    data[red + 4 : red + 12], data[blue + 4 : blue + 12] = data[blue + 4 : blue + 12], data[red + 4 : red + 12]
    return bytes(data)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_colours_are_converted_to_the_originals_profile(mode: str) -> None:
    white = encoded(Image.new("L", (4, 4), 255), "PNG")
    red = encoded(Image.new(mode, (4, 4), "red"), "PNG")
    base = Image.new(mode, (4, 4), "teal")
    made = opened(composite(encoded(base, "PNG", icc_profile=swapped_profile()), red, white, feather=0))
    pixel = made.getpixel((1, 1))
    assert isinstance(pixel, tuple)
    assert pixel[:3] == pytest.approx((0, 0, 255), abs=2), "red has another value in that profile"
    assert made.mode == mode
    broken = composite(encoded(base, "PNG", icc_profile=bytes(16) + b"RGB " + bytes(200)), red, white, feather=0)
    assert opened(broken).getpixel((1, 1)) == Image.new(mode, (1, 1), "red").getpixel((0, 0))


def weights(mask: Image.Image, feather: int) -> Image.Image:
    """How much of the result is in each pixel: white composited into black."""
    black, white = (encoded(Image.new("RGB", mask.size, colour), "PNG") for colour in ("black", "white"))
    return opened(composite(black, white, encoded(mask, "PNG"), feather=feather)).getchannel("R")


@pytest.mark.parametrize("feather", [1, 2, 3, 4, 5, 8, 13, 32, 64])
def test_the_feather_fades_in_from_the_edges_of_the_mask_but_not_of_the_image(feather: int) -> None:
    mask = Image.new("L", (400, 300))
    mask.paste(255, (100, 0, 400, 300))
    found = weights(mask, feather)
    row = [found.getpixel((x, 150)) for x in range(100, 400)]
    assert row == sorted(row)  # type: ignore[type-var]
    assert row[0] <= 130  # type: ignore[operator]
    assert 85 < row[feather // 2] < 195  # type: ignore[operator]
    assert set(row[2 * feather :]) == {255}
    for y in (0, 299):
        assert [found.getpixel((x, y)) for x in range(100, 400)] == row


@given(st.integers(1, 30), st.integers(1, 64), st.integers(0, 40), st.booleans())
@settings(deadline=None)
def test_parts_that_are_too_thin_for_the_feather_change_too(
    thickness: int, feather: int, start: int, upright: bool
) -> None:
    mask = Image.new("L", (150, 150))
    end = start + thickness
    mask.paste(255, (start, 20, end, 130) if upright else (20, start, 130, end))
    found = weights(mask, feather)
    assert found.getextrema()[1] >= 120  # type: ignore[operator]
    assert found.getbbox() == mask.getbbox()


def test_no_pixel_changes_more_than_a_soft_mask_says() -> None:
    soft = Image.radial_gradient("L").point([255 - value for value in range(256)])
    assert ImageChops.subtract(weights(soft, 8), soft).getbbox() is None


@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_unreadable_file(place: int) -> None:
    files = [png_of("RGB", (3, 3)), png_of("RGB", (3, 3)), encoded(Image.new("L", (3, 3), 255), "PNG")]
    files[place] = b"text"
    with image_error("unreadable"):
        composite(*files, feather=8)


def test_an_edit_larger_than_an_image_to_edit_is_refused_before_it_is_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("invokeai_external.images.compositing.MAX_EDITED_PIXELS", 15)
    monkeypatch.setattr("invokeai_external.images.compositing.decoded", None)
    canvas = Canvas(Decoded(decoded(png_of("RGB", (3, 3))), Image.new("L", (3, 3), 255)), feather=0)
    with image_error("too_many_pixels", facts=("4x4",)):
        canvas.with_edit(png_of("RGB", (4, 4)))


def test_pixels_are_verified_even_if_the_checksums_are_right() -> None:
    verify_pixels(png_of("RGB", (3, 3)))
    rotten = [
        (kind, b"\xff" * len(body) if kind == b"IDAT" else body) for kind, body in samples.chunks(png_of("L", (9, 9)))
    ]
    with pytest.raises(ImageError):
        verify_pixels(samples.png(rotten))
