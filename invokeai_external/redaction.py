"""Takes keys out of words that are about to be shown: the one in use, and whatever looks like one."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TypeVar

from .errors import ExternalError
from .providers.base import Answer

__all__ = ["redact", "redacted", "redacted_answer"]

_LOOKS_LIKE_A_KEY = re.compile(r"\b(?:sk-[\w*-]{8,}|AIza[\w*-]{8,}|AQ\.[\w*-]{8,}|Bearer\s+[\w.*-]{8,})")
"""OpenAI's and Google's keys begin with sk-, AIza or AQ.; asterisks stand in keys that a provider quotes shortened."""

_Error = TypeVar("_Error", bound=ExternalError)


def redact(text: str, key: str) -> str:
    """The text without the key and without anything that looks like one."""
    return _LOOKS_LIKE_A_KEY.sub("[key]", text.replace(key, "[key]") if key else text)


def redacted(error: _Error, key: str) -> _Error:
    """The same error with its message, hint and request id fit to be shown."""
    error.message = redact(error.message, key)
    error.hint = _redact_optional(error.hint, key)
    error.request_id = _redact_optional(error.request_id, key)
    error.args = (error.message,)
    return error


def redacted_answer(answer: Answer, key: str) -> Answer:
    """The same answer with its texts, which go into metadata, fit to be kept: a proxy may quote a key in them."""
    return replace(
        answer,
        request_id=_redact_optional(answer.request_id, key),
        model_version=_redact_optional(answer.model_version, key),
        text=_redact_optional(answer.text, key),
        images=tuple(
            replace(image, revised_prompt=_redact_optional(image.revised_prompt, key)) for image in answer.images
        ),
    )


def _redact_optional(text: str | None, key: str) -> str | None:
    return redact(text, key) if text else None
