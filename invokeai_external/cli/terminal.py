"""Fits text and tables to the width of a terminal. Elsewhere, lines stay whole, for programs to read."""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import TextIO

from ..untrusted_text import printable

__all__ = ["fitted", "is_terminal", "print_facts", "print_table", "width_of"]

_WITHOUT_TERMINAL = 230
"""In columns: more than any table needs."""

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
    """The width of a terminal in columns; None if the stream is not a terminal."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or None if stream and stream.isatty() else None
    except (OSError, ValueError):
        return None


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
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def print_table(rows: Sequence[Mapping[str, str]]) -> None:
    """Print rows that all have the same headings on standard output.

    On a terminal where a word of the table would have to be broken, each row becomes a paragraph: the first cell, and
    below it a line for each of the others. What a terminal acts on is removed, line breaks too: the cells may hold
    anything.
    """
    rows = [{heading: " ".join(printable(cell).split()) for heading, cell in row.items()} for row in rows]
    width = width_of(sys.stdout)
    longest = {
        heading: max((_columns(word) for row in rows for word in f"{heading} {row[heading]}".split()), default=0)
        for heading in (rows[0] if rows else ())
    }
    if width and sum(longest.values()) + _GAP * (len(longest) - 1) > width:
        print("\n".join(_paragraphs(rows, width)))
        return
    # Rich takes a while to load.
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0))
    for heading, columns in longest.items():
        table.add_column(heading, min_width=columns)
    for row in rows:
        table.add_row(*row.values())
    # A board may be named [/red] or :fox:.
    console = Console(width=width or _WITHOUT_TERMINAL, markup=False, emoji=False, highlight=False)
    with console.capture() as captured:
        console.print(table)
    # Rich fills every line up to the width of the table.
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


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
        yield fitted(first, width)
        for heading, cell in others:
            yield fitted(f"  {heading}: {cell}" if heading else f"  {cell}", width, indent=4)
