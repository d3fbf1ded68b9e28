"""The times that the runtime waits."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Waits"]


@dataclass(frozen=True)
class Waits:
    """How long the runtime waits, in seconds.

    Attributes:
        poll: The interval at which a run checks whether it was cancelled.
        report: The shortest time between two progress lines; each is an event to every browser.
        stop: How long a stop of Invoke waits for calls in flight. Whoever stops Invoke may kill it after ten.
        end: How long to wait for work that needs no response from a provider.
    """

    poll: float = 0.1
    report: float = 1.0
    stop: float = 5.0
    end: float = 2.0
