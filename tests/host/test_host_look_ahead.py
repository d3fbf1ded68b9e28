"""Queued requests are sent before their turn. Each is paid for once, and its image reaches the node that made it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image

from invokeai_external.errors import ContentBlockedError, InvalidRequestError

from .events import Listener
from .failures import message_of
from .graphs import panel_graph, workflow_graph
from .invoke import Invoke, Json, output_names, wait_for
from .sandbox import Sandbox
from .test_host_workflows import EXAMPLES

Edge = tuple[str, str, str, str]


def wired(graph: Json, nodes: Json, edges: list[Edge]) -> Json:
    """A graph with further nodes and edges."""
    added = [{"source": {"node_id": a, "field": b}, "destination": {"node_id": c, "field": d}} for a, b, c, d in edges]
    named = {name: {"id": name, **fields} for name, fields in nodes.items()}
    return {**graph, "nodes": {**graph["nodes"], **named}, "edges": [*graph["edges"], *added]}


def batch(invoke: Invoke, graph: Json, prompts: list[str], *, node: str = "prompt", field: str = "value") -> list[int]:
    """Queue a graph once for each prompt, as the batch counter does; returns the numbers of the items."""
    data = [[{"node_path": node, "field_name": field, "items": prompts}]]
    body = {"batch": {"graph": graph, "data": data}}
    numbers: list[int] = invoke.send("POST", "/v1/queue/default/enqueue_batch", json=body)["item_ids"]
    return sorted(numbers)


def prompts_of(invoke: Invoke, item: Json) -> list[str]:
    return [invoke.picture(name).metadata["positive_prompt"] for name in output_names(item)]


def calls_soon(sandbox: Sandbox, count: int) -> list[Json]:
    """The calls once there are so many; half a second later there must not be more."""
    wait_for(lambda: len(sandbox.calls()) >= count, 10)
    time.sleep(0.7)
    calls = sandbox.calls()
    assert len(calls) == count
    return calls


def first_in_flight(invoke: Invoke, sandbox: Sandbox, graph: Json, *, seconds: int, prompt: str = "first") -> list[int]:
    """Queue one item whose call takes this long, and wait for the call: no call of another item can be the slow one."""
    sandbox.order("openai", "slow", seconds=seconds)
    number = batch(invoke, graph, [prompt])
    calls_soon(sandbox, 1)
    return number


@pytest.fixture
def paused(invoke: Invoke) -> Iterator[Invoke]:
    """An Invoke with a paused queue."""
    invoke.send("PUT", "/v1/queue/default/processor/pause")
    yield invoke
    invoke.send("PUT", "/v1/queue/default/clear")
    invoke.send("PUT", "/v1/queue/default/processor/resume")


@pytest.fixture(autouse=True)
def _empty(invoke: Invoke) -> Iterator[None]:
    yield
    invoke.send("PUT", "/v1/queue/default/clear")


def resume(invoke: Invoke) -> None:
    invoke.send("PUT", "/v1/queue/default/processor/resume")


def test_the_calls_of_a_batch_are_in_flight_together_and_each_item_gets_its_image(
    invoke: Invoke, sandbox: Sandbox, banana: Json
) -> None:
    prompts = [f"fox {number}" for number in range(6)]
    sandbox.order("gemini", "slow", times=6, seconds=6)
    numbers = batch(invoke, panel_graph(banana), prompts)
    wait_for(lambda: sandbox.in_flight() == 6)
    items = [invoke.ended(number) for number in numbers]
    assert [item["status"] for item in items] == ["completed"] * 6
    assert [prompts_of(invoke, item) for item in items] == [[prompt] for prompt in prompts]
    assert len(sandbox.calls()) == 6


def test_all_executions_of_an_iterated_node_start_at_once(invoke: Invoke, sandbox: Sandbox, gpt: Json) -> None:
    prompts = ["one fox", "two foxes", "two foxes"]
    graph = wired(
        workflow_graph(gpt),
        {"words": {"type": "string_collection", "collection": prompts}, "each": {"type": "iterate"}},
        [("words", "collection", "each", "collection"), ("each", "item", "picture", "prompt")],
    )
    sandbox.order("openai", "slow", times=3, seconds=3)
    number = invoke.enqueue(graph)
    assert sorted(call["json"]["prompt"] for call in calls_soon(sandbox, 3)) == sorted(prompts)
    item = invoke.ended(number)
    assert sorted(prompts_of(invoke, item)) == sorted(prompts)
    assert len(sandbox.calls()) == 3


def test_calls_in_flight_and_waiting_results_are_limited_by_the_concurrency(new_invoke: Any, sandbox: Sandbox) -> None:
    limited = new_invoke(keys=("openai",))
    (limited.root / "invokeai_external.yaml").write_text("settings: {concurrency: 3}\n", encoding="utf-8")
    limited.start_with_models()
    gpt = limited.model("openai/gpt-image-2.5-flare")
    numbers = first_in_flight(limited, sandbox, panel_graph(gpt), seconds=10)
    numbers += batch(limited, panel_graph(gpt), [f"fox {number}" for number in range(5)])
    # The first item runs; the results of the two others wait for it.
    wait_for(lambda: len(sandbox.calls()) == 3)
    time.sleep(2)
    assert len(sandbox.calls()) == 3
    assert [limited.ended(number)["status"] for number in numbers] == ["completed"] * 6
    assert len(sandbox.calls()) == 6


def test_a_paused_queue_starts_nothing(paused: Invoke, sandbox: Sandbox, gpt: Json) -> None:
    numbers = batch(paused, panel_graph(gpt), ["a fox", "a hare"])
    time.sleep(1.5)
    assert sandbox.calls() == []
    resume(paused)
    assert [paused.ended(number)["status"] for number in numbers] == ["completed"] * 2
    assert len(sandbox.calls()) == 2


@pytest.mark.parametrize("way", ["one", "batch", "all but the current", "delete", "clear"])
def test_a_call_ends_with_its_item_however_the_item_is_cancelled(
    way: str, invoke: Invoke, sandbox: Sandbox, gpt: Json
) -> None:
    sandbox.order("openai", "slow", times=3, seconds=60)
    first = batch(invoke, panel_graph(gpt), ["first"])
    others = batch(invoke, panel_graph(gpt), ["second", "third"])
    calls_soon(sandbox, 3)
    if way == "one":
        for number in others:
            invoke.cancel(number)
    elif way == "batch":
        invoke.send(
            "PUT",
            "/v1/queue/default/cancel_by_batch_ids",
            json={"batch_ids": [invoke.item(others[0])["batch_id"]]},
        )
    elif way == "all but the current":
        invoke.send("PUT", "/v1/queue/default/cancel_all_except_current")
    elif way == "delete":
        for number in others:
            invoke.send("DELETE", f"/v1/queue/default/i/{number}")
    else:
        invoke.send("PUT", "/v1/queue/default/clear")
    # Each call takes 60 s, unless it is cancelled.
    left = 0 if way == "clear" else 1
    wait_for(lambda: sandbox.in_flight() == left, 20)
    for number in [] if way == "clear" else first:
        invoke.cancel(number)
    wait_for(lambda: sandbox.in_flight() == 0, 5)


def test_an_image_of_an_item_that_was_cancelled_before_its_turn_is_in_the_gallery(
    invoke: Invoke, sandbox: Sandbox, gpt: Json
) -> None:
    """Even on the Canvas, whose own images are intermediate: the image is on the board of the run."""
    board = invoke.send("POST", "/v1/boards/", params={"board_name": "foxes"})["board_id"]
    graph = panel_graph(gpt, prompt="a cancelled fox", is_intermediate=True, board={"board_id": board})
    before = set(invoke.gallery())
    [first] = first_in_flight(invoke, sandbox, graph, seconds=8, prompt="another fox")
    [second] = batch(invoke, graph, ["a cancelled fox"])
    wait_for(lambda: [call["outcome"] is None for call in sandbox.calls()] == [True, False])
    # The image of the second item was received, and waits for the first item.
    with Listener(invoke) as page:
        invoke.cancel(second)
        [name] = wait_for(lambda: set(invoke.gallery()) - before)
        heard = wait_for(
            lambda: [
                event
                for event in page.named("invocation_complete")
                if event["result"].get("collection") == [{"image_name": name}]
            ]
        )
    assert [event["item_id"] for event in heard] == [0]
    image = invoke.picture(name)
    assert (image.record["is_intermediate"], image.record["board_id"]) == (False, board)
    assert (image.metadata["positive_prompt"], image.metadata["width"]) == ("a cancelled fox", 1024)
    assert image.metadata["model"]["name"] == gpt["name"]
    notices = [notice["code"] for notice in image.metadata["external"]["notices"]]
    assert notices[0] == "from_cancelled_run"
    assert image.metadata["external"]["cost_usd"] > 0
    assert invoke.ended(first)["status"] == "completed"
    assert prompts_of(invoke, invoke.item(first)) == ["another fox"]
    kept = invoke.root / "invokeai_external_kept"
    assert list(kept.iterdir()) == []
    # It was delivered, so the next equal request is sent.
    [new] = invoke.run(graph)
    assert len(sandbox.calls()) == 3
    codes = [notice["code"] for notice in new.metadata["external"]["notices"]]
    assert not {"kept_result", "from_cancelled_run"} & set(codes)


def test_images_received_before_a_stop_are_not_paid_for_again(new_invoke: Any, sandbox: Sandbox) -> None:
    invoke = new_invoke(keys=("openai",))
    invoke.start_with_models()
    gpt = invoke.model("openai/gpt-image-2.5-flare")
    numbers = first_in_flight(invoke, sandbox, panel_graph(gpt), seconds=60)
    numbers += batch(invoke, panel_graph(gpt), ["second", "third"])
    calls_soon(sandbox, 3)
    kept = invoke.root / "invokeai_external_kept"
    wait_for(lambda: kept.is_dir() and len(list(kept.iterdir())) == 2)
    invoke.stop()
    wait_for(lambda: sandbox.in_flight() == 0, 5)
    assert len(list(kept.iterdir())) == 2
    assert list(kept.rglob(".*")) == []
    invoke.start()
    items = [invoke.ended(number) for number in numbers[1:]]
    assert [item["status"] for item in items] == ["completed"] * 2
    assert [prompts_of(invoke, item) for item in items] == [["second"], ["third"]]
    assert len(sandbox.calls()) == 3
    assert list(kept.iterdir()) == []


def test_a_retry_of_a_failed_item_sends_a_new_request(invoke: Invoke, sandbox: Sandbox, gpt: Json) -> None:
    sandbox.order("openai", "moderation")
    [number] = batch(invoke, panel_graph(gpt), ["a fox"])
    assert invoke.ended(number)["status"] == "failed"
    answer = invoke.send("PUT", "/v1/queue/default/retry_items_by_id", json=[number])
    [again] = answer["retried_item_ids"]
    newest = max(invoke.get("/v1/queue/default/item_ids")["item_ids"])
    assert again == number
    assert invoke.ended(newest)["status"] == "completed"
    assert len(sandbox.calls()) == 2


def test_the_failure_of_a_call_sent_ahead_is_reported_by_its_item(paused: Invoke, sandbox: Sandbox, gpt: Json) -> None:
    sandbox.order("openai", "slow", seconds=2)
    numbers = batch(paused, panel_graph(gpt), ["first", "second"])
    resume(paused)
    wait_for(lambda: sandbox.calls())
    assert paused.ended(numbers[0])["status"] == "completed"
    assert paused.ended(numbers[1])["status"] == "completed"
    sandbox.order("openai", "slow", seconds=2)
    sandbox.order("openai", "moderation")
    before = len(sandbox.calls())
    items = [paused.ended(number) for number in batch(paused, panel_graph(gpt), ["third", "fourth"])]
    assert sorted(item["status"] for item in items) == ["completed", "failed"]
    [failed] = [item for item in items if item["status"] == "failed"]
    assert message_of(failed, ContentBlockedError)
    assert len(sandbox.calls()) == before + 2


def test_a_node_that_an_if_may_skip_waits_for_its_turn(
    paused: Invoke, sandbox: Sandbox, gpt: Json, banana: Json
) -> None:
    chosen = workflow_graph(gpt)
    other = workflow_graph(banana)["nodes"]["picture"]
    graph = wired(
        chosen,
        {
            "other": {**other, "id": "other"},
            "condition": {"type": "boolean", "value": True},
            "choice": {"type": "if"},
        },
        [
            ("condition", "value", "choice", "condition"),
            ("picture", "collection", "choice", "true_input"),
            ("other", "collection", "choice", "false_input"),
        ],
    )
    sandbox.order("openai", "slow", seconds=2)
    numbers = [paused.enqueue(workflow_graph(gpt)), paused.enqueue(graph)]
    resume(paused)
    assert [paused.ended(number)["status"] for number in numbers] == ["completed"] * 2
    assert [call["path"].split("/")[1] for call in sandbox.calls()] == ["openai", "openai"]


def test_a_node_with_an_unknown_input_waits_for_its_turn(invoke: Invoke, sandbox: Sandbox, gpt: Json) -> None:
    graph = wired(
        workflow_graph(gpt),
        {"edit": {**workflow_graph(gpt)["nodes"]["picture"], "id": "edit"}},
        [("picture", "collection", "edit", "reference_images")],
    )
    sandbox.order("openai", "slow", seconds=1)
    item = invoke.ended(invoke.enqueue(graph))
    assert item["status"] == "completed"
    assert [call["path"].rpartition("/")[2] for call in sandbox.calls()] == ["generations", "edits"]


def test_a_node_with_a_collected_input_waits_for_its_turn(
    paused: Invoke, sandbox: Sandbox, gpt: Json, photo: Image.Image
) -> None:
    """Invoke collects from several nodes in a random order."""
    images = {name: {"type": "image", "image": {"image_name": paused.upload(photo)}} for name in ("one", "two")}
    graph = wired(
        workflow_graph(gpt),
        {**images, "all": {"type": "collect"}},
        [
            ("one", "image", "all", "item"),
            ("two", "image", "all", "item"),
            ("all", "collection", "picture", "reference_images"),
        ],
    )
    sandbox.order("openai", "slow", seconds=3)
    numbers = [paused.enqueue(workflow_graph(gpt)), paused.enqueue(graph), paused.enqueue(graph)]
    resume(paused)
    calls_soon(sandbox, 1)
    assert [paused.ended(number)["status"] for number in numbers] == ["completed"] * 3
    assert len(sandbox.calls()) == 3


def test_an_input_image_that_cannot_be_read_is_reported_by_its_node_and_no_run_starts_twice(
    paused: Invoke, sandbox: Sandbox, gpt: Json, photo: Image.Image
) -> None:
    name = paused.upload(photo)
    [file] = (paused.root / "outputs" / "images").rglob(name)
    file.write_bytes(file.read_bytes()[:100])
    edit = workflow_graph(gpt, init_image={"image_name": name})["nodes"]["picture"]
    graph = wired(workflow_graph(gpt), {"edit": {**edit, "id": "edit"}}, [])
    sandbox.order("openai", "slow", seconds=2)
    numbers = [paused.enqueue(workflow_graph(gpt)), paused.enqueue(graph), paused.enqueue(workflow_graph(gpt))]
    resume(paused)
    calls_soon(sandbox, 3)
    items = [paused.ended(number) for number in numbers]
    assert [item["status"] for item in items] == ["completed", "failed", "completed"]
    assert name in message_of(items[1], InvalidRequestError)
    assert len(sandbox.calls()) == 3


def test_an_item_that_waits_for_a_workflow_that_it_called_sends_each_request_once(
    invoke: Invoke, sandbox: Sandbox, gpt: Json
) -> None:
    if invoke.get("/v1/app/version")["version"].startswith("6.13."):
        pytest.skip("Invoke 6.13 has no node that calls a workflow")
    inside = workflow_graph(gpt, prompt="inside")["nodes"]["picture"]
    inputs = {"model": {"value": inside["model"]}, "prompt": {"value": "inside"}}
    nodes = [
        {"id": name, "type": "invocation", "position": {"x": 0, "y": 0}, "data": {"id": name, "type": kind, **fields}}
        for name, kind, fields in [("inner", inside["type"], {"inputs": inputs}), ("end", "workflow_return", {})]
    ]
    workflow = {**EXAMPLES["text-to-picture"], "name": "Called", "form": None, "nodes": nodes, "edges": []}
    saved = invoke.send("POST", "/v1/workflows/", json={"workflow": workflow})["workflow_id"]
    graph = wired(
        workflow_graph(gpt, prompt="outside"), {"call": {"type": "call_saved_workflow", "workflow_id": saved}}, []
    )
    # The called workflow takes longer. The outer call is answered before, and must not be sent again afterwards.
    sandbox.order("openai", "slow", times=2, seconds=3)
    item = invoke.ended(invoke.enqueue(graph))
    invoke.send("DELETE", f"/v1/workflows/i/{saved}")
    assert item["status"] == "completed", item["error_message"]
    assert sorted(call["json"]["prompt"] for call in sandbox.calls()) == ["inside", "outside"]


def test_a_node_that_uses_invoke_s_cache_is_not_sent_ahead(paused: Invoke, sandbox: Sandbox, gpt: Json) -> None:
    graph = workflow_graph(gpt, use_cache=True, prompt="a fox in a cache")
    sandbox.order("openai", "slow", seconds=1)
    numbers = [paused.enqueue(graph) for _ in range(3)]
    resume(paused)
    assert [paused.ended(number)["status"] for number in numbers] == ["completed"] * 3
    assert len(sandbox.calls()) == 1


def test_without_look_ahead_calls_wait_for_their_turn(new_invoke: Any, sandbox: Sandbox) -> None:
    invoke = new_invoke(keys=("openai",))
    (invoke.root / "invokeai_external.yaml").write_text("settings: {look_ahead: false}\n", encoding="utf-8")
    invoke.start_with_models()
    gpt = invoke.model("openai/gpt-image-2.5-flare")
    sandbox.order("openai", "slow", seconds=2)
    numbers = batch(invoke, panel_graph(gpt), ["first", "second"])
    wait_for(lambda: len(sandbox.calls()) == 1)
    time.sleep(1)
    assert len(sandbox.calls()) == 1
    assert [invoke.ended(number)["status"] for number in numbers] == ["completed"] * 2
