"""The catalogue in Invoke's list of models: installed with a key, deleted without, and user edits stay."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from invokeai_external.clock import utc_today
from invokeai_external.errors import InvalidRequestError
from invokeai_external.invoke.models.labels import in_list_order, name_of, price_of
from invokeai_external.providers.registry import Registry
from invokeai_external.providers.schema import ModelConfig
from invokeai_external.root_folder import USER_FILE

from . import packing
from .conftest import NewInvoke
from .events import Listener
from .failures import message_of
from .graphs import workflow_graph
from .invoke import PROVIDERS, Invoke, Json, wait_for
from .sandbox import Sandbox

PANEL_RATIOS = {
    *("1:1", "16:9", "9:16", "21:9", "9:21", "3:2", "2:3", "4:3", "3:4", "5:4", "4:5"),
    *("4:1", "1:4", "8:1", "1:8"),
}


EDITED = "gemini-3.1-flash-image"
"""The model that the user renamed."""


def offered(*providers: str) -> set[str]:
    """The references of the catalogue's models that are not retired."""
    return {
        model.reference
        for provider in providers
        for model in Registry().models(provider)
        if model.lifecycle.status != "retired"
    }


def references(models: Sequence[Json]) -> list[str]:
    return sorted(f"{model['provider_id']}/{model['provider_model_id']}" for model in models)


def catalogued(reference: str) -> ModelConfig:
    provider, _, model_id = reference.partition("/")
    return next(model for model in Registry().models(provider) if model.id == model_id)


def sizes_of(capabilities: Json) -> list[Json]:
    presets = capabilities["resolution_presets"] or []
    return [*presets, *(capabilities["aspect_ratio_sizes"] or {}).values()]


def has_models(invoke: Invoke, *providers: str) -> bool:
    return references(invoke.models()) == sorted(offered(*providers))


def test_the_models_of_keys_set_before_the_start_are_installed(invoke: Invoke) -> None:
    assert set(references(invoke.models())) >= offered(*PROVIDERS)
    assert len(references(invoke.models())) == len(set(references(invoke.models())))


@pytest.mark.parametrize("reference", sorted(offered(*PROVIDERS)))
def test_a_model_is_named_and_described(invoke: Invoke, reference: str) -> None:
    record, model = invoke.model(reference), catalogued(reference)
    assert record["name"] == name_of(model, utc_today())
    assert record["description"].startswith(f"{model.description} {price_of(model)}")
    if model.lifecycle.shutdown:
        assert str(model.lifecycle.shutdown) in record["description"]
    if model.lifecycle.successor:
        successor = catalogued(f"{model.provider}/{model.lifecycle.successor}")
        assert successor.name in record["description"]
    assert record["source"] == f"external://{reference}"
    assert (record["base"], record["type"], record["format"]) == (
        "external",
        "external_image_generator",
        "external_api",
    )


@pytest.mark.parametrize("order", [{}, {"order_by": "default"}, {"order_by": "name", "direction": "ASC"}])
def test_the_lists_show_the_newest_first_and_ending_models_last(invoke: Invoke, order: Json) -> None:
    wanted = [model.reference for model in in_list_order(Registry().models()) if model.lifecycle.status != "retired"]
    for filters in ({"base_models": "external"}, {}):
        found = invoke.get("/v2/models/", **filters, **order)["models"]
        ours = [f"{model['provider_id']}/{model['provider_model_id']}" for model in found if "provider_id" in model]
        assert [reference for reference in ours if reference in wanted] == wanted
    listed = [entry["source"].removeprefix("external://") for entry in invoke.starter_models("openai")]
    assert listed == [reference for reference in wanted if reference.startswith("openai/")]


def test_the_names_are_in_the_other_order_if_the_page_asks_for_it(invoke: Invoke) -> None:
    found = invoke.get("/v2/models/", base_models="external", order_by="name", direction="DESC")["models"]
    names = [model["name"].lower() for model in found]
    assert names == sorted(names, reverse=True)


@pytest.mark.parametrize("reference", sorted(offered(*PROVIDERS)))
def test_the_record_has_the_capabilities_of_the_model(invoke: Invoke, reference: str) -> None:
    record, model = invoke.model(reference), catalogued(reference)
    can = record["capabilities"]
    assert set(can["modes"]) >= set(model.modes)
    assert can["supports_seed"] == model.seed
    assert can["supports_negative_prompt"] is False
    assert can["supports_reference_images"] == (model.input_images.max_count > 0)
    # Without sizes, the panel's sliders allow any size, whatever the model supports.
    assert sizes_of(can)
    ratios = {preset["aspect_ratio"] for preset in can["resolution_presets"] or []} | set(
        can["aspect_ratio_sizes"] or {}
    )
    assert ratios <= PANEL_RATIOS
    assert set(can["allowed_aspect_ratios"] or []) <= PANEL_RATIOS


