"""What Invoke's log says after a run: its cost, and what today comes to."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from pathlib import Path

import pytest

from invokeai_external.invoke.run_costs import log_cost
from invokeai_external.root_folder import SPENDING_FILE, USER_FILE
from invokeai_external.settings.settings import load_user_file

from .support.fake_invoke import result_of
from .support.made_up_spending import call, fill

RESULT = replace(result_of("red"), cost_usd=0.041)


@pytest.fixture
def said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "InvokeAI")
    return caplog


def test_it_says_the_cost_and_what_all_users_spent_today(tmp_path: Path, said: pytest.LogCaptureFixture) -> None:
    (tmp_path / USER_FILE).write_text("budgets: {total: {day_usd: 5}, users: {default: {day_usd: 2}}}\n")
    fill(tmp_path / SPENDING_FILE, [call(time.time(), usd=1, user="anna"), call(time.time(), usd=0.37, user="bob")])
    log_cost(load_user_file(tmp_path), RESULT)
    assert said.messages == ["invokeai_external: openai/gpt-image-2: $0.0410, today $1.37 of $5.00"]


@pytest.mark.parametrize("record", ["damaged", "missing", "off"])
def test_it_says_the_cost_if_the_record_cannot_be_read(
    tmp_path: Path, said: pytest.LogCaptureFixture, record: str
) -> None:
    if record == "damaged":
        (tmp_path / SPENDING_FILE).write_bytes(b"this is not a database" * 1000)
    if record == "off":
        fill(tmp_path / SPENDING_FILE, [call(time.time(), usd=1)])
        (tmp_path / USER_FILE).write_text("settings: {spending_record: off}\n")
    log_cost(load_user_file(tmp_path), RESULT)
    assert said.messages == ["invokeai_external: openai/gpt-image-2: $0.0410"]


def test_an_unknown_cost_is_said(tmp_path: Path, said: pytest.LogCaptureFixture) -> None:
    log_cost(load_user_file(tmp_path), replace(RESULT, cost_usd=None))
    assert said.messages == ["invokeai_external: openai/gpt-image-2: cost unknown"]
