"""Makes errors fit to be shown: without the key in use, and without anything that looks like a key."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from ..errors import ExternalError
from ..untrusted_text import ID, fit_to_show, printable, without_keys

__all__ = ["redacted"]

_Error = TypeVar("_Error", bound=ExternalError)


def redacted(error: _Error, key: str) -> _Error:
    """A copy of an error that is safe to show: no key is in its message, remedy or request id."""
    return error.replace(
        message=printable(without_keys(error.message, key)),
        remedy=replace(error.remedy, text=without_keys(error.remedy.text, key)) if error.remedy else None,
        request_id=fit_to_show(error.request_id, ID, key=key) or None,
    )
