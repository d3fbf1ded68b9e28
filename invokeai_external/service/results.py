"""What came of a call: answers made fit to be handed over."""

from __future__ import annotations

from dataclasses import replace

from ..adapters.base import Answer
from ..transport.redaction import redact_optional

__all__ = ["redacted_answer"]


def redacted_answer(answer: Answer, key: str) -> Answer:
    """The same answer with its texts, which go into metadata, fit to be kept: a proxy may quote a key in them."""
    return replace(
        answer,
        request_id=redact_optional(answer.request_id, key),
        model_version=redact_optional(answer.model_version, key),
        text=redact_optional(answer.text, key),
        images=tuple(
            replace(image, revised_prompt=redact_optional(image.revised_prompt, key)) for image in answer.images
        ),
    )
