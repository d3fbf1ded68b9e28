"""Image files: read safely, named by date, model and prompt, written in one step and never over another file."""

from __future__ import annotations

import contextlib
import datetime
import errno
import itertools
import re
import tempfile
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import InvalidRequestError, NotSavedError
from ..images import metadata_files
from ..images.formats.containers import EXTENSIONS
from ..progress import Preview
from ..regular_files import make_readable, read_regular_file, take_name, take_names, temporary_file
from ..request import MetadataMode
from ..result import GeneratedImage, Notice

__all__ = [
    "LARGEST_IMAGE",
    "LARGEST_SIDECAR",
    "CopyFolder",
    "ImageFolder",
    "PreviewFolder",
    "SavedImage",
    "read_sidecar",
    "sidecar_of",
]

_LONGEST_SLUG = 48

LARGEST_IMAGE = 500_000_000
"""In bytes, of an image that is read again."""

LARGEST_SIDECAR = 16_000_000
"""In bytes. Settings take a few kB; with the longest prompts and texts, a few hundred."""

_LONGEST_STEM = 118
"""In bytes. With a number, the extension and ``.json``, a name has at most 143, which is the limit of eCryptfs; other
file systems allow 255. No name in Latin letters is that long."""


@dataclass(frozen=True, slots=True)
class SavedImage:
    """An image and its file.

    Attributes:
        image: The image.
        path: Its file.
        bytes: The file's size.
        metadata_path: The file beside it that holds its settings, if there is one.
        notices: What the user should know about how it was saved.
    """

    image: GeneratedImage
    path: Path
    bytes: int
    metadata_path: Path | None = None
    notices: tuple[Notice, ...] = ()


class ImageFolder:
    """A folder to save images in.

    Args:
        folder: The folder; created if it does not exist.
        mode: Where to save the settings of an image.

    Raises:
        InvalidRequestError: It cannot be created or written to. This is checked before anything is sent.
    """

    def __init__(self, folder: Path, mode: MetadataMode = "auto") -> None:
        self._folder = _writable(folder, "--out")
        self._mode = mode

    def save(self, image: GeneratedImage) -> SavedImage:
        """Save an image with its metadata; in the system's temporary folder if this one has failed meanwhile.

        Raises:
            NotSavedError: Both failed.
        """
        placed = metadata_files.place(image.data, image.metadata, self._mode)
        try:
            return _saved(image, placed, self._folder)
        except OSError as error:
            why = f"{self._folder} could not be written ({error.strerror})"
            what_to_do = _what_to_do(error)
        spare: Path | str = "the system's temporary folder"
        try:
            # On a full disk, even this can fail.
            spare = Path(tempfile.gettempdir())
            saved = _saved(image, placed, spare, is_shared=True)
        except OSError as error:
            raise NotSavedError(
                f"An image arrived and is lost: {why}, and neither could {spare} ({error.strerror}).",
                remedy=f"{what_to_do} before you try again.",
            ) from None
        elsewhere = Notice("saved_elsewhere", f"{why}: an image was saved as {saved.path} instead.")
        return replace(saved, notices=(*saved.notices, elsewhere))


def _what_to_do(error: OSError) -> str:
    """What to do about an image that could not be written, as the start of a sentence."""
    if error.errno == errno.EFBIG:
        return "Allow larger files (ulimit -f)"
    return "Free some disk space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "Choose another folder with --out"


def _saved(
    image: GeneratedImage, placed: metadata_files.Placed, folder: Path, *, is_shared: bool = False
) -> SavedImage:
    """Write an image and its settings into a folder, or only the image if the settings cannot be written.

    In a shared folder, which all users of the machine can read, only the owner can read the files.
    """
    name, notices = _file_name(image), (placed.notice,) if placed.notice else ()
    size = sum(map(len, placed.parts))
    if placed.sidecar is not None:
        try:
            path, beside = _write_pair(folder, name, placed.parts, placed.sidecar, is_shared=is_shared)
            return SavedImage(image, path, size, beside, notices)
        except OSError as error:
            why = f"it could not be written beside it ({error.strerror})"
            notices = (metadata_files.no_metadata(f"{why}."),)
    return SavedImage(image, _write_new(folder, name, placed.parts, is_shared=is_shared), size, None, notices)


