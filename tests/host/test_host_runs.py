"""Graphs run by the real queue: the image is in the gallery, with metadata that recalls it."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image

from .events import Listener
from .graphs import PROMPT, identifier, panel_graph, workflow_graph
from .invoke import Invoke, Json, wait_for
from .sandbox import Sandbox

MODELS = ("gpt", "banana")


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> Json:
    """A model of each provider."""
    found: Json = request.getfixturevalue(request.param)
    return found


def test_a_panel_graph_saves_an_image_in_the_gallery(invoke: Invoke, sandbox: Sandbox, model: Json) -> None:
    [picture] = invoke.run(panel_graph(model, width=1024, height=1024))
    assert picture.name in invoke.gallery()
    assert picture.image.size == (1024, 1024)
    assert picture.record["image_category"] == "general"
    assert picture.record["is_intermediate"] is False
    assert len(sandbox.calls()) == 1


def test_the_metadata_of_a_panel_graph_recalls_its_settings(invoke: Invoke, sandbox: Sandbox, model: Json) -> None:
    [picture] = invoke.run(panel_graph(model, prompt="a lighthouse", seed=7, width=1024, height=1024))
    metadata = picture.metadata
    assert metadata["positive_prompt"] == "a lighthouse"
    assert metadata["model"] == identifier(model)
    assert (metadata["width"], metadata["height"]) == (1024, 1024)
    assert metadata.get("seed") == (7 if model["capabilities"]["supports_seed"] else None)
    received = {"openai": "image/png", "gemini": "image/jpeg"}[model["provider_id"]]
    assert metadata["external"]["received"] == {"width": 1024, "height": 1024, "mime_type": received}


def test_the_metadata_of_a_workflow_recalls_its_settings(invoke: Invoke, sandbox: Sandbox, model: Json) -> None:
    graph = workflow_graph(model, width=1024, height=1024, seed=7)
    [picture] = invoke.run(graph)
    metadata = picture.metadata
    assert metadata["positive_prompt"] == PROMPT
    assert metadata["model"] == identifier(model)
    assert (metadata["width"], metadata["height"]) == (1024, 1024)
    assert metadata.get("seed") == (7 if model["capabilities"]["supports_seed"] else None)
    assert metadata["external"]["received"]["width"] == 1024
    assert metadata["external"]["model"] == model["provider_model_id"]


def test_the_options_of_the_newest_model_are_sent_and_recorded(invoke: Invoke, sandbox: Sandbox) -> None:
    newest = invoke.model("openai/gpt-image-2.6-flare")
    options: Json = {"complexity": "low", "output_format": "jpeg", "output_compression": 60}
    [picture] = invoke.run(workflow_graph(newest, **options))
    [call] = sandbox.calls()
    assert {name: call["json"][name] for name in options} == options
    assert {name: picture.metadata[f"openai_{name}"] for name in options} == options
    assert picture.image.format == "PNG"


def test_gemini_s_safety_and_web_search_are_sent_and_its_sources_recorded(
    invoke: Invoke, sandbox: Sandbox, banana: Json
) -> None:
    [picture] = invoke.run(workflow_graph(banana, safety="block_none", web_search="web"))
    [call] = sandbox.calls()
    assert {setting["threshold"] for setting in call["json"]["safetySettings"]} == {"BLOCK_NONE"}
    assert call["json"]["tools"] == [{"googleSearch": {}}]
    assert picture.metadata["gemini_safety"] == "block_none"
    external = picture.metadata["external"]
    assert external["sources"][0]["url"].startswith("https://")
    assert "web_search" in [notice["code"] for notice in external["notices"]]


def test_new_options_that_are_not_set_are_not_sent(invoke: Invoke, sandbox: Sandbox, model: Json) -> None:
    invoke.run(workflow_graph(model))
    [call] = sandbox.calls()
    new = {"complexity", "output_format", "output_compression", "safetySettings", "tools"}
    assert not new & call["json"].keys()


def test_openai_s_options_are_sent_and_recorded(invoke: Invoke, sandbox: Sandbox, gpt: Json) -> None:
    [picture] = invoke.run(workflow_graph(gpt, quality="low", background="opaque"))
    [call] = sandbox.calls()
    assert (call["json"]["quality"], call["json"]["background"]) == ("low", "opaque")
    assert (picture.metadata["openai_quality"], picture.metadata["openai_background"]) == ("low", "opaque")
    assert picture.metadata["external"]["options"]["quality"] == "low"


def test_gemini_s_options_are_sent_and_recorded(invoke: Invoke, sandbox: Sandbox, banana: Json) -> None:
    [picture] = invoke.run(workflow_graph(banana, temperature=0.5, thinking_level="high"))
    assert picture.metadata["gemini_temperature"] == 0.5
    assert picture.metadata["gemini_thinking_level"] == "high"
    [call] = sandbox.calls()
    assert call["json"]["generationConfig"]["temperature"] == 0.5


def test_an_option_that_the_model_lacks_is_not_sent_and_has_a_notice(
    invoke: Invoke, sandbox: Sandbox, gpt: Json
) -> None:
    [picture] = invoke.run(panel_graph(gpt, input_fidelity="high"))
    assert "openai_input_fidelity" not in picture.metadata
    assert picture.metadata["external"]["notices"]


def test_a_transparent_image_is_rgba_in_the_gallery(invoke: Invoke, sandbox: Sandbox, gpt: Json) -> None:
    [picture] = invoke.run(workflow_graph(gpt, background="transparent"))
    assert picture.image.mode == "RGBA"
    assert picture.image.getchannel("A").getextrema()[0] == 0


def test_an_image_is_saved_at_the_size_that_was_received(invoke: Invoke, sandbox: Sandbox, gpt: Json) -> None:
    sandbox.order("openai", "other_size", width=896, height=640)
    [picture] = invoke.run(panel_graph(gpt, width=1024, height=1024))
    assert picture.image.size == (896, 640)
    received = picture.metadata["external"]["received"]
    assert (received["width"], received["height"]) == (896, 640)
    # The size of the panel; with another one, the panel locks a wrong ratio on recall.
    assert (picture.metadata["width"], picture.metadata["height"]) == (1024, 1024)


def test_a_size_that_the_model_cannot_make_is_changed_with_a_notice(
    invoke: Invoke, sandbox: Sandbox, gpt: Json
) -> None:
    [picture] = invoke.run(workflow_graph(gpt, width=1001, height=777))
    assert picture.image.width % 16 == picture.image.height % 16 == 0
    assert picture.metadata["external"]["notices"]


def test_a_stale_named_size_of_the_panel_is_ignored(invoke: Invoke, sandbox: Sandbox) -> None:
    there = {model["provider_model_id"]: model for model in invoke.models("openai")}
    # From the day after its last one it is installed by hand; the sandbox of the tests has a day before that.
    three_sizes = there.get("gpt-image-1.5") or invoke.install_model("openai/gpt-image-1.5")
    try:
        [picture] = invoke.run(panel_graph(three_sizes, image_size="1K", width=1536, height=1024))
    finally:
        if "gpt-image-1.5" not in there:
            invoke.delete_model(three_sizes["key"])
    assert picture.image.size == (1536, 1024)


def test_an_image_is_saved_on_the_chosen_board(invoke: Invoke, sandbox: Sandbox, banana: Json) -> None:
    board = invoke.send("POST", "/v1/boards/", params={"board_name": "foxes"})["board_id"]
    [picture] = invoke.run(panel_graph(banana, board={"board_id": board}))
    assert picture.record["board_id"] == board


def test_three_images_are_three_entries(invoke: Invoke, sandbox: Sandbox, model: Json) -> None:
    pictures = invoke.run(workflow_graph(model, num_images=3))
    assert len({picture.name for picture in pictures}) == 3
    assert all(picture.metadata["positive_prompt"] == PROMPT for picture in pictures)
    assert {picture.name for picture in pictures} <= set(invoke.gallery())


def test_if_one_of_three_images_fails_the_others_are_saved(invoke: Invoke, sandbox: Sandbox, banana: Json) -> None:
    sandbox.order("gemini", "finish_reason", reason="IMAGE_SAFETY")
    pictures = invoke.run(workflow_graph(banana, num_images=3))
    assert len(pictures) == 2
    for picture in pictures:
        messages = {notice["code"]: notice["message"] for notice in picture.metadata["external"]["notices"]}
        assert "1 of 3" in messages["incomplete"]
        assert "IMAGE_SAFETY" in messages["incomplete"]


def test_images_received_before_a_cancel_are_saved(invoke: Invoke, sandbox: Sandbox, banana: Json) -> None:
    before = set(invoke.gallery())
    sandbox.order("gemini", "slow", seconds=30)
    number = invoke.enqueue(workflow_graph(banana, num_images=3))
    with Listener(invoke) as page:
        wait_for(lambda: any("2 of 3" in event["message"] for event in page.named("invocation_progress")))
    invoke.cancel(number)
    assert invoke.ended(number)["status"] == "canceled"
    received = wait_for(lambda: found if len(found := set(invoke.gallery()) - before) == 2 else None)
    for name in received:
        image = invoke.picture(name)
        assert image.metadata["positive_prompt"] == PROMPT
        assert image.metadata["external"]["notices"][0]["code"] == "from_cancelled_run"


def test_references_are_recalled_in_the_page_s_format(
    invoke: Invoke, sandbox: Sandbox, model: Json, photo: Image.Image
) -> None:
    name = invoke.upload(photo)
    [picture] = invoke.run(panel_graph(model, reference_images=[{"image_name": name}]))
    [reference] = picture.metadata["ref_images"]
    assert reference["isEnabled"] is True
    image = {"image_name": name, "width": photo.width, "height": photo.height}
    assert reference["config"]["image"] == {"original": {"image": image}}


def test_a_named_size_is_recalled_in_pixels(invoke: Invoke, sandbox: Sandbox, model: Json) -> None:
    [picture] = invoke.run(workflow_graph(model, image_size="2K", width=1024, height=1024))
    assert picture.metadata["width"] == picture.metadata["height"] == picture.image.width
    assert picture.image.width > 1024


def test_references_are_sent(invoke: Invoke, sandbox: Sandbox, model: Json, photo: Image.Image) -> None:
    names = [invoke.upload(photo), invoke.upload(photo.rotate(180))]
    [picture] = invoke.run(workflow_graph(model, reference_images=[{"image_name": name} for name in names]))
    assert [reference["name"] for reference in picture.metadata["external"]["references"]] == names
    [call] = sandbox.calls()
    assert str(call).count("sha256") == 2


def test_fields_of_a_newer_page_do_not_break_a_run(invoke: Invoke, sandbox: Sandbox, model: Json) -> None:
    [picture] = invoke.run(panel_graph(model, a_field_of_tomorrow="x", another={"deep": [1, 2]}))
    assert picture.metadata["positive_prompt"] == PROMPT


def test_a_graph_that_the_core_s_node_saved_runs(invoke: Invoke, sandbox: Sandbox, model: Json) -> None:
    """Every field of the core's node, with the values that it stores for unused ones."""
    own: dict[str, Any] = (
        {"quality": "auto", "background": "auto", "input_fidelity": None}
        if model["provider_id"] == "openai"
        else {"temperature": None, "thinking_level": None}
    )
    empty = dict.fromkeys(("seed", "image_size", "init_image", "mask_image", "board", "metadata"))
    graph = workflow_graph(
        model, mode="txt2img", num_images=1, width=1024, height=1024, reference_images=[], **empty, **own
    )
    [picture] = invoke.run(graph)
    assert picture.image.size == (1024, 1024)


