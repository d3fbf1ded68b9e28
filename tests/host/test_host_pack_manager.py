"""Invoke's node manager installs and uninstalls the plugin in a running Invoke, and nothing stays behind."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from . import packing
from .conftest import NewInvoke
from .graphs import workflow_graph
from .invoke import NODE_TYPES, PROVIDERS, Invoke, wait_for
from .packing import PACK
from .sandbox import Sandbox
from .test_host_models import offered, references
from .test_host_workflows import EXAMPLES

MODEL = "openai/gpt-image-2.5-flare"

_SLOWED = """
import time
from .invokeai_external.invoke import plugin
from .invokeai_external.invoke.models import records

_at_once = {slow}

def _later(*arguments, **named):
    time.sleep(2)
    return _at_once(*arguments, **named)

{slow} = _later
"""
"""Goes before the plugin's own first file: a part of the plugin takes two seconds longer."""

_LOOKING_FOR_OURS = f"""
import json
from pathlib import Path
from fastapi_events.handlers.local import local_handler
from invokeai.app.api.dependencies import ApiDependencies
from invokeai.app.api.routers import app_info
from invokeai.app.invocations.baseinvocation import InvocationRegistry
from invokeai.app.services.model_install.model_install_default import ModelInstallService
from invokeai.app.services.model_records.model_records_sql import ModelRecordServiceSQL
from invokeai.app.services.session_processor.session_processor_default import DefaultSessionRunner
from invokeai.app.services.session_queue.session_queue_sqlite import SqliteSessionQueue
from uvicorn import Server

wrapped = (
    ApiDependencies, app_info, InvocationRegistry, ModelInstallService, ModelRecordServiceSQL, DefaultSessionRunner,
    SqliteSessionQueue, Server,
)
found = [getattr(owner, name) for owner in wrapped for name in dir(owner)]
found += [handler for handlers in local_handler._registry.values() for handler in handlers]
ours = [one.__qualname__ for one in found if str(getattr(one, "__module__", "")).startswith({PACK!r})]
Path(__file__).with_name("ours.json").write_text(json.dumps(ours))
"""
"""The code of a separate pack that lists the functions of our plugin that Invoke would call."""


_COUNTING = """
import gc
import threading
import time
from pathlib import Path

def count():
    while True:
        Path(__file__).with_name("frozen.new").write_text(str(gc.get_freeze_count()))
        Path(__file__).with_name("frozen.new").rename(Path(__file__).with_name("frozen"))
        time.sleep(0.1)

threading.Thread(target=count, daemon=True).start()
"""
"""The code of a separate pack that counts the objects that garbage collections ignore."""


@pytest.fixture(scope="module")
def stock(new_invoke: NewInvoke) -> Invoke:
    """An Invoke with keys and without our plugin; the tests here build on each other, from top to bottom."""
    invoke = new_invoke(pack=False)
    invoke.start()
    # With keys before its start the built-in installs models beside its database's clean-up, and can die of it.
    for provider in PROVIDERS:
        invoke.set_key(provider)
    return invoke


@pytest.fixture(scope="module")
def built_in(stock: Invoke) -> dict[str, list[str]]:
    """The starter models of the built-in feature."""
    return {provider: sorted(entry["source"] for entry in stock.starter_models(provider)) for provider in PROVIDERS}


def install(invoke: Invoke, source: Path) -> None:
    answer = invoke.send("POST", "/v2/custom_nodes/install", json={"source": str(source)})
    assert answer["success"], answer["message"]
    assert answer["workflows_imported"] == len(EXAMPLES)


def uninstall(invoke: Invoke) -> None:
    answer = invoke.send("DELETE", f"/v2/custom_nodes/{PACK}")
    assert answer["success"], answer["message"]


def library(invoke: Invoke) -> dict[str, str]:
    """The user's workflows in the library and the tags of each."""
    return {entry["name"]: entry["tags"] for entry in invoke.get("/v1/workflows/", categories="user")["items"]}


def node_packs(invoke: Invoke) -> set[str]:
    return {invoke.schema(node_type)["node_pack"] for node_type in NODE_TYPES.values()}


def major_versions(invoke: Invoke) -> dict[str, str]:
    return {name: invoke.schema(name)["version"].partition(".")[0] for name in NODE_TYPES.values()}


