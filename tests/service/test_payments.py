"""Limits and the spending record around real calls to the sandbox, over HTTP."""

from __future__ import annotations

import shutil
import socket
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import httpx
import pytest

from invokeai_external.errors import (
    BudgetExceededError,
    ProviderError,
    ServiceStateError,
    SettingsError,
    SpendingRecordError,
)
from invokeai_external.progress import Failed, Progress, Received, Sending, Waiting
from invokeai_external.request import GenerationRequest
from invokeai_external.result import GenerationResult
from invokeai_external.root_folder import SPENDING_FILE
from invokeai_external.service.refusals import Purse
from invokeai_external.service.service import Service
from invokeai_external.settings.root import own_folder
from invokeai_external.settings.settings import Settings, load_settings
from invokeai_external.spending.record import SpendingRecord
from invokeai_external.spending.recorded_call import Payer

from .common import GEMINI, OPENAI, Order, received_calls

pytestmark = pytest.mark.anyio

LOW_USD = 0.006
"""A little more than an image of this model costs at low quality, with its prompt."""


def settings_with(root: Path, budgets: str = "", settings: str = "") -> Settings:
    lines = f"settings: {{{settings}}}\nbudgets: {{{budgets}}}\n"
    (root / "invokeai_external.yaml").write_text(lines)
    return load_settings(root)


def low(**request: Any) -> GenerationRequest:
    asked = {"model": OPENAI, "prompt": "a fox", "size": "1024x1024", "options": {"quality": "low"}, **request}
    return GenerationRequest(**asked)


def rows(root: Path, columns: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(root / SPENDING_FILE)) as db:
        return db.execute(f"SELECT {columns} FROM calls ORDER BY id").fetchall()


async def make(settings: Settings, request: GenerationRequest | None = None, **purse: Any) -> GenerationResult:
    async with Service(settings) as service:
        return await service.generate(request or low(), purse=Purse(**purse))


async def test_a_call_is_recorded_with_what_it_cost(sandbox_url: str, tmp_path: Path) -> None:
    payer = Payer("library", tag="client-a")
    result = await make(settings_with(tmp_path), low(n=2), payer=payer)
    assert result.cost_usd
    found = rows(tmp_path, "state, cost, images, request_id, host, tag, quality, size, prompt")
    assert [row[0] for row in found] == ["charged"] * len(found)
    assert sum(row[1] for row in found) == round(result.cost_usd * 1e9)
    assert sum(row[2] for row in found) == 2
    assert {row[3] for row in found} == set(result.request_ids)
    assert {row[4:] for row in found} == {("library", "client-a", "low", "1024x1024", None)}


async def test_prompts_are_recorded_only_if_you_say_so(sandbox_url: str, tmp_path: Path) -> None:
    await make(settings_with(tmp_path, settings="record_prompts: true"))
    assert rows(tmp_path, "prompt") == [("a fox",)]


async def test_a_request_above_a_limit_is_refused_and_nothing_is_sent(sandbox_url: str, tmp_path: Path) -> None:
    settings = settings_with(tmp_path, f"total: {{day_usd: {1.5 * LOW_USD}}}")
    await make(settings)
    with pytest.raises(BudgetExceededError) as caught:
        await make(settings)
    error = caught.value
    assert (error.limit, error.provider) == ("total.day", "openai")
    assert error.limit_usd == pytest.approx(1.5 * LOW_USD)
    assert 0 < error.used_usd < error.limit_usd < error.used_usd + (error.could_cost_usd or 0)
    assert len(received_calls(sandbox_url)) == 1
    assert rows(tmp_path, "state, error") == [("charged", None), ("not_charged", "budget_exceeded")]


async def test_a_cheaper_choice_that_fits_is_named(sandbox_url: str, tmp_path: Path) -> None:
    settings = settings_with(tmp_path, f"total: {{day_usd: {1.5 * LOW_USD}}}")
    with pytest.raises(BudgetExceededError) as caught:
        await make(settings, low(options={"quality": "high"}))
    assert caught.value.cheaper == "--quality low"
    with pytest.raises(BudgetExceededError) as caught:
        await make(settings, low(n=3))
    assert caught.value.cheaper == "-n 1"


