"""Edits have the size of their image and change nothing outside the mask."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image, ImageChops

from .graphs import panel_graph, workflow_graph
from .invoke import Invoke, Json
from .sandbox import Sandbox


@pytest.fixture(params=("gpt", "banana"))
def model(request: pytest.FixtureRequest) -> Json:
    """A model of each provider."""
    found: Json = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def edit(invoke: Invoke, photo: Image.Image, hole: Image.Image) -> dict[str, Any]:
    """The fields of the Canvas for a size other than the panel's."""
    init, mask = invoke.upload(photo, intermediate=True), invoke.upload(hole, intermediate=True)
    return {"init_image": {"image_name": init}, "mask_image": {"image_name": mask}, "width": 1024, "height": 1024}


def outside(picture: Image.Image, mask: Image.Image) -> Image.Image:
    """An image with the masked part (black) painted over."""
    return Image.composite(picture.convert("RGB"), Image.new("RGB", picture.size), mask)


def test_image_to_image_has_the_size_of_the_image(
    invoke: Invoke, sandbox: Sandbox, model: Json, edit: dict[str, Any], photo: Image.Image
) -> None:
    del edit["mask_image"]
    [picture] = invoke.run(panel_graph(model, mode="img2img", **edit))
    assert picture.image.size == photo.size
    assert picture.metadata["external"]["init_image"]["name"] == edit["init_image"]["image_name"]
    assert ImageChops.difference(picture.image.convert("RGB"), photo).getbbox() is not None


def test_inpainting_changes_nothing_outside_the_mask(
    invoke: Invoke, sandbox: Sandbox, model: Json, edit: dict[str, Any], photo: Image.Image, hole: Image.Image
) -> None:
    [picture] = invoke.run(panel_graph(model, mode="inpaint", **edit))
    assert picture.image.size == photo.size
    assert outside(picture.image, hole).tobytes() == outside(photo, hole).tobytes()
    inside = ImageChops.difference(picture.image.convert("RGB"), photo).crop((220, 120, 580, 480))
    assert inside.getbbox() is not None
    assert picture.metadata["external"]["mask"]
    assert len(sandbox.calls()) == 1


def test_the_connected_inputs_decide_and_not_the_mode(
    invoke: Invoke, sandbox: Sandbox, model: Json, edit: dict[str, Any], photo: Image.Image, hole: Image.Image
) -> None:
    [picture] = invoke.run(workflow_graph(model, mode="txt2img", **edit))
    assert picture.image.size == photo.size
    assert outside(picture.image, hole).tobytes() == outside(photo, hole).tobytes()


def test_an_image_keeps_its_alpha_outside_the_mask(
    invoke: Invoke, sandbox: Sandbox, gpt: Json, edit: dict[str, Any], photo: Image.Image, hole: Image.Image
) -> None:
    clear = photo.convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(photo.size))
    edit["init_image"] = {"image_name": invoke.upload(clear)}
    [picture] = invoke.run(workflow_graph(gpt, **edit))
    assert picture.image.mode == "RGBA"
    kept = Image.composite(picture.image, Image.new("RGBA", clear.size), hole)
    assert kept.tobytes() == Image.composite(clear, Image.new("RGBA", clear.size), hole).tobytes()


def test_gemini_is_sent_one_sentence_about_the_mask_which_is_in_the_metadata(
    invoke: Invoke, sandbox: Sandbox, banana: Json, edit: dict[str, Any]
) -> None:
    [picture] = invoke.run(workflow_graph(banana, **edit))
    [call] = sandbox.calls()
    texts = [part["text"] for part in call["json"]["contents"][-1]["parts"] if "text" in part]
    assert any("mask" in text for text in texts)
    assert "mask" in str(picture.metadata["external"])


def test_markup_is_sent_and_recorded(
    invoke: Invoke, sandbox: Sandbox, gpt: Json, edit: dict[str, Any], photo: Image.Image
) -> None:
    notes = Image.new("RGBA", photo.size)
    notes.paste((255, 0, 0, 255), (10, 10, 60, 60))
    name = invoke.upload(notes)
    [picture] = invoke.run(
        workflow_graph(gpt, init_image=edit["init_image"], markup_image={"image_name": name}, moderation="auto")
    )
    [call] = sandbox.calls()
    assert [field["name"] for field in call["fields"]][-2:] == ["image", "markup"]
    assert picture.metadata["external"]["markup"]["name"] == name


def test_moderation_of_an_edit_is_sent(invoke: Invoke, sandbox: Sandbox, gpt: Json, edit: dict[str, Any]) -> None:
    invoke.run(workflow_graph(gpt, **edit, moderation="low"))
    [call] = sandbox.calls()
    assert (call["json"]["moderation"], len(call["json"]["images"])) == ("low", 1)


def test_several_edits_at_once(
    invoke: Invoke, sandbox: Sandbox, model: Json, edit: dict[str, Any], photo: Image.Image, hole: Image.Image
) -> None:
    pictures = invoke.run(workflow_graph(model, num_images=2, **edit))
    assert len(pictures) == 2
    for picture in pictures:
        assert outside(picture.image, hole).tobytes() == outside(photo, hole).tobytes()
