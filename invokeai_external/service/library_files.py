"""Image files of library users: read as inputs, and saved with their settings."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

from ..errors import InvalidRequestError, NotSavedError
from ..regular_files import make_readable, take_names, temporary_file
from ..request import InputImage
from ..result import GeneratedImage

__all__ = ["read_image", "read_mask", "save_image"]


def read_image(path: str | os.PathLike[str]) -> InputImage:
    """An image file as an input of a request.

    Raises:
        InvalidRequestError: The file cannot be read.
    """
    file = Path(path)
    try:
        return InputImage(file.read_bytes(), file.name)
    # A path with a zero byte is a ValueError.
    except (OSError, ValueError) as error:
        why = (isinstance(error, OSError) and error.strerror) or "no such file"
        raise InvalidRequestError(f"{file} cannot be read: {why}.", remedy="Check the path of the image.") from None


def read_mask(path: str | os.PathLike[str], *, marks: Literal["white", "black"] = "white") -> InputImage:
    """A mask file as an input of a request.

    Args:
        path: The file. If it has transparency, the transparent part is to be changed.
        marks: Without transparency, whether the white or the black part is to be changed.

    Raises:
        InvalidRequestError: The file cannot be read, or it marks nothing.
    """
    # Pillow takes a while to load, and few requests have a mask.
    from ..images.errors import ImageError
    from ..images.masks import mask_from_black, mask_from_file

    file = read_image(path)
    try:
        if marks == "black":
            return InputImage(mask_from_black(file.data), file.name, marks="black")
        return InputImage(mask_from_file(file.data), file.name)
    except ImageError as error:
        raise InvalidRequestError(f"{path}: {error}", remedy="Use a different mask file.") from None


def save_image(image: GeneratedImage, path: str | os.PathLike[str], overwrite: bool) -> None:
    """Write an image with its settings; see ``GeneratedImage.save``."""
    from ..images.metadata_files import place

    file = Path(path)
    placed = place(image.data, image.metadata)
    files = [(file, placed.parts)]
    if placed.sidecar is not None:
        files.append((file.with_name(f"{file.name}.json"), [placed.sidecar]))
    try:
        with ExitStack() as stack:
            written = [(stack.enter_context(temporary_file(to.parent, parts)), to) for to, parts in files]
            # The settings hold the prompt, so that only their owner can read them beside the image.
            make_readable(written[0][0])
            if overwrite:
                for temporary, to in written:
                    temporary.replace(to)
            else:
                take_names(written)
    except FileExistsError as error:
        raise NotSavedError(
            f"{error.filename2 or error.filename or file} already exists.",
            remedy="Save the image under another name, or with overwrite=True.",
        ) from None
    except (OSError, ValueError) as error:
        why = (isinstance(error, OSError) and error.strerror) or "the name is not valid"
        raise NotSavedError(
            f"{file} could not be written: {why}.", remedy="Save the image in another folder."
        ) from None
