"""What goes wrong ends in one clear sentence, gives the queue back at once, and never shows a key."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest
from canary import CANARY
from PIL import Image

from .conftest import NewInvoke
from .graphs import identifier, panel_graph, workflow_graph
from .invoke import Invoke, Json, wait_for
from .sandbox import Sandbox

SOMETHING_QUICK = {"id": "quick", "nodes": {"one": {"id": "one", "type": "integer", "value": 1}}, "edges": []}
"""A graph that is done as soon as the queue gets to it."""


def sentence_of(item: Json) -> str:
    """The words of a failed queue item, held to be words for people and free of keys."""
    message: str = item["error_message"]
    assert message
    assert "\n" not in message
    for sign in ("Traceback", 'File "', "{", "Error:", "Exception", "object at 0x", "validation error"):
        assert sign not in message
    assert len(message) < 600
    assert not message[0].islower()
    # A hint may end in an address or in a command, to which a full stop would stick.
    assert message.endswith((".", "!", "?", ")")) or re.search(r"(https://\S+|: invokeai-external [a-z ]+)$", message)
    assert CANARY not in json.dumps(item)
    return message


def test_the_queue_item_of_an_empty_prompt(invoke: Invoke, sandbox: Sandbox, gpt: Json) -> None:
    assert "prompt is empty" in sentence_of(invoke.failure(workflow_graph(gpt, prompt="  ")))
    assert sandbox.calls() == []


def test_the_queue_item_of_a_prompt_that_is_too_long(invoke: Invoke, sandbox: Sandbox, gpt: Json) -> None:
    assert "32000" in sentence_of(invoke.failure(workflow_graph(gpt, prompt="x" * 32001))).replace(",", "")
    assert sandbox.calls() == []


@pytest.mark.parametrize("count", [0, 11])
def test_the_queue_item_of_a_wrong_number_of_pictures(invoke: Invoke, sandbox: Sandbox, gpt: Json, count: int) -> None:
    message = sentence_of(invoke.failure(workflow_graph(gpt, num_images=count)))
    assert "1" in message
    assert "10" in message
    assert sandbox.calls() == []


def test_the_queue_item_of_the_other_provider_s_model(invoke: Invoke, sandbox: Sandbox, gpt: Json) -> None:
    message = sentence_of(invoke.failure(workflow_graph(gpt, node="gemini_image_generation")))
    assert gpt["name"] in message
    assert sandbox.calls() == []


def test_the_queue_item_of_a_model_that_is_not_installed(invoke: Invoke, sandbox: Sandbox, gpt: Json) -> None:
    unknown = {**gpt, "key": "00000000-0000-0000-0000-000000000000", "name": "A model of yore", "hash": "external:x:y"}
    assert "A model of yore" in sentence_of(invoke.failure(workflow_graph(unknown)))
    assert sandbox.calls() == []


def test_the_queue_item_of_a_model_that_nobody_knows(invoke: Invoke, sandbox: Sandbox) -> None:
    """One with a name like none: the nearest one's rules are for it, and the provider has the last word."""
    record = invoke.install_model("gemini/gemini-of-tomorrow")
    try:
        invoke.settled_models()
        message = sentence_of(invoke.failure(workflow_graph(invoke.model("gemini/gemini-of-tomorrow"))))
        assert "gemini-of-tomorrow" in message
    finally:
        invoke.delete_model(record["key"])


def test_the_queue_item_of_an_outpainting(invoke: Invoke, sandbox: Sandbox, gpt: Json, photo: Image.Image) -> None:
    name = invoke.upload(photo)
    message = sentence_of(invoke.failure(panel_graph(gpt, mode="outpaint", init_image={"image_name": name})))
    assert "outpaint" in message
    assert sandbox.calls() == []


def test_the_queue_item_without_a_model(invoke: Invoke, sandbox: Sandbox, gpt: Json) -> None:
    graph = workflow_graph(gpt)
    del graph["nodes"]["picture"]["model"]
    assert "model" in sentence_of(invoke.failure(graph))
    assert sandbox.calls() == []


def test_the_queue_item_of_a_mask_without_a_picture(
    invoke: Invoke, sandbox: Sandbox, gpt: Json, hole: Image.Image
) -> None:
    mask = invoke.upload(hole)
    assert "mask" in sentence_of(invoke.failure(workflow_graph(gpt, mask_image={"image_name": mask})))
    assert sandbox.calls() == []


