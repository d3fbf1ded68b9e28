"""What a killed program was doing: the next command says it, once, and the calls may have been charged."""

from __future__ import annotations

import errno
import json
import os
import signal
import sqlite3
import stat
import threading
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from invokeai_external.adapters.base import SANDBOX_KEY
from invokeai_external.cli.entry_point import main
from invokeai_external.locks import try_lock
from invokeai_external.root_folder import SPENDING_FILE
from invokeai_external.service.interrupted_calls import interrupted_calls, notices_of
from invokeai_external.settings.settings import load_settings
from invokeai_external.spending.limits import Budgets
from invokeai_external.spending.owners import Owner, ended_owners, owners_folder
from invokeai_external.spending.record import SpendingRecord
from invokeai_external.spending.recorded_call import Payer, PlannedCall, RecordedCall, Settlement

from ..support.programs import finished, program

NOON = datetime(2026, 11, 29, 12, 3, 11, tzinfo=UTC)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


def owners(root: Path) -> Path:
    return owners_folder(root / SPENDING_FILE)


def states(root: Path) -> list[str]:
    with closing(sqlite3.connect(root / SPENDING_FILE)) as db:
        return [state for (state,) in db.execute("SELECT state FROM calls")]


def killed(root: Path, name: str = "0123456789abcdef") -> Path:
    """The file that a killed program left."""
    owners(root).mkdir(exist_ok=True)
    path = owners(root) / name
    path.touch()
    return path


def interrupted(model: str, minute: int, provider: str = "openai") -> RecordedCall:
    call = PlannedCall(provider=provider, model=model, n=1, expected=None, at_most=None, basis="unknown")
    started_at = NOON.replace(minute=minute).timestamp()
    return RecordedCall(1, call, Payer(), Settlement(state="sent"), started_at, None, "2026-11-29", False)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
