"""Where the spending record is, and the limits as the file has them now."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from ..root_folder import USER_FILE
from ..spending.limits import Budgets
from .live_file import LiveFile, wait_for_saving
from .paths import path_in
from .root import own_folder
from .settings import Settings
from .user_file import read_user_file

__all__ = ["LiveBudgets", "lacks_folder", "record_path"]


def record_path(settings: Settings) -> Path | None:
    """The file of the spending record; None if nothing is recorded."""
    named = settings.limits.spending_record
    return None if named == "off" else path_in(settings.root, named)


def lacks_folder(record: Path) -> bool:
    """True if the folder that is to hold the record is not there, unless it is the user's own, which nobody named."""
    return not record.parent.is_dir() and record.parent.resolve() != own_folder(os.environ).resolve()


class LiveBudgets:
    """The limits of a root folder, which are read again when the file has changed: a running Invoke follows them.

    Unlike ``LiveSettings``, a broken file is an error each time: nobody knows which limits it was meant to have.

    Args:
        settings: The settings as they were read. They count only as long as there is no file: nobody knows how long ago
            that was, and what was written since then must hold.
        pause: Waits as long as a program may take to save the file.
    """

    def __init__(self, settings: Settings, *, pause: Callable[[], None] = wait_for_saving) -> None:
        self._path, self._initial = settings.root / USER_FILE, settings.budgets
        self._was_there = False
        self._budgets = LiveFile(self._path, self._read, pause=pause)

    def unchanged(self) -> Budgets | None:
        """The limits if the file is as it was when it was read, without a wait; None if it has to be read."""
        return self._budgets.unchanged()

    def __call__(self) -> Budgets:
        """The limits now. While the file is being saved, they are as before.

        Raises:
            SettingsError: The file has changed and is broken.
        """
        return self._budgets()

    def _read(self) -> Budgets:
        self._was_there = self._was_there or self._path.exists()
        return read_user_file(self._path).budgets if self._was_there else self._initial
