"""The built-in providers: each is a YAML file beside this module. It imports nothing slow, for ``--help``."""

from __future__ import annotations

from functools import cache
from pathlib import Path

__all__ = ["built_in_ids", "file_of"]

_FOLDER = Path(__file__).parent


@cache
def built_in_ids() -> tuple[str, ...]:
    """The ids of the built-in providers, in alphabetical order: the names of their files."""
    return tuple(sorted(file.stem for file in _FOLDER.glob("*.yaml")))


def file_of(provider_id: str) -> Path:
    """The file of a built-in provider."""
    return _FOLDER / f"{provider_id}.yaml"
