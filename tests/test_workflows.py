"""The example workflows in ``workflows/``: well formed, consistent with the catalogue, and the only workflows here."""

from __future__ import annotations

import io
import json
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from invokeai_external import AspectRatio, GenerationRequest, InputImage, Registry, Size
from invokeai_external.invoke.remedies import PAGE
from invokeai_external.planning.plan import plan

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "workflows"
Json = dict[str, Any]

EXAMPLES: dict[str, Json] = {
    path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))
}
PROVIDERS = {"gemini_image_generation": "gemini", "openai_image_generation": "openai"}
OPTIONS = ("quality", "background", "input_fidelity", "moderation", "temperature", "thinking_level")
every_example = pytest.mark.parametrize("name", EXAMPLES)


def is_imported_as_a_workflow(text: str) -> bool:
    """True if the node manager imports a JSON file as a workflow."""
    data = json.loads(text)
    return isinstance(data, dict) and "nodes" in data and "edges" in data


def nodes_of(workflow: Json) -> dict[str, Json]:
    """The data of all nodes except notes, by id."""
    return {node["id"]: node["data"] for node in workflow["nodes"] if node["type"] == "invocation"}


def external_nodes(workflow: Json) -> list[Json]:
    return [node for node in nodes_of(workflow).values() if node["type"] in PROVIDERS]


def connected_fields(workflow: Json) -> set[tuple[str, str]]:
    """The connected fields, with their nodes."""
    return {(line["target"], line["targetHandle"]) for line in workflow["edges"]}


def fields_of_form(workflow: Json) -> list[tuple[str, str]]:
    """The fields in the form, with their nodes."""
    found = [element["data"]["fieldIdentifier"] for element in elements_of(workflow, "node-field")]
    return [(field["nodeId"], field["fieldName"]) for field in found]


def elements_of(workflow: Json, kind: str) -> list[Json]:
    return [element for element in workflow["form"]["elements"].values() if element["type"] == kind]


def png(mode: str, colour: int) -> InputImage:
    file = io.BytesIO()
    Image.new(mode, (1024, 1024), colour).save(file, "PNG")
    return InputImage(file.getvalue(), "given.png")


def request_of(node: Json, connected: set[tuple[str, str]]) -> GenerationRequest:
    """The request of a node, with a sample prompt and image for each connected input."""
    values = {name: field.get("value") for name, field in node["inputs"].items()}
    given = {name for node_id, name in connected if node_id == node["id"]}
    size = Size(values["width"], values["height"])
    return GenerationRequest(
        prompt="connected" if "prompt" in given else values["prompt"],
        n=values["num_images"],
        size=None if values["image_size"] or "init_image" in given else size,
        aspect_ratio=AspectRatio(size.width, size.height)
        if values["image_size"] and "init_image" not in given
        else None,
        image_size=values["image_size"],
        seed=values["seed"],
        init_image=png("RGB", 0) if "init_image" in given else None,
        mask=png("L", 255) if "mask_image" in given else None,
        references=(png("RGB", 0),) if "reference_images" in given else (),
        options={name: values[name] for name in OPTIONS if values.get(name) is not None},
    )


def test_the_examples_are_these_seven() -> None:
    assert list(EXAMPLES) == [
        *("edit-with-references", "enlarge", "extend", "inpaint"),
        *("text-to-picture", "transparent-sprite", "two-providers"),
    ]


def test_the_rule_of_the_node_manager_is_known() -> None:
    assert is_imported_as_a_workflow('{"nodes": {}, "edges": [], "id": "graph"}')
    assert not is_imported_as_a_workflow('{"nodes": []}')
    assert not is_imported_as_a_workflow('["nodes", "edges"]')


