"""The settings of a root folder as its file has them now, for a program that runs for long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from ..errors import SettingsError
from ..providers.registry import Registry
from ..root_folder import USER_FILE
from .settings import Settings, load_user_file
from .yaml_file import state_of

__all__ = ["LiveSettings"]

_SAVING_S = 0.2
"""How long a changed file must stay the same before it counts. Editors may empty or remove a file before they write it,
which would be valid, and Invoke's installed models of the user's own providers would be deleted.
"""


def _wait_for_saving() -> None:
    time.sleep(_SAVING_S)


class LiveSettings:
    """What ``invokeai_external.yaml`` holds, read again when the file has changed. May be used from any thread.

    Args:
        root: The folder of the file.
        changed: Called after the settings have changed.
        report: Called with the error of a file that was changed and is broken, once for each change: the settings stay
            as they were.
        pause: Waits as long as a program may take to save the file.
    """

    def __init__(
        self,
        root: Path,
        changed: Callable[[], None],
        report: Callable[[SettingsError], None],
        *,
        pause: Callable[[], None] = _wait_for_saving,
    ) -> None:
        self._root, self._changed, self._report, self._pause = root, changed, report, pause
        self._lock = threading.Lock()
        self._settings: Settings | None = None
        self._seen: tuple[int, int] | None = None

    def __call__(self) -> Settings:
        """The settings now: the same object until they change. While the file is being saved, they are as before.

        Raises:
            SettingsError: The file is broken, and never was valid.
        """
        with self._lock:
            before, state = self._settings, state_of(self._root / USER_FILE)
            if before and state == self._seen:
                return before
            if before:
                self._pause()
            problem = None
            try:
                found = _read(self._root)
            except SettingsError as error:
                if before is None:
                    raise
                found, problem = before, error
            if before and state_of(self._root / USER_FILE) != state:
                return before
            if before is None or not _are_equal(before, found):
                self._settings = found
            self._seen = state
            now = self._settings or found
        if problem:
            self._report(problem)
        elif before and now is not before:
            self._changed()
        return now


def _read(root: Path) -> Settings:
    found = load_user_file(root)
    # It validates the models.
    Registry(found.catalog)
    return found


def _are_equal(one: Settings, other: Settings) -> bool:
    """True if everything but the limits on what is spent is equal, which are followed where they are checked."""
    first, second = (
        (found.limits, found.providers, found.sandbox, found.catalog.providers, found.catalog.models)
        for found in (one, other)
    )
    return first == second