def test_the_queue_item_of_a_mask_that_changes_nothing(
    invoke: Invoke, sandbox: Sandbox, gpt: Json, photo: Image.Image
) -> None:
    white = invoke.upload(Image.new("L", photo.size, 255))
    fields: Json = {"init_image": {"image_name": invoke.upload(photo)}, "mask_image": {"image_name": white}}
    assert "mask is white" in sentence_of(invoke.failure(workflow_graph(gpt, **fields)))
    assert sandbox.calls() == []


@pytest.mark.parametrize("field", ["reference_images", "init_image", "mask_image"])
def test_the_queue_item_of_a_picture_that_was_deleted(
    invoke: Invoke, sandbox: Sandbox, gpt: Json, photo: Image.Image, field: str
) -> None:
    name = invoke.upload(photo)
    fields: Json = {"init_image": {"image_name": invoke.upload(photo)}}
    fields[field] = [{"image_name": name}] if field == "reference_images" else {"image_name": name}
    invoke.send("DELETE", f"/v1/images/i/{name}")
    message = sentence_of(invoke.failure(workflow_graph(gpt, **fields)))
    assert f"{name} is no longer in the gallery" in message
    assert sandbox.calls() == []


def test_a_failure_is_a_sentence_in_the_log_and_in_the_queue_tab_too(
    invoke: Invoke, sandbox: Sandbox, gpt: Json
) -> None:
    before = len(invoke.log())
    item = invoke.failure(workflow_graph(gpt, prompt=""))
    # The queue tab shows this in place of the message.
    assert item["error_traceback"] == item["error_message"]
    lines = [line.text for line in invoke.log()[before:] if line.level == "ERROR"]
    assert len(lines) == 2
    assert all(line.endswith(item["error_message"]) for line in lines)


def test_the_traceback_of_what_is_not_ours_stays(invoke: Invoke) -> None:
    """An error of another node, or one that nobody expected, is told as Invoke tells it."""
    nodes = {"one": {"id": "one", "type": "img_blur", "image": {"image_name": "no such picture"}}}
    item = invoke.failure({"id": "graph", "nodes": nodes, "edges": []})
    assert item["error_traceback"].startswith("Traceback")


def test_the_queue_item_of_a_retired_model(invoke: Invoke, sandbox: Sandbox) -> None:
    retired = invoke.install_model("openai/gpt-image-1")
    try:
        invoke.settled_models()
        message = sentence_of(invoke.failure(workflow_graph(invoke.model("openai/gpt-image-1"))))
        assert "2026-10-23" in message
        assert "gpt-image-2.5-flare" in message
    finally:
        invoke.delete_model(retired["key"])


def test_a_rate_limit_is_waited_out(invoke: Invoke, sandbox: Sandbox, gpt: Json) -> None:
    sandbox.order("openai", "rate_limited", form="retry-after-seconds", seconds=1)
    begun = time.monotonic()
    assert len(invoke.run(workflow_graph(gpt))) == 1
    assert 1 <= time.monotonic() - begun < 15
    assert len(sandbox.calls()) == 2


def test_limit_zero_fails_at_once_and_tells_where_to_pay(invoke: Invoke, sandbox: Sandbox, banana: Json) -> None:
    sandbox.order("gemini", "quota", limit="zero")
    begun = time.monotonic()
    message = sentence_of(invoke.failure(workflow_graph(banana)))
    assert time.monotonic() - begun < 5
    assert "billing" in message.lower()
    assert len(sandbox.calls()) == 1


def test_used_up_money_fails_at_once(invoke: Invoke, sandbox: Sandbox, gpt: Json) -> None:
    sandbox.order("openai", "quota", code="insufficient_quota")
    message = sentence_of(invoke.failure(workflow_graph(gpt)))
    assert "billing" in message.lower() or "credit" in message.lower()
    assert len(sandbox.calls()) == 1


FAULTS: list[tuple[str, str, dict[str, Any]]] = [
    ("openai", "moderation", {}),
    ("openai", "organization_not_verified", {}),
    ("openai", "not_an_image", {}),
    ("openai", "bad_base64", {}),
    ("gemini", "blocked_prompt", {}),
    ("gemini", "refusal_text", {}),
    ("gemini", "finish_reason", {"reason": "IMAGE_SAFETY"}),
    ("gemini", "no_image", {}),
    ("gemini", "truncated_json", {}),
]