def test_a_call_in_flight_when_the_program_is_killed_is_reported_by_the_next_command(
    signal_number: signal.Signals, root: Path, tmp_path: Path, sandbox_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    order = {"provider": "openai", "fault": "slow", "seconds": 30}
    httpx.post(f"{sandbox_url}/sandbox/faults", json=order).raise_for_status()
    process = program("generate", "a fox", "--model", "openai/gpt-image-2", "--out", tmp_path / "out")
    while not httpx.get(f"{sandbox_url}/sandbox/requests").json()["requests"]:
        assert process.poll() is None
    (path,) = owners(root).iterdir()
    with path.open("r+b") as file:
        assert not try_lock(file.fileno())
    assert interrupted_calls(load_settings(root)) == ()
    process.send_signal(signal_number)
    process.communicate()

    assert main(["models", "--json", "--root", str(root)]) == 0
    told = capsys.readouterr()
    if signal_number == signal.SIGINT:
        assert told.err == ""
    else:
        assert "1 call to OpenAI (gpt-image-2, started " in told.err
        assert "https://platform.openai.com/" in told.err
    json.loads(told.out)
    assert states(root) == ["unconfirmed"]
    assert list(owners(root).iterdir()) == []
    main(["doctor", "--root", str(root)])
    assert capsys.readouterr().err == ""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
def test_a_call_to_the_sandbox_over_http_is_not_said_to_be_billed(
    signal_number: signal.Signals, root: Path, tmp_path: Path, sandbox_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INVOKEAI_EXTERNAL_OPENAI_API_KEY", SANDBOX_KEY)
    order = {"provider": "openai", "fault": "slow", "seconds": 30}
    httpx.post(f"{sandbox_url}/sandbox/faults", json=order).raise_for_status()
    process = program("generate", "a fox", "--model", "openai/gpt-image-2", "--out", tmp_path / "out", "--json")
    while not httpx.get(f"{sandbox_url}/sandbox/requests").json()["requests"]:
        assert process.poll() is None
    process.send_signal(signal_number)
    if signal_number == signal.SIGINT:
        assert "sandbox bills nothing" in finished(process).json["error"]["hint"]
    else:
        process.communicate()
    assert interrupted_calls(load_settings(root)) == ()


@pytest.mark.skipif(os.name != "posix", reason="asks for modes")
def test_the_users_own_folder_is_created_for_the_record_and_a_named_one_is_not(
    tmp_path: Path, sandbox_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["generate", "a fox", "--model", "openai/gpt-image-2", "--out", str(tmp_path / "out")]
    monkeypatch.setenv("INVOKEAI_ROOT", str(tmp_path / "named"))
    assert main(arguments) == 0
    assert not (tmp_path / "named").exists()
    monkeypatch.delenv("INVOKEAI_ROOT")
    assert main(arguments) == 0
    own = tmp_path / "config" / "invokeai-external"
    assert stat.S_IMODE(own.stat().st_mode) == 0o700
    assert {path.name for path in own.iterdir()} == {SPENDING_FILE, f"{SPENDING_FILE}-owners"}
    assert list(owners(own).iterdir()) == []


def test_calls_of_one_model_are_one_notice() -> None:
    calls = [interrupted("gpt-image-2", 9), interrupted("acme-1", 5, "acme"), interrupted("gpt-image-2", 3)]
    notices = notices_of(calls)
    assert [notice.code for notice in notices] == ["left_in_flight"] * 2
    assert all(word in notices[0].message for word in ("2 calls", "OpenAI", "gpt-image-2", "2026-11-29 12:03 UTC"))
    assert "https://platform.openai.com/" in notices[0].message
    assert all(word in notices[1].message for word in ("1 call", "acme", "acme-1"))


def test_the_file_of_a_killed_program_without_calls_is_deleted(root: Path) -> None:
    with closing(SpendingRecord(root / SPENDING_FILE)) as record:
        record.release_ended()
    path = killed(root)
    assert list(ended_owners(owners(root))) == [path.name]
    assert interrupted_calls(load_settings(root)) == ()
    assert not path.exists()


def test_a_folder_that_forbids_deletion_hides_no_call(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program may have deleted the file at the same moment, too."""

    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, "denied", str(path))

    path = killed(root)
    with closing(SpendingRecord(root / SPENDING_FILE)) as record:
        record.reserve([interrupted("gpt-image-2", 9).call], Payer(), Budgets())
        with closing(sqlite3.connect(record.path)) as db, db:
            db.execute("UPDATE calls SET owner = ?", (path.name,))
        monkeypatch.setattr(Path, "unlink", refuse)
        assert len(interrupted_calls(load_settings(root))) == 1
        monkeypatch.undo()


def test_a_record_that_cannot_be_used_stops_no_command(root: Path) -> None:
    killed(root)
    (root / SPENDING_FILE).write_text("not a database, and longer than the first bytes of one")
    assert interrupted_calls(load_settings(root)) == ()


@pytest.mark.skipif(os.name != "posix", reason="makes a FIFO and a link")
def test_only_the_files_of_programs_are_opened_or_deleted(root: Path, tmp_path: Path) -> None:
    owners(root).mkdir()
    os.mkfifo(owners(root) / ("a" * 16))
    (tmp_path / "mine").write_text("mine")
    (owners(root) / ("b" * 16)).symlink_to(tmp_path / "mine")
    (owners(root) / ("c" * 16)).mkdir()
    (owners(root) / "somebody's").write_text("somebody's")
    with closing(SpendingRecord(root / SPENDING_FILE)) as record:
        record.release_ended()
    assert len(list(owners(root).iterdir())) == 4
    assert (tmp_path / "mine").read_text() == "mine"


def test_many_programs_that_start_at_once_take_nothing_from_each_other(root: Path) -> None:
    """A file is there before it is locked: who looks in between takes it away, and its owner makes another."""
    missing: list[int] = []
    over = threading.Event()

    def look() -> None:
        with closing(SpendingRecord(root / SPENDING_FILE)) as record:
            while not over.is_set():
                record.release_ended()

    def start() -> None:
        for number in range(150):
            owner = Owner(owners(root))
            if not (owners(root) / owner.name).exists():
                missing.append(number)
            owner.close()

    looking = threading.Thread(target=look)
    starting = [threading.Thread(target=start) for _ in range(2)]
    for thread in (looking, *starting):
        thread.start()
    for thread in starting:
        thread.join()
    over.set()
    looking.join()
    assert missing == []


def test_names_in_a_record_that_something_else_wrote_are_made_fit_to_be_shown() -> None:
    planned = PlannedCall(
        provider="odd\x1b[31m", model="\u202emodel", n=1, expected=None, at_most=None, basis="unknown"
    )
    call = RecordedCall(1, planned, Payer(), Settlement(state="unconfirmed"), 0.0, None, "1970-01-01")
    [notice] = notices_of([call])
    assert notice.message.isprintable()
    assert "model" in notice.message
