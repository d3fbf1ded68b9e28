"""Invoke stops or is killed with calls in flight: images are cached, and a second request is always reported."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from invokeai_external.errors import CancelledError

from .conftest import NewInvoke
from .failures import message_of
from .graphs import panel_graph
from .invoke import Invoke, Json, Picture, output_names, wait_for
from .sandbox import Sandbox
from .test_host_look_ahead import batch, calls_soon, prompts_of

MODEL = "openai/gpt-image-2.5-flare"


@pytest.fixture(scope="module")
def stopped(new_invoke: NewInvoke) -> Invoke:
    """A separate Invoke, which the tests here stop and start."""
    return started(new_invoke(keys=("openai",)))


def started(invoke: Invoke) -> Invoke:
    invoke.start_with_models()
    return invoke


def pause(invoke: Invoke) -> None:
    invoke.send("PUT", "/v1/queue/default/processor/pause")


def codes_of(picture: Picture) -> list[str]:
    return [notice["code"] for notice in picture.metadata["external"]["notices"]]


def images_of(invoke: Invoke, item: Json) -> list[Picture]:
    return [invoke.picture(name) for name in output_names(item)]


def recorded(invoke: Invoke) -> Any:
    path = invoke.root / "invokeai_external_queue.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def waiting(invoke: Invoke, numbers: list[int]) -> list[int]:
    """The recorded items, without the first: it is recorded only if look-ahead started it before its node did."""
    written = sorted(item["number"] for item in recorded(invoke)["items"])
    return written[1:] if written[:1] == numbers[:1] else written


def warnings_since(invoke: Invoke, before: int) -> str:
    return "\n".join(line.text for line in invoke.log()[before:] if line.level == "WARNING")


def test_images_received_while_invoke_stops_are_used_by_their_items(stopped: Invoke, sandbox: Sandbox) -> None:
    graph = panel_graph(stopped.model(MODEL))
    sandbox.order("openai", "slow", times=3, seconds=4)
    numbers = batch(stopped, graph, ["first", "second", "third"])
    calls_soon(sandbox, 3)
    assert waiting(stopped, numbers) == numbers[1:]
    stopped.stop()
    assert recorded(stopped) is None
    assert len(list((stopped.root / "invokeai_external_kept").iterdir())) == 3
    started(stopped)
    ended = [stopped.ended(number) for number in numbers]
    assert [item["status"] for item in ended] == ["failed", "completed", "completed"]
    assert message_of(ended[0], CancelledError)
    assert [prompts_of(stopped, item) for item in ended[1:]] == [["second"], ["third"]]
    # The item that was running has ended. The next equal request gets its image.
    stopped.send("PUT", "/v1/queue/default/retry_items_by_id", json=[numbers[0]])
    again = stopped.ended(max(stopped.get("/v1/queue/default/item_ids")["item_ids"]))
    [image] = images_of(stopped, again)
    assert image.metadata["positive_prompt"] == "first"
    assert codes_of(image)[0] == "kept_result"
    assert len(sandbox.calls()) == 3


def test_calls_not_answered_in_time_are_reported_and_wait_for_their_turn(stopped: Invoke, sandbox: Sandbox) -> None:
    graph = panel_graph(stopped.model(MODEL))
    sandbox.order("openai", "slow", times=3, seconds=60)
    numbers = batch(stopped, graph, ["first", "second", "third"])
    calls_soon(sandbox, 3)
    before = len(stopped.log())
    stopped.stop()
    assert "3 calls were" in warnings_since(stopped, before)
    assert waiting(stopped, numbers) == numbers[1:]
    sandbox.clear()
    sandbox.order("openai", "slow", times=2, seconds=2)
    started(stopped)
    assert ", ".join(map(str, numbers[1:])) in warnings_since(stopped, before)
    ended = [stopped.ended(number) for number in numbers]
    assert [item["status"] for item in ended] == ["failed", "completed", "completed"]
    for item in ended[1:]:
        [image] = images_of(stopped, item)
        assert codes_of(image)[0] == "may_be_billed_twice"
    assert len(sandbox.calls()) == 2
    # Each waited for its turn.
    starts = [call["at"] for call in sandbox.calls() if "at" in call]
    assert not starts or starts[1] - starts[0] >= 2
    wait_for(lambda: recorded(stopped)["items"] == [])


def test_after_a_kill_one_call_at_a_time_is_in_flight_until_one_has_succeeded(
    stopped: Invoke, sandbox: Sandbox
) -> None:
    graph = panel_graph(stopped.model(MODEL))
    sandbox.order("openai", "slow", times=3, seconds=60)
    numbers = batch(stopped, graph, ["first", "second", "third"])
    calls_soon(sandbox, 3)
    pause(stopped)
    numbers += batch(stopped, graph, ["fourth", "fifth", "sixth"])
    for _ in range(2):
        before = len(stopped.log())
        stopped.kill()
        sandbox.clear()
        sandbox.order("openai", "slow", times=9, seconds=60)
        started(stopped)
        assert "openai/gpt-image-2.5-flare" in warnings_since(stopped, before)
        # The items that are sent again, by number.
        assert re.search(r"the queue arrived: \d+(, \d+)*\.", warnings_since(stopped, before))
        calls_soon(sandbox, 1)
    stopped.kill()
    sandbox.clear()
    sandbox.order("openai", "slow", times=9, seconds=3)
    started(stopped)
    ended = [stopped.ended(number) for number in numbers]
    # Each start has cancelled the item that was running.
    assert [item["status"] for item in ended] == ["canceled"] * 3 + ["completed"] * 3
    assert [prompts_of(stopped, item) for item in ended[3:]] == [["fourth"], ["fifth"], ["sixth"]]
    assert len(sandbox.calls()) == 3
