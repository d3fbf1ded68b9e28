"""The plugin and Invoke's built-in, each in its own real Invoke; both send to the server with prepared responses.

It is the Invoke of the host tests, which is installed if it is missing; ``INVOKE_VERSION`` sets another version.
"""

from __future__ import annotations

import itertools
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import tests.conftest  # noqa: F401 - puts the guard up and its folder on the path, which the next ones need

# isort: split
from tests.host import environment, packing
from tests.host.events import Listener
from tests.host.graphs import panel_graph
from tests.host.invoke import Invoke, Json, wait_for

__all__ = ["BUILT_IN", "PLUGIN", "Invoke", "Timed", "batch_of", "both", "new_invoke", "send_to"]

PLUGIN, BUILT_IN = "the plugin", "the built-in models"

_MODEL = "openai/gpt-image-2"
_MOST_S = 600.0

_numbers = itertools.count()


class Timed(Listener):
    """Records the events that an open page receives, and when.

    Attributes:
        times: The time of each event in seconds since the epoch, its name and its content, oldest first.
    """

    def __init__(self, invoke: Invoke) -> None:
        super().__init__(invoke)
        self.times: list[tuple[float, str, Json]] = []

    def _hear(self, event: str, content: Json) -> None:
        self.times.append((time.time(), event, content))

    def first(self, event: str, **fields: Any) -> float:
        """The time of the first event with these fields; waits for it."""

        def look() -> float | None:
            return next(
                (at for at, name, heard in self.times if name == event and fields.items() <= heard.items()), None
            )

        return wait_for(look, _MOST_S)

    def ended(self, number: int) -> float:
        """The time at which a queue item was completed; raises RuntimeError if it failed or was cancelled."""
        while True:
            for at, name, heard in list(self.times):
                if name == "queue_item_status_changed" and heard["item_id"] == number:
                    if heard["status"] == "completed":
                        return at
                    if heard["status"] in ("failed", "canceled"):
                        raise RuntimeError(f"an item ended as {heard['status']}: {heard['error_message']}")
            time.sleep(0.002)


@contextmanager
def new_invoke(name: str) -> Iterator[Invoke]:
    """An Invoke with its own root, not started yet, with or without the plugin."""
    python = environment.python_of(os.environ)
    with tempfile.TemporaryDirectory() as folder:
        invoke = Invoke(python, Path(folder) / "root", "http://127.0.0.1:9")
        if name == PLUGIN:
            packing.copy_to(invoke.root / "nodes")
        try:
            yield invoke
        finally:
            # The measurement is over; the host tests check that it stops cleanly.
            invoke.kill()
            invoke.close()


@contextmanager
def both(*, wide: str | None = None) -> Iterator[dict[str, Invoke]]:
    """Both, started, with the same model installed; with ``wide``, also a plugin that sends 16 requests at once."""
    with ExitStack() as stack:
        invokes = {name: stack.enter_context(new_invoke(name)) for name in (PLUGIN, BUILT_IN)}
        if wide:
            invokes[wide] = stack.enter_context(new_invoke(PLUGIN))
            (invokes[wide].root / "invokeai_external.yaml").write_text("settings: {concurrency: 16}\n", "utf-8")
        for invoke in invokes.values():
            invoke.start()
            # Not before the start: Invoke would install its built-in models during the clean-up of its database.
            invoke.set_key("openai")
            if invoke is invokes[BUILT_IN]:
                entry = next(e for e in invoke.starter_models("openai") if e["source"].endswith(_MODEL))
                fields = ("name", "base", "type", "description", "format")
                invoke.install_model(_MODEL, {field: entry[field] for field in fields})
            else:
                wait_for(invoke.models)
            invoke.settled_models()
        yield invokes


def send_to(invoke: Invoke, url: str) -> None:
    """Set the base URL of its OpenAI."""
    invoke.send("POST", "/v1/app/external_providers/config/openai", json={"base_url": f"{url}/openai"})
    # The plugin updates its models then.
    invoke.settled_models()


def batch_of(invoke: Invoke, count: int) -> Sequence[int]:
    """Queue a batch of images, as the batch counter of the Generate tab does; returns the ids of the items."""
    graph = panel_graph(invoke.model(_MODEL), width=1024, height=1024)
    # The built-in models send no request for a prompt that they have in their cache.
    prompts = [f"fox {next(_numbers)}" for _ in range(count)]
    data = [[{"node_path": "prompt", "field_name": "value", "items": prompts}]]
    response = invoke.send("POST", "/v1/queue/default/enqueue_batch", json={"batch": {"graph": graph, "data": data}})
    return sorted(response["item_ids"])
