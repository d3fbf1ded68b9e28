"""The queue: its items, and how they are stored."""

from __future__ import annotations

import asyncio
import time
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
    "delete_items",
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
"""How many stored sessions are read at once. Each has some kilobytes."""

_END_S = 2.0
"""How long cancelled items have to end before they are deleted."""


def queued_node(context: InvocationContext) -> QueuedNode:
    """The node that runs in a context, and its queue item; the public node API does not give them."""
    item = context._data.queue_item
    return QueuedNode(ItemId(item.item_id, item.batch_id), context._data.source_invocation_id, item.user_id)


def queue_is_paused() -> bool:
    """True while Invoke does not start new items."""
    return not ApiDependencies.invoker.services.session_processor.get_status().is_started


def queued_items() -> list[QueuedItem]:
    """The items that have not ended: those in progress, then the others in the order of their turn.

    Invoke's own functions parse the whole graph of each item, which takes a millisecond or two, and can only list all
    items, including those that have ended.
    """
    services = ApiDependencies.invoker.services
    with services.session_queue._db.transaction() as cursor:
        cursor.execute(
            "SELECT item_id, batch_id, status, user_id FROM session_queue WHERE status IN"
            " ('in_progress', 'pending', 'waiting') ORDER BY status != 'in_progress', priority DESC, item_id ASC"
        )
        rows = [tuple(row) for row in cursor.fetchall()]
    if services.configuration.multiuser:
        # At their turn, Invoke refuses the items of a user who was deactivated.
        owners = {owner: services.users.get(owner) for *_, owner in rows}
        rows = [row for row in rows if (user := owners[row[3]]) and user.is_active]
    return [QueuedItem(ItemId(number, batch), status) for number, batch, status, _ in rows]


def repair_queue(node_types: Sequence[str], repaired: Callable[[str], str | None], *, batch: str | None = None) -> int:
    """Rewrite stored items, including those that have ended.

    Invoke's own functions write only parsed sessions, and cannot parse those that have to be rewritten.

    Args:
        node_types: Only items with a node of such a type are read.
        repaired: Returns the new text for the text of a stored session, or None if it is correct.
        batch: Only the items of this batch.

    Returns:
        How many items were changed. If the database fails, no item is changed.
    """
    changes = [
        (new, number, old)
        for number, old in _sessions(batch)
        if any(node_type in old for node_type in node_types) and (new := repaired(old))
    ]
    if changes:
        with ApiDependencies.invoker.services.session_queue._db.transaction() as cursor:
            # A session that Invoke has stored again in the meantime is correct.
            cursor.executemany("UPDATE session_queue SET session = ? WHERE item_id = ? AND session = ?", changes)
    return len(changes)


def delete_items(is_wanted: Callable[[str], bool]) -> int:
    """Cancel the items that have not ended, and delete them and those that have. The queue must be paused.

    Args:
        is_wanted: True for the text of the stored session of an item to delete.

    Returns:
        How many were deleted.
    """
    services = ApiDependencies.invoker.services
    numbers = {number for number, session in _sessions() if is_wanted(session)}
    unfinished = [item.id.number for item in queued_items() if item.id.number in numbers]
    for number in unfinished:
        with suppress(SessionQueueItemNotFoundError):
            services.session_queue.cancel_queue_item(number)
    deadline = time.monotonic() + _END_S
    # Invoke cannot store the end of an item that is deleted.
    while unfinished and services.session_processor.get_status().is_processing and time.monotonic() < deadline:
        time.sleep(0.05)
    with services.session_queue._db.transaction() as cursor:
        cursor.executemany("DELETE FROM session_queue WHERE item_id = ?", [(number,) for number in numbers])
    return len(numbers)


def _sessions(batch: str | None = None) -> Iterator[tuple[int, str]]:
    """The numbers and the stored sessions of all items, or of those of a batch."""
    queue = ApiDependencies.invoker.services.session_queue
    # Batches have an index. One query for both cases would read the whole history at each enqueue.
    wanted, of = ("item_id > ? AND batch_id = ?", (batch,)) if batch else ("item_id > ?", ())
    query = f"SELECT item_id, session FROM session_queue WHERE {wanted} ORDER BY item_id LIMIT {_READ_AT_ONCE}"
    last = -1
    # Read in parts, so that Invoke's page does not have to wait until a long history is read.
    while True:
        with queue._db.transaction() as cursor:
            cursor.execute(query, (last, *of))
            rows = [tuple(row) for row in cursor.fetchall()]
        yield from rows
        if len(rows) < _READ_AT_ONCE:
            return
        last = rows[-1][0]


def queue_item(number: int) -> SessionQueueItem | None:
    """A queue item with its graph; None if it does not exist."""
    with suppress(SessionQueueItemNotFoundError):
        return ApiDependencies.invoker.services.session_queue.get_queue_item(number)
    return None


@contextmanager
def paused_queue() -> Iterator[None]:
    """Keep Invoke from taking items from the queue.

    Items that an earlier Invoke left in the queue start while Invoke itself starts, during the clean-up of its
    database. That can crash Invoke: "cannot VACUUM - SQL statements in progress" (6.14.2). It is more likely with our
    nodes, whose image may be there at once, than with a node that has to load a model.
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
    """Call a function after each change of the queue; it must not take long.

    Some changes have no event: bulk cancellation of pending items in 6.13.0, and deletion of items in all versions.
    """

    async def handle(event: tuple[str, object]) -> None:
        # An empty batch is from ``notify_canvas``, or the queue was full.
        if not isinstance(event[1], BatchEnqueuedEvent) or event[1].enqueued:
            callback()

    with handled({BatchEnqueuedEvent, QueueClearedEvent, QueueItemsRetriedEvent, QueueItemStatusChangedEvent}, handle):
        yield


@contextmanager
def on_batch(callback: Callable[[str], None]) -> Iterator[None]:
    """Call a function in a thread with the id of each batch that was added to the queue."""

    async def handle(event: tuple[str, BatchEnqueuedEvent]) -> None:
        if event[1].enqueued:
            await asyncio.to_thread(callback, event[1].batch_id)

    with handled({BatchEnqueuedEvent}, handle):
        yield
