"""What every command starts from: the root folder and its settings."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import typer

from ..providers.registry import PROVIDER_IDS
from ..service.in_flight import LeftBehind, left_behind, notices_of
from ..settings.settings import Settings, load_settings
from . import report

__all__ = ["make_own_folder", "root_folder", "say_left_behind", "settings"]

_NAME = "invokeai-external"


def root_folder(root: Path | None) -> Path:
    """The folder of the settings files: the one named, else ``INVOKEAI_ROOT``, else one of the user's own."""
    if root is not None:
        return root
    named = os.environ.get("INVOKEAI_ROOT", "").strip()
    return Path(named) if named else Path(typer.get_app_dir(_NAME))


def settings(root: Path | None) -> Settings:
    """The settings of a root folder, the providers' usual variables included; says what was left in flight there."""
    folder = root_folder(root)
    say_left_behind(folder)
    return load_settings(folder, os.environ, PROVIDER_IDS, usual_variables=True)


def say_left_behind(folder: Path) -> None:
    """Say, once, which calls in a root were in flight when their program was killed: they may have been billed."""
    left = left_behind(folder)
    if left != LeftBehind():
        report.notices(notices_of(left))


def make_own_folder(root: Path | None) -> None:
    """Make the user's own folder if it is the one in use, so that calls in flight can be written down in it.

    A folder that somebody named is theirs to make. Whatever goes wrong is passed over.
    """
    own = Path(typer.get_app_dir(_NAME))
    if root_folder(root) == own:
        with suppress(OSError):
            own.mkdir(mode=0o700, parents=True, exist_ok=True)
