"""The door for paths in settings files: YAML can write any character, and systems refuse some."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["path_in"]


def path_in(root: Path, text: str) -> Path:
    """A path as it is written in a settings file, from the root folder, or from a home folder after ``~``.

    Raises:
        ValueError: No file can have this path; the message says why.
    """
    try:
        path = root / Path(text).expanduser()
        os.fsencode(path)
    except RuntimeError:
        what = "no such user" if text[1:2] not in ("", "/", "\\") else "no home folder of yours"
        raise ValueError(f"this computer knows {what}; write the whole path") from None
    except UnicodeError:
        raise ValueError("there is a character that no path can have") from None
    if "\0" in text:
        raise ValueError("there is a character that no path can have")
    return path
