"""The workflow editor: the examples open without a warning and run, and each node shows what it should."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Locator, expect

from ..conftest import NewInvoke
from ..invoke import PROVIDERS, Invoke, Json
from ..sandbox import Sandbox
from ..test_host_workflows import EXAMPLES, node_of
from .conftest import OpenPage
from .page import InvokePage

# A name of the page's own stands before the fields that people think of; ``mode`` is not among them.
FIELDS_OF_BOTH = [
    *("Metadata", "Collection", "Board", "Model", "Prompt", "Reference Images", "Init Image", "Mask Image"),
    *("Num Images", "Width", "Height", "Image Size", "Seed"),
]
FIELDS = {
    "gemini": [*FIELDS_OF_BOTH, "Temperature", "Thinking Level", "Safety", "Web Search", "Previews"],
    "openai": [
        *(*FIELDS_OF_BOTH, "Quality", "Background", "Input Fidelity", "Moderation", "Complexity", "Output Format"),
        *("Output Compression", "Markup Image", "Previews"),
    ],
}
PROMPT = "a brass lantern"
OWN_IMAGE = "Your image"
"""The label of the field for one's own image."""
TITLES = {"gemini": "Gemini Image", "openai": "OpenAI Image"}


def as_the_core_s_node_saved(workflow: Json) -> Json:
    """A workflow whose nodes are of the core's version and lack a field that only ours has."""
    saved = copy.deepcopy(workflow)
    for entry in saved["nodes"]:
        if entry["type"] == "invocation":
            entry["data"]["version"] = "1.0.0"
            del entry["data"]["inputs"]["previews"]
    return {**saved, "name": "External: saved with the core's node"}


OF_THE_CORE = as_the_core_s_node_saved(EXAMPLES["text-to-picture"])


@pytest.fixture(scope="module")
def invoke(new_invoke: NewInvoke) -> Invoke:
    """An Invoke with keys, all models, and the examples in its library."""
    made = new_invoke(keys=PROVIDERS)
    made.start()
    made.settled_models()
    for workflow in (*EXAMPLES.values(), OF_THE_CORE):
        made.send("POST", "/v1/workflows/", json={"workflow": workflow})
    return made


@pytest.fixture(scope="module")
def page(invoke: Invoke, open_page: OpenPage) -> InvokePage:
    page = open_page(invoke)
    page.open_tab("Workflows")
    return page


@pytest.fixture(scope="module")
def own_image(tmp_path_factory: pytest.TempPathFactory, photo: Image.Image) -> Path:
    file = tmp_path_factory.mktemp("own") / "photo.png"
    photo.save(file)
    return file


def load(page: InvokePage, name: str) -> None:
    """Load a workflow from the library, in place of the one that is open; it opens as a form."""
    page.close_notices()
    page.raw.get_by_role("button", name=re.compile("^(Choose Workflow from Library|External: .*)$")).first.click()
    library = page.raw.get_by_role("dialog", name="Workflow Library")
    library.get_by_role("button", name="Your Workflows").click()
    library.get_by_role("button").filter(has=page.raw.get_by_text(name, exact=True)).click()
    # The page counts a form that was shown as a change, and asks.
    question = page.raw.get_by_role("alertdialog", name="Load Workflow")
    loaded = page.notice(re.compile("^Workflow Loaded"))
    page.wait_for(lambda: question.is_visible() or loaded.count())
    if question.is_visible():
        question.get_by_role("button", name="Load").click()
    expect(loaded.first).to_be_visible()
    expect(library).to_have_count(0)


def node(page: InvokePage, node_id: str) -> Locator:
    """A node of the workflow, on the tab *Workflow Editor*."""
    return page.raw.locator(f".react-flow__node[data-id={node_id}]")


@pytest.fixture(scope="module")
def nodes(page: InvokePage) -> InvokePage:
    """The page with the nodes of both providers, as large as they fit, without the panels on both sides."""
    load(page, EXAMPLES["two-providers"]["name"])
    page.raw.get_by_role("button", name="Edit in Workflow Editor").click()
    for side in ("Left Panel (T)", "Right Panel (G)"):
        page.raw.get_by_role("button", name=f"Toggle {side}").click()
    page.raw.get_by_role("button", name="Hide MiniMap").click()
    page.raw.get_by_role("button", name="Fit View").click()
    page.close_notices()
    return page


