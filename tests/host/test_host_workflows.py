"""The example workflows: saved in Invoke's library like the page does, and run."""

from __future__ import annotations

import copy
import json

import pytest
from PIL import Image, ImageChops

from .graphs import identifier
from .invoke import Invoke, Json, Picture, output_names
from .packing import REPOSITORY
from .sandbox import Sandbox

FILES = sorted((REPOSITORY / "workflows").glob("*.json"))
Dropped = str | list[str]
"""The name of a gallery image, or of several."""

EXAMPLES: dict[str, Json] = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in FILES}


def in_library(invoke: Invoke, workflow: Json) -> Json:
    """A workflow from Invoke's library, after it was saved there like the page does."""
    saved = invoke.send("POST", "/v1/workflows/", json={"workflow": workflow})
    found: Json = invoke.get(f"/v1/workflows/i/{saved['workflow_id']}")["workflow"]
    invoke.send("DELETE", f"/v1/workflows/i/{saved['workflow_id']}")
    return found


def graph_of(workflow: Json) -> Json:
    """The graph that the page makes from a workflow: the values of its fields, except for connected ones."""
    nodes: Json = {}
    for node in (node["data"] for node in workflow["nodes"] if node["type"] == "invocation"):
        values = {name: field["value"] for name, field in node["inputs"].items() if "value" in field}
        nodes[node["id"]] = {
            **values,
            "id": node["id"],
            "type": node["type"],
            "is_intermediate": node["isIntermediate"],
            "use_cache": node["useCache"],
        }
    edges = []
    for line in workflow["edges"]:
        nodes[line["target"]].pop(line["targetHandle"], None)
        edges.append(
            {
                "source": {"node_id": line["source"], "field": line["sourceHandle"]},
                "destination": {"node_id": line["target"], "field": line["targetHandle"]},
            }
        )
    return {"id": "graph", "nodes": nodes, "edges": edges}


def run(invoke: Invoke, name: str, **dropped: Dropped) -> dict[str, list[Picture]]:
    """Save an example in the library and run it; return the images of its external nodes, by node id.

    Args:
        invoke: A running Invoke.
        name: The name of the example's file.
        dropped: The images that the user drops on its fields, by the label of the field with ``_`` for a space.
    """
    workflow = in_library(invoke, with_dropped(EXAMPLES[name], dropped))
    item = invoke.ended(invoke.enqueue(graph_of(workflow), workflow=workflow))
    assert item["status"] == "completed", item["error_message"]
    session = item["session"]
    made: dict[str, list[Picture]] = {}
    for prepared, output in session["results"].items():
        names = list(output_names({"session": {"results": {prepared: output}}}))
        if names and output["type"] == "image_collection_output":
            made[session["prepared_source_mapping"][prepared]] = [invoke.picture(found) for found in names]
    return made


def with_dropped(workflow: Json, dropped: dict[str, Dropped]) -> Json:
    """A workflow after images were dropped on its fields with these labels."""
    filled = copy.deepcopy(workflow)
    fields = [field for node in filled["nodes"] for field in node["data"].get("inputs", {}).values()]
    for name, value in dropped.items():
        [field] = [field for field in fields if field["label"].replace(" ", "_") == name]
        field["value"] = (
            {"image_name": value} if isinstance(value, str) else [{"image_name": image_name} for image_name in value]
        )
    return filled


def node_of(workflow: str, node_id: str) -> Json:
    [node] = [node["data"] for node in EXAMPLES[workflow]["nodes"] if node["id"] == node_id]
    return {name: field.get("value") for name, field in node["inputs"].items()}


def holds_what_made_it(
    invoke: Invoke, workflow: str, node_id: str, picture: Picture, prompt: str | None = None
) -> None:
    """Assert that an image has its prompt and model in its metadata, and its workflow."""
    node = node_of(workflow, node_id)
    assert picture.metadata["positive_prompt"] == (prompt or node["prompt"])
    assert picture.metadata["model"] == node["model"]
    assert picture.metadata["external"]["model"] in node["model"]["key"]
    carried = invoke.get(f"/v1/images/i/{picture.name}/workflow")["workflow"]
    assert json.loads(carried)["name"] == EXAMPLES[workflow]["name"]
    assert picture.name in invoke.gallery()


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_library_keeps_an_example_unchanged(invoke: Invoke, name: str) -> None:
    kept = in_library(invoke, EXAMPLES[name])
    del kept["id"]
    assert kept == EXAMPLES[name]


