"""A fake Invoke and a fake service, for tests of the runtime and of look-ahead."""

from __future__ import annotations

import io
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from invokeai_external.errors import NetworkError
from invokeai_external.invoke.gallery.result_cache import Destination
from invokeai_external.invoke.host_api import NodeRequest
from invokeai_external.invoke.queue_items import ItemId, QueuedItem, QueuedNode
from invokeai_external.progress import Progress, Received, Sending
from invokeai_external.providers.provider_config import ProviderConfig
from invokeai_external.providers.registry import Registry, ResolvedModel
from invokeai_external.request import GenerationRequest
from invokeai_external.result import ConnectionCheck, GeneratedImage, GenerationResult
from invokeai_external.service.refusals import Purse
from invokeai_external.settings.settings import Credentials
from invokeai_external.sizing import Size
from invokeai_external.spending.recorded_call import Payer

Report = Callable[[Progress], None]
Script = Callable[[Report], Awaitable[GenerationResult]]


class FakeInvoke:
    """Its root, its queue, and its gallery.

    Attributes:
        delivered: The colours of the images in the gallery.
        refused: The colours that the gallery cannot save.
        queue: The items that have not ended.
        is_paused: True if the queue is paused.
        requests: The requests of the nodes of each item; an error in place of one is raised.
        read: The items that were read.
        keys: The credentials of each provider.
        users: True if Invoke has several users.
        plain_users: The ids of those who are no administrators.
        workflows: The JSON of the saved workflows.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.delivered: list[str] = []
        self.refused: set[str] = set()
        self.queue: list[QueuedItem] = []
        self.is_paused = False
        self.requests: dict[ItemId, list[NodeRequest | Exception]] = {}
        self.read: list[ItemId] = []
        self.keys: dict[str, Credentials] = {}
        self.users = False
        self.plain_users: set[str] = set()
        self.workflows: list[str] = []

    def credentials(self, providers: Sequence[ProviderConfig]) -> dict[str, Credentials]:
        return {provider.id: self.keys.get(provider.id, Credentials()) for provider in providers}

    def has_several_users(self) -> bool:
        return self.users

    def is_admin(self, user: str) -> bool:
        return user not in self.plain_users

    def payer(self, user: str, board: str | None) -> Payer:
        return Payer("invoke", user, board, board and f"Board {board}")

    def saved_workflows(self, containing: str) -> list[str]:
        return [text for text in self.workflows if containing in text]

    def queued_items(self) -> list[QueuedItem]:
        return list(self.queue)

    def queue_is_paused(self) -> bool:
        return self.is_paused

    def node_requests(self, item: ItemId) -> Iterator[NodeRequest]:
        self.read.append(item)
        for request in self.requests.get(item, []):
            if isinstance(request, Exception):
                raise request
            yield request

    def deliver(self, image: Image.Image, metadata: dict[str, Any], *, user: str, board: str | None) -> str:
        if metadata["colour"] in self.refused:
            raise OSError("no room")
        self.delivered.append(metadata["colour"])
        return f"{len(self.delivered)}.png"

    def enqueue(self, item: ItemId, *requests: GenerationRequest | Exception, status: str = "pending") -> None:
        """Add an item with one node for each request."""
        self.queue.append(QueuedItem(item, status))  # type: ignore[arg-type]
        self.requests[item] = [
            request
            if isinstance(request, Exception)
            else NodeRequest(QueuedNode(item, f"node {number}", "user"), request, Destination("user", item=item))
            for number, request in enumerate(requests)
        ]


class FakeService:
    """Reports each call as sent, and then does what the test's script says.

    Attributes:
        script: Receives the function that reports progress.
        scripts: Scripts for requests with these prompts.
        is_sent: Set when a request was sent.
        sent: The prompts of the requests that were sent.
        purses: Who pays for them.
        is_closed: True when the service was closed.
        registry: The models.
        bills: False for a sandbox.
    """

    def __init__(self) -> None:
        self.script: Script | None = None
        self.scripts: dict[str, Script] = {}
        self.is_sent = threading.Event()
        self.sent: list[str] = []
        self.purses: list[Purse] = []
        self.is_closed = False
        self.registry = Registry()
        self.bills = True

    def is_billed(self, request: GenerationRequest) -> bool:
        return self.bills

    async def settled(self) -> None:
        """Nothing is recorded."""

    def resolve(self, model: str) -> ResolvedModel:
        return self.registry.resolve(model)

    async def aclose(self) -> None:
        self.is_closed = True

    async def check_connection(self, provider: str) -> ConnectionCheck:
        raise NetworkError(f"{provider} is not reachable")

    async def generate(self, request: GenerationRequest, on_progress: Report, *, purse: Purse) -> GenerationResult:
        self.purses.append(purse)
        for call in range(1, request.n + 1):
            on_progress(Sending(call, request.n, 1))
        self.sent.append(request.prompt)
        self.is_sent.set()
        script = self.scripts.get(request.prompt, self.script)
        assert script
        return await script(on_progress)


def image(colour: str) -> GeneratedImage:
    """A small image that names its colour in its metadata."""
    file = io.BytesIO()
    Image.new("RGB", (4, 3), colour).save(file, "PNG")
    return GeneratedImage(data=file.getvalue(), mime_type="image/png", size=Size(4, 3), metadata={"colour": colour})


def result_of(*colours: str) -> GenerationResult:
    """A result with an image of each colour."""
    return GenerationResult(
        provider="openai",
        model="gpt-image-2",
        images=tuple(image(colour) for colour in colours),
        notices=(),
        usage=None,
        cost_usd=None,
        request_ids=(),
        errors=(),
        elapsed_s=0.0,
    )


def request_of(prompt: str = "a fox", n: int = 1, model: str = "openai/gpt-image-2") -> GenerationRequest:
    """A request that makes ``n`` calls."""
    return GenerationRequest(model=model, prompt=prompt, n=n, size=Size(1024, 1024))


def returning(*colours: str) -> Script:
    """A script that returns images at once."""

    async def script(report: Report) -> GenerationResult:
        result = result_of(*colours)
        report(Received(1, 1, result.images))
        return result

    return script
