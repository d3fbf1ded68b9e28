"""The node *External Image*: a model of any provider, options as lines, and what an uninstall does with its items."""

from __future__ import annotations

import shutil
import time
from typing import Any

import httpx
import pytest
from PIL import Image

from invokeai_external.errors import InvalidRequestError

from .conftest import NewInvoke
from .failures import message_of
from .graphs import QUICK, workflow_graph
from .invoke import INFO_NODE_TYPE, OWN_NODE_TYPE, PROVIDERS, Invoke, Json, output_names, wait_for
from .packing import PACK
from .sandbox import Sandbox
from .test_host_look_ahead import calls_soon, wired
from .test_host_pack_manager import uninstall

MODEL = "openai/gpt-image-2.5-flare"
LISTS = (
    *("list_all", "current", "next", "status", "item_ids", "counts_by_destination?destination=generate"),
    *("list?limit=50", "b/{batch}/status"),
)
"""The routes of the queue that return items or count them."""


def graph_of(model: Json, **fields: Any) -> Json:
    return workflow_graph(model, node=OWN_NODE_TYPE, **fields)


def results_of(item: Json) -> dict[str, Json]:
    """The output of each node, by its id in the graph."""
    source = item["session"]["prepared_source_mapping"]
    return {source[name]: output for name, output in item["session"]["results"].items()}


def completed(invoke: Invoke, graph: Json) -> Json:
    item = invoke.ended(invoke.enqueue(graph))
    assert item["status"] == "completed", item["error_message"]
    return item


def routes_that_fail(invoke: Invoke, batch: str) -> dict[str, int]:
    """The routes of the queue that do not answer with 200, and their status."""
    answers = {path: invoke.request("GET", f"/v1/queue/default/{path.format(batch=batch)}") for path in LISTS}
    # 6.13.0 does not have all of them.
    return {
        path: answer.status_code
        for path, answer in answers.items()
        if answer.status_code not in (httpx.codes.OK, httpx.codes.NOT_FOUND)
    }


def test_its_model_field_lists_the_models_of_all_providers(invoke: Invoke) -> None:
    schema = invoke.schema(OWN_NODE_TYPE)
    model = schema["properties"]["model"]
    assert schema["node_pack"] == PACK
    assert {name: value for name, value in model.items() if name.startswith("ui_model") and value} == {
        "ui_model_base": ["external"],
        "ui_model_type": ["external_image_generator"],
    }
    assert schema["properties"]["options"]["ui_component"] == "textarea"


@pytest.mark.parametrize(
    ("reference", "options", "sent"),
    [
        (MODEL, "quality=high\n\n background = opaque\n", {"quality": "high", "background": "opaque"}),
        ("gemini/gemini-nano-banana-2.1", "temperature=0.5", {"temperature": 0.5}),
    ],
)
def test_its_outputs_are_inputs_of_following_nodes(
    invoke: Invoke, sandbox: Sandbox, reference: str, options: str, sent: Json
) -> None:
    graph = wired(
        graph_of(invoke.model(reference), options=options, num_images=2, seed=7),
        {
            "images": {"type": "image_collection"},
            "cost": {"type": "float"},
            "notices": {"type": "string"},
            "as text": {"type": "string_join"},
        },
        [
            ("picture", "collection", "images", "collection"),
            ("picture", "cost_usd", "cost", "value"),
            ("picture", "notices", "notices", "value"),
            ("picture", "notices", "as text", "string_left"),
        ],
    )
    item = completed(invoke, graph)
    results = results_of(item)
    node = results["picture"]
    pictures = [invoke.picture(field["image_name"]) for field in node["collection"]]
    assert len(pictures) == 2
    assert results["images"]["collection"] == node["collection"]
    costs = [picture.metadata["external"]["cost_usd"] for picture in pictures]
    assert node["cost_usd"] == results["cost"]["value"] == pytest.approx(sum(costs))
    assert "sandbox" in node["notices"].lower()
    assert results["notices"]["value"] == results["as text"]["value"] == node["notices"]
    for picture in pictures:
        assert picture.metadata["external"]["options"] == sent
        assert picture.metadata["positive_prompt"] == "a red fox in snow"
        assert picture.name in invoke.gallery()


