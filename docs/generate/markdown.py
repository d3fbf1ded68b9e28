"""Markdown tables and fenced blocks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["fenced", "first_line", "table"]


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that may hold any text but line ends."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def fenced(language: str, lines: Iterable[str]) -> str:
    """A code block."""
    return "\n".join([f"```{language}", *lines, "```"])


def first_line(docstring: str | None) -> str:
    """The first line of a docstring, as Markdown."""
    return (docstring or "").strip().partition("\n")[0].replace("``", "`")
