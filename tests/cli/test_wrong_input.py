"""Wrong input: the error, its exit code, and that nothing is sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from ..support.programs import GEMINI, OPENAI, image_file

WRONG: list[tuple[str, list[str], str, list[str]]] = [
    ("empty prompt", ["generate", " "], "invalid_request", []),
    ("no such model", ["generate", "x", "--model", "stable-diffusion"], "invalid_request", ["provider/model-id"]),
    ("no such provider", ["generate", "x", "--model", "acme/one"], "unknown_provider", ["'acme'", "gemini, openai"]),
    ("size", ["generate", "x", "--size", "big"], "invalid_request", ["--size", "1536x864"]),
    ("ratio", ["generate", "x", "--aspect-ratio", "wide"], "invalid_request", ["--aspect-ratio", "16:9"]),
    ("image size", ["generate", "x", "--image-size", "huge"], "invalid_request", ["1K, 2K or 4K"]),
    ("size twice", ["generate", "x", "--size", "64x64", "--image-size", "1K"], "invalid_request", []),
    ("too many", ["generate", "x", "-n", "11"], "invalid_request", ["1 to 10"]),
    ("zero", ["generate", "x", "-n", "0"], "invalid_request", ["1 to 10"]),
    ("no such file", ["generate", "x", "--ref", "missing.png"], "invalid_request", ["missing.png", "No such file"]),
    ("not an image", ["generate", "x", "--model", OPENAI, "--ref", "text.txt"], "invalid_request", ["text.txt"]),
    ("not a mask", ["generate", "x", "--model", OPENAI, "--mask", "text.txt"], "invalid_request", ["text.txt"]),
    ("value", ["generate", "x", "--model", OPENAI, "--quality", "best"], "capability", ["'best'", "low, medium, high"]),
    ("number", ["generate", "x", "--model", GEMINI, "--temperature", "3"], "capability", ["0", "1"]),
    ("transparent", ["generate", "x", "--model", GEMINI, "--background", "transparent"], "capability", []),
    ("unwritable", ["generate", "x", "--out", "text.txt/below"], "invalid_request", ["--out"]),
    ("previews", ["generate", "x", "--previews", "text.txt/below"], "invalid_request", ["--previews"]),
    ("usage", ["generate", "x", "--siez", "1x1"], "usage", ["--siez", "invokeai-external generate --help"]),
    ("not a number", ["generate", "x", "-n", "two"], "usage", ["two", "invokeai-external generate --help"]),
    ("no command", ["gnerate"], "usage", ["gnerate", "invokeai-external --help"]),
    ("recall nothing", ["recall", "missing.png"], "invalid_request", ["missing.png"]),
    ("recall a text", ["recall", "text.txt"], "invalid_request", ["text.txt"]),
    ("recall an image without settings", ["recall", "plain.png"], "invalid_request", ["plain.png"]),
]


@pytest.mark.parametrize(("arguments", "code", "facts"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_wrong_input_is_reported_and_nothing_is_sent(
    arguments: list[str],
    code: str,
    facts: list[str],
    run: Any,
    tmp_path: Path,
    sandbox_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text("not an image")
    image_file(Path("plain.png"))
    result = run(*arguments)
    assert result.code == 2
    assert result.stdout == ""
    for fact in facts:
        assert fact in result.stderr
    assert "Traceback" not in result.stderr
    assert httpx.get(f"{sandbox_url}/sandbox/requests").json()["requests"] == []
    error = run(*arguments, "--json").json["error"]
    assert error["code"] == code
    assert list(error) == ["code", "message", "hint", "provider", "status", "request_id"]
    assert all(fact in f"{error['message']} {error['hint']}" for fact in facts)


def test_a_broken_settings_file_is_reported_with_its_line(run: Any, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "invokeai_external.yaml").write_text("settings:\n  concurency: 3\n")
    result = run("generate", "a fox", "--sandbox")
    assert result.code == 2
    assert f"{root / 'invokeai_external.yaml'}, line 2: settings.concurency" in result.stderr
