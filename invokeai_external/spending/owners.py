"""Which programs with calls in progress are still running: each holds the lock of its file."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from ..locks import try_lock

__all__ = ["Owner", "is_running"]


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
        folder.mkdir(mode=0o700, exist_ok=True)
        self.name = secrets.token_hex(8)
        self._path = folder / self.name
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        self._handle = os.open(self._path, flags, 0o600)
        # Where the file system has no locks, it counts as running as long as the file is there.
        with suppress(OSError):
            try_lock(self._handle)

    def close(self) -> None:
        """End it; what is still in progress then may have been charged."""
        os.close(self._handle)
        with suppress(OSError):
            self._path.unlink()


def is_running(folder: Path, name: str) -> bool:
    """True if the program with this name is running. The file of one that is not is deleted."""
    path = folder / name
    try:
        handle = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0))
    except OSError:
        return False
    try:
        if not try_lock(handle):
            return True
        path.unlink()
    except OSError:
        return True
    finally:
        os.close(handle)
    return False
