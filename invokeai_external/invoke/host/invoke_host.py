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
from ..gallery.result_cache import Destination
from ..host_api import NodeRequest
from ..queue_items import ItemId, QueuedItem
from . import config, gallery, graphs, queue, workflows

__all__ = ["InvokeHost", "RequestingNode"]

CARRIERS = frozenset(
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
        node_class: Returns the class of our nodes; called when the first item is read, since its import registers it.
    """

    def __init__(self, node_class: Callable[[], type[BaseInvocation]]) -> None:
        self._node_class = node_class

    @property
    def root(self) -> Path:
        return config.invoke_root()

    def credentials(self, providers: Sequence[ProviderConfig]) -> dict[str, Credentials]:
        return config.configured_credentials(providers)

    def has_several_users(self) -> bool:
        return config.has_several_users()

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
        for context, node in graphs.known_nodes(found, self._node_class(), CARRIERS) if found else ():
            ours: RequestingNode = node
            if ours.use_cache:
                continue
            try:
                request, destination = ours.prepare(context)
            except Exception:
                return
            yield NodeRequest(queue.queued_node(context), request, destination)
