"""Reads files that anybody may have put in place: regular files only, up to a size."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

__all__ = ["read_regular_file"]


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
