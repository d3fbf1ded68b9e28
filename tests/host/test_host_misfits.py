"""An Invoke that lacks something that the plugin needs, or has the plugin twice: one log line, and Invoke goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import packing
from .conftest import NewInvoke
from .graphs import QUICK, workflow_graph
from .invoke import NODE_TYPES, PROVIDERS, Invoke, LogLine, wait_for
from .packing import PACK
from .sandbox import Sandbox

_MODEL = "openai/gpt-image-2.5-flare"

# What an older Invoke lacks or a newer one may move: where it is, and its name.
LACKING = [
    ("invokeai.backend.model_manager.configs.external_api", "ExternalApiModelConfig"),
    ("invokeai.app.invocations.baseinvocation.InvocationRegistry", "unregister_pack"),
    ("invokeai.app.api.routers.app_info", "_apply_external_provider_update"),
    ("invokeai.app.services.session_processor.session_processor_default.DefaultSessionRunner", "_on_node_error"),
    ("fastapi_events.handlers.local.local_handler", "_registry"),
    ("invokeai.app.invocations.fields", "WithBoard"),
]

_TAKE_AWAY = """
import pkgutil

_where, _name = pkgutil.resolve_name("{where}"), "{name}"
_held = vars(_where)[_name]
delattr(_where, _name)
try:
{pack}
finally:
    setattr(_where, _name, _held)
"""
"""Goes around the plugin's own first file: Invoke lacks something while it loads."""


_FOREIGN = """
from invokeai.app.invocations.baseinvocation import BaseInvocation, InvocationContext, invocation
from invokeai.app.invocations.primitives import IntegerOutput

@invocation("openai_image_generation", title="Another", version="1.0.0")
class Another(BaseInvocation):
    def invoke(self, context: InvocationContext) -> IntegerOutput:
        return IntegerOutput(value=1)
"""
"""Another node pack that replaces one of the core's nodes too."""


def take_away(folder: Path, where: str, name: str, original: str) -> None:
    pack = "\n".join(f"    {line}" for line in original.splitlines())
    (folder / "__init__.py").write_text(_TAKE_AWAY.format(where=where, name=name, pack=pack), encoding="utf-8")


def packs_of_the_nodes(invoke: Invoke) -> set[str]:
    return {invoke.schema(node_type)["node_pack"] for node_type in NODE_TYPES.values()}


def lines_on_it(invoke: Invoke) -> list[LogLine]:
    """The lines of the log which say that the plugin is off."""
    return [line for line in invoke.log() if " is off" in line.text]


@pytest.fixture(scope="module")
def original() -> str:
    """The plugin's own first file."""
    return (packing.REPOSITORY / "__init__.py").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def lacking(new_invoke: NewInvoke, original: str) -> Invoke:
    """An Invoke that lacks the first of these things when it starts."""
    invoke = new_invoke()
    take_away(invoke.root / "nodes" / PACK, *LACKING[0], original)
    invoke.start()
    return invoke


class TestLacking:
    """One root whose Invoke lacks one thing after the other; its tests build on each other, from top to bottom."""

    @pytest.mark.parametrize(("where", "name"), LACKING, ids=[name for _, name in LACKING])
    def test_a_missing_part_is_one_log_line_and_nothing_of_ours_stays(
        self, lacking: Invoke, original: str, where: str, name: str
    ) -> None:
        if (where, name) != LACKING[0]:
            # Packs are loaded in the same way at a start and later.
            take_away(lacking.root / "nodes" / PACK, where, name, original)
            lacking.send("POST", "/v2/custom_nodes/reload")
        lines = lines_on_it(lacking)
        assert len(lines) == LACKING.index((where, name)) + 1
        assert name in lines[-1].text
        assert "6.13" in lines[-1].text
        assert "\n" not in lines[-1].text
        assert lines[-1].level == "ERROR"
        assert "Traceback" not in lacking.log_text()
        self.assert_all_is_invokes_own(lacking)

    def assert_all_is_invokes_own(self, invoke: Invoke) -> None:
        assert packs_of_the_nodes(invoke) == {"invokeai"}
        for provider in PROVIDERS:
            assert {entry["description"] for entry in invoke.starter_models(provider)}
        assert "json" not in invoke.request("GET", "/v1/external/status").headers["content-type"]
        assert invoke.ended(invoke.enqueue(QUICK))["status"] == "completed"
        # A leftover wrapper would call something that is gone.
        invoke.set_key("openai")
        invoke.remove_key("openai")
        assert [model["name"] for model in invoke.settled_models()] == []

    def test_once_it_is_there_the_plugin_works(self, lacking: Invoke, original: str, sandbox: Sandbox) -> None:
        (lacking.root / "nodes" / PACK / "__init__.py").write_text(original, encoding="utf-8")
        lacking.send("POST", "/v2/custom_nodes/reload")
        assert packs_of_the_nodes(lacking) == {PACK}
        lacking.set_key("openai")
        wait_for(lacking.models)
        lacking.settled_models()
        assert len(lacking.run(workflow_graph(lacking.model(_MODEL)))) == 1


@pytest.fixture(scope="module")
def twice(new_invoke: NewInvoke) -> Invoke:
    """An Invoke with two copies of the plugin; the file system decides which is loaded first."""
    invoke = new_invoke(keys=("openai",))
    packing.copy_to(invoke.root / "nodes").rename(invoke.root / "nodes" / "another_copy")
    packing.copy_to(invoke.root / "nodes")
    invoke.start_with_models()
    return invoke


class TestTwice:
    """One root with two copies; its tests build on each other, from top to bottom."""

    def test_the_second_copy_is_one_log_line_and_the_first_works(self, twice: Invoke, sandbox: Sandbox) -> None:
        [first] = packs_of_the_nodes(twice)
        [second] = {PACK, "another_copy"} - {first}
        [line] = lines_on_it(twice)
        assert line.text.startswith(second)
        assert all(name in line.text for name in ("openai_image_generation", first))
        assert "Traceback" not in twice.log_text()
        assert len(twice.run(workflow_graph(twice.model(_MODEL)))) == 1
        assert len(sandbox.calls()) == 1

    def test_the_first_copy_works_without_the_second(self, twice: Invoke, sandbox: Sandbox) -> None:
        [first] = packs_of_the_nodes(twice)
        [second] = {PACK, "another_copy"} - {first}
        assert twice.send("DELETE", f"/v2/custom_nodes/{second}")["success"]
        assert packs_of_the_nodes(twice) == {first}
        assert twice.get("/v1/external/status")["providers"]
        assert len(twice.run(workflow_graph(twice.model(_MODEL)))) == 1

    def test_without_both_copies_the_core_s_nodes_are_back(self, twice: Invoke) -> None:
        [first] = packs_of_the_nodes(twice)
        assert twice.send("DELETE", f"/v2/custom_nodes/{first}")["success"]
        assert packs_of_the_nodes(twice) == {"invokeai"}

    def test_next_to_another_plugin_for_the_same_node_it_stays_off_and_names_it(self, twice: Invoke) -> None:
        foreign = twice.root / "nodes" / "somebodys_plugin"
        foreign.mkdir()
        (foreign / "__init__.py").write_text(_FOREIGN, encoding="utf-8")
        twice.send("POST", "/v2/custom_nodes/reload")
        packing.copy_to(twice.root / "nodes")
        twice.send("POST", "/v2/custom_nodes/reload")
        line = lines_on_it(twice)[-1]
        assert line.text.startswith(PACK)
        assert all(name in line.text for name in ("openai_image_generation", "somebodys_plugin"))
        assert packs_of_the_nodes(twice) == {"invokeai", "somebodys_plugin"}