@pytest.mark.parametrize(("provider", "fault", "parameters"), FAULTS, ids=[fault for _, fault, _ in FAULTS])
def test_every_fault_ends_in_a_sentence(
    invoke: Invoke, sandbox: Sandbox, gpt: Json, banana: Json, provider: str, fault: str, parameters: dict[str, Any]
) -> None:
    sandbox.order(provider, fault, times=20, **parameters)
    item = invoke.ended(invoke.enqueue(workflow_graph(gpt if provider == "openai" else banana)), 120)
    assert item["status"] == "failed"
    sentence_of(item)


def test_a_failure_names_no_folder_of_this_machine_in_its_words(invoke: Invoke, sandbox: Sandbox, gpt: Json) -> None:
    message = sentence_of(invoke.failure(workflow_graph(gpt, reference_images=[{"image_name": "../../etc/passwd"}])))
    assert str(invoke.root) not in message


class TestCancel:
    """Cancel frees the queue within a second, in flight or waiting.

    Other work of this machine only adds to the time, so one of three has to be as quick.
    """

    @pytest.mark.parametrize("provider", ["openai", "gemini"])
    def test_a_long_call(self, invoke: Invoke, sandbox: Sandbox, gpt: Json, banana: Json, provider: str) -> None:
        sandbox.order(provider, "slow", times=3, seconds=30)
        model = gpt if provider == "openai" else banana
        assert any(self._freed_after(invoke, sandbox, model) < 1 for _ in range(3))

    def test_a_long_wait(self, invoke: Invoke, sandbox: Sandbox, gpt: Json) -> None:
        sandbox.order("openai", "rate_limited", times=15, form="retry-after-seconds", seconds=30)
        assert any(self._freed_after(invoke, sandbox, gpt) < 1 for _ in range(3))

    def _freed_after(self, invoke: Invoke, sandbox: Sandbox, model: Json) -> float:
        """Cancel a run; gives the seconds until the one behind it has run."""
        before, calls = set(invoke.gallery()), len(sandbox.calls())
        number = invoke.enqueue(panel_graph(model))
        behind = invoke.enqueue(SOMETHING_QUICK)
        wait_for(lambda: len(sandbox.calls()) > calls)
        time.sleep(0.5)
        assert invoke.item(behind)["status"] == "pending"
        begun = time.monotonic()
        invoke.cancel(number)
        wait_for(lambda: invoke.item(behind)["status"] == "completed", 40)
        freed = time.monotonic() - begun
        item = invoke.item(number)
        assert item["status"] == "canceled"
        assert item.get("error_message") is None
        assert set(invoke.gallery()) == before
        return freed


_ODD_SIZES = """\
models:
  openai/gpt-image-2:
    sizing: {offered: {ratios: ["2:1"], image_sizes: [1K]}}
  openai/gpt-image-1-mini:
    lifecycle: {status: active}  # whatever day it is
    sizing: {kind: fixed, sizes: [2048x2048, 1024x1024, 1536x1024]}
  openai/gpt-image-2.5-sunburst:
    lifecycle: {shutdown: 2026-01-31, successor: gpt-image-1}
"""


@pytest.fixture(scope="module")
def bad(new_invoke: NewInvoke) -> Invoke:
    """An Invoke whose ``invokeai_external.yaml`` is broken at the start."""
    invoke = new_invoke(keys=("openai", "gemini"))
    (invoke.root / "invokeai_external.yaml").write_text("settings: [not, a, mapping]\n", encoding="utf-8")
    invoke.start()
    return invoke


