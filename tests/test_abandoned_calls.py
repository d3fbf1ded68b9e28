"""The record of cancelled calls may hold anything: what is not one of its lines is not counted."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from invokeai_external.root_folder import ABANDONED_FILE
from invokeai_external.service.abandoned_calls import AbandonedCalls, abandoned_calls

NOW = datetime(2026, 11, 30, tzinfo=UTC)
LINE = {"at": NOW.isoformat(), "provider": "openai", "model": "gpt-image-2", "calls": 2}


@pytest.mark.parametrize(
    "wrong",
    [
        *({"calls": calls} for calls in (0, -1, True, 1.5, "1", None, 10**9, 10**90)),
        *({"model": model} for model in ("a\x1b[31m", "a\u202e", "a\nb", "x" * 300, "\ud800", 5)),
        *(
            {"at": at}
            for at in ("never", 5, (NOW - timedelta(days=31)).isoformat(), NOW.replace(tzinfo=None).isoformat())
        ),
    ],
)
def test_only_lines_of_its_form_are_counted(wrong: dict[str, object], tmp_path: Path) -> None:
    lines = [json.dumps({**LINE, **wrong}), json.dumps(LINE), "{", "[" * 9_000, json.dumps({**LINE, "calls": 1})]
    (tmp_path / ABANDONED_FILE).write_text("\n".join(lines), encoding="utf-8")
    assert abandoned_calls(tmp_path, NOW) == {"openai/gpt-image-2": 3}


def test_what_is_recorded_is_counted(tmp_path: Path) -> None:
    AbandonedCalls(tmp_path, clock=NOW.timestamp).add("openai", "gpt-image-2", 4)
    assert abandoned_calls(tmp_path, NOW) == {"openai/gpt-image-2": 4}
