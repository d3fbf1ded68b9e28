"""How much memory can a response need, and for how long can it block everything else?"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from .hostile import served
from .measuring import Part, Table, median
from .processes import Cost, Peer
from .provider import make_responses

__all__ = ["TITLE", "measure"]

TITLE = "Limits of memory and time"

_MOST_BYTES = 300_000_000
"""The default of ``max_response_bytes``."""

_HOLD_S = 0.05

_TEXT = f"""\
What the plugin needs for hostile responses and for normal ones, each in a separate process that has already made one
small image. *Memory* is the peak of the process above its idle memory. The limit of a hostile response is three times
`max_response_bytes`, that of a normal one 1.5 times its image plus 60 MB. *Blocked* is the longest time in which
nothing else could run on the event loop, seen by a task that wakes up every millisecond; the limit is
{_HOLD_S * 1e3:.0f} ms. Memory is the maximum of the rounds, *Blocked* the median. Brotli and Zstandard are refused by
name, without reading the body."""

_REFERENCES = "references"


@dataclass(frozen=True)
class _Case:
    """One response.

    Attributes:
        title: What it is.
        name: Its name at the server.
        provider: The provider that it imitates.
        has_previews: True if a stream is requested.
        is_good: True if it contains an image of 4K, which must be returned.
    """

    title: str
    name: str
    provider: str = "openai"
    has_previews: bool = False
    is_good: bool = False


_CASES = (
    _Case("400 MB of zeros as gzip", "gzip"),
    _Case("The same, compressed twice", "gzip-gzip"),
    _Case("Brotli", "br"),
    _Case("Zstandard", "zstd"),
    _Case("290 MB of empty lists", "lists"),
    _Case("290 MB of digits", "digits"),
    _Case("290 MB of one text", "text"),
    _Case("290 MB of one text with an emoji", "emoji"),
    _Case("290 MB of base64 with an error at its end", "base64"),
    _Case("An error of 300 MB", "error"),
    _Case("40 MB of empty events", "events", has_previews=True),
    _Case("4K, OpenAI", "4K", "openai", is_good=True),
    _Case("4K, OpenAI, as gzip", "4K-gzip", "openai", is_good=True),
    _Case("4K, OpenAI, stream with a preview of 4K", "4K-stream", "openai", has_previews=True, is_good=True),
    _Case("4K, Gemini", "4K", "gemini", is_good=True),
    _Case("4K, Gemini, stream with a thought of 1K", "4K-stream", "gemini", has_previews=True, is_good=True),
)


def measure(rounds: int, report: Callable[[str], None]) -> Part:
    rows, held = [], []
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        image = make_responses(Path(name))["4K"]
        url = stack.enter_context(served(Path(name)))
        for case in _CASES:
            report(case.title)
            mode, outcome = "1" if case.has_previews else "0", "image" if case.is_good else "error"
            costs = [_cost(url, case.provider, case.name, mode, outcome) for _ in range(rounds)]
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
            report(f"eight requests, {title}")
            costs = [_cost(url, provider, "small", _REFERENCES, "image") for _ in range(rounds)]
            worst = median(cost.held_s for cost in costs)
            held.append([title, _milliseconds(worst), _milliseconds(_HOLD_S)])
    return Part(
        TITLE,
        _TEXT,
        [
            Table(f"Responses; the normal ones contain a PNG of {image / 1e6:.1f} MB", _HEAD, rows),
            Table("Eight parallel requests, each with two references of 6.8 MB", ["", "Blocked", "Limit"], held),
        ],
    )


_HEAD = ["", "Memory", "Limit", "Blocked", "Limit"]


def _cost(url: str, provider: str, name: str, mode: str, outcome: str) -> Cost:
    """What one response costs a new process."""
    with Peer("limited", provider, url, name, mode, outcome) as peer:
        return peer.work()


def _megabytes(size: float) -> str:
    return f"{size / 1e6:.0f} MB"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.0f} ms"
