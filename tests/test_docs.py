"""The README and the docs: generated parts are up to date, links have targets, examples run."""

from __future__ import annotations

import ast
import asyncio
import inspect
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import CodeType
from typing import Any

import httpx
import pytest
import typer
from fastapi.testclient import TestClient
from PIL import Image

from docs.generate import option_flags
from docs.generate.demo_images import DEMO_IMAGES, IMAGES, STRIP
from docs.generate.pages import BLOCK_PATTERN, BLOCKS, pages, rewritten
from docs.generate.reference import leaf_errors
from invokeai_external import Registry, load_settings
from invokeai_external.cli.app import app
from invokeai_external.cli.entry_point import main
from invokeai_external.errors import ExternalError
from invokeai_external.providers import catalog
from invokeai_external.root_folder import API_KEYS_FILE, KEYS_FILE, USER_FILE
from invokeai_external.service.access import checked_base_url
from invokeai_external.settings.discovered import Discovered, save_discovered
from invokeai_external.settings.settings import Credentials, Limits, variable_name

from .support.openrouter import OpenRouterServer, discovered
from .support.providers import IN_INVOKE

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"


PAGES = pages()


@dataclass(frozen=True, slots=True)
class Example:
    """A fenced block of a page, or one of its lines."""

    page: Path
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def fenced(language: str) -> list[Example]:
    """All fenced blocks of a language, with the line where their text starts."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in re.finditer(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
            found.append(Example(page, text.count("\n", 0, match.start(1)) + 1, match[1]))
    return found


def commands(program: str) -> list[Example]:
    """All lines of shell blocks that run a program."""
    return [
        Example(block.page, block.line + place, line)
        for block in fenced("sh")
        for place, line in enumerate(block.text.splitlines())
        if line.split()[:1] == [program]
    ]


def without_fences(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def examples(found: list[Example]) -> pytest.MarkDecorator:
    """The parameters of a test; fails if there are no examples."""
    assert found
    return pytest.mark.parametrize("example", found, ids=str)


# Generated parts


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_generated_parts_are_up_to_date(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert rewritten(text) == text, "run: make docs"


def test_the_flags_of_options_are_up_to_date() -> None:
    written = option_flags.FILE.read_text(encoding="utf-8")
    assert written == option_flags.module(), "run: make docs"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_marker_belongs_to_a_generated_part(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    parts = len(BLOCK_PATTERN.findall(text))
    assert text.count("<!-- generated: ") == text.count("<!-- end -->") == parts


def test_every_kind_of_generated_part_is_used() -> None:
    used = {name.split()[0] for page in PAGES for name in BLOCK_PATTERN.findall(page.read_text(encoding="utf-8"))}
    assert used == set(BLOCKS)


def test_an_outdated_part_is_rewritten() -> None:
    old = "before\n<!-- generated: settings -->\n\n| Setting |\n\n<!-- end -->\nafter\n"
    new = rewritten(old)
    assert all(f"| `{name}` |" in new for name in Limits.model_fields)
    assert new.startswith("before\n")
    assert new.endswith("<!-- end -->\nafter\n")
    assert rewritten(new) == new


def test_an_unknown_part_raises() -> None:
    with pytest.raises(KeyError):
        rewritten("<!-- generated: nonsense -->\n<!-- end -->")


# Links and images


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_have_targets(page: Path) -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)", without_fences(page))
    assert targets
    for target in targets:
        if re.match(r"https?:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.is_relative_to(ROOT), target
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), target


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes from a page's headings."""
    headings = re.findall(r"^#+ (.+)$", without_fences(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_images_are_small_and_all_are_used() -> None:
    images = {path.name: path for path in IMAGES.iterdir() if path.is_file()}
    # The demo makes them, except for the plot, which the benchmarks make.
    assert set(images) == {*DEMO_IMAGES, STRIP, "batches.png"}
    assert sum(path.stat().st_size for path in images.values()) < 600_000
    # The browser tests take these of Invoke's page.
    screenshots = {path.name: path for path in (IMAGES / "invoke").iterdir()}
    assert sum(path.stat().st_size for path in screenshots.values()) < 2_000_000
    images |= screenshots
    shown = {name for page in PAGES for name in re.findall(r"!\[[^\]]+\]\([^)]*?([^/)]+)\)", page.read_text("utf-8"))}
    assert shown == set(images)
    with Image.open(images["transparent.png"]) as image:
        assert image.mode == "RGBA"


# Completeness


def test_every_error_has_a_section() -> None:
    headings = re.findall(r"^### (\w+)$", (DOCS / "errors.md").read_text(encoding="utf-8"), re.MULTILINE)
    codes = {error.code for error in leaf_errors(ExternalError)}
    assert set(headings) == codes
    assert len(headings) == len(codes)


def test_every_notice_is_in_the_table() -> None:
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "invokeai_external").rglob("*.py")]
    codes = {code for source in sources for code in re.findall(r'\bNotice\(\s*"(\w+)"', source)}
    section = (DOCS / "errors.md").read_text(encoding="utf-8").partition("## Notices")[2]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == codes


