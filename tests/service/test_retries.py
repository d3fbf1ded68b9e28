"""What is sent again and what is not, and what all calls of a model wait for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import httpx
import pytest
import respx

from invokeai_external.errors import NetworkError, ProviderError, RateLimitedError, TimedOutError, UnavailableError
from invokeai_external.progress import Failed, Progress, Received, Retrying, Sending
from invokeai_external.request import GenerationRequest
from invokeai_external.service.service import Service

from ..support.clock import Clock
from .common import ANSWER, GEMINI, MODELS, OPENAI, PNG_1X1, URL, Broken, Order, generate, received_calls, settings_of

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("model", "params"),
    [
        (OPENAI, {"form": "retry-after-ms", "seconds": 0.02}),
        (OPENAI, {"form": "retry-after-seconds", "seconds": 0.02}),
        (OPENAI, {"form": "x-should-retry-true"}),
        (OPENAI, {"form": "words", "seconds": 0.02}),
        (GEMINI, {"form": "words", "seconds": 0.02}),
        (OPENAI, {"form": "none"}),
        (GEMINI, {"form": "retry-info", "delay": "20ms"}),
        (GEMINI, {"form": "none"}),
    ],
)
async def test_a_rate_limit_is_waited_out(
    model: str, params: dict[str, Any], sandbox_url: str, order: Order, tmp_path: Path
) -> None:
    order(model, "rate_limited", **params)
    seen: list[Progress] = []
    result = await generate(settings_of(tmp_path), model, seen=seen)
    assert len(result.images) == 1
    assert [type(event) for event in seen] == [Sending, Retrying, Sending, Received]
    retrying = seen[1]
    assert isinstance(retrying, Retrying)
    assert isinstance(retrying.reason, RateLimitedError)
    assert len(received_calls(sandbox_url)) == 2


async def test_what_one_call_is_asked_to_wait_all_calls_of_its_model_wait(
    sandbox_url: str, order: Order, tmp_path: Path
) -> None:
    order(OPENAI, "rate_limited", form="retry-after-ms", seconds=0.5)
    first: list[Progress] = []
    second: list[Progress] = []
    other: list[Progress] = []

    async with Service(settings_of(tmp_path)) as service, anyio.create_task_group() as group:
        group.start_soon(service.generate, GenerationRequest(model=OPENAI, prompt="a red fox"), first.append)
        while len(first) < 2:
            await anyio.sleep(0.01)
        group.start_soon(service.generate, GenerationRequest(model=OPENAI, prompt="a blue fox"), second.append)
        await service.generate(GenerationRequest(model="openai/gpt-image-2", prompt="a fox"), other.append)
        assert [type(event) for event in other] == [Sending, Received]
    assert [type(event) for event in first] == [Sending, Retrying, Sending, Received]
    assert [type(event) for event in second] == [Retrying, Sending, Received]
    retrying, sending = second[:2]
    assert isinstance(retrying, Retrying)
    assert 0 < retrying.wait_s < 0.5
    assert isinstance(retrying.reason, RateLimitedError)
    assert isinstance(sending, Sending)
    assert sending.attempt == 1


async def test_a_wait_that_is_too_long_for_one_call_holds_the_others_too(
    sandbox_url: str, order: Order, tmp_path: Path
) -> None:
    order(OPENAI, "rate_limited", seconds=300)
    seen: list[Progress] = []
    async with Service(settings_of(tmp_path)) as service:
        request = GenerationRequest(model=OPENAI, prompt="a red fox")
        for _ in range(2):
            with pytest.raises(RateLimitedError, match=r"\b(300|299\.\d) s"):
                await service.generate(request, seen.append)
        await service.generate(replace(request, model="openai/gpt-image-2"))
    assert [type(event) for event in seen] == [Sending, Failed, Failed]
    assert len(received_calls(sandbox_url)) == 2


async def test_a_shorter_wait_does_not_cut_a_longer_one_short(tmp_path: Path, sandbox_url: str) -> None:
    seen: list[Progress] = []
    async with Service(settings_of(tmp_path)) as service:
        service._attempts.hold(OPENAI, RateLimitedError("The first.", status=429, retry_after=0.5))
        service._attempts.hold(OPENAI, RateLimitedError("The second.", status=429, retry_after=0.1))
        await service.generate(GenerationRequest(model=OPENAI, prompt="a red fox"), seen.append)
    assert isinstance(seen[0], Retrying)
    assert seen[0].reason.message == "The first."
    assert 0.4 < seen[0].wait_s <= 0.5


@MODELS
@pytest.mark.parametrize("status", [409, 500, 502, 503])
async def test_a_server_error_is_retried(
    model: str, status: int, sandbox_url: str, order: Order, tmp_path: Path
) -> None:
    order(model, "server_error", status=status)
    result = await generate(settings_of(tmp_path), model)
    assert len(result.images) == 1
    assert len(received_calls(sandbox_url)) == 2


@MODELS
@pytest.mark.parametrize(
    "params",
    [{"fault": "gateway_timeout", "status": s} for s in (504, 520, 522, 524)]
    + [{"fault": "server_error", "status": s} for s in (408, 504)]
    + [{"fault": "server_error", "status": s, "body": "html"} for s in (500, 502, 503)],
)
@pytest.mark.parametrize("previews", [0, 1])
async def test_a_gateway_timeout_is_not_retried_and_may_be_billed(
    model: str, params: dict[str, Any], previews: int, sandbox_url: str, order: Order, tmp_path: Path
) -> None:
    order(model, **params)
    with pytest.raises(ProviderError) as caught:
        await generate(settings_of(tmp_path), model, previews=previews)
    assert (caught.value.status, caught.value.may_be_billed) == (params["status"], True)
    assert len(received_calls(sandbox_url)) == 1


async def test_what_may_be_billed_is_not_retried_though_a_gateway_asks_for_it(
    tmp_path: Path, respx_mock: respx.MockRouter
) -> None:
    answer = httpx.Response(504, headers={"x-should-retry": "true", "retry-after-ms": "1"})
    route = respx_mock.post(URL).mock(return_value=answer)
    with pytest.raises(UnavailableError) as caught:
        await generate(settings_of(tmp_path), OPENAI)
    assert (caught.value.may_be_billed, route.call_count) == (True, 1)


async def test_attempts_are_limited_and_counted(sandbox_url: str, order: Order, tmp_path: Path) -> None:
    order(OPENAI, "server_error", times=9)
    with pytest.raises(UnavailableError, match=r"\b2 times") as caught:
        await generate(settings_of(tmp_path, max_attempts=2), OPENAI)
    assert caught.value.status == 503
    assert len(received_calls(sandbox_url)) == 2


@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError])
async def test_a_request_that_was_never_sent_is_retried(
    error: type[httpx.TransportError], tmp_path: Path, respx_mock: respx.MockRouter
) -> None:
    route = respx_mock.post(URL).mock(side_effect=[error("no"), httpx.Response(200, json=ANSWER)])
    assert len((await generate(settings_of(tmp_path), OPENAI)).images) == 1
    assert route.call_count == 2


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (httpx.ReadTimeout, TimedOutError),
        (httpx.WriteTimeout, TimedOutError),
        (httpx.ReadError, NetworkError),
        (httpx.WriteError, NetworkError),
        (httpx.RemoteProtocolError, NetworkError),
    ],
)
async def test_a_request_that_was_sent_is_not_retried_and_may_be_billed(
    error: type[httpx.TransportError],
    kind: type[ProviderError],
    tmp_path: Path,
    respx_mock: respx.MockRouter,
) -> None:
    route = respx_mock.post(URL).mock(side_effect=error("gone"))
    with pytest.raises(kind) as caught:
        await generate(settings_of(tmp_path), OPENAI)
    assert (caught.value.may_be_billed, route.call_count) == (True, 1)


async def test_a_waiting_call_gives_its_slot_back(sandbox_url: str, order: Order, tmp_path: Path) -> None:
    order(OPENAI, "rate_limited", form="retry-after-ms", seconds=5)
    waits, is_over = anyio.Event(), anyio.Event()

    async def sleep(_: float) -> None:
        waits.set()
        await is_over.wait()

    seen: list[Progress] = []
    async with Service(settings_of(tmp_path, concurrency=1), sleep=sleep) as service:
        with anyio.fail_after(30):
            async with anyio.create_task_group() as group:
                group.start_soon(service.generate, GenerationRequest(model=OPENAI, prompt="a fox"), seen.append)
                await waits.wait()
                await service.generate(GenerationRequest(model="openai/gpt-image-2", prompt="a fox"))
                # The hold is over as well, for this test's sake.
                service._attempts._holds.clear()
                is_over.set()
    assert [type(event) for event in seen] == [Sending, Retrying, Sending, Received]


async def test_a_hold_lasts_two_minutes_at_most_and_then_the_next_call_is_sent(
    sandbox_url: str, order: Order, tmp_path: Path
) -> None:
    order(OPENAI, "rate_limited", seconds=86400)
    clock = Clock()
    request = GenerationRequest(model=OPENAI, prompt="a red fox")
    async with Service(settings_of(tmp_path), clock=clock, sleep=clock.sleep) as service:
        for passed in (0, 119):
            clock.now += passed
            with pytest.raises(RateLimitedError) as caught:
                await service.generate(request)
            assert caught.value.retry_after == 86400 - passed
        assert len(received_calls(sandbox_url)) == 1
        clock.now += 2
        assert len((await service.generate(request)).images) == 1
    assert clock.waits == []


async def test_a_hold_after_a_longer_one_has_ended_counts(sandbox_url: str, tmp_path: Path) -> None:
    clock = Clock()
    async with Service(settings_of(tmp_path), clock=clock, sleep=clock.sleep) as service:
        service._attempts.hold(OPENAI, RateLimitedError("The first.", status=429, retry_after=86400))
        clock.now += 121
        service._attempts.hold(OPENAI, RateLimitedError("The second.", status=429, retry_after=10))
        await service.generate(GenerationRequest(model=OPENAI, prompt="a red fox"))
    assert clock.waits == [10]


async def test_as_many_calls_as_allowed_are_in_flight(tmp_path: Path, respx_mock: respx.MockRouter) -> None:
    in_flight, most = 0, 0

    async def answer(_: httpx.Request) -> httpx.Response:
        nonlocal in_flight, most
        in_flight += 1
        most = max(most, in_flight)
        await anyio.sleep(0.05)
        in_flight -= 1
        part = {"inlineData": {"mimeType": "image/png", "data": PNG_1X1}}
        return httpx.Response(200, json={"candidates": [{"content": {"parts": [part]}, "finishReason": "STOP"}]})

    respx_mock.post(host="generativelanguage.googleapis.com").mock(side_effect=answer)
    result = await generate(settings_of(tmp_path, concurrency=3), GEMINI, n=10)
    assert len(result.images) == 10
    assert most == 3
    assert result.usage is None
    assert result.cost_usd is None


async def test_an_error_whose_body_breaks_off_still_has_its_status(
    tmp_path: Path, respx_mock: respx.MockRouter
) -> None:
    cut_short = httpx.Response(429, headers={"retry-after-ms": "10"}, stream=Broken(httpx.ReadError("gone")))
    route = respx_mock.post(URL).mock(side_effect=[cut_short, httpx.Response(200, json=ANSWER)])
    assert len((await generate(settings_of(tmp_path), OPENAI)).images) == 1
    assert route.call_count == 2
