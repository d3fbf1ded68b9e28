"""Saves paid images as files when Invoke's gallery cannot save them."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ...images import metadata_files
from ...images.formats.containers import EXTENSIONS
from ...regular_files import new_file
from ...result import GeneratedImage
from ...root_folder import RESCUED_FOLDER
from ...untrusted_text import fit_to_show

__all__ = ["FallbackFolder", "FallbackResult", "count_images", "place_of", "reason_of", "root_cause"]

_USER_ID = re.compile(r"[A-Za-z0-9][\w-]{0,200}", re.ASCII)
"""Invoke gives a user a UUID. Nothing else becomes the name of a folder."""


@dataclass(frozen=True)
class FallbackResult:
    """What happened to images that were saved as files.

    Attributes:
        root: Invoke's root folder.
        files: The files that were written, in Invoke's root folder or in the system's temporary folder.
        not_written: How many images could not be written anywhere.
        entry: Where all of them still are; None if those that were not written are lost.
    """

    root: Path
    files: tuple[Path, ...]
    not_written: int
    entry: Path | None

    @property
    def message(self) -> str:
        """Where the files are, relative to the root where they are in it, and how many images are lost."""
        names = ", ".join(place_of(file, self.root) for file in self.files)
        sentences = []
        if self.files:
            what = "it was" if len(self.files) == 1 else "they were"
            sentences.append(f"Instead, {what} saved on the computer that runs Invoke: {names}.")
        if self.not_written:
            which = f"{self.not_written} of {len(self.files) + self.not_written}"
            end = f"else and stays in {place_of(self.entry, self.root)}" if self.entry else "and is lost"
            sentences.append(f"{which} could not be saved anywhere {end}. Free some disk space.")
        return " ".join(sentences)


class FallbackFolder:
    """The folder for images that the gallery could not save.

    Args:
        root: Invoke's root folder.
        owner: The id of the user who has paid for them, which is then the name of a folder in it; None if Invoke has a
            single user.

    Attributes:
        root: Invoke's root folder.
    """

    def __init__(self, root: Path, owner: str | None = None) -> None:
        self.root = root
        self._folder = _folder_of(root, owner)

    def save(self, images: Sequence[GeneratedImage], entry: Path | None) -> FallbackResult:
        """Write images with their metadata to the folder in the root, or else to the system's temporary folder.

        Args:
            images: The images.
            entry: Where they still are, in the result cache; None if they are only in memory.
        """
        files = tuple(file for image in images if (file := self._save_one(image)))
        return FallbackResult(self.root, files, len(images) - len(files), entry)

    def _save_one(self, image: GeneratedImage) -> Path | None:
        placed = metadata_files.place(image.data, image.metadata)
        # The temporary folder is looked up only when it is needed: it raises if no folder is writable.
        for is_in_root in (True, False):
            try:
                folder = self._folder if is_in_root else Path(tempfile.gettempdir())
                if is_in_root:
                    # Not the root itself: without it, there is no Invoke.
                    (self.root / RESCUED_FOLDER).mkdir(exist_ok=True)
                    folder.mkdir(exist_ok=True)
                # Only its owner can read it, since an Invoke may have several users.
                suffix = f".{EXTENSIONS[image.mime_type]}"
                path = new_file(folder, placed.parts, prefix="picture-", suffix=suffix)
            except OSError:
                continue
            _write_sidecar(path, placed.sidecar)
            return path
        return None


def count_images(root: Path, owner: str | None = None) -> int:
    """How many images are in the folder: those of one user, or all of them.

    Args:
        root: Invoke's root folder.
        owner: The id of the user; None for all, also for those without an owner.
    """
    folder = _folder_of(root, owner)
    if owner is not None and folder == _folder_of(root, None):
        return 0
    files = folder.glob("*") if owner is not None else (*folder.glob("*"), *folder.glob("*/*"))
    return sum(path.suffix != ".json" for path in files if path.is_file())


def _folder_of(root: Path, owner: str | None) -> Path:
    """Where the images of a user are; without an id, where those without an owner are."""
    folder = root / RESCUED_FOLDER
    return folder / owner if owner is not None and _USER_ID.fullmatch(owner) else folder


def place_of(path: Path, root: Path) -> str:
    """A file or folder as users read it, relative to Invoke's root folder if it is there."""
    return f"{path.relative_to(root)} (in Invoke's root folder)" if path.is_relative_to(root) else str(path)


def root_cause(error: BaseException) -> BaseException:
    """The first error of a chain. Invoke's own, which is the last, only says that it could not save."""
    return root_cause(error.__cause__) if error.__cause__ else error


def reason_of(error: BaseException) -> str:
    """Why something could not be saved: the operating system's message if there is one."""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return fit_to_show(text).rstrip(".")


def _write_sidecar(path: Path, sidecar: bytes | None) -> None:
    """Write the metadata of a signed image beside it. The image counts as saved even if that fails."""
    if sidecar is not None:
        beside = path.with_name(f"{path.name}.json")
        with suppress(OSError):
            beside.touch(mode=0o600, exist_ok=False)
            beside.write_bytes(sidecar)
