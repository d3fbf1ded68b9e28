"""The live line on a terminal."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from invokeai_external.cli.progress_line import live_line
from invokeai_external.errors import RateLimitedError
from invokeai_external.progress import Preview, Received, Retrying, Sending
from invokeai_external.result import GeneratedImage
from invokeai_external.service.progress_text import ProgressLine
from invokeai_external.sizing import Size

from ..support.programs import OPENAI


def test_the_live_line_shows_what_the_calls_do() -> None:
    now = 100.0
    line = ProgressLine(clock=lambda: now)
    assert line.text() == "preparing"
    line.on_progress(Sending(1, 2, 1))
    line.on_progress(Sending(2, 2, 1))
    assert line.text() == "sending"
    now = 112.0
    assert line.text() == "waiting 12 s"
    line.on_progress(Retrying(2, 2, 8.0, RateLimitedError("OpenAI asks to slow down.")))
    now = 115.0
    assert line.text() == "waiting 15 s · again in 5 s: OpenAI asks to slow down."
    line.on_progress(Received(1, 2, ()))
    line.on_progress(Sending(2, 2, 2))
    now = 116.0
    assert line.text() == "1 of 2 received · waiting 1 s"


def test_the_live_line_counts_the_seconds_since_a_call_was_sent() -> None:
    now = 100.0
    line = ProgressLine(clock=lambda: now)
    now = 104.0
    line.on_progress(Sending(1, 1, 1))
    now = 106.0
    line.on_progress(Preview(1, 1, 1, 3, b"", "image/png"))
    now = 107.0
    assert line.text() == "preview 1 of 3 · waiting 3 s"


def test_the_live_line_counts_images_if_it_knows_how_many_there_will_be() -> None:
    image = GeneratedImage(data=b"", mime_type="image/png", size=Size(1, 1), metadata={})
    line = ProgressLine(images=5)
    line.on_progress(Sending(1, 2, 1))
    line.on_progress(Received(1, 2, (image, image, image)))
    line.on_progress(Received(2, 2, (image,)))
    assert line.text() == "4 of 5 received"


def test_the_live_line_shows_the_last_preview() -> None:
    now = 100.0
    line = ProgressLine(clock=lambda: now)
    for call in (1, 2):
        line.on_progress(Sending(call, 2, 1))
    line.on_progress(Preview(1, 2, 2, 3, b"", "image/png"))
    assert line.text() == "preview 2 of 3 · waiting 0 s"
    now = 110.0
    line.on_progress(Preview(2, 2, 1, None, b"", "image/png"))
    assert line.text() == "preview 1 · waiting 10 s"
    line.on_progress(Received(2, 2, ()))
    assert line.text() == "1 of 2 received · preview 2 of 3 · waiting 10 s"
    line.on_progress(Received(1, 2, ()))
    assert line.text() == "2 of 2 received"


def test_there_is_no_live_line_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with live_line(1) as on_progress:
        on_progress(Sending(1, 1, 1))
    assert capsys.readouterr() == ("", "")


def on_a_terminal(*arguments: object) -> tuple[str, str]:
    """What a program prints, and what it shows on a terminal meanwhile."""
    import pty

    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "invokeai_external", *map(str, arguments)],
        stderr=theirs,
        stdout=subprocess.PIPE,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 4096):
            shown += chunk
    except OSError:
        pass  # Linux reports the closed terminal like this.
    stdout, _ = process.communicate(timeout=20)
    os.close(ours)
    return stdout.decode(), shown.decode()


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="makes a terminal")
def test_the_live_line_shows_on_a_terminal(out: Path, sandbox_url: str) -> None:
    httpx.post(f"{sandbox_url}/sandbox/faults", json={"provider": "openai", "fault": "slow", "seconds": 1.5})
    stdout, shown = on_a_terminal("generate", "a fox", "--model", OPENAI, "--out", out)
    # Which of its words are drawn is up to a busy machine.
    assert re.search(r"sending|waiting \d+ s", shown)
    assert str(out) in stdout


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="makes a terminal")
def test_the_live_line_counts_the_previews_on_a_terminal(out: Path, tmp_path: Path, sandbox_url: str) -> None:
    order = {"provider": "openai", "fault": "slow_stream", "seconds": 1}
    httpx.post(f"{sandbox_url}/sandbox/faults", json=order).raise_for_status()
    stdout, shown = on_a_terminal("generate", "a fox", "--model", OPENAI, "--out", out, "--previews", tmp_path / "seen")
    # A busy machine does not draw every one of them.
    drawn = re.findall(r"preview (\d) of 3", shown)
    assert drawn
    assert drawn == sorted(drawn)
    assert len(stdout.splitlines()) == len(list(out.iterdir())) == 1
