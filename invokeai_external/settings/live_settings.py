"""The settings of a root folder as its file has them now, for a program that runs for long."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import SettingsError
from ..providers.registry import Registry
from ..root_folder import USER_FILE
from .live_file import LiveFile, wait_for_saving
from .settings import Settings, load_user_file

__all__ = ["LiveSettings"]


@dataclass(frozen=True, slots=True)
class _Read:
    """What a read of the file gave: the settings that count now, and what is wrong with the file if it is broken."""

    settings: Settings
    problem: SettingsError | None = None


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
        pause: Callable[[], None] = wait_for_saving,
    ) -> None:
        self._root, self._changed, self._report = root, changed, report
        self._lock = threading.Lock()
        self._file = LiveFile(root / USER_FILE, self._read, pause=pause)
        self._last: _Read | None = None

    def __call__(self) -> Settings:
        """The settings now: the same object until they change. While the file is being saved, they are as before.

        Raises:
            SettingsError: The file is broken, and never was valid.
        """
        with self._lock:
            before = self._last
            now = self._last = self._file()
        if before and now is not before:
            if now.problem:
                self._report(now.problem)
            elif now.settings is not before.settings:
                self._changed()
        return now.settings

    def _read(self) -> _Read:
        before = self._last.settings if self._last else None
        try:
            found = _read(self._root)
        except SettingsError as error:
            if before is None:
                raise
            return _Read(before, error)
        return _Read(before if before and _are_equal(before, found) else found)


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
