"""The items of the Canvas, and the list of them that its page reads."""

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
"""The destination of the Canvas' items begins with this; a session's id follows."""

_ENDED = ("completed", "failed", "canceled")


@contextmanager
def on_canvas_item_ended(callback: Callable[[CanvasItem], None]) -> Iterator[None]:
    """Call a function in Invoke's event loop after an item of the Canvas has ended in any way."""

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
    """Call a function with the destination whose items are about to be listed, in the thread that lists them.

    The page requests the list over REST, which sends no event. The destination None stands for all items.
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
    """Make the page of an item's user reload its lists of the queue, which include the Canvas' list.

    The event of an empty batch has no other effect in the page, and no effect in Invoke.
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
