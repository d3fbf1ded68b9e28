"""Locks on open files, between processes: the one place that knows how the systems differ.

A lock ends with its process, however that ends. Windows was not tried.
"""

from __future__ import annotations

import os
import sys

__all__ = ["try_lock"]

_FAR = 1 << 40
"""On Windows a locked byte cannot be read by anybody else, so the one that is locked lies behind all content."""


if sys.platform == "win32":
    import msvcrt

    def try_lock(descriptor: int) -> bool:
        """Take the exclusive lock of an open file, without waiting; False if somebody holds it.

        It is held until the descriptor is closed.

        Raises:
            OSError: The file system has no locks.
        """
        here = os.lseek(descriptor, 0, os.SEEK_CUR)
        os.lseek(descriptor, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        finally:
            os.lseek(descriptor, here, os.SEEK_SET)
        return True

else:
    import fcntl

    def try_lock(descriptor: int) -> bool:
        """Take the exclusive lock of an open file, without waiting; False if somebody holds it.

        It is held until the descriptor is closed.

        Raises:
            OSError: The file system has no locks.
        """
        # Of this open file, not of the process: whoever else opens it in this process finds it locked as well.
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