def test_it_installs_in_a_running_invoke(
    stock: Invoke, sandbox: Sandbox, clone_source: Path, built_in: dict[str, list[str]]
) -> None:
    assert node_packs(stock) == {"invokeai"}
    core = major_versions(stock)
    stock.send("POST", "/v1/workflows/", json={"workflow": {**EXAMPLES["inpaint"], "name": "My own"}})
    stock.settled_models()
    install(stock, clone_source)
    assert node_packs(stock) == {PACK}
    # Within it the editor updates the nodes of saved workflows; beyond it the nodes must be replaced.
    assert major_versions(stock) == core
    assert wait_for(lambda: set(references(stock.models())) >= offered(*PROVIDERS))
    stock.settled_models()
    assert len(stock.run(workflow_graph(stock.model(MODEL)))) == 1
    assert len(sandbox.calls()) == 1


def test_it_adds_exactly_the_examples_to_the_library(stock: Invoke) -> None:
    tagged = {example["name"]: f"{example['tags']}, node-pack:{PACK}" for example in EXAMPLES.values()}
    assert library(stock) == {**tagged, "My own": EXAMPLES["inpaint"]["tags"]}


def test_uninstalling_restores_the_built_in_at_once(
    stock: Invoke, sandbox: Sandbox, built_in: dict[str, list[str]]
) -> None:
    record = stock.model(MODEL)
    uninstall(stock)
    assert node_packs(stock) == {"invokeai"}
    for provider in PROVIDERS:
        assert sorted(entry["source"] for entry in stock.starter_models(provider)) == built_in[provider]
    # The built-in's own node runs; its result does not matter.
    item = stock.ended(stock.enqueue(workflow_graph(record)))
    assert item["status"] in ("completed", "failed")
    answer = stock.request("GET", "/v1/external/status")
    assert "json" not in answer.headers["content-type"]
    assert "/api/v1/external/status" not in stock.request("GET", "/../openapi.json").json()["paths"]


def test_uninstalling_deletes_only_the_examples(stock: Invoke) -> None:
    assert library(stock).keys() == {"My own"}


def test_after_uninstalling_keys_have_no_effect(stock: Invoke) -> None:
    stock.remove_key("gemini")
    stock.set_key("gemini")
    assert [model for model in stock.settled_models() if model["provider_id"] == "gemini"] == []


def slowed(stock: Invoke, slow: str) -> None:
    """Load the plugin with a part of it slowed down, until it is uninstalled."""
    first = packing.copy_to(stock.root / "nodes") / "__init__.py"
    first.write_text(_SLOWED.format(slow=slow) + first.read_text(encoding="utf-8"), encoding="utf-8")
    stock.send("POST", "/v2/custom_nodes/reload")
    # The pages that list the nodes would take too long here.
    assert stock.get("/v1/external/status")["providers"]


def test_uninstalling_before_its_starter_models_are_listed_leaves_no_entry(
    stock: Invoke, built_in: dict[str, list[str]]
) -> None:
    before = references(stock.models())
    slowed(stock, "plugin.Plugin._begin")
    uninstall(stock)
    time.sleep(3)
    assert references(stock.settled_models()) == before
    for provider in PROVIDERS:
        assert sorted(entry["source"] for entry in stock.starter_models(provider)) == built_in[provider]


def test_uninstalling_stops_the_installation_of_models(stock: Invoke, built_in: dict[str, list[str]]) -> None:
    slowed(stock, "records.install_model")
    uninstall(stock)
    time.sleep(3)
    # At most the one in progress.
    assert len([model for model in stock.settled_models() if model["provider_id"] == "gemini"]) < 2
    for provider in PROVIDERS:
        assert sorted(entry["source"] for entry in stock.starter_models(provider)) == built_in[provider]


def test_it_can_be_installed_again(stock: Invoke, sandbox: Sandbox, clone_source: Path) -> None:
    install(stock, clone_source)
    assert node_packs(stock) == {PACK}
    assert wait_for(lambda: set(references(stock.models())) >= offered("openai"))
    stock.settled_models()
    assert len(stock.run(workflow_graph(stock.model(MODEL)))) == 1
    assert stock.request("GET", "/v1/external/status").headers["content-type"] == "application/json"


def test_models_deleted_with_their_key_while_it_was_not_installed_are_back(stock: Invoke) -> None:
    """The user did not delete them: Invoke deleted them with the key, which was set again since."""
    assert set(references(stock.models())) >= offered("gemini")


def test_it_works_after_a_reload(stock: Invoke, sandbox: Sandbox) -> None:
    stock.send("POST", "/v2/custom_nodes/reload")
    assert node_packs(stock) == {PACK}
    assert len(stock.run(workflow_graph(stock.model(MODEL)))) == 1
    assert len(sandbox.calls()) == 1


