"""A picture to be looked at: small, flat, upright."""

from __future__ import annotations

import pytest
from PIL import Image

from invokeai_external.images.errors import ImageError
from invokeai_external.images.pixels import glance

from .pictures import AVIF, PNG_MODES, encoded, exif, painted, png_of


@pytest.mark.parametrize("mode", PNG_MODES)
def test_every_mode_becomes_rgb(mode: str) -> None:
    assert glance(png_of(mode, (13, 9)), longest_px=20).mode == "RGB"


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", *AVIF])
def test_it_is_made_smaller_and_keeps_its_ratio(kind: str) -> None:
    data = encoded(painted("RGB", (300, 200)), kind)
    assert glance(data, longest_px=150).size == (150, 100)
    assert glance(data, longest_px=1024).size == (300, 200)


def test_it_is_turned_upright() -> None:
    assert glance(encoded(painted("RGB", (30, 20)), "JPEG", exif=exif(6)), longest_px=100).size == (20, 30)


def test_what_is_see_through_is_white() -> None:
    image = Image.new("RGBA", (4, 4), (200, 0, 0, 0))
    image.putpixel((1, 1), (200, 0, 0, 255))
    seen = glance(encoded(image, "PNG"), longest_px=10)
    assert (seen.getpixel((0, 0)), seen.getpixel((1, 1))) == ((255, 255, 255), (200, 0, 0))


def test_a_broken_one_raises() -> None:
    with pytest.raises(ImageError):
        glance(png_of("RGB", (9, 9))[:-30], longest_px=10)
