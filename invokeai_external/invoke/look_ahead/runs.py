"""The runs of the nodes: those under way, those started before their turn, and who fetches which. Pure bookkeeping."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ...result import Failed, GeneratedImage, GenerationResult, Notice, Preview, Progress, Received, Sending
from ...service.progress import ProgressLine
from ..gallery.result_cache import Destination
from .sent_items import Item

__all__ = ["Asked", "Ledger", "Place", "Run"]


class Place(NamedTuple):
    """Where in the queue a node runs.

    Attributes:
        item: The number of the queue item.
        node: The id of the node in the item's graph; the runs of one node under an *iterate* share it.
        user: The id of the user whose item it is.
        batch: The id of the item's batch.
    """

    item: int
    node: str
    user: str
    batch: str = ""

    @property
    def queue_item(self) -> Item:
        """The item, as it is written down."""
        return Item(self.item, self.batch)


class Asked(NamedTuple):
    """What a node asks for, and where: a run is fetched by who asks for the very same.

    Attributes:
        place: Where.
        name: The fingerprint of the request.
    """

    place: Place
    name: str


@dataclass(eq=False)
class Run:
    """A request under way or at its end.

    Attributes:
        provider: The id of the provider that it goes to.
        calls: How many calls it makes.
        asked: What it was started for, and where.
        destination: Where its images belong if its node does not fetch them.
        line: What it does right now.
        under_way: The calls that are out right now, by their number in the run.
        arrived: The pictures so far.
        future: Its result, or the error that it met.
        kept: The result on disk, if it is there; its node removes it when its images are in the gallery.
        is_fetched: True while its node waits for it, and takes what comes of it.
        is_left: True once it is certain that no node takes what comes of it.
        is_orphan: True if its item is gone as well: nobody will ever ask for it there.
        notice: What its images say of it, beside what the provider's answer gives.
        is_in_doubt: True once a call failed that may have been billed all the same.
        ended: Set when the run is over, and what is to be kept of it is written.
    """

    provider: str
    calls: int
    is_fetched: bool
    asked: Asked | None = None
    destination: Destination | None = None
    line: ProgressLine = field(default_factory=ProgressLine)
    under_way: set[int] = field(default_factory=set)
    arrived: list[GeneratedImage] = field(default_factory=list)
    future: Future[GenerationResult] = field(default_factory=Future)
    kept: Path | None = None
    is_left: bool = False
    is_orphan: bool = False
    notice: Notice | None = None
    is_in_doubt: bool = False
    ended: threading.Event = field(default_factory=threading.Event)

    def on_progress(self, event: Progress) -> None:
        """Take note of what it does."""
        self.line.on_progress(event)
        if isinstance(event, Sending | Preview):
            self.under_way.add(event.call)
        else:
            self.under_way.discard(event.call)
        if isinstance(event, Received):
            self.arrived.extend(event.images)
        if isinstance(event, Failed):
            self.is_in_doubt |= event.reason.may_be_billed

    @property
    def may_be_billed(self) -> bool:
        """True if it ended without an answer to a call that the provider may bill."""
        return bool(self.under_way) or self.is_in_doubt


@dataclass
class _Item:
    """What is known of a queue item.

    Attributes:
        waiting: Its runs that were started before their turn and are not fetched yet.
        counted: How often each thing was asked for so far, by its node or for it.
    """

    waiting: defaultdict[Asked, list[Run]] = field(default_factory=lambda: defaultdict(list))
    counted: Counter[Asked] = field(default_factory=Counter)


class Ledger:
    """Which runs there are. Each thing that an item asks for is started once: by its node, or before its turn.

    Attributes:
        is_watched: True while somebody starts runs before their turn and closes the books on items that have ended.
    """

    def __init__(self) -> None:
        self.is_watched = False
        self._lock = threading.Lock()
        self._items: dict[int, _Item] = {}
        self._runs: set[Run] = set()

    def add(self, run: Run) -> None:
        """Count a run that its node has started itself."""
        with self._lock:
            self._forget_what_is_over()
            self._runs.add(run)

    def fetch(self, asked: Asked) -> Run | None:
        """The run that was started before its turn; None if there is none, and the node must start it now."""
        with self._lock:
            if not self.is_watched:
                return None
            item = self._items.setdefault(asked.place.item, _Item())
            if runs := item.waiting[asked]:
                run = runs.pop(0)
                run.is_fetched = True
                return run
            item.counted[asked] += 1
            return None

    def start(self, asked: Asked, number: int, begin: Callable[[], Run]) -> bool:
        """Start a run before its turn, unless it was started already, by its node or here.

        Args:
            asked: What, and for whom.
            number: Which of the runs that ask for exactly this, from 1.
            begin: Starts it; must not take long, since a node that asks for it waits meanwhile.

        Returns:
            True if it was started now.
        """
        with self._lock:
            item = self._items.setdefault(asked.place.item, _Item())
            if item.counted[asked] >= number:
                return False
            run = begin()
            item.counted[asked] += 1
            item.waiting[asked].append(run)
            self._runs.add(run)
            return True

    def calls(self, provider: str) -> int:
        """How many calls are out to a provider, those counted whose result waits for its turn."""
        with self._lock:
            self._forget_what_is_over()
            return sum(run.calls for run in self._runs if run.provider == provider)

    def items(self) -> set[int]:
        """The numbers of the items of which anything is known."""
        with self._lock:
            return set(self._items)

    def forget(self, ended: Iterable[int]) -> Sequence[Run]:
        """Close the books on items that have ended; gives their runs that nobody will fetch."""
        with self._lock:
            gone = [self._items.pop(number) for number in self._items.keys() & set(ended)]
            left = [run for item in gone for runs in item.waiting.values() for run in runs]
            self._runs.difference_update(left)
            self._forget_what_is_over()
            return left

    def runs(self) -> Sequence[Run]:
        """All runs that are not over."""
        with self._lock:
            return [run for run in self._runs if not run.future.done()]

    def _forget_what_is_over(self) -> None:
        """Let go the runs that are over and that no node will come for, and with them their images."""
        self._runs = {run for run in self._runs if not ((run.is_fetched or run.is_left) and run.future.done())}
