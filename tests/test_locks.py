"""Locks: one holder at a time, across threads' and processes' open files, and no lock that outlives its holder."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from invokeai_external import locks
from invokeai_external.locks import LockBusyError, locked, others_can_read, try_lock

from .support.clock import ThreadClock


@contextmanager
def opened(path: Path) -> Iterator[int]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield handle
    finally:
        os.close(handle)


def test_one_open_file_holds_the_lock_until_it_closes(tmp_path: Path) -> None:
    with opened(tmp_path / "lock") as second:
        with opened(tmp_path / "lock") as first:
            assert try_lock(first)
            assert not try_lock(second)
        assert try_lock(second)


@pytest.mark.slow
def test_a_killed_process_leaves_no_lock(tmp_path: Path) -> None:
    code = (
        "import os, sys; from invokeai_external.locks import try_lock\n"
        "assert try_lock(os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)); print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "lock")]
    with (
        opened(tmp_path / "lock") as handle,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder,
    ):
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert not try_lock(handle)
        holder.kill()
        holder.wait()
        assert try_lock(handle)


def test_locked_waits_and_then_says_that_it_is_busy(tmp_path: Path) -> None:
    clock = ThreadClock()
    with locked(tmp_path / "lock"):
        assert stat.S_IMODE((tmp_path / "lock").stat().st_mode) == 0o600
        with pytest.raises(LockBusyError), locked(tmp_path / "lock", wait_s=5, clock=clock, sleep=clock.sleep):
            raise AssertionError
    assert 5 <= clock.now < 6
    with locked(tmp_path / "lock", clock=clock, sleep=clock.sleep):
        pass


class Lockless:
    """A file system that has no locks."""

    def lock(self, handle: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    unlock = lock


def test_a_file_system_without_locks_is_an_error_or_goes_on_unlocked(tmp_path: Path) -> None:
    with opened(tmp_path / "file") as handle, pytest.raises(OSError, match="No locks available"):
        try_lock(handle, system=Lockless())
    with locked(tmp_path / "lock", system=Lockless()):
        pass


class Msvcrt:
    """The part of Windows' module that is used, for files of one process: locks bytes from where the file stands."""

    LK_NBLCK = 2

    def __init__(self) -> None:
        self.held: set[tuple[int, int]] = set()

    def locking(self, handle: int, mode: int, count: int) -> None:
        place = (os.fstat(handle).st_ino, os.lseek(handle, 0, os.SEEK_CUR))
        assert (mode, count) == (self.LK_NBLCK, 1)
        if place in self.held:
            raise PermissionError(errno.EACCES, "Permission denied")
        self.held.add(place)


def test_on_windows_a_byte_beyond_the_end_is_locked_and_the_file_stands_where_it_stood(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    msvcrt = Msvcrt()
    system = locks.Windows(msvcrt)
    with opened(tmp_path / "file") as first, opened(tmp_path / "file") as second:
        os.lseek(first, 3, os.SEEK_SET)
        assert try_lock(first, system=system)
        assert not try_lock(second, system=system)
        assert os.read(first, 9) == b"tent"
        assert all(place > 1 << 20 for _, place in msvcrt.held)


@pytest.mark.skipif(os.name != "posix", reason="this system has no modes of files")
@pytest.mark.parametrize(("mode", "expected"), [(0o600, False), (0o640, True), (0o604, True), (0o620, True)])
def test_others_can_read_what_its_mode_says(tmp_path: Path, mode: int, expected: bool) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "file").chmod(mode)
    assert others_can_read(tmp_path / "file") is expected
