"""Removes keys from everything that is shown: the key in use, and anything that looks like a key."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TypeVar

from ..errors import ExternalError

__all__ = ["redact", "redact_optional", "redacted"]

_LOOKS_LIKE_A_KEY = re.compile(r"\b(?:sk-[\w*-]{8,}|AIza[\w*-]{8,}|AQ\.[\w*-]{8,}|Bearer\s+[\w.*-]{8,})")
"""OpenAI's and Google's keys begin with sk-, AIza or AQ. Providers quote keys with asterisks in place of some parts."""

_Error = TypeVar("_Error", bound=ExternalError)


def redact(text: str, key: str) -> str:
    """The text without the key in use (which may be empty) and without anything that looks like a key."""
    return _LOOKS_LIKE_A_KEY.sub("[key]", text.replace(key, "[key]") if key else text)


def redacted(error: _Error, key: str) -> _Error:
    """A copy of an error that is safe to show: no key is in its message, remedy or request id."""
    return error.replace(
        message=redact(error.message, key),
        remedy=replace(error.remedy, text=redact(error.remedy.text, key)) if error.remedy else None,
        request_id=redact_optional(error.request_id, key),
    )


def redact_optional(text: str | None, key: str) -> str | None:
    """The same as ``redact``; None for None and for an empty text."""
    return redact(text, key) if text else None
