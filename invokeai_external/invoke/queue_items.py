"""Items of Invoke's queue and their nodes, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["ItemId", "QueuedItem", "QueuedNode"]


@dataclass(frozen=True, order=True)
class ItemId:
    """What identifies an item of the queue.

    Attributes:
        number: Its number; a new database starts at 1 again.
        batch: The id of its batch, which is different in every database.
    """

    number: int
    batch: str


@dataclass(frozen=True)
class QueuedItem:
    """An item that has not ended.

    Attributes:
        id: Its id.
        status: ``pending`` if its turn has not come. A ``waiting`` item (6.14.2) has started, and continues when the
            workflow that it called has ended.
    """

    id: ItemId
    status: Literal["in_progress", "pending", "waiting"]


@dataclass(frozen=True)
class QueuedNode:
    """A node of a queue item.

    Attributes:
        item: The item.
        node: The id of the node in the item's graph. All executions of one node under an *iterate* share it.
        user: The id of the user who owns the item.
    """

    item: ItemId
    node: str
    user: str
