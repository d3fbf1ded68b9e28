"""Finds the root folder, which holds the settings files."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

__all__ = ["own_folder", "root_folder"]

_NAME = "invokeai-external"


def root_folder(root: Path | str | None, environ: Mapping[str, str]) -> Path:
    """The root folder: ``root`` if given, else ``INVOKEAI_ROOT``, else the user's own folder."""
    if root is not None:
        return Path(root)
    named = environ.get("INVOKEAI_ROOT", "").strip()
    return Path(named) if named else own_folder(environ)


def own_folder(environ: Mapping[str, str], platform: str = sys.platform) -> Path:
    """The user's own folder for settings, where the system expects it."""
    if platform.startswith("win"):
        parent = environ.get("APPDATA") or os.path.expanduser("~")  # noqa: PTH111 - without a home it stays as it is
    elif platform == "darwin":
        parent = os.path.expanduser("~/Library/Application Support")  # noqa: PTH111
    else:
        parent = environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")  # noqa: PTH111
    return Path(parent) / _NAME
