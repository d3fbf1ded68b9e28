"""Who gets the images of a run, however it ends: its node, the result cache, or the gallery."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import anyio
import anyio.to_thread
import pytest
from pydantic import SecretStr

from invokeai_external.errors import (
    CancelledError,
    NetworkError,
    NotConfiguredError,
    NotSavedError,
    Remedy,
    RequestError,
    ServiceStateError,
)
from invokeai_external.invoke.gallery.result_cache import MAX_AGE_S, Destination, ResultCache
from invokeai_external.invoke.look_ahead.run_table import Run
from invokeai_external.invoke.look_ahead.sent_record import SentItems
from invokeai_external.invoke.queue_items import ItemId, QueuedItem, QueuedNode
from invokeai_external.invoke.runtime import Runtime
from invokeai_external.invoke.waits import Waits
from invokeai_external.progress import Failed, Preview, Received, Retrying
from invokeai_external.result import GenerationResult
from invokeai_external.root_folder import KEPT_FOLDER, RESCUED_FOLDER
from invokeai_external.service.service import Service
from invokeai_external.settings.settings import Credentials, Settings
from invokeai_external.settings.user_file_edit import set_setting

from .support.fake_invoke import FakeInvoke, FakeService, Report, Script, image, request_of, result_of, returning
from .support.openrouter import OpenRouterServer

ITEM = ItemId(1, "batch")
NODE = QueuedNode(ITEM, "node", "user")
DESTINATION = Destination("user", item=ITEM)


class CanceledException(Exception):
    """Stands for Invoke's exception."""


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeInvoke:
    monkeypatch.setenv("INVOKEAI_EXTERNAL_SANDBOX", "0")
    return FakeInvoke(tmp_path)


@pytest.fixture
def service() -> FakeService:
    return FakeService()


MakeRuntime = Callable[..., Runtime]


@pytest.fixture
def make_runtime(invoke: FakeInvoke, service: FakeService) -> Iterator[MakeRuntime]:
    made: list[Runtime] = []

    def make(*, sleep: Callable[[float], None] = lambda _: None, **waits: float) -> Runtime:
        runtime = Runtime(
            invoke,
            make_service=lambda *_: cast(Service, service),
            waits=Waits(**{"poll": 0.001, "end": 0.1, **waits}),
            sleep=sleep,
        )
        made.append(runtime)
        return runtime

    yield make
    for runtime in made:
        # A close waits for calls in flight.
        for run in runtime.table.runs():
            run.future.cancel()
        runtime.close()


@pytest.fixture
def runtime(make_runtime: MakeRuntime) -> Runtime:
    return make_runtime()


def started(runtime: Runtime, service: FakeService, n: int = 1) -> Run:
    """A run that its node waits for, with its calls in flight."""
    run = runtime.run(request_of(n=n), NODE, DESTINATION)
    assert service.is_sent.wait(10)
    return run


def started_ahead(runtime: Runtime, service: FakeService) -> Run:
    """A run that was started before its turn, with its calls in flight."""
    request = request_of()
    runtime.sent_items.open()
    run = runtime.run_ahead(request, runtime.key_of(request, NODE), DESTINATION)
    assert service.is_sent.wait(10)
    return run


def test_a_run_says_its_cost_in_the_log_and_one_of_the_sandbox_does_not(
    runtime: Runtime, service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "InvokeAI")
    service.script = returning("red")
    for service.bills in (False, True):
        follow(runtime, started(runtime, service))
        for thread in threading.enumerate():
            if "cost of a run" in thread.name:
                thread.join()
        assert [line for line in caplog.messages if "cost" in line] == (
            ["invokeai_external: openai/gpt-image-2: cost unknown"] if service.bills else []
        )


def follow(runtime: Runtime, run: Run, *, is_canceled: bool = False) -> GenerationResult:
    def check() -> None:
        if is_canceled:
            raise CanceledException

    return runtime.follow(run, check=check, report=lambda *_: None)


def cached(invoke: FakeInvoke) -> list[Path]:
    return list((invoke.root / KEPT_FOLDER).glob("*"))


def files(invoke: FakeInvoke) -> list[Path]:
    return list((invoke.root / RESCUED_FOLDER).iterdir())


async def never(_: Report) -> GenerationResult:
    await anyio.sleep_forever()
    raise AssertionError


def partial(*colours: str, then: Callable[[], Awaitable[None]] = anyio.sleep_forever) -> Script:
    """Some of the images arrive, and then something else happens."""

    async def script(report: Report) -> GenerationResult:
        for call, colour in enumerate(colours, start=1):
            report(Received(call, 2, (image(colour),)))
        await then()
        raise AssertionError

    return script


async def fail() -> None:
    raise ZeroDivisionError


def gated(gate: threading.Event) -> Script:
    """An image arrives when the gate is open."""

    async def script(report: Report) -> GenerationResult:
        await anyio.to_thread.run_sync(gate.wait)
        return await returning("red")(report)

    return script


