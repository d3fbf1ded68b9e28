"""What every command starts from: the root folder and its settings."""

from __future__ import annotations

import os
from pathlib import Path

import typer

from ..registry import PROVIDER_IDS
from ..settings import Settings, load_settings

__all__ = ["root_folder", "settings"]


def root_folder(root: Path | None) -> Path:
    """The folder of the settings files: the one named, else ``INVOKEAI_ROOT``, else one of the user's own."""
    if root is not None:
        return root
    named = os.environ.get("INVOKEAI_ROOT", "").strip()
    return Path(named) if named else Path(typer.get_app_dir("invokeai-external"))


def settings(root: Path | None) -> Settings:
    """The settings of a root folder, the providers' usual variables included."""
    return load_settings(root_folder(root), os.environ, PROVIDER_IDS, usual_variables=True)
