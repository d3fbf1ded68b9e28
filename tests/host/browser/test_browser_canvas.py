"""The Canvas with an external model: editing and inpainting run, and what such a model cannot do is locked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from ..invoke import PROVIDERS, Invoke
from ..sandbox import Sandbox
from .canvas import FAR, MIDDLE, drag, edited, fit, inpainted, layers, paint_mask, run
from .conftest import OpenPage
from .page import InvokePage
from .staging import SIZE, button, run_batch, slowed

MODELS = {"openai": "GPT Image 2.5 Flare", "gemini": "Gemini Nano Banana 2.1"}


@pytest.fixture(scope="module")
def invoke(own_invoke: Invoke) -> Invoke:
    """An Invoke with keys and all models."""
    return own_invoke


@pytest.fixture(scope="module")
def page(invoke: Invoke, open_page: OpenPage) -> InvokePage:
    """The page with an image of OpenAI in the viewer, in a size of the panel."""
    page = open_page(invoke)
    page.open_tab("Generate")
    page.choose_model(MODELS["openai"])
    page.choose("Resolution", "3:2 (1K)")
    page.write_prompt("a house by a lake")
    page.generate()
    return page


@pytest.fixture(params=PROVIDERS)
def provider(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def canvas(page: InvokePage, sandbox: Sandbox, provider: str) -> Iterator[InvokePage]:
    """The Canvas as *Edit* makes it from the image in the viewer, with a model of one provider and no calls so far."""
    yield edited(page, MODELS[provider])
    # The page locks nearly all while a result waits there to be accepted.
    if button(page, "Discard All").is_visible():
        button(page, "Discard All").click()
        expect(button(page, "Discard All")).to_have_count(0)


def test_what_external_models_do_not_have_is_locked_on_the_canvas(page: InvokePage) -> None:
    edited(page, MODELS["openai"])
    expect(page.raw.get_by_text("Not supported by model", exact=False)).to_be_visible()
    for field in ("Width", "Height"):
        expect(page.number(field)).to_be_disabled()
    expect(page.raw.get_by_role("combobox", name="Aspect", exact=True)).to_be_disabled()
    for name in ("Swap Dimensions", "Lock Aspect Ratio", "Optimize size for model"):
        expect(button(page, name)).to_be_disabled()
    button(page, "Add Layer").click()
    offered = {"Inpaint Mask": False, "Regional Guidance": False, "Regional Reference Image": False}
    offered |= {"Control Layer": False, "Raster Layer": True}
    for name, enabled in offered.items():
        item = page.raw.get_by_role("menuitem", name=name, exact=True)
        expect(item).to_be_visible()
        expect(item).to_be_enabled(enabled=enabled)
    page.screenshot("canvas-locked")
    page.raw.keyboard.press("Escape")


def test_image_to_image_comes_back_at_the_size_of_the_box_and_not_of_the_panel(
    canvas: InvokePage, invoke: Invoke, sandbox: Sandbox, provider: str
) -> None:
    canvas.write_prompt("the same in winter")
    made = run(canvas, invoke)
    init = invoke.picture(made.node["init_image"]["image_name"])
    # *Edit* makes the box smaller than the image, and in a size that the model does not support.
    assert init.image.size == (624, 416)
    assert made.node["mode"] == "img2img"
    assert made.picture.image.size == init.image.size
    assert made.picture.metadata["external"]["received"]["width"] > 624
    [call] = sandbox.calls()
    assert ("edits" in call["path"]) == (provider == "openai")
    assert made.picture.metadata["external"]["init_image"]["name"] == init.name


def test_inpainting_changes_what_was_painted_and_nothing_else(
    canvas: InvokePage, invoke: Invoke, sandbox: Sandbox, provider: str
) -> None:
    fit(canvas)
    paint_mask(canvas)
    canvas.screenshot(f"canvas-mask-{provider}")
    canvas.write_prompt("a red balloon")
    made = run(canvas, invoke)
    assert made.node["mode"] == "inpaint"
    found = inpainted(made, invoke)
    assert found.init.size == (1248, 832)
    assert made.picture.image.size == found.init.size
    assert found.changed_outside.getbbox() is None
    assert found.changed.getbbox() is not None
    [call] = sandbox.calls()
    if provider == "openai":
        assert [field["name"] for field in call["fields"]].count("mask") == 1
    assert made.picture.metadata["external"]["mask"]
    canvas.close_notices()
    canvas.screenshot(f"canvas-{provider}")


def test_an_accepted_result_becomes_a_layer(page: InvokePage, invoke: Invoke) -> None:
    edited(page, MODELS["openai"])
    run(page, invoke)
    button(page, "Accept (Enter)").click()
    expect(button(page, "Accept (Enter)")).to_have_count(0)
    expect(layers(page).get_by_text("Raster Layer", exact=True)).to_have_count(2)


@pytest.mark.parametrize(("seconds", "slowdown"), [(0, 1), (5, 1), (5, 4)])
def test_every_image_of_a_batch_can_be_accepted(
    page: InvokePage, invoke: Invoke, sandbox: Sandbox, seconds: float, slowdown: int
) -> None:
    """Most of them are there before their turn, so that their items end while the page reads its list of them."""
    edited(page, MODELS["openai"])
    page.write_prompt("the same at night")
    with slowed(page, slowdown):
        assert len(run_batch(page, invoke, sandbox, seconds)) == SIZE


def test_outpainting_is_refused_by_the_page_and_nothing_is_sent(
    canvas: InvokePage, invoke: Invoke, sandbox: Sandbox
) -> None:
    fit(canvas)
    layers(canvas).get_by_text("Raster Layer", exact=True).click()
    button(canvas, "Move (V)").click()
    drag(canvas, MIDDLE, FAR)
    items = len(invoke.get("/v1/queue/default/list_all"))
    canvas.invoke_button.click()
    expect(canvas.notice("Outpainting is not supported for external API models.")).to_be_visible()
    assert len(invoke.get("/v1/queue/default/list_all")) == items
    assert sandbox.calls() == []
    canvas.close_notices()


def test_the_page_logged_no_error(page: InvokePage) -> None:
    # The page logs the rejected outpainting as an error in its console too.
    assert [error for error in page.errors if "Failed to build graph" not in error] == []