def test_a_node_gets_its_result(runtime: Runtime, service: FakeService, invoke: FakeInvoke) -> None:
    service.script = returning("red")
    run = runtime.run(request_of(), NODE, DESTINATION)
    with runtime.handing_over(run) as handover:
        assert [image.metadata["colour"] for image in follow(runtime, run).images] == ["red"]
        handover.is_done = True
    assert (invoke.delivered, cached(invoke)) == ([], [])
    assert runtime.has_succeeded


def test_the_images_received_by_a_cancelled_run_go_into_the_gallery(
    runtime: Runtime, service: FakeService, invoke: FakeInvoke
) -> None:
    service.script = partial("red")
    run = started(runtime, service, n=2)
    with pytest.raises(CanceledException):
        follow(runtime, run, is_canceled=True)
    # It waits for images that are being written.
    runtime.close()
    assert (invoke.delivered, cached(invoke)) == (["red"], [])


def test_an_image_received_after_its_node_has_gone_goes_into_the_gallery(
    make_runtime: MakeRuntime, service: FakeService, invoke: FakeInvoke
) -> None:
    """A large image may still be decoded, or composited into another one, when its node stops waiting for it."""
    runtime = make_runtime(end=0)
    gate = threading.Event()

    async def script(report: Report) -> GenerationResult:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(gate.wait)
            report(Received(1, 1, (image("red"),)))
        await anyio.sleep_forever()
        raise AssertionError

    service.script = script
    run = started(runtime, service)
    with pytest.raises(CanceledException):
        follow(runtime, run, is_canceled=True)
    assert invoke.delivered == []
    gate.set()
    runtime.close()
    assert (invoke.delivered, cached(invoke)) == (["red"], [])


def test_the_images_received_before_an_error_go_into_the_gallery(
    runtime: Runtime, service: FakeService, invoke: FakeInvoke
) -> None:
    service.script = partial("red", then=fail)
    with pytest.raises(ZeroDivisionError):
        follow(runtime, started(runtime, service, n=2))
    assert invoke.delivered == ["red"]


@pytest.mark.slow
def test_the_images_received_before_the_plugin_is_removed_go_into_the_gallery(
    make_runtime: MakeRuntime, service: FakeService, invoke: FakeInvoke
) -> None:
    runtime = make_runtime(stop=0.0)
    service.script = partial("red")
    run = started(runtime, service, n=2)
    runtime.close()
    with pytest.raises(CancelledError):
        follow(runtime, run)
    assert (invoke.delivered, service.is_closed) == (["red"], True)


@pytest.mark.parametrize("is_ahead", [False, True])
def test_a_call_in_flight_has_some_seconds_to_arrive_when_the_plugin_is_removed(
    make_runtime: MakeRuntime, service: FakeService, invoke: FakeInvoke, is_ahead: bool
) -> None:
    runtime = make_runtime(stop=30.0)
    gate = threading.Event()
    service.script = gated(gate)
    run = started_ahead(runtime, service) if is_ahead else started(runtime, service)
    closing = threading.Thread(target=runtime.close)
    closing.start()
    gate.set()
    closing.join(20)
    assert not closing.is_alive()
    assert len(cached(invoke)) == 1
    if not is_ahead:
        assert [image.metadata["colour"] for image in follow(runtime, run).images] == ["red"]


def test_nothing_starts_while_the_removal_of_the_plugin_waits(make_runtime: MakeRuntime, service: FakeService) -> None:
    refused: list[bool] = []

    def start_another(_: float) -> None:
        with pytest.raises(ServiceStateError):
            closing.run(request_of("another"), NODE, DESTINATION)
        refused.append(True)

    closing = make_runtime(sleep=start_another)
    service.script = returning("red")
    run = started(closing, service)
    assert run.ended.wait(10)
    # Its node has not fetched the image yet.
    closing.close()
    assert refused
    assert len(service.sent) == 1


def test_the_removal_of_the_plugin_sends_nothing_more_and_waits_for_the_item_in_progress(
    make_runtime: MakeRuntime, service: FakeService, invoke: FakeInvoke
) -> None:
    """Look-ahead ends before the runtime does, and waits for calls in flight, too."""
    gate, begun = threading.Event(), threading.Event()

    def end_item(_: float) -> None:
        invoke.queue.clear()

    runtime = make_runtime(stop=30.0, end=30.0, sleep=end_item)
    invoke.queue = [QueuedItem(ITEM, "in_progress")]
    service.script = gated(gate)
    run = started(runtime, service)

    def second_node() -> None:
        with runtime.handing_over(run) as handover:
            follow(runtime, run)
            handover.is_done = True
        with pytest.raises(ServiceStateError):
            runtime.run(request_of("another"), NODE, DESTINATION)
        begun.set()

    node = threading.Thread(target=second_node)
    node.start()
    runtime.refuse()
    gate.set()
    runtime.stop_ends()
    assert begun.wait(10)
    node.join(10)
    assert len(service.sent) == 1


