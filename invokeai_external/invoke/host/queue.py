"""The queue: its items, and what is stored of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from invokeai.app.api.dependencies import ApiDependencies
from invokeai.app.services.events.events_common import (
    BatchEnqueuedEvent,
    QueueClearedEvent,
    QueueItemsRetriedEvent,
    QueueItemStatusChangedEvent,
)
from invokeai.app.services.session_queue.session_queue_common import (
    SessionQueueItem,
    SessionQueueItemNotFoundError,
)
from invokeai.app.services.session_queue.session_queue_sqlite import SqliteSessionQueue
from invokeai.app.services.shared.invocation_context import InvocationContext

from ..queue_items import ItemId, QueuedItem, QueuedNode
from .events import handled

__all__ = [
    "on_batch",
    "on_queue_change",
    "paused_queue",
    "queue_is_paused",
    "queue_item",
    "queued_items",
    "queued_node",
    "repair_queue",
]

_READ_AT_ONCE = 200
"""How many stored sessions are read at once; each has some kilobytes."""


def queued_node(context: InvocationContext) -> QueuedNode:
    """The node that runs in a context, and its queue item; the public node API does not give them."""
    item = context._data.queue_item
    return QueuedNode(ItemId(item.item_id, item.batch_id), context._data.source_invocation_id, item.user_id)


def queue_is_paused() -> bool:
    """True while nothing new is taken from the queue."""
    return not ApiDependencies.invoker.services.session_processor.get_status().is_started


def queued_items() -> list[QueuedItem]:
    """The items that have not ended: those that run, and behind them the others in their order.

    Invoke's own lists read the whole graph of each item, which takes a millisecond or two, and cannot tell the items of
    those that have ended without that.
    """
    services = ApiDependencies.invoker.services
    with services.session_queue._db.transaction() as cursor:
        cursor.execute(
            "SELECT item_id, batch_id, status, user_id FROM session_queue WHERE status IN"
            " ('in_progress', 'pending', 'waiting') ORDER BY status != 'in_progress', priority DESC, item_id ASC"
        )
        rows = [tuple(row) for row in cursor.fetchall()]
    if services.configuration.multiuser:
        # Invoke refuses the items of a user who was locked out when it comes to them.
        owners = {owner: services.users.get(owner) for *_, owner in rows}
        rows = [row for row in rows if (user := owners[row[3]]) and user.is_active]
    return [QueuedItem(ItemId(number, batch), status) for number, batch, status, _ in rows]


def repair_queue(node_types: Sequence[str], repaired: Callable[[str], str | None], *, batch: str | None = None) -> int:
    """Replace what is stored of items, ended ones as well, where it is not what it should be.

    Invoke's own writer takes a session that was parsed, and cannot be given one that no class of its own parses.

    Args:
        node_types: Only items with a node of such a type are looked at.
        repaired: Given the text of a stored session; gives the text to store in its place, or None to leave it.
        batch: Only the items of this batch.

    Returns:
        How many were changed: all of them, or none where the database fails.
    """
    queue = ApiDependencies.invoker.services.session_queue
    # A batch has an index; with one query for both cases each enqueueing would read through the whole history.
    wanted, of = ("item_id > ? AND batch_id = ?", (batch,)) if batch else ("item_id > ?", ())
    query = f"SELECT item_id, session FROM session_queue WHERE {wanted} ORDER BY item_id LIMIT {_READ_AT_ONCE}"
    changes, last = [], -1
    # Read in parts, so that Invoke's page need not wait for the whole of a long history.
    while True:
        with queue._db.transaction() as cursor:
            cursor.execute(query, (last, *of))
            rows = [tuple(row) for row in cursor.fetchall()]
        ours = [row for row in rows if any(node_type in row[1] for node_type in node_types)]
        changes += [(new, number, old) for number, old in ours if (new := repaired(old))]
        if len(rows) < _READ_AT_ONCE:
            break
        last = rows[-1][0]
    if changes:
        with queue._db.transaction() as cursor:
            # What was stored anew meanwhile, by a run that has ended, is right.
            cursor.executemany("UPDATE session_queue SET session = ? WHERE item_id = ? AND session = ?", changes)
    return len(changes)


def queue_item(number: int) -> SessionQueueItem | None:
    """A queue item with its graph; None if it is gone."""
    with suppress(SessionQueueItemNotFoundError):
        return ApiDependencies.invoker.services.session_queue.get_queue_item(number)
    return None


@contextmanager
def paused_queue() -> Iterator[None]:
    """Nothing is taken from the queue.

    What an earlier Invoke left in its queue begins while the next one starts, beside the clean-up of its database. That
    can die of it, and Invoke with it: "cannot VACUUM - SQL statements in progress" (6.14.2). A run of ours, whose
    picture may be there at once, makes it likelier than one that has to load a model.
    """
    original = SqliteSessionQueue.dequeue

    def dequeue(_: SqliteSessionQueue, **__: Any) -> None:
        return None

    SqliteSessionQueue.dequeue = dequeue
    try:
        yield
    finally:
        SqliteSessionQueue.dequeue = original


@contextmanager
def on_queue_change(callback: Callable[[], None]) -> Iterator[None]:
    """Call back whenever the queue has changed; must not take long.

    Not all is announced: 6.13.0 says nothing of pending items that are cancelled in bulk, and no version says anything
    of deleted ones.
    """

    async def handle(event: tuple[str, object]) -> None:
        # One of no items is that of ``notify_canvas``, or of a queue that was full.
        if not isinstance(event[1], BatchEnqueuedEvent) or event[1].enqueued:
            callback()

    with handled({BatchEnqueuedEvent, QueueClearedEvent, QueueItemsRetriedEvent, QueueItemStatusChangedEvent}, handle):
        yield


@contextmanager
def on_batch(callback: Callable[[str], None]) -> Iterator[None]:
    """Call back in a thread with the id of each batch whose items were put into the queue."""

    async def handle(event: tuple[str, BatchEnqueuedEvent]) -> None:
        if event[1].enqueued:
            await asyncio.to_thread(callback, event[1].batch_id)

    with handled({BatchEnqueuedEvent}, handle):
        yield
