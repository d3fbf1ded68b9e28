"""Reads from the database of an Invoke root, which may be running, without changing anything."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from ..errors import SettingsError
from ..settings.yaml_file import YamlFile

__all__ = ["saved_workflows"]

_WAIT_S = 2.0


def saved_workflows(root: Path, containing: str) -> list[str]:
    """The JSON of the workflows saved in an Invoke root, with a text in it; empty if there is no database to read."""
    try:
        folder = str(YamlFile(root / "invokeai.yaml").data.get("db_dir") or "databases")
    except SettingsError:
        folder = "databases"
    path = root / folder / "invokeai.db"
    try:
        if not path.is_file():
            return []
        uri = f"{path.resolve().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=_WAIT_S)) as database:
            rows = database.execute("SELECT workflow FROM workflow_library WHERE instr(workflow, ?)", (containing,))
            return [str(row[0]) for row in rows]
    # The folder may have a name that the system refuses, or belong to somebody else.
    except (sqlite3.Error, OSError):
        return []
