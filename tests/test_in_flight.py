"""Calls in flight, written down: what a process that is killed leaves behind, and that nothing else leaves anything."""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from invokeai_external.adapters.base import SANDBOX_KEY
from invokeai_external.cli.entry_point import main
from invokeai_external.errors import NetworkError, RateLimitedError
from invokeai_external.locks import try_lock
from invokeai_external.progress import Failed, Progress, Received, Retrying, Sending
from invokeai_external.root_folder import IN_FLIGHT_FOLDER, SPENDING_FILE
from invokeai_external.service.in_flight import InFlight, LeftBehind, LeftCall, left_behind, notices_of

from .support.programs import finished, program

NOON = datetime(2026, 11, 29, 12, 3, 11, tzinfo=UTC)
CALL = ("openai", "gpt-image-2", 1)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


def files(root: Path) -> list[Path]:
    return sorted((root / IN_FLIGHT_FOLDER).glob("*"))


def lines(root: Path) -> list[dict[str, Any]]:
    (path,) = files(root)
    return [json.loads(line) for line in path.read_text().splitlines()]


def record(root: Path) -> InFlight:
    return InFlight(root, clock=NOON.timestamp)


def write(root: Path, *content: object, name: str = "dead") -> Path:
    """A file as a dead process left it."""
    (root / IN_FLIGHT_FOLDER).mkdir(mode=0o700, exist_ok=True)
    path = root / IN_FLIGHT_FOLDER / f"{name}.jsonl"
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in content))
    return path


def begin(number: int = 1, **other: object) -> dict[str, object]:
    names = {"provider": "openai", "model": "gpt-image-2", "n": 2}
    return {"begin": number, "sent_at": NOON.isoformat(), **names, **other}


def test_a_call_is_recorded_before_it_is_sent_and_removed_when_it_is_over(root: Path) -> None:
    seen: list[tuple[type[Progress], int]] = []

    def look(progress: Progress) -> None:
        open_calls = 0
        if files(root):
            open_calls = sum("begin" in line for line in lines(root)) - sum("end" in line for line in lines(root))
        seen.append((type(progress), open_calls))

    with record(root).call(*CALL, look) as tell:
        tell(Sending(1, 1, 1))
        (path,) = files(root)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert lines(root) == [
            {"format": 1},
            {"begin": 1, "sent_at": NOON.isoformat(), "provider": "openai", "model": "gpt-image-2", "n": 1},
        ]
        # While it waits for its next try nothing is in flight.
        tell(Retrying(1, 1, 8.0, RateLimitedError("Slow down.")))
        tell(Sending(1, 1, 2))
        # Its images may be nowhere but in memory until the caller has taken them.
        tell(Received(1, 1, ()))
    assert seen == [(Sending, 1), (Retrying, 0), (Sending, 1), (Received, 1)]
    assert files(root) == []


@pytest.mark.parametrize("ended_by", [NetworkError("It broke."), KeyboardInterrupt()], ids=lambda e: type(e).__name__)
def test_a_call_is_over_when_its_caller_knows_how_it_ended(root: Path, ended_by: BaseException) -> None:
    def stop(_: Progress) -> None:
        assert len(files(root)) == 1
        raise ended_by

    with pytest.raises(type(ended_by)), record(root).call(*CALL, stop) as tell:
        tell(Sending(1, 1, 1))
    assert files(root) == []


def test_parallel_calls_share_a_file_that_is_deleted_with_the_last(root: Path) -> None:
    in_flight = record(root)
    with in_flight.call(*CALL, lambda _: None) as first:
        first(Sending(1, 2, 1))
        with in_flight.call("gemini", "gemini-3-pro-image", 1, lambda _: None) as second:
            second(Sending(2, 2, 1))
            second(Failed(2, 2, NetworkError("It broke.")))
        assert [line.get("end") for line in lines(root)] == [None, None, None, 2]
    assert files(root) == []


def test_a_running_process_is_not_taken_for_a_killed_one(root: Path) -> None:
    with record(root).call(*CALL, lambda _: None) as tell:
        tell(Sending(1, 1, 1))
        assert left_behind(root) == LeftBehind()
        assert len(files(root)) == 1
    with record(root).call(*CALL, lambda _: None) as tell:
        tell(Sending(1, 1, 1))
        assert len(files(root)) == 1


