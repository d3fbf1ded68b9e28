"""Recognizes images that were paid for but cannot be checked: in another format, or with too many pixels.

They are kept byte for byte, as GIF and SVG are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from ..sizing import Size
from .errors import TooManyPixelsError, unreadable
from .formats.containers import parse
from .formats.png import Png
from .formats.unsupported import HEIF_BRANDS
from .gif_and_svg import inspect_gif, inspect_svg, is_gif, is_svg
from .inspect import ImageInfo, OtherType
from .pixels import JPEG_2000_STARTS, MAX_PIXELS, open_other_format

__all__ = ["NAMES", "inspect_as_received"]

NAMES: Mapping[str, str] = {
    "image/gif": "a GIF",
    "image/svg+xml": "an SVG",
    "image/avif": "an AVIF",
    "image/tiff": "a TIFF",
    "image/bmp": "a BMP",
    "image/x-icon": "an ICO",
    "image/jp2": "a JPEG 2000",
    "image/heic": "a HEIC",
    "image/jxl": "a JPEG XL",
}
"""The formats with their articles, by MIME type."""

_STARTS: tuple[tuple[bytes, OtherType], ...] = (
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"II+\0", "image/tiff"),
    (b"MM\0+", "image/tiff"),
    (b"BM", "image/bmp"),
    (b"\0\0\1\0", "image/x-icon"),
    *((start, "image/jp2") for start in JPEG_2000_STARTS),
    (b"\xff\x0a", "image/jxl"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "image/jxl"),
)
"""How files begin, by MIME type."""

_BRANDS: Mapping[bytes, OtherType] = {
    **dict.fromkeys((b"avif", b"avis"), "image/avif"),
    **dict.fromkeys(HEIF_BRANDS, "image/heic"),
}
"""The brands of files whose first box is ``ftyp`` (ISO 23000-22 and ISO 23008-12, annex B)."""

_WITHOUT_READER = frozenset({"image/heic", "image/jxl"})
"""The formats that Pillow does not read."""

assert set(NAMES) == set(get_args(OtherType))


def inspect_as_received(data: bytes, *, expected: Size | None) -> ImageInfo:
    """The format of an image that cannot be checked any further, and its size, as far as it can be read.

    Args:
        data: The file.
        expected: The size to report for a file whose size cannot be read.

    Raises:
        ImageError: It cannot be an image, or is damaged as far as that can be seen without decoding it.
    """
    container = parse(data)
    if container is not None:
        if isinstance(container, Png):
            container.verify()
        return ImageInfo(container.mime_type, container.size, container.has_alpha, container.is_signed)
    if is_gif(data):
        try:
            return inspect_gif(data, max_pixels=MAX_PIXELS)
        except TooManyPixelsError as error:
            return ImageInfo("image/gif", error.size or expected or Size(1, 1), has_alpha=False)
    if is_svg(data) and data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return inspect_svg(data, expected=expected)
    mime_type = _BRANDS.get(data[8:12]) if data[4:8] == b"ftyp" else None
    mime_type = mime_type or next((one for start, one in _STARTS if data.startswith(start)), None)
    if mime_type is None:
        raise unreadable()
    return ImageInfo(mime_type, _size(data, mime_type) or expected or Size(1, 1), has_alpha=False)


def _size(data: bytes, mime_type: str) -> Size | None:
    if mime_type in _WITHOUT_READER:
        return None
    try:
        with open_other_format(data) as image:
            return Size(*image.size)
    except TooManyPixelsError as error:
        return error.size
