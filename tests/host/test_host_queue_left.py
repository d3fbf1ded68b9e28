"""The queue after the plugin was removed in any way: Invoke's own nodes can read all of it."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from invokeai_external.invoke.core_compatibility import NODE_TYPES as STORED_TYPES
from invokeai_external.invoke.core_compatibility import as_stored

from .conftest import NewInvoke
from .graphs import workflow_graph
from .invoke import NODE_TYPES, PROVIDERS, Invoke, Json, wait_for
from .packing import PACK
from .sandbox import Sandbox

GPT, BANANA = "openai/gpt-image-2.5-flare", "gemini/gemini-nano-banana-2.1"

ODD: list[tuple[str, Json]] = [
    (GPT, {}),
    (GPT, {"input_fidelity": "auto", "quality": "xhigh"}),
    (GPT, {"quality": "max", "moderation": "low", "previews": "1"}),
    (GPT, {"mode": "outpaint"}),
    (GPT, {"num_images": 0}),
    (BANANA, {"thinking_level": "auto", "image_size": ""}),
    (BANANA, {"thinking_level": "medium", "temperature": 0.5}),
]
"""Nodes with values that only ours accept; some of them fail at their turn."""


def database(invoke: Invoke) -> sqlite3.Connection:
    return sqlite3.connect(invoke.root / "databases" / "invokeai.db", timeout=30)


def stored_nodes(invoke: Invoke) -> list[Json]:
    """All nodes in the queue that are stored under the core's types, in both graphs of each item."""
    with closing(database(invoke)) as connection:
        sessions = [json.loads(text) for (text,) in connection.execute("SELECT session FROM session_queue")]
    graphs = [session.get(name, {}) for session in sessions for name in ("graph", "execution_graph")]
    return [node for graph in graphs for node in graph.get("nodes", {}).values() if node["type"] in STORED_TYPES]


def not_as_stored(invoke: Invoke) -> list[Json]:
    return [node for node in stored_nodes(invoke) if as_stored(node) != node]


def make_old(invoke: Invoke) -> int:
    """Store all nodes with every field, as 0.1 did; return how many items changed."""
    with closing(database(invoke)) as connection, connection:
        rows = list(connection.execute("SELECT item_id, session FROM session_queue"))
        for number, text in rows:
            session = json.loads(text)
            for graph in (session["graph"], session.get("execution_graph", {})):
                for node in graph.get("nodes", {}).values():
                    if node["type"] in STORED_TYPES:
                        node["input_fidelity" if node["type"].startswith("openai") else "thinking_level"] = "auto"
            connection.execute("UPDATE session_queue SET session = ? WHERE item_id = ?", (json.dumps(session), number))
    return len(rows)


def answers(invoke: Invoke, numbers: list[int]) -> list[int]:
    """The statuses of the queue's own routes."""
    paths = ["/v1/queue/default/list_all", "/v1/queue/default/status", "/v1/queue/default/item_ids"]
    return [
        invoke.request("GET", path).status_code for path in [*paths, *(f"/v1/queue/default/i/{n}" for n in numbers)]
    ]


def fill(invoke: Invoke) -> list[int]:
    """Queue items, of which some end, in different ways, and some wait."""
    ended = [invoke.enqueue(workflow_graph(invoke.model(name), **fields)) for name, fields in ODD]
    for number in ended:
        invoke.ended(number)
    invoke.send("PUT", "/v1/queue/default/processor/pause")
    waiting = [invoke.enqueue(workflow_graph(invoke.model(name), **fields)) for name, fields in ODD]
    data = [[{"node_path": "picture", "field_name": "quality", "items": ["max", "low", "xhigh"]}]]
    body = {"batch": {"graph": workflow_graph(invoke.model(GPT), quality="max"), "data": data}}
    waiting += invoke.send("POST", "/v1/queue/default/enqueue_batch", json=body)["item_ids"]
    return [*ended, *waiting]


def running(new_invoke: NewInvoke) -> Invoke:
    invoke = new_invoke(keys=PROVIDERS)
    invoke.start_with_models()
    return invoke


