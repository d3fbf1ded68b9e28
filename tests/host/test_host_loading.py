"""The plugin is in the ``nodes`` folder of a root: Invoke starts with it, and its nodes replace the core's."""

from __future__ import annotations

import pytest

from .invoke import INFO_NODE_TYPE, NODE_TYPES, OWN_NODE_TYPE, PROVIDERS, Invoke, LogLine
from .packing import PACK

# The fields that Invoke's tabs send, and that workflows saved with the core's nodes have (6.13.0 to 6.14.2).
SHARED_FIELDS = {
    *("model", "mode", "prompt", "seed", "num_images", "width", "height", "image_size"),
    *("init_image", "mask_image", "reference_images", "board", "metadata", "is_intermediate", "use_cache"),
}
OWN_FIELDS = {
    "openai": {"quality", "background", "input_fidelity"},
    "gemini": {"temperature", "thinking_level"},
}


def line_with(invoke: Invoke, text: str) -> tuple[int, LogLine]:
    found = [(number, line) for number, line in enumerate(invoke.log()) if text in line.text]
    assert found, f"no line with {text!r} in:\n{invoke.log_text()[:4000]}"
    return found[0]


def test_invoke_starts_without_an_error_line(invoke: Invoke) -> None:
    lines = invoke.log()
    served, _ = line_with(invoke, "Invoke running on")
    assert [line.text for line in lines[:served] if line.level in ("ERROR", "CRITICAL")] == []
    assert "Traceback" not in "\n".join(line.text for line in lines[:served])
    line_with(invoke, "Loaded 1 node pack")


def test_no_model_is_installed_before_invoke_serves_requests(invoke: Invoke) -> None:
    served, _ = line_with(invoke, "Invoke running on")
    installed, _ = line_with(invoke, "Model install started: external://")
    assert installed > served


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_node_replaces_the_core_s(invoke: Invoke, provider: str) -> None:
    schema = invoke.schema(NODE_TYPES[provider])
    assert schema["node_pack"] == PACK
    assert set(schema["properties"]) >= SHARED_FIELDS | OWN_FIELDS[provider]
    assert schema["output"]["$ref"].endswith("/ImageCollectionOutput")
    assert schema["properties"]["use_cache"]["default"] is False
    assert schema["properties"]["mode"]["ui_hidden"] is True
    assert schema["properties"]["model"]["ui_model_provider_id"] == [provider]


def test_the_list_of_packs_counts_its_nodes(invoke: Invoke) -> None:
    packs = {pack["name"]: pack for pack in invoke.get("/v2/custom_nodes/")["node_packs"]}
    assert set(packs) == {PACK}
    assert set(packs[PACK]["node_types"]) == {*NODE_TYPES.values(), OWN_NODE_TYPE, INFO_NODE_TYPE}


def test_the_web_page_is_still_served(invoke: Invoke) -> None:
    page = invoke.request("GET", "/../")
    assert page.status_code == 200
    assert "<html" in page.text
