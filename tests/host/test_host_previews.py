"""Previews in the viewer of an open page: small, without alpha, at the size of the image, and never a result."""

from __future__ import annotations

import base64
import io
import re
from typing import Any

import pytest
from PIL import Image

from .conftest import NewInvoke
from .events import Listener
from .failures import message_of
from .graphs import panel_graph, workflow_graph
from .invoke import Invoke, Json
from .sandbox import Sandbox


def shown(listener: Listener) -> list[tuple[str, Json]]:
    """The previews that a page received: the line of each, and the image in Invoke's own form."""
    return [(event["message"], event["image"]) for event in listener.named("invocation_progress") if event["image"]]


def picture_of(image: Json) -> Image.Image:
    kind, _, data = image["dataURL"].partition(";base64,")
    assert kind == "data:image/jpeg"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def requested(sandbox: Sandbox) -> Any:
    """How many previews the only call to OpenAI requested."""
    [call] = sandbox.calls()
    return call["json"].get("partial_images")


def test_each_preview_is_shown_when_it_arrives(invoke: Invoke, sandbox: Sandbox, gpt: Json) -> None:
    sandbox.order("openai", "slow_stream", seconds=1.5)
    before = set(invoke.gallery())
    with Listener(invoke) as listener:
        # With a lower quality, fewer previews come than were requested.
        [picture] = invoke.run(workflow_graph(gpt, previews="3", quality="high", width=2048, height=1024))
    previews = shown(listener)
    assert [line.partition(" · ")[0] for line, _ in previews] == [f"preview {i} of 3" for i in (1, 2, 3)]
    for _, image in previews:
        assert picture_of(image).size == (1024, 512)
        assert (image["width"], image["height"]) == (2048, 1024)
    assert set(invoke.gallery()) - before == {picture.name}
    assert picture.image.size == (2048, 1024)
    assert requested(sandbox) == 3


def test_between_previews_the_text_changes_about_once_a_second(invoke: Invoke, sandbox: Sandbox, gpt: Json) -> None:
    sandbox.order("openai", "slow_stream", seconds=3)
    with Listener(invoke) as listener:
        invoke.run(workflow_graph(gpt, previews="1"))
    lines = [event["message"] for event in listener.named("invocation_progress") if not event["image"]]
    waiting = [line for line in lines if re.search(r"\d s$", line)]
    assert len(shown(listener)) == 1
    assert any(line.startswith("preview 1 of 1 · ") for line in waiting)
    assert 2 <= len(waiting) <= 8


def test_gemini_shows_its_sketches(invoke: Invoke, sandbox: Sandbox) -> None:
    sandbox.order("gemini", "slow_stream", seconds=1)
    with Listener(invoke) as listener:
        [picture] = invoke.run(workflow_graph(invoke.model("gemini/gemini-3-pro-image"), previews="2"))
    (line, image), *_ = shown(listener)
    assert line.startswith("preview 1")
    assert (image["width"], image["height"]) == picture.image.size


def test_a_transparent_preview_is_shown_without_alpha(invoke: Invoke, sandbox: Sandbox, gpt: Json) -> None:
    sandbox.order("openai", "slow_stream", seconds=1)
    with Listener(invoke) as listener:
        [picture] = invoke.run(workflow_graph(gpt, previews="1", background="transparent"))
    [(_, image)] = shown(listener)
    assert picture_of(image).mode == "RGB"
    assert picture.image.mode == "RGBA"


def test_a_preview_of_an_edit_has_its_size(invoke: Invoke, sandbox: Sandbox, gpt: Json, photo: Image.Image) -> None:
    sandbox.order("openai", "slow_stream", seconds=1)
    graph = workflow_graph(gpt, previews="1", init_image={"image_name": invoke.upload(photo)})
    with Listener(invoke) as listener:
        invoke.run(graph)
    [(_, image)] = shown(listener)
    assert (image["width"], image["height"]) == photo.size


@pytest.mark.parametrize("fault", ["stream_ends_early", "stream_error"])
def test_a_preview_does_not_count_as_a_result(invoke: Invoke, sandbox: Sandbox, gpt: Json, fault: str) -> None:
    before = set(invoke.gallery())
    parameters: dict[str, Any] = {"code": "moderation_blocked"} if fault == "stream_error" else {}
    sandbox.order("openai", fault, **parameters)
    assert message_of(invoke.failure(workflow_graph(gpt, previews="3")))
    assert set(invoke.gallery()) == before
    assert requested(sandbox) == 3


def test_no_previews_are_requested_by_default(invoke: Invoke, sandbox: Sandbox, gpt: Json) -> None:
    with Listener(invoke) as listener:
        invoke.run(panel_graph(gpt))
    assert shown(listener) == []
    assert requested(sandbox) is None


@pytest.fixture(scope="module")
def showing(new_invoke: NewInvoke) -> Invoke:
    """An Invoke with the setting for two previews."""
    invoke = new_invoke(keys=("openai",))
    (invoke.root / "invokeai_external.yaml").write_text("settings:\n  previews: 2\n", encoding="utf-8")
    invoke.start_with_models()
    return invoke


def test_the_setting_applies_to_the_panel_whose_graphs_have_no_field(showing: Invoke, sandbox: Sandbox) -> None:
    sandbox.order("openai", "slow_stream", seconds=1)
    with Listener(showing) as listener:
        showing.run(panel_graph(showing.model("openai/gpt-image-2.5-flare")))
    assert [line.partition(" · ")[0] for line, _ in shown(listener)] == ["preview 1 of 2", "preview 2 of 2"]
    assert requested(sandbox) == 2


def test_the_field_of_the_node_takes_precedence(showing: Invoke, sandbox: Sandbox) -> None:
    showing.run(workflow_graph(showing.model("openai/gpt-image-2.5-flare"), previews="0"))
    assert requested(sandbox) is None
