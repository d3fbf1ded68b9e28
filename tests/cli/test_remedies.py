"""Remedies name commands that can be pasted, with the root that was given."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from invokeai_external.cli.remedies import command_line, with_root
from invokeai_external.errors import NotConfiguredError, Remedy

ROOT = Path("/my root")


def test_a_command_is_quoted_for_a_shell() -> None:
    line = command_line("recall", "a b.png", root=ROOT)
    assert shlex.split(line) == ["invokeai-external", "recall", "a b.png", "--root", "/my root"]


@pytest.mark.parametrize(
    ("remedy", "command"),
    [
        (Remedy("", action="set_key", provider="openai", url="https://x.example"), "keys set openai"),
        (Remedy("", action="replace_key", provider="openai", url="https://x.example"), "keys set openai"),
        (Remedy("", action="set_key", provider="openai", source="/my root/api_keys.yaml"), "keys set openai"),
        (Remedy("", action="set_key"), "keys set openai"),
        (Remedy("", action="list_models", provider="gemini"), "models --provider gemini"),
        (Remedy("", action="check_model"), "models"),
        (Remedy("Run: invokeai-external providers add azure", action="fix_base_url"), "providers add azure"),
    ],
)
def test_the_command_of_a_remedy_names_the_root(remedy: Remedy, command: str) -> None:
    error = NotConfiguredError("x", remedy=remedy)
    hint = with_root(error, ROOT).hint or ""
    assert hint.endswith(command_line(*command.split(), root=ROOT))
    assert all(fact in hint for fact in (remedy.url, remedy.source) if fact)
    assert with_root(error, None) is error


def test_a_remedy_without_a_command_stays_as_it_is() -> None:
    for remedy in (
        Remedy("Try again."),
        Remedy("Set X.", action="set_key", provider="openai", source="OPENAI_API_KEY"),
    ):
        assert with_root(NotConfiguredError("x", remedy=remedy), ROOT).hint == remedy.text
    assert with_root(NotConfiguredError("x"), ROOT).hint is None


@pytest.mark.parametrize("spelling", [("--root", "{}"), ("--root={}",)])
def test_an_error_names_the_root_that_was_given(
    spelling: tuple[str, ...], run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("INVOKEAI_EXTERNAL_OPENAI_API_KEY")
    (tmp_path / "my root").mkdir()
    given = [part.format(tmp_path / "my root") for part in spelling]
    command = shlex.join(["invokeai-external", "keys", "set", "openai", "--root", str(tmp_path / "my root")])
    assert command in run("keys", "test", "openai", *given).stderr
    assert command in run("keys", "test", "openai", "--json", *given).json["error"]["hint"]
    # What follows -- is a prompt.
    assert "--root" not in run("generate", "--model", "openai/gpt-image-2", "--", *given[:1]).stderr
