"""What is sent before its turn is recorded, so that the next start knows what may be billed twice."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from invokeai_external.invoke.look_ahead.sent_record import FILE, SentItems
from invokeai_external.invoke.queue_items import ItemId

ONE, TWO = ItemId(1, "batch"), ItemId(2, "batch")


@pytest.fixture
def sent(tmp_path: Path) -> SentItems:
    made = SentItems(tmp_path, clock=lambda: 0.0)
    made.open()
    return made


def test_a_call_in_flight_when_invoke_is_killed_is_unconfirmed_at_the_next_start(
    sent: SentItems, tmp_path: Path
) -> None:
    assert sent.was_orderly
    sent.add(ONE, "openai", "gpt-image-2")
    sent.add(TWO, "openai", "gpt-image-2")
    sent.confirm(TWO)
    held = json.loads((tmp_path / FILE).read_text(encoding="utf-8"))
    entry = {"provider": "openai", "model": "gpt-image-2", "sent_at": "1970-01-01T00:00:00+00:00"}
    assert held == {"format": 1, "orderly": False, "items": [{"number": 1, "batch": "batch", **entry}]}
    following = SentItems(tmp_path)
    assert not following.was_orderly
    assert following.unconfirmed() == [ONE]
    assert not following.is_unconfirmed(TWO)
    # A new database starts at 1 again.
    assert not following.is_unconfirmed(ItemId(1, "another batch"))


def test_an_item_with_several_runs_is_unconfirmed_until_all_are_confirmed(sent: SentItems, tmp_path: Path) -> None:
    for _ in range(2):
        sent.add(ONE, "openai", "gpt-image-2")
    sent.confirm(ONE)
    assert SentItems(tmp_path).unconfirmed() == [ONE]
    sent.confirm(ONE)
    sent.confirm(ONE)
    assert SentItems(tmp_path).unconfirmed() == []


def test_an_orderly_stop_leaves_only_the_items_that_are_not_confirmed(sent: SentItems, tmp_path: Path) -> None:
    sent.add(ONE, "openai", "gpt-image-2")
    sent.close()
    following = SentItems(tmp_path)
    assert following.was_orderly
    assert following.unconfirmed() == [ONE]
    following.open()
    # It is killed before the item's turn.
    assert SentItems(tmp_path).unconfirmed() == [ONE]
    following.retain({TWO})
    following.close()
    assert list(tmp_path.iterdir()) == []


def test_without_look_ahead_nothing_is_written(tmp_path: Path) -> None:
    sent = SentItems(tmp_path)
    sent.add(ONE, "openai", "gpt-image-2")
    sent.retain(set())
    sent.close()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_is_ignored(tmp_path: Path) -> None:
    sent = SentItems(tmp_path / "gone")
    sent.open()
    sent.add(ONE, "openai", "gpt-image-2")
    sent.confirm(ONE)
    sent.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"items": 3}', '{"items": [3, {"number": "1"}]}'])
def test_a_file_that_cannot_be_read_is_ignored(text: str, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(text, encoding="utf-8")
    assert SentItems(tmp_path).unconfirmed() == []


def test_the_file_of_a_newer_version_is_not_changed(tmp_path: Path) -> None:
    text = '{"format": 2, "orderly": false}'
    (tmp_path / FILE).write_text(text, encoding="utf-8")
    sent = SentItems(tmp_path)
    assert not sent.was_orderly
    sent.open()
    sent.add(ONE, "openai", "gpt-image-2")
    sent.close()
    assert (tmp_path / FILE).read_text(encoding="utf-8") == text


@pytest.mark.skipif(os.name != "posix", reason="modes are of POSIX")
def test_others_on_the_machine_cannot_read_it(sent: SentItems, tmp_path: Path) -> None:
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
