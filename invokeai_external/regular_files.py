"""Reads regular files up to a size, and writes new files in one step, never over another file."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import InvalidRequestError

__all__ = [
    "checked_path",
    "make_readable",
    "new_file",
    "read_regular_file",
    "take_name",
    "take_names",
    "temporary_file",
]


def checked_path(path: object) -> str:
    """A path as text; raises InvalidRequestError for what is not a path."""
    try:
        return os.fsdecode(path)  # type: ignore[arg-type]
    except TypeError:
        raise InvalidRequestError(
            f"A path must be text or a Path, not {type(path).__name__}.", remedy='Write it like: "images/fox.png"'
        ) from None


def read_regular_file(path: Path, most_bytes: int) -> bytes:
    """The bytes of a file; raises OSError if it is a device, a pipe or a folder, or holds more bytes than that."""
    _check_regular(path.stat().st_mode)
    # A pipe may have taken its place by now, and nobody may ever write to it: do not wait for that.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(handle)
        _check_regular(found.st_mode)
        # The size is only a hint: the file may grow while it is read.
        data = b"" if found.st_size > most_bytes else file.read(most_bytes + 1)
    if found.st_size > most_bytes or len(data) > most_bytes:
        raise OSError(errno.EFBIG, f"it is larger than {most_bytes:,} bytes")
    return data


def _check_regular(mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is not a regular file")


@contextmanager
def temporary_file(folder: Path, parts: Iterable[bytes | memoryview], *, prefix: str = ".saving-") -> Iterator[Path]:
    """A new file as ``new_file`` makes it, which the block can rename; its temporary name is gone after the block."""
    path = new_file(folder, parts, prefix=prefix)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def new_file(folder: Path, parts: Iterable[bytes | memoryview], *, prefix: str, suffix: str = "") -> Path:
    """Write a new file under a name that is free, between a prefix and a suffix; if that fails, there is no file.

    Only its owner can read it (mode 0600), from before anything is in it.
    """
    handle, name = tempfile.mkstemp(dir=folder, prefix=prefix, suffix=suffix)
    path = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines(parts)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


def make_readable(path: Path) -> None:
    """Give a file the mode of any new file; a temporary one is readable by its owner only."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)


def take_name(temporary: Path, path: Path) -> None:
    """Give a complete file its name in one step; raises FileExistsError, without a change, if the name is taken.

    A hard link takes a name only if it is free, and a killed process leaves no empty file behind.
    """
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:
        # Some file systems have no links: take the name with an empty file, then replace that by the complete one.
        path.open("xb").close()
        try:
            temporary.replace(path)
        except BaseException:
            path.unlink(missing_ok=True)
            raise


def take_names(names: Iterable[tuple[Path, Path]]) -> None:
    """Give several complete files, each with its temporary name first, their names; raises like ``take_name``.

    If one name is taken, the others are given back, and nothing has changed.
    """
    taken: list[tuple[Path, Path]] = []
    try:
        for temporary, path in names:
            take_name(temporary, path)
            taken.append((temporary, path))
    except BaseException:
        for temporary, path in taken:
            _give_back_name(path, temporary)
        raise


def _give_back_name(path: Path, temporary: Path) -> None:
    """Undo ``take_name``."""
    if temporary.exists():
        path.unlink()
    else:
        path.rename(temporary)
