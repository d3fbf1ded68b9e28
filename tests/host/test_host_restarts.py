"""Invoke is stopped or killed during a request, and started again with other models: nothing hangs."""

from __future__ import annotations

import pytest

from invokeai_external.errors import CancelledError

from .conftest import NewInvoke
from .failures import message_of
from .graphs import workflow_graph
from .invoke import PROVIDERS, Invoke, wait_for
from .sandbox import Sandbox
from .test_host_models import offered, references

_MODEL = "openai/gpt-image-2.5-flare"
_OF_A_USER = """
models:
  gemini/gemini-{number}-image:
    name: Number {number}
    description: A model of the user's. Needs a key; every picture costs money.
  openai/gpt-image-2:
    description: Seen at start {number}. Needs a key; every picture costs money.
"""
"""A new model and a changed one for each start, so that the sync has to install and to correct."""


def outputs(invoke: Invoke) -> set[str]:
    folder = invoke.root / "outputs" / "images"
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def start(invoke: Invoke, number: int) -> None:
    """Start it with a different catalogue, and wait for the models."""
    (invoke.root / "invokeai_external.yaml").write_text(_OF_A_USER.format(number=number), encoding="utf-8")
    invoke.start()
    wait_for(lambda: f"gemini/gemini-{number}-image" in references(invoke.models()))
    invoke.settled_models()


@pytest.fixture(scope="module")
def restarted(new_invoke: NewInvoke) -> Invoke:
    invoke = new_invoke(keys=PROVIDERS)
    start(invoke, 100)
    return invoke


@pytest.mark.parametrize(("number", "how"), [(101, "stopped"), (102, "killed"), (103, "stopped")])
def test_a_start_after_an_interrupted_request(restarted: Invoke, sandbox: Sandbox, number: int, how: str) -> None:
    """Each start has keys, a new model and a changed one, which may crash the built-in."""
    restarted.run(workflow_graph(restarted.model(_MODEL)))
    before, pictures = outputs(restarted), restarted.gallery()
    sandbox.order("openai", "slow", seconds=90)
    item = restarted.enqueue(workflow_graph(restarted.model(_MODEL)))
    wait_for(lambda: len(sandbox.calls()) == 2)
    if how == "stopped":
        # The stock Invoke needs 4 s, and the plugin waits 5 s for images; it does not wait for the whole call.
        restarted.stop()
    else:
        restarted.kill()
    start(restarted, number)
    ended = restarted.item(item)
    # A killed item has no message; the next start cancels it.
    assert ended["status"] == ("failed" if how == "stopped" else "canceled")
    if how == "stopped":
        assert message_of(ended, CancelledError)
    assert restarted.get("/v1/queue/default/status")["queue"]["in_progress"] == 0
    assert (outputs(restarted), restarted.gallery()) == (before, pictures)
    found = references(restarted.models())
    assert set(found) == offered(*PROVIDERS) | {f"gemini/gemini-{each}-image" for each in range(100, number + 1)}
    assert len(found) == len(set(found))
    assert str(number) in restarted.model("openai/gpt-image-2")["description"]
    sandbox.clear()
    assert len(restarted.run(workflow_graph(restarted.model(_MODEL)))) == 1


def test_it_logged_no_error(restarted: Invoke) -> None:
    lines = [line for line in restarted.log() if line.level in ("ERROR", "CRITICAL")]
    # The run that Ctrl-C ended may say that it ended.
    assert [line.text for line in lines if "Traceback" in line.text] == []
