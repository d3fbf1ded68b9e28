"""Starts the calls of queued runs before their turn: Invoke runs one item at a time, and a provider takes many calls.

A thread looks at the queue whenever it changes. Of the items that run or wait it finds the external nodes whose inputs
are known by now, and starts their calls as far as the provider's ``concurrency`` allows; a result that waits for its
turn counts as a call that is out. The node fetches its run when it is its turn (``Runtime.run``). A run whose item was
cancelled, cleared or deleted is given up; what had come of it by then goes into the gallery.

What is sent before its turn is written down before it is sent. After an Invoke that was killed nothing is sent before
its turn until one request has succeeded, so that a crash that comes back does not cost eight calls each time; and an
item whose calls may have been billed already waits for its turn.

Never more is paid for than the queue would have: each thing that an item asks for is started once, and what an *if* may
skip, a node that takes its result from a cache, and whatever is not certain, wait for their turn.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from ...request import GenerationRequest
from ..gallery.result_cache import Destination
from ..host.config import log
from ..host.graphs import known_nodes
from ..host.queue import place_of, queue_is_paused, queue_item, queued_items
from ..nodes import ExternalImageInvocation
from ..runtime import Runtime
from .runs import Asked, Place
from .sent_items import Item

__all__ = ["LookAhead"]

CARRIERS = frozenset(
    {
        *("boolean", "float", "image", "integer", "string"),
        *("boolean_collection", "float_collection", "image_collection", "integer_collection", "string_collection"),
        *("collect", "core_metadata", "iterate"),
    }
)
"""The types of the nodes that do nothing but carry values, so that what they put out is known before they run."""

_POLL_S = 0.5
"""How often the queue is looked at without being told, while anything may change unannounced."""

_HORIZON = 64
"""How many items of the queue are looked at; each is read once, which takes some milliseconds."""

_IDLE_S = 3600.0
"""How often it is looked for results that nobody has asked for within a day."""

_END_S = 5.0
"""How long a stop waits for what is being written."""


class _Prospect(NamedTuple):
    """What a node will ask for.

    Attributes:
        place: Where it runs.
        request: What it asks for.
        destination: Whose it is.
        provider: The id of the provider that it goes to.
        calls: How many calls it takes.
    """

    place: Place
    request: GenerationRequest
    destination: Destination
    provider: str
    calls: int


@dataclass
class _Prospects:
    """What an item will ask for, as far as that is known: read on only as far as there is room to start it.

    Attributes:
        rest: What was not looked at yet.
        first: What is to be started next; None at the end.
        met: How often each thing was met so far.
    """

    rest: Iterator[_Prospect]
    first: _Prospect | None = None
    met: Counter[Asked] = field(default_factory=Counter)


class LookAhead:
    """Watches the queue in a thread of its own, from now on until it is closed."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._ledger = runtime.ledger
        self._concurrency = runtime.settings().limits.concurrency
        self._changed = threading.Event()
        self._closed = False
        self._prospects: dict[int, _Prospects] = {}
        # The nodes of what runs already may have run before anybody kept books on it.
        self._strangers = {item.number for item in queued_items() if item.status == "in_progress"}
        self._ledger.is_watched = True
        runtime.sent.open()
        self._thread = threading.Thread(target=self._watch, name="invokeai_external look-ahead", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Have it look at the queue, which has changed."""
        self._changed.set()

    def end(self) -> None:
        """Start nothing more."""
        self._closed = True
        self._changed.set()

    def close(self) -> None:
        """Give up all that waits for its turn, and wait until what has come of it is written."""
        self.end()
        self._thread.join(_END_S)
        self._ledger.is_watched = False
        left = self._ledger.forget(self._ledger.items())
        for run in left:
            self._runtime.give_up(run, item_is_gone=False)
        deadline = time.monotonic() + _END_S
        for run in left:
            run.ended.wait(max(0.0, deadline - time.monotonic()))
        self._runtime.sent.close()

    def _watch(self) -> None:
        timeout_s, looked_through_at = 0.0, time.monotonic()
        while True:
            self._changed.wait(timeout_s)
            self._changed.clear()
            if self._closed:
                return
            try:
                timeout_s = _POLL_S if self._look() else _IDLE_S
                if time.monotonic() - looked_through_at >= _IDLE_S:
                    looked_through_at = time.monotonic()
                    self._runtime.deliver_old()
            # Without this thread the queue goes on, as slowly as it would without a plugin.
            except Exception as error:
                log.warning("invokeai_external could not look ahead: %s", error)
                timeout_s = _POLL_S

    def _look(self) -> bool:
        """Give up what has lost its item, start what can be started; True if anything may change unannounced."""
        # Asked first: what is queued and run behind the queue's back must not be taken for ended, and started again.
        known = self._ledger.items()
        queue = queued_items()
        alive = {item.number for item in queue}
        for run in self._ledger.forget(known - alive):
            self._runtime.give_up(run, item_is_gone=True)
        sent = self._runtime.sent
        sent.retain({Item(item.number, item.batch) for item in queue})
        self._prospects = {number: known for number, known in self._prospects.items() if number in alive}
        if (sent.was_orderly or self._runtime.has_succeeded) and not queue_is_paused():
            batches = {item.batch for item in queue if item.status == "in_progress"}
            # Stable: running items stay first, and those of one kind in their order.
            for item in sorted(queue, key=lambda item: item.batch not in batches)[:_HORIZON]:
                if self._closed or item.status == "waiting" or item.number in self._strangers:
                    continue
                if not sent.is_doubtful(Item(item.number, item.batch)):
                    self._start(item.number)
        return bool(queue)

    def _start(self, number: int) -> None:
        """Start what is known of an item, as far as there is room. One that cannot be read is left to its turn."""
        try:
            if number not in self._prospects and self._has_room_at_all():
                rest = self._known(number)
                self._prospects[number] = _Prospects(rest, next(rest, None))
            prospects = self._prospects.get(number)
            while not self._closed and prospects and (first := prospects.first) and self._has_room(first):
                asked = self._runtime.asked(first.request, first.place)
                prospects.met[asked] += 1
                begin = partial(self._runtime.run_ahead, first.request, asked, first.destination)
                self._ledger.start(asked, prospects.met[asked], begin)
                prospects.first = next(prospects.rest, None)
        except Exception as error:
            log.warning("invokeai_external could not look ahead into the queue item %s: %s", number, error)
            self._prospects[number] = _Prospects(iter(()))

    def _known(self, number: int) -> Iterator[_Prospect]:
        item = queue_item(number)
        for context, node in known_nodes(item, ExternalImageInvocation, CARRIERS) if item else ():
            if node.use_cache:
                continue
            try:
                request, destination = node.prepare(context)
                provider, calls = self._runtime.provider_and_calls(request)
            except Exception:
                # The node tells it when it is its turn, and the item fails: what comes behind never runs.
                return
            yield _Prospect(place_of(context), request, destination, provider, calls)

    def _has_room_at_all(self) -> bool:
        return any(self._ledger.calls(provider) < self._concurrency for provider in self._runtime.providers())

    def _has_room(self, first: _Prospect) -> bool:
        """True if the calls of a request may go out now; alone, one may have more of them than are let out at once."""
        out = self._ledger.calls(first.provider)
        return out == 0 or out + first.calls <= self._concurrency