def leaf_commands(command: Any, *path: str) -> Iterator[str]:
    for name, below in getattr(command, "commands", {}).items():
        yield from leaf_commands(below, *path, name)
    if not getattr(command, "commands", {}):
        yield " ".join(path)


@pytest.mark.parametrize("command", list(leaf_commands(typer.main.get_command(app))))
def test_every_command_has_its_help_and_an_example(command: str) -> None:
    page = DOCS / "command-line.md"
    assert f"<!-- generated: help {command} -->" in page.read_text(encoding="utf-8")
    shown = [f"{example.text} " for example in commands("invokeai-external") if example.page == page]
    assert any(line.startswith(f"invokeai-external {command} ") for line in shown)


def test_environment_variables_exist() -> None:
    named = {
        name for page in PAGES for name in re.findall(r"INVOKEAI_EXTERNAL_[A-Z]+_[A-Z_]+", page.read_text("utf-8"))
    }
    assert named == {variable_name(p, entry) for p in IN_INVOKE for entry in ("api_key", "base_url")}


def test_every_dependency_has_a_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [
        *project["dependencies"],
        *(name for extra in project["optional-dependencies"].values() for name in extra),
    ]
    reasons = (DOCS / "architecture.md").read_text(encoding="utf-8")
    assert [name for name in wanted if f"`{re.split('[>=]', name)[0]}`" not in reasons] == []


def where_to_change_what() -> list[tuple[str, str]]:
    """The paths in that section of architecture.md, each with the name that the page says is in it, if any."""
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    section = page.partition("## Where to change what\n")[2].partition("\n## ")[0]
    found = re.findall(r"(?:`(\w+)`\s+in\s+)?`(\w[\w/]*(?:/|\.\w+))`", section)
    return sorted({(path, name) for name, path in found})


@pytest.mark.parametrize(("path", "name"), where_to_change_what())
def test_the_places_to_change_something_exist(path: str, name: str) -> None:
    (place,) = [found for base in ("invokeai_external", ".") if (found := ROOT / base / path).exists()][:1]
    assert not name or re.search(rf"\b{name}\b", place.read_text(encoding="utf-8"))


# Shell examples

CLI_EXAMPLES = [e for e in commands("invokeai-external") if shlex.split(e.text, comments=True)[1:2] != ["sandbox"]]
SERVER_EXAMPLES = [e for e in commands("invokeai-external") if shlex.split(e.text, comments=True)[1:2] == ["sandbox"]]


