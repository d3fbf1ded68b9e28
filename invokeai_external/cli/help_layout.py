"""Lays out help for narrow terminals, for which the usual layout is too wide."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Any

import typer

from .terminal import named_width, width_of

__all__ = ["fit_help", "narrow_width"]

_NARROW = 60
"""In columns: what the usual layout needs at least."""

_UsualFormatter: Any = typer.Context.formatter_class


class _NarrowFormatter(_UsualFormatter):  # type: ignore[misc]
    """Names are in a third of the width; what they mean begins on the next line if they need more."""

    def write_dl(self, rows: Sequence[tuple[str, str]], *_: Any, **__: Any) -> None:
        super().write_dl(rows, col_max=self.width // 3)


class _NarrowContext(typer.Context):
    formatter_class = _NarrowFormatter


def narrow_width() -> int | None:
    """The width for help on a narrow terminal, in columns; None on any other."""
    columns = named_width() or width_of(sys.stdout)
    return max(1, columns - 1) if columns and columns < _NARROW else None


def fit_help(command: Any) -> None:
    """Give the help of a command and its subcommands the layout for narrow terminals, or the usual one."""
    command.context_class = typer.Context if narrow_width() is None else _NarrowContext
    for below in getattr(command, "commands", {}).values():
        # Otherwise its first sentence is cut in a list of commands.
        below.short_help = below.short_help or re.split(r"\.\s|\n\n", below.help or "")[0].strip().rstrip(".")
        fit_help(below)
