"""Puts paid images into the gallery if no node fetches them any more, such as those of a cancelled run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from PIL import Image

from ...images.errors import ImageError
from ...metadata_keys import INVOKE_KEYWORDS, with_notice
from ...result import GeneratedImage, Notice
from .fallback import reason_of, root_cause
from .originals import Originals
from .passthrough import PassthroughImage
from .result_cache import Destination

__all__ = ["FROM_CANCELLED_RUN", "Gallery", "Undelivered", "deliver"]

FROM_CANCELLED_RUN = Notice(
    "from_cancelled_run", "The run that requested this image was cancelled or ended early. The image was paid for."
)


class Gallery(Protocol):
    """Invoke's gallery, outside of any run."""

    def deliver(self, image: Image.Image, metadata: dict[str, Any], *, user: str, board: str | None) -> str:
        """Save an image for a user, show it on open pages, and return its name."""


@dataclass(frozen=True)
class Undelivered:
    """The images that the gallery could not save.

    Attributes:
        images: The images.
        reason: Why; empty if all were saved.
        may_be_saved_later: False if all of them are of a kind that the gallery never can save.
    """

    images: Sequence[GeneratedImage]
    reason: str
    may_be_saved_later: bool


def deliver(
    images: Sequence[GeneratedImage], destination: Destination, originals: Originals, gallery: Gallery
) -> Undelivered:
    """Save images in their owner's gallery, on the board of their run, and show them on open pages.

    They are never intermediate images, whatever their run was: the Canvas does not show the results of a cancelled run.
    An image that fails, such as one that cannot be decoded, does not affect the others.

    Args:
        images: The images.
        destination: Where they belong.
        originals: Where signed files are stored.
        gallery: Invoke's gallery.
    """
    failed: list[GeneratedImage] = []
    reason, may_be_saved_later = "", False
    for image in images:
        try:
            stored = originals.store(image)
            metadata = destination.metadata(with_notice(stored.metadata, FROM_CANCELLED_RUN))
            passthrough = PassthroughImage.from_file(image.data, dropped=INVOKE_KEYWORDS).resized_to(destination.size)
            name = gallery.deliver(passthrough, metadata, user=destination.user, board=destination.board)
        # Invoke raises various errors.
        except Exception as error:
            failed.append(image)
            reason = reason_of(root_cause(error))
            may_be_saved_later |= not isinstance(error, ImageError)
        else:
            originals.link(name, stored)
    return Undelivered(failed, reason, may_be_saved_later)
