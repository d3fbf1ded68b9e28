"""Invoke's Canvas as a person uses it: an image is opened on it, a mask painted, a result staged."""

from __future__ import annotations

from typing import NamedTuple

from PIL import Image, ImageChops
from playwright.sync_api import Locator, expect

from ..invoke import Invoke, Json, Picture, output_names
from .page import InvokePage
from .staging import button

# The middle of the image on the page when the Canvas is fitted to its layers.
MIDDLE = (743, 480)
FAR = 60
"""How far the mouse is dragged, in pixels of the page: a stroke of the brush, or an image out of the box."""


class CanvasRun(NamedTuple):
    """A run of the Canvas: the external node as the page filled it in, and what it made."""

    node: Json
    picture: Picture


class Inpainted(NamedTuple):
    """The image before, how the result differs from it, and the same where nothing was painted; all in RGB."""

    init: Image.Image
    changed: Image.Image
    changed_outside: Image.Image


def edited(page: InvokePage, model: str) -> InvokePage:
    """Open the newest image of the gallery on the Canvas, as *Edit* does, with a model chosen by its name."""
    page.open_tab("Generate")
    page.open_picture(page.gallery()[0])
    page.choose_model(model)
    page.raw.get_by_role("button", name="Edit", exact=True).click()
    expect(layers(page).get_by_text("Raster Layer", exact=True)).to_be_visible()
    expect(layers(page).get_by_text("Inpaint Mask", exact=True)).to_be_visible()
    page.close_notices()
    return page


def layers(page: InvokePage) -> Locator:
    """The list of the Canvas' layers."""
    return page.raw.get_by_test_id("control-layers-layer-list")


def fit(page: InvokePage) -> None:
    """Make the box as large as the image."""
    button(page, "Fit Bbox To Layers").click()
    button(page, "Fit Layers to Canvas").click()


def drag(page: InvokePage, start: tuple[float, float], by: int) -> None:
    x, y = start
    page.raw.mouse.move(x, y)
    page.raw.mouse.down()
    page.raw.mouse.move(x + by, y + by / 2, steps=12)
    page.raw.mouse.up()


def paint_mask(page: InvokePage) -> None:
    """A few strokes of the brush in the middle of the image, on the inpaint mask."""
    layers(page).get_by_text("Inpaint Mask", exact=True).click()
    button(page, "Brush (B)").click()
    for row in range(3):
        drag(page, (MIDDLE[0], MIDDLE[1] + 20 * row), FAR)
    expect(button(page, "Undo")).to_be_enabled()


def run(page: InvokePage, invoke: Invoke) -> CanvasRun:
    """Press *Invoke*, and wait until the result is staged on the Canvas."""
    page.invoke_button.click()
    expect(button(page, "Accept (Enter)")).to_be_enabled()
    page.wait_for_queue_idle()
    newest: int = invoke.get("/v1/queue/default/list_all")[-1]["item_id"]
    item = invoke.item(newest)
    assert item["status"] == "completed", item["error_message"]
    nodes = item["session"]["graph"]["nodes"].values()
    [node] = [node for node in nodes if node["type"].endswith("_image_generation")]
    [name] = output_names(item)
    return CanvasRun(node, invoke.picture(name))


def inpainted(made: CanvasRun, invoke: Invoke) -> Inpainted:
    init = invoke.picture(made.node["init_image"]["image_name"]).image.convert("RGB")
    mask = invoke.picture(made.node["mask_image"]["image_name"]).image.convert("L")
    assert mask.getextrema() == (0, 255)
    changed = ImageChops.difference(made.picture.image.convert("RGB"), init)
    kept = mask.point(lambda value: 255 * (value == 255))
    return Inpainted(init, changed, Image.composite(changed, Image.new("RGB", changed.size), kept))
