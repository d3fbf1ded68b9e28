"""Providers of every kind in one root folder, tried as a user does: with commands only."""

from __future__ import annotations

import io
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import openai
import pytest

from invokeai_external.cli.entry_point import main

from .support.programs import Result, image_file
from .support.provider_servers import BLOCKED, LoggedServer, ProviderServer, Received
from .support.side_by_side import SECRETS, SIDES, servers

pytestmark = pytest.mark.slow

OTHERS = [name for name, side in SIDES.items() if side.add]
each = pytest.mark.parametrize("name", SIDES)
each_other = pytest.mark.parametrize("name", OTHERS)
Run = Callable[..., Result]


@pytest.fixture(scope="module")
def urls() -> Iterator[Mapping[str, LoggedServer]]:
    with servers() as found:
        yield found


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run_main(*arguments: object) -> Result:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert [name for name, secret in SECRETS.items() if secret in captured.out + captured.err] == []
        return Result(code, captured.out, captured.err)

    return run_main


@pytest.fixture(scope="module")
def made(urls: Mapping[str, LoggedServer], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a root folder, made by the commands, with all keys set."""
    folder = tmp_path_factory.mktemp("made")
    root = folder / "root"
    root.mkdir()
    known = [f"external_{name}_base_url: {url_of(name, urls)}\n" for name in SIDES if name not in OTHERS]
    (root / "api_keys.yaml").write_text("".join(known))
    (folder / "token.py").write_text(f"print({SECRETS['vertex']!r})")
    token = shlex.join([sys.executable, str(folder / "token.py")])
    for name, side in SIDES.items():
        arguments = [argument.format(url=urls[name].url, token=token) for argument in side.add]
        assert not arguments or main(["providers", "add", name, *arguments, "--root", str(root)]) == 0
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.stdin", io.StringIO(SECRETS[name]))
            assert not side.has_key or main(["keys", "set", name, "--root", str(root)]) == 0
    return folder


@pytest.fixture
def root(made: Path, urls: Mapping[str, LoggedServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root folder of a test; the servers have received nothing yet."""
    for name in ("OPENAI", "GEMINI"):
        monkeypatch.delenv(f"INVOKEAI_EXTERNAL_{name}_API_KEY")
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    file = tmp_path / "root" / "invokeai_external.yaml"
    file.write_text(file.read_text().replace(str(made), str(tmp_path)))
    for server in urls.values():
        server.texts.clear()
        if isinstance(server, ProviderServer):
            server.received.clear()
    return file.parent


def url_of(name: str, urls: Mapping[str, LoggedServer]) -> str:
    return f"{urls[name].url}{SIDES[name].base_url}"


def model_of(name: str) -> str:
    return f"{name}/{SIDES[name].model}"


def received_by(server: LoggedServer) -> Received:
    assert isinstance(server, ProviderServer)
    return server.received[-1]


def test_all_are_listed_with_their_models(run: Run, root: Path, urls: Mapping[str, LoggedServer]) -> None:
    rows = {row["provider"]: row for row in run("providers", "--json").json["providers"]}
    assert {name: (row["name"], row["base_url"]) for name, row in rows.items() if row["ready"]} == {
        name: (side.name, url_of(name, urls)) for name, side in SIDES.items()
    }
    listed = run("models").stdout
    for name in SIDES:
        assert model_of(name) in listed
        models = run("models", "--provider", name, "--json").json
        assert {model["provider"] for model in models} == {name}
        shown = run("models", "show", model_of(name))
        assert shown.stdout.startswith(f"{model_of(name)}: ")


@each
def test_a_dry_run_shows_the_url_and_sends_nothing(
    run: Run, root: Path, urls: Mapping[str, LoggedServer], name: str
) -> None:
    (root.parent / "token.py").write_text("raise SystemExit('a dry run has run the command')")
    result = run("generate", "a fox", "--model", model_of(name), "--dry-run", "--json")
    assert result.code == 0
    query = f"?{SIDES[name].query}" if SIDES[name].query else ""
    assert result.json["requests"][0]["url"] == f"{url_of(name, urls)}{SIDES[name].generate}{query}"
    assert not urls[name].texts


@each
def test_an_image_and_its_edit_are_made_and_recalled(
    run: Run, root: Path, urls: Mapping[str, LoggedServer], tmp_path: Path, name: str
) -> None:
    side, common = SIDES[name], ("--model", model_of(name), "--out", tmp_path / "out", "--json")
    first = run("generate", "a fox", *common)
    assert first.code == 0, first.stdout
    (image,) = first.json["images"]
    second = run("generate", "a hat", "--init", image["path"], *common)
    assert second.code == 0, second.stdout
    assert (second.json["provider"], second.json["model"]) == (name, side.model)
    if side.cost_usd:
        assert first.json["cost_usd"] == pytest.approx(side.cost_usd)
    if isinstance(urls[name], ProviderServer):
        # One provider is asked for its models before.
        generate, edit = [each for each in urls[name].received if each.body]  # type: ignore[attr-defined]
        paths = [f"{side.base_url}{path}" for path in (side.generate, side.edit)]
        assert [generate.path, edit.path] == paths
        assert {generate.query, edit.query} == {side.query}
        if side.sent:
            assert {generate.body["model"], edit.body["model"]} == {side.sent}
            assert edit.files == (("image",) if side.sends_files else ())
    (edited,) = second.json["images"]
    recalled = shlex.split(run("recall", edited["path"]).stdout)
    assert recalled[recalled.index("--model") + 1] == model_of(name)
    # An image of the sandbox is recalled with --sandbox.
    command = [word for word in shlex.split(run("recall", image["path"]).stdout)[1:] if word != "--sandbox"]
    again = run(*command, "--dry-run", "--json")
    assert again.json["requests"][0]["url"].startswith(url_of(name, urls))


@each_other
def test_an_error_names_the_provider_and_what_to_do(
    run: Run, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    side, common = SIDES[name], ("--model", model_of(name), "--out", tmp_path / "out", "--json")
    blocked = run("generate", BLOCKED, *common)
    assert (blocked.code, blocked.json["error"]["code"]) == (1, "content_blocked")
    assert side.name in blocked.json["error"]["message"]
    (tmp_path / "token.py").write_text("print('another-token')")
    if side.has_key:
        monkeypatch.setattr("sys.stdin", io.StringIO("another-key-0123456789"))
        assert run("keys", "set", name).code == 0
    refused = run("generate", "a fox", *common)
    assert (refused.code, refused.json["error"]["code"]) == (1, "authentication")
    what = "key" if side.has_key else "token"
    assert refused.json["error"]["message"] == f"{side.name} refused the {what}."
    todo = f"keys set {name}" if side.has_key else f"the command {sys.executable}"
    assert todo in refused.json["error"]["hint"]
    assert "None" not in refused.json["error"]["hint"]


@each
def test_its_key_is_listed_tested_and_removed(
    run: Run, root: Path, urls: Mapping[str, LoggedServer], name: str
) -> None:
    side = SIDES[name]
    rows = {row["provider"]: row for row in run("keys", "list", "--json").json["keys"]}
    assert (rows[name]["key"], rows[name]["base_url"], rows[name]["problem"]) == (
        side.has_key,
        url_of(name, urls),
        None,
    )
    tested = run("keys", "test", name)
    # Without a list and without a token, there is nothing to test.
    assert tested.code == (0 if side.lists or not side.has_key else 2)
    assert side.name in tested.stdout + tested.stderr
    if not side.lists:
        assert not urls[name].texts
    if side.lists and side.has_key:
        check = run("keys", "test", name, "--json").json
        assert side.model in check["listed"]
        assert side.model not in check["missing"]
        assert run("models", "check", name).code == 0
    if side.has_key:
        assert run("keys", "remove", name).code == 0
        missing = run("generate", "a fox", "--model", model_of(name), "--json")
        assert (missing.code, missing.json["error"]["code"]) == (2, "not_configured")
        assert f"keys set {name}" in missing.json["error"]["hint"]


def test_a_provider_without_a_key_saves_no_key(run: Run, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (root / "invokeai_external_keys.yaml").read_text()
    monkeypatch.setattr("sys.stdin", io.StringIO("another-key-0123456789"))
    result = run("keys", "set", "vertex")
    assert result.code == 2
    assert f"the command {sys.executable}" in result.stderr
    assert (root / "invokeai_external_keys.yaml").read_text() == before
    (root.parent / "token.py").write_text("raise SystemExit(3)")
    tested = run("keys", "test", "vertex")
    assert (tested.code, "exit code 3" in tested.stderr) == (2, True)


def test_doctor_has_a_line_for_each(run: Run, root: Path, urls: Mapping[str, LoggedServer]) -> None:
    (root.parent / "token.py").write_text("raise SystemExit('doctor has run the command')")
    lines = run("doctor").stdout.splitlines()
    for name, side in SIDES.items():
        [line] = [line for line in lines if re.match(rf"\S+ +{name}: ", line)]
        assert line.startswith("ok")
        assert url_of(name, urls) in line
        assert ("key from" if side.has_key else "token from the command") in line
    assert not any(server.texts for server in urls.values())


def test_doctor_says_that_what_makes_a_token_is_not_there(run: Run, root: Path) -> None:
    assert run("providers", "add", "vertex", "--auth", "command:no-such-command --now").code == 0
    [line] = [line for line in run("doctor").stdout.splitlines() if "no-such-command" in line]
    assert line.startswith("WRONG  There is no command no-such-command, which makes the token for Vertex AI.")
    assert "--now" not in line


def test_each_key_is_in_one_file_and_a_misplaced_one_is_noticed(run: Run, root: Path) -> None:
    files = {name: (root / name).read_text() for name in ("api_keys.yaml", "invokeai_external_keys.yaml")}
    for name, side in SIDES.items():
        holding = [file for file, text in files.items() if SECRETS[name] in text]
        right = "invokeai_external_keys.yaml" if side.add else "api_keys.yaml"
        assert holding == ([right] if side.has_key else [])
    assert not [name for name, secret in SECRETS.items() if secret in (root / "invokeai_external.yaml").read_text()]
    (root / "api_keys.yaml").write_text(f"{files['api_keys.yaml']}external_acme_api_key: another-key\n")
    (root / "invokeai_external_keys.yaml").write_text("external_openai_api_key: another-key\n")
    for command in (("doctor",), ("keys", "list"), ("models",)):
        result = run(*command)
        shown = " ".join((result.stdout + result.stderr).split())
        for name, wrong, right in (
            ("acme", "api_keys.yaml", "invokeai_external_keys.yaml"),
            ("openai", "invokeai_external_keys.yaml", "api_keys.yaml"),
        ):
            moved = f"external_{name}_api_key in {root / wrong} is not read there. Move that line to {root / right}"
            assert moved in shown


def test_each_key_arrives_at_its_own_server_only(
    run: Run, root: Path, urls: Mapping[str, LoggedServer], tmp_path: Path
) -> None:
    base = image_file(tmp_path / "base.png", (256, 256))
    for name in SIDES:
        common = ("--model", model_of(name), "--out", tmp_path / "out")
        run("keys", "test", name)
        assert run("generate", "a fox", *common).code == 0
        assert run("generate", "a hat", "--init", base, *common).code == 0
    for name, server in urls.items():
        received = "\n".join(server.texts)
        assert [other for other, secret in SECRETS.items() if secret in received] == [name]


@pytest.mark.parametrize("name", ["azure", "azure_east"])
def test_azure_receives_what_the_official_sdk_sends(
    run: Run, root: Path, urls: Mapping[str, LoggedServer], tmp_path: Path, name: str
) -> None:
    side, url = SIDES[name], urls[name].url
    base = image_file(tmp_path / "base.png", (256, 256))
    common = ("--model", model_of(name), "--out", tmp_path / "out", "--quality", "low", "--size", "1024x1024")
    assert run("generate", "a fox", *common).code == 0
    generate = received_by(urls[name])
    assert run("generate", "a hat", "--init", base, *common).code == 0
    edit = received_by(urls[name])
    secret, deployment = SECRETS[name], side.sent or ""
    sdk: openai.OpenAI
    if name == "azure_east":
        sdk = openai.AzureOpenAI(api_key=secret, azure_endpoint=url, api_version="2025-04-01-preview")
    else:
        # For the v1 API, Microsoft's documentation uses the class for OpenAI; Azure accepts both headers.
        sdk = openai.OpenAI(api_key="unused", base_url=f"{url}/openai/v1", default_headers={"api-key": secret})
    with sdk:
        options: Any = {"model": deployment, "n": 1, "quality": "low", "size": "1024x1024"}
        sdk.images.generate(prompt="a fox", **options)
        theirs = received_by(urls[name])
        assert (generate.path, generate.query, generate.body) == (theirs.path, theirs.query, theirs.body)
        assert generate.headers["api-key"] == theirs.headers["api-key"] == secret
        assert "authorization" not in generate.headers
        with base.open("rb") as file:
            sdk.images.edit(prompt="a hat", image=file, **options)
        theirs = received_by(urls[name])
        assert (edit.path, edit.query, edit.body, edit.files) == (theirs.path, theirs.query, theirs.body, theirs.files)
        assert edit.headers["api-key"] == theirs.headers["api-key"] == secret
