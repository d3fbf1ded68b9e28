"""Limits on what is spent, in a running Invoke: what does not fit is not sent, and runs once there is money again."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from typing import Any

import pytest

from invokeai_external.errors import BudgetExceededError
from invokeai_external.root_folder import SPENDING_FILE, USER_FILE

from .conftest import NewInvoke
from .failures import message_of
from .graphs import panel_graph
from .invoke import Invoke, Json, output_names, wait_for
from .sandbox import Sandbox
from .test_host_look_ahead import batch
from .test_host_money_page import FROM_PAGE, LIMITS

GPT = "openai/gpt-image-2.5-flare"
SETTINGS = f"""
models: {{{GPT}: {{prices: {{per_image: 0.01}}}}}}
budgets: {{total: {{day_usd: 0.03}}}}
"""


@pytest.fixture(scope="module")
def limited(new_invoke: NewInvoke) -> Invoke:
    """An Invoke with a model whose price is exact, and with money for three of its images."""
    invoke = new_invoke(keys=("openai",))
    (invoke.root / USER_FILE).write_text(SETTINGS, encoding="utf-8")
    invoke.start_with_models()
    return invoke


def rows(invoke: Invoke, columns: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(invoke.root / SPENDING_FILE)) as db:
        return db.execute(f"SELECT {columns} FROM calls ORDER BY id").fetchall()


def test_what_a_limit_does_not_allow_is_not_sent_and_runs_when_it_is_raised(limited: Invoke, sandbox: Sandbox) -> None:
    """Eight items and money for three; most are started before their turn."""
    graph = panel_graph(limited.model(GPT), quality="low", use_cache=False)
    items = [limited.ended(number) for number in batch(limited, graph, [f"image {i}" for i in range(8)])]
    assert Counter(item["status"] for item in items) == {"completed": 3, "failed": 5}
    assert len(sandbox.calls()) == 3
    failed = [item for item in items if item["status"] == "failed"]
    for item in failed:
        message = message_of(item, BudgetExceededError)
        assert '"Everybody together, a day"' in message
        assert len(message) <= 200
    # A refusal counts once, however often a run looked for room.
    assert Counter(rows(limited, "state, error")) == {("charged", None): 3, ("not_charged", "budget_exceeded"): 5}
    assert set(rows(limited, "basis, at_most")) == {("exact", 10_000_000)}
    # As the page does it.
    raised = {"name": "total.day", "usd": 1}
    limited.request("POST", LIMITS, json=raised, headers=FROM_PAGE).raise_for_status()
    numbers = [item["item_id"] for item in failed]
    again: Json = limited.send("PUT", "/v1/queue/default/retry_items_by_id", json=numbers)
    assert len(again["retried_item_ids"]) == 5
    newest = max(item["item_id"] for item in limited.get("/v1/queue/default/list_all"))
    made = [limited.ended(number) for number in range(newest - 4, newest + 1)]
    assert [item["status"] for item in made] == ["completed"] * 5
    assert sum(len(list(output_names(item))) for item in made) == 5
    assert len(sandbox.calls()) == 8
    assert Counter(rows(limited, "state, cost")) == {("charged", 10_000_000): 8, ("not_charged", None): 5}


def test_the_record_says_who_paid_and_for_which_board(limited: Invoke, sandbox: Sandbox) -> None:
    board = limited.send("POST", "/v1/boards/", params={"board_name": "Foxes"})["board_id"]
    graph = panel_graph(limited.model(GPT), quality="low", use_cache=False, board={"board_id": board})
    [picture] = limited.run(graph)
    assert rows(limited, "host, user, board_id, board, provider, state")[-1] == (
        *("invoke", None, board, "Foxes"),
        *("openai", "charged"),
    )
    [(cost,)] = rows(limited, "cost")[-1:]
    assert cost == round(picture.metadata["external"]["cost_usd"] * 1e9)
    in_log = f"{GPT}: ${cost / 1e9:.4f}, today $"
    assert wait_for(lambda: [line.text for line in limited.log() if in_log in line.text and " of $1.00" in line.text])


def test_a_cancelled_item_that_was_not_sent_leaves_its_money(limited: Invoke, sandbox: Sandbox) -> None:
    sandbox.order("openai", "rate_limited", seconds=60)
    number = limited.enqueue(panel_graph(limited.model(GPT), quality="low", use_cache=False, prompt="later"))
    wait_for(sandbox.calls)
    limited.cancel(number)
    assert limited.ended(number)["status"] == "canceled"
    # It waits to be sent again, so that nothing of it is in flight.
    wait_for(lambda: rows(limited, "state")[-1] == ("not_charged",), 5)
