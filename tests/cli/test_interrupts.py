"""Ctrl-C, SIGTERM and SIGHUP."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from ..support.programs import GEMINI, OPENAI, finished, program

pytestmark = pytest.mark.slow


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
@pytest.mark.parametrize("stopped_by", ["SIGINT", "SIGTERM", "SIGHUP"])
@pytest.mark.parametrize(
    ("fault", "in_flight"),
    [
        ({"fault": "slow", "seconds": 30}, True),
        ({"fault": "rate_limited", "seconds": 60}, False),
    ],
    ids=["in flight", "in a wait"],
)
def test_an_interrupted_run_stops_and_keeps_what_has_arrived(
    fault: dict[str, Any], in_flight: bool, stopped_by: str, out: Path, sandbox_url: str
) -> None:
    httpx.post(f"{sandbox_url}/sandbox/faults", json={"provider": "gemini", **fault}).raise_for_status()
    process = program("generate", "a fox", "--model", GEMINI, "--out", out, "-n", 2, "--json")
    deadline = time.monotonic() + 30
    while not list(out.glob("[!.]*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.Signals[stopped_by])
    result = finished(process, timeout=10)
    assert result.code == 130
    assert result.stderr == ""
    assert result.json["error"]["code"] == "cancelled"
    assert ("billed" in result.json["error"]["hint"]) is in_flight
    assert [Path(image["path"]) for image in result.json["images"]] == list(out.iterdir())
    # Of the call that was answered.
    assert result.json["usage"]["output_image_tokens"] == 1120
    assert 0.0336 < result.json["cost_usd"] < 0.04
    assert "sandbox" in [notice["code"] for notice in result.json["notices"]]


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
@pytest.mark.parametrize("how", ["--sandbox", "--dry-run"])
def test_ctrl_c_does_not_wait_for_a_thread_that_prepares_an_image(how: str, out: Path) -> None:
    """The thread of this test never ends, so that a program that waited for it would not end either."""
    code = """
import sys, threading
import anyio.to_thread
from invokeai_external.cli.entry_point import program

def never_ends():
    print("busy", file=sys.stderr, flush=True)
    threading.Event().wait()

run_in_thread = anyio.to_thread.run_sync
anyio.to_thread.run_sync = lambda function, *_, **options: run_in_thread(never_ends, **options)
program()
"""
    Image.new("RGB", (64, 64)).save(photo := out.parent / "photo.png")
    command = [sys.executable, "-c", code, "generate", "a fox", "--model", OPENAI, "--out", str(out), how]
    command += ["--init", str(photo)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert process.stderr.readline() == "busy\n"
    process.send_signal(signal.SIGINT)
    assert finished(process).code == 130


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
@pytest.mark.parametrize("module", ["typer", "invokeai_external.cli.app"])
def test_ctrl_c_while_the_modules_load_ends_it_without_a_word(module: str) -> None:
    """The signal arrives when a module is looked for."""
    code = f"""
import os, signal, sys

class Stops:
    def find_spec(self, name, path=None, target=None):
        if name == "{module}":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Stops())
from invokeai_external.cli.start import program
program()
"""
    result = subprocess.run([sys.executable, "-c", code, "models"], capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "")


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_with_nohup_a_run_outlives_its_terminal(out: Path, sandbox_url: str) -> None:
    httpx.post(f"{sandbox_url}/sandbox/faults", json={"provider": "gemini", "fault": "slow", "seconds": 2})
    ignore = partial(signal.signal, signal.SIGHUP, signal.SIG_IGN)
    process = program("generate", "a fox", "--model", GEMINI, "--out", out, "-n", 2, preexec_fn=ignore)
    deadline = time.monotonic() + 30
    while not list(out.glob("[!.]*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGHUP)
    assert finished(process).code == 0
    assert len(list(out.iterdir())) == 2
