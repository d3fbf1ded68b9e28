"""The example workflows in ``workflows/``: well formed, within what the catalogue says, and the only ones in here."""

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


def is_taken_for_a_workflow(text: str) -> bool:
    """What the node manager makes of a JSON file."""
    data = json.loads(text)
    return isinstance(data, dict) and "nodes" in data and "edges" in data


def nodes_of(workflow: Json) -> dict[str, Json]:
    """The data of all nodes but the notes, by id."""
    return {node["id"]: node["data"] for node in workflow["nodes"] if node["type"] == "invocation"}


def external_nodes(workflow: Json) -> list[Json]:
    return [node for node in nodes_of(workflow).values() if node["type"] in PROVIDERS]


def wired_fields(workflow: Json) -> set[tuple[str, str]]:
    """The fields that a line leads to, with their nodes."""
    return {(line["target"], line["targetHandle"]) for line in workflow["edges"]}


def fields_of_form(workflow: Json) -> list[tuple[str, str]]:
    """The fields that the form shows, with their nodes."""
    found = [element["data"]["fieldIdentifier"] for element in elements_of(workflow, "node-field")]
    return [(field["nodeId"], field["fieldName"]) for field in found]


def elements_of(workflow: Json, kind: str) -> list[Json]:
    return [element for element in workflow["form"]["elements"].values() if element["type"] == kind]


def png(mode: str, colour: int) -> InputImage:
    file = io.BytesIO()
    Image.new(mode, (1024, 1024), colour).save(file, "PNG")
    return InputImage(file.getvalue(), "given.png")


def request_of(node: Json, wired: set[tuple[str, str]]) -> GenerationRequest:
    """What a node asks for, with any prompt and any picture in the place of what is wired."""
    values = {name: field.get("value") for name, field in node["inputs"].items()}
    given = {name for node_id, name in wired if node_id == node["id"]}
    size = Size(values["width"], values["height"])
    return GenerationRequest(
        prompt="wired" if "prompt" in given else values["prompt"],
        n=values["num_images"],
        size=None if values["image_size"] else size,
        aspect_ratio=AspectRatio(size.width, size.height) if values["image_size"] else None,
        image_size=values["image_size"],
        seed=values["seed"],
        init_image=png("RGB", 0) if "init_image" in given else None,
        mask=png("L", 255) if "mask_image" in given else None,
        references=(png("RGB", 0),) if "reference_images" in given else (),
        options={name: values[name] for name in OPTIONS if values.get(name) is not None},
    )


def test_there_is_an_example_for_each_thing_that_people_do() -> None:
    assert list(EXAMPLES) == [
        *("edit-with-references", "inpaint", "text-to-picture", "transparent-sprite", "two-providers")
    ]


def test_what_the_node_manager_takes_for_a_workflow_is_known_here() -> None:
    assert is_taken_for_a_workflow('{"nodes": {}, "edges": [], "id": "graph"}')
    assert not is_taken_for_a_workflow('{"nodes": []}')
    assert not is_taken_for_a_workflow('["nodes", "edges"]')


def test_no_other_file_in_here_would_be_imported_as_a_workflow() -> None:
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.json"]
    listed = subprocess.run(listing, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    files = {ROOT / name for name in filter(None, listed.split("\0")) if (ROOT / name).is_file()}
    workflows = {path for path in files if is_taken_for_a_workflow(path.read_text(encoding="utf-8"))}
    assert workflows == {FOLDER / f"{name}.json" for name in EXAMPLES}


@every_example
def test_it_says_what_it_is_and_which_keys_it_needs(name: str) -> None:
    workflow = EXAMPLES[name]
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
def test_its_lines_join_fields_that_are_there(name: str) -> None:
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
def test_its_form_shows_what_people_change_and_nothing_that_is_wired(name: str) -> None:
    workflow = EXAMPLES[name]
    nodes, wired, shown = nodes_of(workflow), wired_fields(workflow), fields_of_form(workflow)
    assert len(shown) == len(set(shown))
    assert wired.isdisjoint(shown)
    assert all(field in nodes[node_id]["inputs"] for node_id, field in shown)
    for node in external_nodes(workflow):
        assert {(node["id"], "model"), (node["id"], "prompt")} - wired <= set(shown)


@every_example
def test_its_form_is_a_tree(name: str) -> None:
    """Otherwise Invoke's page throws it away without a word."""
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
def test_its_models_are_active_ones_of_the_nodes_own_providers(name: str) -> None:
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
def test_its_models_take_all_that_it_asks_for(name: str) -> None:
    models = {f"{model.provider}-{model.id}": model for model in Registry().models()}
    wired = wired_fields(EXAMPLES[name])
    for node in external_nodes(EXAMPLES[name]):
        made = plan(request_of(node, wired), models[node["inputs"]["model"]["value"]["key"]])
        assert made.notices == (), node["id"]
