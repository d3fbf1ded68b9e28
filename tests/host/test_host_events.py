"""What an open page is told while a run goes on, over socket.io."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from canary import CANARY

from .events import Listener
from .graphs import panel_graph, workflow_graph
from .invoke import Invoke, Json, wait_for
from .sandbox import Sandbox


def progress_of(listener: Listener) -> list[str]:
    return [content["message"] for content in listener.named("invocation_progress")]


def test_the_progress_line_says_that_it_waits(invoke: Invoke, sandbox: Sandbox, gpt: Json) -> None:
    sandbox.order("openai", "slow", seconds=4)
    with Listener(invoke) as listener:
        invoke.run(workflow_graph(gpt))
    told = progress_of(listener)
    # A line a second at most, for it goes to every browser; and each says something new.
    waits = [line for line in told if "wait" in line]
    assert 2 <= len(waits) <= 5
    assert len(set(waits)) == len(waits)
    # Invoke's own words, which it has for every picture that a node saves.
    assert told[-1] == "Saving image"


def test_the_progress_line_says_that_it_will_try_again(invoke: Invoke, sandbox: Sandbox, gpt: Json) -> None:
    sandbox.order("openai", "rate_limited", form="retry-after-seconds", seconds=3)
    with Listener(invoke) as listener:
        invoke.run(workflow_graph(gpt))
    assert any("again in" in line for line in progress_of(listener))


def test_a_page_hears_of_the_end_of_a_run(invoke: Invoke, sandbox: Sandbox, banana: Json) -> None:
    with Listener(invoke) as listener:
        number = invoke.enqueue(panel_graph(banana))
        invoke.ended(number)
        listener.wait_for("queue_item_status_changed", item_id=number, status="completed")
    [done] = [c for c in listener.named("invocation_complete") if c["result"]["type"] == "image_collection_output"]
    assert len(done["result"]["collection"]) == 1


def test_the_canvas_hears_that_it_must_read_its_list_again_after_an_end(
    invoke: Invoke, sandbox: Sandbox, gpt: Json
) -> None:
    """Else its page would never show what has ended while it read the list; nobody reads it here, so it is told on."""
    place = {"origin": "canvas", "destination": "canvas:of-nobody"}
    with Listener(invoke) as listener:
        invoke.run(workflow_graph(gpt), origin="generate", destination="generate")
        number = invoke.enqueue(workflow_graph(gpt), **place)
        batch = invoke.ended(number)["batch_id"]
        told = wait_for(lambda: of_no_items(listener) if len(of_no_items(listener)) == 3 else None)
        invoke.get("/v1/queue/default/list_all", destination=place["destination"])
    assert {(event["batch_id"], event["origin"], event["user_id"]) for event in told} == {(batch, "canvas", "system")}


def of_no_items(listener: Listener) -> list[Json]:
    """The batches of no items that a page heard of: to it they mean that its lists are to be read again."""
    return [event for event in listener.named("batch_enqueued") if event["enqueued"] == 0]


def test_a_page_hears_of_a_failure_in_a_sentence(invoke: Invoke, sandbox: Sandbox, banana: Json) -> None:
    sandbox.order("gemini", "blocked_prompt")
    with Listener(invoke) as listener:
        number = invoke.enqueue(workflow_graph(banana))
        invoke.ended(number)
        heard = listener.wait_for("invocation_error", item_id=number)
    assert "{" not in heard["error_message"]


def test_no_event_holds_a_key(invoke: Invoke, sandbox: Sandbox, gpt: Json) -> None:
    sandbox.order("openai", "server_error", status=503)
    with Listener(invoke) as listener:
        invoke.run(workflow_graph(gpt))
        invoke.failure(workflow_graph(gpt, prompt=""))
    assert listener.heard
    assert CANARY not in json.dumps(listener.heard)


def test_the_guard_holds_in_invoke_s_python_too(host_python: Path) -> None:
    """Else the host tests could reach a provider, with a key that is none, but all the same."""
    program = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=2)"
    result = subprocess.run([host_python, "-c", program], capture_output=True, text=True, env=dict(os.environ))
    assert "tests talk to this machine alone" in result.stderr