@pytest.mark.parametrize(
    ("budgets", "purse", "limit"),
    [
        ("max_per_image_usd: 0.001", {}, "max_per_image"),
        ("", {"max_cost_usd": 0.001}, "max_cost"),
        ("providers: {openai: {month_usd: 0.001}}", {}, "providers.openai.month"),
        (f"models: {{{OPENAI}: {{day_usd: 0.001}}}}", {}, f"models.{OPENAI}.day"),
        ("users: {default: {day_usd: 0.001}}", {"payer": Payer("invoke", "anna")}, "users.default.day"),
    ],
)
async def test_each_kind_of_limit(
    sandbox_url: str, tmp_path: Path, budgets: str, purse: dict[str, Any], limit: str
) -> None:
    with pytest.raises(BudgetExceededError) as caught:
        await make(settings_with(tmp_path, budgets), **purse)
    assert caught.value.limit == limit
    assert received_calls(sandbox_url) == []


async def test_a_limit_that_is_raised_meanwhile_counts_at_once(sandbox_url: str, tmp_path: Path) -> None:
    async with Service(settings_with(tmp_path, "total: {day_usd: 0.001}")) as service:
        with pytest.raises(BudgetExceededError):
            await service.generate(low())
        settings_with(tmp_path, "total: {day_usd: 1}")
        assert (await service.generate(low())).images
        (tmp_path / "invokeai_external.yaml").write_text("budgets: {total: {day_usd: a lot}}")
        with pytest.raises(SettingsError):
            await service.generate(low())
    assert len(received_calls(sandbox_url)) == 1


async def state_after(order: Order, root: Path, fault: str, **facts: Any) -> str:
    order(OPENAI, fault, **facts)
    with pytest.raises(ProviderError):
        await make(settings_with(root, settings="max_attempts: 1, total_timeout_s: 1"))
    [(state,)] = rows(root, "state")
    return str(state)


async def test_a_call_that_was_not_billed_is_free_again(sandbox_url: str, order: Order, tmp_path: Path) -> None:
    assert await state_after(order, tmp_path, "rate_limited", seconds=300) == "not_charged"


async def test_a_call_without_a_response_may_have_been_charged(sandbox_url: str, order: Order, tmp_path: Path) -> None:
    assert await state_after(order, tmp_path, "slow", seconds=60) == "unconfirmed"
    with closing(sqlite3.connect(tmp_path / SPENDING_FILE)) as db:
        [(unconfirmed, at_most)] = db.execute(
            "SELECT sums.unconfirmed, at_most FROM sums, calls WHERE scope = 'total'"
        ).fetchall()
    assert unconfirmed == at_most > 0


async def cancelled_once(has_begun: Callable[[], bool], settings: Settings, **request: Any) -> None:
    """Make images, and cancel that once something has begun."""
    async with Service(settings) as service, anyio.create_task_group() as group:
        group.start_soon(service.generate, low(**request))
        while not has_begun():
            await anyio.sleep(0.01)
        group.cancel_scope.cancel()


async def test_a_call_that_is_cancelled_in_flight_may_have_been_charged(
    sandbox_url: str, order: Order, tmp_path: Path
) -> None:
    order(OPENAI, "slow", seconds=60)
    await cancelled_once(lambda: bool(received_calls(sandbox_url)), settings_with(tmp_path))
    assert rows(tmp_path, "state, error") == [("unconfirmed", "cancelled")]


def served_by(listener: socket.socket, root: Path, monkeypatch: pytest.MonkeyPatch, scheme: str) -> Settings:
    monkeypatch.setenv("INVOKEAI_EXTERNAL_OPENAI_BASE_URL", f"{scheme}://127.0.0.1:{listener.getsockname()[1]}/v1")
    monkeypatch.setenv("INVOKEAI_EXTERNAL_OPENAI_API_KEY", "a-key-of-this-test")
    return settings_with(root)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A server that accepts one connection before it accepts any."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        server.setblocking(False)
        yield server


