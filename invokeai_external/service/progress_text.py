"""Describes in one line what each call of a run is doing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..progress import Failed, Preview, Progress, Received, Retrying, Sending, Waiting

__all__ = ["ProgressLine"]

_SENDING_S = 0.5
"""How long a call counts as being sent: the time of its last byte is not known."""


@dataclass(frozen=True, slots=True)
class _State:
    """What a call does, since when, and when its attempt was sent."""

    event: Progress
    since: float
    sent: float


class ProgressLine:
    """One line about all calls of a run, new each time it is drawn. One thread reports progress and others draw.

    Args:
        images: How many images the run was asked for; None to count calls.
        clock: Seconds that only go up.
        limit_name: What a limit is called where the line is shown, by the name that ``budget set`` takes.
    """

    def __init__(
        self,
        images: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        limit_name: Callable[[str], str] = str,
    ) -> None:
        self._images = images
        self._clock = clock
        self._limit_name = limit_name
        self._lock = threading.Lock()
        self._states: dict[int, _State] = {}

    def on_progress(self, event: Progress) -> None:
        with self._lock:
            now, before = self._clock(), self._states.get(event.call)
            is_same_attempt = before and not isinstance(event, Sending)
            self._states[event.call] = _State(event, now, before.sent if before and is_same_attempt else now)

    def text(self) -> str:
        """``1 of 4 received · 1 failed · preview 2 of 3 · waiting 12 s · again in 3 s: It is busy.``"""
        now = self._clock()
        states = self._now()
        received = [s.event for s in states if isinstance(s.event, Received)]
        sending = [s for s in states if isinstance(s.event, Sending | Preview)]
        parts = []
        if received:
            count, wanted = len(received), received[0].calls
            if self._images is not None:
                count, wanted = sum(len(event.images) for event in received), self._images
            parts.append(f"{count} of {wanted} received")
        if failed := sum(isinstance(s.event, Failed) for s in states):
            parts.append(f"{failed} failed")
        if shown := _newest_preview(states):
            parts.append(f"preview {shown.index}{f' of {shown.count}' if shown.count else ''}")
        if sending and all(isinstance(s.event, Sending) and now - s.since < _SENDING_S for s in sending):
            parts.append("sending")
        elif sending:
            parts.append(f"waiting {now - min(s.sent for s in sending):.0f} s")
        for state in states:
            if isinstance(state.event, Retrying):
                left_s = max(0.0, state.event.wait_s - (now - state.since))
                parts.append(f"again in {left_s:.0f} s: {state.event.reason.message}")
                break
        if not parts and states and isinstance(states[0].event, Waiting):
            parts.append(f"waiting for room in the limit {self._limit_name(states[0].event.limit)}")
        return " · ".join(parts) or "preparing"

    def newest_preview(self) -> Preview | None:
        """The last preview of a call that is still running."""
        return _newest_preview(self._now())

    def _now(self) -> list[_State]:
        with self._lock:
            return list(self._states.values())


def _newest_preview(states: Sequence[_State]) -> Preview | None:
    shown = [(state.since, state.event) for state in states if isinstance(state.event, Preview)]
    return max(shown, key=lambda entry: entry[0])[1] if shown else None
