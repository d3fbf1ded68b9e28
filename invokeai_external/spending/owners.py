"""Which programs with calls in progress are still running: each holds the lock of its file."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ..locks import try_lock

__all__ = ["Owner", "ended_owners", "is_running", "owners_folder", "owners_here", "remove_if_ended"]

_FLAGS = os.O_RDWR | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)

_NAME = re.compile(r"[0-9a-f]{16}")
"""The record may hold anything as the name of a program, also a path of other files."""

_names_here = set[str]()


def owners_here() -> frozenset[str]:
    """The names in the records that this program has: one for each record that it uses."""
    return frozenset(_names_here)


def owners_folder(record: Path) -> Path:
    """The folder of the files, beside the record."""
    return record.with_name(f"{record.name}-owners")


class Owner:
    """A running program, until ``close`` or its end, however it ends.

    Args:
        folder: The folder of the files, which is made if it is not there.

    Attributes:
        name: Its name in the record.

    Raises:
        OSError: The file cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        handle = None
        while handle is None:
            self.name = secrets.token_hex(8)
            self._path = folder / self.name
            # Before the lock was taken, another program may have taken it for one that has ended.
            handle = _taken(self._path, os.O_EXCL)
        self._handle = handle
        _names_here.add(self.name)

    def hold(self) -> None:
        """Make the file again if somebody has deleted it, or else other programs take this one for one that has ended.

        Never raises: if the file cannot be made, the next call tries again.
        """
        with suppress(OSError):
            if not _is_still_there(self._handle, self._path) and (handle := _taken(self._path)) is not None:
                os.close(self._handle)
                self._handle = handle

    def close(self) -> None:
        """End it; what is still in progress then may have been charged."""
        _names_here.discard(self.name)
        os.close(self._handle)
        _unlink(self._path)


def is_running(folder: Path, name: str) -> bool:
    """True if the program with this name is running; no program has a name that ``Owner`` does not make."""
    if not _NAME.fullmatch(name):
        return False
    try:
        handle = os.open(folder / name, _FLAGS)
    except OSError:
        return False
    try:
        return not try_lock(handle)
    except OSError:
        # The file system has no locks.
        return True
    finally:
        os.close(handle)


def ended_owners(folder: Path) -> Iterator[str]:
    """The names of the programs that have ended and left their files, as they do if they are killed."""
    for path in folder.glob("[0-9a-f]" * 16):
        if path.is_file() and not is_running(folder, path.name):
            yield path.name


def remove_if_ended(folder: Path, name: str) -> None:
    """Delete the file of a program that has ended."""
    if not _NAME.fullmatch(name):
        return
    path = folder / name
    try:
        handle = os.open(path, _FLAGS)
    except OSError:
        return
    try:
        if not _is_locked_now(handle):
            return
        # Under the lock, so that it is not that of a program which is about to take it.
        if os.name == "posix":
            _unlink(path)
    finally:
        os.close(handle)
    # Windows deletes no open file.
    _unlink(path)


def _taken(path: Path, more_flags: int = 0) -> int | None:
    """The file with its lock, in its folder, both of which are made if they are not there; None if others have it."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    handle = os.open(path, _FLAGS | os.O_CREAT | more_flags, 0o600)
    if _is_locked_now(handle) and _is_still_there(handle, path):
        return handle
    os.close(handle)
    return None


def _unlink(path: Path) -> None:
    """Delete a file, unless another program was faster or the folder does not allow it."""
    with suppress(OSError):
        path.unlink()


def _is_locked_now(handle: int) -> bool:
    """Take the lock; where the file system has no locks, it counts as taken as long as the file is there."""
    try:
        return try_lock(handle)
    except OSError:
        return True


def _is_still_there(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
