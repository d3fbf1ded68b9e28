"""Masks as people paint them, in the internal form (L, 255 = change), and as providers expect them."""

from __future__ import annotations

import io
import math
import shlex
import struct
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from invokeai_external.images import pixels
from invokeai_external.images.errors import ImageError
from invokeai_external.images.inspect import inspect_image
from invokeai_external.images.painted_masks import mask_from_black, mask_from_color, mask_from_file
from invokeai_external.images.pixels import encoded_png
from invokeai_external.images.provider_masks import (
    alpha_mask,
    from_square,
    square_mask,
    square_rgba,
    white_mask,
)
from invokeai_external.sizing import Size

from ..support import samples
from ..support.samples import encoded, painted
from .raising import image_error, image_error_or_none

ROOM = 1 << 22


def image_of(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as image:
        image.load()
    return image


def pixels_of(values: bytes, size: tuple[int, int]) -> Image.Image:
    return Image.frombytes("L", size, values)


def mask_of(values: bytes, size: tuple[int, int]) -> bytes:
    return encoded(pixels_of(values, size), "PNG")


def grey(data: bytes) -> bytes:
    image = image_of(data)
    assert (image.mode, image.format) == ("L", "PNG")
    return image.tobytes()


class TestMaskFromBlack:
    @pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
    def test_black_marks(self, mode: str) -> None:
        image = Image.frombytes("L", (3, 1), bytes((0, 100, 255))).convert(mode)
        assert grey(mask_from_black(encoded(image, "PNG"))) == bytes((255, 155, 0))

    def test_its_alpha_does_not_count(self) -> None:
        image = Image.new("RGBA", (3, 1), (255, 255, 255, 0))
        image.putpixel((1, 0), (0, 0, 0, 0))
        assert grey(mask_from_black(encoded(image, "PNG"))) == b"\0\xff\0"

    def test_all_black_marks_everything(self) -> None:
        with image_error("whole_mask"):
            mask_from_black(mask_of(b"\0\1", (2, 1)))
        assert grey(mask_from_black(mask_of(b"\0\1", (2, 1)), may_be_whole=True)) == b"\xff\xff"

    def test_all_white_marks_nothing(self) -> None:
        with image_error("empty_mask"):
            mask_from_black(mask_of(b"\xff\xff", (2, 1)))

    def test_an_unreadable_file(self) -> None:
        with image_error("unreadable"):
            mask_from_black(b"no image")


class TestMaskFromFile:
    def test_transparency_marks(self) -> None:
        image = Image.new("RGBA", (4, 1), "white")
        image.putalpha(Image.frombytes("L", (4, 1), bytes((0, 55, 200, 255))))
        assert grey(mask_from_file(encoded(image, "PNG"))) == bytes((255, 200, 55, 0))

    @pytest.mark.parametrize("kind", ["PNG", "GIF"])
    def test_a_transparent_colour_marks(self, kind: str) -> None:
        image = Image.frombytes("P", (3, 1), bytes((0, 1, 1)))
        image.putpalette([255, 255, 255, 0, 0, 0])
        assert grey(mask_from_file(encoded(image, kind, transparency=1))) == bytes((0, 255, 255))

    @pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
    @pytest.mark.parametrize("mode", ["L", "RGB", "P"])
    def test_white_marks(self, kind: str, mode: str) -> None:
        values = bytes((0, 100, 255))
        image = Image.frombytes("L", (3, 1), values).convert(mode)
        assert grey(mask_from_file(encoded(image, kind))) == values

    def test_one_bit_and_sixteen(self) -> None:
        assert grey(mask_from_file(encoded(Image.frombytes("1", (8, 1), b"\x81"), "PNG"))) == b"\xff\0\0\0\0\0\0\xff"
        deep = Image.frombytes("I;16", (2, 1), b"\0\x80\0\0")
        assert grey(mask_from_file(encoded(deep, "PNG"))) == b"\x80\0"

    def test_orientation_is_applied(self) -> None:
        image = Image.frombytes("L", (2, 1), b"\0\xff")
        assert grey(mask_from_file(encoded(image, "TIFF", tiffinfo={0x0112: 3}))) == b"\xff\0"

    def test_opaque_alpha_marks_nothing(self) -> None:
        with image_error("empty_mask"):
            mask_from_file(encoded(Image.new("RGBA", (3, 3), "white"), "PNG"))

    def test_black_marks_nothing(self) -> None:
        with image_error("empty_mask"):
            mask_from_file(encoded(Image.new("RGB", (3, 3)), "PNG"))

    def test_white_marks_everything(self) -> None:
        for everything in (Image.new("L", (3, 3), 250), Image.new("RGBA", (3, 3))):
            with image_error("whole_mask"):
                mask_from_file(encoded(everything, "PNG"))

    @pytest.mark.parametrize("quality", [75, 95])
    def test_the_noise_of_a_jpeg_marks_nothing(self, quality: int) -> None:
        painted_mask = Image.new("RGB", (256, 256))
        ImageDraw.Draw(painted_mask).ellipse((60, 60, 180, 180), fill="white")
        clean = grey(mask_from_file(encoded(painted_mask, "PNG")))
        noisy = grey(mask_from_file(encoded(painted_mask, "JPEG", quality=quality)))
        far = [place for place in range(256 * 256) if math.hypot(place % 256 - 120, place // 256 - 120) > 70]
        deep = [place for place in range(256 * 256) if math.hypot(place % 256 - 120, place // 256 - 120) < 50]
        assert {noisy[place] for place in far} == {0} == {clean[place] for place in far}
        assert {noisy[place] for place in deep} == {255} == {clean[place] for place in deep}

    def test_a_feathered_mask_stays_soft(self) -> None:
        ramp = Image.linear_gradient("L")
        values = grey(mask_from_file(encoded(ramp, "PNG")))
        assert values[::256] == bytes([0] * 17 + list(range(17, 239)) + [255] * 17)

    @pytest.mark.parametrize(
        ("painted_with", "said"),
        [("red", "red"), ((250, 5, 8), "red"), ("#0040ff", "#0040ff"), ("yellow", "yellow"), ("lime", "lime")],
    )
    @pytest.mark.parametrize("ground", ["black", "white"])
    def test_a_coloured_mask_is_refused_with_its_colour(self, painted_with: Any, said: str, ground: str) -> None:
        mask = Image.new("RGB", (64, 64), ground)
        mask.paste(painted_with, (10, 10, 30, 30))
        with pytest.raises(ImageError) as caught:
            mask_from_file(encoded(mask, "PNG"))
        assert caught.value.code == "coloured_mask"
        assert f"--mask-color {shlex.quote(said)}" in (caught.value.remedy or "")
        assert grey(mask_from_color(encoded(mask, "PNG"), said)).count(255) == 400

    def test_a_photo_is_refused(self) -> None:
        for mode in ("RGB", "P"):
            with pytest.raises(ImageError) as caught:
                mask_from_file(encoded(painted(mode, (64, 64)), "PNG"))
            assert caught.value.code == "coloured_mask"
            assert "--mask-color red" in (caught.value.remedy or "")

    @given(samples.pngs())
    def test_any_png_is_a_mask_or_marks_nothing(self, data: bytes) -> None:
        image = image_of(data)
        grey_or_alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else image.convert("RGB")
        ignored = 255 if image.has_transparency_data else 0
        if set(grey_or_alpha.tobytes()) == {ignored}:
            with image_error("empty_mask"):
                mask_from_file(data)
        else:
            with image_error_or_none("coloured_mask", "empty_mask", "whole_mask"):
                assert image_of(mask_from_file(data)).size == image.size


class TestMaskFromColor:
    def test_white_and_black_are_read_as_such(self) -> None:
        data = mask_of(b"\0\x80\xff", (3, 1))
        assert mask_from_color(data, "white") == mask_from_file(data)
        assert mask_from_color(data, "black") == mask_from_black(data)

    @pytest.mark.parametrize("kind", ["PNG", "JPEG"])
    @pytest.mark.parametrize("color", ["red", "#ff0000", "RGB(255, 0, 0)"])
    def test_pixels_of_the_colour_mark(self, kind: str, color: str) -> None:
        photo = Image.new("RGB", (64, 64), (150, 40, 40))
        photo.paste("red", (16, 16, 48, 48))
        mask = image_of(mask_from_color(encoded(photo, kind), color))
        assert set(mask.tobytes()) == {0, 255}
        assert [mask.getpixel(place) for place in ((4, 4), (32, 32), (60, 60))] == [0, 255, 0]

    def test_transparent_pixels_do_not_count(self) -> None:
        mask = Image.new("RGBA", (4, 1), (255, 0, 0, 0))
        mask.putpixel((2, 0), (255, 0, 0, 255))
        assert grey(mask_from_color(encoded(mask, "PNG"), "red")) == b"\0\0\xff\0"

    def test_a_colour_that_is_unknown_or_missing_or_everywhere_is_refused(self) -> None:
        red = encoded(Image.new("RGB", (4, 4), "red"), "PNG")
        with image_error("unknown_color"):
            mask_from_color(red, "redd")
        with image_error("empty_mask"):
            mask_from_color(red, "blue")
        with image_error("whole_mask"):
            mask_from_color(red, "red")


edges = st.integers(1, 24)
hard_masks = st.tuples(edges, edges).flatmap(
    lambda size: st.lists(st.sampled_from([0, 255]), min_size=size[0] * size[1], max_size=size[0] * size[1]).map(
        lambda values: (bytes(values), size)
    )
)
soft_masks = st.tuples(edges, edges).flatmap(
    lambda size: st.binary(min_size=size[0] * size[1], max_size=size[0] * size[1]).map(lambda values: (values, size))
)


class TestAlphaMask:
    @given(soft_masks)
    def test_alpha_marks_what_to_keep(self, mask: tuple[bytes, tuple[int, int]]) -> None:
        values, size = mask
        result = image_of(alpha_mask(pixels_of(values, size), Size(*size), max_bytes=ROOM))
        assert (result.mode, result.size, result.format) == ("RGBA", size, "PNG")
        assert result.getchannel("A").tobytes() == bytes(255 - value for value in values)

    @given(soft_masks.filter(lambda mask: max(mask[0]) > 0))
    def test_there_and_back(self, mask: tuple[bytes, tuple[int, int]]) -> None:
        pixels = pixels_of(*mask)
        snapped = bytes(0 if value <= 16 else 255 if value >= 239 else value for value in mask[0])
        assume(max(snapped) > 0 and min(snapped) < 255)
        assert grey(mask_from_file(alpha_mask(pixels, Size(*mask[1]), max_bytes=ROOM))) == snapped

    @settings(deadline=None)
    @given(hard_masks, edges, edges)
    def test_a_hard_mask_stays_hard(self, mask: tuple[bytes, tuple[int, int]], width: int, height: int) -> None:
        result = image_of(alpha_mask(pixels_of(*mask), Size(width, height), max_bytes=ROOM)).getchannel("A").tobytes()
        assert set(result) <= {0, 255}
        if 255 in mask[0] and width >= 2 and height >= 2:
            assert 0 in result

    @given(hard_masks, st.integers(1, 4))
    def test_a_hard_mask_made_larger_is_the_same(self, mask: tuple[bytes, tuple[int, int]], factor: int) -> None:
        values, (width, height) = mask
        size = Size(width * factor, height * factor)
        result = image_of(alpha_mask(pixels_of(values, (width, height)), size, max_bytes=ROOM)).getchannel("A")
        expected = [
            255 - values[y // factor * width + x // factor] for y in range(size.height) for x in range(size.width)
        ]
        assert result.tobytes() == bytes(expected)

    def test_a_soft_mask_is_stretched_softly(self) -> None:
        mask = Image.new("L", (30, 10))
        mask.paste(255, (0, 0, 10, 10))
        mask.paste(128, (10, 0, 20, 10))
        result = image_of(alpha_mask(mask, Size(60, 20), max_bytes=ROOM)).getchannel("A")
        assert [result.getpixel((x, 10)) for x in (3, 30, 57)] == [0, 127, 255]
        assert len(set(result.tobytes())) > 3

    def test_a_mask_with_too_many_bytes_becomes_hard(self) -> None:
        mask = samples.noisy((64, 64))
        soft = alpha_mask(mask, Size(64, 64), max_bytes=ROOM)
        result = alpha_mask(mask, Size(64, 64), max_bytes=len(soft) // 2)
        assert len(result) <= len(soft) // 2
        half = max(mask.tobytes()) / 2
        assert image_of(result).getchannel("A").tobytes() == bytes(0 if v > half else 255 for v in mask.tobytes())
        with image_error("too_many_bytes", facts=("100",)):
            alpha_mask(mask, Size(64, 64), max_bytes=100)

    def test_a_large_mask_without_hope_is_compressed_as_a_sample_only(self, monkeypatch: pytest.MonkeyPatch) -> None:
        mask = samples.noisy((2048, 2048)).point([255 * (value > 127) for value in range(256)])
        seen: list[int] = []

        def counted(image: Image.Image, *, compress_level: int) -> bytes:
            seen.append(image.height)
            return encoded_png(image, compress_level=compress_level)

        monkeypatch.setattr(pixels, "encoded_png", counted)
        whole = len(alpha_mask(mask, Size(2048, 2048), max_bytes=ROOM))
        assert seen == []
        # Between the two, the whole is compressed, as it may fit.
        least = len(alpha_mask(mask, Size(2048, 2048), max_bytes=whole - 1))
        assert seen == [128, 2048]
        with image_error("too_many_bytes"):
            alpha_mask(mask, Size(2048, 2048), max_bytes=round(0.8 * least))
        assert seen == [128, 2048, 128]

    def test_a_faint_mask_that_becomes_hard_still_marks(self) -> None:
        mask = samples.noisy((64, 64)).point([value // 8 for value in range(256)])
        soft = alpha_mask(mask, Size(64, 64), max_bytes=ROOM)
        assert 0 in image_of(alpha_mask(mask, Size(64, 64), max_bytes=len(soft) // 2)).tobytes()[3::4]


class TestWhiteMask:
    @given(soft_masks)
    def test_white_is_what_changes(self, mask: tuple[bytes, tuple[int, int]]) -> None:
        values, size = mask
        assert grey(white_mask(pixels_of(values, size), Size(*size), max_bytes=ROOM)) == values

    @settings(deadline=None)
    @given(soft_masks, edges, edges)
    def test_it_is_the_inverted_alpha_mask(self, mask: tuple[bytes, tuple[int, int]], width: int, height: int) -> None:
        white = grey(white_mask(pixels_of(*mask), Size(width, height), max_bytes=ROOM))
        alpha = image_of(alpha_mask(pixels_of(*mask), Size(width, height), max_bytes=ROOM)).getchannel("A").tobytes()
        assert white == bytes(255 - value for value in alpha)

    def test_with_too_many_bytes_it_becomes_hard(self) -> None:
        mask = samples.noisy((64, 64))
        result = white_mask(mask, Size(64, 64), max_bytes=2000)
        assert len(result) <= 2000
        assert set(grey(result)) == {0, 255}
        with image_error("too_many_bytes", facts=("100",)):
            white_mask(mask, Size(64, 64), max_bytes=100)


class TestSquare:
    @settings(deadline=None)
    @given(st.sampled_from(samples.PNG_MODES), samples.sizes, st.integers(1, 64))
    def test_image_and_mask_have_the_same_geometry(self, mode: str, size: tuple[int, int], edge: int) -> None:
        square = square_rgba(samples.png_of(mode.partition("+")[0], size), edge=edge, max_bytes=ROOM)
        assert inspect_image(square, max_pixels=4096).size == Size(edge, edge)
        nothing = square_mask(Image.new("L", size), Size(*size), edge=edge)
        around = nothing.tobytes()
        assert set(around) <= {0, 255}
        if mode not in ("LA", "RGBA"):
            alpha = image_of(square).getchannel("A").tobytes()
            assert alpha == bytes(255 - value for value in around)
        everything = square_mask(Image.new("L", size, 255), Size(*size), edge=edge)
        assert set(everything.tobytes()) == {255}

    def test_centred_with_its_ratio(self) -> None:
        square = image_of(square_rgba(encoded(Image.new("RGB", (20, 10), "red"), "JPEG"), edge=40, max_bytes=ROOM))
        assert square.mode == "RGBA"
        assert square.getchannel("A").getbbox() == (0, 10, 40, 30)

    @pytest.mark.parametrize("size", [(8, 8), (20, 10), (10, 20), (40, 3)])
    def test_there_and_back(self, size: tuple[int, int]) -> None:
        square = square_rgba(encoded(painted("RGB", size), "PNG"), edge=max(size), max_bytes=ROOM)
        back = image_of(from_square(square, Size(*size)))
        assert back.convert("RGB").tobytes() == painted("RGB", size).tobytes()
        larger = image_of(square).resize((max(size) * 2,) * 2, Image.Resampling.NEAREST)
        assert image_of(from_square(encoded(larger, "PNG"), Size(*size))).size == (size[0] * 2, size[1] * 2)

    @pytest.mark.parametrize(("received", "part"), [((30_000, 1), (30_000, 1)), ((1, 30_000), (1, 20_000))])
    def test_a_square_that_is_not_one_is_cut_within_its_edges(
        self, received: tuple[int, int], part: tuple[int, int]
    ) -> None:
        assert image_of(from_square(encoded(Image.new("RGB", received), "PNG"), Size(900, 600))).size == part

    def test_its_own_transparency_stays(self) -> None:
        image = painted("RGBA", (8, 8))
        assert image_of(square_rgba(encoded(image, "PNG"), edge=8, max_bytes=ROOM)).tobytes() == image.tobytes()

    def test_a_mask_of_another_size_is_stretched(self) -> None:
        mask = Image.new("L", (4, 2))
        mask.paste(255, (0, 0, 2, 2))
        square = square_mask(mask, Size(40, 20), edge=8)
        assert set(square.crop((0, 2, 4, 6)).tobytes()) == {255}
        assert set(square.crop((4, 2, 8, 6)).tobytes()) == {0}

    def test_too_many_bytes(self) -> None:
        data = encoded(painted("RGBA", (40, 40)), "PNG")
        with image_error(
            "too_many_bytes",
            facts=("40x40", "500"),
        ):
            square_rgba(data, edge=40, max_bytes=500)


@pytest.mark.parametrize(
    "function",
    [
        mask_from_file,
        lambda data: from_square(data, Size(1, 1)),
        lambda data: square_rgba(data, edge=8, max_bytes=ROOM),
    ],
)
def test_an_unreadable_file(function: object) -> None:
    assert callable(function)
    with image_error("unreadable"):
        function(b"text")


def test_a_mask_with_more_pixels_than_an_image_to_edit_is_refused_undecoded() -> None:
    data = samples.png(
        [(b"IHDR", struct.pack(">IIBBBBB", 10_000, 10_000, 8, 0, 0, 0, 0)), (b"IDAT", b"no zlib"), (b"IEND", b"")]
    )
    for function in (mask_from_file, mask_from_black, lambda file: mask_from_color(file, "red")):
        with image_error("too_many_pixels"):
            function(data)


@pytest.mark.parametrize("mode", ["L", "1", "RGB"])
def test_a_large_mask_is_read_in_bands(mode: str) -> None:
    mask = Image.new("L", (1500, 1400))
    mask.paste(255, (700, 1390, 1500, 1400))
    data = encoded(mask.convert(mode), "PNG")
    assert image_of(mask_from_file(data)).tobytes() == mask.tobytes()
    assert image_of(mask_from_color(data, "#ffffff")).tobytes() == mask.tobytes()


def test_a_colour_in_the_last_row_of_a_large_mask_is_found() -> None:
    mask = Image.new("RGB", (1500, 1400), "white")
    mask.paste("red", (0, 1380, 1500, 1400))
    with image_error("coloured_mask"):
        mask_from_black(encoded(mask, "PNG"))
