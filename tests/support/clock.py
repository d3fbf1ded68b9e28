"""The day on which the tests run, and clocks that move only when somebody sleeps."""

from __future__ import annotations

import datetime

import anyio.lowlevel

__all__ = ["TODAY", "Clock", "ThreadClock"]

TODAY = datetime.date(2026, 11, 29)
"""The day of the catalogue's facts."""


class Clock:
    """Time that passes only while a task sleeps.

    Attributes:
        now: The time in seconds.
        waits: The seconds of every sleep, in order.
    """

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.waits.append(seconds)
        await anyio.lowlevel.checkpoint()


class ThreadClock:
    """The same for code that sleeps in its thread."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
