"""Rounds, medians, tables, and what a machine is."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TypeVar

__all__ = ["Part", "Table", "interleaved", "machine", "median", "versions"]

_Name = TypeVar("_Name", bound=str)
_Figure = TypeVar("_Figure")


@dataclass(frozen=True)
class Table:
    """Rows of words and figures, written out."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        lines = [self.head, ["---", *("---:" for _ in self.head[1:])], *self.rows]
        return "\n".join(["| " + " | ".join(line) + " |" for line in lines])


@dataclass(frozen=True)
class Part:
    """The answer to one question.

    Attributes:
        title: The question.
        text: What was done, and what the figures are.
        tables: The figures.
        pictures: Plots, by their file names in ``docs/images/``.
    """

    title: str
    text: str
    tables: Sequence[Table]
    pictures: Mapping[str, bytes] = field(default_factory=dict)


def interleaved(
    rounds: int, peers: Mapping[_Name, Callable[[], _Figure]], told: Callable[[str], None] = lambda _: None
) -> dict[_Name, list[_Figure]]:
    """The figures of each peer, one a round: all of them in turn, each round begun by another."""
    names = list(peers)
    figures: dict[_Name, list[_Figure]] = {name: [] for name in names}
    for number in range(rounds):
        first = number % len(names)
        for name in (*names[first:], *names[:first]):
            figures[name].append(peers[name]())
        told(f"round {number + 1} of {rounds}")
    return figures


def median(figures: Iterable[float]) -> float:
    return statistics.median(figures)


def machine() -> str:
    """The machine in one line."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    return f"{os.cpu_count()} cores of {cpu}, {memory:.0f} GB, {platform.system()} {platform.release()}"


def versions(packages: Iterable[str]) -> str:
    """Python and these packages, with the versions that are installed."""
    known = (f"{package} {metadata.version(package)}" for package in packages)
    return ", ".join((f"Python {platform.python_version()}", *known))
