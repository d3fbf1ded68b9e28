"""Output that cannot be written, or not in full."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ..support.programs import OPENAI, finished, image_file, program

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_a_console_with_few_characters_shows_the_path(encoding: str, tmp_path: Path, sandbox_url: str) -> None:
    folder = tmp_path / "🦊"
    arguments = ("generate", "a fox 🦊 狐", "--model", OPENAI, "--out", folder)
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    result = finished(program(*arguments, env=environment))
    (path,) = folder.iterdir()
    assert result.code == 0
    assert "Traceback" not in result.stderr
    shown = str(path).encode(encoding, "backslashreplace").decode(encoding)
    assert result.stdout == f"{shown}\n"
    shown = finished(program(*arguments, "--json", env=environment)).json
    assert Path(shown["images"][0]["path"]) in set(folder.iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="not every system has names that are no UTF-8")
def test_a_path_that_is_not_unicode_is_printed_as_its_bytes(tmp_path: Path, sandbox_url: str) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    ref = image_file(tmp_path / os.fsdecode(b"b\xe9.png"))
    command = [sys.executable, "-m", "invokeai_external", "generate", "a fox", "--model", OPENAI]
    command += ["--out", str(folder), "--ref", str(ref)]
    done = subprocess.run(command, capture_output=True, check=True)
    (path,) = folder.iterdir()
    assert done.stdout == os.fsencode(path) + b"\n"
    shown = json.loads(subprocess.run([*command, "--json"], capture_output=True, check=True).stdout.decode("utf-8"))
    assert Path(shown["images"][0]["path"]).exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize(
    ("arguments", "way", "unbuffered"),
    [
        (["generate"], "full", ""),
        (["generate"], "closed", ""),
        (["generate"], "nobody reads", ""),
        (["generate", "--json"], "full", "1"),
        (["models"], "full", ""),
        (["keys", "list"], "nobody reads", ""),
        (["--help"], "full", "1"),
        (["--help"], "closed", ""),
        (["--version"], "full", ""),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_output_that_cannot_be_written_is_reported_once(
    arguments: list[str], way: str, unbuffered: str, out: Path, sandbox_url: str
) -> None:
    if arguments[0] == "generate":
        arguments = [*arguments, "a fox", "--model", OPENAI, "--out", str(out)]
    command = [sys.executable, "-m", "invokeai_external", *arguments]
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    reading, writing = os.pipe()
    os.close(reading)
    with Path("/dev/full").open("wb") as full, os.fdopen(writing, "wb", 0) as broken:
        if way == "closed":
            command = ["sh", "-c", 'exec "$@" >&-', "sh", *command]
        stdout = {"full": full, "closed": None, "nobody reads": broken}[way]
        done = subprocess.run(
            command, stdout=stdout, stderr=subprocess.PIPE, text=True, env=environment, check=False, timeout=60
        )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    # Who has ended had enough, as head has.
    assert done.stderr.count("Error: ") == (0 if way == "nobody reads" else 1)
    if arguments[0] == "generate":
        (path,) = out.iterdir()
        assert f"Saved: {path}" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("way", ["2>&-", "2>/dev/full"])
def test_standard_error_that_cannot_be_written_does_not_stop_the_run(way: str, out: Path) -> None:
    command = [sys.executable, "-m", "invokeai_external", "generate", "a fox", "--out", str(out), "--sandbox"]
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {way}', "sh", *command], stdout=subprocess.PIPE, text=True, check=False
    )
    (path,) = out.iterdir()
    assert (done.returncode, done.stdout) == (0, f"{path}\n")
