"""How our nodes are stored under the core's types, and read back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from invokeai_external.invoke.core_compatibility import EXACT, as_read, as_stored, has_own_node, repaired

OPENAI: dict[str, Any] = {"type": "openai_image_generation", "id": "a", "prompt": "a fox", "previews": "2"}
GEMINI: dict[str, Any] = {"type": "gemini_image_generation", "id": "b", "prompt": "a fox", "temperature": 0.5}


@pytest.mark.parametrize(
    "fields",
    [
        {"quality": "high", "input_fidelity": "low", "mode": "inpaint", "num_images": 4},
        {"quality": "auto", "input_fidelity": None},
        {},
    ],
)
def test_values_that_the_core_accepts_are_stored_unchanged(fields: dict[str, Any]) -> None:
    assert as_stored({**OPENAI, **fields}) == {**OPENAI, **fields}
    assert as_read({**OPENAI, **fields}) == {**OPENAI, **fields}


@pytest.mark.parametrize(
    ("node", "field", "value"),
    [
        (OPENAI, "quality", "xhigh"),
        (OPENAI, "quality", "max"),
        (OPENAI, "mode", "outpaint"),
        (OPENAI, "num_images", 0),
        (GEMINI, "thinking_level", "medium"),
        (GEMINI, "mode", "upscale"),
    ],
)
def test_values_that_only_ours_accepts_are_stored_apart_and_read_back(
    node: dict[str, Any], field: str, value: object
) -> None:
    stored = as_stored({**node, field: value})
    assert stored == {**node, EXACT: {field: value}}
    assert as_stored(stored) == stored
    assert as_read(stored) == {**node, field: value}


@pytest.mark.parametrize(("node", "field"), [(OPENAI, "input_fidelity"), (GEMINI, "thinking_level")])
def test_the_default_auto_is_not_stored(node: dict[str, Any], field: str) -> None:
    assert as_stored({**node, field: "auto"}) == node


def test_a_value_in_the_field_takes_precedence() -> None:
    """Invoke writes batch data into stored nodes."""
    stored = {**as_stored({**OPENAI, "quality": "max", "mode": "outpaint"}), "quality": "low"}
    assert as_read(stored) == {**OPENAI, "quality": "low", "mode": "outpaint"}
    assert as_stored({**stored, "quality": "xhigh"}) == {**OPENAI, EXACT: {"quality": "xhigh", "mode": "outpaint"}}


def test_nodes_of_other_types_are_unchanged() -> None:
    node = {"type": "upscale", "mode": "fast", "num_images": 0, "quality": "max"}
    assert as_stored(node) == node


def test_all_graphs_of_a_session_are_repaired() -> None:
    old = {**OPENAI, "input_fidelity": "auto", "quality": "max"}
    right = {**OPENAI, EXACT: {"quality": "max"}}
    other = {"type": "core_metadata", "id": "m", "mode": "outpaint"}

    def session(node: dict[str, Any]) -> dict[str, Any]:
        graph = {"id": "g", "nodes": {"a": node, "m": other}, "edges": []}
        return {"graph": graph, "execution_graph": graph, "calls": [{"frame": {"graph": graph}}], "results": {}}

    text = repaired(json.dumps(session(old)))
    assert text is not None
    assert json.loads(text) == session(right)
    assert repaired(text) is None


def test_a_node_stored_by_0_1_is_repaired() -> None:
    item = json.loads((Path(__file__).parent / "fixtures" / "root_0_1" / "queue_item.json").read_text("utf-8"))
    node = item["session"]["graph"]["nodes"]["picture"]
    assert node.pop("input_fidelity") == "auto"
    text = repaired(json.dumps(item["session"] | {"graph": {"nodes": {"picture": {**node, "input_fidelity": "auto"}}}}))
    assert text is not None
    assert json.loads(text)["graph"]["nodes"]["picture"] == node
    assert '"input_fidelity": "auto"' not in text


@pytest.mark.parametrize("text", ["", "{", "null", "[]", '{"graph": {"nodes": [1]}}', '{"graph": {"nodes": {"a": 1}}}'])
def test_anything_but_a_session_is_unchanged(text: str) -> None:
    assert repaired(text) is None
    assert not has_own_node(text)


@pytest.mark.parametrize("node_type", ["external_image", "external_image_info"])
def test_a_session_has_a_node_that_the_core_does_not_know_in_any_of_its_graphs_and_not_in_a_text(
    node_type: str,
) -> None:
    own = {"nodes": {"a": {"type": node_type, "id": "a"}}}
    quoting = {"nodes": {"a": {**OPENAI, "prompt": f'"type": "{node_type}"', "note": node_type}}}
    assert has_own_node(json.dumps({"graph": own}))
    assert has_own_node(json.dumps({"graph": quoting, "calls": [{"frame": {"graph": own}}]}, separators=(",", ":")))
    assert not has_own_node(json.dumps({"graph": quoting}))
