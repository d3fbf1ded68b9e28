"""``keys``: set, list, test and remove."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer

from ..support.programs import GEMINI, OPENAI, piped


def test_keys_are_set_listed_and_removed_and_never_shown(
    run: Any, tmp_path: Path, canary: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("INVOKEAI_EXTERNAL_OPENAI_API_KEY")
    root = tmp_path / "root"
    root.mkdir()
    (root / "api_keys.yaml").write_text("# mine\nexternal_openai_base_url: http://127.0.0.1:1/v1/\n")
    monkeypatch.setattr("sys.stdin", piped(f"{canary}\n".encode()))
    assert run("keys", "set", "openai").code == 0
    stored = (root / "api_keys.yaml").read_text()
    assert stored == f'# mine\nexternal_openai_base_url: http://127.0.0.1:1/v1/\nexternal_openai_api_key: "{canary}"\n'
    assert stat.S_IMODE((root / "api_keys.yaml").stat().st_mode) == 0o600
    listed = run("keys", "list").stdout
    assert f"{root / 'api_keys.yaml'}, at http://127.0.0.1:1/v1" in listed
    assert run("keys", "list", "--json").json["keys"][1]["key"] is True
    assert run("keys", "remove", "openai").code == 0
    assert "no key" in run("keys", "list").stdout
    assert not run("keys", "list", "--json").json["keys"][1]["key"]
    assert run("keys", "remove", "openai").code == 0
    monkeypatch.setenv("OPENAI_API_KEY", canary)
    assert "OPENAI_API_KEY" in run("keys", "remove", "openai").stderr
    (root / "api_keys.yaml").unlink()
    assert "OPENAI_API_KEY" in run("keys", "remove", "openai").stderr


def row_of(run: Any, provider: str) -> dict[str, Any]:
    """What ``keys list --json`` says of a provider."""
    rows: list[dict[str, Any]] = run("keys", "list", "--json").json["keys"]
    [row] = [row for row in rows if row["provider"] == provider]
    return row


def test_the_list_shows_which_key_is_for_which_base_url(
    run: Any, tmp_path: Path, canary: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("INVOKEAI_EXTERNAL_OPENAI_API_KEY")
    monkeypatch.setenv("OPENAI_API_KEY", canary)
    monkeypatch.setenv("OPENAI_BASE_URL", "https://gateway.example/v1")
    assert row_of(run, "openai") == {
        "provider": "openai",
        "key": True,
        "source": "OPENAI_API_KEY",
        "base_url": "https://gateway.example/v1",
        "base_url_source": "OPENAI_BASE_URL",
        "unused": [],
        "problem": None,
        "token_source": None,
    }
    assert "openai: key from OPENAI_API_KEY, at https://gateway.example/v1 (from OPENAI_BASE_URL)\n" in (
        run("keys", "list").stdout
    )
    monkeypatch.setenv("INVOKEAI_EXTERNAL_OPENAI_API_KEY", canary)
    row = row_of(run, "openai")
    assert (row["source"], row["base_url"]) == ("INVOKEAI_EXTERNAL_OPENAI_API_KEY", "https://api.openai.com/v1")
    assert row["unused"] == ["OPENAI_API_KEY", "OPENAI_BASE_URL"]
    assert "; not used: OPENAI_API_KEY, OPENAI_BASE_URL\n" in run("keys", "list").stdout


def test_the_list_goes_on_after_a_base_url_that_is_not_valid(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INVOKEAI_EXTERNAL_GEMINI_BASE_URL", "https://name:secret@gw.example")
    result = run("keys", "list")
    assert result.code == 0
    assert "openai: key from INVOKEAI_EXTERNAL_OPENAI_API_KEY, at https://api.openai.com/v1" in result.stdout
    gemini, openai = run("keys", "list", "--json").json["keys"]
    assert (gemini["base_url"], gemini["base_url_source"]) == (None, "INVOKEAI_EXTERNAL_GEMINI_BASE_URL")
    assert gemini["problem"]
    assert openai["problem"] is None
    assert "secret" not in result.stdout + str(gemini)


def test_a_key_is_not_sent_to_a_base_url_that_it_was_not_given_for(
    run: Any, out: Path, tmp_path: Path, sandbox_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("INVOKEAI_EXTERNAL_OPENAI_BASE_URL")
    file = tmp_path / "root" / "api_keys.yaml"
    file.parent.mkdir()
    file.write_text(f"external_openai_base_url: {sandbox_url}/openai/v1\n")
    file.chmod(0o600)
    row = row_of(run, "openai")
    assert (row["key"], row["source"], row["base_url"]) == (False, None, f"{sandbox_url}/openai/v1")
    assert (row["base_url_source"], row["unused"]) == (str(file), ["INVOKEAI_EXTERNAL_OPENAI_API_KEY"])
    for command in (
        ("generate", "a fox", "--model", OPENAI, "--out", out, "--json"),
        ("generate", "a fox", "--model", OPENAI, "--out", out, "--json", "--dry-run"),
        ("keys", "test", "openai", "--json"),
    ):
        result = run(*command)
        assert (result.code, result.json["error"]["code"]) == (2, "settings")
        for place in ("INVOKEAI_EXTERNAL_OPENAI_API_KEY", str(file)):
            assert place in result.json["error"]["message"]
    assert httpx.get(f"{sandbox_url}/sandbox/requests").json()["requests"] == []
    # The other provider works, and so does the sandbox.
    assert run("keys", "test", "gemini").code == 0
    assert run("generate", "a fox", "--model", OPENAI, "--out", out, "--sandbox").code == 0


def test_a_placeholder_is_reported_and_never_sent(
    run: Any, out: Path, sandbox_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INVOKEAI_EXTERNAL_OPENAI_API_KEY", "your-openai-key")
    assert "placeholder" in row_of(run, "openai")["problem"]
    assert "INVOKEAI_EXTERNAL_OPENAI_API_KEY is a placeholder" in run("keys", "list").stdout
    result = run("generate", "a fox", "--model", OPENAI, "--out", out, "--json")
    assert (result.code, result.json["error"]["code"]) == (2, "not_configured")
    assert "INVOKEAI_EXTERNAL_OPENAI_API_KEY" in result.json["error"]["message"]
    assert httpx.get(f"{sandbox_url}/sandbox/requests").json()["requests"] == []


def test_without_standard_input_there_is_no_key(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    assert run("keys", "set", "openai", "--root", tmp_path / "other").code == 2
    assert not (tmp_path / "other").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX streams")
@pytest.mark.parametrize("arguments", [("keys", "set", "openai"), ("generate", "-", "--model", OPENAI)])
def test_a_standard_input_that_cannot_be_read_is_an_error(
    arguments: tuple[str, ...], run: Any, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "file").open("wb") as only_written, os.fdopen(os.dup(only_written.fileno())) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        refused = run(*arguments)
    assert refused.code == 2
    assert "Standard input" in refused.stderr


def test_two_lines_are_not_a_valid_key(run: Any, tmp_path: Path, canary: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", piped(f"{canary}\nsecond\n".encode()))
    result = run("keys", "set", "openai")
    assert result.code == 2
    assert not (tmp_path / "root" / "api_keys.yaml").exists()


def test_setting_a_key_reports_its_base_url_and_a_key_that_has_priority(
    run: Any, tmp_path: Path, canary: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def say() -> str:
        monkeypatch.setattr("sys.stdin", piped(f'"{canary}"\n'.encode()))
        said: str = run("keys", "set", "openai").stderr
        return said

    assert "INVOKEAI_EXTERNAL_OPENAI_API_KEY" in say()
    file = tmp_path / "root" / "api_keys.yaml"
    file.write_text("external_openai_base_url: https://gateway.example/v1\n")
    assert "https://gateway.example/v1" in say()
    monkeypatch.setenv("INVOKEAI_EXTERNAL_OPENAI_BASE_URL", "https://other.example/v1")
    assert "INVOKEAI_EXTERNAL_OPENAI_API_KEY" in say()
    monkeypatch.delenv("INVOKEAI_EXTERNAL_OPENAI_API_KEY")
    said = say()
    assert "INVOKEAI_EXTERNAL_OPENAI_BASE_URL" in said
    assert str(file) in said


@pytest.mark.slow
def test_the_list_of_keys_needs_neither_a_root_nor_an_environment() -> None:
    command = [sys.executable, "-m", "invokeai_external", "keys", "list"]
    listed = subprocess.run(command, env={"PYTHONPATH": os.environ["PYTHONPATH"]}, capture_output=True, text=True)
    assert (listed.returncode, listed.stderr) == (0, "")
    assert "openai: no key, at https://api.openai.com/v1" in listed.stdout


@pytest.mark.parametrize("provider", ["openai", "gemini"])
def test_the_sandbox_accepts_a_base_url_without_a_version(
    run: Any, out: Path, provider: str, sandbox_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Roots of 0.1 have such base URLs, to which it added a version."""
    monkeypatch.setenv(f"INVOKEAI_EXTERNAL_{provider.upper()}_BASE_URL", f"{sandbox_url}/{provider}")
    assert run("keys", "test", provider).code == 0
    model = OPENAI if provider == "openai" else GEMINI
    assert run("generate", "a fox", "--model", model, "--out", out).code == 0


