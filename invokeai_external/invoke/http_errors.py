"""Turns the plugin's errors into responses of its routes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import HTTPException

from ..errors import ExternalError

__all__ = ["external_errors"]


@contextmanager
def external_errors(status: int = 503) -> Iterator[None]:
    """Turn an error of this block, such as one in the settings, into a response with its message."""
    try:
        yield
    except ExternalError as error:
        raise HTTPException(status, str(error)) from None
