"""Reads from the database of an Invoke root, which may be running, without changing anything."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from ..errors import SettingsError
from ..settings.yaml_file import YamlFile
from ..sqlite_files import is_table, opened_to_read

__all__ = ["saved_workflows"]


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
        with closing(opened_to_read(path)) as database:
            if not is_table(database, "workflow_library"):
                return []
            rows = database.execute("SELECT workflow FROM workflow_library WHERE instr(workflow, ?)", (containing,))
            return [str(row[0]) for row in rows]
    # The folder may have a name that the system refuses, or belong to somebody else.
    except (sqlite3.Error, OSError):
        return []
