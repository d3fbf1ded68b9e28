"""The books on runs: everything that is asked for is started once, and fetched by who asked for it."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest

from invokeai_external.errors import NetworkError
from invokeai_external.invoke.look_ahead.runs import Asked, Ledger, Place, Run
from invokeai_external.result import Failed, GenerationResult, Progress, Received, Retrying, Sending

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
def ledger() -> Ledger:
    made = Ledger()
    made.is_watched = True
    return made


def asked(item: int = 1, node: str = "node", user: str = "user", name: str = "name") -> Asked:
    return Asked(Place(item, node, user), name)


def ahead(provider: str = "openai", calls: int = 1) -> Run:
    return Run(provider, calls, is_fetched=False)


def test_a_run_is_fetched_by_who_asks_for_the_same(ledger: Ledger) -> None:
    run = ahead()
    assert ledger.start(asked(), 1, lambda: run)
    for other in (asked(item=2), asked(node="other"), asked(user="other"), asked(name="edited")):
        assert ledger.fetch(other) is None
    was_fetched = run.is_fetched
    assert ledger.fetch(asked()) is run
    assert (was_fetched, run.is_fetched) == (False, True)
    assert ledger.fetch(asked()) is None


def test_what_was_started_is_not_started_again(ledger: Ledger) -> None:
    assert ledger.start(asked(), 1, ahead)
    assert not ledger.start(asked(), 1, ahead)
    ledger.fetch(asked())
    assert not ledger.start(asked(), 1, ahead)


def test_what_its_node_has_started_is_not_started_ahead(ledger: Ledger) -> None:
    assert ledger.fetch(asked()) is None
    assert not ledger.start(asked(), 1, ahead)
    assert ledger.start(asked(), 2, ahead)


def test_equal_runs_of_one_node_are_each_started_and_fetched_once(ledger: Ledger) -> None:
    runs = [ahead(), ahead()]
    for number, run in enumerate(runs, start=1):
        assert ledger.start(asked(), number, lambda run=run: run)  # type: ignore[misc]
    assert [ledger.fetch(asked()), ledger.fetch(asked())] == runs


def test_calls_count_while_they_are_out_and_while_their_result_waits(ledger: Ledger) -> None:
    waits, is_out, of_another = ahead(calls=2), Run("openai", 3, is_fetched=True), ahead("gemini", calls=5)
    ledger.start(asked(item=1), 1, lambda: waits)
    ledger.start(asked(item=2), 1, lambda: of_another)
    ledger.add(is_out)
    waits.future.set_result(RESULT)
    assert (ledger.calls("openai"), ledger.calls("gemini")) == (5, 5)
    is_out.future.set_result(RESULT)
    assert ledger.calls("openai") == 2
    ledger.fetch(asked(item=1))
    assert ledger.calls("openai") == 0


def test_runs_of_items_that_have_ended_are_left(ledger: Ledger) -> None:
    runs = {item: ahead() for item in (1, 2)}
    for item, run in runs.items():
        ledger.start(asked(item=item), 1, lambda run=run: run)  # type: ignore[misc]
    assert ledger.items() == {1, 2}
    assert list(ledger.forget([1])) == [runs[1]]
    assert ledger.items() == {2}
    assert ledger.calls("openai") == 1
    assert ledger.fetch(asked(item=1)) is None
    assert ledger.fetch(asked(item=2)) is runs[2]
    assert list(ledger.forget(ledger.items())) == []
    assert ledger.items() == set()


def test_without_a_watcher_no_books_are_kept() -> None:
    ledger = Ledger()
    assert ledger.fetch(asked()) is None
    ledger.is_watched = True
    assert ledger.start(asked(), 1, ahead)


def test_a_node_and_a_look_ahead_never_start_the_same_twice(ledger: Ledger) -> None:
    started: list[str] = []

    def as_node(item: int) -> None:
        if ledger.fetch(asked(item=item)) is None:
            started.append(f"node {item}")

    def as_look_ahead(item: int) -> None:
        if ledger.start(asked(item=item), 1, ahead):
            started.append(f"ahead {item}")

    for item in range(200):
        threads = [threading.Thread(target=work, args=(item,)) for work in (as_node, as_look_ahead)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(started) == 200


@pytest.mark.parametrize("is_watched", [False, True])
def test_what_is_over_is_let_go(ledger: Ledger, is_watched: bool) -> None:
    ledger.is_watched = is_watched
    over = Run("openai", 1, is_fetched=True)
    over.future.set_result(RESULT)
    ledger.add(over)
    gone = weakref.ref(over)
    del over
    ledger.add(Run("openai", 1, is_fetched=True))
    gc.collect()
    assert gone() is None


def test_the_end_of_the_last_item_lets_its_run_go(ledger: Ledger) -> None:
    ledger.is_watched = True
    over = Run("openai", 1, is_fetched=True)
    ledger.add(over)
    over.future.set_result(RESULT)
    gone = weakref.ref(over)
    del over
    ledger.forget([1])
    gc.collect()
    assert gone() is None


def test_a_run_that_its_node_let_go_counts_until_it_is_over(ledger: Ledger) -> None:
    run = Run("openai", 2, is_fetched=True)
    ledger.add(run)
    run.is_fetched, run.is_left = False, True
    assert ledger.calls("openai") == 2
    run.future.cancel()
    assert ledger.calls("openai") == 0


@pytest.mark.parametrize("is_doubtful", [True, False])
def after(*events: Progress) -> bool:
    run = ahead()
    for event in events:
        run.on_progress(event)
    return run.may_be_billed


def test_a_run_knows_whether_it_may_be_billed_without_an_answer() -> None:
    assert not after()
    assert after(Sending(1, 2, 1))
    # Only what was surely not billed is sent again.
    assert not after(Sending(1, 2, 1), Retrying(1, 2, 3.0, NetworkError("lost")))
    assert not after(Sending(1, 2, 1), Failed(1, 2, NetworkError("refused")))
    assert after(Sending(1, 2, 1), Failed(1, 2, NetworkError("lost", may_be_billed=True)))


def test_a_run_knows_what_has_arrived_and_what_is_out() -> None:
    run = ahead()
    run.on_progress(Sending(1, 1, 1))
    assert run.under_way == {1}
    run.on_progress(Retrying(1, 1, 3.0, NetworkError("lost")))
    assert run.under_way == set()
    run.on_progress(Sending(1, 1, 2))
    run.on_progress(Received(1, 1, ()))
    assert run.line.text() == "1 of 1 received"
    assert run.arrived == []
    assert run.under_way == set()