def test_every_shell_line_is_tested() -> None:
    lines = [line for block in fenced("sh") for line in block.text.splitlines() if line]
    assert {line.split()[0] for line in lines} == {"invokeai-external", "curl", "make"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the files that the examples use."""
    folder = tmp_path / "work"
    (folder / "out").mkdir(parents=True)
    monkeypatch.chdir(folder)
    Path("my-invoke-root").mkdir()
    Path("my-invoke-root", "invokeai.yaml").write_text("schema_version: 4.0.2\n", encoding="utf-8")
    Image.linear_gradient("L").resize((320, 240)).convert("RGB").save("base.png")
    Image.linear_gradient("L").save("a.png")
    Image.radial_gradient("L").save("b.jpg")
    mask = Image.new("L", (320, 240))
    mask.paste(255, (100, 60, 200, 160))
    mask.save("mask.png")
    notes = Image.new("RGBA", (320, 240))
    notes.paste((255, 0, 0, 255), (100, 60, 200, 160))
    notes.save("notes.png")
    Path("prompt.txt").write_text("a fox\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def _openrouter() -> Iterator[OpenRouterServer]:
    with OpenRouterServer() as server:
        yield server


@pytest.fixture
def openrouter_url(_openrouter: OpenRouterServer, canary: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A server with OpenRouter's API, to which the settings point."""
    monkeypatch.setenv("INVOKEAI_EXTERNAL_OPENROUTER_BASE_URL", _openrouter.base_url)
    monkeypatch.setenv("INVOKEAI_EXTERNAL_OPENROUTER_API_KEY", canary)
    return _openrouter.base_url


def command_that_adds(example: Example) -> Example | None:
    """The command on the same page that adds the provider which a ``keys`` command names, if one does."""
    command = shlex.split(example.text, comments=True)[1:]
    start = ["providers", "add", *command[2:3]]
    added = (e for e in CLI_EXAMPLES if e.page == example.page and shlex.split(e.text)[1:4] == start)
    return next(added, None) if command[0] == "keys" else None


@pytest.mark.slow
@examples(CLI_EXAMPLES)
def test_commands_run(
    example: Example,
    folder: Path,
    sandbox_url: str,
    openrouter_url: str,
    canary: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if "out/picture.png" in example.text:
        assert main(["generate", "a fox", "--model", "gemini/gemini-3-pro-image", "--out", "made"]) == 0
        next(Path("made").iterdir()).rename("out/picture.png")
    if re.search(r" (budget set|spend check|spend import|data) ", example.text):
        Path(os.environ["INVOKEAI_ROOT"]).mkdir()
    if re.search(r" (spend check|spend import|data) ", example.text):
        # These need a spending record.
        assert main(["generate", "a fox", "--model", "openai/gpt-image-2", "--out", "made"]) == 0
    if " data restore " in example.text:
        assert main(["data", "backup", "copy.sqlite3"]) == 0
    if adding := command_that_adds(example):
        assert main(shlex.split(adding.text)[1:]) == 0
    typed = "a fox" if " - " in example.text else canary
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(f"{typed}\n".encode())))
    exit_code = re.search(r"# exits with (\d+)", example.text)
    words = shlex.split(example.text, comments=True)
    arguments = [str(Path(word).expanduser()) if word.startswith("~") else word for word in words[1:]]
    if "--root" in arguments:
        Path(arguments[arguments.index("--root") + 1]).mkdir(exist_ok=True)
    assert main(arguments) == (int(exit_code[1]) if exit_code else 0), capsys.readouterr().err


