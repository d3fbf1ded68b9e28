"""The tables on the terminal and in docs/benchmarks.md."""

from __future__ import annotations

import datetime
from pathlib import Path

from invokeai_external.version import VERSION

from .measuring import Part, machine, versions

__all__ = ["shown", "write"]

PACKAGES = ("httpx", "openai", "google-genai", "litellm", "requests", "pillow", "pydantic", "pybase64")
"""The packages whose versions matter for the figures."""

_DOCS = Path(__file__).resolve().parent.parent / "docs"
_PAGE = _DOCS / "benchmarks.md"


def shown(part: Part) -> str:
    """A part in Markdown, for the page and for a terminal."""
    tables = [f"**{table.title}**\n\n{table.markdown()}" if table.title else table.markdown() for table in part.tables]
    return "\n\n".join((part.text, *tables))


def made_with(rounds: int) -> str:
    day = datetime.datetime.now(datetime.UTC).date().isoformat()
    repeated = "1 round" if rounds == 1 else f"{rounds} rounds"
    return f"Measured on {day} with invokeai_external {VERSION}, {repeated}, on {machine()}; {versions(PACKAGES)}."


def write(name: str, part: Part, rounds: int) -> None:
    """Write a part into the page, between the marks of its name, and its plots into ``docs/images/``."""
    begin, end = f"<!-- measured: {name} -->\n", "<!-- end of measured -->"
    before, mark, rest = _PAGE.read_text(encoding="utf-8").partition(begin)
    if not mark:
        raise ValueError(f"{_PAGE} has no place for {name}")
    _, _, after = rest.partition(end)
    _PAGE.write_text(f"{before}{begin}\n{made_with(rounds)}\n\n{shown(part)}\n\n{end}{after}", encoding="utf-8")
    for file, data in part.plots.items():
        (_DOCS / "images" / file).write_bytes(data)
