"""The live line on a terminal: what each call does right now. Nothing of it elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.live import Live
from rich.text import Text

from ..request import Progress, Received, Retrying, Sending

__all__ = ["LiveLine", "live_line"]

_SENDING_S = 0.5
"""How long a call counts as being sent; nobody tells when the last byte has left."""


@dataclass(frozen=True, slots=True)
class _State:
    event: Progress
    since: float


class LiveLine:
    """One line on all calls of a run, made anew whenever it is drawn."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started = clock()
        self._states: dict[int, _State] = {}

    def on_progress(self, event: Progress) -> None:
        self._states[event.call] = _State(event, self._clock())

    def text(self) -> str:
        """``1 of 4 received · waiting 12 s · again in 3 s: OpenAI asks to slow down.``"""
        now = self._clock()
        states = list(self._states.values())
        received = [s for s in states if isinstance(s.event, Received)]
        sending = [s for s in states if isinstance(s.event, Sending)]
        parts = []
        if received:
            saved = sum(len(s.event.images) for s in received if isinstance(s.event, Received))
            parts.append(f"{len(received)} of {received[0].event.calls} received, {saved} saved")
        if sending and all(now - s.since < _SENDING_S for s in sending):
            parts.append("sending")
        elif sending:
            parts.append(f"waiting {now - self._started:.0f} s")
        for state in states:
            if isinstance(state.event, Retrying):
                left_s = max(0.0, state.event.wait_s - (now - state.since))
                parts.append(f"again in {left_s:.0f} s: {state.event.reason.message}")
                break
        return " · ".join(parts) or "preparing"

    def __rich__(self) -> Text:
        return Text(self.text(), style="cyan", no_wrap=True, overflow="ellipsis")


@contextmanager
def live_line() -> Iterator[Callable[[Progress], None]]:
    """Show a live line on standard error while the block runs, if that is a terminal; gives what to tell it."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    line = LiveLine()
    with Live(line, console=Console(stderr=True), refresh_per_second=4, transient=True):
        yield line.on_progress
