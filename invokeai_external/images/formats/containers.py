"""Which of the three formats a file is that can be taken apart, and what they have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

from ...sizing import Size
from ..errors import ImageError
from . import jpeg, png
from .webp import WebP

__all__ = ["Container", "MimeType", "is_signed", "taken_apart"]

MimeType = Literal["image/png", "image/jpeg", "image/webp"]


class Container(Protocol):
    """A PNG, JPEG or WebP file taken apart; see the classes for what their attributes and methods mean."""

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
    def is_signed(self) -> bool: ...
    def stripped(self) -> bytes: ...
    def texts(self) -> dict[str, str]: ...
    def parts_with_texts(self, texts: Mapping[str, str]) -> list[bytes | memoryview]: ...


def taken_apart(data: bytes) -> Container | None:
    """The file's parts, by its first bytes, which alone are to be trusted; None if it is in any other format.

    Raises:
        ImageError: It begins like one of the three but is cut off or makes no sense.
    """
    if data.startswith(png.SIGNATURE):
        return png.Png(data)
    if data.startswith(jpeg.SIGNATURE):
        return jpeg.Jpeg(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return WebP(data)
    return None


def is_signed(data: bytes) -> bool:
    """True if a PNG, JPEG or WebP carries Content Credentials (C2PA), which hold as long as no byte of it changes.

    Only whether a manifest is in the file is looked at, not whether it is valid. False for a file that is cut off or in
    another format: nothing can be written into such a file in the first place.
    """
    try:
        container = taken_apart(data)
    except ImageError:
        return False
    return container is not None and container.is_signed