def test_every_item_of_a_batch_has_its_prompt(invoke: Invoke, sandbox: Sandbox, banana: Json) -> None:
    """The Generate tab sends one batch for several prompts and seeds."""
    data = [[{"node_path": "prompt", "field_name": "value", "items": ["a fox", "an owl"]}]]
    answer = invoke.send(
        "POST", "/v1/queue/default/enqueue_batch", json={"batch": {"graph": panel_graph(banana), "data": data}}
    )
    items = [invoke.ended(number) for number in answer["item_ids"]]
    assert [item["status"] for item in items] == ["completed", "completed"]
    assert {call["json"]["contents"][-1]["parts"][-1]["text"] for call in sandbox.calls()} == {"a fox", "an owl"}


class TestCache:
    """*Use cache*: a repeated run sends nothing, and saves its images as new entries."""

    def test_a_repeated_run_is_a_new_entry_without_a_call(self, invoke: Invoke, sandbox: Sandbox, gpt: Json) -> None:
        graph = workflow_graph(gpt, prompt="a cached sprite", background="transparent", use_cache=True)
        [first] = invoke.run(graph)
        calls = len(sandbox.calls())
        [second] = invoke.run(graph)
        assert len(sandbox.calls()) == calls == 1
        assert second.name != first.name
        assert second.name in invoke.gallery()
        assert second.image.mode == "RGBA"
        assert second.image.tobytes() == first.image.tobytes()
        for name in ("positive_prompt", "model", "width", "height", "openai_background"):
            assert second.metadata[name] == first.metadata[name]
        assert second.metadata["external"]["received"] == first.metadata["external"]["received"]
        assert second.metadata["external"]["cost_usd"] == 0
        assert second.metadata["external"] != first.metadata["external"]

    def test_a_third_run_and_several_images(self, invoke: Invoke, sandbox: Sandbox, banana: Json) -> None:
        graph = workflow_graph(banana, prompt="cached three times", num_images=2, use_cache=True)
        runs = [invoke.run(graph) for _ in range(3)]
        assert len({picture.name for pictures in runs for picture in pictures}) == 6
        assert len(sandbox.calls()) == 2

    def test_the_provider_is_called_if_the_cached_image_was_deleted(
        self, invoke: Invoke, sandbox: Sandbox, banana: Json
    ) -> None:
        graph = workflow_graph(banana, prompt="soon deleted", use_cache=True)
        [first] = invoke.run(graph)
        invoke.send("DELETE", f"/v1/images/i/{first.name}")
        [second] = invoke.run(graph)
        assert len(sandbox.calls()) == 2
        assert second.metadata["positive_prompt"] == "soon deleted"

    def test_a_partial_result_is_not_cached(self, invoke: Invoke, sandbox: Sandbox, banana: Json) -> None:
        graph = workflow_graph(banana, num_images=3, use_cache=True, prompt="two of three")
        sandbox.order("gemini", "finish_reason", reason="IMAGE_SAFETY")
        assert len(invoke.run(graph)) == 2
        assert len(invoke.run(graph)) == 3

    def test_without_the_cache_every_run_calls(self, invoke: Invoke, sandbox: Sandbox, banana: Json) -> None:
        graph = workflow_graph(banana, prompt="never cached", use_cache=False)
        for _ in range(2):
            invoke.run(graph)
        assert len(sandbox.calls()) == 2