@pytest.fixture
def full(listener: socket.socket) -> Iterator[socket.socket]:
    """The same server while others fill its queue: it accepts late."""
    with ExitStack() as stack:
        for _ in range(4):
            other = stack.enter_context(socket.socket())
            other.setblocking(False)
            other.connect_ex(listener.getsockname())
        yield listener


async def test_a_call_that_is_cancelled_while_it_connects_is_not_charged(
    full: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, seen = served_by(full, tmp_path, monkeypatch, "http"), list[Progress]()
    with anyio.move_on_after(0.3) as limit:
        async with Service(settings) as service:
            await service.generate(low(), seen.append)
    assert limit.cancelled_caught
    assert rows(tmp_path, "state, error") == [("not_charged", "cancelled")]
    # Hosts say which calls were in flight.
    assert [type(event) for event in seen] == [Sending, Failed]
    # The server accepts at last, and nothing was sent by anybody.
    with suppress(BlockingIOError):
        while True:
            connection, _ = full.accept()
            with connection, suppress(BlockingIOError):
                connection.setblocking(False)
                assert connection.recv(1) == b""


async def test_a_call_that_is_cancelled_during_the_handshake_of_tls_is_not_charged(
    listener: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted = list[socket.socket]()

    def has_begun() -> bool:
        with suppress(BlockingIOError):
            accepted.append(listener.accept()[0])
        return bool(accepted)

    await cancelled_once(has_begun, served_by(listener, tmp_path, monkeypatch, "https"))
    accepted[0].close()
    assert rows(tmp_path, "state, error") == [("not_charged", "cancelled")]


async def test_calls_that_were_not_sent_are_free_again(sandbox_url: str, order: Order, tmp_path: Path) -> None:
    """Of four calls, one is in flight when the request is cancelled."""
    order(OPENAI, "slow", seconds=60)
    settings = settings_with(tmp_path, settings="concurrency: 1, previews: 1")
    await cancelled_once(lambda: bool(received_calls(sandbox_url)), settings, n=4, previews=1)
    assert sorted(rows(tmp_path, "state")) == [("not_charged",)] * 3 + [("unconfirmed",)]


DEAR, CHEAP = low(prompt="a fox " * 50), low()


async def too_little_for_both(root: Path) -> Settings:
    """Settings with room for the dear request or the cheap one; the dear one costs less in the end than reserved."""
    async with Service(settings_with(root)) as service:
        most = sum(service.plan(request).estimate.total.at_most_usd or 0 for request in (DEAR, CHEAP))
    return settings_with(root, f"total: {{day_usd: {most - 1e-6}}}")


@asynccontextmanager
async def in_flight(service: Service, request: GenerationRequest) -> AsyncIterator[None]:
    """A request that is in flight when the block begins, and whose end is waited for when it ends."""
    async with anyio.create_task_group() as group:
        is_sent = anyio.Event()

        def note(event: Progress) -> None:
            if isinstance(event, Sending):
                is_sent.set()

        group.start_soon(service.generate, request, note)
        await is_sent.wait()
        yield


async def test_a_request_waits_for_calls_whose_end_leaves_room(sandbox_url: str, order: Order, tmp_path: Path) -> None:
    """The first is reserved at more than it costs in the end: the second fits once that is known."""
    seen: list[Progress] = []
    order(OPENAI, "slow", seconds=1)
    async with Service(await too_little_for_both(tmp_path)) as service, in_flight(service, DEAR):
        result = await service.generate(CHEAP, seen.append, purse=Purse(may_wait=True))
    assert result.images
    assert [type(event) for event in seen if not isinstance(event, Sending | Received)] == [Waiting] * (len(seen) - 2)
    assert isinstance(seen[0], Waiting)
    assert seen[0].limit == "total.day"


async def test_a_request_waits_for_calls_of_another_service_of_the_same_program(
    sandbox_url: str, order: Order, tmp_path: Path
) -> None:
    """As in Invoke, where a changed setting makes another service while calls are in flight."""
    settings = await too_little_for_both(tmp_path)
    order(OPENAI, "slow", seconds=1)
    async with Service(settings) as first, Service(settings) as second, in_flight(first, DEAR):
        result = await second.generate(CHEAP, purse=Purse(may_wait=True))
    assert result.images


async def test_an_error_that_nobody_expected_is_logged_and_loses_no_image(
    sandbox_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError

    async with Service(settings_with(tmp_path)) as service:
        with monkeypatch.context() as patch:
            patch.setattr(SpendingRecord, "settle", fail)
            assert (await service.generate(low())).images
            await service.settled()
    assert [one.levelname for one in caplog.records if one.exc_info] == ["ERROR"]
    assert rows(tmp_path, "state") == [("unconfirmed",)]


async def test_what_fails_before_it_is_sent_is_not_charged(sandbox_url: str, tmp_path: Path) -> None:
    client = httpx.AsyncClient(cookies={"a": "\u20ac"})
    async with client, Service(settings_with(tmp_path), http_client=client) as service:
        with pytest.raises(ServiceStateError):
            await service.generate(low())
    assert received_calls(sandbox_url) == []
    assert rows(tmp_path, "state, error") == [("not_charged", "service_state")]


@pytest.mark.parametrize(
    ("model", "status", "body", "is_billed"),
    [
        (OPENAI, 307, {}, False),
        (OPENAI, 303, {}, True),
        (OPENAI, 200, {}, True),
        (OPENAI, 400, {"error": {"message": "no"}}, False),
        (OPENAI, 502, {}, True),
        (GEMINI, 200, {"candidates": [{"content": {"parts": [{"text": "no"}]}, "finishReason": "STOP"}]}, True),
        (GEMINI, 200, {"promptFeedback": {"blockReason": "SAFETY"}}, True),
    ],
)
async def test_an_error_says_of_money_what_the_record_has(
    model: str, status: int, body: dict[str, Any], is_billed: bool, sandbox_url: str, tmp_path: Path
) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(status, json=body))
    settings = settings_with(tmp_path, settings="max_attempts: 1")
    async with httpx.AsyncClient(transport=transport) as client, Service(settings, http_client=client) as service:
        with pytest.raises(ProviderError) as caught:
            await service.generate(GenerationRequest(model=model, prompt="a fox"))
    assert rows(tmp_path, "state") == [("unconfirmed" if is_billed else "not_charged",)]
    assert (caught.value.may_be_billed, "billed" in (caught.value.hint or "")) == (is_billed, is_billed)


async def test_what_can_never_be_sent_is_not_reserved(sandbox_url: str, tmp_path: Path) -> None:
    client = httpx.AsyncClient()
    await client.aclose()
    async with Service(settings_with(tmp_path), http_client=client) as service:
        with pytest.raises(ServiceStateError):
            await service.generate(low())
    assert not (tmp_path / SPENDING_FILE).exists()


async def test_a_request_does_not_wait_for_room_that_nothing_will_leave(sandbox_url: str, tmp_path: Path) -> None:
    seen: list[Progress] = []
    async with Service(settings_with(tmp_path, "total: {day_usd: 0.001}")) as service:
        with pytest.raises(BudgetExceededError):
            await service.generate(low(), seen.append, purse=Purse(may_wait=True))
    assert seen == []
    assert rows(tmp_path, "error") == [("budget_exceeded",)]


@pytest.mark.parametrize(("is_withdrawn", "recorded"), [(True, []), (False, [("budget_exceeded",)])])
async def test_only_the_refusal_at_its_turn_is_recorded(
    sandbox_url: str, tmp_path: Path, is_withdrawn: bool, recorded: list[tuple[str]]
) -> None:
    with pytest.raises(BudgetExceededError):
        await make(settings_with(tmp_path, "total: {day_usd: 0.001}"), withdraw=lambda: is_withdrawn)
    assert rows(tmp_path, "error") == recorded


async def test_the_event_loop_goes_on_while_a_request_is_withdrawn(sandbox_url: str, tmp_path: Path) -> None:
    def withdraw() -> bool:
        # In Invoke, it waits for a lock, whose owner may wait for the event loop.
        anyio.from_thread.run(anyio.sleep, 0)
        return True

    with pytest.raises(BudgetExceededError):
        await make(settings_with(tmp_path, "total: {day_usd: 0.001}"), withdraw=withdraw)


async def test_a_request_whose_turn_comes_while_a_limit_is_checked_waits_for_room(
    sandbox_url: str, order: Order, tmp_path: Path
) -> None:
    order(OPENAI, "slow", seconds=1)
    async with Service(await too_little_for_both(tmp_path)) as service, in_flight(service, DEAR):
        result = await service.generate(CHEAP, purse=Purse(may_wait=True, withdraw=lambda: False))
    assert result.images


async def test_without_a_limit_an_image_is_made_although_nothing_can_be_recorded(
    sandbox_url: str, tmp_path: Path
) -> None:
    (tmp_path / SPENDING_FILE).mkdir()
    result = await make(settings_with(tmp_path))
    assert result.images
    assert "not_recorded" in [notice.code for notice in result.notices]


async def test_a_missing_folder_is_not_made_but_said(sandbox_url: str, tmp_path: Path) -> None:
    missing = tmp_path / "typo"
    result = await make(load_settings(missing))
    assert result.images
    [notice] = [notice for notice in result.notices if notice.code == "not_recorded"]
    assert str(missing) in notice.message
    assert not missing.exists()


@pytest.mark.parametrize("budgets", ["", "total: {day_usd: 5}"])
async def test_what_a_deleted_folder_could_not_get_is_said(budgets: str, sandbox_url: str, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()

    def on_progress(progress: Progress) -> None:
        if isinstance(progress, Received):
            shutil.rmtree(root)

    async with Service(settings_with(root, budgets)) as service:
        assert (await service.generate(low(), on_progress)).images
        assert {notice.code for notice in await service.settled()} == {"not_recorded"}
        assert await service.settled() == ()
    assert not root.exists()


async def test_a_deleted_record_is_made_again_with_the_end_of_a_call(sandbox_url: str, tmp_path: Path) -> None:
    def on_progress(progress: Progress) -> None:
        if isinstance(progress, Received):
            (tmp_path / SPENDING_FILE).unlink()

    async with Service(settings_with(tmp_path)) as service:
        await service.generate(low(), on_progress)
        assert await service.settled() == ()
    assert rows(tmp_path, "state") == [("charged",)]


async def test_the_users_own_folder_may_be_missing_without_a_word(
    sandbox_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    own = own_folder({"XDG_CONFIG_HOME": str(tmp_path)}, "linux")
    result = await make(load_settings(own))
    assert "not_recorded" not in [notice.code for notice in result.notices]
    assert not own.exists()


async def test_a_call_waits_only_briefly_for_a_record_that_another_program_holds(
    sandbox_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make(settings_with(tmp_path))
    monkeypatch.setattr("invokeai_external.spending.record.SOON_S", 0.1)
    with closing(sqlite3.connect(tmp_path / SPENDING_FILE, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        result = await make(settings_with(tmp_path))
        assert "not_recorded" in [notice.code for notice in result.notices]
        with pytest.raises(SpendingRecordError):
            await make(settings_with(tmp_path, "total: {day_usd: 5}"))


async def test_with_a_limit_nothing_is_sent_if_nothing_can_be_recorded(sandbox_url: str, tmp_path: Path) -> None:
    (tmp_path / SPENDING_FILE).mkdir()
    with pytest.raises(SpendingRecordError):
        await make(settings_with(tmp_path, "total: {day_usd: 5}"))
    assert received_calls(sandbox_url) == []


async def test_the_record_can_be_turned_off_but_not_under_a_limit(sandbox_url: str, tmp_path: Path) -> None:
    await make(settings_with(tmp_path, settings="spending_record: off"))
    assert not (tmp_path / SPENDING_FILE).exists()
    with pytest.raises(SettingsError):
        settings_with(tmp_path, "total: {day_usd: 5}", "spending_record: off")


async def test_a_warning_at_most_of_a_limit(sandbox_url: str, tmp_path: Path) -> None:
    settings = settings_with(tmp_path, f"total: {{day_usd: {4 * LOW_USD}, warn_at: 0.4}}")
    codes = [[notice.code for notice in (await make(settings)).notices] for _ in range(3)]
    assert ["budget_warning" in each for each in codes] == [False, True, False]
