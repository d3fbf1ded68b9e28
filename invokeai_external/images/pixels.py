"""Decoding with Pillow, for those who need pixels: eight bits, RGB or RGBA, upright."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, cast

from PIL import Image, ImageCms, ImageFile, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from ..sizing import Size
from .errors import ImageError, TooManyPixelsError, unreadable
from .formats import exif
from .formats.containers import Container, taken_apart
from .formats.png import Png

__all__ = [
    "MAX_PIXELS",
    "Pixels",
    "as_encoded",
    "check_pixels",
    "decoded",
    "encoded_png",
    "glance",
    "opened_otherwise",
    "upright",
    "verify",
    "verify_pixels",
]

MAX_PIXELS = 200_000_000
"""The largest picture that is decoded; as RGBA it takes 800 MB of memory."""

_NEVER = frozenset({"EPS"})
"""Pillow reads EPS by having Ghostscript run the program that such a file is."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What undoes an EXIF orientation (EXIF 2.3, 4.6.4)."""


class Pixels(NamedTuple):
    """``image`` is RGB or RGBA, upright; ``profile`` the ICC profile that these pixels have, None for sRGB."""

    image: Image.Image
    profile: bytes | None


def check_pixels(size: Size, most: int = MAX_PIXELS) -> None:
    """Raises ImageError if a picture of that size has more than ``most`` pixels."""
    if size.pixels > most:
        raise TooManyPixelsError(f"The picture has {size} pixels, which is more than the {most:,} that are taken.")


def upright(size: Size, orientation: int) -> Size:
    """The size of a picture that is stored with this EXIF orientation, once it is turned."""
    return Size(size.height, size.width) if orientation >= 5 else size


def decoded(data: bytes) -> Pixels:
    """The picture, of an animation the first. Raises ImageError if it cannot be read or has too many pixels."""
    with _opened(data) as (image, orientation), unreadable_on_failure():
        image.load()
        pixels, profile = _as_rgb(image)
        turn = _TURNS.get(orientation)
        return Pixels(pixels if turn is None else pixels.transpose(turn), profile)


def as_encoded(data: bytes) -> ImageFile.ImageFile:
    """A PNG, JPEG or WebP opened by Pillow in the mode that it is encoded in, neither decoded nor converted nor turned.

    Of an animation it is the first picture.

    Raises:
        ImageError: It is in another format, cut off or damaged, or has too many pixels.
    """
    container = taken_apart(data)
    if container is None:
        raise unreadable()
    check_pixels(container.size)
    with unreadable_on_failure():
        return _decodable(container)


def glance(data: bytes, *, longest_px: int) -> Image.Image:
    """A picture to be looked at while a better one is awaited: RGB, on white where it is see-through.

    Args:
        data: The file, in any format that Pillow reads.
        longest_px: What its longer side may have; a larger one is made smaller.

    Raises:
        ImageError: It cannot be read or has too many pixels.
    """
    image = decoded(data).image
    image.thumbnail((longest_px, longest_px))
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def verify(container: Container) -> None:
    """Check that the pixels arrived whole: a PNG by its checksums, JPEG and WebP, which have none, by decoding.

    Raises:
        ImageError: They did not.
    """
    if isinstance(container, Png):
        container.verify()
    else:
        with unreadable_on_failure(), _decodable(container) as image:
            image.load()


def verify_pixels(data: bytes) -> None:
    """Raise ImageError if a picture's pixels cannot be decoded; the checksums of a PNG alone do not tell."""
    decoded(data)


def encoded_png(image: Image.Image, profile: bytes | None = None, *, compress_level: int = 6) -> bytes:
    """The image as PNG; ``compress_level`` is zlib's."""
    file = io.BytesIO()
    image.save(file, "PNG", icc_profile=profile, compress_level=compress_level)
    return file.getvalue()


@contextmanager
def _opened(data: bytes) -> Iterator[tuple[ImageFile.ImageFile, int]]:
    """The file opened, and its EXIF orientation."""
    container = taken_apart(data)
    if container is None:
        with opened_otherwise(data) as image:
            yield image, exif.orientation(image.info.get("exif", b""))
    else:
        check_pixels(container.size)
        with unreadable_on_failure(), _decodable(container) as image:
            yield image, container.orientation


@contextmanager
def unreadable_on_failure() -> Iterator[None]:
    """Turn whatever Pillow raises into an ``ImageError``.

    Pillow promises no set of exceptions: its plugins let SyntaxError, struct.error, zlib.error, KeyError,
    OverflowError and more through, each for its own kind of broken file.
    """
    try:
        yield
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise TooManyPixelsError("The picture has more pixels than are taken.") from None
    except Exception:
        raise unreadable() from None


_PLUGINS: dict[str, type[ImageFile.ImageFile]] = {
    "image/png": PngImagePlugin.PngImageFile,
    "image/jpeg": JpegImagePlugin.JpegImageFile,
    "image/webp": WebPImagePlugin.WebPImageFile,
}


def _decodable(container: Container) -> ImageFile.ImageFile:
    """The image for Pillow to decode.

    Without anything else of the file: Pillow would warn of broken EXIF, and take a PNG's text named ``gamma`` for the
    chunk of that name.

    Raises:
        ImageError: A PNG is not whole; Pillow would decode missing pixels as black.
    """
    if isinstance(container, Png):
        container.verify()
    return _PLUGINS[container.mime_type](io.BytesIO(container.stripped()))


@contextmanager
def opened_otherwise(data: bytes) -> Iterator[ImageFile.ImageFile]:
    """A file in one of the formats that Pillow alone reads, opened but not decoded.

    Pillow has a limit of its own: it warns above 89 million pixels and refuses twice as many.
    """
    with unreadable_on_failure(), Image.open(io.BytesIO(data)) as image:
        if image.format in _NEVER:
            raise unreadable()
        check_pixels(Size(*image.size))
        yield image


def _as_rgb(image: Image.Image) -> Pixels:
    profile = image.info.get("icc_profile") or b""
    space = profile[16:20]  # the profile header's colour space (ICC.1, section 7.2)
    if image.mode in ("CMYK", "LAB"):
        image, space = _as_srgb(image, profile if space == b"CMYK" else b""), b""
    elif image.mode[0] in "IF":
        image = _as_grey(image)
    image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    image.info = {}  # Pillow writes comments and more from here into the files that it makes
    return Pixels(image, profile if space == b"RGB " else None)


def _as_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """A CMYK or Lab image in sRGB: CMYK by its profile, or by rule of thumb without one that works."""
    if image.mode == "CMYK" and not profile:
        return image.convert("RGB")
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile)) if profile else ImageCms.createProfile("LAB")
        return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), image.mode, "RGB").apply(image)
    except (ImageCms.PyCMSError, OSError):
        return image.convert("RGB")


def _as_grey(image: Image.Image) -> Image.Image:
    """Numbers for pixels as 8-bit grey: Pillow would cut off what is above 255.

    What number is white stands nowhere but for 16 bits; elsewhere it is the next of 1, 255 and so on above the largest.
    """
    numbers = image if image.mode == "F" else image.convert("I").convert("F")
    _, largest = cast(tuple[float, float], numbers.getextrema())
    white = 65535 if ";16" in image.mode else next((w for w in (1, 255, 65535) if largest <= w), largest)
    grey = numbers.point(lambda value: value * (255 / white) + 0.5).convert("L")
    grey.info = {}
    return grey
