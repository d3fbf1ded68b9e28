"""Image files of library users: read as inputs, and saved with their settings."""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack
from pathlib import Path

from ..errors import InvalidRequestError, NotSavedError
from ..regular_files import checked_path, make_readable, read_regular_file, take_names, temporary_file
from ..request import MOST_INPUT_BYTES, InputImage
from ..result import GeneratedImage

__all__ = ["read_image", "read_mask", "save_image"]


def read_image(path: str | os.PathLike[str]) -> InputImage:
    """An image file as an input of a request.

    Raises:
        InvalidRequestError: The file cannot be read, is not a regular file, or is larger than 256 MB.
    """
    file = Path(checked_path(path))
    try:
        return InputImage(read_regular_file(file, MOST_INPUT_BYTES), file.name)
    # A path with a zero byte is a ValueError.
    except (OSError, ValueError) as error:
        why = (isinstance(error, OSError) and error.strerror) or "no such file"
        is_large = isinstance(error, OSError) and error.errno == errno.EFBIG
        remedy = "Save the image as a smaller file, such as a JPEG." if is_large else "Check the path of the image."
        raise InvalidRequestError(f"{file} cannot be read: {why}.", remedy=remedy) from None


def read_mask(path: str | os.PathLike[str], *, marks: str = "white") -> InputImage:
    """A mask file as an input of a request.

    Args:
        path: The file.
        marks: What marks the part to be changed. ``white``: the transparent part, or without transparency the white
            one. ``black``: the black part, as in Invoke's masks; transparency does not count. Any other colour, by its
            name or as ``#rrggbb``: the pixels that have it, about.

    Raises:
        InvalidRequestError: The file cannot be read, there is no such colour, or the file marks nothing or everything.
    """
    # Pillow takes a while to load, and few requests have a mask.
    from ..images.errors import ImageError
    from ..images.painted_masks import mask_from_color

    file = read_image(path)
    try:
        data = mask_from_color(file.data, marks)
    except ImageError as error:
        raise InvalidRequestError(f"{path}: {error}", remedy=error.remedy or "Use a different mask file.") from None
    return InputImage(data, file.name, marks=None if marks == "white" else marks, original_sha256=file.sha256)


def save_image(image: GeneratedImage, path: str | os.PathLike[str], overwrite: bool) -> None:
    """Write an image with its settings; see ``GeneratedImage.save``."""
    from ..images.metadata_files import place

    file = Path(checked_path(path))
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
