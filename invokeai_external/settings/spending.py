"""Where the spending record is, and the limits as the file has them now."""

from __future__ import annotations

import os
from pathlib import Path

from ..root_folder import USER_FILE
from ..spending.limits import Budgets
from .paths import path_in
from .root import own_folder
from .settings import Settings
from .user_file import read_user_file
from .yaml_file import state_of

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

    Args:
        settings: The settings as they were read. They count only as long as there is no file: nobody knows how long ago
            that was, and what was written since then must hold.
    """

    def __init__(self, settings: Settings) -> None:
        self._path = settings.root / USER_FILE
        self._budgets = settings.budgets
        self._seen: tuple[int, int] | None = None

    def __call__(self) -> Budgets:
        """The limits now.

        Raises:
            SettingsError: The file has changed and is broken.
        """
        state = state_of(self._path)
        if state != self._seen:
            self._budgets = read_user_file(self._path).budgets
            self._seen = state
        return self._budgets
