"""Wrong input: the error, its exit code, and that nothing is sent."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer

from invokeai_external.cli.app import app
from invokeai_external.root_folder import SPENDING_FILE, USER_FILE

from ..support import made_up_spending
from ..support.programs import GEMINI, OPENAI, image_file, piped

WRONG: list[tuple[str, list[str], str, list[str]]] = [
    ("empty prompt", ["generate", " "], "invalid_request", []),
    ("prompt without a width", ["generate", "\u200b \u2060\x07\ufeff"], "invalid_request", ["prompt"]),
    ("model of an unset variable", ["generate", "x", "--model", ""], "invalid_request", ["--model"]),
    ("blank model", ["generate", "x", "--model", "  "], "invalid_request", ["--model"]),
    ("control code", ["generate", "x", "--model", "openai/gpt-image-9\x1b[31m"], "invalid_request", ["model id"]),
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
    (
        "not a mask",
        ["generate", "x", "--model", OPENAI, "--init", "plain.png", "--mask", "text.txt"],
        "invalid_request",
        ["text.txt"],
    ),
    (
        "colour of no mask",
        ["generate", "x", "--init", "plain.png", "--mask-color", "red"],
        "invalid_request",
        ["--mask "],
    ),
    (
        "colour",
        ["generate", "x", "--init", "plain.png", "--mask", "plain.png", "--mask-color", "rde"],
        "invalid_request",
        ["--mask-color", "red?"],
    ),
    ("mask of nothing", ["generate", "x", "--mask", "plain.png"], "invalid_request", ["--init FILE"]),
    ("markup of nothing", ["generate", "x", "--markup", "plain.png"], "invalid_request", ["--init FILE"]),
    (
        "model without its provider",
        ["generate", "x", "--model", "gpt-image-9"],
        "invalid_request",
        ["openai/gpt-image-9"],
    ),
    ("value", ["generate", "x", "--model", OPENAI, "--quality", "best"], "capability", ["'best'", "low, medium, high"]),
    ("number", ["generate", "x", "--model", GEMINI, "--temperature", "3"], "capability", ["0", "1"]),
    ("transparent", ["generate", "x", "--model", GEMINI, "--background", "transparent"], "capability", []),
    ("unwritable", ["generate", "x", "--out", "text.txt/below"], "invalid_request", ["--out"]),
    ("previews", ["generate", "x", "--previews", "text.txt/below"], "invalid_request", ["--previews"]),
    ("usage", ["generate", "x", "--siez", "1x1"], "usage", ["--siez", "invokeai-external generate --help"]),
    ("not a number", ["generate", "x", "-n", "two"], "usage", ["two", "invokeai-external generate --help"]),
    ("prompt without quotes", ["generate", "a", "red", "fox"], "usage", ["red fox", "quotes"]),
    ("choice", ["models", "--provider", "google"], "usage", ["'google'", "gemini, openai"]),
    ("no command", ["gnerate"], "usage", ["gnerate", "invokeai-external --help"]),
    ("recall nothing", ["recall", "missing.png"], "invalid_request", ["missing.png"]),
    ("recall a text", ["recall", "text.txt"], "invalid_request", ["text.txt"]),
    ("recall an image without settings", ["recall", "plain.png"], "invalid_request", ["plain.png"]),
]


@pytest.mark.parametrize(
    "arguments",
    [
        ["keys", "set", "openai", "sk-proj-0123456789abcdef"],
        ["generate", "x", "--model", "sk-proj-0123456789abcdef"],
        ["generate", "x", "--sk-proj-0123456789abcdef"],
        ["recall", "sk-proj-0123456789abcdef"],
    ],
)
def test_a_key_in_a_command_is_not_repeated(arguments: list[str], run: Any) -> None:
    result = run(*arguments)
    assert result.code == 2
    assert "0123456789abcdef" not in result.stderr
    assert "0123456789abcdef" not in run(*arguments, "--json").stdout


@pytest.mark.parametrize("sign", ["x ", "x", "9"])
@pytest.mark.parametrize(
    "option",
    [
        *("--quality", "--mask-color", "--size", "--aspect-ratio", "--image-size", "--seed", "--output-compression"),
        *("-n", "--model", "--metadata"),
    ],
)
def test_a_long_argument_is_not_repeated(option: str, sign: str, run: Any, tmp_path: Path) -> None:
    plain = tmp_path / "plain.png"
    image_file(plain)
    images = ["--init", plain, "--mask", plain]
    given = ["--model", OPENAI, *(images if option == "--mask-color" else [])]
    result = run("generate", "x", "--dry-run", *given, option, sign * 50_000)
    assert result.code == 2
    assert result.stderr.startswith("Error: ")
    assert len(result.stderr) < 1_000


def test_the_case_of_a_provider_does_not_matter(run: Any) -> None:
    assert run("models", "--provider", "OpenAI").stdout == run("models", "--provider", "openai").stdout


COMMANDS_WITH_A_ROOT = ["models", "keys list", "keys test openai", "doctor", "undelivered", "install", "generate x"]


@pytest.mark.parametrize("command", [*COMMANDS_WITH_A_ROOT, "keys set openai", "keys remove openai"])
def test_a_root_that_is_a_file_is_an_error(
    command: str, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.write_text("")
    monkeypatch.setattr("sys.stdin", piped(b"sk-0123456789abcdef0123456789\n"))
    result = run(*command.split(), "--root", file)
    assert (result.code, result.stdout) == (2, "")
    assert str(file) in result.stderr
    assert file.read_text() == ""


@pytest.mark.parametrize("command", [*COMMANDS_WITH_A_ROOT, "keys set openai", "keys remove openai"])
def test_a_root_with_a_name_that_is_too_long_is_an_error(
    command: str, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", piped(b"sk-0123456789abcdef0123456789\n"))
    result = run(*command.split(), "--root", tmp_path / ("x" * 300))
    assert (result.code, result.stdout) == (2, "")
    assert "--root" in result.stderr


def test_a_database_folder_with_a_name_that_is_too_long_has_no_workflows(run: Any, tmp_path: Path) -> None:
    (tmp_path / "invokeai.yaml").write_text(f"db_dir: {'x' * 300}\n")
    assert "gpt-image-2" in run("models", "--root", tmp_path).stdout
    assert "models are known" in run("doctor", "--root", tmp_path).stdout


def _paths() -> Iterator[tuple[str, str]]:
    """Each parameter of a command that is a path."""
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    for name, command in group.commands.items():
        inner = command.commands if isinstance(command, typer.core.TyperGroup) else {"": command}
        for inner_name, leaf in inner.items():
            for parameter in leaf.params:
                if parameter.type.name == "path":
                    yield f"{name} {inner_name}".strip(), parameter.opts[0]


@pytest.mark.parametrize(("command", "parameter"), list(_paths()))
@pytest.mark.parametrize(
    ("url", "shown"),
    [("https://example.com/a//b.png", "https://example.com/a/b.png"), ("file:///tmp/a.png", "/tmp/a.png")],
)
def test_a_url_is_not_a_path(command: str, parameter: str, url: str, shown: str, run: Any) -> None:
    needed = {"generate": ["a fox"], "models show": ["gpt-image-2"]}.get(command, [])
    needed = ["openai"] if command in ("keys set", "keys test", "keys remove") else needed
    option = [f"{parameter}={url}"] if parameter.startswith("-") else [url]
    result = run(*command.split(), *needed, *option)
    assert (result.code, result.stdout) == (2, "")
    assert shown in result.stderr


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


@pytest.mark.parametrize("path", [r"a\0b", "~nobody-has-this-name/x", r"\ud800"])
@pytest.mark.parametrize("arguments", [("spend",), ("doctor",), ("generate", "a fox", "--model", OPENAI)])
def test_a_path_in_the_settings_that_no_file_can_have(
    arguments: tuple[str, ...], path: str, run: Any, root: Path
) -> None:
    (root / "invokeai_external.yaml").write_text(f'settings:\n  spending_record: "{path}"\n', encoding="utf-8")
    refused = run(*arguments)
    assert refused.code == 2
    assert "spending_record" in refused.stdout + refused.stderr


def test_a_broken_settings_file_is_reported_with_its_line(run: Any, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "invokeai_external.yaml").write_text("settings:\n  concurency: 3\n")
    result = run("generate", "a fox", "--sandbox")
    assert result.code == 2
    assert f"{root / 'invokeai_external.yaml'}, line 2: settings.concurency" in result.stderr


@pytest.mark.parametrize("command", ["budget set total.day 4", "doctor", "install"])
def test_a_root_that_is_not_there_is_an_error_and_is_not_made(command: str, run: Any, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    result = run(*command.split(), "--root", missing)
    assert (result.code, result.stdout) == (2, "")
    assert str(missing) in result.stderr
    assert not missing.exists()


@pytest.mark.parametrize(
    ("command", "advice"),
    [
        ("generate x --size", "invokeai-external generate --help"),
        ("models show x --root", "invokeai-external models show --help"),
        ("models gpt-image-2", "invokeai-external models show gpt-image-2"),
        ("doctor inv", "invokeai-external doctor --root inv"),
        ("generate x -n two", "whole number"),
        ("recall .", "folder"),
        ("spend check opnai 2026-11 4", "openai?"),
        ("spend check openai 2099-11 4", "has not begun"),
        ("providers add acme --adapter openai_images --base-url htp://x", "Nothing was saved"),
        ("providers add acme --adapter openai_images --base-url https://a.example --model gpt-imag-2", "gpt-imag-2"),
    ],
)
def test_what_to_do_instead_is_said(command: str, advice: str, run: Any, root: Path) -> None:
    made_up_spending.fill(root / SPENDING_FILE, made_up_spending.many_calls(9, time.time()))
    result = run(*command.split())
    assert result.code == 2
    assert advice in result.stderr
    assert str(root) not in result.stderr


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("providers: {Ac me: {adapter: openai_images, base_url: 'https://a.example'}}", ["lower case letters"]),
        (
            "providers: {acme: {adapter: openai_images, base_url: 'https://a.example', key: sk-12345}}",
            ["keys set acme"],
        ),
        ("models: {openai/x: {extends: openai/gpt-image-2, sizing: {kind: fixed, sizes: [1024]}}}", ["1024x1024"]),
        ("budgets: {total: {day: 4}}", ["day_usd?"]),
    ],
)
def test_a_line_of_the_settings_that_is_wrong_says_what_is_right(
    text: str, facts: list[str], run: Any, root: Path
) -> None:
    (root / USER_FILE).write_text(text)
    result = run("models")
    assert result.code == 2
    assert [fact for fact in facts if fact not in result.stderr] == []
    assert "sk-12345" not in result.stderr


def test_a_provider_without_models_says_so(run: Any, root: Path) -> None:
    (root / USER_FILE).write_text("providers: {acme: {adapter: openai_images, base_url: 'https://a.example'}}")
    assert "providers add acme --model" in run("models", "--provider", "acme").stdout
    assert run("models", "--provider", "acme", "--json").json == []


def test_the_image_itself_is_not_its_mask(run: Any, tmp_path: Path) -> None:
    plain, link = tmp_path / "plain.png", tmp_path / "link.png"
    image_file(plain)
    link.symlink_to(plain)
    for mask in (plain, link):
        result = run("generate", "x", "--model", OPENAI, "--init", plain, "--mask", mask, "--dry-run")
        assert (result.code, "itself" in result.stderr) == (2, True)
