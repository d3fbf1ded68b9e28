"""Has Invoke's page read its list of the Canvas' items again after one has ended: what it drops would never be shown.

The Canvas learns of its results from nothing but that list. The page asks for it whenever an item changes, but not
while an earlier request for it is under way: what ends meanwhile, as one does whose image was there before its turn,
stays a bare *Completed* that cannot be accepted, until the page is loaded again (6.13.0 and 6.14.2).

No item is held for it. The page is told a little later, when it asks for nothing any more, and a second time for what
was under way at the first; and on, a few times at growing intervals, until a request for the list has come after the
end, with which the page has all. This module decides when; what is told, and what is heard, is in ``host``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

__all__ = ["CanvasItem", "CanvasRefresh"]

_PAUSES_S = (0.5, 2.0, 2.5, 5.0, 10.0)
"""How long it waits before it tells the page each time, from the last end on."""

_ALWAYS = 2
"""How often it tells the page in any case; then only while nobody has asked for the list since the end.

A second tab of the same user may be the one that has asked. Where nobody asks in all that time, no page shows it.
"""


class CanvasItem(NamedTuple):
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


class _Watch:
    """What is known since the last end of one user's items with one destination."""

    def __init__(self, item: CanvasItem) -> None:
        self.item = item
        self.is_read = False


class CanvasRefresh:
    """Tells the page when to read its list of the Canvas' items again.

    Args:
        tell: Has the page of the item's user read the list again.
        later: Calls back after so many seconds, in the thread that it is called in.
    """

    def __init__(
        self, tell: Callable[[CanvasItem], None], later: Callable[[float, Callable[[], None]], object]
    ) -> None:
        self._tell = tell
        self._later = later
        self._lock = threading.Lock()
        self._watches: dict[tuple[str, str], _Watch] = {}
        self._closed = False

    def ended(self, item: CanvasItem) -> None:
        """An item has ended, in whichever way; what was to be told of earlier ones is told with it."""
        with self._lock:
            if self._closed:
                return
            watch = self._watches[item.user, item.destination] = _Watch(item)
        self._tell_later(watch, 0)

    def read(self, destination: str | None) -> None:
        """Somebody begins to read the list of a destination's items; may come from any thread."""
        with self._lock:
            for (_, of), watch in self._watches.items():
                watch.is_read |= of == destination

    def close(self) -> None:
        """Tell nothing more."""
        with self._lock:
            self._closed = True
            self._watches.clear()

    def _tell_later(self, watch: _Watch, times: int) -> None:
        """Tell the page once more, after it was told so many times since the last end."""
        self._later(_PAUSES_S[times], lambda: self._tell_now(watch, times))

    def _tell_now(self, watch: _Watch, times: int) -> None:
        key = (watch.item.user, watch.item.destination)
        is_last = times + 1 == len(_PAUSES_S)
        with self._lock:
            # Another item has ended meanwhile, which has a watch of its own.
            if self._watches.get(key) is not watch:
                return
            is_seen = times >= _ALWAYS and watch.is_read
            if is_seen or is_last:
                del self._watches[key]
        if not is_seen:
            self._tell(watch.item)
            if not is_last:
                self._tell_later(watch, times + 1)
