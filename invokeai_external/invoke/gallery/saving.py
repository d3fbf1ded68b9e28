"""Saves the images of a node's run in the gallery, and as files those that the gallery cannot save."""

from __future__ import annotations

import logging
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from PIL import Image

from ...errors import NotSavedError
from ...images.errors import ImageError
from ...metadata_keys import INVOKE_KEYWORDS
from ...result import GeneratedImage
from ...sizing import Size
from .fallback import FallbackFolder, place_of, reason_of, root_cause
from .originals import Originals
from .passthrough import PassthroughImage
from .result_cache import Destination, Handover

__all__ = ["GalleryImage", "NodeGallery", "Saver"]


_RETRY = (
    "Check that Invoke can write to its outputs folder, then press Retry on this item in the queue: nothing is paid"
    " again."
)


class NodeGallery(Protocol):
    """Invoke's gallery, as a running node sees it."""

    def save(self, image: Image.Image, metadata: dict[str, Any], *, before: Container[str]) -> str:
        """Save an image and return its name; ``before`` has the names of those that this run saved before it."""

    def leave_board(self) -> bool:
        """Save to no board from now on; False if the node has no board."""


@dataclass(frozen=True)
class GalleryImage:
    """An image that is in the gallery already.

    Attributes:
        name: Its name.
        file: The bytes of its file.
        metadata: Its metadata.
    """

    name: str
    file: bytes
    metadata: dict[str, Any]


class Saver:
    """Saves the images of one run.

    Args:
        gallery: Where to save them.
        originals: Where signed files are stored.
        log: For problems that do not fail the run.
    """

    def __init__(self, gallery: NodeGallery, originals: Originals, log: logging.Logger) -> None:
        self._gallery = gallery
        self._originals = originals
        self._log = log
        self._names: list[str] = []

    def save(
        self,
        images: Sequence[GeneratedImage],
        destination: Destination,
        folder: FallbackFolder,
        handover: Handover,
    ) -> list[str]:
        """Save the images of a result, each in one place.

        An image that fails is written to the fallback folder and does not affect the others. If the gallery cannot save
        any of them now, they stay in the result cache, if they are there.

        Returns:
            The names of the images in the gallery.

        Raises:
            NotSavedError: The gallery could not save any of them.
        """
        failed: list[GeneratedImage] = []
        may_be_saved_later = False
        for image in images:
            stored = self._originals.store(image)
            try:
                name = self._save_file(image.data, destination.size, destination.metadata(stored.metadata))
            except (ImageError, NotSavedError) as error:
                failed.append(image)
                message = _unreadable(error).message if isinstance(error, ImageError) else error.message
                may_be_saved_later |= isinstance(error, NotSavedError)
            else:
                self._originals.link(name, stored)
        if failed and not self._names and handover.entry and may_be_saved_later:
            what, place = "it is" if len(failed) == 1 else "they are", place_of(handover.entry, folder.root)
            raise NotSavedError(message, remedy=f"{_RETRY} Until then, {what} in {place}.")
        saved = folder.save(failed, handover.entry)
        handover.is_done = not saved.not_written
        if failed:
            failure = NotSavedError(message, remedy=saved.message)
            if not self._names:
                raise failure
            self._log.error(str(failure))
        return self._names

    def save_copies(self, images: Sequence[GalleryImage]) -> list[str]:
        """Save images of the gallery once more, as new entries that cost nothing.

        Returns:
            The names of the new entries.

        Raises:
            NotSavedError: One of them could not be saved.
        """
        for image in images:
            external = {**image.metadata.get("external", {}), "from_cache": True, "cost_usd": 0}
            external.pop("cost_from", None)
            try:
                name = self._save_file(image.file, None, {**image.metadata, "external": external})
            except ImageError as error:
                raise _unreadable(error) from None
            self._originals.link_copy(image.name, name)
        return self._names

    def _save_file(self, file: bytes, size: Size | None, metadata: dict[str, Any]) -> str:
        """Save one image, without its board if the board is the problem; return its name.

        Raises:
            ImageError: It cannot be read.
            NotSavedError: The gallery could not save it.
        """
        try:
            # Invoke's own texts in a received file describe another run.
            passthrough = PassthroughImage.from_file(file, dropped=INVOKE_KEYWORDS).resized_to(size)
            name = self._gallery.save(passthrough, metadata, before=self._names)
        except ImageError:
            raise
        except Exception as error:
            cause = root_cause(error)
        else:
            self._names.append(name)
            return name
        reason = reason_of(cause)
        # An error with a number is one of the operating system, such as a full disk. Any other may be due to the board:
        # with several users, Invoke refuses a deleted board or one of another user only now.
        if getattr(cause, "errno", None) is None and self._gallery.leave_board():
            self._log.warning(f"The image was not added to the board: {reason}.")
            return self._save_file(file, size, metadata)
        raise NotSavedError(
            f"An image could not be saved in the gallery: {reason}.",
            remedy=_RETRY,
        )


def _unreadable(error: ImageError) -> NotSavedError:
    return NotSavedError(
        f"An image could not be saved in the gallery: {error}", remedy="Open its file in another program."
    )
