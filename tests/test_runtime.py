"""Who gets the images of a run however it ends: its node, the disk, or the gallery. Invoke itself is played here."""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import anyio
import anyio.to_thread
import pytest
from PIL import Image

from invokeai_external.errors import CancelledError, NetworkError
from invokeai_external.invoke.gallery.result_cache import Destination, ResultCache
from invokeai_external.invoke.look_ahead.runs import Asked, Place, Run
from invokeai_external.invoke.look_ahead.sent_items import SentAhead
from invokeai_external.providers.registry import Registry
from invokeai_external.request import GenerationRequest
from invokeai_external.result import Failed, GeneratedImage, GenerationResult, Received, Retrying, Sending
from invokeai_external.root_files import KEPT_FOLDER, RESCUED_FOLDER
from invokeai_external.settings.settings import Credentials
from invokeai_external.sizing import Size

INVOKE = "invokeai_external.invoke"
OWN = ("runtime",)
SEAM = ("host", "host.config", "host.gallery", "host.nodes", "host.queue")
PLACE = Place(1, "node", "user", "batch")


class CanceledException(Exception):
    """Stands for Invoke's own."""


class Host(ModuleType):
    """An Invoke: its root, its queue, and its gallery, which refuses the images of some colours."""

    CanceledException = CanceledException
    log = logging.getLogger("test_runtime")

    def __init__(self, root: Path) -> None:
        super().__init__(f"{INVOKE}.host")
        self.delivered: list[str] = []
        self.refused: set[str] = set()
        self.queue: list[Any] = []
        self._root = root

    def invoke_root(self) -> Path:
        return self._root

    def configured_credentials(self, providers: list[str]) -> dict[str, Credentials]:
        return {provider: Credentials() for provider in providers}

    def has_several_users(self) -> bool:
        return False

    def queued_items(self) -> list[Any]:
        return self.queue

    def deliver(self, picture: Image.Image, metadata: dict[str, Any], *, user: str, board: str | None) -> str:
        if metadata["colour"] in self.refused:
            raise OSError("no room")
        self.delivered.append(metadata["colour"])
        return f"{len(self.delivered)}.png"


