"""Puts images into the gallery that were paid for and that no node fetches any more: those of cancelled runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ...metadata import with_notice
from ...result import GeneratedImage, Notice
from .. import host
from . import fallback
from .originals import Originals
from .passthrough import StoredImage
from .result_cache import Destination

__all__ = ["FROM_CANCELLED_RUN", "Untaken", "into_gallery"]

FROM_CANCELLED_RUN = Notice(
    "from_cancelled_run", "The run that asked for this image was cancelled or ended before its turn; it was paid for."
)


class Untaken(NamedTuple):
    """The images that the gallery did not take.

    Attributes:
        images: They.
        reason: Why; empty if there are none.
    """

    images: Sequence[GeneratedImage]
    reason: str


def into_gallery(images: Sequence[GeneratedImage], destination: Destination, originals: Originals) -> Untaken:
    """Put images where their owner finds them, on the board of their run, and show them on open pages.

    They are not intermediate, whatever their run was: a Canvas that has let go of its run shows nothing of it. One that
    is not taken, such as one that cannot be decoded, keeps none of the others back.

    Args:
        images: The images.
        destination: Whose they are.
        originals: Where signed files are kept.
    """
    untaken: list[GeneratedImage] = []
    reason = ""
    for image in images:
        try:
            told = originals.keep(image)
            metadata = destination.metadata(with_notice(told.metadata, FROM_CANCELLED_RUN))
            picture = StoredImage.of_file(image.data, dropped=host.TEXTS).as_large_as(destination.size)
            name = host.deliver(picture, metadata, user=destination.user, board=destination.board)
        # Invoke raises one of several errors.
        except Exception as error:
            untaken.append(image)
            reason = fallback.reason_of(fallback.cause_of(error))
        else:
            originals.saved(name, told)
    return Untaken(untaken, reason)
