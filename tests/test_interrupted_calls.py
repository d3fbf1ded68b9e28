"""What the log says at the start about the calls that an earlier Invoke left unanswered."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from invokeai_external.invoke.interrupted_calls import report_unanswered
from invokeai_external.invoke.look_ahead.sent_record import SentItems
from invokeai_external.invoke.queue_items import ItemId, QueuedItem
from invokeai_external.root_folder import IN_FLIGHT_FOLDER

from .support.fake_invoke import FakeInvoke

ONE, TWO = ItemId(1, "batch"), ItemId(2, "batch")


@pytest.fixture
def invoke(tmp_path: Path) -> FakeInvoke:
    return FakeInvoke(tmp_path)


def crash(root: Path, *items: ItemId) -> None:
    """An Invoke is killed with a call of each item in flight."""
    sent_items = SentItems(root)
    sent_items.open()
    for item in items:
        sent_items.add(item, "openai", "gpt-image-2")


def reported(invoke: FakeInvoke, caplog: pytest.LogCaptureFixture) -> list[object]:
    """The arguments of each warning at the next start."""
    report_unanswered(invoke, SentItems(invoke.root))
    assert {record.levelno for record in caplog.records} <= {logging.WARNING}
    return [record.args for record in caplog.records]


def test_a_start_after_an_orderly_stop_reports_nothing(invoke: FakeInvoke, caplog: pytest.LogCaptureFixture) -> None:
    assert reported(invoke, caplog) == []


def test_the_items_that_are_still_queued_are_reported_by_number(
    invoke: FakeInvoke, caplog: pytest.LogCaptureFixture
) -> None:
    crash(invoke.root, ONE, TWO)
    invoke.queue = [QueuedItem(TWO, "pending")]
    assert reported(invoke, caplog) == [(1, "2")]


def write(root: Path, name: str, *lines: dict[str, object]) -> None:
    """A file as a killed process left it."""
    folder = root / IN_FLIGHT_FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")


def test_calls_in_flight_are_counted_for_each_model(invoke: FakeInvoke, caplog: pytest.LogCaptureFixture) -> None:
    call = {"sent_at": "2026-11-29T12:03:11+00:00", "provider": "openai", "model": "gpt-image-2", "n": 1}
    write(invoke.root, "killed", {"format": 1}, {"begin": 1, **call}, {"begin": 2, **call})
    write(invoke.root, "newer", {"format": 2})
    counted, newer = reported(invoke, caplog)
    assert counted == ("2 calls to openai/gpt-image-2 were",)
    assert "newer" in str(newer)


def test_a_queue_that_cannot_be_read_does_not_stop_the_start(
    invoke: FakeInvoke, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> list[QueuedItem]:
        raise OSError("the database is locked")

    crash(invoke.root, ONE)
    monkeypatch.setattr(invoke, "queued_items", fail)
    failure, items = reported(invoke, caplog)
    assert "the database is locked" in str(failure)
    assert items == (1, "1")
