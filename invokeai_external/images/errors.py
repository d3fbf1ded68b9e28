"""The one error of this package."""

from __future__ import annotations

__all__ = ["ImageError", "TooManyPixelsError", "cut_off", "damaged", "unreadable"]


class ImageError(ValueError):
    """A picture that cannot be used; the message is one sentence for people, without the name of the file."""


class TooManyPixelsError(ImageError):
    """A picture that is larger than allowed; nothing else is wrong with it."""


def unreadable() -> ImageError:
    return ImageError("This is not a picture that can be read.")


def cut_off() -> ImageError:
    return ImageError("The picture is cut off: its file ends too early.")


def damaged() -> ImageError:
    return ImageError("The picture is damaged.")
