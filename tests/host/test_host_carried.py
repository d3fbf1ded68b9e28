"""Models of a provider that Invoke's page does not know: in the picker, run in every way, and never sent elsewhere."""

from __future__ import annotations

import time

import pytest
from PIL import Image

from invokeai_external.errors import InvalidRequestError, NotConfiguredError

from . import acme, packing
from .acme import ALIBABA_KEY, GPT, PLAIN, Acme
from .conftest import NewInvoke
from .failures import message_of
from .graphs import PROMPT, panel_graph, workflow_graph
from .invoke import Invoke, Json, output_names, wait_for
from .sandbox import Sandbox
from .test_host_look_ahead import batch
from .test_host_pack_manager import uninstall
from .users import signed_in_users

GENERATE = {"origin": "generate", "destination": "generate"}
CANVAS = {"origin": "canvas", "destination": "canvas:session"}

QWEN = "alibabacloud/qwen-image-2.0"
"""A model of Invoke's own."""


@pytest.fixture(scope="module")
def keyless(new_invoke: NewInvoke, server: tuple[Acme, str]) -> Invoke:
    """An Invoke with no key but that of the provider that it does not know."""
    invoke = new_invoke()
    acme.configure(invoke.root, server[1])
    invoke.base_urls["alibabacloud"] = f"{server[1]}/alibaba"
    invoke.start_with_models()
    return invoke


@pytest.fixture
def plain(keyless: Invoke) -> Json:
    return keyless.model(PLAIN)


@pytest.fixture
def gpt(keyless: Invoke) -> Json:
    return keyless.model(GPT)


def test_its_models_are_in_the_picker(keyless: Invoke) -> None:
    models = {f"{model['provider_id']}/{model['provider_model_id']}": model for model in keyless.models()}
    assert models.keys() == {PLAIN, GPT}
    plain, gpt = models[PLAIN], models[GPT]
    assert (plain["name"], gpt["name"]) == ("Acme Image (Acme Gateway)", "Acme GPT (Acme Gateway)")
    assert len({model["key"] for model in models.values() if model["key"].startswith("carried-")}) == 2
    assert set(plain["capabilities"]["aspect_ratio_sizes"]) == {"1:1", "3:2"}
    assert plain["capabilities"]["modes"] == ["txt2img", "img2img", "inpaint"]
    # What the panel reads, from the entry in the list of starter models.
    assert plain["panel_schema"]["prompts"] == [{**plain["panel_schema"]["prompts"][0], "name": "reference_images"}]
    assert {entry["source"] for entry in keyless.starter_models("alibabacloud/acme")} == {f"external://{PLAIN}"}
    assert all(entry["is_installed"] for entry in keyless.starter_models("openai/acme"))


def test_the_status_lists_its_provider(keyless: Invoke) -> None:
    found = {entry["provider"]: entry["configured"] for entry in keyless.get("/v1/external/status")["providers"]}
    assert found == {"openai": False, "gemini": False, "acme": True}


def test_it_runs_on_generate(keyless: Invoke, provider: Acme, plain: Json) -> None:
    # The panel still has the size of another model.
    [picture] = keyless.run(panel_graph(plain, width=1536, height=1024, image_size="1K", use_cache=False), **GENERATE)
    [call] = provider.calls
    assert (call["model"], call["prompt"], call["size"]) == ("acme-image-1", PROMPT, "1536x1024")
    assert call.keys() <= {"model", "prompt", "size", "n"}
    external = picture.metadata["external"]
    assert (external["provider"], external["model"], external["cost_usd"]) == ("acme", "acme-image-1", 0.02)
    assert (picture.metadata["model"]["key"], picture.metadata["width"]) == (plain["key"], 1536)
    assert picture.metadata["positive_prompt"] == PROMPT


def test_what_the_panel_sends_at_its_default_is_dropped_without_a_notice(
    keyless: Invoke, provider: Acme, gpt: Json
) -> None:
    [picture] = keyless.run(panel_graph(gpt, quality="auto", background="auto"), **GENERATE)
    assert {"quality", "background"}.isdisjoint(provider.calls[0])
    assert picture.metadata["external"].get("notices", []) == []


