"""What does an answer take at the most, and for how long does it hold up everything else?"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from .hostile import served
from .measuring import Part, Table, median
from .processes import Cost, Peer
from .provider import make_answers

__all__ = ["TITLE", "measure"]

TITLE = "Limits of memory and time"

_MOST_BYTES = 300_000_000
"""The default of ``max_response_bytes``."""

_HOLD_S = 0.05

_TEXT = f"""\
What the plugin takes for an answer, the worst that were thought of and good ones: each in a process of its own that has
made one small image. *Memory* is the most that the process has above what it had when it was idle; an answer may take
three times `max_response_bytes`, and a good one 1.5 times its image and 60 MB. *Held* is the longest time for which
the process let nothing else run on its event loop, seen by a task that asks for a turn every millisecond; it may be
{_HOLD_S * 1e3:.0f} ms. The memory is the largest and the hold the median of the rounds. Brotli and Zstandard are
refused by their names, so that nothing of them is read."""

_REFERENCES = "references"


@dataclass(frozen=True)
class _Case:
    """One answer.

    Attributes:
        title: What it is.
        name: What the server calls it.
        provider: Whose answer it is.
        has_previews: True if a stream is asked for.
        is_good: True if it holds an image of 4K, which must come.
    """

    title: str
    name: str
    provider: str = "openai"
    has_previews: bool = False
    is_good: bool = False


_CASES = (
    _Case("400 MB of zeros as gzip", "gzip"),
    _Case("The same packed twice", "gzip-gzip"),
    _Case("Brotli", "br"),
    _Case("Zstandard", "zstd"),
    _Case("290 MB of empty lists", "lists"),
    _Case("290 MB of digits", "digits"),
    _Case("290 MB of one text", "text"),
    _Case("290 MB of one text with an emoji", "emoji"),
    _Case("290 MB of base64 with a fault at its end", "base64"),
    _Case("An error of 300 MB", "error"),
    _Case("40 MB of empty events", "events", has_previews=True),
    _Case("4K, OpenAI", "4K", "openai", is_good=True),
    _Case("4K, OpenAI, as gzip", "4K-gzip", "openai", is_good=True),
    _Case("4K, OpenAI, stream with a preview of 4K", "4K-stream", "openai", has_previews=True, is_good=True),
    _Case("4K, Gemini", "4K", "gemini", is_good=True),
    _Case("4K, Gemini, stream with a thought of 1K", "4K-stream", "gemini", has_previews=True, is_good=True),
)


def measure(rounds: int, told: Callable[[str], None]) -> Part:
    rows, held = [], []
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        image = make_answers(Path(name))["4K"]
        address = stack.enter_context(served(Path(name)))
        for case in _CASES:
            told(case.title)
            mode, outcome = "1" if case.has_previews else "0", "image" if case.is_good else "error"
            costs = [_cost(address, case.provider, case.name, mode, outcome) for _ in range(rounds)]
            limit = 1.5 * image + 60e6 if case.is_good else 3 * _MOST_BYTES
            rows.append(
                [
                    case.title,
                    _megabytes(max(cost.memory for cost in costs)),
                    _megabytes(limit),
                    _milliseconds(median(cost.held_s for cost in costs)),
                    _milliseconds(_HOLD_S),
                ]
            )
        for provider, title in (("gemini", "Gemini"), ("openai", "OpenAI")):
            told(f"eight calls, {title}")
            costs = [_cost(address, provider, "small", _REFERENCES, "image") for _ in range(rounds)]
            worst = median(cost.held_s for cost in costs)
            held.append([title, _milliseconds(worst), _milliseconds(_HOLD_S)])
    return Part(
        TITLE,
        _TEXT,
        [
            Table(f"Answers; the good ones hold a PNG of {image / 1e6:.1f} MB", _HEAD, rows),
            Table("Eight calls side by side, each with two references of 6.8 MB", ["", "Held", "Limit"], held),
        ],
    )


_HEAD = ["", "Memory", "Limit", "Held", "Limit"]


def _cost(address: str, provider: str, name: str, mode: str, outcome: str) -> Cost:
    """What one answer takes a fresh process."""
    with Peer("limited", provider, address, name, mode, outcome) as peer:
        return peer.work()


def _megabytes(size: float) -> str:
    return f"{size / 1e6:.0f} MB"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.0f} ms"
