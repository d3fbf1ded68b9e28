"""The events that an open page receives during a run, over socket.io."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

from invokeai_external.errors import ContentBlockedError

from ..support.guard import CANARY
from .events import Listener
from .graphs import panel_graph, workflow_graph
from .invoke import Invoke, Json, wait_for
from .sandbox import Sandbox


def progress_of(listener: Listener) -> list[str]:
    return [content["message"] for content in listener.named("invocation_progress")]


def test_the_progress_line_says_that_it_is_waiting(invoke: Invoke, sandbox: Sandbox, gpt: Json) -> None:
    sandbox.order("openai", "slow", seconds=4)
    with Listener(invoke) as listener:
        invoke.run(workflow_graph(gpt))
    received = progress_of(listener)
    # At most one line a second, because each goes to every browser; and each is different.
    waits = [line for line in received if re.search(r"\d s$", line)]
    assert 2 <= len(waits) <= 5
    assert len(set(waits)) == len(waits)
    # Invoke's own message for every image that a node saves.
    assert received[-1] == "Saving image"


def test_the_progress_line_says_that_it_will_retry(invoke: Invoke, sandbox: Sandbox, gpt: Json) -> None:
    sandbox.order("openai", "rate_limited", form="retry-after-seconds", seconds=3)
    with Listener(invoke) as listener:
        invoke.run(workflow_graph(gpt))
    # The countdown is followed by the reason.
    assert any(re.search(r"\d s: .+", line) for line in progress_of(listener))


def test_a_page_is_notified_of_the_end_of_a_run(invoke: Invoke, sandbox: Sandbox, banana: Json) -> None:
    with Listener(invoke) as listener:
        number = invoke.enqueue(panel_graph(banana))
        invoke.ended(number)
        listener.wait_for("queue_item_status_changed", item_id=number, status="completed")
    [done] = [c for c in listener.named("invocation_complete") if c["result"]["type"] == "image_collection_output"]
    assert len(done["result"]["collection"]) == 1


def test_the_canvas_is_notified_to_reload_its_list_after_an_end(invoke: Invoke, sandbox: Sandbox, gpt: Json) -> None:
    """Otherwise its page would miss items that end while it loads the list. Nobody loads it here, so events go on."""
    place = {"origin": "canvas", "destination": "canvas:of-nobody"}
    with Listener(invoke) as listener:
        invoke.run(workflow_graph(gpt), origin="generate", destination="generate")
        number = invoke.enqueue(workflow_graph(gpt), **place)
        batch = invoke.ended(number)["batch_id"]
        received = wait_for(lambda: of_no_items(listener) if len(of_no_items(listener)) == 3 else None)
        invoke.get("/v1/queue/default/list_all", destination=place["destination"])
    assert {(event["batch_id"], event["origin"], event["user_id"]) for event in received} == {
        (batch, "canvas", "system")
    }


def of_no_items(listener: Listener) -> list[Json]:
    """The events of batches without items, which make a page reload its lists."""
    return [event for event in listener.named("batch_enqueued") if event["enqueued"] == 0]


def test_a_page_is_notified_of_a_failure_with_its_message(invoke: Invoke, sandbox: Sandbox, banana: Json) -> None:
    sandbox.order("gemini", "blocked_prompt")
    with Listener(invoke) as listener:
        number = invoke.enqueue(workflow_graph(banana))
        invoke.ended(number)
        heard = listener.wait_for("invocation_error", item_id=number)
    assert heard["error_type"] == ContentBlockedError.__name__
    assert "{" not in heard["error_message"]


def test_no_event_contains_a_key(invoke: Invoke, sandbox: Sandbox, gpt: Json) -> None:
    sandbox.order("openai", "server_error", status=503)
    with Listener(invoke) as listener:
        invoke.run(workflow_graph(gpt))
        invoke.failure(workflow_graph(gpt, prompt=""))
    assert listener.heard
    assert CANARY not in json.dumps(listener.heard)


def test_the_guard_is_active_in_invoke_s_python_too(host_python: Path) -> None:
    """Otherwise the host tests could reach a provider, although with an invalid key."""
    program = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=2)"
    result = subprocess.run([host_python, "-c", program], capture_output=True, text=True, env=dict(os.environ))
    assert "_refuse_the_internet" in result.stderr
    assert "ConnectionRefusedError" in result.stderr