def test_its_options_are_those_of_its_carrier_in_the_panel(keyless: Invoke, provider: Acme, gpt: Json) -> None:
    [picture] = keyless.run(panel_graph(gpt, quality="high", background="auto"), **GENERATE)
    assert provider.calls[0]["quality"] == "high"
    # The page recalls it under this name.
    assert picture.metadata["openai_quality"] == "high"


def test_it_runs_on_the_canvas(
    keyless: Invoke, provider: Acme, plain: Json, photo: Image.Image, hole: Image.Image
) -> None:
    image, mask = keyless.upload(photo, intermediate=True), keyless.upload(hole, intermediate=True)
    graph = panel_graph(
        plain,
        is_intermediate=True,
        use_cache=False,
        mode="inpaint",
        init_image={"image_name": image},
        mask_image={"image_name": mask},
    )
    [picture] = keyless.run(graph, **CANVAS)
    assert picture.image.size == photo.size
    assert picture.image.convert("RGB").crop((0, 0, 200, 700)).tobytes() == photo.crop((0, 0, 200, 700)).tobytes()
    assert picture.record["is_intermediate"]
    assert provider.calls[0].keys() >= {"image", "mask"}


def test_it_runs_in_the_nodes_with_a_cache(keyless: Invoke, provider: Acme, plain: Json, gpt: Json) -> None:
    for model in (plain, gpt):
        provider.clear()
        graph = workflow_graph(model, use_cache=True, prompt="cached")
        [first], [again] = keyless.run(graph), keyless.run(graph)
        assert len(provider.calls) == 1
        assert again.name != first.name
        assert again.metadata["external"]["from_cache"] is True


def test_queued_runs_are_sent_before_their_turn_as_far_as_its_provider_allows(
    keyless: Invoke, provider: Acme, plain: Json
) -> None:
    provider.seconds = 2
    numbers = batch(keyless, panel_graph(plain, use_cache=False), [f"ahead {i}" for i in range(6)])
    for number in numbers:
        item = keyless.ended(number)
        assert item["status"] == "completed", item["error_message"]
        assert len(list(output_names(item))) == 1
    assert [len(provider.calls), provider.most] == [6, 2]


def test_a_cancelled_run_ends_at_once_and_its_call_with_it(keyless: Invoke, provider: Acme, plain: Json) -> None:
    provider.seconds = 30
    number = keyless.enqueue(panel_graph(plain, use_cache=False, prompt="cancelled"))
    wait_for(lambda: provider.in_flight)
    before = time.monotonic()
    keyless.cancel(number)
    assert keyless.ended(number)["status"] == "canceled"
    wait_for(lambda: not provider.in_flight)
    assert time.monotonic() - before < 15


def test_without_its_key_the_error_says_where_to_set_it(keyless: Invoke, provider: Acme, plain: Json) -> None:
    """The file is read at each run."""
    acme.remove_key(keyless.root)
    message = message_of(keyless.failure(panel_graph(plain, prompt="no key", use_cache=False)), NotConfiguredError)
    assert "external_acme_api_key in invokeai_external_keys.yaml" in message
    acme.set_key(keyless.root)
    assert keyless.run(panel_graph(plain, prompt="a key again", use_cache=False))


class TestTheCarrier:
    """The carrier with a key and its own model; its tests build on each other, from top to bottom."""

    def test_its_own_model_runs_on_invoke_s_own_node(self, keyless: Invoke, provider: Acme) -> None:
        body = {"api_key": ALIBABA_KEY, "base_url": keyless.base_urls["alibabacloud"]}
        keyless.send("POST", "/v1/app/external_providers/config/alibabacloud", json=body)
        record = keyless.install_model(QWEN)
        assert keyless.schema("alibabacloud_image_generation")["node_pack"] == "invokeai"
        # 6.14.2 does not download its image from this machine.
        assert keyless.ended(keyless.enqueue(panel_graph(record, use_cache=False), **GENERATE))
        assert (len(provider.calls), [call["model"] for call in provider.alibaba]) == (0, ["qwen-image-2.0"])

    def test_a_carried_model_is_not_sent_to_it(self, keyless: Invoke, provider: Acme, plain: Json) -> None:
        assert keyless.run(panel_graph(plain, use_cache=False, prompt="not to the carrier"), **GENERATE)
        assert (len(provider.calls), provider.alibaba) == (1, [])

    def test_its_starter_models_are_still_there(self, keyless: Invoke) -> None:
        sources = {entry["source"] for entry in keyless.starter_models("alibabacloud")}
        assert sources > {f"external://{QWEN}", f"external://{PLAIN}"}

    def test_removing_its_key_deletes_its_own_models_only(self, keyless: Invoke) -> None:
        keyless.remove_key("alibabacloud")
        keyless.remove_key("openai")
        found = {model["provider_model_id"] for model in keyless.settled_models()}
        assert found == {"acme/acme-image-1", "acme/gpt"}


