"""Limits of the system: how many files may be open, how large a file may be, and how much memory there is."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from ..support.programs import OPENAI, finished, program

resource = pytest.importorskip("resource", reason="needs the limits of POSIX")

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("most", [5, 7, 16])
@pytest.mark.parametrize("command", ["generate", "models"])
def test_with_too_few_open_files_nothing_is_sent(command: str, most: int, out: Path) -> None:
    arguments = ("generate", "a fox", "--model", OPENAI, "--out", out) if command == "generate" else (command,)
    limit = partial(resource.setrlimit, resource.RLIMIT_NOFILE, (most, most))
    result = finished(program(*arguments, "--json", preexec_fn=limit))
    assert result.code == 2
    assert result.stderr == ""
    assert result.json["error"]["code"] == "invalid_request"
    assert "open files" in result.json["error"]["message"]
    assert not out.exists()


def test_a_limit_of_the_size_of_files_is_not_taken_for_a_full_disk(out: Path) -> None:
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (4096, 4096))
    result = finished(
        program("generate", "a fox", "--model", OPENAI, "--out", out, "--sandbox", "--json", preexec_fn=limit)
    )
    assert result.code == 1
    error = result.json["error"]
    assert error["code"] == "not_saved"
    assert os.strerror(errno.EFBIG) in error["message"]
    assert "ulimit -f" in error["hint"]
    assert list(out.iterdir()) == []


def test_an_image_that_does_not_fit_into_the_memory_is_an_error(out: Path, tmp_path: Path) -> None:
    """One with 16 bits must be encoded again."""
    image = tmp_path / "reference.png"
    Image.new("I;16", (8000, 8000), 7).save(image)
    limit = partial(resource.setrlimit, resource.RLIMIT_AS, (400_000_000, 400_000_000))
    arguments = ("generate", "a fox", "--ref", image, "--model", OPENAI, "--out", out, "--sandbox", "--json")
    result = finished(program(*arguments, preexec_fn=limit))
    assert (result.code, result.stderr) == (2, "")
    assert image.name in result.json["error"]["message"]
    assert "memory" in result.json["error"]["message"]


@pytest.mark.parametrize("command", ["models", "generate fox --sandbox", "doctor", "spend"])
def test_a_clock_that_python_cannot_read_is_an_error_of_one_line(command: str) -> None:
    """In the year 2262, the modules of Python fail that ask for the time when they are loaded."""
    code = """
import time

def never():
    raise OverflowError("timestamp too large to convert to C _PyTime_t")

time.time = never
from invokeai_external.cli.start import program
program()
"""
    result = subprocess.run([sys.executable, "-c", code, *command.split()], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (2, "")
    [line] = result.stderr.splitlines()
    assert "clock" in line
