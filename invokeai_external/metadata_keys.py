"""The keys of the recall metadata, and what they mean.

``service.image_metadata`` makes the metadata, ``images.metadata_files`` writes it into files.

The top-level keys are those that Invoke recalls (``positive_prompt``, ``seed``, ``width``, ``model``, ...), so that an
image dropped on its gallery can be recalled there. Everything else is under ``external``. The values are what was sent
and received, not what was requested, and never an API key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from .result import Notice

__all__ = ["KEYWORD", "with_notice"]

KEYWORD = "invokeai_metadata"
"""The keyword of the PNG text chunk in which Invoke looks for metadata."""


def with_notice(metadata: Mapping[str, Any], notice: Notice) -> dict[str, Any]:
    """A copy of the metadata with one more notice."""
    external = metadata.get("external", {})
    return {**metadata, "external": {**external, "notices": [*external.get("notices", []), asdict(notice)]}}