def start_without_pack(invoke: Invoke) -> None:
    """Start it, again if it dies: with items in its queue Invoke's own start can, and no code of ours is there to help.

    It takes from the queue and installs starter models while it cleans its database up, on one SQLite connection. With
    the pack that does not happen, see ``test_host_starts``.
    """
    for _ in range(5):
        before = len(invoke.log_text())
        try:
            return invoke.start()
        except AssertionError:
            if "VACUUM" not in invoke.log_text()[before:]:
                raise
    raise AssertionError("Invoke's own start died five times")


@pytest.fixture(scope="module")
def left(new_invoke: NewInvoke) -> tuple[Invoke, list[int], dict[str, Json]]:
    """A stopped Invoke, its items, and what its nodes accept."""
    invoke = running(new_invoke)
    numbers = fill(invoke)
    schemas = {name: invoke.schema(name) for name in NODE_TYPES.values()}
    wait_for(lambda: not not_as_stored(invoke))
    invoke.stop()
    return invoke, numbers, schemas


def test_values_that_only_our_nodes_accept_are_read_back(left: tuple[Invoke, list[int], dict[str, Json]]) -> None:
    invoke, _, _ = left
    known = {json.dumps(node.get("invokeai_external"), sort_keys=True) for node in stored_nodes(invoke)}
    assert known >= {
        "null",
        '{"quality": "xhigh"}',
        '{"quality": "max"}',
        '{"mode": "outpaint"}',
        '{"num_images": 0}',
        '{"thinking_level": "medium"}',
    }


def test_items_stored_by_0_1_are_repaired_at_the_next_load(
    left: tuple[Invoke, list[int], dict[str, Json]],
) -> None:
    invoke, numbers, _ = left
    assert make_old(invoke) == len(numbers)
    invoke.start()
    invoke.send("PUT", "/v1/queue/default/processor/pause")
    wait_for(lambda: not not_as_stored(invoke))
    assert set(answers(invoke, numbers)) == {200}
    invoke.stop()


def test_the_queue_works_after_the_folder_was_deleted(
    left: tuple[Invoke, list[int], dict[str, Json]], sandbox: Sandbox
) -> None:
    invoke, numbers, _ = left
    shutil.rmtree(invoke.root / "nodes" / PACK)
    start_without_pack(invoke)
    invoke.send("PUT", "/v1/queue/default/processor/pause")
    assert invoke.schema(NODE_TYPES["openai"])["node_pack"] == "invokeai"
    assert set(answers(invoke, numbers)) == {200}


def test_every_value_of_ours_is_stored_as_one_that_the_core_accepts(
    left: tuple[Invoke, list[int], dict[str, Json]],
) -> None:
    """Field by field, so a new choice in our nodes cannot be forgotten. Runs with the core's nodes."""
    invoke, _, ours = left
    for node_type, schema in ours.items():
        core = invoke.schema(node_type)["properties"]
        for name, accepts in schema["properties"].items():
            for value in choices(accepts):
                stored = as_stored({"type": node_type, name: value}).get(name)
                assert stored is None or name not in core or stored in choices(core[name]), (node_type, name, value)
            if name in core:
                assert kinds(accepts) <= kinds(core[name]) | {"null"}, (node_type, name)


def choices(schema: Json) -> list[object]:
    return [value for part in [schema, *schema.get("anyOf", [])] for value in part.get("enum", [])]


def kinds(schema: Json) -> set[Any]:
    return {part["type"] for part in [schema, *schema.get("anyOf", [])] if "type" in part}


def test_the_queue_works_after_an_uninstall(new_invoke: NewInvoke, sandbox: Sandbox) -> None:
    invoke = running(new_invoke)
    numbers = fill(invoke)
    assert make_old(invoke) == len(numbers)
    answer = invoke.send("DELETE", f"/v2/custom_nodes/{PACK}")
    assert answer["success"], answer["message"]
    assert invoke.schema(NODE_TYPES["openai"])["node_pack"] == "invokeai"
    assert set(answers(invoke, numbers)) == {200}
    assert not_as_stored(invoke) == []