def test_a_key_is_tested_without_making_an_image(run: Any, sandbox_url: str) -> None:
    result = run("keys", "test", "openai")
    assert (result.code, result.stderr) == (0, "")
    assert result.stdout.count("\n") == 1
    assert "gpt-image-2" in run("keys", "test", "openai", "--json").json["listed"]
    assert {call["method"] for call in httpx.get(f"{sandbox_url}/sandbox/requests").json()["requests"]} == {"GET"}


def test_a_key_that_the_provider_refuses_fails_its_test(
    run: Any, sandbox_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INVOKEAI_EXTERNAL_GEMINI_API_KEY", "invalid-key")
    result = run("keys", "test", "gemini")
    assert (result.code, result.stdout) == (1, "")
    error = run("keys", "test", "gemini", "--json").json["error"]
    assert error["code"] == "authentication"
    # A key in the file would change nothing.
    assert "INVOKEAI_EXTERNAL_GEMINI_API_KEY" in error["hint"]
    assert "keys set" not in error["hint"]


def test_the_usual_variables_come_last(run: Any, canary: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_API_KEY", canary)
    assert "gemini: key from INVOKEAI_EXTERNAL_GEMINI_API_KEY" in run("keys", "list").stdout
    monkeypatch.delenv("INVOKEAI_EXTERNAL_GEMINI_API_KEY")
    assert "gemini: key from GOOGLE_API_KEY" in run("keys", "list").stdout


@pytest.mark.parametrize("key", ["", "two words", "schlüssel-mit-umlaut"])
def test_an_invalid_key_is_not_saved(key: str, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", piped(f"{key}\n".encode()))
    result = run("keys", "set", "gemini")
    assert result.code == 2
    assert "keys set gemini" in result.stderr
    assert not (tmp_path / "root" / "api_keys.yaml").exists()


@pytest.mark.parametrize("interruption", [typer.Abort, KeyboardInterrupt])
def test_an_interrupted_prompt_saves_nothing_and_says_so(
    interruption: type[BaseException], run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> str:
        raise interruption

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.prompt", interrupted)
    result = run("keys", "set", "openai", "--root", tmp_path)
    assert result.code == 130
    assert result.stderr.endswith("Nothing was saved.\n")
    assert list(tmp_path.iterdir()) == []
