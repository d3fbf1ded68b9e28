"""Invoke starts no queued item before it serves requests; otherwise the clean-up of its database may crash it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .graphs import workflow_graph
from .invoke import Invoke, wait_for
from .sandbox import Sandbox

MODEL = "openai/gpt-image-2.5-flare"
LEFT = 5
"""How many items wait in the queue at a start."""

_FAILING_PACK = """
from invokeai.app.api.dependencies import ApiDependencies

initialize = ApiDependencies.initialize

def failing(*arguments, **named):
    initialize(*arguments, **named)
    raise OSError("this start fails")

ApiDependencies.initialize = staticmethod(failing)
"""


@pytest.fixture(scope="module")
def invoke(own_invoke: Invoke) -> Invoke:
    return own_invoke


def leave(invoke: Invoke, sandbox: Sandbox) -> list[int]:
    """Kill Invoke while one item runs and others wait; returns their numbers, that of the running one first."""
    sandbox.order("openai", "slow", seconds=90)
    graph = workflow_graph(invoke.model(MODEL))
    running = invoke.enqueue(graph)
    wait_for(lambda: invoke.item(running)["status"] == "in_progress")
    invoke.send("PUT", "/v1/queue/default/processor/pause")
    waiting = [invoke.enqueue(graph) for _ in range(LEFT)]
    invoke.kill()
    sandbox.clear()
    return [running, *waiting]


def said_since(invoke: Invoke, length: int) -> str:
    return invoke.log_text()[length:]


@pytest.mark.parametrize("_", range(2))
def test_items_left_in_the_queue_run_once_invoke_serves_requests(invoke: Invoke, sandbox: Sandbox, _: int) -> None:
    running, *waiting = leave(invoke, sandbox)
    length = len(invoke.log_text())
    invoke.start()
    ended = [invoke.ended(number) for number in waiting]
    said = said_since(invoke, length)
    assert [item["status"] for item in ended] == ["completed"] * LEFT
    assert invoke.item(running)["status"] == "canceled"
    assert len(sandbox.calls()) == LEFT
    assert "Error cleaning database" not in said
    assert said.index("Invoke running on") < said.index("Executing queue item")
    first = re.findall(r"Executing queue item (\d+)", said)
    assert [int(number) for number in first] == waiting


def test_a_failed_start_runs_no_queued_item(invoke: Invoke, sandbox: Sandbox) -> None:
    _, *waiting = leave(invoke, sandbox)
    failing = Path(invoke.root / "nodes" / "failing")
    failing.mkdir()
    (failing / "__init__.py").write_text(_FAILING_PACK, encoding="utf-8")
    length = len(invoke.log_text())
    with pytest.raises(AssertionError, match="this start fails"):
        invoke.start()
    assert sandbox.calls() == []
    assert "Executing queue item" not in said_since(invoke, length)
    (failing / "__init__.py").unlink()
    failing.rmdir()
    invoke.start()
    assert [invoke.ended(number)["status"] for number in waiting] == ["completed"] * LEFT
    assert len(sandbox.calls()) == LEFT