class TestAnEnd:
    """What is deleted with what; the tests build on each other, from top to bottom."""

    def test_a_model_that_the_settings_no_longer_have_is_deleted(
        self, keyless: Invoke, server: tuple[Acme, str]
    ) -> None:
        keyless.stop()
        (keyless.root / "invokeai_external.yaml").unlink()
        keyless.start()
        assert wait_for(lambda: not keyless.models())
        keyless.stop()
        acme.configure(keyless.root, server[1])
        keyless.start_with_models()
        assert {model["provider_model_id"] for model in keyless.models()} == {"acme/acme-image-1", "acme/gpt"}

    def test_an_uninstall_deletes_the_carried_models_and_nothing_goes_to_a_carrier(
        self, keyless: Invoke, provider: Acme
    ) -> None:
        plain, gpt = keyless.model(PLAIN), keyless.model(GPT)
        keyless.set_key("openai")
        keyless.settled_models()
        provider.seconds = 3
        running = keyless.enqueue(panel_graph(plain, use_cache=False, prompt="running"))
        wait_for(lambda: provider.in_flight)
        waiting = [keyless.enqueue(panel_graph(model, prompt="waiting")) for model in (plain, gpt)]
        uninstall(keyless)
        assert [model for model in keyless.models() if "/" in model["provider_model_id"]] == []
        assert keyless.starter_models("alibabacloud/acme") == keyless.starter_models("openai/acme") == []
        assert keyless.ended(running)["status"] in ("failed", "canceled")
        assert [keyless.ended(number)["status"] for number in waiting] == ["failed", "failed"]
        assert provider.alibaba == []
        keyless.get("/v1/queue/default/list_all")

    def test_installed_again_they_are_back(self, keyless: Invoke, provider: Acme) -> None:
        packing.copy_to(keyless.root / "nodes")
        keyless.send("POST", "/v2/custom_nodes/reload")
        wait_for(lambda: len([model for model in keyless.models() if "/" in model["provider_model_id"]]) == 2)
        assert keyless.run(panel_graph(keyless.model(PLAIN), use_cache=False, prompt="again"))


def test_with_several_users_it_runs_for_each_and_only_with_its_provider_s_key(
    new_invoke: NewInvoke, server: tuple[Acme, str], provider: Acme, sandbox: Sandbox
) -> None:
    invoke = new_invoke(settings={"multiuser": True})
    acme.configure(invoke.root, server[1])
    invoke.start()
    with signed_in_users(invoke) as users:
        model = wait_for(lambda: next(iter(users.anna.models("alibabacloud")), None))
        [hers] = users.anna.run(panel_graph(model, prompt="of anna"), **GENERATE)
        [his] = users.bob.run(panel_graph(model, prompt="of bob"), **GENERATE)
        assert hers.name in users.anna.gallery()
        assert his.name in users.bob.gallery()
        assert users.anna.request("POST", "/v1/external/test/acme").status_code == 403
    assert provider.keys == {f"Bearer {acme.KEY}"}


def test_a_model_that_is_gone_is_reported(keyless: Invoke, plain: Json) -> None:
    gone = {**plain, "key": "carried-of-nobody", "name": "Gone"}
    message = message_of(keyless.failure(workflow_graph(gone, node="openai_image_generation")), InvalidRequestError)
    assert "Gone" in message
