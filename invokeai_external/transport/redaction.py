"""Takes keys out of words that are about to be shown: the one in use, and whatever looks like one."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TypeVar

from ..errors import ExternalError

__all__ = ["redact", "redacted"]

_LOOKS_LIKE_A_KEY = re.compile(r"\b(?:sk-[\w*-]{8,}|AIza[\w*-]{8,}|AQ\.[\w*-]{8,}|Bearer\s+[\w.*-]{8,})")
"""OpenAI's and Google's keys begin with sk-, AIza or AQ.; asterisks stand in keys that a provider quotes shortened."""

_Error = TypeVar("_Error", bound=ExternalError)


def redact(text: str, key: str) -> str:
    """The text without the key and without anything that looks like one."""
    return _LOOKS_LIKE_A_KEY.sub("[key]", text.replace(key, "[key]") if key else text)


def redacted(error: _Error, key: str) -> _Error:
    """The same error with its message, hint and request id fit to be shown."""
    return error.replace(
        message=redact(error.message, key),
        remedy=replace(error.remedy, text=redact(error.remedy.text, key)) if error.remedy else None,
        request_id=redact_optional(error.request_id, key),
    )


def redact_optional(text: str | None, key: str) -> str | None:
    return redact(text, key) if text else None
