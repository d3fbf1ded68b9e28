"""Fits text and tables to the width of a terminal. Elsewhere, lines stay whole, for programs to read."""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import TextIO

from ..untrusted_text import printable

__all__ = [
    "fitted",
    "fitted_question",
    "is_terminal",
    "named_width",
    "print_facts",
    "print_table",
    "table_lines",
    "width_of",
]

_GAP = 2
"""The columns between those of a table."""

_PIECE = re.compile(
    r"""
    '(?:invokeai-external|pip)\ [^']*'\S*                                   # a command in quotes
    | (?<=:\ )(?:invokeai-external|pip|git|chmod)\ .*?(?=\ or:|\.\ |$)\S*   # a command after a colon
    | \(ulimit\ [^)]*\)\S*                                                   # a command in brackets
    | ^\ *export\ .*                                                       # a line of commands
    | \S+
    """,
    re.VERBOSE,
)
"""What is not broken: a word, a URL or path without spaces, and a command, which must stay one line to be pasted."""


def is_terminal() -> bool:
    """True if there is somebody to ask."""
    # There is no such object if the program was started with standard input closed.
    return sys.stdin is not None and sys.stdin.isatty()


def width_of(stream: TextIO | None) -> int | None:
    """The width of a terminal in columns, or what ``COLUMNS`` says of it; None if the stream is not a terminal."""
    try:
        if stream and stream.isatty():
            return named_width() or os.get_terminal_size(stream.fileno()).columns or None
    except (OSError, ValueError):
        pass
    return None


def named_width() -> int | None:
    """The width in the variable ``COLUMNS``, which help follows even without a terminal; None if it has no width."""
    named = os.environ.get("COLUMNS", "")
    return int(named) or None if named.isdecimal() and len(named) < _MOST_DIGITS else None


_MOST_DIGITS = 6


def fitted(text: str, width: int | None, indent: int = 0) -> str:
    """A text broken between words.

    Args:
        text: Lines of text; each is broken by itself.
        width: The columns that a line may have; None to break nothing.
        indent: By how many spaces the further lines of each line are indented.
    """
    if width is None:
        return text
    return "\n".join(broken for line in text.split("\n") for broken in _broken(line, width, " " * indent))


def _broken(text: str, width: int, indent: str) -> Iterator[str]:
    line, end = "", 0
    for piece in _PIECE.finditer(text):
        longer = line + text[end : piece.end()]
        if end == 0 or _columns(longer) <= width:
            line = longer
        else:
            yield line
            line = indent + piece[0]
        end = piece.end()
    yield line


def _columns(text: str) -> int:
    """How many columns of a terminal a text fills: two for a wide letter, no further one for an accent on a letter."""
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


def fitted_question(text: str) -> str:
    """A question on standard error, broken between words, with room for what is put behind it, such as ``[y/N]:``."""
    width = width_of(sys.stderr)
    return fitted(printable(text), width and max(20, width - _AFTER_A_QUESTION), indent=2)


_AFTER_A_QUESTION = 8


def print_table(rows: Sequence[Mapping[str, str]]) -> None:
    """Print rows that all have the same headings on standard output.

    What a terminal acts on is removed, line breaks too: the cells may hold anything.
    """
    rows = [{heading: " ".join(printable(cell).split()) for heading, cell in row.items()} for row in rows]
    for line in table_lines(rows, width_of(sys.stdout)):
        print(line)


def table_lines(rows: Sequence[Mapping[str, str]], width: int | None) -> Iterator[str]:
    """A table whose cells are broken between words, so that all of each cell is shown.

    If a word would have to be broken, each row becomes a paragraph: the first cell, and below it a line for each of the
    others.

    Args:
        rows: They all have the same headings.
        width: The columns that a line may have; None to break nothing.
    """
    if not rows:
        return
    columns = [[heading, *(row[heading] for row in rows)] for heading in rows[0]]
    least = [
        max((_columns(piece[0]) for cell in cells for piece in _PIECE.finditer(cell)), default=0) for cells in columns
    ]
    if width and sum(least) + _GAP * (len(columns) - 1) > width:
        yield from _paragraphs(rows, width)
        return
    widths = _widths(columns, least, width)
    for cells in zip(*columns, strict=True):
        yield from _row(cells, widths)


def _widths(columns: Sequence[Sequence[str]], least: Sequence[int], width: int | None) -> list[int]:
    """How wide each column of a table is: as its widest cell, or less for the widest ones if the terminal is narrow.

    Args:
        columns: The cells of each column, its heading included.
        least: How wide each must be for its words.
        width: The columns of the terminal, which suffice for these; None if there is no terminal.
    """
    widths = [max(map(_columns, cells)) for cells in columns]
    while width and sum(widths) + _GAP * (len(widths) - 1) > width:
        widest = max((i for i in range(len(widths)) if widths[i] > least[i]), key=widths.__getitem__)
        widths[widest] -= 1
    return widths


def _row(cells: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    """The lines of one row of a table."""
    broken = [list(_broken(cell, width, "")) for cell, width in zip(cells, widths, strict=True)]
    for line in zip_longest(*broken, fillvalue=""):
        padded = (part + " " * (width - _columns(part)) for part, width in zip(line, widths, strict=True))
        yield (" " * _GAP).join(padded).rstrip()


def print_facts(facts: Sequence[tuple[str, str]]) -> None:
    """Print names and values on standard output, one pair a line; in two columns if the terminal is wide enough.

    The further lines of a value are indented, so that they do not look like ours.
    """
    width = width_of(sys.stdout)
    indent = max(_columns(name) for name, _ in facts) + _GAP
    for name, value in ((name, printable(value).replace("\n", f"\n{' ' * _GAP}")) for name, value in facts):
        if width and width < 2 * indent:
            print(fitted(f"{name}: {value}", width, indent=2))
        else:
            print(fitted(f"{name:<{indent}}{value}", width, indent))


def _paragraphs(rows: Sequence[Mapping[str, str]], width: int) -> Iterator[str]:
    for row in rows:
        (_, first), *others = row.items()
        yield from _broken(first, width, "")
        for heading, cell in others:
            yield from _broken(f"  {heading}: {cell}" if heading else f"  {cell}", width, indent=" " * 4)
