"""A service is open, closed, or of another event loop; and what it uses by default."""

from __future__ import annotations

from pathlib import Path

import anyio
import anyio.from_thread
import anyio.lowlevel
import pytest

from invokeai_external.errors import ServiceStateError
from invokeai_external.request import GenerationRequest
from invokeai_external.service.service import Service

from ..support.clock import Clock
from .common import GEMINI, OPENAI, Order, settings_of

pytestmark = pytest.mark.anyio


async def test_without_a_model_the_newest_of_the_provider_with_a_key_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("INVOKEAI_EXTERNAL_GEMINI_API_KEY")
    async with Service(settings_of(tmp_path)) as service:
        assert service.plan(GenerationRequest(prompt="a fox")).model.reference == "openai/gpt-image-2.6-sunburst"


async def test_the_sandbox_runs_in_process_without_key_or_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INVOKEAI_EXTERNAL_OPENAI_API_KEY")
    monkeypatch.delenv("INVOKEAI_EXTERNAL_GEMINI_API_KEY")
    async with Service(settings_of(tmp_path), sandbox=True) as service:
        for model in (OPENAI, GEMINI):
            result = await service.generate(GenerationRequest(model=model, prompt="a fox"))
            assert [notice.code for notice in result.notices] == ["sandbox"]


async def test_a_closed_service_is_an_error(tmp_path: Path) -> None:
    async with Service(settings_of(tmp_path), sandbox=True) as service:
        pass
    for use in (
        lambda: service.generate(GenerationRequest(model=OPENAI, prompt="a fox")),
        lambda: service.check_connection("openai"),
        service.__aenter__,
    ):
        with pytest.raises(ServiceStateError) as caught:
            await use()
        assert caught.value.code == "service_state"


async def test_a_service_that_is_closed_during_a_call_is_an_error(
    sandbox_url: str, order: Order, tmp_path: Path
) -> None:
    order(OPENAI, "rate_limited", form="retry-after-ms", seconds=5)
    clock = Clock()

    async def sleep(seconds: float) -> None:
        await clock.sleep(seconds)
        await service.aclose()

    service = Service(settings_of(tmp_path), clock=clock, sleep=sleep)
    with pytest.raises(ServiceStateError):
        await service.generate(GenerationRequest(model=OPENAI, prompt="a fox"))


async def test_a_service_cannot_be_entered_twice(tmp_path: Path) -> None:
    async with Service(settings_of(tmp_path), sandbox=True) as service:
        with pytest.raises(ServiceStateError):
            await service.__aenter__()
        await service.generate(GenerationRequest(model=OPENAI, prompt="a fox"))


def test_a_service_belongs_to_one_event_loop(tmp_path: Path) -> None:
    service = Service(settings_of(tmp_path), sandbox=True)
    request = GenerationRequest(model=OPENAI, prompt="a fox")
    assert anyio.run(service.generate, request).images
    with pytest.raises(ServiceStateError):
        anyio.run(service.generate, request)
