"""Reads numbers from outside: token counts, waits, statuses, seeds, costs. What is not one within its range is None."""

from __future__ import annotations

import math

__all__ = ["number", "number_in_text", "whole_number", "whole_number_in_text"]

_LONGEST_DIGITS = 30
"""In characters. Python takes a while for a number of thousands of digits, and refuses it."""


def number(value: object, least: float, most: float) -> float | None:
    """A number from ``least`` to ``most``; None for anything else: a boolean, a text, NaN, infinity."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        return None
    return float(value)


def whole_number(value: object, least: int, most: int) -> int | None:
    """An integer from ``least`` to ``most``; None for anything else, also for a float."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        return None
    return value


def number_in_text(text: str | None) -> float | None:
    """The finite number that a header or a field holds as text, in ASCII digits; None for anything else."""
    if not text or len(text) > _LONGEST_DIGITS or not text.isascii() or "_" in text:
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def whole_number_in_text(text: str | None, least: int, most: int) -> int | None:
    """The integer from ``least`` to ``most`` that a header or a field holds as text; None for anything else."""
    value = number_in_text(text)
    return whole_number(int(value), least, most) if value is not None and value.is_integer() else None
