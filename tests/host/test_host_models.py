"""Our catalogue in Invoke's model picker: there with a key, gone without, and the user's word counts."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from invokeai_external.providers.registry import Registry
from invokeai_external.providers.schema import ModelConfig

from . import packing
from .conftest import NewInvoke
from .events import Listener
from .graphs import workflow_graph
from .invoke import PROVIDERS, Invoke, Json, wait_for

PANEL_RATIOS = {
    *("1:1", "16:9", "9:16", "21:9", "9:21", "3:2", "2:3", "4:3", "3:4", "5:4", "4:5"),
    *("4:1", "1:4", "8:1", "1:8"),
}


EDITED = "gemini-3.1-flash-image"
"""The model that the user gave a name."""


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
    assert record["name"] == model.name
    assert "key" in record["description"]
    assert "bills" in record["description"] or "cost" in record["description"]
    if model.lifecycle.shutdown:
        assert str(model.lifecycle.shutdown) in record["description"]
    if model.lifecycle.successor:
        successor = catalogued(f"{model.provider}/{model.lifecycle.successor}")
        assert model.lifecycle.successor in record["description"] or successor.name in record["description"]
    assert record["source"] == f"external://{reference}"
    assert (record["base"], record["type"], record["format"]) == (
        "external",
        "external_image_generator",
        "external_api",
    )


@pytest.mark.parametrize("reference", sorted(offered(*PROVIDERS)))
def test_a_model_can_do_in_the_picker_what_it_can_do(invoke: Invoke, reference: str) -> None:
    record, model = invoke.model(reference), catalogued(reference)
    can = record["capabilities"]
    assert set(can["modes"]) >= set(model.modes)
    assert can["supports_seed"] == model.seed
    assert can["supports_negative_prompt"] is False
    assert can["supports_reference_images"] == (model.input_images.max_count > 0)
    # Without sizes the panel's sliders run free, whatever the model takes.
    assert sizes_of(can)
    ratios = {preset["aspect_ratio"] for preset in can["resolution_presets"] or []} | set(
        can["aspect_ratio_sizes"] or {}
    )
    assert ratios <= PANEL_RATIOS
    assert set(can["allowed_aspect_ratios"] or []) <= PANEL_RATIOS


@pytest.mark.parametrize("reference", sorted(offered(*PROVIDERS)))
def test_a_model_s_panel_has_the_controls_that_it_takes(invoke: Invoke, reference: str) -> None:
    panel, model = invoke.model(reference)["panel_schema"], catalogued(reference)
    names = {section: [control["name"] for control in controls] for section, controls in panel.items()}
    assert "dimensions" in names["image"]
    assert ("reference_images" in names["prompts"]) == (model.input_images.max_count > 0)
    # The graph of 6.14.2 looks for the seed among the controls of the image, the panel among those of generation.
    assert ("seed" in names["image"] + names["generation"]) == model.seed


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_starter_models_are_ours(invoke: Invoke, provider: str) -> None:
    listed = invoke.starter_models(provider)
    assert {entry["source"].removeprefix("external://") for entry in listed} == offered(provider)
    assert all(entry["is_installed"] for entry in listed)


def test_the_starter_models_of_others_are_left_alone(invoke: Invoke) -> None:
    assert invoke.starter_models("seedream")
    everything = invoke.get("/v2/models/starter_models")["starter_models"]
    assert any(not entry["source"].startswith("external://") for entry in everything)


def test_an_edit_of_the_user_shows_and_survives(invoke: Invoke) -> None:
    record = invoke.model("openai/gpt-image-2")
    key = record["key"]
    changed = {**record["capabilities"], "max_reference_images": 3}
    invoke.send("PATCH", f"/v2/models/i/{key}", json={"name": "My own name", "capabilities": changed})
    # Another install makes the plugin look at all models.
    invoke.install_model("gemini/gemini-3-pro-image")
    invoke.settled_models()
    edited = invoke.model("openai/gpt-image-2")
    assert edited["key"] == key
    assert edited["name"] == "My own name"
    assert edited["capabilities"]["max_reference_images"] == 3


@pytest.fixture(scope="module")
def keyless(new_invoke: NewInvoke) -> Invoke:
    """An Invoke with our pack and without a key."""
    invoke = new_invoke()
    invoke.start()
    return invoke


class TestKeysOverRest:
    """One root whose keys come and go; its tests build on each other, from top to bottom."""

    def test_without_a_key_there_is_no_model_but_the_list(self, keyless: Invoke) -> None:
        assert wait_for(lambda: keyless.starter_models("openai"))
        assert keyless.settled_models() == []

    def test_a_key_brings_the_models_of_its_provider(self, keyless: Invoke) -> None:
        keyless.set_key("openai")
        assert wait_for(lambda: has_models(keyless, "openai"))
        with Listener(keyless) as page:
            keyless.set_key("gemini")
            assert wait_for(lambda: has_models(keyless, "openai", "gemini"))
            # An open picker refreshes on this.
            assert wait_for(lambda: len(page.named("model_install_complete")) >= len(offered("gemini")))
        can = keyless.model("openai/gpt-image-2.5-flare")["capabilities"]
        assert sizes_of(can)

    def test_what_the_page_installs_without_details_is_corrected(self, keyless: Invoke) -> None:
        keyless.install_model("openai/gpt-image-2")
        assert wait_for(lambda: sizes_of(keyless.model("openai/gpt-image-2")["capabilities"]))
        keyless.settled_models()

    def test_what_the_user_deleted_stays_deleted_over_a_restart(self, keyless: Invoke) -> None:
        keyless.delete_model(keyless.model("openai/gpt-image-2.5-sunburst")["key"])
        # All of a provider's, one by one: they did not go with its key.
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

    def test_a_key_that_comes_again_brings_back_what_was_deleted(self, keyless: Invoke) -> None:
        keyless.remove_key("gemini")
        keyless.set_key("gemini")
        assert wait_for(lambda: has_models(keyless, *PROVIDERS))

    def test_removing_a_key_removes_the_models_of_its_provider(self, keyless: Invoke) -> None:
        gone = keyless.model("openai/gpt-image-2.5-flare")
        keyless.remove_key("openai")
        assert wait_for(lambda: has_models(keyless, "gemini"))
        keyless.settled_models()
        assert references(keyless.models()) == sorted(offered("gemini"))
        message = keyless.failure(workflow_graph(gone))["error_message"]
        assert "not installed" in message

    def test_the_key_again_brings_all_of_them_back(self, keyless: Invoke) -> None:
        keyless.set_key("openai")
        assert wait_for(lambda: has_models(keyless, *PROVIDERS))

    def test_none_of_it_was_an_error(self, keyless: Invoke) -> None:
        lines = [line.text for line in keyless.log() if line.level in ("ERROR", "CRITICAL")]
        assert [line for line in lines if "not installed" not in line] == []


@pytest.fixture(scope="module")
def before(new_invoke: NewInvoke) -> tuple[Invoke, dict[str, str]]:
    """An Invoke that the built-in feature was used in before our pack came; and the keys of the models from then."""
    invoke = new_invoke(pack=False)
    invoke.start()
    # A key before the first start, and the built-in can die of it.
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
    """A root that the built-in feature has used, with a key and with models of its own."""

    def test_its_record_is_corrected_and_not_doubled(self, before: tuple[Invoke, dict[str, str]]) -> None:
        invoke, keys = before
        record = invoke.model("gemini/gemini-2.5-flash-image")
        model = catalogued("gemini/gemini-2.5-flash-image")
        assert record["key"] == keys["untouched"]
        assert record["name"] == model.name
        assert set(record["capabilities"]["modes"]) >= set(model.modes)
        assert record["capabilities"]["supports_negative_prompt"] is False

    def test_a_name_that_the_user_gave_is_kept(self, before: tuple[Invoke, dict[str, str]]) -> None:
        invoke, keys = before
        record = invoke.model(f"gemini/{EDITED}")
        assert (record["key"], record["name"]) == (keys["edited"], "My Nano Banana")

    def test_the_rest_of_the_catalogue_is_there(self, before: tuple[Invoke, dict[str, str]]) -> None:
        invoke, _ = before
        assert set(references(invoke.models())) >= offered("gemini")
