"""``sandbox``."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from ..support.programs import GEMINI, finished, program


@pytest.mark.slow
def test_the_sandbox_serves_both_providers_until_it_is_interrupted(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = program("sandbox", "--port", 0)
    assert process.stderr is not None
    lines = [process.stderr.readline() for _ in range(5)]
    # One each: a shell exports nothing of a line that is pasted in two parts.
    exported = {name: value for line in lines[1:] for name, value in re.findall(r"^ *export (\w+)=(\S+)$", line)}
    assert len(exported) == 4
    answer = program("generate", "a fox", "--model", GEMINI, "--out", out, "--json", env={**os.environ, **exported})
    assert [notice["code"] for notice in finished(answer).json["notices"]] == ["plain_http", "sandbox"]
    port = int(re.findall(r":(\d+)", lines[0])[0])
    taken = finished(program("sandbox", "--port", port))
    assert f"Port {port} cannot be used" in taken.stderr
    assert taken.code == 2
    process.send_signal(signal.SIGINT)
    ended = finished(process)
    assert ended.stderr == ""
    assert ended.code in (0, 130)