@pytest.mark.parametrize("name", EXAMPLES)
def test_invoke_knows_every_field_and_connection_of_an_example(invoke: Invoke, name: str) -> None:
    for node in (node["data"] for node in EXAMPLES[name]["nodes"] if node["type"] == "invocation"):
        schema = invoke.schema(node["type"])
        assert node["version"] == schema["version"], node["type"]
        # The page warns of a field that it does not know, and one of those is the index of Iterate, which is hidden.
        shown = {field for field, field_schema in schema["properties"].items() if not field_schema.get("ui_hidden")}
        assert node["inputs"].keys() == shown - {"id", "type", "is_intermediate", "use_cache"}, node["type"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_models_of_an_example_are_installed_under_its_names(invoke: Invoke, name: str) -> None:
    named = [
        node["data"]["inputs"]["model"]["value"]
        for node in EXAMPLES[name]["nodes"]
        if "model" in node["data"].get("inputs", ())
    ]
    installed = {model["key"]: identifier(model) for model in invoke.models()}
    assert named == [installed[model["key"]] for model in named]


def test_text_to_image(invoke: Invoke, sandbox: Sandbox) -> None:
    made = run(invoke, "text-to-picture")
    [picture] = made["picture"]
    assert made.keys() == {"picture"}
    assert picture.image.size == (1264, 848)
    assert [notice["code"] for notice in picture.metadata["external"]["notices"]] == ["sandbox"]
    holds_what_made_it(invoke, "text-to-picture", "picture", picture)
    assert len(sandbox.calls()) == 1


def test_edit_with_references_sends_the_image_first_and_then_the_reference(
    invoke: Invoke, sandbox: Sandbox, photo: Image.Image
) -> None:
    own = invoke.upload(photo)
    reference = invoke.upload(Image.new("RGB", (64, 64), "red"))
    before = set(invoke.gallery())
    made = run(invoke, "edit-with-references", Your_image=own, Reference=reference)
    [edit] = made["edit"]
    assert edit.image.size == photo.size
    assert edit.metadata["external"]["init_image"]["name"] == own
    assert [image["name"] for image in edit.metadata["external"]["references"]] == [reference]
    assert set(invoke.gallery()) - before == {edit.name}
    holds_what_made_it(invoke, "edit-with-references", "edit", edit)
    [call] = sandbox.calls()
    parts = call["json"]["contents"][-1]["parts"]
    assert ["text" in part for part in parts] == [False, False, True]


@pytest.mark.parametrize(
    ("name", "dropped"),
    [
        ("edit-with-references", ["Your_image"]),
        ("edit-with-references", ["Reference"]),
        *((name, []) for name in ("enlarge", "extend", "inpaint")),
    ],
)
def test_nothing_is_sent_without_each_image(
    invoke: Invoke, sandbox: Sandbox, photo: Image.Image, name: str, dropped: list[str]
) -> None:
    workflow = with_dropped(EXAMPLES[name], {field: invoke.upload(photo) for field in dropped})
    item = invoke.ended(invoke.enqueue(graph_of(workflow), workflow=workflow))
    assert (item["status"], sandbox.calls()) == ("failed", [])


def test_inpaint_changes_only_the_rectangle(invoke: Invoke, sandbox: Sandbox, photo: Image.Image) -> None:
    own = invoke.upload(photo.resize((1024, 1024)))
    before = set(invoke.gallery())
    [edit] = run(invoke, "inpaint", Your_image=own)["edit"]
    rectangle = node_of("inpaint", "rectangle")
    left, top = rectangle["x_left"], rectangle["y_top"]
    box = (left, top, left + rectangle["rectangle_width"], top + rectangle["rectangle_height"])
    assert edit.metadata["external"]["mask"]
    changed = ImageChops.difference(edit.image.convert("RGB"), invoke.picture(own).image.convert("RGB"))
    inside = changed.crop(box)
    assert inside.getbbox() is not None
    changed.paste(0, box)
    assert changed.getbbox() is None
    assert set(invoke.gallery()) - before == {edit.name}
    holds_what_made_it(invoke, "inpaint", "edit", edit)
    assert len(sandbox.calls()) == 1


def test_enlarge_gives_the_image_at_4k_in_its_own_ratio(invoke: Invoke, sandbox: Sandbox, photo: Image.Image) -> None:
    own = invoke.upload(photo.resize((1264, 848)))
    [large] = run(invoke, "enlarge", Your_image=own)["edit"]
    assert large.image.size == (4 * 1264, 4 * 848)
    holds_what_made_it(invoke, "enlarge", "edit", large)
    [call] = sandbox.calls()
    # Without a ratio, the model follows that of the image.
    assert call["json"]["generationConfig"]["imageConfig"] == {"imageSize": "4K"}


def test_extend_paints_the_sides_and_leaves_every_old_pixel(
    invoke: Invoke, sandbox: Sandbox, photo: Image.Image
) -> None:
    own = invoke.upload(photo.resize((1024, 1024)))
    before = set(invoke.gallery())
    [wide] = run(invoke, "extend", Your_image=own)["edit"]
    canvas = node_of("extend", "pad")
    left, right = canvas["left"], canvas["right"]
    assert wide.image.size == (1024 + left + right, 1024)
    kept = wide.image.convert("RGB").crop((left, 0, left + 1024, 1024))
    assert kept.tobytes() == invoke.picture(own).image.convert("RGB").tobytes()
    # What is new is opaque, and painted up to the edges of the old image.
    assert wide.image.convert("RGBA").getchannel("A").getextrema() == (255, 255)
    assert set(invoke.gallery()) - before == {wide.name}
    holds_what_made_it(invoke, "extend", "edit", wide)
    assert len(sandbox.calls()) == 1


def test_two_providers_get_the_same_prompt(invoke: Invoke, sandbox: Sandbox) -> None:
    made = run(invoke, "two-providers")
    prompt = node_of("two-providers", "prompt")["value"]
    assert made.keys() == {"gemini", "openai"}
    for node, [picture] in made.items():
        assert picture.metadata["external"]["provider"] == node
        assert picture.image.size == (1024, 1024)
        holds_what_made_it(invoke, "two-providers", node, picture, prompt)
    assert len(sandbox.calls()) == 2


def test_the_sprite_is_transparent(invoke: Invoke, sandbox: Sandbox) -> None:
    [sprite] = run(invoke, "transparent-sprite")["sprite"]
    assert sprite.image.mode == "RGBA"
    assert sprite.image.getchannel("A").getextrema() == (0, 255)
    assert sprite.metadata["openai_background"] == "transparent"
    holds_what_made_it(invoke, "transparent-sprite", "sprite", sprite)
