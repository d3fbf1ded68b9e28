"""Makes Invoke's page reload its list of Canvas items after one has ended, in case the page missed the end.

The Canvas learns about results only from that list. The page requests it whenever an item changes, but not while an
earlier request for it is in progress. An item that ends in the meantime, as one does whose image was there before its
turn, stays a bare *Completed* that cannot be accepted until the page is reloaded (6.13.0 and 6.14.2).

No item is delayed for this. The page is notified a little later, when its own requests are over, and a second time for
what was in progress at the first. It is then notified a few more times at growing intervals, until a request for the
list has begun after the end. This module decides when; ``host`` sends the notification and observes the requests.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["CanvasItem", "CanvasRefresh"]

_DELAYS_S = (0.5, 2.0, 2.5, 5.0, 10.0)
"""The delay before each notification: the first from the last end on, each other one from the one before it."""

_MIN_NOTIFICATIONS = 2
"""How many notifications are sent in any case. The others are sent only until someone requests the list.

It may be a second tab of the same user that requested it. If nobody does in all that time, no page shows the Canvas.
"""


@dataclass(frozen=True, kw_only=True)
class CanvasItem:
    """A queue item of the Canvas, as far as the page needs it.

    Attributes:
        queue: The id of its queue.
        batch: The id of its batch.
        origin: What queued it.
        destination: Where its results go: one session of one user's Canvas.
        user: The id of its user.
    """

    queue: str
    batch: str
    origin: str | None
    destination: str
    user: str


@dataclass(eq=False)
class _Watch:
    """What is known since the last end of one user's items with one destination."""

    item: CanvasItem
    is_read: bool = False


class CanvasRefresh:
    """Decides when the page is notified that it should reload its list of Canvas items.

    Args:
        notify: Makes the page of the item's user reload the list.
        call_later: Calls a function after a number of seconds, in the thread that calls it.
    """

    def __init__(
        self,
        notify: Callable[[CanvasItem], None],
        call_later: Callable[[float, Callable[[], None]], object],
    ) -> None:
        self._notify = notify
        self._call_later = call_later
        self._lock = threading.Lock()
        self._watches: dict[tuple[str, str], _Watch] = {}
        self._closed = False

    def item_ended(self, item: CanvasItem) -> None:
        """An item has ended in any way. Its notifications replace those still due for earlier items."""
        with self._lock:
            if self._closed:
                return
            watch = self._watches[item.user, item.destination] = _Watch(item)
        self._schedule(watch, 0)

    def list_requested(self, destination: str | None) -> None:
        """A request for the list of a destination's items has begun. May be called from any thread."""
        with self._lock:
            for (_, watched), watch in self._watches.items():
                watch.is_read |= watched == destination

    def close(self) -> None:
        """Send no more notifications."""
        with self._lock:
            self._closed = True
            self._watches.clear()

    def _schedule(self, watch: _Watch, sent: int) -> None:
        """Schedule the next notification, after ``sent`` ones since the last end."""
        self._call_later(_DELAYS_S[sent], lambda: self._send(watch, sent))

    def _send(self, watch: _Watch, sent: int) -> None:
        key = (watch.item.user, watch.item.destination)
        is_last = sent + 1 == len(_DELAYS_S)
        with self._lock:
            # A later item has ended in the meantime and has its own watch.
            if self._watches.get(key) is not watch:
                return
            is_done = sent >= _MIN_NOTIFICATIONS and watch.is_read
            if is_done or is_last:
                del self._watches[key]
        if not is_done:
            self._notify(watch.item)
            if not is_last:
                self._schedule(watch, sent + 1)
