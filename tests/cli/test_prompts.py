"""Prompts from the command line, a file and standard input."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from ..support.programs import OPENAI, image_file, piped


def prompts_sent(sandbox_url: str) -> list[str]:
    """The prompts that the sandbox has seen."""
    seen = httpx.get(f"{sandbox_url}/sandbox/requests").json()["requests"]
    return [call["json"]["prompt"] for call in seen if call["method"] == "POST"]


@pytest.mark.parametrize(
    ("way", "end"),
    [("stdin", "\n"), ("stdin", "\r\n\n"), ("file", ""), ("file of stdin", "\n"), ("file with a mark", "\n")],
)
def test_a_prompt_comes_from_standard_input_or_a_file(
    way: str, end: str, run: Any, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sandbox_url: str
) -> None:
    prompt = "a fox 🦊\n  in snow"
    file = tmp_path / "p.txt"
    file.write_bytes((prompt + end).encode("utf-8-sig" if way == "file with a mark" else "utf-8"))
    monkeypatch.setattr("sys.stdin", piped((prompt + end).encode()))
    arguments = {"stdin": ["-"], "file of stdin": ["--prompt-file", "-"]}.get(way, ["--prompt-file", str(file)])
    assert run("generate", *arguments, "--model", OPENAI, "--out", out).code == 0
    assert prompts_sent(sandbox_url) == [prompt]


@pytest.mark.parametrize(
    ("arguments", "stdin", "code"),
    [
        (["@p.txt"], b"", "usage"),
        (["p.txt"], b"", "usage"),
        (["--ref", "a.png", "b.png"], b"", "usage"),
        ([], b"", "usage"),
        (["a fox", "--prompt-file", "p.txt"], b"", "usage"),
        (["-", "--prompt-file", "p.txt"], b"a fox", "usage"),
        (["-"], b"", "invalid_request"),
        (["-"], b"\n", "invalid_request"),
        (["-"], b"caf\xe9", "invalid_request"),
        (["-"], b"x" * 1_000_001, "invalid_request"),
        (["--prompt-file", "missing.txt"], b"", "invalid_request"),
        (["--prompt-file", "."], b"", "invalid_request"),
        (["--prompt-file", "latin.txt"], b"", "invalid_request"),
        (["caf\udce9 at night"], b"", "invalid_request"),
        (["a fox", "--model", "openai/gpt-\udce9"], b"", "invalid_request"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_is_not_a_prompt_is_refused(
    arguments: list[str],
    stdin: bytes,
    code: str,
    run: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sandbox_url: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("p.txt").write_text("a fox")
    Path("latin.txt").write_bytes(b"caf\xe9")
    image_file(Path("a.png"))
    image_file(Path("b.png"))
    monkeypatch.setattr("sys.stdin", piped(stdin))
    model = [] if "--model" in arguments else ["--model", OPENAI]
    result = run("generate", *arguments, *model, "--json")
    assert result.code == 2
    assert result.json["error"]["code"] == code
    assert result.json["error"]["hint"]
    assert httpx.get(f"{sandbox_url}/sandbox/requests").json()["requests"] == []


@pytest.mark.parametrize("prompt", ["@nobody", "a fox", "folder", "x" * 5000, "a\0b", "a/b: c?"])
def test_a_text_that_is_not_the_name_of_a_file_is_a_prompt(
    prompt: str, run: Any, tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch, sandbox_url: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    assert run("generate", prompt, "--model", OPENAI, "--out", out).code == 0
    assert prompts_sent(sandbox_url) == [prompt]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_a_pipe_is_read_but_one_into_which_nobody_writes_is_not_waited_for(
    run: Any, out: Path, tmp_path: Path, sandbox_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def write() -> None:
        pipe.write_bytes(b"a named fox")

    writer = threading.Thread(target=write)
    writer.start()
    assert run("generate", "--prompt-file", pipe, "--model", OPENAI, "--out", out).code == 0
    writer.join()
    monkeypatch.setattr("invokeai_external.cli.prompts._WRITER_S", 0.1)
    assert run("generate", "--prompt-file", pipe, "--model", OPENAI, "--out", out).code == 2
    reading, writing = os.pipe()
    os.write(writing, b"a fox")
    os.close(writing)
    # As <(command) names it.
    assert run("generate", "--prompt-file", f"/dev/fd/{reading}", "--model", OPENAI, "--out", out).code == 0
    os.close(reading)
    assert prompts_sent(sandbox_url) == ["a named fox", "a fox"]