class Provider:
    """In place of the service: sends, and then does what the test says."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.is_sent = threading.Event()
        self.script: Callable[[Callable[[Any], None]], Any] | None = None

    def resolve(self, model: str) -> Any:
        return Registry().resolve(model)

    async def __aexit__(self, *_: object) -> None:
        pass

    async def generate(self, request: GenerationRequest, on_progress: Callable[[Any], None]) -> GenerationResult:
        for call in range(1, request.n + 1):
            on_progress(Sending(call, request.n, 1))
        self.is_sent.set()
        assert self.script
        result: GenerationResult = await self.script(on_progress)
        return result


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setenv("INVOKEAI_EXTERNAL_SANDBOX", "0")
    for name in OWN:
        package, _, module = f"{INVOKE}.{name}".rpartition(".")
        monkeypatch.delitem(sys.modules, f"{INVOKE}.{name}", raising=False)
        monkeypatch.delattr(import_module(package), module, raising=False)
    host = Host(tmp_path)
    host.__dict__["gallery"] = host
    for name in SEAM:
        monkeypatch.setitem(sys.modules, f"{INVOKE}.{name}", host)
    return host


@pytest.fixture
def provider() -> Provider:
    return Provider()


@pytest.fixture
def runtime(invoke: Host, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    module = import_module(f"{INVOKE}.runtime")
    monkeypatch.setattr(module, "Service", lambda *_, **__: provider)
    made = module.Runtime()
    yield made
    made.close()
    for name in OWN:
        sys.modules.pop(f"{INVOKE}.{name}", None)


def image(colour: str) -> GeneratedImage:
    file = io.BytesIO()
    Image.new("RGB", (4, 3), colour).save(file, "PNG")
    return GeneratedImage(data=file.getvalue(), mime_type="image/png", size=Size(4, 3), metadata={"colour": colour})


def result_of(*colours: str) -> GenerationResult:
    images = tuple(image(colour) for colour in colours)
    return GenerationResult(
        provider="openai",
        model="gpt-image-2",
        images=images,
        notices=(),
        usage=None,
        cost_usd=None,
        request_ids=(),
        errors=(),
        elapsed_s=0.0,
    )


def request_of(n: int = 1) -> GenerationRequest:
    return GenerationRequest(model="openai/gpt-image-2", prompt="a fox", n=n, size=Size(1024, 1024))


def begun(runtime: Any, provider: Provider, n: int = 1) -> Run:
    """A run that its node waits for, with its calls out."""
    run: Run = runtime.run(request_of(n), PLACE, Destination("user", item=PLACE.queue_item))
    assert provider.is_sent.wait(10)
    return run


def ahead(runtime: Any, provider: Provider) -> tuple[Asked, Run]:
    """A run that was started before its turn, with its calls out."""
    request, destination = request_of(), Destination("user", item=PLACE.queue_item)
    asked = runtime.asked(request, PLACE)
    runtime.sent.open()
    run: Run = runtime.run_ahead(request, asked, destination)
    assert provider.is_sent.wait(10)
    return asked, run


def followed(runtime: Any, run: Run, *, is_canceled: bool = False) -> GenerationResult:
    result: GenerationResult = runtime.follow(run, is_canceled=lambda: is_canceled, tell=lambda *_: None)
    return result


def kept(invoke: Host) -> list[Path]:
    return list((invoke.invoke_root() / KEPT_FOLDER).glob("*"))


async def never(_: Callable[[Any], None]) -> GenerationResult:
    await anyio.sleep_forever()
    raise AssertionError


def part(*colours: str, then: Callable[[], Any] = anyio.sleep_forever) -> Any:
    """Some of the images arrive, and then something else happens."""

    async def script(on_progress: Callable[[Any], None]) -> GenerationResult:
        for call, colour in enumerate(colours, start=1):
            on_progress(Received(call, 2, (image(colour),)))
        await then()
        raise AssertionError

    return script


async def fail() -> None:
    raise ZeroDivisionError


def test_what_had_arrived_of_a_cancelled_run_is_in_the_gallery_once(
    runtime: Any, provider: Provider, invoke: Host
) -> None:
    provider.script = part("red")
    run = begun(runtime, provider, n=2)
    with pytest.raises(CanceledException):
        followed(runtime, run, is_canceled=True)
    assert (invoke.delivered, kept(invoke)) == (["red"], [])


def test_what_arrives_after_its_node_has_gone_is_in_the_gallery(
    runtime: Any, provider: Provider, invoke: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large image that is still being decoded, and laid into another one, when its node stops waiting for it."""
    monkeypatch.setattr(sys.modules[runtime.__module__], "_LAST_S", 0)
    goes_on = threading.Event()

    async def script(on_progress: Callable[[Any], None]) -> GenerationResult:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(goes_on.wait)
            on_progress(Received(1, 1, (image("red"),)))
        await anyio.sleep_forever()
        raise AssertionError

    provider.script = script
    run = begun(runtime, provider)
    with pytest.raises(CanceledException):
        followed(runtime, run, is_canceled=True)
    assert invoke.delivered == []
    goes_on.set()
    # It waits for what is being written.
    runtime.close()
    assert (invoke.delivered, kept(invoke)) == (["red"], [])


def test_what_had_arrived_when_something_broke_is_in_the_gallery(
    runtime: Any, provider: Provider, invoke: Host
) -> None:
    provider.script = part("red", then=fail)
    with pytest.raises(ZeroDivisionError):
        followed(runtime, begun(runtime, provider, n=2))
    assert invoke.delivered == ["red"]


def test_a_pack_that_is_taken_out_leaves_what_had_arrived_in_the_gallery(
    runtime: Any, provider: Provider, invoke: Host
) -> None:
    provider.script = part("red")
    run = begun(runtime, provider, n=2)
    runtime.close()
    with pytest.raises(CancelledError):
        followed(runtime, run)
    assert invoke.delivered == ["red"]


def test_what_the_disk_does_not_take_before_its_turn_goes_into_the_gallery_when_it_is_cancelled(
    runtime: Any, provider: Provider, invoke: Host
) -> None:
    (invoke.invoke_root() / KEPT_FOLDER).write_text("no folder")

    async def script(on_progress: Callable[[Any], None]) -> GenerationResult:
        result = result_of("red")
        on_progress(Received(1, 1, result.images))
        return result

    provider.script = script
    _, run = ahead(runtime, provider)
    run.future.result(10)
    runtime.give_up(run, item_is_gone=True)
    assert invoke.delivered == ["red"]


