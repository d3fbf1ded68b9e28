"""The built-in providers: each is a YAML file beside this module. It imports nothing slow, for ``--help``."""

from __future__ import annotations

from functools import cache
from pathlib import Path

__all__ = ["RESERVED_IDS", "built_in_ids", "file_of"]

RESERVED_IDS = frozenset({"seedream", "alibabacloud"})
"""The ids of providers that only InvokeAI itself has: its keys for them go to their own servers."""

_FOLDER = Path(__file__).parent


@cache
def built_in_ids() -> tuple[str, ...]:
    """The ids of the built-in providers, in alphabetical order: the names of their files."""
    return tuple(sorted(file.stem for file in _FOLDER.glob("*.yaml")))


def file_of(provider_id: str) -> Path:
    """The file of a built-in provider."""
    return _FOLDER / f"{provider_id}.yaml"