class TestBadSettings:
    """One root whose settings are bad in turn; its tests build on each other, from top to bottom."""

    def test_a_broken_file_breaks_nothing_else(self, bad: Invoke) -> None:
        line = wait_for(lambda: next((line for line in bad.log() if "invokeai_external.yaml" in line.text), None))
        assert "line 1" in line.text
        assert "Traceback" not in line.text
        assert wait_for(lambda: bad.starter_models("openai"))

    @pytest.mark.parametrize("route", ["status", "models"])
    def test_the_routes_say_which_line(self, bad: Invoke, route: str) -> None:
        answer = bad.request("GET", f"/v1/external/{route}")
        assert answer.status_code == 503
        assert "invokeai_external.yaml, line 1" in answer.json()["detail"]

    def test_a_run_with_it_says_which_line(self, bad: Invoke, sandbox: Sandbox) -> None:
        record = bad.install_model("openai/gpt-image-2.5-flare")
        message = sentence_of(bad.failure(workflow_graph(record)))
        assert "invokeai_external.yaml" in message
        assert "line 1" in message

    def test_mended_it_works_after_a_restart(self, bad: Invoke, sandbox: Sandbox) -> None:
        (bad.root / "invokeai_external.yaml").write_text(_ODD_SIZES, encoding="utf-8")
        bad.stop()
        bad.start()
        wait_for(lambda: len(bad.models()) > 1)
        bad.settled_models()
        assert len(bad.run(workflow_graph(bad.model("openai/gpt-image-2.5-flare")))) == 1

    def test_sizes_that_the_panel_has_no_place_for_become_ones_that_it_has(self, bad: Invoke) -> None:
        presets = {
            name: [
                (preset["aspect_ratio"], preset["width"], preset["height"])
                for preset in bad.model(f"openai/{name}")["capabilities"]["resolution_presets"]
            ]
            for name in ("gpt-image-2", "gpt-image-1-mini")
        }
        assert presets["gpt-image-2"][0] == ("1:1", 1024, 1024)
        assert "2:1" not in {ratio for ratio, _, _ in presets["gpt-image-2"]}
        assert len(presets["gpt-image-2"]) > 5
        assert presets["gpt-image-1-mini"] == [("1:1", 1024, 1024), ("3:2", 1536, 1024), ("1:1", 2048, 2048)]

    def test_a_model_is_hidden_from_the_day_after_its_last(self, bad: Invoke) -> None:
        retired = "openai/gpt-image-2.5-sunburst"
        assert f"external://{retired}" not in {model["source"] for model in bad.starter_models("openai")}
        assert retired.partition("/")[2] not in {model["provider_model_id"] for model in bad.models("openai")}
        # By hand it can be had, and says which model lives on: gpt-image-1 does not.
        record = bad.install_model(retired)
        found = wait_for(lambda: model if "Retired" in ((model := bad.model(retired))["description"] or "") else None)
        bad.delete_model(record["key"])
        assert "Retired on 2026-01-31, use gpt-image-2.5-flare instead." in found["description"]

    def test_no_key(self, bad: Invoke, sandbox: Sandbox) -> None:
        """Without a key there is no model, but for one that the user has installed meanwhile."""
        bad.remove_key("openai")
        bad.settled_models()
        record = bad.install_model("openai/gpt-image-2.5-flare")
        message = sentence_of(bad.failure(workflow_graph(record)))
        assert "key" in message
        assert "External Providers" in message
        assert sandbox.calls() == []
        bad.set_key("openai")
        wait_for(lambda: len(bad.models("openai")) > 1)
        bad.settled_models()

    def test_a_wrong_key(self, bad: Invoke, sandbox: Sandbox) -> None:
        record = bad.model("openai/gpt-image-2.5-flare")
        bad.set_key("openai", f"{CANARY}-wrong")
        assert "key" in sentence_of(bad.failure(workflow_graph(record)))
        bad.set_key("openai")
        assert len(bad.run(workflow_graph(record))) == 1

    def test_an_address_that_nobody_listens_at(self, bad: Invoke, sandbox: Sandbox) -> None:
        record = bad.model("gemini/gemini-nano-banana-2.1")
        settings = "/v1/app/external_providers/config/gemini"
        bad.send("POST", settings, json={"base_url": "http://127.0.0.1:9/"})
        try:
            item = bad.ended(bad.enqueue(workflow_graph(record)), 120)
            assert item["status"] == "failed"
            assert "127.0.0.1" in sentence_of(item)
        finally:
            bad.send("POST", settings, json={"base_url": f"{sandbox.url}/gemini"})

    def test_an_address_that_is_none(self, bad: Invoke, sandbox: Sandbox) -> None:
        """The hint is of the address and not of the key."""
        record = bad.model("gemini/gemini-nano-banana-2.1")
        settings = "/v1/app/external_providers/config/gemini"
        bad.send("POST", settings, json={"base_url": "http://pictures.example/"})
        try:
            message = sentence_of(bad.failure(workflow_graph(record)))
            assert "plain http to a public host" in message
            assert "Make it an address like" in message
        finally:
            bad.send("POST", settings, json={"base_url": f"{sandbox.url}/gemini"})


def test_metadata_of_the_model_is_an_identity_and_no_more(invoke: Invoke, sandbox: Sandbox, gpt: Json) -> None:
    """The page sends the whole record, with its capabilities; the picture keeps what recall needs."""
    [picture] = invoke.run(panel_graph(gpt))
    assert picture.metadata["model"] == identifier(gpt)


def test_no_log_file_database_or_queue_item_holds_a_key(invoke: Invoke) -> None:
    """The last of this file, when all has gone wrong that can; every stop looks again."""
    assert invoke.files_with_key() == []
    for item in invoke.get("/v1/queue/default/list_all"):
        assert CANARY not in json.dumps(item)