def test_a_cost_that_is_unknown_is_empty(new_invoke: NewInvoke, sandbox: Sandbox) -> None:
    invoke = new_invoke(keys=("openai",))
    (invoke.root / "invokeai_external.yaml").write_text(f"models:\n  {MODEL}: {{prices: null}}\n", encoding="utf-8")
    invoke.start_with_models()
    output = results_of(completed(invoke, graph_of(invoke.model(MODEL))))["picture"]
    assert len(output["collection"]) == 1
    assert output.get("cost_usd") is None
    number = {"cost": {"type": "float"}}
    failed = invoke.failure(wired(graph_of(invoke.model(MODEL)), number, [("picture", "cost_usd", "cost", "value")]))
    assert results_of(failed).keys() == {"picture"}


def test_a_missing_image_is_a_notice(invoke: Invoke, sandbox: Sandbox, banana: Json) -> None:
    sandbox.order("gemini", "refusal_text")
    output = results_of(completed(invoke, graph_of(banana, num_images=2)))["picture"]
    assert len(output["collection"]) == 1
    assert output["notices"].startswith("1 of 2 images failed: ")


@pytest.mark.parametrize(
    ("options", "facts"),
    [
        ("quality=high\nmoderation", "The option 'moderation' has no value."),
        ("=high", "The option '=high' has no name."),
        ("quality=high\nquality=low", "The option quality is given twice."),
        ("seed=3", "The field seed is not an option. Use the node's own field for it."),
        ("qality=high", "No model has an option 'qality'. Did you mean quality?"),
    ],
)
def test_a_mistake_in_a_line_is_said_before_anything_is_sent(
    invoke: Invoke, sandbox: Sandbox, gpt: Json, options: str, facts: str
) -> None:
    message = message_of(invoke.failure(graph_of(gpt, options=options)), InvalidRequestError)
    assert message.startswith(facts)
    assert "\n" not in message
    assert sandbox.calls() == []


def test_an_edit_with_a_mask_and_references(
    invoke: Invoke, sandbox: Sandbox, gpt: Json, photo: Image.Image, hole: Image.Image
) -> None:
    base, mask = invoke.upload(photo), invoke.upload(hole)
    graph = graph_of(
        gpt,
        init_image={"image_name": base},
        mask_image={"image_name": mask},
        reference_images=[{"image_name": base}],
    )
    [picture] = invoke.run(graph)
    assert picture.image.size == photo.size
    assert picture.metadata["generation_mode"] == "inpaint"
    assert picture.metadata["external"]["mask"]["name"] == mask
    assert [image["name"] for image in picture.metadata["external"]["references"]] == [base]


def test_a_named_size_counts_even_with_metadata(invoke: Invoke, sandbox: Sandbox, banana: Json) -> None:
    graph = wired(
        graph_of(banana, width=1600, height=900, image_size="2K"),
        {"metadata": {"type": "core_metadata"}},
        [("metadata", "metadata", "picture", "metadata")],
    )
    [picture] = invoke.run(graph)
    assert picture.metadata["image_size"] == "2K"


def test_from_invokes_cache_it_costs_nothing(invoke: Invoke, sandbox: Sandbox, gpt: Json) -> None:
    graph = graph_of(gpt, use_cache=True, prompt="a cached fox")
    first, second = (results_of(completed(invoke, graph))["picture"] for _ in range(2))
    assert first["cost_usd"] > 0
    assert second["cost_usd"] == 0
    assert "cache" in second["notices"]
    assert first["collection"] != second["collection"]
    assert len(sandbox.calls()) == 1


