"""Masks as people paint them, in the internal form (L, 255 = change), and as providers expect them."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from invokeai_external.images.inspect import inspect_image
from invokeai_external.images.masks import (
    alpha_mask,
    from_square,
    mask_from_black,
    mask_from_file,
    square_mask,
    square_rgba,
    white_mask,
)
from invokeai_external.sizing import Size

from ..support import samples
from ..support.samples import encoded, painted
from .raising import image_error

ROOM = 1 << 22


def image_of(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as image:
        image.load()
    return image


def mask_of(values: bytes, size: tuple[int, int]) -> bytes:
    return encoded(Image.frombytes("L", size, values), "PNG")


def grey(data: bytes) -> bytes:
    image = image_of(data)
    assert (image.mode, image.format) == ("L", "PNG")
    return image.tobytes()


class TestMaskFromBlack:
    @pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
    def test_black_marks(self, mode: str) -> None:
        image = Image.frombytes("L", (3, 1), bytes((0, 100, 255))).convert(mode)
        assert grey(mask_from_black(encoded(image, "PNG"))) == bytes((255, 155, 0))

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

    @given(samples.pngs())
    def test_any_png_is_a_mask_or_marks_nothing(self, data: bytes) -> None:
        image = image_of(data)
        grey_or_alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else image.convert("RGB")
        ignored = 255 if image.has_transparency_data else 0
        if set(grey_or_alpha.tobytes()) == {ignored}:
            with image_error("empty_mask"):
                mask_from_file(data)
        else:
            assert image_of(mask_from_file(data)).size == image.size
            assert any(grey(mask_from_file(data)))


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
        result = image_of(alpha_mask(mask_of(values, size), Size(*size), max_bytes=ROOM))
        assert (result.mode, result.size, result.format) == ("RGBA", size, "PNG")
        assert result.getchannel("A").tobytes() == bytes(255 - value for value in values)

    @given(soft_masks.filter(lambda mask: max(mask[0]) > 0))
    def test_there_and_back(self, mask: tuple[bytes, tuple[int, int]]) -> None:
        data = mask_of(*mask)
        assert grey(mask_from_file(alpha_mask(data, Size(*mask[1]), max_bytes=ROOM))) == mask[0]

    @settings(deadline=None)
    @given(hard_masks, edges, edges)
    def test_a_hard_mask_stays_hard(self, mask: tuple[bytes, tuple[int, int]], width: int, height: int) -> None:
        result = image_of(alpha_mask(mask_of(*mask), Size(width, height), max_bytes=ROOM)).getchannel("A").tobytes()
        assert set(result) <= {0, 255}
        if 255 in mask[0] and width >= 2 and height >= 2:
            assert 0 in result

    @given(hard_masks, st.integers(1, 4))
    def test_a_hard_mask_made_larger_is_the_same(self, mask: tuple[bytes, tuple[int, int]], factor: int) -> None:
        values, (width, height) = mask
        size = Size(width * factor, height * factor)
        result = image_of(alpha_mask(mask_of(values, (width, height)), size, max_bytes=ROOM)).getchannel("A")
        expected = [
            255 - values[y // factor * width + x // factor] for y in range(size.height) for x in range(size.width)
        ]
        assert result.tobytes() == bytes(expected)

    def test_a_soft_mask_is_stretched_softly(self) -> None:
        mask = Image.new("L", (30, 10))
        mask.paste(255, (0, 0, 10, 10))
        mask.paste(128, (10, 0, 20, 10))
        result = image_of(alpha_mask(encoded(mask, "PNG"), Size(60, 20), max_bytes=ROOM)).getchannel("A")
        assert [result.getpixel((x, 10)) for x in (3, 30, 57)] == [0, 127, 255]
        assert len(set(result.tobytes())) > 3

    def test_a_mask_with_too_many_bytes_becomes_hard(self) -> None:
        mask = samples.noisy((64, 64))
        soft = alpha_mask(encoded(mask, "PNG"), Size(64, 64), max_bytes=ROOM)
        result = alpha_mask(encoded(mask, "PNG"), Size(64, 64), max_bytes=len(soft) // 2)
        assert len(result) <= len(soft) // 2
        half = max(mask.tobytes()) / 2
        assert image_of(result).getchannel("A").tobytes() == bytes(0 if v > half else 255 for v in mask.tobytes())
        with image_error("too_many_bytes", facts=("100",)):
            alpha_mask(encoded(mask, "PNG"), Size(64, 64), max_bytes=100)

    def test_a_faint_mask_that_becomes_hard_still_marks(self) -> None:
        mask = samples.noisy((64, 64)).point([value // 8 for value in range(256)])
        soft = alpha_mask(encoded(mask, "PNG"), Size(64, 64), max_bytes=ROOM)
        assert 0 in image_of(alpha_mask(encoded(mask, "PNG"), Size(64, 64), max_bytes=len(soft) - 1)).tobytes()[3::4]


class TestWhiteMask:
    @given(soft_masks)
    def test_white_is_what_changes(self, mask: tuple[bytes, tuple[int, int]]) -> None:
        values, size = mask
        assert grey(white_mask(mask_of(values, size), Size(*size), max_bytes=ROOM)) == values

    @settings(deadline=None)
    @given(soft_masks, edges, edges)
    def test_it_is_the_inverted_alpha_mask(self, mask: tuple[bytes, tuple[int, int]], width: int, height: int) -> None:
        white = grey(white_mask(mask_of(*mask), Size(width, height), max_bytes=ROOM))
        alpha = image_of(alpha_mask(mask_of(*mask), Size(width, height), max_bytes=ROOM)).getchannel("A").tobytes()
        assert white == bytes(255 - value for value in alpha)

    def test_with_too_many_bytes_it_becomes_hard(self) -> None:
        mask = encoded(samples.noisy((64, 64)), "PNG")
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
        nothing = square_mask(encoded(Image.new("L", size), "PNG"), Size(*size), edge=edge)
        around = grey(nothing)
        assert set(around) <= {0, 255}
        if mode not in ("LA", "RGBA"):
            alpha = image_of(square).getchannel("A").tobytes()
            assert alpha == bytes(255 - value for value in around)
        everything = square_mask(encoded(Image.new("L", size, 255), "PNG"), Size(*size), edge=edge)
        assert set(grey(everything)) == {255}

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
        square = Image.frombytes("L", (8, 8), grey(square_mask(encoded(mask, "PNG"), Size(40, 20), edge=8)))
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
        lambda data: alpha_mask(data, Size(1, 1), max_bytes=ROOM),
        lambda data: white_mask(data, Size(1, 1), max_bytes=ROOM),
        lambda data: from_square(data, Size(1, 1)),
        lambda data: square_rgba(data, edge=8, max_bytes=ROOM),
        lambda data: square_mask(data, Size(1, 1), edge=8),
    ],
)
def test_an_unreadable_file(function: object) -> None:
    assert callable(function)
    with image_error("unreadable"):
        function(b"text")