def test_one_that_the_gallery_does_not_take_keeps_no_other_back_and_is_delivered_once(
    runtime: Any, provider: Provider, invoke: Host
) -> None:
    invoke.refused = {"red"}
    provider.script = part("red", "blue")
    with pytest.raises(CanceledException):
        followed(runtime, begun(runtime, provider, n=2), is_canceled=True)
    assert (invoke.delivered, len(list((invoke.invoke_root() / RESCUED_FOLDER).iterdir()))) == (["blue"], 1)


def old(invoke: Host, *colours: str, destination: Destination | None) -> None:
    """Keep a result as if that had been long ago."""
    entry = ResultCache(invoke.invoke_root()).store("name", result_of(*colours), destination)
    os.utime(entry, (0, 0))


def test_what_is_old_is_delivered_once_though_the_gallery_does_not_take_all_of_it(runtime: Any, invoke: Host) -> None:
    old(invoke, "red", "blue", destination=Destination("user"))
    invoke.refused = {"red"}
    for _ in range(2):
        runtime.deliver_old()
    assert (invoke.delivered, kept(invoke)) == (["blue"], [])
    assert len(list((invoke.invoke_root() / RESCUED_FOLDER).iterdir())) == 1


def test_what_is_old_stays_while_the_gallery_takes_nothing(runtime: Any, invoke: Host) -> None:
    old(invoke, "red", destination=Destination("user"))
    invoke.refused = {"red"}
    runtime.deliver_old()
    assert (invoke.delivered, len(kept(invoke))) == ([], 1)
    invoke.refused = set()
    runtime.deliver_old()
    assert (invoke.delivered, kept(invoke)) == (["red"], [])


def test_what_0_1_kept_waits_until_the_queue_is_empty(runtime: Any, invoke: Host) -> None:
    """It did not write down for which item; one of those in the queue may be the one, and would pay again."""
    old(invoke, "red", destination=None)
    invoke.queue = [SimpleNamespace(number=1, batch="batch", status="pending")]
    runtime.deliver_old()
    assert (invoke.delivered, len(kept(invoke))) == ([], 1)
    invoke.queue = []
    runtime.deliver_old()
    assert (invoke.delivered, kept(invoke)) == (["red"], [])


def test_a_kept_result_is_on_disk_until_its_images_are_saved(runtime: Any, invoke: Host) -> None:
    asked = runtime.asked(request_of(), PLACE)
    results = ResultCache(invoke.invoke_root())
    results.store(asked.name, result_of("red"))
    for _ in range(2):
        run = runtime.run(request_of(), PLACE, Destination("user"))
        assert len(followed(runtime, run).images) == 1
        assert len(kept(invoke)) == 1
        # The save fails: who asks for the same gets it again, and nothing is sent.
        with pytest.raises(OSError, match="no room"), runtime.handing_over(run):
            raise OSError("no room")
    run = runtime.run(request_of(), PLACE, Destination("user"))
    with runtime.handing_over(run):
        followed(runtime, run)
    assert kept(invoke) == []


def test_a_kept_result_of_an_item_that_is_cancelled_goes_into_the_gallery(runtime: Any, invoke: Host) -> None:
    asked = runtime.asked(request_of(), PLACE)
    ResultCache(invoke.invoke_root()).store(asked.name, result_of("red"), Destination("user", item=PLACE.queue_item))
    run = runtime.run_ahead(request_of(), asked, Destination("user", item=PLACE.queue_item))
    runtime.give_up(run, item_is_gone=True)
    assert (invoke.delivered, kept(invoke)) == (["red"], [])


def test_a_stop_waits_for_what_is_being_saved(runtime: Any, invoke: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[runtime.__module__], "_LAST_S", 600)
    asked = runtime.asked(request_of(), PLACE)
    ResultCache(invoke.invoke_root()).store(asked.name, result_of("red"))
    run = runtime.run(request_of(), PLACE, Destination("user"))
    with runtime.handing_over(run):
        stop = threading.Thread(target=runtime.stop_ends)
        stop.start()
        stop.join(0.2)
        assert stop.is_alive()
    stop.join()


def gated(goes_on: threading.Event) -> Any:
    """An image arrives, whole, once the gate is open."""

    async def script(on_progress: Callable[[Any], None]) -> GenerationResult:
        await anyio.to_thread.run_sync(goes_on.wait)
        result = result_of("red")
        on_progress(Received(1, 1, result.images))
        return result

    return script


