"""Sends the requests of queued items before their turn, since Invoke runs only one item at a time.

The queue is read whenever it changes (``queue_watcher``). In the items that run or wait, look-ahead finds the external
nodes whose inputs are known, and starts their runs as far as the provider's ``concurrency`` allows; a result that waits
for its turn counts as a call in flight. At its turn the node claims its run (``Runtime.run``). A run whose item was
cancelled, cleared or deleted is cancelled, and the images received by then go into the gallery.

What is sent before its turn is recorded before it is sent. After an Invoke that was killed, nothing is sent before its
turn until one request has succeeded, so that repeated crashes do not cost eight calls each; and an item whose calls may
have been billed already waits for its turn.

After the first call of a batch, the others wait a moment (``GRACE_S``), so that a batch that is cancelled
at once, or whose first call fails at once, does not leave eight calls that may be billed. If it failed for want of
credit or for its key, no other is sent (``account_errors``).

Look-ahead never pays for more than the queue would: each run that an item requests is started once. What an *if* may
skip, a node that takes its result from a cache, and whatever is not certain wait for their turn.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

from ...errors import ExternalError
from ..host_api import Host, NodeRequest
from ..log import log
from ..queue_items import ItemId
from ..runtime import Runtime
from .run_table import Run, RunKey

__all__ = ["LookAhead"]

_HORIZON = 64
"""How many items of the queue are read. Each is read once, which takes some milliseconds."""

GRACE_S = 0.3
"""So short that a batch of eight images that take five seconds each takes at most a quarter longer than one."""

_CLOSE_S = 5.0
"""How long a stop waits for images that are being written."""


@dataclass(frozen=True)
class _Prospect:
    """A request that can be sent before its turn.

    Attributes:
        at_turn: The request as its node will make it.
        provider: The id of the provider that it is sent to.
        calls: How many calls it makes.
    """

    at_turn: NodeRequest
    provider: str
    calls: int


@dataclass
class _Prospects:
    """The requests of an item that can be sent before its turn, read only as far as there is room for them.

    Attributes:
        rest: Those not read yet.
        first: The next one to start; None at the end.
        read: How often each run was read so far.
    """

    rest: Iterator[_Prospect]
    first: _Prospect | None = None
    read: Counter[RunKey] = field(default_factory=Counter)


@dataclass(frozen=True)
class _FirstRun:
    """The first run of a batch while no other may be sent before its turn.

    Attributes:
        run: The run.
        since: When it was first seen, by the clock.
    """

    run: Run
    since: float


class LookAhead:
    """Reads the queue and starts runs. ``look`` and ``close`` are called from one thread at a time, ``stop`` from any.

    Args:
        runtime: Starts the runs.
        host: The running Invoke.
        grace_s: How long the first call of a batch is in flight before others of the batch are sent before their turn,
            in seconds.
        clock: Returns the seconds since some moment.

    Attributes:
        wait_s: After ``look``, the time until the next one if a batch waits for its first call; else None.
    """

    def __init__(
        self, runtime: Runtime, host: Host, *, grace_s: float = GRACE_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._runtime = runtime
        self._host = host
        self._table = runtime.table
        self._concurrency: Mapping[str, int] = {}
        self._clock = clock
        self._stopped = False
        self.wait_s: float | None = None
        self._grace_s = grace_s
        self._first_runs: dict[str, _FirstRun] = {}
        self._open_batches: set[str] = set()
        self._prospects: dict[ItemId, _Prospects] = {}
        # Some nodes of the items in progress may have run before the table was watched.
        self._begun = {item.id for item in host.queued_items() if item.status == "in_progress"}
        self._table.is_watched = True
        runtime.sent_items.open()

    def stop(self) -> None:
        """Start no more runs."""
        self._stopped = True

    def close(self) -> None:
        """Cancel all runs that wait for their turn, and wait until their images are written."""
        self.stop()
        self._table.is_watched = False
        unclaimed = self._table.remove_items(self._table.items())
        for run in unclaimed:
            self._runtime.cancel(run, is_item_gone=False)
        deadline = time.monotonic() + _CLOSE_S
        for run in unclaimed:
            run.ended.wait(max(0.0, deadline - time.monotonic()))
        self._runtime.sent_items.close()

    def look(self) -> bool:
        """Cancel the runs whose items are gone and start new ones; True if the queue may change without an event."""
        self.wait_s = None
        # Read before the queue: an item that is queued and starts in between must not count as ended and start again.
        known = self._table.items()
        queue = self._host.queued_items()
        queued = {item.id for item in queue}
        for run in self._table.remove_items(known - queued):
            self._runtime.cancel(run, is_item_gone=True)
        sent_items = self._runtime.sent_items
        sent_items.retain(queued)
        self._prospects = {item: prospects for item, prospects in self._prospects.items() if item in queued}
        queued_batches = {item.batch for item in queued}
        self._first_runs = {batch: first for batch, first in self._first_runs.items() if batch in queued_batches}
        self._open_batches &= queued_batches
        self._concurrency = self._most_calls()
        may_start = self._concurrency and (sent_items.was_orderly or self._runtime.has_succeeded)
        if may_start and not self._host.queue_is_paused():
            batches = {item.id.batch for item in queue if item.status == "in_progress"}
            # The sort is stable: items in progress stay first, and the others in their order.
            for item in sorted(queue, key=lambda item: item.id.batch not in batches)[:_HORIZON]:
                if self._stopped or item.status == "waiting" or item.id in self._begun:
                    continue
                if not sent_items.is_unconfirmed(item.id):
                    self._start(item.id)
        return bool(queue)

    def _most_calls(self) -> Mapping[str, int]:
        """How many calls may be in flight to each provider, by its id; empty while look-ahead is off."""
        try:
            settings = self._runtime.settings()
        except ExternalError:
            # Every run reports it.
            return {}
        if not settings.limits.look_ahead:
            return {}
        most = settings.limits.concurrency
        return {name: provider.limits.concurrency or most for name, provider in settings.providers.items()}

    def _start(self, item: ItemId) -> None:
        """Start what is known of an item, as far as there is room. An item that cannot be read waits for its turn."""
        try:
            if item not in self._prospects and self._has_room_for_any():
                rest = self._read(item)
                self._prospects[item] = _Prospects(rest, next(rest, None))
            prospects = self._prospects.get(item)
            while not self._stopped and prospects and (first := prospects.first) and self._has_room_for(first):
                if self._runtime.account_errors.of(item, first.provider) or not self._may_send(item.batch):
                    return
                at_turn = first.at_turn
                key = self._runtime.key_of(at_turn.request, at_turn.node)
                prospects.read[key] += 1
                begin = partial(self._runtime.run_ahead, at_turn.request, key, at_turn.destination)
                run = self._table.start(key, prospects.read[key], begin)
                if run and item.batch not in self._open_batches:
                    self._first_runs[item.batch] = _FirstRun(run, self._clock())
                prospects.first = next(prospects.rest, None)
        except Exception as error:
            log.warning("invokeai_external: look-ahead could not read the queue item %s: %s", item.number, error)
            self._prospects[item] = _Prospects(iter(()))

    def _may_send(self, batch: str) -> bool:
        """True if a call of a batch may be sent before its turn: the first, or any after the first had some time."""
        if batch in self._open_batches:
            return True
        now, first = self._clock(), self._first_runs.get(batch)
        if first is None:
            if (run := self._table.run_of(batch)) is None:
                return True
            self._first_runs[batch] = first = _FirstRun(run, now)
        if (left_s := first.since + self._grace_s - now) > 0:
            self.wait_s = min(left_s, self.wait_s or left_s)
            return False
        del self._first_runs[batch]
        # After a failure, the next call is a first one again.
        if not first.run.has_failed:
            self._open_batches.add(batch)
        return True

    def _read(self, item: ItemId) -> Iterator[_Prospect]:
        for at_turn in self._host.node_requests(item):
            try:
                provider, calls = self._runtime.provider_and_calls(at_turn.request)
            except Exception:
                # The node reports it at its turn, and the item fails there.
                return
            yield _Prospect(at_turn, provider, calls)

    def _has_room_for_any(self) -> bool:
        return any(self._table.calls(name) < self._concurrency.get(name, 0) for name in self._runtime.providers())

    def _has_room_for(self, first: _Prospect) -> bool:
        """True if the calls of a request may be sent now. The only request may make more calls than ``concurrency``."""
        in_flight = self._table.calls(first.provider)
        return in_flight == 0 or in_flight + first.calls <= self._concurrency.get(first.provider, 0)
