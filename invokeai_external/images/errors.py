"""The one error of this package."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

__all__ = ["ImageError", "TooManyPixelsError", "cut_off", "damaged", "unreadable", "unreadable_on_failure"]


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