@pytest.mark.parametrize("reference", sorted(offered(*PROVIDERS)))
def test_the_panel_has_the_controls_that_the_model_supports(invoke: Invoke, reference: str) -> None:
    panel, model = invoke.model(reference)["panel_schema"], catalogued(reference)
    names = {section: [control["name"] for control in controls] for section, controls in panel.items()}
    assert "dimensions" in names["image"]
    assert ("reference_images" in names["prompts"]) == (model.input_images.max_count > 0)
    # The graph of 6.14.2 looks for the seed among the image controls, the panel among the generation controls.
    assert ("seed" in names["image"] + names["generation"]) == model.seed


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_starter_models_are_ours(invoke: Invoke, provider: str) -> None:
    listed = invoke.starter_models(provider)
    assert {entry["source"].removeprefix("external://") for entry in listed} == offered(provider)
    assert all(entry["is_installed"] for entry in listed)


def test_the_starter_models_of_others_are_unchanged(invoke: Invoke) -> None:
    assert invoke.starter_models("seedream")
    everything = invoke.get("/v2/models/starter_models")["starter_models"]
    assert any(not entry["source"].startswith("external://") for entry in everything)


def test_a_user_s_edit_shows_and_stays(invoke: Invoke) -> None:
    record = invoke.model("openai/gpt-image-2")
    key = record["key"]
    changed = {**record["capabilities"], "max_reference_images": 3}
    invoke.send("PATCH", f"/v2/models/i/{key}", json={"name": "My own name", "capabilities": changed})
    # Another installation makes the plugin check all models.
    invoke.install_model("gemini/gemini-3-pro-image")
    invoke.settled_models()
    edited = invoke.model("openai/gpt-image-2")
    assert edited["key"] == key
    assert edited["name"] == "My own name"
    assert edited["capabilities"]["max_reference_images"] == 3


@pytest.fixture(scope="module")
def keyless(new_invoke: NewInvoke) -> Invoke:
    """An Invoke with our plugin and without a key."""
    invoke = new_invoke()
    invoke.start()
    return invoke


class TestKeysOverRest:
    """One root whose keys come and go; its tests build on each other, from top to bottom."""

    def test_without_a_key_only_the_starter_list_is_there(self, keyless: Invoke) -> None:
        assert wait_for(lambda: keyless.starter_models("openai"))
        assert keyless.settled_models() == []

    def test_a_key_installs_the_models_of_its_provider(self, keyless: Invoke) -> None:
        keyless.set_key("openai")
        assert wait_for(lambda: has_models(keyless, "openai"))
        with Listener(keyless) as page:
            keyless.set_key("gemini")
            assert wait_for(lambda: has_models(keyless, "openai", "gemini"))
            # An open list of models refreshes on this.
            assert wait_for(lambda: len(page.named("model_install_complete")) >= len(offered("gemini")))
        can = keyless.model("openai/gpt-image-2.5-flare")["capabilities"]
        assert sizes_of(can)

    def test_a_model_that_the_page_installs_without_details_is_completed(self, keyless: Invoke) -> None:
        keyless.install_model("openai/gpt-image-2")
        assert wait_for(lambda: sizes_of(keyless.model("openai/gpt-image-2")["capabilities"]))
        keyless.settled_models()

    def test_a_deleted_model_stays_deleted_after_a_restart(self, keyless: Invoke) -> None:
        keyless.delete_model(keyless.model("openai/gpt-image-2.5-sunburst")["key"])
        # All models of a provider, one by one, so they were not deleted with its key.
        for model in keyless.models("gemini"):
            keyless.delete_model(model["key"])
        keyless.stop()
        keyless.start()
        assert wait_for(lambda: keyless.starter_models("openai"))
        expected = offered("openai") - {"openai/gpt-image-2.5-sunburst"}
        assert references(keyless.settled_models()) == sorted(expected)

    def test_a_deleted_model_can_be_installed_again(self, keyless: Invoke) -> None:
        keyless.install_model("openai/gpt-image-2.5-sunburst")
        keyless.settled_models()
        assert sizes_of(keyless.model("openai/gpt-image-2.5-sunburst")["capabilities"])
        # Which made the plugin look at all models.
        assert references(keyless.models()) == sorted(offered("openai"))

    def test_a_new_key_installs_deleted_models_again(self, keyless: Invoke) -> None:
        keyless.remove_key("gemini")
        keyless.set_key("gemini")
        assert wait_for(lambda: has_models(keyless, *PROVIDERS))

    def test_removing_a_key_deletes_the_models_of_its_provider(self, keyless: Invoke) -> None:
        gone = keyless.model("openai/gpt-image-2.5-flare")
        keyless.remove_key("openai")
        assert wait_for(lambda: has_models(keyless, "gemini"))
        keyless.settled_models()
        assert references(keyless.models()) == sorted(offered("gemini"))
        assert gone["name"] in message_of(keyless.failure(workflow_graph(gone)), InvalidRequestError)

    def test_the_log_has_no_warning_of_it_and_no_line_twice(self, keyless: Invoke) -> None:
        assert "was already removed" not in keyless.log_text()
        assert "WARNING:root:" not in keyless.log_text()
        assert "INFO:InvokeAI:" not in keyless.log_text()

    def test_a_new_key_installs_all_of_them_again(self, keyless: Invoke) -> None:
        keyless.set_key("openai")
        assert wait_for(lambda: has_models(keyless, *PROVIDERS))

    def test_a_saved_key_that_is_refused_is_said_where_people_look(self, keyless: Invoke, sandbox: Sandbox) -> None:
        keyless.settled_models()
        model = keyless.model("openai/gpt-image-2")
        keyless.set_key("openai", "invalid-key")

        def described() -> str:
            description: str = keyless.model("openai/gpt-image-2")["description"]
            return description

        assert wait_for(lambda: described() != model["description"])
        assert described() == f"OpenAI did not accept the key. {model['description']}"
        assert messages(keyless)["openai"] == "OpenAI did not accept the key."
        assert [line.level for line in keyless.log() if "OpenAI refused the key" in line.text] == ["WARNING"]
        assert "invalid-key" not in keyless.log_text()
        # The others are as they were.
        assert {found["provider_id"] for found in refused(keyless)} == {"openai"}
        assert sandbox.calls() == []

    def test_a_good_key_after_it_is_said_too(self, keyless: Invoke, canary: str) -> None:
        keyless.set_key("openai")
        assert wait_for(lambda: messages(keyless)["openai"] == "OpenAI accepts the key.")
        assert wait_for(lambda: not refused(keyless))
        assert canary not in keyless.log_text()

    def test_a_key_that_cannot_be_checked_is_saved_and_not_called_wrong(self, keyless: Invoke) -> None:
        gone = {"api_key": "another-key", "base_url": "http://127.0.0.1:1/v1"}
        keyless.send("POST", "/v1/app/external_providers/config/openai", json=gone)
        assert wait_for(lambda: messages(keyless)["openai"] == "The key for OpenAI could not be checked.")
        assert wait_for(lambda: not refused(keyless))

    def test_in_the_sandbox_no_key_is_checked(self, keyless: Invoke, sandbox: Sandbox) -> None:
        settings = keyless.root / USER_FILE
        settings.write_text("sandbox: true\n", encoding="utf-8")
        sandbox.clear()
        keyless.set_key("openai", "invalid-key")
        keyless.settled_models()
        assert messages(keyless)["openai"] is None
        assert sandbox.all_calls() == []
        settings.unlink()

    def test_it_logged_no_error(self, keyless: Invoke) -> None:
        lines = [line.text for line in keyless.log() if line.level in ("ERROR", "CRITICAL")]
        assert [line for line in lines if "not installed" not in line] == []


