"""Recognizes the formats of images that are only kept, as they are, by how their files begin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from .unsupported import HEIF_BRANDS

__all__ = ["GIF_STARTS", "JPEG_2000_STARTS", "OtherType", "other_type"]

OtherType = Literal[
    "image/gif",
    "image/svg+xml",
    "image/avif",
    "image/tiff",
    "image/bmp",
    "image/x-icon",
    "image/jp2",
    "image/heic",
    "image/jxl",
]
"""The formats of images that are only kept, as they are."""

GIF_STARTS = (b"GIF87a", b"GIF89a")

JPEG_2000_STARTS = (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")
"""How JPEG 2000 begins: a file, and a bare codestream (ITU-T T.800, I.5.1 and A.4.1)."""

_TYPES: Mapping[bytes, OtherType] = {
    **dict.fromkeys(GIF_STARTS, "image/gif"),
    **dict.fromkeys((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), "image/tiff"),
    b"BM": "image/bmp",
    b"\0\0\1\0": "image/x-icon",
    **dict.fromkeys(JPEG_2000_STARTS, "image/jp2"),
    **dict.fromkeys((b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"), "image/jxl"),
}
"""How files begin."""

_STARTS = tuple(_TYPES)

_BRANDS: Mapping[bytes, OtherType] = {
    **dict.fromkeys((b"avif", b"avis"), "image/avif"),
    **dict.fromkeys(HEIF_BRANDS, "image/heic"),
}
"""The brands of files whose first box is ``ftyp`` (ISO 23000-22 and ISO 23008-12, annex B)."""


def other_type(data: bytes | bytearray) -> OtherType | None:
    """The format by the first bytes; None for PNG, JPEG and WebP, and for what is not an image. SVG is text."""
    if data.startswith(_STARTS):
        return next(kind for start, kind in _TYPES.items() if data.startswith(start))
    return _BRANDS.get(bytes(data[8:12])) if data[4:8] == b"ftyp" else None