@pytest.mark.slow
def test_no_other_file_would_be_imported_as_a_workflow() -> None:
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.json"]
    listed = subprocess.run(listing, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    files = {ROOT / name for name in filter(None, listed.split("\0")) if (ROOT / name).is_file()}
    workflows = {path for path in files if is_imported_as_a_workflow(path.read_text(encoding="utf-8"))}
    assert workflows == {FOLDER / f"{name}.json" for name in EXAMPLES}


@every_example
def test_it_describes_itself_and_says_which_keys_it_needs(name: str) -> None:
    workflow = EXAMPLES[name]
    # Invoke's page makes a link of a whole URL only.
    assert f"http://127.0.0.1:9090{PAGE} " in workflow["description"]
    for field in ("name", "author", "description", "version", "tags", "notes"):
        assert workflow[field].strip(), field
    assert workflow["meta"] == {"version": "3.0.0", "category": "user"}
    assert any(node["type"] == "notes" and node["data"]["notes"].strip() for node in workflow["nodes"])
    for provider in {PROVIDERS[node["type"]] for node in external_nodes(workflow)}:
        assert provider in workflow["tags"]
    keys = {"gemini": "a Gemini key", "openai": "an OpenAI key"}
    needed = {PROVIDERS[node["type"]] for node in external_nodes(workflow)}
    wanted = keys[needed.pop()] if len(needed) == 1 else "a key for both providers"
    assert workflow["notes"].startswith(f"Needs {wanted} ")


@every_example
def test_its_connections_join_existing_fields(name: str) -> None:
    workflow = EXAMPLES[name]
    nodes = nodes_of(workflow)
    assert len({node["id"] for node in workflow["nodes"]}) == len(workflow["nodes"])
    assert all(node["id"] == node["data"]["id"] for node in workflow["nodes"])
    for line in workflow["edges"]:
        assert line["source"] in nodes
        assert line["targetHandle"] in nodes[line["target"]]["inputs"]
    taken = Counter((line["target"], line["targetHandle"]) for line in workflow["edges"])
    assert {field for field, count in taken.items() if count > 1} <= {
        (node_id, "item") for node_id, node in nodes.items() if node["type"] == "collect"
    }


@every_example
def test_its_form_shows_the_fields_to_change_and_no_connected_ones(name: str) -> None:
    workflow = EXAMPLES[name]
    nodes, connected, shown = nodes_of(workflow), connected_fields(workflow), fields_of_form(workflow)
    assert len(shown) == len(set(shown))
    assert connected.isdisjoint(shown)
    assert all(field in nodes[node_id]["inputs"] for node_id, field in shown)
    for node in external_nodes(workflow):
        assert {(node["id"], "model"), (node["id"], "prompt")} - connected <= set(shown)


@every_example
def test_its_form_is_a_tree(name: str) -> None:
    """Otherwise Invoke's page discards it silently."""
    form = EXAMPLES[name]["form"]
    children = {
        child: element["id"]
        for element in elements_of(EXAMPLES[name], "container")
        for child in element["data"]["children"]
    }
    assert all(key == element["id"] for key, element in form["elements"].items())
    assert children == {
        key: element["parentId"] for key, element in form["elements"].items() if key != form["rootElementId"]
    }
    assert "parentId" not in form["elements"][form["rootElementId"]]


@every_example
def test_its_models_are_active_and_belong_to_the_node_s_provider(name: str) -> None:
    models = {model.reference: model for model in Registry().models()}
    for node in external_nodes(EXAMPLES[name]):
        named, provider = node["inputs"]["model"]["value"], PROVIDERS[node["type"]]
        model = models[f"{provider}/{named['key'].removeprefix(f'{provider}-')}"]
        assert model.lifecycle.status == "active"
        assert named == {
            "key": f"{provider}-{model.id}",
            "hash": f"external:{provider}:{model.id}",
            "name": model.name,
            "base": "external",
            "type": "external_image_generator",
        }


@every_example
def test_its_models_support_all_that_it_requests(name: str) -> None:
    models = {f"{model.provider}-{model.id}": model for model in Registry().models()}
    connected = connected_fields(EXAMPLES[name])
    for node in external_nodes(EXAMPLES[name]):
        made = plan(request_of(node, connected), models[node["inputs"]["model"]["value"]["key"]])
        masked = ["mask_area"] if (node["id"], "mask_image") in connected else []
        assert [notice.code for notice in made.notices] == masked, node["id"]


def test_the_rectangle_of_the_inpaint_example_marks_a_part_of_a_small_image_too() -> None:
    rectangle = nodes_of(EXAMPLES["inpaint"])["rectangle"]["inputs"]
    left, top, width, height = (
        rectangle[name]["value"] for name in ("x_left", "y_top", "rectangle_width", "rectangle_height")
    )
    image = Size(301, 203)
    marked = (min(left + width, image.width) - left) * (min(top + height, image.height) - top)
    assert (left, top) < (image.width, image.height)
    assert 0.25 < marked / image.pixels < 0.9


@every_example
def test_what_it_sends_needs_an_image_in_each_field_for_one(name: str) -> None:
    """Invoke runs no graph in which the field of an Image Primitive is empty; one of an external node may be."""
    nodes = nodes_of(EXAMPLES[name])
    given = {"init_image", "mask_image", "reference_images"}
    shown = {field for node_id, field in fields_of_form(EXAMPLES[name]) if nodes[node_id]["type"] in PROVIDERS}
    assert given.isdisjoint(shown)
