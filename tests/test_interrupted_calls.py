"""What the log says at the start about the calls that an earlier Invoke left unanswered."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from invokeai_external.invoke.interrupted_calls import report_unanswered
from invokeai_external.invoke.look_ahead.sent_record import SentItems
from invokeai_external.invoke.queue_items import ItemId, QueuedItem
from invokeai_external.root_folder import SPENDING_FILE
from invokeai_external.settings.settings import load_settings
from invokeai_external.spending.limits import Budgets
from invokeai_external.spending.owners import owners_folder
from invokeai_external.spending.record import SpendingRecord
from invokeai_external.spending.recorded_call import Payer, PlannedCall

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
    report_unanswered(invoke, partial(load_settings, invoke.root), SentItems(invoke.root))
    assert {record.levelno for record in caplog.records} <= {logging.WARNING}
    return [record.args for record in caplog.records]


def test_a_start_after_an_orderly_stop_reports_nothing(invoke: FakeInvoke, caplog: pytest.LogCaptureFixture) -> None:
    assert reported(invoke, caplog) == []


def test_the_items_that_are_still_queued_are_reported_by_number(
    invoke: FakeInvoke, caplog: pytest.LogCaptureFixture
) -> None:
    crash(invoke.root, ONE, TWO)
    invoke.queue = [QueuedItem(TWO, "pending")]
    assert reported(invoke, caplog) == [("2",)]


def test_calls_in_flight_are_counted_for_each_model(invoke: FakeInvoke, caplog: pytest.LogCaptureFixture) -> None:
    with closing(SpendingRecord(invoke.root / SPENDING_FILE)) as record:
        call = PlannedCall(provider="openai", model="gpt-image-2", n=1, expected=None, at_most=None, basis="unknown")
        record.reserve([call, call], Payer("invoke"), Budgets())
        # As if it was killed: its file remains, and nothing is settled.
        (owner,) = owners_folder(record.path).iterdir()
        with closing(sqlite3.connect(record.path)) as db, db:
            db.execute("UPDATE calls SET owner = ?", ("f" * 16,))
        owner.with_name("f" * 16).touch()
        assert reported(invoke, caplog) == [("2 calls to openai/gpt-image-2 were",)]


def test_a_queue_that_cannot_be_read_does_not_stop_the_start(
    invoke: FakeInvoke, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> list[QueuedItem]:
        raise OSError("the database is locked")

    crash(invoke.root, ONE)
    monkeypatch.setattr(invoke, "queued_items", fail)
    failure, items = reported(invoke, caplog)
    assert "the database is locked" in str(failure)
    assert items == ("1",)