@pytest.mark.slow
@examples(SERVER_EXAMPLES)
def test_the_sandbox_serves_until_interrupted(example: Example) -> None:
    # The last --port wins: any free port, so that another sandbox is not in the way.
    words = [*shlex.split(example.text)[1:], "--port", "0"]
    program = [sys.executable, "-m", "invokeai_external", *words]
    with subprocess.Popen(program, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        try:
            url = re.search(r"http://127\.0\.0\.1:\d+", server.stderr.readline())
            assert url is not None
            # It prints its URL a moment before it accepts connections.
            with httpx.Client(transport=httpx.HTTPTransport(retries=5)) as client:
                assert client.get(f"{url[0]}/sandbox/faults").status_code == 200
        finally:
            server.send_signal(signal.SIGINT)
            server.communicate(timeout=10)
    assert server.returncode == 130


@examples(commands("curl"))
def test_curl_commands_succeed(example: Example, sandbox_url: str) -> None:
    words = shlex.split(example.text)[1:]
    url = words.pop().replace("http://127.0.0.1:9393", sandbox_url)
    options = dict(zip(words[::2], words[1::2], strict=True))
    assert set(options) <= {"-X", "-d"}
    method = options.get("-X") or ("POST" if "-d" in options else "GET")
    response = httpx.request(method, url, content=options.get("-d"))
    assert response.is_success, response.text


@examples(commands("make"))
def test_make_targets_exist(example: Example) -> None:
    target = shlex.split(example.text, comments=True)[1]
    assert re.search(rf"^{target}:.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


# Python, YAML and JSON examples


@pytest.mark.slow
@examples(fenced("python"))
def test_python_examples_run(example: Example, folder: Path, sandbox_url: str) -> None:
    for module, package in (("openai", "openai"), ("google.genai", "genai")):
        if f"import {package}" in example.text or f"from {package}" in example.text:
            pytest.importorskip(module)
    code = example.text.replace("http://127.0.0.1:9393", sandbox_url)
    before = set(folder.iterdir())
    compiled = compile(code, str(example), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    names: dict[str, Any] = {"__name__": "__main__"}
    if code.startswith("# a notebook cell"):
        asyncio.run(in_a_cell(compiled, names))
    else:
        exec(compiled, names)
    made = set(folder.iterdir()) - before
    assert bool(made) == ("write_bytes" in code or ".save(" in code)
    if "app" in names:
        with TestClient(names["app"]) as client:
            assert client.post("/images", params={"prompt": "a fox"}).headers["content-type"] == "image/png"
            assert client.post("/images", params={"prompt": ""}).status_code == 422
    for path in made:
        with Image.open(path) as image:
            image.verify()


async def in_a_cell(code: CodeType, names: dict[str, Any]) -> None:
    """Run code as Jupyter does: inside its event loop, with ``await`` outside of functions."""
    result = eval(code, names)
    if inspect.isawaitable(result):
        await result


@examples(fenced("yaml"))
def test_yaml_examples_load(example: Example, tmp_path: Path) -> None:
    name = example.text.splitlines()[0].removeprefix("# ")
    assert name in (API_KEYS_FILE, KEYS_FILE, USER_FILE)
    (tmp_path / name).write_text(example.text, encoding="utf-8")
    (tmp_path / name).chmod(0o600)
    router = catalog.page("openrouter").provider
    save_discovered(tmp_path, router.id, Discovered(str(router.base_url), datetime.now(UTC), discovered()))
    settings = load_settings(tmp_path, {})
    registry = Registry(settings.catalog)
    assert settings.notices == ()
    if name == KEYS_FILE:
        assert settings.catalog.providers == {}
        return
    if name == API_KEYS_FILE:
        assert all(settings.credentials[name].api_key for name in IN_INVOKE)
        return
    assert (
        settings.budgets.are_set or settings.limits != Limits() or settings.catalog.models or settings.catalog.providers
    )
    for provider in settings.catalog.providers:
        assert settings.is_on(provider)
        checked_base_url(settings.providers[provider], Credentials())
    for reference, fields in settings.catalog.models.items():
        resolved = registry.resolve(reference)
        assert resolved.notices == ()
        if "name" in fields:
            assert resolved.model.name == fields["name"]
            continue
        if resolved.model.provider in (*settings.catalog.providers, router.id):
            continue
        assert resolved.model.model_dump(include=set(fields)) != Registry().resolve(reference).model.model_dump(
            include=set(fields)
        )


@pytest.mark.parametrize(
    ("key", "model", "code"), [("images", "gemini/gemini-nano-banana-2.1", 0), ("error", "openai/dall-e-3", 1)]
)
def test_json_examples_have_the_fields_of_a_real_run(
    key: str, model: str, code: int, folder: Path, sandbox_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (shown,) = [found for block in fenced("json") if key in (found := json.loads(block.text))]
    assert (
        main(["generate", "a red fox in snow", "--model", model, "--size", "1000x1000", "--seed", "7", "--json"])
        == code
    )
    assert fields_of(shown) == fields_of(json.loads(capsys.readouterr().out))


def fields_of(value: object) -> object:
    """The names and types in a JSON value; for a list, those of its first entry."""
    if isinstance(value, dict):
        return {name: fields_of(below) for name, below in value.items()}
    if isinstance(value, list):
        return [fields_of(below) for below in value[:1]]
    return type(value).__name__