def info_of(invoke: Invoke, name: str) -> Json:
    """What the node *External Image Info* says of an image, through the nodes that take its outputs."""
    graph: Json = {"id": "graph", "nodes": {}, "edges": []}
    texts = {"model": {"type": "string"}, "notices": {"type": "string"}}
    node = {"info": {"type": INFO_NODE_TYPE, "image": {"image_name": name}}, **texts}
    results = results_of(completed(invoke, wired(graph, node, [("info", text, text, "value") for text in texts])))
    info = results["info"]
    assert {text: results[text]["value"] for text in texts} == {text: info[text] for text in texts}
    return {"cost_usd": info.get("cost_usd"), **{text: info[text] for text in texts}}


def test_the_info_of_an_image_is_what_its_metadata_says(invoke: Invoke, sandbox: Sandbox, photo: Image.Image) -> None:
    info = {"info": {"type": INFO_NODE_TYPE}, "cost": {"type": "float"}}
    graph = wired(
        graph_of(invoke.model(MODEL), num_images=2),
        {"one": {"type": "iterate"}, **info},
        [
            ("picture", "collection", "one", "collection"),
            ("one", "item", "info", "image"),
            ("info", "cost_usd", "cost", "value"),
        ],
    )
    item = completed(invoke, graph)
    costs = [output["value"] for output in item["session"]["results"].values() if output["type"] == "float_output"]
    results = results_of(item)
    names = [field["image_name"] for field in results["picture"]["collection"]]
    assert sorted(costs) == sorted(invoke.picture(name).metadata["external"]["cost_usd"] for name in names)
    assert sum(costs) == pytest.approx(results["picture"]["cost_usd"])
    external = invoke.picture(names[0]).metadata["external"]
    assert info_of(invoke, names[0]) == {
        "cost_usd": external["cost_usd"],
        "model": MODEL,
        "notices": "\n".join(notice["message"] for notice in external["notices"]),
    }
    assert info_of(invoke, invoke.upload(photo)) == {"cost_usd": None, "model": "", "notices": ""}
    assert len(sandbox.calls()) == 1


def test_the_cost_that_the_metadata_has_not_is_not_in_the_info(new_invoke: NewInvoke, sandbox: Sandbox) -> None:
    invoke = new_invoke(keys=("openai",))
    (invoke.root / "invokeai_external.yaml").write_text("settings: {metadata_cost: false}\n", encoding="utf-8")
    invoke.start_with_models()
    output = results_of(completed(invoke, graph_of(invoke.model(MODEL))))["picture"]
    assert output["cost_usd"] > 0
    info = info_of(invoke, output["collection"][0]["image_name"])
    assert (info["cost_usd"], info["model"]) == (None, MODEL)


def test_the_info_of_a_missing_image_fails(invoke: Invoke) -> None:
    graph: Json = {"nodes": {"info": {"id": "info", "type": INFO_NODE_TYPE, "image": {"image_name": "gone.png"}}}}
    assert "gone.png" in message_of(invoke.failure({"id": "graph", "edges": [], **graph}), InvalidRequestError)


def test_its_requests_are_sent_ahead_and_end_with_their_items(invoke: Invoke, sandbox: Sandbox, gpt: Json) -> None:
    prompts = ["one fox", "two foxes", "three foxes"]
    graph = wired(
        graph_of(gpt),
        {
            "words": {"type": "string_collection", "collection": prompts},
            "each": {"type": "iterate"},
            "lines": {"type": "string", "value": "quality=low"},
        },
        [
            ("words", "collection", "each", "collection"),
            ("each", "item", "picture", "prompt"),
            ("lines", "value", "picture", "options"),
        ],
    )
    sandbox.order("openai", "slow", times=3, seconds=60)
    number = invoke.enqueue(graph)
    calls = calls_soon(sandbox, 3)
    assert sorted(call["json"]["prompt"] for call in calls) == sorted(prompts)
    assert {call["json"]["quality"] for call in calls} == {"low"}
    invoke.cancel(number)
    wait_for(lambda: sandbox.in_flight() == 0, 10)
    assert invoke.ended(number)["status"] == "canceled"


