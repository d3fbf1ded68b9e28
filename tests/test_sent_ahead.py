"""What is sent before its turn is written down, so that the next start knows what may be billed twice."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from invokeai_external.invoke.look_ahead.sent_items import FILE, Item, SentAhead

ONE, TWO = Item(1, "batch"), Item(2, "batch")


@pytest.fixture
def sent(tmp_path: Path) -> SentAhead:
    made = SentAhead(tmp_path, clock=lambda: 0.0)
    made.open()
    return made


def test_what_is_out_when_invoke_is_killed_is_known_at_the_next_start(sent: SentAhead, tmp_path: Path) -> None:
    assert sent.was_orderly
    sent.begin(ONE, "openai", "gpt-image-2")
    sent.begin(TWO, "openai", "gpt-image-2")
    sent.answered(TWO)
    held = json.loads((tmp_path / FILE).read_text(encoding="utf-8"))
    entry = {"provider": "openai", "model": "gpt-image-2", "sent_at": "1970-01-01T00:00:00+00:00"}
    assert held == {"format": 1, "orderly": False, "items": [{"number": 1, "batch": "batch", **entry}]}
    following = SentAhead(tmp_path)
    assert not following.was_orderly
    assert following.doubtful() == [ONE]
    assert not following.is_doubtful(TWO)
    # A new database begins again at 1.
    assert not following.is_doubtful(Item(1, "another batch"))


def test_an_item_with_several_runs_is_out_until_all_are_answered(sent: SentAhead, tmp_path: Path) -> None:
    for _ in range(2):
        sent.begin(ONE, "openai", "gpt-image-2")
    sent.answered(ONE)
    assert SentAhead(tmp_path).doubtful() == [ONE]
    sent.answered(ONE)
    sent.answered(ONE)
    assert SentAhead(tmp_path).doubtful() == []


def test_an_orderly_stop_leaves_only_what_was_not_answered(sent: SentAhead, tmp_path: Path) -> None:
    sent.begin(ONE, "openai", "gpt-image-2")
    sent.close()
    following = SentAhead(tmp_path)
    assert following.was_orderly
    assert following.doubtful() == [ONE]
    following.open()
    # It is killed before the item has come to its turn.
    assert SentAhead(tmp_path).doubtful() == [ONE]
    following.retain({TWO})
    following.close()
    assert list(tmp_path.iterdir()) == []


def test_without_looking_ahead_nothing_is_written(tmp_path: Path) -> None:
    sent = SentAhead(tmp_path)
    sent.begin(ONE, "openai", "gpt-image-2")
    sent.retain(set())
    sent.close()
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_is_passed_over(tmp_path: Path) -> None:
    sent = SentAhead(tmp_path / "gone")
    sent.open()
    sent.begin(ONE, "openai", "gpt-image-2")
    sent.answered(ONE)
    sent.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"items": 3}', '{"items": [3, {"number": "1"}]}'])
def test_what_cannot_be_read_stops_nothing(text: str, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(text, encoding="utf-8")
    assert SentAhead(tmp_path).doubtful() == []


def test_the_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    text = '{"format": 2, "orderly": false}'
    (tmp_path / FILE).write_text(text, encoding="utf-8")
    sent = SentAhead(tmp_path)
    assert not sent.was_orderly
    sent.open()
    sent.begin(ONE, "openai", "gpt-image-2")
    sent.close()
    assert (tmp_path / FILE).read_text(encoding="utf-8") == text


@pytest.mark.skipif(os.name != "posix", reason="modes are of POSIX")
def test_others_on_the_machine_cannot_read_it(sent: SentAhead, tmp_path: Path) -> None:
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
