"""What the runtime and look-ahead need from Invoke, as one typed object that tests can replace.

The real one is ``host.invoke_host.InvokeHost``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..providers.provider_config import ProviderConfig
from ..request import GenerationRequest
from ..settings.settings import Credentials
from ..spending.recorded_call import Payer
from .gallery.images_of_cancelled_runs import Gallery
from .gallery.result_cache import Destination
from .queue_items import ItemId, QueuedItem, QueuedNode

__all__ = ["Host", "NodeRequest"]


@dataclass(frozen=True)
class NodeRequest:
    """A request that a node will make at its turn.

    Attributes:
        node: The node.
        request: The request.
        destination: Where its images belong if the node does not use them.
    """

    node: QueuedNode
    request: GenerationRequest
    destination: Destination


class Host(Gallery, Protocol):
    """A running Invoke."""

    @property
    def root(self) -> Path:
        """Its root folder."""

    def credentials(self, providers: Sequence[ProviderConfig]) -> dict[str, Credentials]:
        """The keys and base URLs that it has now."""

    def has_several_users(self) -> bool:
        """True if it has several users, whose images are separate."""

    def is_admin(self, user: str) -> bool:
        """True if a user, by the id, may change keys and limits: an administrator, or the only user."""

    def payer(self, user: str, board: str | None) -> Payer:
        """On whose account the node of a user is run.

        Args:
            user: The id of the user.
            board: The id of the board that its images are saved to; None for no board.
        """

    def saved_workflows(self, containing: str) -> list[str]:
        """The JSON of all saved workflows with a text in it."""

    def queued_items(self) -> list[QueuedItem]:
        """The items that have not ended: those in progress, then the others in the order of their turn."""

    def queue_is_paused(self) -> bool:
        """True while it starts no new item."""

    def node_requests(self, item: ItemId) -> Iterator[NodeRequest]:
        """The requests that the nodes of an item will certainly make and whose inputs are known by now.

        Nodes that take their result from Invoke's cache are not included. Ends at a node whose request cannot be made:
        it reports the error at its turn, and the item fails there.
        """