@pytest.fixture(scope="module")
def own(new_invoke: NewInvoke) -> Invoke:
    """An Invoke whose plugin is reloaded and uninstalled; the tests from here on build on each other."""
    invoke = new_invoke(keys=PROVIDERS)
    invoke.start_with_models()
    return invoke


def test_its_items_stay_when_the_plugin_is_loaded_again(own: Invoke, sandbox: Sandbox) -> None:
    number = own.enqueue(graph_of(own.model(MODEL)))
    batch = own.ended(number)["batch_id"]
    own.send("POST", "/v2/custom_nodes/reload")
    assert own.item(number)["status"] == "completed"
    assert routes_that_fail(own, batch) == {}
    assert len(own.run(graph_of(own.model(MODEL)))) == 1


def test_an_uninstall_deletes_its_items_and_the_queue_can_be_read(own: Invoke, sandbox: Sandbox) -> None:
    model = own.model(MODEL)
    other = own.enqueue(workflow_graph(model, prompt='an "external_image"'))
    finished = own.enqueue(graph_of(model))
    failed = own.enqueue(graph_of(model, options="quality"))
    info: Json = {"info": {"id": "info", "type": INFO_NODE_TYPE, "image": {"image_name": "gone.png"}}}
    asked = own.enqueue({"id": "graph", "nodes": info, "edges": []})
    for number in (other, finished, failed, asked):
        own.ended(number)
    batch = own.item(finished)["batch_id"]
    images = list(output_names(own.item(finished)))
    sandbox.order("openai", "slow", times=2, seconds=60)
    running, pending = own.enqueue(graph_of(model, prompt="slow")), own.enqueue(graph_of(model, prompt="slower"))
    wait_for(lambda: sandbox.in_flight() == 2, 10)
    uninstall(own)
    assert routes_that_fail(own, batch) == {}
    assert own.item(other)["status"] == "completed"
    for number in (finished, failed, asked, running, pending):
        assert own.request("GET", f"/v1/queue/default/i/{number}").status_code == httpx.codes.NOT_FOUND
    # The images stay, and the queue goes on.
    assert [own.picture(name).metadata["positive_prompt"] for name in images] == ["a red fox in snow"]
    wait_for(lambda: sandbox.in_flight() == 0, 10)
    time.sleep(1)
    assert own.ended(own.enqueue(QUICK))["status"] == "completed"
    assert routes_that_fail(own, batch) == {}
    assert [line.text for line in own.log() if "Traceback" in line.text or "Fatal" in line.text] == []


def test_a_node_without_the_plugin_is_refused_and_not_queued(own: Invoke) -> None:
    body = {"batch": {"graph": graph_of(own.models()[0])}}
    assert own.request("POST", "/v1/queue/default/enqueue_batch", json=body).status_code == 422


def test_after_the_folder_was_deleted_by_hand_clearing_the_queue_helps(new_invoke: NewInvoke, sandbox: Sandbox) -> None:
    """This is in docs/invoke.md."""
    invoke = new_invoke(keys=("openai",))
    invoke.start_with_models()
    graph = graph_of(invoke.model(MODEL))
    batch = completed(invoke, graph)["batch_id"]
    invoke.send("PUT", "/v1/queue/default/processor/pause")
    invoke.enqueue(graph)
    invoke.stop()
    shutil.rmtree(invoke.root / "nodes" / PACK)
    # For a key, Invoke installs its own models while it starts, and its start sometimes fails then: cannot VACUUM.
    (invoke.root / "api_keys.yaml").unlink()
    invoke.start()
    assert set(routes_that_fail(invoke, batch)) >= {"list_all"}
    invoke.send("PUT", "/v1/queue/default/clear")
    assert routes_that_fail(invoke, batch) == {}
    assert invoke.ended(invoke.enqueue(QUICK))["status"] == "completed"
