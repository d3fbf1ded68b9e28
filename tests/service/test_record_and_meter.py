"""The record against the sandbox's meter, which has its own prices and its own token rules, over HTTP: the sums are
equal to the nano-dollar, and what differs is in what may have been charged, and nowhere else."""

from __future__ import annotations

import contextlib
import datetime
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from PIL import Image

from invokeai_external.errors import ProviderError
from invokeai_external.progress import Preview, Progress, Sending
from invokeai_external.request import GenerationRequest
from invokeai_external.root_folder import SPENDING_FILE
from invokeai_external.service.service import Service
from invokeai_external.settings.settings import load_settings
from invokeai_external.sizing import Size
from invokeai_external.spending.amounts import nano
from invokeai_external.spending.record import SpendingRecord
from invokeai_external.spending.reports import sum_of, totals

from ..support.reckoning import reckon, rows_in
from .common import png_file

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

FLARE, OLDER, NANO, PRO = (
    "openai/gpt-image-2.5-flare",
    "openai/gpt-image-1.5",
    "gemini/gemini-nano-banana-2.1",
    "gemini/gemini-3-pro-image",
)
SQUARE = Size(1024, 1024)
LONG_S = 60.0
"""Longer than anybody waits here."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "invokeai_external.yaml").write_text("settings: {record_prompts: true}\n", encoding="utf-8")
    return tmp_path


class Desk:
    """Orders faults, and reads the log of the sandbox."""

    def __init__(self, url: str) -> None:
        self._url = url

    def order(self, provider: str, fault: str, **params: Any) -> None:
        answer = httpx.post(f"{self._url}/sandbox/faults", json={"provider": provider, "fault": fault, **params})
        assert answer.is_success, answer.text

    def log(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = httpx.get(f"{self._url}/sandbox/requests").json()["requests"]
        return found

    async def has_received(self, prompt: str) -> None:
        """Wait until a request with this prompt has arrived."""
        while f"'{prompt}'" not in str(self.log()):
            await anyio.sleep(0.05)


@pytest.fixture
def desk(sandbox_url: str) -> Desk:
    return Desk(sandbox_url)


async def states(service: Service, root: Path, prompt: str, **request: Any) -> list[str]:
    """Make images of a prompt that no other request has; returns the states of its calls."""
    with contextlib.suppress(ProviderError):
        await service.generate(GenerationRequest(prompt=prompt, **request))
    await service.settled()
    return [row.end.state for row in rows_in(root) if row.call.prompt == prompt]


async def test_the_sums_are_equal_but_for_what_may_have_been_charged(root: Path, desk: Desk) -> None:
    photo = png_file(Image.new("RGB", (640, 480), "red"), "photo.png")
    mask = png_file(Image.new("L", (640, 480), 255), "mask.png")
    async with Service(load_settings(root)) as service:
        # Images, several in a call and in several calls, edits, previews, and what is left to the model.
        assert await states(service, root, "two", model=FLARE, n=2) == ["charged"]
        assert await states(service, root, "with text", model=OLDER, n=2, size=SQUARE) == ["charged"]
        assert await states(service, root, "three calls", model=NANO, n=3) == ["charged"] * 3
        assert await states(service, root, "large", model=PRO, image_size="4K", references=(photo,)) == ["charged"]
        assert await states(service, root, "an edit", model=FLARE, init_image=photo, mask=mask) == ["charged"]
        assert await states(service, root, "in steps", model=FLARE, previews=2, size=SQUARE) == ["charged"]
        # Tried again, and refused.
        desk.order("openai", "rate_limited", seconds=0.01, times=2)
        assert await states(service, root, "twice", model=FLARE) == ["charged"]
        desk.order("openai", "server_error", status=503)
        assert await states(service, root, "once more", model=FLARE) == ["charged"]
        desk.order("openai", "moderation")
        assert await states(service, root, "blocked", model=FLARE) == ["not_charged"]
        desk.order("gemini", "quota")
        assert await states(service, root, "no quota", model=NANO) == ["not_charged"]
        # In part, and in a response that reports tokens.
        desk.order("gemini", "refusal_text")
        assert sorted(await states(service, root, "in part", model=NANO, n=3)) == ["charged", "charged", "unconfirmed"]
        desk.order("gemini", "blocked_prompt")
        assert await states(service, root, "refused", model=NANO) == ["unconfirmed"]
        desk.order("gemini", "stream_error", status=429)
        assert await states(service, root, "ended in steps", model=NANO, previews=1) == ["unconfirmed"]
        desk.order("openai", "bad_base64")
        assert await states(service, root, "broken", model=FLARE) == ["unconfirmed"]
        desk.order("openai", "dropped_connection")
        assert await states(service, root, "dropped", model=FLARE) == ["unconfirmed"]
        # Cancelled before it is sent, while it is in flight, and while previews arrive.
        with anyio.CancelScope() as before:
            before.cancel()
            await service.generate(GenerationRequest(prompt="never sent", model=FLARE))
        await _cancelled(service, desk, "in flight", model=FLARE)
        await _cancelled(service, desk, "after a preview", model=FLARE, previews=3, size=SQUARE)
        # From here on, it requests no streams of this provider.
        desk.order("openai", "stream_refused")
        assert await states(service, root, "without steps", model=FLARE, previews=1) == ["charged"]
    settings = load_settings(root)
    impatient = settings.limits.model_copy(update={"timeout_s": 2.0, "total_timeout_s": 2.0})
    async with Service(replace(settings, limits=impatient)) as service:
        desk.order("gemini", "slow", seconds=LONG_S)
        assert await states(service, root, "too slow", model=NANO) == ["unconfirmed"]
    rows = rows_in(root)
    ends = {row.call.prompt: row.end.state for row in rows}
    # The tokens that Google reports are the most that it can charge for a refusal.
    refused = [row for row in rows if row.call.prompt == "refused"]
    assert [row.call.at_most for row in refused] == [nano(2 * 1.5 / 1e6)]
    assert (ends["in flight"], ends["after a preview"]) == ("unconfirmed", "unconfirmed")
    assert "never sent" not in ends
    found = reckon(rows, desk.log())
    assert found.wrong == []
    assert found.metered == found.charged + found.may_be
    assert found.may_be > 0
    record = SpendingRecord(root / SPENDING_FILE)
    with record.reading() as db:
        total = sum_of(totals(db, "day", since=datetime.date.min))
    record.close()
    assert (total.charged, total.reserved) == (found.charged, 0)
    assert total.unconfirmed >= found.may_be
    # No request was sent that the record does not have.
    metered = sum(round(entry["metered"]["usd"] * 1e9) for entry in desk.log() if entry["metered"])
    assert metered == found.metered


async def _cancelled(service: Service, desk: Desk, prompt: str, **request: Any) -> None:
    """Cancel a request after it has arrived at the provider, or after its first preview."""
    request_ = GenerationRequest(prompt=prompt, **request)
    desk.order("openai", "slow_stream" if request_.previews else "slow", seconds=1.0 if request_.previews else LONG_S)
    seen = anyio.Event()

    def on_progress(progress: Progress) -> None:
        if isinstance(progress, Preview if request_.previews else Sending):
            seen.set()

    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            group.start_soon(service.generate, request_, on_progress)
            await seen.wait()
            await desk.has_received(prompt)
            group.cancel_scope.cancel()


async def test_what_a_killed_program_had_sent_may_have_been_charged(root: Path, desk: Desk) -> None:
    desk.order("openai", "slow", seconds=LONG_S)
    command = [sys.executable, "-m", "invokeai_external", "generate", "killed", "--model", FLARE, "--root", str(root)]
    child = subprocess.Popen([*command, "--out", str(root / "out")], stdout=subprocess.DEVNULL)
    with anyio.fail_after(60):
        await desk.has_received("killed")
    # The record may hear of it a moment later than the provider.
    deadline = time.monotonic() + 10
    while [row.end.state for row in rows_in(root)] != ["sent"] and time.monotonic() < deadline:
        await anyio.sleep(0.05)
    child.kill()
    child.wait()
    async with Service(load_settings(root)) as service:
        assert await states(service, root, "afterwards", model=FLARE) == ["charged"]
    rows = rows_in(root)
    assert [row.end.state for row in rows] == ["unconfirmed", "charged"]
    found = reckon(rows, desk.log())
    assert found.wrong == []
    assert found.metered > found.charged > 0
    record = SpendingRecord(root / SPENDING_FILE)
    record.confirm([rows[0].id], charged=True)
    record.close()
    assert [row.end.cost for row in rows_in(root)] == [rows[0].call.at_most, rows[1].end.cost]
