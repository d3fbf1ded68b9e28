"""How installed models follow the catalogue and the keys, with a dictionary in place of Invoke."""

from __future__ import annotations

import json
import logging
import queue
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from invokeai_external.errors import SettingsError
from invokeai_external.invoke.models.carriers import source_of
from invokeai_external.invoke.models.memory import FILE, Fields
from invokeai_external.invoke.models.sync import ModelSync
from invokeai_external.providers.registry import Registry
from invokeai_external.providers.schema import ModelConfig
from invokeai_external.root_folder import DISCOVERED_FILE
from invokeai_external.settings.discovered import Discovered, save_discovered
from invokeai_external.settings.settings import load_user_file

OPENAI = [model for model in Registry().models("openai") if model.lifecycle.status != "retired"]
MODEL = OPENAI[0]
SOURCE = source_of(MODEL)


class Invoke:
    """Invoke's model manager: the installed models, which of them it is still installing, and the starter models."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.models: dict[str, Fields] = {}
        self.keys = {"openai"}
        self.is_slow = False
        self.written: list[str] = []
        self.description = "new"
        self.offered: list[str] = []
        self.sync = self.started()

    def started(self) -> ModelSync:
        """The sync after a start of Invoke."""
        self.sync = ModelSync(self.registry, lambda: self.keys, self, self.root)
        return self.sync

    def registry(self) -> Registry:
        return Registry(load_user_file(self.root).catalog)

    def carried(self) -> set[str]:
        return {source for source in self.models if source.startswith("external://alibabacloud/")}

    def offer(self, models: Sequence[ModelConfig]) -> None:
        self.offered = [source_of(model) for model in models]

    def installed(self) -> Mapping[str, Fields]:
        return dict(self.models)

    def desired(self, model: ModelConfig) -> Fields:
        return {"name": model.name, "description": self.description}

    def written_by_invoke(self, model: ModelConfig) -> Sequence[Fields]:
        return [{"name": model.id, "description": None}]

    def install(self, model: ModelConfig, fields: Fields) -> None:
        self.written.append(source_of(model))
        if not self.is_slow:
            self.models[source_of(model)] = fields

    def delete(self, source: str) -> None:
        del self.models[source]
        self.sync.model_deleted(source)


@pytest.fixture
def invoke(tmp_path: Path) -> Invoke:
    return Invoke(tmp_path)


def test_the_models_of_a_provider_with_a_key_are_installed_once(invoke: Invoke) -> None:
    for _ in range(2):
        invoke.sync.run()
    assert invoke.written == [source_of(model) for model in OPENAI]


def test_removing_the_key_deletes_them_and_a_new_key_installs_them_again(invoke: Invoke) -> None:
    invoke.sync.run()
    invoke.sync.run()
    installed = invoke.installed()
    invoke.keys = set()
    invoke.sync.run()
    assert invoke.models == {}
    invoke.keys = {"openai"}
    invoke.sync.run()
    assert invoke.installed() == installed


def test_a_key_removed_and_set_again_before_the_sync_looks_installs_deleted_models_again(invoke: Invoke) -> None:
    invoke.sync.run()
    invoke.sync.run()
    installed = invoke.installed()
    for source in installed:
        invoke.delete(source)
    for keys in (set[str](), {"openai"}):
        invoke.keys = keys
        invoke.sync.key_changed()
    invoke.sync.run()
    assert invoke.installed() == installed


def test_a_model_that_the_user_deleted_stays_deleted(invoke: Invoke) -> None:
    invoke.sync.run()
    invoke.sync.run()
    invoke.delete(SOURCE)
    invoke.sync.run()
    invoke.started().run()
    assert SOURCE not in invoke.models
    assert invoke.models


def test_models_that_invoke_deleted_with_the_key_are_installed_again(invoke: Invoke) -> None:
    """The plugin may not be loaded when that happens."""
    invoke.sync.run()
    invoke.sync.run()
    invoke.models.clear()
    invoke.started().run()
    assert SOURCE in invoke.models


def test_a_model_in_installation_does_not_count_as_deleted_after_a_restart(invoke: Invoke) -> None:
    invoke.is_slow = True
    invoke.sync.run()
    invoke.sync.run()
    assert len(invoke.written) == len(OPENAI)
    invoke.is_slow = False
    invoke.started().run()
    assert SOURCE in invoke.models


def test_unedited_fields_follow_the_catalogue_and_edited_ones_stay(invoke: Invoke) -> None:
    invoke.sync.run()
    invoke.sync.run()
    invoke.models[SOURCE] = {**invoke.models[SOURCE], "name": "mine"}
    invoke.description = "newer"
    invoke.started().run()
    assert invoke.models[SOURCE] == {"name": "mine", "description": "newer"}


def test_a_record_of_the_built_in_is_taken_over(invoke: Invoke) -> None:
    invoke.models[SOURCE] = {"name": MODEL.id, "description": "edited"}
    invoke.sync.run()
    assert invoke.models[SOURCE] == {"name": MODEL.name, "description": "edited"}


def test_a_record_that_was_never_ours_is_not_deleted_without_a_key(invoke: Invoke) -> None:
    invoke.keys = set()
    invoke.models[SOURCE] = {"name": MODEL.id, "description": None}
    invoke.sync.run()
    assert SOURCE in invoke.models


def test_a_closed_sync_does_nothing(invoke: Invoke) -> None:
    invoke.sync.close()
    invoke.sync.run()
    invoke.sync.model_deleted(SOURCE)
    assert (invoke.models, list(invoke.root.iterdir())) == ({}, [])


def in_progress(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Thread, threading.Event]:
    """A sync that is installing its first model until the event is set."""
    begun, go_on, install = threading.Event(), threading.Event(), invoke.install

    def slow(model: ModelConfig, fields: Fields) -> None:
        begun.set()
        assert go_on.wait(30)
        install(model, fields)

    monkeypatch.setattr(invoke, "install", slow)
    thread = threading.Thread(target=invoke.sync.run)
    thread.start()
    assert begun.wait(30)
    return thread, go_on


def test_one_sync_waits_for_the_one_in_progress_and_stands_for_all_others(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Mapping[str, Fields]] = []
    returned: queue.Queue[None] = queue.Queue()
    installed = invoke.installed

    def look() -> Mapping[str, Fields]:
        looks.append(installed())
        return looks[-1]

    def run() -> None:
        invoke.sync.run()
        returned.put(None)

    monkeypatch.setattr(invoke, "installed", look)
    first, go_on = in_progress(invoke, monkeypatch)
    others = [threading.Thread(target=run) for _ in range(5)]
    for other in others:
        other.start()
    for _ in range(4):
        returned.get(timeout=30)
    go_on.set()
    for thread in (first, *others):
        thread.join(30)
    assert [len(found) for found in looks] == [0, len(OPENAI)]


def test_a_stop_ends_the_sync_in_progress_and_starts_no_other(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    first, go_on = in_progress(invoke, monkeypatch)
    waiting = threading.Thread(target=invoke.sync.run)
    waiting.start()
    invoke.sync.stop()
    go_on.set()
    for thread in (first, waiting):
        thread.join(30)
    assert invoke.written == [SOURCE]
    invoke.started().run()
    assert invoke.written == [source_of(model) for model in OPENAI]


def retired(reference: str) -> Registry:
    """The catalogue on the day after the end of a model."""
    shutdown = Registry().resolve(reference).model.lifecycle.shutdown
    assert shutdown
    return Registry(today=lambda: shutdown + timedelta(days=1))


def test_a_model_that_was_retired_is_deleted_and_one_that_is_installed_by_hand_after_that_stays(invoke: Invoke) -> None:
    source = "external://openai/gpt-image-1.5"
    invoke.sync.run()
    invoke.sync.run()
    assert source in invoke.models
    later = ModelSync(lambda: retired("openai/gpt-image-1.5"), lambda: invoke.keys, invoke, invoke.root)
    invoke.sync = later
    for _ in range(2):
        later.run()
        assert source not in invoke.models
    # As Invoke's page installs it.
    invoke.models[source] = {"name": "gpt-image-1.5", "description": None}
    for _ in range(3):
        later.run()
        assert invoke.models[source] == {"name": "GPT Image 1.5", "description": "new"}


def test_a_retired_model_is_not_installed_again_with_a_new_key(invoke: Invoke) -> None:
    invoke.sync = ModelSync(lambda: retired("openai/gpt-image-1.5"), lambda: invoke.keys, invoke, invoke.root)
    for keys in ({"openai"}, set[str](), {"openai"}):
        invoke.keys = keys
        invoke.sync.run()
        invoke.sync.run()
    assert "external://openai/gpt-image-1.5" not in invoke.models
    assert SOURCE in invoke.models


def test_an_end_in_the_name_is_not_a_user_s_edit(invoke: Invoke) -> None:
    invoke.sync.run()
    invoke.sync.run()
    named = dict.fromkeys(invoke.models, "")
    plain = invoke.desired
    invoke.desired = lambda model: {**plain(model), "name": f"{model.name} (ends 2026-12-01)"}  # type: ignore[method-assign]
    invoke.started().run()
    assert all(invoke.models[source]["name"].endswith("(ends 2026-12-01)") for source in named)
    invoke.models[SOURCE] = {**invoke.models[SOURCE], "name": "mine"}
    invoke.desired = plain  # type: ignore[method-assign]
    invoke.started().run()
    assert not any("ends" in fields["name"] for fields in invoke.models.values())
    assert invoke.models[SOURCE]["name"] == "mine"


def test_a_failure_is_logged_and_not_raised(invoke: Invoke, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> Registry:
        raise SettingsError("broken settings")

    (invoke.root / FILE).mkdir()
    with caplog.at_level(logging.ERROR, "InvokeAI"):
        ModelSync(broken, lambda: {"openai"}, invoke, invoke.root).run()
        invoke.sync.run()
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    assert "broken settings" in caplog.text
    assert invoke.models == {}
    # Until they are valid again, the starter models are those of the catalogue.
    assert SOURCE in invoke.offered


def test_a_deletion_is_remembered_in_the_file(invoke: Invoke) -> None:
    invoke.sync.model_deleted(SOURCE)
    invoke.sync.model_deleted("external://gemini/without-key")
    assert json.loads((invoke.root / FILE).read_text(encoding="utf-8")) == {"format": 1, SOURCE: {}}


ACME = """
providers:
  acme: {adapter: openai_images, base_url: "http://127.0.0.1:1/v1"}
