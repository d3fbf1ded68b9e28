"""Puts images into the gallery that were paid for and that no node fetches any more: those of cancelled runs."""

from __future__ import annotations

from collections.abc import Sequence

from ..metadata import with_notice
from ..request import GeneratedImage, Notice
from . import host
from .kept import Destination
from .originals import Originals
from .stored import StoredImage

__all__ = ["FROM_CANCELLED_RUN", "into_gallery"]

FROM_CANCELLED_RUN = Notice(
    "from_cancelled_run", "The run that asked for this image was cancelled or ended before its turn; it was paid for."
)


def into_gallery(images: Sequence[GeneratedImage], destination: Destination, originals: Originals) -> list[str]:
    """Put images where their owner finds them, on the board of their run, and show them on open pages.

    They are not intermediate, whatever their run was: a Canvas that has let go of its run shows nothing of it.

    Args:
        images: The images.
        destination: Whose they are.
        originals: Where signed files are kept.

    Returns:
        Their names in the gallery.

    Raises:
        Exception: Whatever Invoke raises, or ImageError for what is no image; those before it are in the gallery.
    """
    names = []
    for image in images:
        told = originals.keep(image)
        own = with_notice(told.metadata, FROM_CANCELLED_RUN)
        picture = StoredImage.of_file(image.data, dropped=host.TEXTS).as_large_as(destination.size)
        metadata = {**destination.panel, **own, **destination.recalled}
        names.append(host.deliver(picture, metadata, user=destination.user, board=destination.board))
        originals.saved(names[-1], told)
    return names