def test_what_arrives_while_invoke_stops_is_kept_for_who_asks_again(
    runtime: Any, provider: Provider, invoke: Host
) -> None:
    goes_on = threading.Event()
    provider.script = gated(goes_on)
    run = begun(runtime, provider)
    runtime.stop_begins()
    with pytest.raises(CanceledException):
        followed(runtime, run, is_canceled=True)
    goes_on.set()
    runtime.stop_ends()
    assert (invoke.delivered, len(kept(invoke))) == ([], 1)
    provider.script = never
    again = runtime.run(request_of(), PLACE, Destination("user"))
    assert [notice.code for notice in followed(runtime, again).notices] == ["kept_result"]


@pytest.mark.parametrize("is_stopping", [False, True])
def test_what_ends_in_the_moment_of_a_cancel_or_a_stop_is_in_the_gallery(
    runtime: Any, provider: Provider, invoke: Host, is_stopping: bool
) -> None:
    goes_on = threading.Event()
    provider.script = gated(goes_on)
    run = begun(runtime, provider)

    def is_canceled() -> bool:
        goes_on.set()
        if is_stopping:
            runtime.stop_begins()
        return run.ended.wait(10)

    with pytest.raises(CanceledException):
        runtime.follow(run, is_canceled=is_canceled, tell=lambda *_: None)
    assert (invoke.delivered, kept(invoke)) == (["red"], [])


def doubtful(invoke: Host) -> list[int]:
    return [item.number for item in SentAhead(invoke.invoke_root()).doubtful()]


def test_what_was_cancelled_while_a_call_was_out_may_be_billed(runtime: Any, provider: Provider, invoke: Host) -> None:
    provider.script = never
    _, run = ahead(runtime, provider)
    runtime.give_up(run, item_is_gone=False)
    assert run.ended.wait(10)
    assert doubtful(invoke) == [1]


def test_what_was_cancelled_while_it_waited_to_be_sent_again_is_not_billed(
    runtime: Any, provider: Provider, invoke: Host
) -> None:
    waits = threading.Event()

    async def script(on_progress: Callable[[Any], None]) -> GenerationResult:
        on_progress(Retrying(1, 1, 60.0, NetworkError("rate limited")))
        waits.set()
        return await never(on_progress)

    provider.script = script
    _, run = ahead(runtime, provider)
    assert waits.wait(10)
    runtime.give_up(run, item_is_gone=False)
    assert run.ended.wait(10)
    assert doubtful(invoke) == []


@pytest.mark.parametrize("may_be_billed", [True, False])
def test_what_failed_may_be_billed_if_its_error_says_so(
    runtime: Any, provider: Provider, invoke: Host, may_be_billed: bool
) -> None:
    error = NetworkError("lost", may_be_billed=may_be_billed)

    async def script(on_progress: Callable[[Any], None]) -> GenerationResult:
        on_progress(Failed(1, 1, error))
        raise error

    provider.script = script
    _, run = ahead(runtime, provider)
    assert run.future.exception(10) is error
    assert doubtful(invoke) == [1] * may_be_billed


def test_what_a_node_sent_itself_answers_for_nothing_else_of_its_item(
    runtime: Any, provider: Provider, invoke: Host
) -> None:
    runtime.sent.open()
    runtime.sent.begin(PLACE.queue_item, "openai", "gpt-image-2")

    async def script(_: Callable[[Any], None]) -> GenerationResult:
        return result_of("red")

    provider.script = script
    followed(runtime, begun(runtime, provider))
    assert doubtful(invoke) == [1]


@pytest.mark.parametrize("is_fetched", [False, True])
def test_what_became_of_a_run_is_written_down_before_it_counts_as_ended(
    runtime: Any, provider: Provider, invoke: Host, monkeypatch: pytest.MonkeyPatch, is_fetched: bool
) -> None:
    """A stop of Invoke waits for the end of each run, and then closes the file."""
    goes_on = anyio.Event()

    async def script(_: Callable[[Any], None]) -> GenerationResult:
        await goes_on.wait()
        return result_of("red")

    provider.script = script
    _, run = ahead(runtime, provider)
    run.is_fetched = is_fetched
    ended: list[bool] = []
    answered = runtime.sent.answered

    def noted(item: Any) -> None:
        ended.append(run.ended.is_set())
        answered(item)

    monkeypatch.setattr(runtime.sent, "answered", noted)
    runtime._portal.call(goes_on.set)
    assert run.future.result(10).images
    assert ended == [False]
    assert doubtful(invoke) == []
