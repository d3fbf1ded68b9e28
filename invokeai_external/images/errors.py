"""The error of an image file that cannot be used."""

from __future__ import annotations

from typing import Literal

from ..sizing import Size

__all__ = [
    "ImageError",
    "ImageErrorCode",
    "TooManyPixelsError",
    "damaged",
    "too_little_memory",
    "too_many_parts",
    "truncated",
    "unreadable",
]

ImageErrorCode = Literal[
    "coloured_mask",
    "damaged",
    "empty_mask",
    "invalid_text",
    "too_little_memory",
    "too_many_bytes",
    "too_many_parts",
    "too_many_pixels",
    "truncated",
    "unknown_color",
    "unreadable",
    "whole_mask",
    "wrong_format",
    "wrong_markup",
]


class ImageError(ValueError):
    """An image that cannot be used.

    The message is one sentence, without the name of the file.

    Attributes:
        code: What is wrong, in one word.
        remedy: What to do about it, if that is known.
    """

    def __init__(self, message: str, code: ImageErrorCode, *, remedy: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.remedy = remedy


class TooManyPixelsError(ImageError):
    """An image with more pixels than the limit; nothing else is wrong with it.

    Attributes:
        size: Its size; None if that is not known.
    """

    def __init__(self, message: str, size: Size | None = None) -> None:
        super().__init__(message, "too_many_pixels", remedy="Save it with fewer pixels.")
        self.size = size


def unreadable() -> ImageError:
    return ImageError("The file is not a readable image.", "unreadable")


def too_many_parts(most: int) -> ImageError:
    return ImageError(f"The image file has more than {most:,} parts, which no program writes.", "too_many_parts")


def truncated() -> ImageError:
    return ImageError("The image is truncated: the file ends too early.", "truncated")


def too_little_memory() -> ImageError:
    return ImageError(
        "The image does not fit into this computer's memory.", "too_little_memory", remedy="Close other programs."
    )


def damaged() -> ImageError:
    return ImageError("The image is damaged.", "damaged")
