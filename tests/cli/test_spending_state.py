"""What ``doctor`` says of the spending record."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from invokeai_external.cli.spending_state import spending_state
from invokeai_external.root_folder import SPENDING_FILE, USER_FILE
from invokeai_external.settings.settings import load_user_file
from invokeai_external.spending.limits import Budgets
from invokeai_external.spending.record import SpendingRecord
from invokeai_external.spending.recorded_call import Payer, PlannedCall, Settlement


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's own folder."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    folder = tmp_path / "config" / "invokeai-external"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def root(tmp_path: Path, own: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


def state(root: Path) -> list[tuple[bool, str]]:
    return list(spending_state(load_user_file(root), root))


def pay(folder: Path, state: str = "charged") -> None:
    with closing(SpendingRecord(folder / SPENDING_FILE)) as record:
        call = PlannedCall(provider="openai", model="m", n=1, expected=1, at_most=1, basis="exact")
        [number] = record.reserve([call], Payer(), Budgets()).ids
        record.settle(number, Settlement(state=state, cost=1 if state == "charged" else None))  # type: ignore[arg-type]


def test_it_names_the_file_and_does_not_make_it(root: Path) -> None:
    [(good, text)] = state(root)
    assert (good, str(root / SPENDING_FILE) in text, list(root.iterdir())) == (True, True, [])
    pay(root)
    [(good, text)] = state(root)
    assert (good, f"{root / SPENDING_FILE}: 1 call, " in text) == (True, True)


def test_it_says_that_the_root_folder_is_missing(root: Path) -> None:
    [(good, text)] = state(root / "typo")
    assert (good, str(root / "typo") in text) == (False, True)


def test_it_says_what_may_have_been_charged(root: Path) -> None:
    pay(root, "unconfirmed")
    [_, (good, text)] = state(root)
    assert (good, f"invokeai-external spend confirm --root {root}" in text) == (True, True)


def test_it_says_that_the_command_line_uses_another_record(root: Path, own: Path) -> None:
    pay(own)
    *_, (good, text) = state(root)
    assert (good, str(own / SPENDING_FILE) in text) == (True, True)
    # The two are one.
    (root / USER_FILE).write_text(f"settings: {{spending_record: {own / SPENDING_FILE}}}", encoding="utf-8")
    assert len(state(root)) == 1
    assert len(state(own)) == 1


def test_it_says_how_a_record_on_a_network_disk_is_written(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("cli.spending_state", "spending.database"):
        monkeypatch.setattr(f"invokeai_external.{module}.is_on_network", lambda _: True)
    pay(root)
    [_, (good, text)] = state(root)
    assert (good, "journal mode is delete" in text) == (True, True)


def test_a_record_that_is_off_or_broken(root: Path, own: Path) -> None:
    (root / SPENDING_FILE).write_bytes(b"no database" * 500)
    [(good, text)] = state(root)
    assert (good, str(root / SPENDING_FILE) in text) == (False, True)
    (root / USER_FILE).write_text("settings: {spending_record: off}", encoding="utf-8")
    [(good, _)] = state(root)
    assert good
    # What is wrong in the other folder does not matter here.
    (root / USER_FILE).unlink()
    (root / SPENDING_FILE).unlink()
    (own / USER_FILE).write_text("settings: 5", encoding="utf-8")
    assert len(state(root)) == 1


def test_doctor_has_these_lines(run: Any, root: Path) -> None:
    pay(root)
    assert str(root / SPENDING_FILE) in run("doctor", "--root", root).stdout
