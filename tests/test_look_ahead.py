"""Which requests of queued items are sent before their turn."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import cast

import anyio
import anyio.to_thread
import pytest
from pydantic import SecretStr

from invokeai_external.errors import (
    AuthenticationError,
    ContentBlockedError,
    InvalidRequestError,
    ProviderError,
    QuotaError,
)
from invokeai_external.invoke.gallery.result_cache import Destination
from invokeai_external.invoke.look_ahead.account_errors import HOLD_S, AccountErrors
from invokeai_external.invoke.look_ahead.queue_watcher import QueueWatcher
from invokeai_external.invoke.look_ahead.run_table import Run
from invokeai_external.invoke.look_ahead.send_early import GRACE_S, LookAhead
from invokeai_external.invoke.look_ahead.sent_record import FILE, SentItems
from invokeai_external.invoke.queue_items import ItemId, QueuedItem, QueuedNode
from invokeai_external.invoke.runtime import Runtime
from invokeai_external.invoke.waits import Waits
from invokeai_external.request import GenerationRequest
from invokeai_external.result import GenerationResult
from invokeai_external.root_folder import KEPT_FOLDER
from invokeai_external.service.service import Service
from invokeai_external.settings.settings import Credentials
from invokeai_external.settings.user_file_edit import set_setting

from .support.clock import ThreadClock
from .support.fake_invoke import FakeInvoke, FakeService, Report, request_of, returning

ONE, TWO, THREE = (ItemId(number, "batch") for number in (1, 2, 3))


async def never(_: Report) -> GenerationResult:
    await anyio.sleep_forever()
    raise AssertionError


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeInvoke:
    monkeypatch.setenv("INVOKEAI_EXTERNAL_SANDBOX", "1")
    (tmp_path / "invokeai_external.yaml").write_text("settings: {concurrency: 3}\n", encoding="utf-8")
    return FakeInvoke(tmp_path)


@pytest.fixture
def service() -> FakeService:
    made = FakeService()
    made.script = never
    return made


@pytest.fixture
def runtime(invoke: FakeInvoke, service: FakeService) -> Iterator[Runtime]:
    made = Runtime(invoke, make_service=lambda *_: cast(Service, service), waits=Waits(poll=0.001, stop=0.1, end=0.1))
    yield made
    made.close()


@pytest.fixture
def look_ahead(runtime: Runtime, invoke: FakeInvoke) -> Iterator[LookAhead]:
    made = LookAhead(runtime, invoke, grace_s=0)
    yield made
    made.close()


def started(runtime: Runtime) -> list[ItemId]:
    """The items with runs in progress."""
    return sorted(run.key.node.item for run in runtime.table.runs() if run.key)


def claimed(runtime: Runtime, item: ItemId, prompt: str = "a fox") -> Run:
    """The run that a node of an item gets at its turn."""
    return runtime.run(request_of(prompt), QueuedNode(item, "node 0", "user"), Destination("user", item=item))


def test_the_requests_of_queued_items_are_started(look_ahead: LookAhead, runtime: Runtime, invoke: FakeInvoke) -> None:
    invoke.enqueue(ONE, request_of("one"), status="in_progress")
    invoke.enqueue(TWO, request_of("two"), request_of("three"))
    assert look_ahead.look()
    # The first item is in progress since after look-ahead began, so all of its runs are known.
    assert started(runtime) == [ONE, TWO, TWO]


def test_an_empty_queue_needs_no_polling(look_ahead: LookAhead) -> None:
    assert not look_ahead.look()


def test_each_run_is_started_once(look_ahead: LookAhead, runtime: Runtime, invoke: FakeInvoke) -> None:
    invoke.enqueue(ONE, request_of("one"))
    for _ in range(3):
        look_ahead.look()
    assert started(runtime) == [ONE]
    assert invoke.read == [ONE]


def test_a_node_gets_the_run_that_was_started_before_its_turn(
    look_ahead: LookAhead, runtime: Runtime, invoke: FakeInvoke, service: FakeService
) -> None:
    service.script = returning("red")
    invoke.enqueue(ONE, request_of("one"))
    look_ahead.look()
    assert len(claimed(runtime, ONE, "one").future.result(10).images) == 1
    assert service.sent == ["one"]


def test_a_run_that_its_node_has_started_is_not_started_again(
    look_ahead: LookAhead, runtime: Runtime, invoke: FakeInvoke
) -> None:
    claimed(runtime, ONE, "one")
    invoke.enqueue(ONE, request_of("one"), status="in_progress")
    look_ahead.look()
    assert started(runtime) == [ONE]


def test_no_more_calls_are_in_flight_than_the_concurrency_allows(
    look_ahead: LookAhead, runtime: Runtime, invoke: FakeInvoke, service: FakeService
) -> None:
    service.scripts["first"] = returning("red")
    invoke.enqueue(ONE, request_of("first"), request_of("second"), request_of("third"), request_of("fourth"))
    look_ahead.look()
    table = runtime.table
    assert table.calls("openai") == 3
    # A result that waits for its turn counts, and its node makes room by claiming it.
    run = claimed(runtime, ONE, "first")
    run.future.result(10)
    assert table.calls("openai") == 2
    look_ahead.look()
    assert table.calls("openai") == 3
    assert invoke.read == [ONE]


def test_look_ahead_is_turned_on_and_off_while_it_runs(
    look_ahead: LookAhead, runtime: Runtime, invoke: FakeInvoke, service: FakeService
) -> None:
    set_setting(invoke.root, "look_ahead", False)
    invoke.enqueue(ONE, request_of("one"), status="in_progress")
    claimed(runtime, ONE, "one")
    invoke.enqueue(TWO, request_of("two"), request_of("three"))
    assert look_ahead.look()
    assert started(runtime) == [ONE]
    set_setting(invoke.root, "concurrency", 2)
    set_setting(invoke.root, "look_ahead", True)
    look_ahead.look()
    assert started(runtime) == [ONE, TWO]
    set_setting(invoke.root, "look_ahead", False)
    set_setting(invoke.root, "concurrency", 8)
    look_ahead.look()
    # What was sent stays, and its node gets it.
    assert started(runtime) == [ONE, TWO]
    claimed(runtime, TWO, "two")
    assert started(runtime) == [ONE, TWO]


def test_a_run_is_claimed_when_the_setting_for_previews_has_changed_meanwhile(
    look_ahead: LookAhead, runtime: Runtime, invoke: FakeInvoke, service: FakeService
) -> None:
    service.script = returning("red")
    invoke.enqueue(ONE, request_of("one"))
    look_ahead.look()
    run = runtime.run(replace(request_of("one"), previews=2), QueuedNode(ONE, "node 0", "user"), Destination("user"))
    assert run.future.result(10).images
    assert service.sent == ["one"]


def test_a_provider_may_have_its_own_concurrency(invoke: FakeInvoke, service: FakeService) -> None:
    (invoke.root / "invokeai_external.yaml").write_text(
        "settings: {concurrency: 3}\n"
        "providers: {acme: {adapter: openai_images, base_url: 'http://127.0.0.1:1', limits: {concurrency: 1}}}\n"
        "models: {acme/one: {sizing: {kind: fixed, sizes: [1024x1024]}}}\n"
    )
    runtime = Runtime(
        invoke, make_service=lambda *_: cast(Service, service), waits=Waits(poll=0.001, stop=0.1, end=0.1)
    )
    service.registry = runtime.registry()
    with closing(runtime), closing(LookAhead(runtime, invoke, grace_s=0)) as look_ahead:
        for number in range(1, 4):
            invoke.enqueue(ItemId(number, "acme"), request_of(str(number), model="acme/one"))
            invoke.enqueue(ItemId(number, "openai"), request_of(str(number)))
        look_ahead.look()
        assert [item.batch for item in started(runtime)] == ["acme", "openai", "openai", "openai"]


def test_a_request_with_more_calls_than_the_concurrency_is_sent_if_it_is_the_only_one(
    look_ahead: LookAhead, runtime: Runtime, invoke: FakeInvoke
) -> None:
    for item in (ONE, TWO):
        invoke.enqueue(item, GenerationRequest(model="gemini/gemini-nano-banana-2.1", prompt="foxes", n=10))
    look_ahead.look()
    assert runtime.table.calls("gemini") == 10
    assert started(runtime) == [ONE]


def test_a_full_provider_leaves_further_items_unread(
    look_ahead: LookAhead, runtime: Runtime, invoke: FakeInvoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "providers", lambda: {"openai"})
    for item in (ONE, TWO):
        invoke.enqueue(item, *(request_of(f"{item.number} {number}") for number in range(3)))
    look_ahead.look()
    assert invoke.read == [ONE]


def test_the_batch_in_progress_comes_first(look_ahead: LookAhead, runtime: Runtime, invoke: FakeInvoke) -> None:
    other = ItemId(2, "another batch")
    invoke.enqueue(ONE, status="in_progress")
    invoke.enqueue(other, *(request_of(f"other {number}") for number in range(3)))
    invoke.enqueue(THREE, *(request_of(f"three {number}") for number in range(3)))
    look_ahead.look()
    assert started(runtime) == [THREE] * 3


@pytest.fixture
def clock() -> ThreadClock:
    return ThreadClock()


@pytest.fixture
def patient(runtime: Runtime, invoke: FakeInvoke, clock: ThreadClock) -> Iterator[LookAhead]:
    """A look-ahead that waits a moment before it sends the second call of a batch."""
    made = LookAhead(runtime, invoke, clock=clock)
    yield made
    made.close()


def test_the_other_calls_of_a_batch_are_sent_a_moment_after_the_first(
    patient: LookAhead, runtime: Runtime, invoke: FakeInvoke, clock: ThreadClock
) -> None:
    for item in (ONE, TWO, THREE):
        invoke.enqueue(item, request_of(f"{item.number}"))
    for now in (0.0, GRACE_S - 0.01):
        clock.now = now
        patient.look()
        assert started(runtime) == [ONE]
        assert patient.wait_s == pytest.approx(GRACE_S - now)
    clock.now = GRACE_S
    patient.look()
    assert (started(runtime), patient.wait_s) == ([ONE, TWO, THREE], None)
    # The next batch begins with one call again.
    other = ItemId(4, "another batch")
    for item in (other, ItemId(5, "another batch")):
        invoke.enqueue(item, request_of(f"{item.number}"))
    invoke.queue[:3] = []
    patient.look()
    assert started(runtime) == [other]


def test_the_runs_of_one_item_have_the_same_grace(
    patient: LookAhead, runtime: Runtime, invoke: FakeInvoke, clock: ThreadClock
) -> None:
    invoke.enqueue(ONE, request_of("one"), request_of("two"), request_of("three"))
    patient.look()
    assert started(runtime) == [ONE]
    clock.now += GRACE_S
    patient.look()
    assert started(runtime) == [ONE] * 3


def test_a_call_that_a_node_has_sent_is_the_first_of_its_batch(
    patient: LookAhead, runtime: Runtime, invoke: FakeInvoke, clock: ThreadClock
) -> None:
    claimed(runtime, ONE, "one")
    invoke.enqueue(ONE, request_of("one"), status="in_progress")
    invoke.enqueue(TWO, request_of("two"))
    patient.look()
    assert started(runtime) == [ONE]
    clock.now += GRACE_S
    patient.look()
    assert started(runtime) == [ONE, TWO]


def test_a_batch_whose_calls_fail_at_once_sends_one_at_a_time(
    patient: LookAhead, runtime: Runtime, invoke: FakeInvoke, service: FakeService, clock: ThreadClock
) -> None:
    async def fail(_: Report) -> GenerationResult:
        raise ContentBlockedError("OpenAI refused the prompt.")

    service.script = fail
    for item in (ONE, TWO, THREE):
        invoke.enqueue(item, request_of(f"{item.number}"))
    for sent, item in enumerate((ONE, TWO), start=1):
        patient.look()
        run = claimed(runtime, item, f"{item.number}")
        assert isinstance(run.future.exception(10), ContentBlockedError)
        assert len(service.sent) == sent
        invoke.queue.pop(0)
        clock.now += GRACE_S
    service.script = never
    service.is_sent.clear()
    patient.look()
    clock.now += GRACE_S
    patient.look()
    assert service.is_sent.wait(10)
    assert service.sent == ["1", "2", "3"]


@pytest.mark.parametrize("error", [AuthenticationError("A refused key."), QuotaError("No credit.")], ids=repr)
def test_a_batch_of_an_account_that_is_refused_sends_one(
    patient: LookAhead,
    runtime: Runtime,
    invoke: FakeInvoke,
    service: FakeService,
    clock: ThreadClock,
    error: ProviderError,
) -> None:
    async def fail(_: Report) -> GenerationResult:
        raise error

    keys = Credentials(api_key=SecretStr("one"))
    runtime.account_errors = AccountErrors(invoke.queued_items, lambda _: keys, clock=clock)
    service.script = fail
    for item in (ONE, TWO, THREE):
        invoke.enqueue(item, request_of(f"{item.number}"))
    patient.look()
    with pytest.raises(type(error)) as first:
        runtime.follow(claimed(runtime, ONE, "1"), check=lambda: None, report=lambda *_: None)
    invoke.queue.pop(0)
    clock.now += GRACE_S
    patient.look()
    assert started(runtime) == []
    with pytest.raises(type(error)) as second:
        claimed(runtime, TWO, "2")
    assert (service.sent, str(second.value), second.value.never_sent) == (["1"], str(first.value), True)
    # Another key is tried at once, another batch and a retried item too, and the others after some seconds.
    used, keys = keys, Credentials(api_key=SecretStr("another"))
    assert runtime.account_errors.of(TWO, "openai") is None
    keys = used
    assert runtime.account_errors.of(THREE, "openai")
    assert runtime.account_errors.of(ItemId(THREE.number + 1, THREE.batch), "openai") is None
    service.script = never
    other = ItemId(9, "another batch")
    claimed(runtime, other, "another")
    invoke.queue.pop(0)
    clock.now += HOLD_S
    patient.look()
    assert started(runtime) == [THREE, other]


@pytest.mark.parametrize("error", [QuotaError("For some only.", status=403), AuthenticationError("No.", status=403)])
def test_what_a_key_may_not_do_does_not_hold_for_the_account(runtime: Runtime, error: ProviderError) -> None:
    runtime.account_errors.add(ONE, "openai", error)
    assert runtime.account_errors.of(TWO, "openai") is None


def test_a_queue_that_cannot_be_read_hides_no_error() -> None:
    def fail() -> list[QueuedItem]:
        raise OSError

    errors = AccountErrors(fail, lambda _: None)
    errors.add(ONE, "openai", QuotaError("No credit."))
    assert errors.of(TWO, "openai") is None


def test_a_run_in_flight_is_not_given_up_because_another_was_refused(
    look_ahead: LookAhead, runtime: Runtime, invoke: FakeInvoke, service: FakeService
) -> None:
    service.script = returning("red")
    invoke.enqueue(ONE, request_of("one"))
    look_ahead.look()
    runtime.account_errors.add(ONE, "openai", QuotaError("No credit."))
    assert len(claimed(runtime, ONE, "one").future.result(10).images) == 1


def test_a_batch_that_is_cancelled_at_once_leaves_one_call(
    patient: LookAhead, runtime: Runtime, invoke: FakeInvoke, service: FakeService, clock: ThreadClock
) -> None:
    for item in (ONE, TWO, THREE):
        invoke.enqueue(item, request_of(f"{item.number}"))
    patient.look()
    (run,) = runtime.table.runs()
    assert service.is_sent.wait(10)
    invoke.queue.clear()
    clock.now += GRACE_S
    patient.look()
    assert run.ended.wait(10)
    assert service.sent == ["1"]


@pytest.mark.parametrize("is_paused", [True, False])
def test_a_paused_queue_starts_nothing(
    look_ahead: LookAhead, runtime: Runtime, invoke: FakeInvoke, is_paused: bool
) -> None:
    invoke.is_paused = is_paused
    invoke.enqueue(ONE, request_of())
    look_ahead.look()
    assert started(runtime) == ([] if is_paused else [ONE])


def test_an_item_that_waits_for_a_workflow_is_not_started(
    look_ahead: LookAhead, runtime: Runtime, invoke: FakeInvoke
) -> None:
    invoke.enqueue(ONE, request_of(), status="waiting")
    look_ahead.look()
    assert started(runtime) == []


def test_an_item_in_progress_when_look_ahead_begins_is_not_started(runtime: Runtime, invoke: FakeInvoke) -> None:
    """Some of its nodes may have run already."""
    invoke.enqueue(ONE, request_of(), status="in_progress")
    look_ahead = LookAhead(runtime, invoke)
    look_ahead.look()
    assert started(runtime) == []


def test_a_stopped_look_ahead_starts_nothing(look_ahead: LookAhead, runtime: Runtime, invoke: FakeInvoke) -> None:
    invoke.enqueue(ONE, request_of())
    look_ahead.stop()
    look_ahead.look()
    assert started(runtime) == []


def test_an_item_that_cannot_be_read_waits_for_its_turn(
    look_ahead: LookAhead, runtime: Runtime, invoke: FakeInvoke, caplog: pytest.LogCaptureFixture
) -> None:
    invoke.enqueue(ONE, request_of("one"), InvalidRequestError("not readable"), request_of("never reached"))
    invoke.enqueue(TWO, request_of("two"))
    for _ in range(2):
        look_ahead.look()
    assert started(runtime) == [ONE, TWO]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_an_item_ends_at_a_request_of_an_unknown_model(
    look_ahead: LookAhead, runtime: Runtime, invoke: FakeInvoke, caplog: pytest.LogCaptureFixture
) -> None:
    """Its node reports the error, and the item fails there."""
    invoke.enqueue(ONE, GenerationRequest(model="no-such-model", prompt="a fox"), request_of("never reached"))
    look_ahead.look()
    assert (started(runtime), caplog.records) == ([], [])


def test_the_runs_of_an_item_that_is_gone_are_cancelled_and_their_images_delivered(
    look_ahead: LookAhead, runtime: Runtime, invoke: FakeInvoke, service: FakeService
) -> None:
    service.scripts["received"] = returning("red")
    invoke.enqueue(ONE, request_of("received"), request_of("in flight"))
    look_ahead.look()
    received, _ = unclaimed(runtime)
    assert received.ended.wait(10)
    invoke.queue.clear()
    assert not look_ahead.look()
    assert received.ended.is_set()
    assert invoke.delivered == ["red"]
    assert started(runtime) == []


def test_a_close_keeps_the_images_of_runs_that_wait_for_their_turn(
    look_ahead: LookAhead, runtime: Runtime, invoke: FakeInvoke, service: FakeService
) -> None:
    service.script = returning("red")
    invoke.enqueue(ONE, request_of())
    look_ahead.look()
    [run] = unclaimed(runtime)
    assert run.ended.wait(10)
    look_ahead.close()
    assert invoke.delivered == []
    assert len(list((invoke.root / KEPT_FOLDER).iterdir())) == 1
    assert not (invoke.root / FILE).exists()
    # From now on nodes start their runs themselves.
    assert not runtime.table.is_watched


def unclaimed(runtime: Runtime) -> list[Run]:
    """The runs that wait for their node."""
    return [run for item in runtime.table._items.values() for runs in item.unclaimed.values() for run in runs]


class TestAfterACrash:
    """An earlier Invoke was killed with a call of the first item in flight."""

    @pytest.fixture(autouse=True)
    def _crash(self, invoke: FakeInvoke) -> None:
        sent_items = SentItems(invoke.root)
        sent_items.open()
        sent_items.add(ONE, "openai", "gpt-image-2")

    def test_nothing_is_sent_ahead_until_a_request_has_succeeded(
        self, look_ahead: LookAhead, runtime: Runtime, invoke: FakeInvoke
    ) -> None:
        invoke.enqueue(TWO, request_of("two"))
        look_ahead.look()
        assert started(runtime) == []
        runtime.has_succeeded = True
        look_ahead.look()
        assert started(runtime) == [TWO]

    def test_an_unconfirmed_item_waits_for_its_turn(
        self, look_ahead: LookAhead, runtime: Runtime, invoke: FakeInvoke
    ) -> None:
        runtime.has_succeeded = True
        invoke.enqueue(ONE, request_of("one"))
        invoke.enqueue(TWO, request_of("two"))
        look_ahead.look()
        assert started(runtime) == [TWO]

    def test_an_unconfirmed_item_that_has_ended_is_forgotten(self, look_ahead: LookAhead, runtime: Runtime) -> None:
        look_ahead.look()
        assert runtime.sent_items.unconfirmed() == []


class FakeLookAhead:
    """Records what the watcher calls."""

    def __init__(self) -> None:
        self.looks = threading.Semaphore(0)
        self.error: Exception | None = None
        self.is_polled = False
        self.wait_s: float | None = None
        self.is_stopped = False
        self.is_closed = False

    def look(self) -> bool:
        self.looks.release()
        if self.error:
            raise self.error
        return self.is_polled

    def stop(self) -> None:
        self.is_stopped = True

    def close(self) -> None:
        self.is_closed = True


MakeWatcher = Callable[..., QueueWatcher]


@pytest.fixture
def fake() -> FakeLookAhead:
    return FakeLookAhead()


@pytest.fixture
def make_watcher(fake: FakeLookAhead) -> Iterator[MakeWatcher]:
    made: list[QueueWatcher] = []

    def make(
        deliver_expired: Callable[[], None] = lambda: None, clock: Callable[[], float] = lambda: 0.0
    ) -> QueueWatcher:
        made.append(QueueWatcher(cast(LookAhead, fake), deliver_expired, poll_s=0.001, clock=clock))
        return made[-1]

    yield make
    for watcher in made:
        watcher.close()


def test_the_watcher_looks_once_and_again_when_the_queue_changes(
    make_watcher: MakeWatcher, fake: FakeLookAhead
) -> None:
    watcher = make_watcher()
    assert fake.looks.acquire(timeout=10)
    watcher.wake()
    assert fake.looks.acquire(timeout=10)


def test_the_watcher_looks_again_when_look_ahead_wants_it(make_watcher: MakeWatcher, fake: FakeLookAhead) -> None:
    fake.wait_s = 0.001
    make_watcher()
    for _ in range(3):
        assert fake.looks.acquire(timeout=10)


@pytest.mark.parametrize("error", [None, OSError("the database is locked")])
def test_the_watcher_polls_while_the_queue_may_change_and_after_an_error(
    make_watcher: MakeWatcher, fake: FakeLookAhead, error: Exception | None
) -> None:
    fake.is_polled, fake.error = True, error
    make_watcher()
    for _ in range(2):
        assert fake.looks.acquire(timeout=10)


def test_the_watcher_delivers_expired_results_about_once_an_hour(
    make_watcher: MakeWatcher, fake: FakeLookAhead
) -> None:
    times = iter([0.0, 10.0, 3600.0, 3600.0])
    is_delivered = threading.Event()
    watcher = make_watcher(is_delivered.set, clock=lambda: next(times, 3600.0))
    assert fake.looks.acquire(timeout=10)
    watcher.wake()
    assert is_delivered.wait(10)


def test_a_closed_watcher_looks_no_more(make_watcher: MakeWatcher, fake: FakeLookAhead) -> None:
    watcher = make_watcher()
    assert fake.looks.acquire(timeout=10)
    watcher.close()
    assert (fake.is_stopped, fake.is_closed) == (True, True)
    watcher.wake()
    assert not watcher._thread.is_alive()
