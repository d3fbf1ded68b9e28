"""What becomes of a picture that was paid for and that Invoke's gallery does not take: it is kept as a file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ...errors import ExternalError
from ...images import metadata
from ...result import GeneratedImage
from ...root_files import RESCUED_FOLDER

__all__ = ["NotSavedError", "Rescued", "cause_of", "keep_elsewhere", "reason_of"]


class NotSavedError(ExternalError):
    """A picture could not be saved in Invoke's gallery."""

    code = "not_saved"


class Rescued(NamedTuple):
    """What became of images that were kept elsewhere.

    Attributes:
        told: A sentence that says where they are, relative to the root where they lie in it, and how many are lost.
        lost: How many no folder took.
    """

    told: str
    lost: int


def cause_of(error: BaseException) -> BaseException:
    """The first error of a chain; Invoke's own, which is the last, says only that it could not save."""
    return cause_of(error.__cause__) if error.__cause__ else error


def reason_of(error: BaseException) -> str:
    """Why something could not be saved, in the words of the system if it has some."""
    words = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return words.strip().rstrip(".").replace("\n", " ")


def keep_elsewhere(pictures: Sequence[GeneratedImage], root: Path) -> Rescued:
    """Write pictures with their settings into the folder of lost pictures, or else into the system's temporary one."""
    kept = [path for picture in pictures if (path := _kept(picture, root))]
    lost = len(pictures) - len(kept)
    told = []
    if kept:
        inside = [path.relative_to(root) for path in kept if path.is_relative_to(root)]
        outside = [path for path in kept if not path.is_relative_to(root)]
        names = ", ".join(
            [*(f"{path} (below Invoke's root folder)" for path in inside), *(str(path) for path in outside)]
        )
        told.append(f"What came is kept on the computer that runs Invoke: {names}.")
    if lost:
        told.append(f"No other folder took it either, so that {lost} of {len(pictures)} is lost: make room first.")
    return Rescued(" ".join(told), lost)


def _kept(picture: GeneratedImage, root: Path) -> Path | None:
    placed = metadata.place(picture.data, picture.metadata)
    # The second is looked for only when it is needed: where no folder can be written to there is none.
    for inside in (True, False):
        try:
            folder = root / RESCUED_FOLDER if inside else Path(tempfile.gettempdir())
            folder.mkdir(exist_ok=True)
            path = _written(folder, placed.parts, picture.mime_type.removeprefix("image/"))
            _write_sidecar(path, placed.sidecar)
            return path
        except OSError:
            continue
    return None


def _write_sidecar(path: Path, sidecar: bytes | None) -> None:
    """Write the settings of a signed image beside it; if that fails, the image is there all the same."""
    if sidecar is not None:
        beside = path.with_name(f"{path.name}.json")
        with suppress(OSError):
            beside.touch(mode=0o600, exist_ok=False)
            beside.write_bytes(sidecar)


def _written(folder: Path, parts: Sequence[bytes | memoryview], extension: str) -> Path:
    """A new file, readable by its owner alone, since an Invoke may have several users; whole or not there."""
    handle, name = tempfile.mkstemp(prefix="picture-", suffix=f".{extension}", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines(parts)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
    return Path(name)