def test_an_item_whose_run_is_cancelled_by_the_removal_of_the_plugin_ends_first(
    make_runtime: MakeRuntime, service: FakeService, invoke: FakeInvoke
) -> None:
    slept: list[float] = []

    def end_item(seconds: float) -> None:
        slept.append(seconds)
        if not node.is_alive():
            invoke.queue.clear()

    runtime = make_runtime(stop=0.0, end=30.0, sleep=end_item)
    invoke.queue = [QueuedItem(ITEM, "in_progress")]
    service.script = never
    run = started(runtime, service)

    def fail() -> None:
        with pytest.raises(CancelledError):
            follow(runtime, run)

    node = threading.Thread(target=fail)
    node.start()
    runtime.refuse()
    runtime.stop_ends()
    assert (invoke.queue, slept != [], node.is_alive()) == ([], True, False)


def test_an_invoke_that_cannot_name_its_users_loses_no_run(
    runtime: Runtime, service: FakeService, invoke: FakeInvoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: str) -> bool:
        raise OSError

    monkeypatch.setattr(invoke, "is_admin", fail)
    service.script = returning("red")
    assert len(follow(runtime, started(runtime, service)).images) == 1
    refusal = NotConfiguredError("no key", remedy=Remedy("Set it.", action="set_key", provider="openai"))

    async def refuse(_: Report) -> GenerationResult:
        raise refusal

    service.script = refuse
    with pytest.raises(NotConfiguredError) as caught:
        follow(runtime, runtime.run(request_of("another"), NODE, DESTINATION))
    assert (caught.value.hint or "").startswith("Ask an administrator")


def test_nothing_starts_after_the_plugin_was_removed(runtime: Runtime, service: FakeService) -> None:
    service.script = returning("red")
    follow(runtime, runtime.run(request_of(), NODE, DESTINATION))
    runtime.close()
    threads = set(threading.enumerate())
    with pytest.raises(ServiceStateError):
        runtime.run(request_of("another"), NODE, DESTINATION)
    with pytest.raises(ServiceStateError):
        runtime.check_connection("openai")
    assert set(threading.enumerate()) - threads == set()
    assert len(service.sent) == 1


def test_an_image_is_on_the_disk_before_its_node_gets_it_and_until_the_gallery_has_it(
    runtime: Runtime, service: FakeService, invoke: FakeInvoke
) -> None:
    service.script = returning("red")
    run = runtime.run(request_of(), NODE, DESTINATION)
    result = follow(runtime, run)
    (entry,) = cached(invoke)
    (stored,) = entry.glob("picture-*")
    assert stored.read_bytes() == result.images[0].data
    with runtime.handing_over(run) as handover:
        assert cached(invoke) == [entry] == [handover.entry]
        handover.is_done = True
    assert cached(invoke) == []


def test_an_image_that_waits_for_its_turn_is_only_on_the_disk(
    runtime: Runtime, service: FakeService, invoke: FakeInvoke
) -> None:
    service.script = returning("red", "blue")
    run = started_ahead(runtime, service)
    assert [image.data for image in run.future.result(10).images] == [b"", b""]
    assert run.received == []
    run.is_claimed = True
    result = follow(runtime, run)
    assert [image.metadata["colour"] for image in result.images] == ["red", "blue"]
    assert all(image.data.startswith(b"\x89PNG") for image in result.images)


def test_an_image_that_cannot_be_read_at_its_turn_is_an_error_that_names_its_folder(
    runtime: Runtime, service: FakeService, invoke: FakeInvoke
) -> None:
    service.script = returning("red")
    run = started_ahead(runtime, service)
    run.future.result(10)
    (entry,) = cached(invoke)
    (entry / "result.json").write_text("{")
    run.is_claimed = True
    with pytest.raises(NotSavedError, match=re.escape(str(entry))):
        follow(runtime, run)
    assert cached(invoke) == [entry]


