"""Failures end in one clear message, free the queue at once, and never show a key."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from PIL import Image

from invokeai_external.errors import (
    AuthenticationError,
    CapabilityError,
    InvalidRequestError,
    NetworkError,
    NotConfiguredError,
    QuotaError,
    SettingsError,
)

from ..support.guard import CANARY
from .conftest import NewInvoke
from .failures import message_of
from .graphs import QUICK, identifier, panel_graph, workflow_graph
from .invoke import Invoke, Json, wait_for
from .sandbox import Sandbox
from .test_host_look_ahead import batch


def test_an_empty_prompt(invoke: Invoke, sandbox: Sandbox, gpt: Json) -> None:
    assert message_of(invoke.failure(workflow_graph(gpt, prompt="  ")), InvalidRequestError)
    assert sandbox.calls() == []


def test_a_prompt_that_is_too_long(invoke: Invoke, sandbox: Sandbox, gpt: Json) -> None:
    message = message_of(invoke.failure(workflow_graph(gpt, prompt="x" * 32001)), CapabilityError)
    assert "32000" in message.replace(",", "")
    assert sandbox.calls() == []


@pytest.mark.parametrize("count", [0, 11])
def test_a_wrong_number_of_images(invoke: Invoke, sandbox: Sandbox, gpt: Json, count: int) -> None:
    message = message_of(invoke.failure(workflow_graph(gpt, num_images=count)), InvalidRequestError)
    assert "1" in message
    assert "10" in message
    assert sandbox.calls() == []


def test_a_model_of_the_other_provider(invoke: Invoke, sandbox: Sandbox, gpt: Json) -> None:
    message = message_of(invoke.failure(workflow_graph(gpt, node="gemini_image_generation")), InvalidRequestError)
    assert gpt["name"] in message
    assert sandbox.calls() == []


def test_a_model_that_is_not_installed(invoke: Invoke, sandbox: Sandbox, gpt: Json) -> None:
    unknown = {**gpt, "key": "00000000-0000-0000-0000-000000000000", "name": "A model of yore", "hash": "external:x:y"}
    assert "A model of yore" in message_of(invoke.failure(workflow_graph(unknown)), InvalidRequestError)
    assert sandbox.calls() == []


def test_a_model_that_the_provider_does_not_know(invoke: Invoke, sandbox: Sandbox) -> None:
    """An unknown id gets the rules of the most similar model, and the provider decides."""
    record = invoke.install_model("gemini/gemini-of-tomorrow")
    try:
        invoke.settled_models()
        message = message_of(invoke.failure(workflow_graph(invoke.model("gemini/gemini-of-tomorrow"))))
        assert "gemini-of-tomorrow" in message
    finally:
        invoke.delete_model(record["key"])


def test_outpainting(invoke: Invoke, sandbox: Sandbox, gpt: Json, photo: Image.Image) -> None:
    name = invoke.upload(photo)
    graph = panel_graph(gpt, mode="outpaint", init_image={"image_name": name})
    assert message_of(invoke.failure(graph), CapabilityError)
    assert sandbox.calls() == []


def test_a_node_without_a_model(invoke: Invoke, sandbox: Sandbox, gpt: Json) -> None:
    graph = workflow_graph(gpt)
    del graph["nodes"]["picture"]["model"]
    assert "model" in message_of(invoke.failure(graph), InvalidRequestError)
    assert sandbox.calls() == []


def test_a_mask_without_an_image(invoke: Invoke, sandbox: Sandbox, gpt: Json, hole: Image.Image) -> None:
    mask = invoke.upload(hole)
    graph = workflow_graph(gpt, mask_image={"image_name": mask})
    assert "mask" in message_of(invoke.failure(graph), InvalidRequestError)
    assert sandbox.calls() == []


def test_a_mask_that_changes_nothing(invoke: Invoke, sandbox: Sandbox, gpt: Json, photo: Image.Image) -> None:
    white = invoke.upload(Image.new("L", photo.size, 255))
    fields: Json = {"init_image": {"image_name": invoke.upload(photo)}, "mask_image": {"image_name": white}}
    assert "mask" in message_of(invoke.failure(workflow_graph(gpt, **fields)), InvalidRequestError)
    assert sandbox.calls() == []


@pytest.mark.parametrize("field", ["reference_images", "init_image", "mask_image"])
def test_a_deleted_image(invoke: Invoke, sandbox: Sandbox, gpt: Json, photo: Image.Image, field: str) -> None:
    name = invoke.upload(photo)
    fields: Json = {"init_image": {"image_name": invoke.upload(photo)}}
    fields[field] = [{"image_name": name}] if field == "reference_images" else {"image_name": name}
    invoke.send("DELETE", f"/v1/images/i/{name}")
    assert name in message_of(invoke.failure(workflow_graph(gpt, **fields)), InvalidRequestError)
    assert sandbox.calls() == []


def test_the_log_and_the_queue_tab_show_the_message_without_a_traceback(
    invoke: Invoke, sandbox: Sandbox, gpt: Json
) -> None:
    before = len(invoke.log())
    item = invoke.failure(workflow_graph(gpt, prompt=""))
    # The queue tab shows this in place of the message.
    assert item["error_traceback"] == item["error_message"]
    lines = [line.text for line in invoke.log()[before:] if line.level == "ERROR"]
    assert len(lines) == 2
    assert all(line.endswith(item["error_message"]) for line in lines)


def test_an_unexpected_error_keeps_its_traceback(invoke: Invoke) -> None:
    """Invoke reports the error of another node as usual."""
    nodes = {"one": {"id": "one", "type": "img_blur", "image": {"image_name": "no such picture"}}}
    item = invoke.failure({"id": "graph", "nodes": nodes, "edges": []})
    assert item["error_traceback"].startswith("Traceback")


def test_a_retired_model(invoke: Invoke, sandbox: Sandbox) -> None:
    retired = invoke.install_model("openai/gpt-image-1")
    try:
        invoke.settled_models()
        message = message_of(invoke.failure(workflow_graph(invoke.model("openai/gpt-image-1"))))
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


def test_a_quota_of_zero_fails_at_once_and_says_where_to_pay(invoke: Invoke, sandbox: Sandbox, banana: Json) -> None:
    sandbox.order("gemini", "quota", limit="zero")
    begun = time.monotonic()
    message = message_of(invoke.failure(workflow_graph(banana)), QuotaError)
    assert time.monotonic() - begun < 5
    assert "billing" in message.lower()
    assert len(sandbox.calls()) == 1


def test_used_up_credit_fails_at_once(invoke: Invoke, sandbox: Sandbox, gpt: Json) -> None:
    sandbox.order("openai", "quota", code="insufficient_quota")
    assert message_of(invoke.failure(workflow_graph(gpt)), QuotaError)
    assert len(sandbox.calls()) == 1


def test_a_batch_without_credit_is_not_sent_item_by_item(invoke: Invoke, sandbox: Sandbox, gpt: Json) -> None:
    sandbox.order("openai", "quota", code="insufficient_quota", times=8)
    graph = panel_graph(gpt, quality="low", use_cache=False)
    items = [invoke.ended(number) for number in batch(invoke, graph, [f"image {i}" for i in range(8)])]
    assert len({message_of(item, QuotaError) for item in items}) == 1
    # Those that were sent before the first response arrived.
    assert len(sandbox.calls()) < 8


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
def test_every_fault_ends_in_a_message(
    invoke: Invoke, sandbox: Sandbox, gpt: Json, banana: Json, provider: str, fault: str, parameters: dict[str, Any]
) -> None:
    sandbox.order(provider, fault, times=20, **parameters)
    item = invoke.ended(invoke.enqueue(workflow_graph(gpt if provider == "openai" else banana)), 120)
    assert item["status"] == "failed"
    assert message_of(item)


def test_a_message_names_no_folder_of_the_server(invoke: Invoke, sandbox: Sandbox, gpt: Json) -> None:
    graph = workflow_graph(gpt, reference_images=[{"image_name": "../../etc/passwd"}])
    message = message_of(invoke.failure(graph), InvalidRequestError)
    assert str(invoke.root) not in message


class TestCancel:
    """Cancel frees the queue within a second, in flight or waiting.

    Other work of this computer only adds to the time, so one of three has to be that quick.
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
        """Cancel a run; return the seconds until the next one has run."""
        before, calls = set(invoke.gallery()), len(sandbox.calls())
        number = invoke.enqueue(panel_graph(model))
        behind = invoke.enqueue(QUICK)
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
    """One root with bad settings of all kinds; its tests build on each other, from top to bottom."""

    def test_a_broken_file_does_not_break_invoke(self, bad: Invoke) -> None:
        line = wait_for(lambda: next((line for line in bad.log() if "invokeai_external.yaml" in line.text), None))
        assert "line 1" in line.text
        assert "Traceback" not in line.text
        assert wait_for(lambda: bad.starter_models("openai"))

    @pytest.mark.parametrize("route", ["status", "models"])
    def test_the_routes_name_the_line(self, bad: Invoke, route: str) -> None:
        answer = bad.request("GET", f"/v1/external/{route}")
        assert answer.status_code == 503
        assert "invokeai_external.yaml" in answer.json()["detail"]
        assert "line 1" in answer.json()["detail"]

    def test_a_run_names_the_line(self, bad: Invoke, sandbox: Sandbox) -> None:
        record = bad.install_model("openai/gpt-image-2.5-flare")
        message = message_of(bad.failure(workflow_graph(record)), SettingsError)
        assert "invokeai_external.yaml" in message
        assert "line 1" in message

    def test_once_fixed_it_works_after_a_restart(self, bad: Invoke, sandbox: Sandbox) -> None:
        (bad.root / "invokeai_external.yaml").write_text(_ODD_SIZES, encoding="utf-8")
        bad.stop()
        bad.start()
        wait_for(lambda: len(bad.models()) > 1)
        bad.settled_models()
        assert len(bad.run(workflow_graph(bad.model("openai/gpt-image-2.5-flare")))) == 1

    def test_sizes_that_the_panel_cannot_show_become_ones_that_it_can(self, bad: Invoke) -> None:
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

    def test_a_retired_model_is_hidden(self, bad: Invoke) -> None:
        retired = "openai/gpt-image-2.5-sunburst"
        assert f"external://{retired}" not in {model["source"] for model in bad.starter_models("openai")}
        assert retired.partition("/")[2] not in {model["provider_model_id"] for model in bad.models("openai")}
        # It can be installed by hand, and names a successor that is not retired itself: gpt-image-1 is.
        record = bad.install_model(retired)
        found = wait_for(lambda: model if "Retired" in ((model := bad.model(retired))["description"] or "") else None)
        bad.delete_model(record["key"])
        assert "2026-01-31" in found["description"]
        assert "GPT Image 2.5 Flare" in found["description"]

    def test_no_key(self, bad: Invoke, sandbox: Sandbox) -> None:
        """Without a key there is no model, except one that the user installed in the meantime."""
        bad.remove_key("openai")
        bad.settled_models()
        record = bad.install_model("openai/gpt-image-2.5-flare")
        message = message_of(bad.failure(workflow_graph(record)), NotConfiguredError)
        assert "External Providers" in message
        assert sandbox.calls() == []
        bad.set_key("openai")
        wait_for(lambda: len(bad.models("openai")) > 1)
        bad.settled_models()

    def test_a_wrong_key(self, bad: Invoke, sandbox: Sandbox) -> None:
        record = bad.model("openai/gpt-image-2.5-flare")
        bad.set_key("openai", f"{CANARY}-wrong")
        assert message_of(bad.failure(workflow_graph(record)), AuthenticationError)
        bad.set_key("openai")
        assert len(bad.run(workflow_graph(record))) == 1

    def test_a_base_url_that_does_not_respond(self, bad: Invoke, sandbox: Sandbox) -> None:
        record = bad.model("gemini/gemini-nano-banana-2.1")
        settings = "/v1/app/external_providers/config/gemini"
        bad.send("POST", settings, json={"base_url": "http://127.0.0.1:9/"})
        try:
            item = bad.ended(bad.enqueue(workflow_graph(record)), 120)
            assert item["status"] == "failed"
            assert "127.0.0.1" in message_of(item, NetworkError)
        finally:
            bad.send("POST", settings, json={"base_url": f"{sandbox.url}/gemini"})

    def test_an_invalid_base_url(self, bad: Invoke, sandbox: Sandbox) -> None:
        record = bad.model("gemini/gemini-nano-banana-2.1")
        settings = "/v1/app/external_providers/config/gemini"
        bad.send("POST", settings, json={"base_url": "http://pictures.example/"})
        try:
            message = message_of(bad.failure(workflow_graph(record)), NotConfiguredError)
            # The remedy is about the base URL and not about the key.
            assert "base URL" in message
            assert "generativelanguage.googleapis.com" in message
            assert "Set the key" not in message
        finally:
            bad.send("POST", settings, json={"base_url": f"{sandbox.url}/gemini"})


def test_the_metadata_contain_only_the_identity_of_the_model(invoke: Invoke, sandbox: Sandbox, gpt: Json) -> None:
    """The page sends the whole record with its capabilities; the image keeps only what recall needs."""
    [picture] = invoke.run(panel_graph(gpt))
    assert picture.metadata["model"] == identifier(gpt)


def test_no_log_file_database_or_queue_item_holds_a_key(invoke: Invoke) -> None:
    """The last test of this file, after all the failures; every stop checks again."""
    assert invoke.files_with_key() == []
    for item in invoke.get("/v1/queue/default/list_all"):
        assert CANARY not in json.dumps(item)