class CopyFolder:
    """A folder to save copies of images in; raises what ``ImageFolder`` raises."""

    def __init__(self, folder: Path) -> None:
        self._folder = _writable(folder, "--out")

    def save(self, name: str, data: bytes) -> Path:
        """Save a copy, with a number if the name is taken; raises InvalidRequestError if it cannot be written."""
        try:
            return _write_new(self._folder, name, [data], is_shared=False)
        except OSError as error:
            raise InvalidRequestError(
                f"{self._folder} cannot be written: {error.strerror}.", remedy=f"{_what_to_do(error)}."
            ) from None


class PreviewFolder:
    """A folder to save previews in; raises what ``ImageFolder`` raises."""

    def __init__(self, folder: Path) -> None:
        self._folder = _writable(folder, "--previews")

    def keep(self, preview: Preview) -> None:
        """Write ``call-1-preview-2.png`` and the like. A failure is ignored: the image itself must not suffer."""
        name = f"call-{preview.call}-preview-{preview.index}.{EXTENSIONS[preview.mime_type]}"
        with contextlib.suppress(OSError):
            _write_new(self._folder, name, [preview.data], is_shared=False)


def _writable(folder: Path, flag: str) -> Path:
    """The folder, created if it does not exist and checked; raises InvalidRequestError, which names its option."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        why = "it is a file" if isinstance(error, FileExistsError) else error.strerror
        raise InvalidRequestError(
            f"Images cannot be saved in {folder}: {why}.", remedy=f"Specify another folder with {flag}."
        ) from None
    return folder


def _file_name(image: GeneratedImage) -> str:
    """A name such as ``2026-11-23-gpt-image-2-a-red-fox.png``, from the day, the model and the prompt."""
    external = image.metadata["external"]
    assert isinstance(external, dict)
    day = datetime.datetime.now().date().isoformat()
    stem = "-".join(
        part for part in (day, _slug(str(external["model"])), _slug(str(image.metadata["positive_prompt"]))) if part
    )
    return f"{_cut(stem, _LONGEST_STEM)}.{EXTENSIONS[image.mime_type]}"


def _slug(text: str) -> str:
    """Letters, digits and dots of any script in lower case, with dashes between them."""
    plain = unicodedata.normalize("NFKC", text).lower()
    return re.sub(r"[^\w.]+|_", "-", plain)[:_LONGEST_SLUG].strip("-.")


def _cut(stem: str, most: int) -> str:
    """A name without its extension, cut between two characters to a number of bytes."""
    return stem.encode()[:most].decode(errors="ignore").rstrip("-.")


def _write_new(folder: Path, name: str, parts: Sequence[bytes | memoryview], *, is_shared: bool) -> Path:
    """Write a new file in one step; a number is added to a name that is taken."""
    with temporary_file(folder, parts) as temporary:
        if not is_shared:
            make_readable(temporary)
        for path in _names(folder, name):
            with contextlib.suppress(FileExistsError):
                take_name(temporary, path)
                return path
    raise AssertionError("there is always another name")


def _write_pair(
    folder: Path, name: str, parts: Sequence[bytes | memoryview], sidecar: bytes, *, is_shared: bool
) -> tuple[Path, Path]:
    """Write an image, and ``NAME.EXT.json`` beside it, under a name that is free for both.

    The sidecar holds the prompt, so only its owner can read it: it keeps mode 0600 of its temporary file.
    """
    with temporary_file(folder, parts) as image, temporary_file(folder, [sidecar]) as beside:
        if not is_shared:
            make_readable(image)
        for path in _names(folder, name):
            sidecar_path = sidecar_of(path)
            with contextlib.suppress(FileExistsError):
                take_names([(image, path), (beside, sidecar_path)])
                return path, sidecar_path
    raise AssertionError("there is always another name")


def sidecar_of(path: Path) -> Path:
    """The file for settings that are not in the image: ``NAME.EXT.json`` beside it."""
    return path.with_name(f"{path.name}.json")


def read_sidecar(path: Path) -> metadata_files.Sidecar | None:
    """The settings in a file; None if it does not exist, cannot be read, or holds something else."""
    with contextlib.suppress(OSError):
        return metadata_files.read_sidecar(read_regular_file(path, LARGEST_SIDECAR))
    return None


def _names(folder: Path, name: str) -> Iterator[Path]:
    """The paths to try for a name, in order; from the second on with a number."""
    stem, _, extension = name.rpartition(".")
    for number in itertools.count(1):
        yield folder / (name if number == 1 else f"{stem}-{number}.{extension}")
