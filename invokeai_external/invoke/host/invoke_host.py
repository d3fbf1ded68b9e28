"""The running Invoke, as the object that the runtime and look-ahead get (``host_api``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from invokeai.app.invocations.baseinvocation import BaseInvocation
from invokeai.app.services.shared.invocation_context import InvocationContext
from PIL import Image

from ...providers.provider_config import ProviderConfig
from ...request import GenerationRequest
from ...settings.settings import Credentials
from ...spending.recorded_call import Payer
from ..gallery.result_cache import Destination
from ..host_api import NodeRequest
from ..queue_items import ItemId, QueuedItem
from . import config, gallery, graphs, queue, users, workflows

__all__ = ["InvokeHost", "RequestingNode"]

VALUE_NODES = frozenset(
    {
        *("boolean", "float", "image", "integer", "string"),
        *("boolean_collection", "float_collection", "image_collection", "integer_collection", "string_collection"),
        *("collect", "core_metadata", "iterate"),
    }
)
"""The types of the nodes that only carry values, so that their output is known before they run."""


class RequestingNode(Protocol):
    """A node of ours."""

    use_cache: bool

    def prepare(self, context: InvocationContext) -> tuple[GenerationRequest, Destination]:
        """Its request, and where the images belong; raises if the request cannot be made."""


class InvokeHost:
    """The Invoke that this code runs in.

    Args:
        our_node: Returns the node of ours that runs as a node of a graph; None if Invoke runs the node itself.
    """

    def __init__(self, our_node: Callable[[BaseInvocation, InvocationContext], RequestingNode | None]) -> None:
        self._our_node = our_node

    @property
    def root(self) -> Path:
        return config.invoke_root()

    def credentials(self, providers: Sequence[ProviderConfig]) -> dict[str, Credentials]:
        return config.configured_credentials(providers)

    def has_several_users(self) -> bool:
        return config.has_several_users()

    def is_admin(self, user: str) -> bool:
        return users.is_admin(user)

    def payer(self, user: str, board: str | None) -> Payer:
        return Payer("invoke", gallery.user_name(user), board, gallery.board_name(board))

    def saved_workflows(self, containing: str) -> list[str]:
        return workflows.saved_workflows(containing)

    def queued_items(self) -> list[QueuedItem]:
        return queue.queued_items()

    def queue_is_paused(self) -> bool:
        return queue.queue_is_paused()

    def deliver(self, image: Image.Image, metadata: dict[str, Any], *, user: str, board: str | None) -> str:
        return gallery.deliver(image, metadata, user=user, board=board)

    def node_requests(self, item: ItemId) -> Iterator[NodeRequest]:
        found = queue.queue_item(item.number)
        for context, node in graphs.known_nodes(found, VALUE_NODES) if found else ():
            ours = self._our_node(node, context)
            if ours is None or ours.use_cache:
                continue
            try:
                request, destination = ours.prepare(context)
            except Exception:
                return
            yield NodeRequest(queue.queued_node(context), request, destination)