models:
  acme/acme-image-1: {sizing: {kind: fixed, sizes: [1024x1024]}}
"""
CARRIED = "external://alibabacloud/acme/acme-image-1"


def with_acme(invoke: Invoke) -> ModelSync:
    """The sync after a start with a provider of the user's own, which has a key."""
    (invoke.root / "invokeai_external.yaml").write_text(ACME)
    invoke.keys.add("acme")
    invoke.started().run()
    return invoke.sync


def test_a_carried_model_is_installed_and_offered_while_its_provider_has_a_key(invoke: Invoke) -> None:
    sync = with_acme(invoke)
    assert CARRIED in invoke.models
    assert CARRIED in invoke.offered
    sync.run()
    invoke.keys.remove("acme")
    sync.key_changed()
    sync.run()
    assert CARRIED not in invoke.models
    # When a key of its carrier is set, Invoke's page installs all starter models of the carrier.
    assert CARRIED not in invoke.offered
    assert SOURCE in invoke.models


def test_a_carried_model_needs_no_key_of_another_provider(invoke: Invoke) -> None:
    invoke.keys.clear()
    with_acme(invoke)
    assert invoke.installed().keys() == {CARRIED}


def test_a_carried_model_that_the_user_deleted_stays_deleted(invoke: Invoke) -> None:
    with_acme(invoke).run()
    invoke.delete(CARRIED)
    invoke.started().run()
    assert CARRIED not in invoke.models


