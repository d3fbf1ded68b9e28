"""What a file holds now, for a program that runs for long: it is read again when it has changed, and is saved."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from .yaml_file import state_of

__all__ = ["LiveFile", "wait_for_saving"]

_Content = TypeVar("_Content")

_SAVING_S = 0.2
"""How long a changed file must stay the same before it counts. Editors may empty or remove a file before they write it,
which would be valid: no limit would hold, and Invoke's installed models of the user's own providers would be deleted.
"""


_NEVER = (-1, -1)
"""The state that no file has."""


def wait_for_saving() -> None:
    """Wait as long as a program may take to save a file."""
    time.sleep(_SAVING_S)


class LiveFile(Generic[_Content]):
    """The content of a file, read again when the file has changed. May be used from any thread.

    Args:
        path: The file.
        read: Reads it, also if it is missing.
        pause: Waits as long as a program may take to save it.
    """

    def __init__(
        self, path: Path, read: Callable[[], _Content], *, pause: Callable[[], None] = wait_for_saving
    ) -> None:
        self._path, self._read, self._pause = path, read, pause
        self._lock = threading.Lock()
        self._known: tuple[_Content, tuple[int, int] | None] | None = None
        self._broken: tuple[int, int] | None = _NEVER

    def unchanged(self) -> _Content | None:
        """The content if the file is as it was when it was read, without a wait; None if it has to be read."""
        known = self._known
        return known[0] if known and state_of(self._path) == known[1] else None

    def __call__(self) -> _Content:
        """The content now: the same object until the file changes. While the file is being saved, it is as before.

        Raises what ``read`` raises, until the file can be read again.
        """
        with self._lock:
            state = state_of(self._path)
            if self._known is None:
                self._known = self._read(), state
            content, seen = self._known
            if state == seen:
                return content
            if state != self._broken:
                self._pause()
            try:
                found = self._read()
            except Exception:
                if state_of(self._path) == state:
                    self._broken = state
                    raise
                return content
            if state_of(self._path) != state:
                return content
            self._known = found, state
            return found
