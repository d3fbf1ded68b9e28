"""The thread in which look-ahead reads the queue whenever it changes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from ..log import log
from .send_early import LookAhead

__all__ = ["QueueWatcher"]

_IDLE_S = 3600.0
"""The interval at which expired results are delivered, and the queue is read in any case."""

_JOIN_S = 5.0
"""How long a stop waits for the thread."""


class QueueWatcher:
    """Calls look-ahead in a separate thread until it is closed.

    Args:
        look_ahead: Is called after each change of the queue.
        deliver_expired: Puts expired results into the gallery; called about once an hour.
        poll_s: The interval at which the queue is read while it may change without an event.
        clock: Returns the seconds since some moment.
    """

    def __init__(
        self,
        look_ahead: LookAhead,
        deliver_expired: Callable[[], None],
        *,
        poll_s: float = 0.5,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look_ahead = look_ahead
        self._deliver_expired = deliver_expired
        self._poll_s = poll_s
        self._clock = clock
        self._changed = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._watch, name="invokeai_external look-ahead", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Read the queue, since it has changed."""
        self._changed.set()

    def end(self) -> None:
        """Start no more runs."""
        self._look_ahead.stop()
        self._ended = True
        self._changed.set()

    def close(self) -> None:
        """End the thread, and close look-ahead."""
        self.end()
        self._thread.join(_JOIN_S)
        self._look_ahead.close()

    def _watch(self) -> None:
        timeout_s, delivered_at = 0.0, self._clock()
        while True:
            self._changed.wait(timeout_s)
            self._changed.clear()
            if self._ended:
                return
            try:
                timeout_s = self._poll_s if self._look_ahead.look() else _IDLE_S
                timeout_s = min(timeout_s, self._look_ahead.wait_s or timeout_s)
                if self._clock() - delivered_at >= _IDLE_S:
                    delivered_at = self._clock()
                    self._deliver_expired()
            # Without this thread the queue goes on, only without look-ahead.
            except Exception as error:
                log.warning("invokeai_external: look-ahead failed: %s", error)
                timeout_s = self._poll_s
