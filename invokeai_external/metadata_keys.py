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

from .result import GenerationResult, Notice

__all__ = ["INVOKE_KEYWORDS", "KEYWORD", "image_notices_first", "with_notice"]

KEYWORD = "invokeai_metadata"
"""The keyword of the PNG text chunk in which Invoke looks for metadata."""

INVOKE_KEYWORDS = (KEYWORD, "invokeai_workflow", "invokeai_graph")
"""The keywords of all PNG text chunks that Invoke writes."""


def with_notice(metadata: Mapping[str, Any], notice: Notice) -> dict[str, Any]:
    """A copy of the metadata with one more notice, which comes first: viewers show the metadata from the top."""
    external = metadata.get("external", {})
    notices = [asdict(notice), *external.get("notices", [])]
    return {**metadata, "external": {"notices": notices, **{**external, "notices": notices}}}


def image_notices_first(result: GenerationResult) -> list[Notice]:
    """The notices of a result; those that its images have in their metadata come first."""
    of_images = [entry for image in result.images for entry in _notices(image.metadata)]
    return sorted(result.notices, key=lambda notice: asdict(notice) not in of_images)


def _notices(metadata: Mapping[str, Any]) -> list[Any]:
    return list(metadata.get("external", {}).get("notices", []))
