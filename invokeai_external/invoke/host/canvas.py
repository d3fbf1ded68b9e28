"""The items of the Canvas, and what its page reads of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from invokeai.app.api.dependencies import ApiDependencies
from invokeai.app.services.events.events_common import (
    BatchEnqueuedEvent,
    QueueItemStatusChangedEvent,
)
from invokeai.app.services.session_queue.session_queue_common import SessionQueueItem
from invokeai.app.services.session_queue.session_queue_sqlite import SqliteSessionQueue

from ..page.canvas_refresh import CanvasItem
from .events import handled

__all__ = ["notify_canvas", "on_canvas_item_ended", "on_items_read"]

_CANVAS = "canvas"
"""What the destination of the Canvas' items begins with; a session's id follows."""

_ENDED = ("completed", "failed", "canceled")


@contextmanager
def on_canvas_item_ended(callback: Callable[[CanvasItem], None]) -> Iterator[None]:
    """Call back in Invoke's event loop after an item of the Canvas has ended, in whichever way."""

    async def handle(event: tuple[str, QueueItemStatusChangedEvent]) -> None:
        changed = event[1]
        if changed.status in _ENDED and changed.destination and changed.destination.startswith(_CANVAS):
            callback(
                CanvasItem(
                    queue=changed.queue_id,
                    batch=changed.batch_id,
                    origin=changed.origin,
                    destination=changed.destination,
                    user=str(changed.user_id),
                )
            )

    with handled({QueueItemStatusChangedEvent}, handle):
        yield


@contextmanager
def on_items_read(callback: Callable[[str | None], None]) -> Iterator[None]:
    """Call back with a destination when the list of its items begins to be read, in the thread that reads it.

    The page reads it over REST, which announces nothing. All items are the destination None.
    """
    original = SqliteSessionQueue.list_all_queue_items

    def list_all_queue_items(
        queue: SqliteSessionQueue, queue_id: str, destination: str | None = None
    ) -> list[SessionQueueItem]:
        callback(destination)
        found: list[SessionQueueItem] = original(queue, queue_id, destination)
        return found

    SqliteSessionQueue.list_all_queue_items = list_all_queue_items
    try:
        yield
    finally:
        SqliteSessionQueue.list_all_queue_items = original


def notify_canvas(item: CanvasItem) -> None:
    """Have the page of an item's user read its lists of the queue again, that of the Canvas' items among them.

    The event of a batch of no items has no other effect in the page, and in Invoke none.
    """
    ApiDependencies.invoker.services.events.dispatch(
        BatchEnqueuedEvent(
            queue_id=item.queue,
            batch_id=item.batch,
            enqueued=0,
            requested=0,
            priority=0,
            origin=item.origin,
            user_id=item.user,
        )
    )
