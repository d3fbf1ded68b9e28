"""The node *External Image* in the workflow editor: its fields, the models of all providers, its outputs, and a run."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import expect

from ..conftest import NewInvoke
from ..graphs import identifier
from ..invoke import OWN_NODE_TYPE, PROVIDERS, Invoke, Json
from ..sandbox import Sandbox
from ..test_host_external_image import MODEL, results_of
from .conftest import OpenPage
from .page import InvokePage
from .test_browser_editor import FIELDS_OF_BOTH, load, node

NAME = "External: any provider"
OPTIONS = "quality=low\nbackground=opaque"
OUTPUTS = {
    "collection": ("image_collection", "collection"),
    "cost_usd": ("float", "value"),
    "notices": ("string", "value"),
}
"""The outputs, and the core nodes and their inputs that they are connected to."""
OTHER_INPUTS: Json = {"image_collection": {"images": {"value": []}}}
SIDES = ("Left Panel (T)", "Right Panel (G)")


def workflow_of(invoke: Invoke, reference: str, *, options: str = "") -> Json:
    """A workflow with the node, a model and options in it, and a core node after each of its outputs."""
    model = {"value": identifier(invoke.model(reference))}
    values: Json = {name: {} for name in ("board", "metadata", "init_image", "mask_image", "seed")}
    values |= {
        "model": model,
        "prompt": {"value": "a brass lantern"},
        "options": {"value": options},
    }
    values |= {"reference_images": {"value": []}, "num_images": {"value": 1}, "previews": {"value": "setting"}}
    values |= {"width": {"value": 1024}, "height": {"value": 1024}, "image_size": {"value": ""}}
    nodes = [placed(invoke, "external", OWN_NODE_TYPE, values, x=0, y=0)]
    edges = []
    for number, (output, (kind, field)) in enumerate(OUTPUTS.items()):
        nodes.append(placed(invoke, output, kind, {field: {}, **OTHER_INPUTS.get(kind, {})}, x=700, y=number * 300))
        edge = {"source": "external", "sourceHandle": output, "target": output, "targetHandle": field}
        edges.append({"id": f"external.{output}", "type": "default", **edge})
    root = {"id": "root", "type": "container", "data": {"layout": "column", "children": []}}
    return {
        **dict.fromkeys(("author", "description", "contact", "tags", "notes"), ""),
        "name": NAME,
        "version": "1.0.0",
        "exposedFields": [],
        "meta": {"version": "3.0.0", "category": "user"},
        "form": {"elements": {"root": root}, "rootElementId": "root"},
        "nodes": nodes,
        "edges": edges,
    }


def placed(invoke: Invoke, name: str, kind: str, inputs: Json, **position: int) -> Json:
    schema = invoke.schema(kind)
    data: dict[str, Any] = {
        **{
            "id": name,
            "type": kind,
            "version": schema["version"],
            "label": "",
            "notes": "",
            "nodePack": schema["node_pack"],
        },
        **{"isOpen": True, "isIntermediate": False, "useCache": False},
        "inputs": {field: {"name": field, "label": "", **value} for field, value in inputs.items()},
    }
    return {"id": name, "type": "invocation", "data": data, "position": position}


@pytest.fixture(scope="module")
def invoke(new_invoke: NewInvoke) -> Invoke:
    made = new_invoke(keys=PROVIDERS)
    made.start_with_models()
    made.send("POST", "/v1/workflows/", json={"workflow": workflow_of(made, MODEL, options=OPTIONS)})
    return made


@pytest.fixture(scope="module")
def page(invoke: Invoke, open_page: OpenPage) -> InvokePage:
    page = open_page(invoke)
    page.open_tab("Workflows")
    return page


def open_in_editor(page: InvokePage) -> None:
    """Load the workflow, and assert that the page has nothing to say about it."""
    load(page, NAME)
    assert [re.sub(r" \(\d+\)$", "", notice) for notice in page.notices()] == ["Workflow Loaded"]
    edit = page.raw.get_by_role("button", name="Edit in Workflow Editor")
    if edit.is_visible():
        edit.click()


def test_it_opens_without_a_warning(page: InvokePage) -> None:
    open_in_editor(page)
    for side in SIDES:
        page.raw.get_by_role("button", name=f"Toggle {side}").click()
    page.raw.get_by_role("button", name="Hide MiniMap").click()
    page.raw.get_by_role("button", name="Fit View").click()
    page.close_notices()
    # Each output is connected.
    expect(page.raw.locator(".react-flow__edge")).to_have_count(len(OUTPUTS))


def test_it_shows_its_fields_in_order(page: InvokePage) -> None:
    found = node(page, "external")
    outputs = ["Metadata", "Collection", "Cost (USD)", "Notices"]
    assert found.locator("p").all_inner_texts() == [
        *("External Image", "Metadata", *outputs[1:]),
        *FIELDS_OF_BOTH[2:],
        *("Options", "Previews"),
    ]
    expect(found.locator("textarea").last).to_have_value(OPTIONS)
    page.screenshot("node-external", of=found)


def test_it_lists_the_models_of_all_providers(page: InvokePage, invoke: Invoke) -> None:
    node(page, "external").get_by_role("combobox").nth(1).click()
    options = page.raw.get_by_role("listbox").get_by_role("option")
    expect(options.first).to_be_visible()
    assert {text.split("\n")[0] for text in options.all_inner_texts()} == {model["name"] for model in invoke.models()}
    page.raw.keyboard.press("Escape")
    expect(options).to_have_count(0)


def test_it_runs_and_the_page_shows_the_image_in_the_gallery(
    page: InvokePage, invoke: Invoke, sandbox: Sandbox
) -> None:
    for side in SIDES:
        page.raw.get_by_role("button", name=f"Toggle {side}").click()
    before = set(page.gallery())
    page.invoke_button.click()
    [made] = page.wait_for(lambda: set(page.gallery()) - before)
    page.wait_for_queue_idle()
    picture = invoke.picture(made)
    assert picture.metadata["external"]["options"] == {"quality": "low", "background": "opaque"}
    [item] = invoke.get("/v1/queue/default/list_all")
    results = results_of(item)
    assert results["collection"]["collection"] == [{"image_name": made}]
    assert results["cost_usd"]["value"] == pytest.approx(picture.metadata["external"]["cost_usd"])
    assert "sandbox" in results["notices"]["value"].lower()
    [call] = sandbox.calls()
    assert call["json"]["prompt"] == "a brass lantern"


def test_the_page_logged_no_error(page: InvokePage) -> None:
    assert page.errors == []