def test_many_processes_that_start_at_once_take_nothing_from_each_other(root: Path) -> None:
    """A file is there before it is locked: who looks in between takes it away, and its owner makes another."""
    found: list[LeftBehind] = []
    missing: list[int] = []
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            found.append(left_behind(root))

    def start() -> None:
        for number in range(150):
            with record(root).call(*CALL, lambda _: None) as tell:
                tell(Sending(1, 1, 1))
                if not files(root):
                    missing.append(number)

    looking = threading.Thread(target=look)
    starting = [threading.Thread(target=start) for _ in range(2)]
    for thread in (looking, *starting):
        thread.start()
    for thread in starting:
        thread.join()
    over.set()
    looking.join()
    assert missing == []
    assert set(found) == {LeftBehind()}


def test_open_calls_are_reported_once(root: Path) -> None:
    write(root, {"format": 1}, begin(1), begin(2, model="gpt-image-3"), {"end": 1}, '{"begin": 3, "sent_')
    assert left_behind(root) == LeftBehind((LeftCall("openai", "gpt-image-3", 2, NOON),))
    assert files(root) == []
    assert left_behind(root) == LeftBehind()


@pytest.mark.parametrize(
    "content",
    [
        [],
        [{"format": 1}],
        ["\0" * 4096],
        ["[" * 100_000],
        [
            {"format": 1},
            begin(sent_at="yesterday"),
            begin(sent_at="0001-01-01T00:00+14:00"),
            begin(provider=7),
            begin(model="\x1b[31m"),
            [],
            3,
            "1e999",
        ],
        [{"format": 1}, begin(model="m" * 3000)],
    ],
    ids=["empty", "only its head", "zeros after a crash", "deep", "odd values", "endless name"],
)
def test_a_file_without_calls_is_deleted_silently(root: Path, content: list[object]) -> None:
    write(root, *content)
    assert left_behind(root) == LeftBehind()
    assert files(root) == []


@pytest.mark.parametrize("line", [{"text": "somebody's"}, {"format": "b"}, begin()])
def test_files_of_other_programs_are_ignored(root: Path, line: object) -> None:
    path = write(root, line, line)
    assert left_behind(root) == LeftBehind()
    assert files(root) == [path]


def test_files_of_newer_versions_are_reported_and_not_read(root: Path) -> None:
    path = write(root, {"format": 2}, begin())
    before = path.read_bytes()
    assert left_behind(root) == LeftBehind(newer=(path,))
    assert path.read_bytes() == before
    (notice,) = notices_of(left_behind(root))
    assert notice.code == "newer_format"
    assert str(path) in notice.message


@pytest.mark.skipif(os.name != "posix", reason="makes a FIFO and a link")
def test_only_regular_files_are_opened_or_deleted(root: Path, tmp_path: Path) -> None:
    (root / IN_FLIGHT_FOLDER).mkdir()
    os.mkfifo(root / IN_FLIGHT_FOLDER / "fifo.jsonl")
    (tmp_path / "mine.jsonl").write_text("mine")
    (root / IN_FLIGHT_FOLDER / "link.jsonl").symlink_to(tmp_path / "mine.jsonl")
    (root / IN_FLIGHT_FOLDER / "folder.jsonl").mkdir()
    assert left_behind(root) == LeftBehind()
    assert len(files(root)) == 3
    assert (tmp_path / "mine.jsonl").read_text() == "mine"


def unwritable(root: Path) -> Path:
    (root / IN_FLIGHT_FOLDER).write_text("a file where the folder would be")
    return root


@pytest.mark.parametrize(
    "place", [lambda _: None, lambda root: root / "missing", unwritable], ids=["none", "missing", "unwritable"]
)
def test_no_call_fails_because_nothing_can_be_written(root: Path, place: Callable[[Path], Path | None]) -> None:
    where = place(root)
    with InFlight(where).call(*CALL, lambda _: None) as tell:
        tell(Sending(1, 1, 1))
    assert not (root / "missing").exists()
    if where:
        assert left_behind(where) == LeftBehind()


def test_only_the_open_calls_of_a_long_file_are_reported(root: Path) -> None:
    """As of a queue that was never without a call for a day."""
    (root / IN_FLIGHT_FOLDER).mkdir()
    sent = {"sent_at": "2026-11-29T12:03:11+00:00", "provider": "openai", "model": "gpt-image-2", "n": 1}
    begun = [{"begin": number, **sent} for number in range(1, 20_001)]
    lines = [line for call in begun for line in (call, {"end": call["begin"] - 1})]  # type: ignore[operator]
    (root / IN_FLIGHT_FOLDER / "a.jsonl").write_text(
        "".join(f"{json.dumps(line)}\n" for line in [{"format": 1}, *lines])
    )
    assert len(left_behind(root).calls) == 1


