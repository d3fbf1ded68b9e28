"""Expects an ``ImageError`` by its code, and by facts that its message must contain."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from invokeai_external.images.errors import ImageError, ImageErrorCode

__all__ = ["image_error", "image_error_or_none"]


@contextmanager
def image_error(*codes: ImageErrorCode, facts: tuple[str, ...] = ()) -> Iterator[None]:
    """Expect an error with one of the codes."""
    with pytest.raises(ImageError) as caught:
        yield
    assert caught.value.code in codes
    assert [fact for fact in facts if fact not in str(caught.value)] == []


@contextmanager
def image_error_or_none(*codes: ImageErrorCode) -> Iterator[None]:
    """Accept no error, or one with one of the codes that says what to do."""
    try:
        yield
    except ImageError as error:
        if error.code not in codes or not error.remedy:
            raise