def test_a_carried_model_that_the_settings_no_longer_have_is_deleted(invoke: Invoke) -> None:
    with_acme(invoke).run()
    (invoke.root / "invokeai_external.yaml").unlink()
    invoke.started().run()
    assert CARRIED not in invoke.models
    assert CARRIED not in json.loads((invoke.root / FILE).read_text())
    assert SOURCE in invoke.models


def test_a_model_of_a_gateway_with_the_source_of_a_carried_one_stays(
    invoke: Invoke, caplog: pytest.LogCaptureFixture
) -> None:
    (invoke.root / "invokeai_external.yaml").write_text(
        "providers: {azure: {base_url: 'http://127.0.0.1:1'}}\nmodels: {openai/azure/gpt-image-2: {name: Gateway}}\n"
    )
    invoke.keys.add("azure")
    with caplog.at_level(logging.WARNING, "InvokeAI"):
        invoke.started().run()
    assert invoke.models["external://openai/azure/gpt-image-2"]["name"] == "Gateway"
    assert "external://openai/azure/gpt-image-1.5" in invoke.models
    assert "azure/gpt-image-2 cannot be installed in Invoke beside openai/azure/gpt-image-2" in caplog.text


OPENROUTER = "https://openrouter.ai/api/v1"
LISTED = "external://alibabacloud/openrouter/acme/image-1"
EXTENDING = "external://alibabacloud/openrouter/mine"