def test_no_call_fails_because_a_file_cannot_be_closed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network's file system says only then that its disk is full."""
    close = os.close

    def full(descriptor: int) -> None:
        close(descriptor)
        raise OSError(errno.ENOSPC, "full")

    with InFlight(root).call(*CALL, lambda _: None) as tell:
        tell(Sending(1, 1, 1))
        monkeypatch.setattr(os, "close", full)
    monkeypatch.undo()
    assert left_behind(root) == LeftBehind()


def test_calls_of_one_model_are_one_notice() -> None:
    calls = [LeftCall("openai", "gpt-image-2", 1, NOON.replace(minute=minute)) for minute in (9, 3)]
    other = LeftCall("acme", "acme-1", 1, NOON)
    notices = notices_of(LeftBehind((*calls, other)))
    assert [notice.code for notice in notices] == ["left_in_flight"] * 2
    assert all(word in notices[0].message for word in ("2 calls", "OpenAI", "gpt-image-2", "2026-11-29 12:03 UTC"))
    assert "https://platform.openai.com/" in notices[0].message
    assert all(word in notices[1].message for word in ("1 call", "acme", "acme-1"))


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
def test_a_call_in_flight_when_the_program_is_killed_is_reported_by_the_next_command(
    signal_number: signal.Signals, root: Path, tmp_path: Path, sandbox_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    order = {"provider": "openai", "fault": "slow", "seconds": 30}
    httpx.post(f"{sandbox_url}/sandbox/faults", json=order).raise_for_status()
    prompt = "a secret fox"
    arguments = ("generate", prompt, "--model", "openai/gpt-image-2", "--out", str(tmp_path / "out"))
    process = subprocess.Popen(
        [sys.executable, "-m", "invokeai_external", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not httpx.get(f"{sandbox_url}/sandbox/requests").json()["requests"]:
        assert process.poll() is None
    (path,) = files(root)
    assert prompt not in path.read_text()
    with path.open("rb") as file:
        assert not try_lock(file.fileno())
    process.send_signal(signal_number)
    process.wait()

    assert main(["models", "--json", "--root", str(root)]) == 0
    told = capsys.readouterr()
    if signal_number == signal.SIGINT:
        assert told.err == ""
    else:
        assert "1 call to OpenAI (gpt-image-2, started " in told.err
        assert "https://platform.openai.com/" in told.err
    json.loads(told.out)
    assert files(root) == []
    main(["doctor", "--root", str(root)])
    assert capsys.readouterr().err == ""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_a_call_to_the_sandbox_over_http_is_not_said_to_be_billed(
    root: Path, tmp_path: Path, sandbox_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INVOKEAI_EXTERNAL_OPENAI_API_KEY", SANDBOX_KEY)
    order = {"provider": "openai", "fault": "slow", "seconds": 30}
    httpx.post(f"{sandbox_url}/sandbox/faults", json=order).raise_for_status()
    process = program("generate", "a fox", "--model", "openai/gpt-image-2", "--out", tmp_path / "out", "--json")
    while not httpx.get(f"{sandbox_url}/sandbox/requests").json()["requests"]:
        assert process.poll() is None
    assert files(root) == []
    process.send_signal(signal.SIGINT)
    assert "sandbox bills nothing" in finished(process).json["error"]["hint"]


@pytest.mark.skipif(os.name != "posix", reason="asks for modes")
def test_the_users_own_folder_is_created_for_it_and_a_named_one_is_not(
    tmp_path: Path, sandbox_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["generate", "a fox", "--model", "openai/gpt-image-2", "--out", str(tmp_path / "out")]
    assert main([*arguments, "--root", str(tmp_path / "named")]) == 0
    assert not (tmp_path / "named").exists()
    monkeypatch.delenv("INVOKEAI_ROOT")
    assert main(arguments) == 0
    own = tmp_path / "config" / "invokeai-external"
    assert stat.S_IMODE(own.stat().st_mode) == 0o700
    assert {path.name for path in own.iterdir()} == {IN_FLIGHT_FOLDER, SPENDING_FILE, f"{SPENDING_FILE}-owners"}
    assert list((own / IN_FLIGHT_FOLDER).iterdir()) == []