def refused(invoke: Invoke) -> list[Json]:
    """The installed models whose description says that their key is not accepted."""
    return [model for model in invoke.models() if "did not accept" in (model["description"] or "")]


def messages(invoke: Invoke) -> dict[str, str | None]:
    """What Invoke's page of external providers says of each provider."""
    return {found["provider_id"]: found["message"] for found in invoke.get("/v1/app/external_providers/status")}


@pytest.fixture(scope="module")
def before(new_invoke: NewInvoke) -> tuple[Invoke, dict[str, str]]:
    """An Invoke whose built-in feature was used before our plugin was installed, and the keys of its models."""
    invoke = new_invoke(pack=False)
    invoke.start()
    # With a key before the first start, the built-in may crash.
    invoke.set_key("gemini")
    installed = [invoke.install_model(f"gemini/{name}")["key"] for name in ("gemini-2.5-flash-image", EDITED)]
    invoke.send("PATCH", f"/v2/models/i/{installed[1]}", json={"name": "My Nano Banana"})
    invoke.stop()
    packing.copy_to(invoke.root / "nodes")
    invoke.start()
    wait_for(lambda: len(invoke.models()) > 2)
    invoke.settled_models()
    return invoke, {"untouched": installed[0], "edited": installed[1]}


class TestAfterAnEarlierBuiltIn:
    """A root in which the built-in feature was used, with a key and models."""

    def test_its_record_is_corrected_and_not_duplicated(self, before: tuple[Invoke, dict[str, str]]) -> None:
        invoke, keys = before
        record = invoke.model("gemini/gemini-2.5-flash-image")
        model = catalogued("gemini/gemini-2.5-flash-image")
        assert record["key"] == keys["untouched"]
        assert record["name"] == name_of(model, utc_today())
        assert set(record["capabilities"]["modes"]) >= set(model.modes)
        assert record["capabilities"]["supports_negative_prompt"] is False

    def test_a_user_s_name_stays(self, before: tuple[Invoke, dict[str, str]]) -> None:
        invoke, keys = before
        record = invoke.model(f"gemini/{EDITED}")
        assert (record["key"], record["name"]) == (keys["edited"], "My Nano Banana")

    def test_the_other_models_of_the_catalogue_are_installed(self, before: tuple[Invoke, dict[str, str]]) -> None:
        invoke, _ = before
        assert set(references(invoke.models())) >= offered("gemini")