def back_to_the_form(page: InvokePage) -> None:
    for side in ("Left Panel (T)", "Right Panel (G)"):
        page.raw.get_by_role("button", name=f"Toggle {side}").click()
    page.raw.get_by_role("button", name="Use in Linear View").click()


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_opens_without_a_warning_and_is_ready_to_run(page: InvokePage, name: str, own_image: Path) -> None:
    example = EXAMPLES[name]
    load(page, example["name"])
    assert [re.sub(r" \(\d+\)$", "", notice) for notice in page.notices()] == ["Workflow Loaded"]
    expect(page.raw.get_by_role("button", name=example["name"], exact=True)).to_be_visible()
    for element in example["form"]["elements"].values():
        if element["type"] == "node-field":
            place = element["data"]["fieldIdentifier"]
            value = node_of(name, place["nodeId"])[place["fieldName"]]
            if isinstance(value, str) and len(value) > 20:
                expect(page.raw.get_by_text(value, exact=True)).to_be_visible()
            if place["fieldName"] == "model":
                expect(page.raw.get_by_text(value["name"], exact=True).first).to_be_visible()
    own = page.raw.get_by_text(OWN_IMAGE, exact=True)
    if own.count():
        elements = example["form"]["elements"].values()
        fields = [
            e for e in elements if e["type"] == "node-field" and e["data"]["fieldIdentifier"]["fieldName"] == "image"
        ]
        for _ in fields:
            # Without each of its images, the run would make another image, and cost as much.
            expect(page.invoke_button).to_be_disabled()
            inputs = page.raw.locator("input[type=file]")
            left = inputs.count()
            inputs.first.set_input_files(own_image)
            expect(inputs).to_have_count(left - 1)
    expect(page.invoke_button).to_be_enabled()


def test_a_workflow_that_was_saved_with_the_core_s_node_opens_without_a_warning_and_runs(
    page: InvokePage, invoke: Invoke, sandbox: Sandbox
) -> None:
    load(page, OF_THE_CORE["name"])
    assert [re.sub(r" \(\d+\)$", "", notice) for notice in page.notices()] == ["Workflow Loaded"]
    picture = invoke.picture(page.generate())
    assert picture.metadata["positive_prompt"] == node_of("text-to-picture", "picture")["prompt"]
    assert len(sandbox.calls()) == 1
    page.close_notices()


@pytest.mark.parametrize(("name", "node_id"), [("text-to-picture", "picture"), ("transparent-sprite", "sprite")])
def test_invoke_makes_the_image_of_the_form(
    page: InvokePage, invoke: Invoke, sandbox: Sandbox, name: str, node_id: str
) -> None:
    load(page, EXAMPLES[name]["name"])
    written = page.raw.get_by_text(node_of(name, node_id)["prompt"], exact=True)
    written.fill(PROMPT)
    picture = invoke.picture(page.generate())
    assert picture.metadata["positive_prompt"] == PROMPT
    assert picture.metadata["model"] == node_of(name, node_id)["model"]
    assert len(sandbox.calls()) == 1
    page.close_notices()
    page.screenshot(f"workflow-{name}")


def test_the_nodes_show_their_fields_in_order(nodes: InvokePage) -> None:
    for provider in PROVIDERS:
        # The example has its own labels for some fields.
        labels = {field["label"]: title(name) for name, field in inputs_of(provider).items() if field["label"]}
        expect(node(nodes, provider).get_by_text(TITLES[provider], exact=True)).to_be_visible()
        names = [labels.get(text, text) for text in node(nodes, provider).locator("p").all_inner_texts()]
        assert names == [TITLES[provider], *FIELDS[provider]]


def inputs_of(provider: str) -> dict[str, dict[str, str]]:
    [found] = [each["data"]["inputs"] for each in EXAMPLES["two-providers"]["nodes"] if each["id"] == provider]
    inputs: dict[str, dict[str, str]] = found
    return inputs


def title(field: str) -> str:
    """The page's own name of a field."""
    return field.replace("_", " ").title()


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_node_lists_only_its_provider_s_models(nodes: InvokePage, invoke: Invoke, provider: str) -> None:
    # The first is the board's.
    node(nodes, provider).get_by_role("combobox").nth(1).click()
    options = nodes.raw.get_by_role("listbox").get_by_role("option")
    expect(options.first).to_be_visible()
    names = {text.split("\n")[0] for text in options.all_inner_texts()}
    assert names == {model["name"] for model in invoke.models(provider)}
    nodes.raw.keyboard.press("Escape")
    expect(options).to_have_count(0)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_choice_of_a_node_has_an_input(nodes: InvokePage, provider: str) -> None:
    """The page shows no input for a field without a value, which could then only be connected."""
    found = node(nodes, provider)
    choices = {"gemini": 4, "openai": 7}
    expect(found.locator("select")).to_have_count(choices[provider])
    expect(found.get_by_role("textbox")).to_have_count(1)
    nodes.screenshot(f"node-{provider}", of=found)


def test_the_nodes_of_a_workflow_run_from_the_editor(nodes: InvokePage, invoke: Invoke, sandbox: Sandbox) -> None:
    nodes.screenshot("workflow-editor")
    back_to_the_form(nodes)
    before = set(nodes.gallery())
    nodes.invoke_button.click()
    made = nodes.wait_for(lambda: new if len(new := set(nodes.gallery()) - before) == 2 else None)
    nodes.wait_for_queue_idle()
    prompts = {invoke.picture(name).metadata["positive_prompt"] for name in made}
    assert prompts == {node_of("two-providers", "prompt")["value"]}
    assert len(sandbox.calls()) == 2


def test_the_page_logged_no_error(page: InvokePage) -> None:
    assert page.errors == []
