"""The recall metadata of an image: what the keys mean.

``service.description`` fills them in, ``images.metadata`` writes them into files.

The top-level keys are those that Invoke recalls (``positive_prompt``, ``seed``, ``width``, ``model``, ...), so that an
image dropped on its gallery recalls there. What Invoke has no key for stands under ``external``. Everything is what
was sent and received, never what was only asked for, and never a key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from .result import Notice

__all__ = ["KEYWORD", "with_notice"]

KEYWORD = "invokeai_metadata"
"""The PNG text chunk in which Invoke looks for metadata."""


def with_notice(metadata: Mapping[str, Any], notice: Notice) -> dict[str, Any]:
    """The metadata with one more notice."""
    external = metadata.get("external", {})
    return {**metadata, "external": {**external, "notices": [*external.get("notices", []), asdict(notice)]}}
