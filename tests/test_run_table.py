"""Each run is started once, and claimed by the node that it was started for."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest

from invokeai_external.errors import NetworkError
from invokeai_external.invoke.look_ahead.run_table import Run, RunKey, RunTable
from invokeai_external.invoke.queue_items import ItemId, QueuedNode
from invokeai_external.progress import Failed, Progress, Received, Retrying, Sending
from invokeai_external.result import GenerationResult

RESULT = GenerationResult(
    provider="openai",
    model="x",
    images=(),
    notices=(),
    usage=None,
    cost_usd=None,
    request_ids=(),
    errors=(),
    elapsed_s=0.0,
)


@pytest.fixture
def table() -> RunTable:
    made = RunTable()
    made.is_watched = True
    return made


def key_of(item: int = 1, node: str = "node", user: str = "user", fingerprint: str = "name") -> RunKey:
    return RunKey(QueuedNode(item_of(item), node, user), fingerprint)


def item_of(number: int) -> ItemId:
    return ItemId(number, "batch")


def ahead(provider: str = "openai", calls: int = 1) -> Run:
    return Run(provider, calls, is_claimed=False)


def test_a_node_claims_a_run_by_an_equal_request(table: RunTable) -> None:
    run = ahead()
    assert table.start(key_of(), 1, lambda: run)
    for other in (key_of(item=2), key_of(node="other"), key_of(user="other"), key_of(fingerprint="edited")):
        assert table.claim(other) is None
    was_claimed = run.is_claimed
    assert table.claim(key_of()) is run
    assert (was_claimed, run.is_claimed) == (False, True)
    assert table.claim(key_of()) is None


def test_a_run_is_not_started_twice(table: RunTable) -> None:
    assert table.start(key_of(), 1, ahead)
    assert not table.start(key_of(), 1, ahead)
    table.claim(key_of())
    assert not table.start(key_of(), 1, ahead)


def test_a_run_that_its_node_started_is_not_started_ahead(table: RunTable) -> None:
    assert table.claim(key_of()) is None
    assert not table.start(key_of(), 1, ahead)
    assert table.start(key_of(), 2, ahead)


def test_a_run_that_was_withdrawn_is_started_by_its_node(table: RunTable) -> None:
    run = ahead()
    table.start(key_of(), 1, lambda: run)
    assert table.withdraw(run)
    assert table.calls("openai") == 0
    assert table.claim(key_of()) is None
    # Look-ahead does not start it again.
    assert table.start(key_of(), 1, ahead) is None


def test_a_run_that_its_node_has_claimed_is_not_withdrawn(table: RunTable) -> None:
    run = ahead()
    table.start(key_of(), 1, lambda: run)
    table.claim(key_of())
    assert not table.withdraw(run)


def test_equal_runs_of_one_node_are_each_started_and_claimed_once(table: RunTable) -> None:
    runs = [ahead(), ahead()]
    for number, run in enumerate(runs, start=1):
        assert table.start(key_of(), number, lambda run=run: run)  # type: ignore[misc]
    assert [table.claim(key_of()), table.claim(key_of())] == runs


def test_calls_count_while_in_flight_and_while_their_result_waits(table: RunTable) -> None:
    waits, sent, of_another = ahead(calls=2), Run("openai", 3, is_claimed=True), ahead("gemini", calls=5)
    table.start(key_of(item=1), 1, lambda: waits)
    table.start(key_of(item=2), 1, lambda: of_another)
    table.add(sent)
    waits.future.set_result(RESULT)
    assert (table.calls("openai"), table.calls("gemini")) == (5, 5)
    sent.future.set_result(RESULT)
    assert table.calls("openai") == 2
    table.claim(key_of(item=1))
    assert table.calls("openai") == 0


def test_the_unclaimed_runs_of_items_that_have_ended_are_returned(table: RunTable) -> None:
    runs = {item: ahead() for item in (1, 2)}
    for item, run in runs.items():
        table.start(key_of(item=item), 1, lambda run=run: run)  # type: ignore[misc]
    assert table.items() == {item_of(1), item_of(2)}
    assert list(table.remove_items([item_of(1)])) == [runs[1]]
    assert table.items() == {item_of(2)}
    assert table.calls("openai") == 1
    assert table.claim(key_of(item=1)) is None
    assert table.claim(key_of(item=2)) is runs[2]
    assert list(table.remove_items(table.items())) == []
    assert table.items() == set()


def test_without_look_ahead_no_run_is_recorded() -> None:
    table = RunTable()
    assert table.claim(key_of()) is None
    table.is_watched = True
    assert table.start(key_of(), 1, ahead)


def test_a_node_and_look_ahead_never_both_start_a_run(table: RunTable) -> None:
    started: list[str] = []

    def as_node(item: int) -> None:
        if table.claim(key_of(item=item)) is None:
            started.append(f"node {item}")

    def as_look_ahead(item: int) -> None:
        if table.start(key_of(item=item), 1, ahead):
            started.append(f"ahead {item}")

    for item in range(200):
        threads = [threading.Thread(target=work, args=(item,)) for work in (as_node, as_look_ahead)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(started) == 200


@pytest.mark.parametrize("is_watched", [False, True])
def test_a_completed_run_is_removed(table: RunTable, is_watched: bool) -> None:
    table.is_watched = is_watched
    over = Run("openai", 1, is_claimed=True)
    over.future.set_result(RESULT)
    table.add(over)
    gone = weakref.ref(over)
    del over
    table.add(Run("openai", 1, is_claimed=True))
    gc.collect()
    assert gone() is None


def test_a_completed_run_is_removed_with_the_last_item(table: RunTable) -> None:
    table.is_watched = True
    over = Run("openai", 1, is_claimed=True)
    table.add(over)
    over.future.set_result(RESULT)
    gone = weakref.ref(over)
    del over
    table.remove_items([item_of(1)])
    gc.collect()
    assert gone() is None


def test_an_abandoned_run_counts_until_it_is_over(table: RunTable) -> None:
    run = Run("openai", 2, is_claimed=True)
    table.add(run)
    run.is_claimed, run.is_abandoned = False, True
    assert table.calls("openai") == 2
    run.future.cancel()
    assert table.calls("openai") == 0


def after(*events: Progress) -> bool:
    run = ahead()
    for event in events:
        run.on_progress(event)
    return run.may_be_billed


def test_a_run_knows_whether_it_may_be_billed_without_a_response() -> None:
    assert not after()
    assert after(Sending(1, 2, 1))
    # Only a call that was certainly not billed is retried.
    assert not after(Sending(1, 2, 1), Retrying(1, 2, 3.0, NetworkError("lost")))
    assert not after(Sending(1, 2, 1), Failed(1, 2, NetworkError("refused")))
    assert after(Sending(1, 2, 1), Failed(1, 2, NetworkError("lost", may_be_billed=True)))


def test_a_run_knows_what_was_received_and_what_is_in_flight() -> None:
    run = ahead()
    run.on_progress(Sending(1, 1, 1))
    assert run.in_flight == {1}
    run.on_progress(Retrying(1, 1, 3.0, NetworkError("lost")))
    assert run.in_flight == set()
    run.on_progress(Sending(1, 1, 2))
    run.on_progress(Received(1, 1, ()))
    assert run.line.text() == "1 of 1 received"
    assert run.received == []
    assert run.in_flight == set()
