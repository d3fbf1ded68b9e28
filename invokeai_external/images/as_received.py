"""Recognizes images that were paid for but cannot be checked: in another format, or with too many pixels or parts.

They are kept byte for byte, as GIF and SVG are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from ..sizing import Size
from .decoding_limits import MAX_PIXELS
from .errors import ImageError, TooManyPixelsError, unreadable
from .formats.containers import begun_type, parse
from .formats.others import OtherType, other_type
from .formats.png import Png, begun_size
from .gif_and_svg import inspect_gif, inspect_svg, is_gif, is_svg
from .inspect import ImageInfo
from .pixels import open_other_format

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

_WITHOUT_READER = frozenset({"image/heic", "image/jxl"})
"""The formats that Pillow does not read."""

assert set(NAMES) == set(get_args(OtherType))


def inspect_as_received(data: bytes, *, expected: Size | None, is_too_much: bool = False) -> ImageInfo:
    """The format of an image that cannot be checked any further, and its size, as far as it can be read.

    Args:
        data: The file.
        expected: The size to report for a file whose size cannot be read.
        is_too_much: True if it is known to be too large to be decoded.

    Raises:
        ImageError: It cannot be an image, or is damaged as far as that can be seen without decoding it.
    """
    try:
        container = parse(data)
    except ImageError as error:
        begun = begun_type(data)
        if error.code != "too_many_parts" or begun is None:
            raise
        return ImageInfo(begun, begun_size(data) or expected or Size(1, 1), has_alpha=False)
    if container is not None:
        if isinstance(container, Png):
            container.verify()
        return ImageInfo(container.mime_type, container.size, container.has_alpha, container.is_signed)
    if is_gif(data):
        try:
            return inspect_gif(data, max_pixels=0 if is_too_much else MAX_PIXELS)
        except TooManyPixelsError as error:
            return ImageInfo("image/gif", error.size or expected or Size(1, 1), has_alpha=False)
    if is_svg(data) and data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return inspect_svg(data, expected=expected)
    if (mime_type := other_type(data)) is None:
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
