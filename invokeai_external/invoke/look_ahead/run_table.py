"""The runs of the nodes: which are in progress, which were started before their turn, and which node claims which."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

from ...errors import RequestError
from ...progress import Failed, Preview, Progress, Received, Sending
from ...result import GeneratedImage, GenerationResult, Notice
from ...service.progress_text import ProgressLine
from ..gallery.result_cache import Destination
from ..queue_items import ItemId, QueuedNode

__all__ = ["Run", "RunKey", "RunTable"]


@dataclass(frozen=True)
class RunKey:
    """What identifies a run: a node claims the run that was started for it and for an equal request.

    Attributes:
        node: The node that the run belongs to.
        fingerprint: The fingerprint of the request.
    """

    node: QueuedNode
    fingerprint: str


@dataclass(eq=False)
class Run:
    """A request in progress or completed.

    Attributes:
        provider: The id of the provider that it is sent to.
        calls: How many calls it makes.
        is_claimed: True while its node waits for it and will use its images.
        key: The node and the request that it was started for.
        destination: Where its images belong if its node does not use them.
        line: Its progress.
        in_flight: The numbers of its calls that are in flight.
        received: The images received so far.
        future: Its result, or the error that ended it.
        cache_entry: Its result on disk, if it is there. Its node removes it when the images are in the gallery.
        is_abandoned: True once it is certain that no node will use its images.
        is_item_gone: True if its queue item has gone as well, so that no node will request the same again.
        notice: What its images report about it, in addition to the result's own notices.
        failed_unconfirmed: True once a call failed that may have been billed.
        is_withdrawn: True once a limit refused it before its turn.
        ended: Set when the run is over and its images are stored if they have to be.
    """

    provider: str
    calls: int
    is_claimed: bool
    key: RunKey | None = None
    destination: Destination | None = None
    line: ProgressLine = field(default_factory=ProgressLine)
    in_flight: set[int] = field(default_factory=set)
    received: list[GeneratedImage] = field(default_factory=list)
    future: Future[GenerationResult] = field(default_factory=Future)
    cache_entry: Path | None = None
    is_abandoned: bool = False
    is_item_gone: bool = False
    notice: Notice | None = None
    failed_unconfirmed: bool = False
    is_withdrawn: bool = False
    ended: threading.Event = field(default_factory=threading.Event)

    def on_progress(self, event: Progress) -> None:
        """Record its progress."""
        self.line.on_progress(event)
        if isinstance(event, Sending | Preview):
            self.in_flight.add(event.call)
        else:
            self.in_flight.discard(event.call)
        if isinstance(event, Received):
            self.received.extend(event.images)
        if isinstance(event, Failed):
            self.failed_unconfirmed |= event.reason.may_be_billed

    @property
    def has_failed(self) -> bool:
        """True if it ended with an error or was cancelled."""
        return self.future.done() and (self.future.cancelled() or self.future.exception() is not None)

    @property
    def failed_before_sending(self) -> bool:
        """True if nothing was sent, for a reason that may be fixed by now, such as a missing key."""
        return self.has_failed and not self.future.cancelled() and isinstance(self.future.exception(), RequestError)

    @property
    def may_be_billed(self) -> bool:
        """True if it ended without a response to a call that the provider may bill."""
        return bool(self.in_flight) or self.failed_unconfirmed


@dataclass
class _Item:
    """The runs of a queue item.

    Attributes:
        unclaimed: Its runs that were started before their turn and are not claimed yet.
        requested: How often each run was requested so far, by its node or by look-ahead.
    """

    unclaimed: defaultdict[RunKey, list[Run]] = field(default_factory=lambda: defaultdict(list))
    requested: Counter[RunKey] = field(default_factory=Counter)


class RunTable:
    """All runs. Each run that an item requests is started once: by its node, or before its turn.

    Attributes:
        is_watched: True while look-ahead starts runs before their turn and removes the items that have ended.
    """

    def __init__(self) -> None:
        self.is_watched = False
        self._lock = threading.Lock()
        self._items: dict[ItemId, _Item] = {}
        self._runs: set[Run] = set()

    def add(self, run: Run) -> None:
        """Add a run that its node has started itself."""
        with self._lock:
            self._remove_completed()
            self._runs.add(run)

    def claim(self, key: RunKey) -> Run | None:
        """The run that was started before its turn; None if the node must start it now."""
        with self._lock:
            if not self.is_watched:
                return None
            item = self._items.setdefault(key.node.item, _Item())
            if runs := item.unclaimed[key]:
                run = runs.pop(0)
                run.is_claimed = not run.is_withdrawn
                return run if run.is_claimed else None
            item.requested[key] += 1
            return None

    def start(self, key: RunKey, number: int, begin: Callable[[], Run]) -> Run | None:
        """Start a run before its turn, unless it was already started by its node or here.

        Args:
            key: What identifies the run.
            number: The number of the run among those with this key, from 1.
            begin: Starts it. Must not take long, since a node that requests it waits.

        Returns:
            The run if it was started now.
        """
        with self._lock:
            item = self._items.setdefault(key.node.item, _Item())
            if item.requested[key] >= number:
                return None
            run = begin()
            item.requested[key] += 1
            item.unclaimed[key].append(run)
            self._runs.add(run)
            return run

    def withdraw(self, run: Run) -> bool:
        """End a run before its turn, so that its node starts it again; False if its node has claimed it."""
        with self._lock:
            if run.is_claimed:
                return False
            run.is_withdrawn = True
            self._runs.discard(run)
            return True

    def calls(self, provider: str) -> int:
        """How many calls to a provider are in flight, including those whose result waits for its turn."""
        with self._lock:
            self._remove_completed()
            return sum(run.calls for run in self._runs if run.provider == provider)

    def run_of(self, batch: str) -> Run | None:
        """A run of a batch that has not failed; None if there is no such run at the moment."""
        with self._lock:
            return next(
                (run for run in self._runs if run.key and run.key.node.item.batch == batch and not run.has_failed), None
            )

    def items(self) -> set[ItemId]:
        """The items in the table."""
        with self._lock:
            return set(self._items)

    def remove_items(self, ended: Iterable[ItemId]) -> Sequence[Run]:
        """Remove items that have ended; returns their runs that no node has claimed."""
        with self._lock:
            removed = [self._items.pop(item) for item in self._items.keys() & set(ended)]
            unclaimed = [run for item in removed for runs in item.unclaimed.values() for run in runs]
            self._runs.difference_update(unclaimed)
            self._remove_completed()
            return unclaimed

    def runs(self) -> Sequence[Run]:
        """All runs in progress."""
        with self._lock:
            return [run for run in self._runs if not run.future.done()]

    def _remove_completed(self) -> None:
        """Remove the runs that are over and that no node will claim, so that their images can be freed."""
        self._runs = {run for run in self._runs if not ((run.is_claimed or run.is_abandoned) and run.future.done())}