def list_models(invoke: Invoke, *models: str) -> None:
    """What OpenRouter said when it was last asked."""
    fields = {"sizing": {"kind": "fixed", "sizes": ["1024x1024"]}, "name": "Listed", "description": "Listed."}
    save_discovered(invoke.root, "openrouter", Discovered(OPENROUTER, datetime.now(UTC), dict.fromkeys(models, fields)))


def with_openrouter(invoke: Invoke) -> ModelSync:
    """The sync after a start with a model that OpenRouter lists, and one of the user's own that extends it."""
    (invoke.root / "invokeai_external.yaml").write_text(
        "models: {openrouter/mine: {name: Mine, extends: openrouter/acme/image-1}}"
    )
    list_models(invoke, "acme/image-1")
    invoke.keys = {"openrouter"}
    invoke.started().run()
    invoke.sync.run()
    assert invoke.models.keys() == {LISTED, EXTENDING}
    invoke.models[LISTED] = {**invoke.models[LISTED], "description": "edited"}
    return invoke.sync


def test_models_of_a_list_that_is_not_known_are_kept(invoke: Invoke) -> None:
    """The file was deleted or cannot be read, and the provider cannot be asked."""
    with_openrouter(invoke)
    before = invoke.installed()
    (invoke.root / DISCOVERED_FILE).unlink()
    invoke.started().run()
    assert invoke.installed() == before
    list_models(invoke, "acme/image-1")
    invoke.started().run()
    assert invoke.installed() == before


def test_a_model_that_the_provider_no_longer_lists_is_deleted(invoke: Invoke) -> None:
    sync = with_openrouter(invoke)
    list_models(invoke, "acme/image-2")
    sync.run()
    assert invoke.installed().keys() == {"external://alibabacloud/openrouter/acme/image-2"}


def test_models_of_a_list_that_is_not_known_are_deleted_with_the_key(invoke: Invoke) -> None:
    sync = with_openrouter(invoke)
    (invoke.root / DISCOVERED_FILE).unlink()
    invoke.keys.clear()
    sync.key_changed()
    sync.run()
    assert invoke.models == {}


def test_a_model_that_the_user_deleted_while_the_list_is_not_known_stays_deleted(invoke: Invoke) -> None:
    with_openrouter(invoke)
    (invoke.root / DISCOVERED_FILE).unlink()
    invoke.started().run()
    invoke.delete(LISTED)
    list_models(invoke, "acme/image-1")
    invoke.started().run()
    assert invoke.installed().keys() == {EXTENDING}
