"""A thumbnail is small, RGB and upright."""

from __future__ import annotations

import pytest
from PIL import Image

from invokeai_external.images.errors import ImageError
from invokeai_external.images.pixels import rgb_thumbnail

from ..support.samples import AVIF, PNG_MODES, encoded, exif, painted, png_of


@pytest.mark.parametrize("mode", PNG_MODES)
def test_every_mode_becomes_rgb(mode: str) -> None:
    assert rgb_thumbnail(png_of(mode, (13, 9)), longest_px=20).mode == "RGB"


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", *AVIF])
def test_it_is_scaled_down_with_its_ratio(kind: str) -> None:
    data = encoded(painted("RGB", (300, 200)), kind)
    assert rgb_thumbnail(data, longest_px=150).size == (150, 100)
    assert rgb_thumbnail(data, longest_px=1024).size == (300, 200)


def test_orientation_is_applied() -> None:
    assert rgb_thumbnail(encoded(painted("RGB", (30, 20)), "JPEG", exif=exif(6)), longest_px=100).size == (20, 30)


def test_transparent_pixels_are_white() -> None:
    image = Image.new("RGBA", (4, 4), (200, 0, 0, 0))
    image.putpixel((1, 1), (200, 0, 0, 255))
    seen = rgb_thumbnail(encoded(image, "PNG"), longest_px=10)
    assert (seen.getpixel((0, 0)), seen.getpixel((1, 1))) == ((255, 255, 255), (200, 0, 0))


def test_a_broken_image() -> None:
    with pytest.raises(ImageError):
        rgb_thumbnail(png_of("RGB", (9, 9))[:-30], longest_px=10)
