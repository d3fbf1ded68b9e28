"""``data``: the spending record is copied, restored and deleted, and nothing happens without a yes."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from invokeai_external.root_folder import SPENDING_FILE, USER_FILE
from invokeai_external.spending.limits import Budgets
from invokeai_external.spending.record import SpendingRecord
from invokeai_external.spending.recorded_call import Payer, PlannedCall, Settlement


def pay(root: Path, state: str = "charged") -> None:
    with closing(SpendingRecord(root / SPENDING_FILE)) as record:
        call = PlannedCall(provider="openai", model="m", n=1, expected=1, at_most=1, basis="exact")
        [number] = record.reserve([call], Payer(), Budgets()).ids
        record.settle(number, Settlement(state=state, cost=1 if state == "charged" else None))  # type: ignore[arg-type]


def calls(run: Any) -> list[int]:
    return [call["id"] for call in run("spend", "show", "--json").json["calls"]]


def test_a_folder_in_the_place_of_a_copy_is_not_said_to_be_missing(run: Any, root: Path, tmp_path: Path) -> None:
    errors = [run("data", "restore", path, "--json").json["error"] for path in (tmp_path, tmp_path / "missing")]
    assert [error["code"] for error in errors] == ["invalid_request"] * 2
    assert ["There is no" in error["message"] for error in errors] == [False, True]


def test_a_copy_is_written_and_restored(run: Any, root: Path, tmp_path: Path) -> None:
    pay(root)
    copy, record = tmp_path / "copy", str(root / SPENDING_FILE)
    expected = {"spending_record": record, "file": str(copy), "calls": 1}
    assert run("data", "backup", copy, "--json").json == expected
    pay(root)
    assert calls(run) == [2, 1]
    assert run("data", "restore", copy, "--yes", "--json").json == expected
    assert calls(run) == [1]
    # Into a root without a record, there is nothing to lose.
    (root / SPENDING_FILE).unlink()
    assert run("data", "restore", copy).code == 0
    assert calls(run) == [1]


def test_the_record_is_named(run: Any, root: Path, tmp_path: Path) -> None:
    pay(root)
    for arguments in [("backup", tmp_path / "copy"), ("restore", tmp_path / "copy", "--yes"), ("delete", "--yes")]:
        found = run("data", *arguments)
        assert (found.code, str(root / SPENDING_FILE) in found.stdout) == (0, True)


def test_what_is_deleted_is_gone(run: Any, root: Path) -> None:
    pay(root)
    pay(root, "unconfirmed")
    assert run("data", "delete", "--yes", "--json").json == {
        "spending_record": str(root / SPENDING_FILE),
        "deleted": 2,
        "in_progress": 0,
    }
    assert calls(run) == []
    assert run("spend", "--json").json["totals"] == []


@pytest.mark.parametrize("command", ["restore", "delete"])
@pytest.mark.parametrize("reply", ["y", "n", None])
def test_it_asks_before_anything_is_lost(
    run: Any, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, reply: str | None
) -> None:
    pay(root)
    run("data", "backup", tmp_path / "copy")
    pay(root)
    asked: list[str] = []

    def ask(question: str, **options: object) -> bool:
        asked.append(question)
        return reply == "y"

    monkeypatch.setattr("invokeai_external.cli.commands.data.is_terminal", lambda: reply is not None)
    monkeypatch.setattr("typer.confirm", ask)
    arguments = [tmp_path / "copy"] if command == "restore" else []
    # Without a terminal, there is nobody to ask.
    assert run("data", command, *arguments).code == (2 if reply is None else 0)
    assert len(asked) == (reply is not None)
    changed = [1] if command == "restore" else []
    assert calls(run) == (changed if reply == "y" else [2, 1])


def test_what_cannot_be_done(run: Any, root: Path, tmp_path: Path) -> None:
    pay(root)
    copy = tmp_path / "copy"
    assert run("data", "backup", copy).code == 0
    for arguments in [
        ("backup", copy),
        ("backup", tmp_path / "nowhere" / "copy"),
        ("restore", tmp_path / "nothing", "--yes"),
        ("restore", tmp_path, "--yes"),
        ("restore", copy, "--yes", "--root", tmp_path / "mistyped"),
    ]:
        refused = run("data", *arguments, "--json")
        assert (refused.code, refused.json["error"]["code"]) == (2, "invalid_request")
    assert calls(run) == [1]
    assert not (tmp_path / "mistyped").exists()


def test_without_a_record(run: Any, root: Path, tmp_path: Path) -> None:
    assert run("data", "backup", tmp_path / "copy").code == 2
    assert run("data", "delete", "--yes").code == 2
    (root / USER_FILE).write_text("settings: {spending_record: off}", encoding="utf-8")
    assert run("data", "delete", "--yes").code == 2
    assert not (root / SPENDING_FILE).exists()


@pytest.mark.parametrize("arguments", [("backup", "copy"), ("delete", "--yes")])
def test_a_broken_record_is_an_error(
    run: Any, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    (root / SPENDING_FILE).write_bytes(b"no database" * 500)
    refused = run("data", *arguments, "--json")
    assert (refused.code, refused.json["error"]["code"]) == (2, "spending_record")
