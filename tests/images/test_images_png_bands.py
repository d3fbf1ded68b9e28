"""Large PNG files are written in bands: every pixel is the same as in the whole, whatever the image is like."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator

import pytest
from PIL import Image

from invokeai_external.images.inspect import inspect_image
from invokeai_external.images.png_bands import bands_of, png_of_at_most, png_of_bands
from invokeai_external.sizing import Size

SIZE = (301, 203)
BYTES = SIZE[0] * SIZE[1]


def noise(mode: str) -> Image.Image:
    data = random.Random(7).randbytes(BYTES * len(mode))
    return Image.frombytes(mode, SIZE, data)


def gradient(mode: str) -> Image.Image:
    bands = [Image.linear_gradient("L").resize(SIZE).rotate(90 * place) for place in range(len(mode))]
    return Image.merge(mode, bands)


def grain(mode: str) -> Image.Image:
    return Image.blend(gradient(mode), noise(mode), 0.1)


def flat(mode: str) -> Image.Image:
    image = Image.new(mode, SIZE)
    image.paste((255,) * len(mode), (50, 60, 200, 140))
    return image


KINDS = [noise, gradient, grain, flat]


def written(image: Image.Image, profile: bytes | None = None) -> bytes:
    return png_of_bands(image.size, image.mode, (image.crop(box) for box in bands_of(image.size)), profile)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("pixels", [1, 1000, 20_000, 4_000_000])
def test_every_pixel_stays(
    mode: str, kind: Callable[[str], Image.Image], pixels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("invokeai_external.images.png_bands._BAND_PIXELS", pixels)
    image = kind(mode)
    data = written(image)
    with Image.open(io.BytesIO(data)) as opened:
        assert opened.mode == mode
        assert opened.tobytes() == image.tobytes()
    assert inspect_image(data, max_pixels=BYTES).size == Size(*SIZE)


def test_what_is_above_the_image_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow crops it as black, which becomes opaque with an alpha channel."""
    monkeypatch.setattr("invokeai_external.images.png_bands._BAND_PIXELS", 20_000)
    image = gradient("RGB")
    data = png_of_bands(SIZE, "RGBA", (image.crop(box).convert("RGBA") for box in bands_of(SIZE)))
    with Image.open(io.BytesIO(data)) as opened:
        assert opened.tobytes() == image.convert("RGBA").tobytes()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pixels", [1, 20_000, 4_000_000])
def test_the_alpha_of_black_pixels(
    kind: Callable[[str], Image.Image], pixels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("invokeai_external.images.png_bands._BAND_PIXELS", pixels)
    alpha = kind("L")
    data = png_of_at_most(4 * BYTES, SIZE, "A", (alpha.crop(box) for box in bands_of(SIZE)))
    black = Image.new("RGBA", SIZE)
    black.putalpha(alpha)
    assert data is not None
    with Image.open(io.BytesIO(data)) as opened:
        assert opened.mode == "RGBA"
        assert opened.tobytes() == black.tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_is_hardly_larger_than_pillows(kind: Callable[[str], Image.Image]) -> None:
    image = kind("RGB")
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1, compress_type=3)
    assert len(written(image)) < 1.1 * len(file.getvalue()) + 100


def test_the_profile() -> None:
    with Image.open(io.BytesIO(written(noise("RGB"), b"profile"))) as image:
        assert image.info["icc_profile"] == b"profile"


def test_it_ends_as_soon_as_it_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("invokeai_external.images.png_bands._BAND_PIXELS", 301 * 10)
    image = noise("L")
    asked = []

    def bands() -> Iterator[Image.Image]:
        for box in bands_of(SIZE):
            asked.append(box)
            yield image.crop(box)

    assert png_of_at_most(5000, SIZE, "L", bands()) is None
    assert len(asked) == 2
    assert png_of_at_most(70_000, SIZE, "L", bands()) == written(image)
