"""Locks and permissions of files, which differ between systems. Not tested on Windows."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

__all__ = ["LockBusyError", "locked", "others_can_read", "try_lock"]

_LOCK_WAIT_S = 10.0
"""How long ``locked`` waits. The holder of such a lock writes one small file."""

_POLL_S = 0.02

_TAKEN = {errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK, errno.EDEADLK}
"""The errors for a lock that somebody else holds."""

_LOCKED_BYTE = 1 << 30
"""Windows locks bytes against reading too, so this one is beyond the end of every file that is locked. It is below
2 GB, which is as far as ``locking`` counts."""


class LockBusyError(Exception):
    """Another process held the lock for too long."""


class _System(Protocol):
    """Takes a lock, which holds until the file is closed; raises OSError, one of ``_TAKEN`` if somebody else has it."""

    def lock(self, handle: int) -> None: ...


class Posix:
    """``flock``: the lock belongs to the open file, not to the process, and also keeps threads apart."""

    def __init__(self, fcntl: Any) -> None:
        self._fcntl = fcntl

    def lock(self, handle: int) -> None:
        self._fcntl.flock(handle, self._fcntl.LOCK_EX | self._fcntl.LOCK_NB)


class Windows:
    """``msvcrt.locking``: one byte of the file, counted from where the file stands."""

    def __init__(self, msvcrt: Any) -> None:
        self._msvcrt = msvcrt

    def lock(self, handle: int) -> None:
        place = os.lseek(handle, 0, os.SEEK_CUR)
        os.lseek(handle, _LOCKED_BYTE, os.SEEK_SET)
        try:
            self._msvcrt.locking(handle, self._msvcrt.LK_NBLCK, 1)
        finally:
            os.lseek(handle, place, os.SEEK_SET)


def _this_system() -> _System:
    try:
        import fcntl
    except ImportError:
        import msvcrt

        return Windows(msvcrt)
    return Posix(fcntl)


def try_lock(handle: int, *, system: _System | None = None) -> bool:
    """Take the lock of an open file exclusively, until the file is closed or the process ends, however it ends.

    Args:
        handle: The file descriptor, open for writing.
        system: How to take locks; the way of this system by default.

    Returns:
        False if the file is locked by whoever else has it open, in this process or in another.

    Raises:
        OSError: The file system has no locks.
    """
    try:
        (system or _this_system()).lock(handle)
    except OSError as error:
        if error.errno in _TAKEN:
            return False
        raise
    return True


@contextmanager
def locked(
    path: Path,
    *,
    wait_s: float = _LOCK_WAIT_S,
    system: _System | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[None]:
    """Hold the lock of an empty file (mode 0600), which is made if it is not there and stays.

    On a file system that has no locks, nothing is locked.

    Args:
        path: The file. It must be one that nobody replaces, so not the one that is written under the lock.
        wait_s: How long to wait for whoever holds it.
        system: See ``try_lock``.
        clock: Seconds that never run backwards.
        sleep: Waits for so many seconds.

    Raises:
        LockBusyError: It was held all the time.
        OSError: The file cannot be made.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0), 0o600)
    try:
        deadline = clock() + wait_s
        while not _locked_or_lockless(handle, system):
            if clock() >= deadline:
                raise LockBusyError(str(path))
            sleep(_POLL_S)
        yield
    finally:
        # This also gives the lock back.
        os.close(handle)


def _locked_or_lockless(handle: int, system: _System | None) -> bool:
    try:
        return try_lock(handle, system=system)
    except OSError:
        return True


def others_can_read(path: Path) -> bool:
    """True if anybody but a file's owner can read or write it; False where the system has no such modes.

    Raises:
        OSError: The file is not there.
    """
    return os.name == "posix" and bool(stat.S_IMODE(path.stat().st_mode) & 0o077)
