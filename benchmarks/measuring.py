"""Rounds, medians, tables, and a description of the machine."""

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
    """Rows of text and figures."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        lines = [self.head, ["---", *("---:" for _ in self.head[1:])], *self.rows]
        return "\n".join(["| " + " | ".join(line) + " |" for line in lines])


@dataclass(frozen=True)
class Part:
    """The result of one question.

    Attributes:
        title: The question.
        text: What was measured and how.
        tables: The figures.
        plots: Plots, by their file names in ``docs/images/``.
    """

    title: str
    text: str
    tables: Sequence[Table]
    plots: Mapping[str, bytes] = field(default_factory=dict)


def interleaved(
    rounds: int, peers: Mapping[_Name, Callable[[], _Figure]], report: Callable[[str], None] = lambda _: None
) -> dict[_Name, list[_Figure]]:
    """The figures of each peer, one for each round: they take turns, and each round starts with another peer."""
    names = list(peers)
    figures: dict[_Name, list[_Figure]] = {name: [] for name in names}
    for number in range(rounds):
        first = number % len(names)
        for name in (*names[first:], *names[:first]):
            figures[name].append(peers[name]())
        report(f"round {number + 1} of {rounds}")
    return figures


def median(figures: Iterable[float]) -> float:
    return statistics.median(figures)


def machine() -> str:
    """A description of the machine in one line."""
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
    """Python and these packages, with their installed versions."""
    known = (f"{package} {metadata.version(package)}" for package in packages)
    return ", ".join((f"Python {platform.python_version()}", *known))