def test_its_replacement_of_nodes_is_one_line_of_the_log_and_no_warning(stock: Invoke) -> None:
    before = len(stock.log())
    stock.send("POST", "/v2/custom_nodes/reload")
    wait_for(lambda: [line for line in stock.log()[before:] if " is on: " in line.text])
    lines = stock.log()[before:]
    assert [line.level for line in lines if " is on: " in line.text] == ["INFO"]
    assert [line.text for line in lines if "Overriding" in line.text or line.level == "WARNING"] == []


def test_no_thread_stays_behind(stock: Invoke, sandbox: Sandbox, clone_source: Path) -> None:
    uninstall(stock)
    before = stock.threads
    for _ in range(3):
        install(stock, clone_source)
        wait_for(lambda: stock.schema(NODE_TYPES["openai"])["node_pack"] == PACK)
        stock.settled_models()
        stock.run(workflow_graph(stock.model(MODEL)))
        uninstall(stock)
    stock.settled_models()
    # One of Invoke's thread pools may have grown by one; three of ours would be three.
    assert stock.threads - before < 3


def functions_of_ours(invoke: Invoke) -> list[str]:
    """The functions of our plugin that replace Invoke's own or handle its events."""
    folder = invoke.root / "nodes" / "looking"
    folder.mkdir(exist_ok=True)
    (folder / "__init__.py").write_text(_LOOKING_FOR_OURS, encoding="utf-8")
    invoke.send("POST", "/v2/custom_nodes/reload")
    found: list[str] = json.loads((folder / "ours.json").read_text(encoding="utf-8"))
    return found


def test_no_function_stays_behind(stock: Invoke, clone_source: Path) -> None:
    assert functions_of_ours(stock) == []
    install(stock, clone_source)
    # Make sure that the check finds something.
    assert {"on_items_read.<locals>.list_all_queue_items", "on_canvas_item_ended.<locals>.handle"} <= set(
        functions_of_ours(stock)
    )
    # Looking ahead starts last, so the plugin is complete.
    wait_for(lambda: (stock.root / "invokeai_external_queue.json").exists())
    uninstall(stock)
    assert functions_of_ours(stock) == []


def test_it_logged_no_error(stock: Invoke) -> None:
    lines = [line.text for line in stock.log() if line.level in ("ERROR", "CRITICAL")]
    # The built-in's own node, which ran in between, adds a second /v1 to the URL and fails.
    assert [line for line in lines if f"nodes/{PACK}" in line or f"{PACK}: " in line] == []


def test_after_all_this_no_model_is_duplicated(stock: Invoke, clone_source: Path) -> None:
    install(stock, clone_source)
    found = references(stock.settled_models())
    assert found == sorted(set(found))
    assert set(found) >= offered("openai")


def test_a_stop_does_not_wait_until_all_models_are_up_to_date(stock: Invoke) -> None:
    slowed(stock, "records.capabilities_of")
    # Each asks for an update, which takes a minute now.
    for _ in range(3):
        stock.install_model(MODEL)
    stock.stop()
    packing.copy_to(stock.root / "nodes")
    stock.start()


def test_it_starts_again_with_what_the_node_manager_installed(stock: Invoke, sandbox: Sandbox) -> None:
    stock.stop()
    stock.start()
    wait_for(lambda: stock.starter_models("openai"))
    assert node_packs(stock) == {PACK}
    assert len(stock.run(workflow_graph(stock.model(MODEL)))) == 1


def test_only_what_is_there_after_a_start_stays_out_of_garbage_collections(
    stock: Invoke, sandbox: Sandbox, clone_source: Path
) -> None:
    counting, is_looking_ahead = stock.root / "nodes" / "counting", stock.root / "invokeai_external_queue.json"

    def frozen() -> int:
        # What was counted before may be out of date.
        (counting / "frozen").unlink(missing_ok=True)
        wait_for((counting / "frozen").exists)
        return int((counting / "frozen").read_text(encoding="ascii"))

    stock.stop()
    counting.mkdir()
    (counting / "__init__.py").write_text(_COUNTING, encoding="utf-8")
    stock.start()
    assert wait_for(lambda: frozen() > 100_000)
    uninstall(stock)
    assert frozen() == 0
    is_looking_ahead.unlink(missing_ok=True)
    install(stock, clone_source)
    # Look-ahead starts last, so the plugin is complete.
    assert wait_for(is_looking_ahead.exists)
    assert frozen() == 0
