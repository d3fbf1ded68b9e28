"""What was written into the records of Invoke's models, by their source: one file in the root.

    {"format": 1, "external://openai/gpt-image-2": {"name": "GPT Image 2", …}, "external://openai/dall-e-3": {}}

That of 0.1 has no format number, and is the same otherwise.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["FILE", "Fields", "ModelMemory"]

FILE = "invokeai_external_models.json"
"""The file in the root."""

Fields = Mapping[str, Any]
"""The fields of a record that are ours to write."""

_FORMAT = 1


class ModelMemory:
    """What was written into which record; None for a record that was never ours, nothing for one deleted by hand.

    A file that cannot be read is as none. That of a newer version is read as far as it can be, and left as it is.

    Args:
        root: Invoke's root folder.

    Raises:
        OSError: There is a file that cannot be opened.
    """

    def __init__(self, root: Path) -> None:
        self._path = root / FILE
        held = _read(self._path)
        self._is_ours = held.pop("format", _FORMAT) == _FORMAT
        self._fields: dict[str, Fields] = {name: fields for name, fields in held.items() if isinstance(fields, dict)}
        self._before = dict(self._fields)

    def get(self, source: str) -> Fields | None:
        """What was written into the record of a source."""
        return self._fields.get(source)

    def remember(self, source: str, fields: Fields) -> None:
        """Note what was written; nothing for a record that the user has deleted."""
        self._fields[source] = fields

    def forget(self, source: str) -> None:
        """Note that a record is not ours any more."""
        self._fields.pop(source, None)

    def save(self) -> None:
        """Write what has changed; raises OSError."""
        if self._fields == self._before or not self._is_ours:
            return
        new = self._path.with_name(f".{FILE}.new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(json.dumps({"format": _FORMAT, **self._fields}, indent=1).encode())
        new.replace(self._path)


def _read(path: Path) -> dict[str, Any]:
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError, RecursionError):
        return {}
    return held if isinstance(held, dict) else {}
