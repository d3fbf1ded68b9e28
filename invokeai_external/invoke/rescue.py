"""What becomes of a picture that was paid for and that Invoke's gallery does not take: it is kept as a file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .. import images, metadata
from ..errors import ExternalError
from ..request import GeneratedImage

__all__ = ["FOLDER", "NotSavedError", "keep_elsewhere", "reason_of"]

FOLDER = "invokeai_external_rescued"
"""The folder in Invoke's root, made when it is needed."""


class NotSavedError(ExternalError):
    """A picture could not be saved in Invoke's gallery."""

    code = "not_saved"


def reason_of(error: BaseException) -> str:
    """Why Invoke could not save, in the words of the system if it has some; Invoke's own error says only that."""
    while error.__cause__:
        error = error.__cause__
    words = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return words.strip().rstrip(".").replace("\n", " ")


def keep_elsewhere(pictures: Sequence[GeneratedImage], root: Path) -> str:
    """Write pictures with their settings into the folder of lost pictures, or else into the system's temporary one.

    Returns:
        A sentence that says where they are, relative to the root where they lie in it, and how many are lost.
    """
    kept = [path for picture in pictures if (path := _kept(picture, root))]
    lost = len(pictures) - len(kept)
    told = []
    if kept:
        names = ", ".join(str(path.relative_to(root) if path.is_relative_to(root) else path) for path in kept)
        told.append(f"What came is kept on the computer that runs Invoke: {names} (below Invoke's root folder).")
    if lost:
        told.append(f"No other folder took it either, so that {lost} of {len(pictures)} is lost: make room first.")
    return " ".join(told)


def _kept(picture: GeneratedImage, root: Path) -> Path | None:
    try:
        data = metadata.embed(picture.data, picture.metadata)
    except images.ImageError:
        data = picture.data
    for folder in (root / FOLDER, Path(tempfile.gettempdir())):
        try:
            folder.mkdir(exist_ok=True)
            return _written(folder, data, picture.mime_type.removeprefix("image/"))
        except OSError:
            continue
    return None


def _written(folder: Path, data: bytes, extension: str) -> Path:
    """A new file, readable by its owner alone, since an Invoke may have several users; whole or not there."""
    handle, name = tempfile.mkstemp(prefix="picture-", suffix=f".{extension}", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
    return Path(name)
