"""Detects which of the three formats a file has, and defines their common interface."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

from ...sizing import Size
from ..errors import ImageError
from . import jpeg, png
from .others import other_type
from .webp import WebP

__all__ = ["EXTENSIONS", "Container", "MimeType", "begins_like_image", "begun_type", "is_signed", "parse"]

MimeType = Literal["image/png", "image/jpeg", "image/webp"]

EXTENSIONS: Mapping[str, str] = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/webp": "webp",
    "image/gif": "gif",
    "image/svg+xml": "svg",
    "image/avif": "avif",
    "image/tiff": "tif",
    "image/bmp": "bmp",
    "image/x-icon": "ico",
    "image/jp2": "jp2",
    "image/heic": "heic",
    "image/jxl": "jxl",
}
"""The extension of a file's name, by MIME type; those after WebP are only stored, as they are."""


class Container(Protocol):
    """A parsed PNG, JPEG or WebP file; the classes document their attributes and methods."""

    @property
    def mime_type(self) -> MimeType: ...
    @property
    def size(self) -> Size: ...
    @property
    def has_alpha(self) -> bool: ...
    @property
    def orientation(self) -> int: ...
    @property
    def is_plain(self) -> bool: ...
    @property
    def most_pixels(self) -> int: ...
    @property
    def is_signed(self) -> bool: ...
    def stripped(self) -> bytes: ...
    def texts(self) -> dict[str, str]: ...
    def parts_with_texts(self, texts: Mapping[str, str]) -> list[bytes | memoryview]: ...


def begins_like_image(data: bytes | bytearray) -> bool:
    """True if data begin as an image file of any format does that is kept, except SVG; no JSON begins so."""
    return begun_type(data) is not None or other_type(data) is not None


def begun_type(data: bytes | bytearray) -> MimeType | None:
    """The type of a PNG, JPEG or WebP by its first bytes; None for other data."""
    if data.startswith(png.SIGNATURE):
        return "image/png"
    if data.startswith(jpeg.SIGNATURE):
        return "image/jpeg"
    return "image/webp" if data.startswith(b"RIFF") and data[8:12] == b"WEBP" else None


def parse(data: bytes) -> Container | None:
    """Parse a file by its first bytes, the only sign of its format to trust; None if it is in another format.

    Raises:
        ImageError: The file starts like one of the three but is truncated or invalid.
    """
    match begun_type(data):
        case "image/png":
            return png.Png(data)
        case "image/jpeg":
            return jpeg.Jpeg(data)
        case "image/webp":
            return WebP(data)
        case _:
            return None


def is_signed(data: bytes) -> bool:
    """True if a PNG, JPEG or WebP carries Content Credentials (C2PA), which stay valid as long as no byte changes.

    This checks only that the file has a manifest, not that the manifest is valid. False for a file that is truncated or
    in another format, since nothing can be written into such a file anyway.
    """
    try:
        container = parse(data)
    except ImageError:
        return False
    return container is not None and container.is_signed