def test_a_node_gets_a_result_that_cannot_be_cached_whatever_the_reason(
    runtime: Runtime, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("an unforeseen failure")

    monkeypatch.setattr(ResultCache, "store", fail)
    service.script = returning("red")
    result = follow(runtime, runtime.run(request_of(), NODE, DESTINATION))
    assert [image.metadata["colour"] for image in result.images] == ["red"]


def test_a_result_that_cannot_be_cached_goes_into_the_gallery_when_its_item_is_cancelled(
    runtime: Runtime, service: FakeService, invoke: FakeInvoke
) -> None:
    (invoke.root / KEPT_FOLDER).write_text("not a folder")
    service.script = returning("red")
    run = started_ahead(runtime, service)
    run.future.result(10)
    runtime.cancel(run, is_item_gone=True)
    assert invoke.delivered == ["red"]


def test_an_image_that_the_gallery_cannot_save_becomes_a_file_and_the_others_are_delivered(
    runtime: Runtime, service: FakeService, invoke: FakeInvoke
) -> None:
    invoke.refused = {"red"}
    service.script = partial("red", "blue")
    with pytest.raises(CanceledException):
        follow(runtime, started(runtime, service, n=2), is_canceled=True)
    runtime.close()
    assert (invoke.delivered, len(files(invoke))) == (["blue"], 1)


def expired(invoke: FakeInvoke, *colours: str, destination: Destination | None) -> None:
    """Cache a result as if that were long ago."""
    entry = ResultCache(invoke.root).store("name", result_of(*colours), destination)
    os.utime(entry, (0, 0))


def test_an_expired_result_is_delivered_once_even_if_the_gallery_cannot_save_all_of_it(
    runtime: Runtime, invoke: FakeInvoke
) -> None:
    expired(invoke, "red", "blue", destination=Destination("user"))
    invoke.refused = {"red"}
    for _ in range(2):
        runtime.images.deliver_expired()
    assert (invoke.delivered, cached(invoke), len(files(invoke))) == (["blue"], [], 1)


def test_an_expired_result_stays_while_the_gallery_saves_nothing(runtime: Runtime, invoke: FakeInvoke) -> None:
    expired(invoke, "red", destination=Destination("user"))
    invoke.refused = {"red"}
    runtime.images.deliver_expired()
    assert (invoke.delivered, len(cached(invoke))) == ([], 1)
    invoke.refused = set()
    runtime.images.deliver_expired()
    assert (invoke.delivered, cached(invoke)) == (["red"], [])


def test_an_expired_result_that_the_gallery_never_can_save_becomes_a_file(runtime: Runtime, invoke: FakeInvoke) -> None:
    result = result_of("red")
    svg = replace(result, images=(replace(result.images[0], data=b"<svg/>", mime_type="image/svg+xml"),))
    os.utime(ResultCache(invoke.root).store("name", svg, Destination("user")), (0, 0))
    runtime.images.deliver_expired()
    assert (invoke.delivered, cached(invoke)) == ([], [])
    # And its metadata.
    assert sorted(file.suffix for file in files(invoke)) == [".json", ".svg"]


def test_an_expired_result_stays_while_its_item_is_queued(runtime: Runtime, invoke: FakeInvoke) -> None:
    expired(invoke, "red", destination=DESTINATION)
    invoke.queue = [QueuedItem(ITEM, "pending")]
    runtime.images.deliver_expired()
    assert (invoke.delivered, len(cached(invoke))) == ([], 1)


def test_an_expired_result_that_cannot_be_read_stays(runtime: Runtime, invoke: FakeInvoke) -> None:
    expired(invoke, "red", destination=Destination("user"))
    [entry] = cached(invoke)
    (entry / "result.json").write_text("{")
    os.utime(entry, (0, 0))
    runtime.images.deliver_expired()
    assert (invoke.delivered, cached(invoke)) == ([], [entry])


def test_a_kept_image_waits_for_a_retry_unless_its_item_is_still_queued(runtime: Runtime, invoke: FakeInvoke) -> None:
    expired(invoke, "red", "blue", destination=DESTINATION)
    expired(invoke, "green", destination=None)
    [kept] = runtime.images.kept()
    assert (kept.destination, kept.images, kept.until) == (DESTINATION, 2, MAX_AGE_S)
    invoke.queue = [QueuedItem(ITEM, "pending")]
    assert runtime.images.kept() == []


def test_a_kept_image_is_no_longer_waiting_while_a_run_has_it(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path)
    entry = cache.store("name", result_of("red"), DESTINATION)
    assert list(cache.waiting()) == []
    cache.release(entry)
    assert [kept.images for kept in cache.waiting()] == [1]


def test_a_plain_user_should_ask_an_administrator(runtime: Runtime, service: FakeService, invoke: FakeInvoke) -> None:

    async def refuse(_: Report) -> GenerationResult:
        raise NotConfiguredError("no key", remedy=Remedy("Set it.", action="set_key", provider="openai"))

    service.script = refuse
    for plain_users, asks in ((set[str](), False), ({NODE.user}, True)):
        invoke.plain_users = plain_users
        with pytest.raises(NotConfiguredError) as caught:
            follow(runtime, runtime.run(request_of(), NODE, DESTINATION))
        assert (caught.value.hint or "").startswith("Ask an administrator") is asks


def test_a_result_of_version_0_1_waits_until_the_queue_is_empty(runtime: Runtime, invoke: FakeInvoke) -> None:
    """Version 0.1 did not record the item. One of those in the queue may be the one, and would pay again."""
    expired(invoke, "red", destination=None)
    invoke.queue = [QueuedItem(ITEM, "pending")]
    runtime.images.deliver_expired()
    assert (invoke.delivered, len(cached(invoke))) == ([], 1)
    invoke.queue = []
    invoke.users = True
    runtime.images.deliver_expired()
    assert (invoke.delivered, len(cached(invoke))) == ([], 1)
    invoke.users = False
    runtime.images.deliver_expired()
    assert (invoke.delivered, cached(invoke)) == (["red"], [])


def test_a_cached_result_stays_on_disk_until_its_images_are_saved(runtime: Runtime, invoke: FakeInvoke) -> None:
    key = runtime.key_of(request_of(), NODE)
    ResultCache(invoke.root).store(key.fingerprint, result_of("red"))
    for _ in range(2):
        run = runtime.run(request_of(), NODE, DESTINATION)
        assert len(follow(runtime, run).images) == 1
        assert len(cached(invoke)) == 1
        # The save fails: the next equal request gets the result again, and nothing is sent.
        with pytest.raises(OSError, match="no room"), runtime.handing_over(run):
            raise OSError("no room")
    run = runtime.run(request_of(), NODE, DESTINATION)
    with runtime.handing_over(run) as handover:
        follow(runtime, run)
        handover.is_done = True
    assert cached(invoke) == []


def test_a_cached_result_that_cannot_be_read_is_not_used(
    runtime: Runtime, service: FakeService, invoke: FakeInvoke
) -> None:
    key = runtime.key_of(request_of(), NODE)
    entry = ResultCache(invoke.root).store(key.fingerprint, result_of("red"))
    (entry / "result.json").write_text("{")
    service.script = returning("blue")
    run = runtime.run(request_of(), NODE, DESTINATION)
    with runtime.handing_over(run) as handover:
        assert [image.metadata["colour"] for image in follow(runtime, run).images] == ["blue"]
        handover.is_done = True
    assert cached(invoke) == [entry]


def test_a_cached_result_reserved_for_a_cancelled_item_goes_into_the_gallery(
    runtime: Runtime, invoke: FakeInvoke
) -> None:
    key = runtime.key_of(request_of(), NODE)
    ResultCache(invoke.root).store(key.fingerprint, result_of("red"), DESTINATION)
    run = runtime.run_ahead(request_of(), key, DESTINATION)
    runtime.cancel(run, is_item_gone=True)
    assert (invoke.delivered, cached(invoke)) == (["red"], [])


def test_a_stop_waits_for_images_that_are_being_saved(make_runtime: MakeRuntime, invoke: FakeInvoke) -> None:
    waits = threading.Event()
    runtime = make_runtime(end=600, sleep=lambda _: waits.set())
    key = runtime.key_of(request_of(), NODE)
    ResultCache(invoke.root).store(key.fingerprint, result_of("red"))
    run = runtime.run(request_of(), NODE, DESTINATION)
    stop = threading.Thread(target=runtime.stop_ends)
    with runtime.handing_over(run):
        stop.start()
        assert waits.wait(10)
    stop.join()


def test_a_stop_waits_for_the_items_that_end_with_it(
    make_runtime: MakeRuntime, service: FakeService, invoke: FakeInvoke
) -> None:
    # Invoke marks the item as ended while the stop waits.
    runtime = make_runtime(end=600, sleep=lambda _: invoke.queue.clear())
    invoke.queue = [QueuedItem(ITEM, "in_progress")]
    gate = threading.Event()
    service.script = gated(gate)
    run = started(runtime, service)
    runtime.stop_begins()
    with pytest.raises(CanceledException):
        follow(runtime, run, is_canceled=True)
    gate.set()
    runtime.stop_ends()
    assert invoke.queue == []


def test_a_stop_cancels_calls_that_are_not_answered_in_time(
    make_runtime: MakeRuntime, service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    runtime = make_runtime(stop=0, end=0)
    service.script = never
    run = started(runtime, service)
    runtime.stop_begins()
    runtime.stop_ends()
    assert run.future.cancelled()
    [record] = caplog.records
    assert record.args == ("1 call was", 0)


def test_a_stop_cancels_a_run_that_waits_for_a_retry(make_runtime: MakeRuntime, service: FakeService) -> None:
    runtime = make_runtime(stop=600, end=0)
    waits = threading.Event()
    service.script = retrying(waits)
    run = started(runtime, service)
    assert waits.wait(10)
    runtime.stop_ends()
    assert run.future.cancelled()


def test_an_image_received_while_invoke_stops_is_cached_for_the_next_equal_request(
    runtime: Runtime, service: FakeService, invoke: FakeInvoke
) -> None:
    gate = threading.Event()
    service.script = gated(gate)
    run = started(runtime, service)
    runtime.stop_begins()
    with pytest.raises(CanceledException):
        follow(runtime, run, is_canceled=True)
    gate.set()
    runtime.stop_ends()
    assert (invoke.delivered, len(cached(invoke))) == ([], 1)
    service.script = never
    again = runtime.run(request_of(), NODE, DESTINATION)
    assert [notice.code for notice in follow(runtime, again).notices] == ["kept_result"]


@pytest.mark.parametrize("is_stopping", [False, True])
def test_an_image_received_at_the_moment_of_a_cancel_goes_into_the_gallery_and_at_that_of_a_stop_into_the_cache(
    runtime: Runtime, service: FakeService, invoke: FakeInvoke, is_stopping: bool
) -> None:
    gate = threading.Event()
    service.script = gated(gate)
    run = started(runtime, service)

    def check() -> None:
        gate.set()
        if is_stopping:
            runtime.stop_begins()
        assert run.ended.wait(10)
        raise CanceledException

    with pytest.raises(CanceledException):
        runtime.follow(run, check=check, report=lambda *_: None)
    assert (invoke.delivered, len(cached(invoke))) == (([], 1) if is_stopping else (["red"], 0))


def retrying(waits: threading.Event) -> Script:
    """The call failed, and the run waits for a retry."""

    async def script(report: Report) -> GenerationResult:
        report(Retrying(1, 1, 60.0, NetworkError("rate limited")))
        waits.set()
        return await never(report)

    return script


def unconfirmed(invoke: FakeInvoke) -> list[ItemId]:
    return SentItems(invoke.root).unconfirmed()


def test_a_run_cancelled_with_a_call_in_flight_may_be_billed(
    runtime: Runtime, service: FakeService, invoke: FakeInvoke
) -> None:
    service.script = never
    run = started_ahead(runtime, service)
    runtime.cancel(run, is_item_gone=False)
    assert run.ended.wait(10)
    assert unconfirmed(invoke) == [ITEM]


@pytest.mark.parametrize(("bills", "logged"), [(True, [("1 call to openai/gpt-image-2 was",)]), (False, [])])
def test_a_call_cancelled_in_flight_is_logged_unless_it_is_free(
    runtime: Runtime, service: FakeService, caplog: pytest.LogCaptureFixture, bills: bool, logged: list[object]
) -> None:
    caplog.set_level(logging.INFO)
    service.script, service.bills = never, bills
    run = started_ahead(runtime, service)
    runtime.cancel(run, is_item_gone=False)
    assert run.ended.wait(10)
    assert [one.args for one in caplog.records if "cancelled in flight" in one.msg] == logged


def test_a_run_cancelled_while_it_waits_for_a_retry_is_not_billed(
    runtime: Runtime, service: FakeService, invoke: FakeInvoke
) -> None:
    waits = threading.Event()
    service.script = retrying(waits)
    run = started_ahead(runtime, service)
    assert waits.wait(10)
    runtime.cancel(run, is_item_gone=False)
    assert run.ended.wait(10)
    assert unconfirmed(invoke) == []


@pytest.mark.parametrize("may_be_billed", [True, False])
def test_a_failed_run_may_be_billed_if_its_error_says_so(
    runtime: Runtime, service: FakeService, invoke: FakeInvoke, may_be_billed: bool
) -> None:
    error = NetworkError("lost", may_be_billed=may_be_billed)

    async def script(report: Report) -> GenerationResult:
        report(Failed(1, 1, error))
        raise error

    service.script = script
    run = started_ahead(runtime, service)
    assert run.future.exception(10) is error
    assert unconfirmed(invoke) == [ITEM] * may_be_billed


def test_a_run_ahead_that_cannot_start_is_not_recorded_as_sent(runtime: Runtime, invoke: FakeInvoke) -> None:
    runtime.sent_items.open()
    request = replace(request_of(), model="no-such-model")
    with pytest.raises(RequestError):
        runtime.run_ahead(request, runtime.key_of(request, NODE), DESTINATION)
    assert unconfirmed(invoke) == []


def test_a_run_of_the_node_itself_does_not_confirm_the_runs_sent_before_its_turn(
    runtime: Runtime, service: FakeService, invoke: FakeInvoke
) -> None:
    runtime.sent_items.open()
    runtime.sent_items.add(ITEM, "openai", "gpt-image-2")
    service.script = returning("red")
    follow(runtime, started(runtime, service))
    assert unconfirmed(invoke) == [ITEM]


def test_the_images_of_an_unconfirmed_item_say_that_it_may_be_billed_twice(
    make_runtime: MakeRuntime, service: FakeService, invoke: FakeInvoke
) -> None:
    earlier = SentItems(invoke.root)
    earlier.open()
    earlier.add(ITEM, "openai", "gpt-image-2")
    service.script = returning("red")
    runtime = make_runtime()
    result = follow(runtime, started(runtime, service))
    assert [notice.code for notice in result.notices] == ["may_be_billed_twice"]


@pytest.mark.parametrize("is_claimed", [False, True])
def test_the_outcome_of_a_run_is_recorded_before_the_run_counts_as_ended(
    runtime: Runtime,
    service: FakeService,
    invoke: FakeInvoke,
    monkeypatch: pytest.MonkeyPatch,
    is_claimed: bool,
) -> None:
    """A stop of Invoke waits for the end of each run, and then closes the file."""
    gate = threading.Event()
    service.script = gated(gate)
    run = started_ahead(runtime, service)
    run.is_claimed = is_claimed
    ended: list[bool] = []
    confirm = runtime.sent_items.confirm

    def recorded(item: ItemId) -> None:
        ended.append(run.ended.is_set())
        confirm(item)

    monkeypatch.setattr(runtime.sent_items, "confirm", recorded)
    gate.set()
    assert run.future.result(10).images
    assert ended == [False]
    assert unconfirmed(invoke) == []


def test_a_node_claims_the_run_that_was_started_before_its_turn(runtime: Runtime, service: FakeService) -> None:
    service.script = returning("red")
    runtime.table.is_watched = True
    request = request_of()
    key = runtime.key_of(request, NODE)
    assert runtime.table.start(key, 1, lambda: runtime.run_ahead(request, key, DESTINATION))
    assert len(follow(runtime, runtime.run(request, NODE, DESTINATION)).images) == 1
    assert service.sent == [request.prompt]


def test_a_run_that_failed_before_it_was_sent_is_started_again_at_its_turn(
    runtime: Runtime, service: FakeService
) -> None:
    """The key may have been set since."""

    async def refuse(_: Report) -> GenerationResult:
        raise NotConfiguredError("no key")

    service.script = refuse
    runtime.table.is_watched = True
    request = request_of()
    key = runtime.key_of(request, NODE)
    run = runtime.run_ahead(request, key, DESTINATION)
    assert isinstance(run.future.exception(10), NotConfiguredError)
    runtime.table.start(key, 1, lambda: run)
    service.script = returning("red")
    assert len(follow(runtime, runtime.run(request, NODE, DESTINATION)).images) == 1


def test_progress_and_each_preview_are_reported(make_runtime: MakeRuntime, service: FakeService) -> None:
    runtime = make_runtime(report=0)
    gate = threading.Event()

    async def script(report: Report) -> GenerationResult:
        report(Preview(1, 1, 1, 2, b"first", "image/png"))
        return await gated(gate)(report)

    service.script = script
    run = started(runtime, service)
    reported: list[tuple[str, Preview | None]] = []

    def report(line: str, preview: Preview | None) -> None:
        reported.append((line, preview))
        gate.set()

    runtime.follow(run, check=lambda: None, report=report)
    previews = [preview for _, preview in reported if preview]
    assert [preview.data for preview in previews] == [b"first"]
    assert reported[0][0]


def test_the_progress_line_names_the_sandbox(
    make_runtime: MakeRuntime, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INVOKEAI_EXTERNAL_SANDBOX", "1")
    runtime = make_runtime(report=0)
    gate = threading.Event()
    service.script = gated(gate)
    lines: list[str] = []

    def report(line: str, _: Preview | None) -> None:
        lines.append(line)
        gate.set()

    runtime.follow(started(runtime, service), check=lambda: None, report=report)
    assert lines[0].startswith("SANDBOX")
    assert runtime.providers() == {"gemini", "openai"}


def test_a_service_is_made_for_each_change_of_the_keys(
    invoke: FakeInvoke, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Settings] = []

    def make_service(settings: Settings, _: bool) -> Service:
        made.append(settings)
        return cast(Service, service)

    runtime = Runtime(invoke, make_service=make_service)
    for _ in range(2):
        assert runtime.provider_and_calls(request_of(n=3)) == ("openai", 1)
    invoke.keys = {"openai": Credentials(SecretStr("sk-test"))}
    runtime.provider_and_calls(request_of())
    runtime.close()
    assert [bool(settings.credentials["openai"].api_key) for settings in made] == [False, True]
    assert runtime.providers() == {"openai"}


def test_keys_that_change_quickly_do_not_stop_the_event_loop(invoke: FakeInvoke) -> None:
    """The event loop closed a service while a service for the next key was made, and each waited for the other."""
    runtime = Runtime(invoke, make_service=lambda *_: cast(Service, FakeService()))

    def change_keys() -> None:
        for number in range(200):
            invoke.keys = {"openai": Credentials(SecretStr(f"sk-{number}"))}
            runtime.provider_and_calls(request_of())

    thread = threading.Thread(target=change_keys, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    runtime.close()


def test_a_service_for_an_older_key_is_closed_when_its_last_run_has_ended(invoke: FakeInvoke) -> None:
    made: list[FakeService] = []
    gate = threading.Event()

    def make_service(*_: object) -> Service:
        made.append(FakeService())
        made[-1].script = gated(gate) if len(made) == 1 else returning("blue")
        return cast(Service, made[-1])

    runtime = Runtime(invoke, make_service=make_service)
    run = started(runtime, cast(FakeService, runtime._service()))
    for number in range(3):
        invoke.keys = {"openai": Credentials(SecretStr(f"sk-{number}"))}
        second = runtime.run(request_of(f"{number}"), NODE, DESTINATION)
        second.future.result(10)
    assert [service.is_closed for service in made] == [False, True, True, False]
    gate.set()
    run.future.result(10)
    assert made[0].is_closed
    invoke.keys = {}
    runtime.provider_and_calls(request_of())
    # What is closed is closed in the event loop, before this.
    last = runtime.run(request_of("last"), NODE, DESTINATION)
    last.future.result(10)
    assert [service.is_closed for service in made] == [True] * 4 + [False]
    runtime.close()
    assert all(service.is_closed for service in made)


def test_a_failed_connection_check_raises(runtime: Runtime) -> None:
    with pytest.raises(NetworkError):
        runtime.check_connection("openai")


@pytest.mark.parametrize(("setting", "expected"), [("", 0), ("settings: {previews: 2}\n", 2)])
def test_the_settings_say_how_many_previews_a_request_asks_for(
    invoke: FakeInvoke, runtime: Runtime, setting: str, expected: int
) -> None:
    (invoke.root / "invokeai_external.yaml").write_text(setting, encoding="utf-8")
    assert runtime.previews("openai/gpt-image-2") == expected
    without = next(model for model in runtime.registry().models() if not model.previews)
    assert runtime.previews(f"{without.provider}/{without.id}") == 0


def test_a_changed_setting_counts_for_the_next_run_and_a_broken_file_does_not(
    invoke: FakeInvoke, runtime: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    assert runtime.previews("openai/gpt-image-2") == 0
    registry = runtime.registry()
    set_setting(invoke.root, "previews", 2)
    assert runtime.previews("openai/gpt-image-2") == 2
    with caplog.at_level(logging.ERROR, "InvokeAI"):
        (invoke.root / "invokeai_external.yaml").write_text("settings: {previews: many}\n", encoding="utf-8")
        for _ in range(3):
            assert runtime.previews("openai/gpt-image-2") == 2
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "invokeai_external.yaml" in caplog.text
    (invoke.root / "invokeai_external.yaml").write_text("models: {openai/gpt-image-2: {name: Mine}}\n")
    assert runtime.registry() is runtime.registry() is not registry
    assert runtime.registry().resolve("openai/gpt-image-2").model.name == "Mine"


ACME = """
providers:
  acme: {adapter: openai_images, base_url: "http://127.0.0.1:1/v1"}
models:
  acme/acme-image-1: {extends: openai/gpt-image-2}
"""


@dataclass(frozen=True)
class Installed:
    """A record of Invoke's."""

    provider_id: str
    provider_model_id: str
    key: str = "some-key"


def test_a_key_of_a_provider_that_invoke_does_not_know_counts_at_once(invoke: FakeInvoke, runtime: Runtime) -> None:
    (invoke.root / "invokeai_external.yaml").write_text(ACME)
    assert (runtime.providers(), runtime.providers_on()) == (set(), ["gemini", "openai", "acme"])
    (invoke.root / "invokeai_external_keys.yaml").write_text("external_acme_api_key: sk-acme\n")
    assert runtime.providers() == {"acme"}


def test_the_sandbox_is_in_the_place_of_every_provider_in_use(
    invoke: FakeInvoke, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INVOKEAI_EXTERNAL_SANDBOX", "1")
    (invoke.root / "invokeai_external.yaml").write_text(ACME)
    assert runtime.providers() == {"gemini", "openai", "acme"}


def test_a_carried_model_is_never_one_of_its_carrier(invoke: FakeInvoke, runtime: Runtime) -> None:
    by_hand, ours = Installed("openai", "acme/acme-image-1"), Installed("openai", "acme/acme-image-1", "carried-1")
    (invoke.root / "invokeai_external.yaml").write_text("providers: nonsense")
    assert (runtime.is_carried(ours), runtime.is_carried(by_hand)) == (True, False)
    (invoke.root / "invokeai_external.yaml").write_text(ACME)
    assert (runtime.is_carried(ours), runtime.is_carried(by_hand)) == (True, True)
    assert runtime.reference_of(by_hand) == "acme/acme-image-1"
    assert not runtime.is_carried(Installed("alibabacloud", "qwen-image-2.0"))


def test_the_page_recalls_the_options_of_a_carried_model(invoke: FakeInvoke, runtime: Runtime) -> None:
    (invoke.root / "invokeai_external.yaml").write_text(ACME)
    request = replace(request_of(model="acme/acme-image-1"), options={"quality": "high"})
    assert runtime.recalled_options(Installed("openai", "acme/acme-image-1"), request) == {"openai_quality": "high"}
    own = replace(request_of(), options={"quality": "high"})
    assert runtime.recalled_options(Installed("openai", "gpt-image-2"), own) == {}


def test_the_models_that_a_provider_lists_itself_are_asked_for_once_a_day(
    invoke: FakeInvoke, caplog: pytest.LogCaptureFixture
) -> None:
    with OpenRouterServer() as server:
        keys = f"external_openrouter_api_key: sk-or-v1-valid\nexternal_openrouter_base_url: {server.base_url}\n"
        runtime = Runtime(invoke)
        with contextlib.closing(runtime):
            assert not runtime.discover_models()
            (invoke.root / "invokeai_external_keys.yaml").write_text(keys)
            assert runtime.registry().models("openrouter") == ()
            before = runtime.registry()
            assert [runtime.discover_models(), runtime.discover_models()] == [True, False]
            assert runtime.registry() is runtime.registry() is not before
            assert runtime.registry().models("openrouter")
    with contextlib.closing(Runtime(invoke)) as later:
        # The server is gone, and was not asked again.
        assert later.registry().models("openrouter") != ()
        assert later.discover_models() is False
    (invoke.root / "invokeai_external_discovered.json").unlink()
    with contextlib.closing(Runtime(invoke)) as without, caplog.at_level(logging.WARNING, "InvokeAI"):
        assert without.discover_models() is False
    assert "OpenRouter" in caplog.text
