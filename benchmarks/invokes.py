"""The plugin and Invoke's built-in, each in a real Invoke of its own; both send to the server of answers.

The Invoke is the one of the host tests, made where it is missing; ``INVOKE_VERSION`` names another version.
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

PLUGIN, BUILT_IN = "the plugin", "the built-in"

_MODEL = "openai/gpt-image-2"
_MOST_S = 600.0

_numbers = itertools.count()


class Timed(Listener):
    """Hears what an open page hears, and when.

    Attributes:
        times: The moment of each event, its name and its content, oldest first; seconds since the epoch.
    """

    def __init__(self, invoke: Invoke) -> None:
        super().__init__(invoke)
        self.times: list[tuple[float, str, Json]] = []

    def _hear(self, event: str, content: Json) -> None:
        self.times.append((time.time(), event, content))

    def first(self, event: str, **fields: Any) -> float:
        """When an event with these fields came first; waits for it."""

        def look() -> float | None:
            return next(
                (at for at, name, heard in self.times if name == event and fields.items() <= heard.items()), None
            )

        return wait_for(look, _MOST_S)

    def ended(self, number: int) -> float:
        """When a queue item was completed; raises RuntimeError if it ended in another way."""
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
    """An Invoke with a root of its own, not started yet, with the plugin in it or without."""
    python = environment.python_of(os.environ)
    with tempfile.TemporaryDirectory() as folder:
        invoke = Invoke(python, Path(folder) / "root", "http://127.0.0.1:9")
        if name == PLUGIN:
            packing.copy_to(invoke.root / "nodes")
        try:
            yield invoke
        finally:
            # What is measured is over; the host tests hold that it stops in good order.
            invoke.kill()
            invoke.close()


@contextmanager
def both(*, wide: str | None = None) -> Iterator[dict[str, Invoke]]:
    """Both, started, with the same model installed; under the name ``wide`` a plugin that makes 16 calls at once."""
    with ExitStack() as stack:
        invokes = {name: stack.enter_context(new_invoke(name)) for name in (PLUGIN, BUILT_IN)}
        if wide:
            invokes[wide] = stack.enter_context(new_invoke(PLUGIN))
            (invokes[wide].root / "invokeai_external.yaml").write_text("settings: {concurrency: 16}\n", "utf-8")
        for invoke in invokes.values():
            invoke.start()
            # Not before the start: the built-in would install its models beside the clean-up of its database.
            invoke.set_key("openai")
            if invoke is invokes[BUILT_IN]:
                entry = next(e for e in invoke.starter_models("openai") if e["source"].endswith(_MODEL))
                fields = ("name", "base", "type", "description", "format")
                invoke.install_model(_MODEL, {field: entry[field] for field in fields})
            else:
                wait_for(invoke.models)
            invoke.settled_models()
        yield invokes


def send_to(invoke: Invoke, address: str) -> None:
    """Have its OpenAI at another address from now on."""
    invoke.send("POST", "/v1/app/external_providers/config/openai", json={"base_url": f"{address}/openai"})
    # The plugin looks at its models again.
    invoke.settled_models()


def batch_of(invoke: Invoke, count: int) -> Sequence[int]:
    """Queue so many pictures at once, as the batch counter of the Generate tab does; gives the numbers of the items."""
    graph = panel_graph(invoke.model(_MODEL), width=1024, height=1024)
    # The built-in calls nobody for what it was asked before.
    prompts = [f"fox {next(_numbers)}" for _ in range(count)]
    data = [[{"node_path": "prompt", "field_name": "value", "items": prompts}]]
    answer = invoke.send("POST", "/v1/queue/default/enqueue_batch", json={"batch": {"graph": graph, "data": data}})
    return sorted(answer["item_ids"])
