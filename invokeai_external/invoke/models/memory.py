"""Remembers what was written into Invoke's model records, by source, in one file in the root.

    {"format": 1, "external://openai/gpt-image-2": {"name": "GPT Image 2", …}, "external://openai/dall-e-3": {}}

An empty entry is a model that the user deleted. The file of version 0.1 has no format number and is otherwise equal.
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
"""The fields of a model record that the plugin writes."""

_FORMAT = 1


class ModelMemory:
    """The fields that were last written into each model record.

    A damaged file counts as empty. The file of a newer version is read as far as possible and never written.

    Args:
        root: Invoke's root folder.

    Raises:
        OSError: The file exists but cannot be opened.
    """

    def __init__(self, root: Path) -> None:
        self._path = root / FILE
        content = _read(self._path)
        self._is_ours = content.pop("format", _FORMAT) == _FORMAT
        self._fields: dict[str, Fields] = {name: fields for name, fields in content.items() if isinstance(fields, dict)}
        self._before = dict(self._fields)

    def get(self, source: str) -> Fields | None:
        """The fields written for a source: None if it was never written, empty if the user deleted the model."""
        return self._fields.get(source)

    def remember(self, source: str, fields: Fields) -> None:
        """Remember the written fields; pass ``{}`` for a model that the user deleted."""
        self._fields[source] = fields

    def forget(self, source: str) -> None:
        """Forget a model."""
        self._fields.pop(source, None)

    def save(self) -> None:
        """Write the file if anything changed; raises OSError."""
        if self._fields == self._before or not self._is_ours:
            return
        new = self._path.with_name(f".{FILE}.new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(json.dumps({"format": _FORMAT, **self._fields}, indent=1).encode())
        new.replace(self._path)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
