"""What a user reads is plain English: no word of the glossary's left column, in no text."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import typer

from invokeai_external.cli.app import app
from tests import wording
from tests.wording import Text, every_text, hits

ROOT = Path(__file__).resolve().parent.parent
TEXTS = list(every_text())
COUNTS = wording.counts(hits(TEXTS))


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, rooms in COUNTS.items() for name in rooms], ids=lambda part: part
)
def test_the_words_that_the_glossary_replaces_only_become_fewer(kind: wording.Kind, name: str) -> None:
    allowed = wording.baseline()[kind].get(name, 0)
    found = COUNTS[kind][name]
    assert found <= allowed, f"run: python -m tests.wording {name}  ({found} instead of {allowed})"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A picture is mended", {"picture", "mended"}),
        ("'9' is no size of\nan image; there is no size, and it is no longer one", {"is no"}),
        ("What\n    came is `told` as ever", {"What came", "as ever"}),
        ("None was left out in demo-pictures/picture.png", {"left out"}),
        ("None of them is none", {"None of", "none"}),
        ("An image was not sent; see the response", set()),
    ],
)
def test_words_are_found_over_line_breaks_and_not_in_code_or_names(text: str, found: set[str]) -> None:
    assert {hit.found for hit in hits([Text("x", 1, "user", text)])} == found


def test_a_hit_names_its_line() -> None:
    (hit,) = hits([Text("x", 7, "user", "one\ntwo\na picture")])
    assert hit.line == 9


def test_the_glossary_that_contributors_read_is_the_one_that_is_tested() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = page.partition("| Write | not |\n| --- | --- |\n")[2].partition("\n\n")[0]
    never = [found for row in table.splitlines() for found in re.findall(r"`([^`]+)`", row.split("|")[2])]
    assert len(never) >= 19
    assert [text for text in never if not hits([Text("x", 1, "user", text)])] == []


def _texts(kind: wording.Kind, below: str) -> str:
    return "\n".join(" ".join(text.text.split()) for text in TEXTS if text.kind == kind and text.path.startswith(below))


def test_every_help_text_is_collected() -> None:
    group = typer.main.get_command(app)
    commands = [group, *getattr(group, "commands", {}).values()]
    subcommands = [inner for command in commands for inner in getattr(command, "commands", {}).values()]
    helps = [command.help or "" for command in [*commands, *subcommands]]
    helps += [getattr(parameter, "help", None) or "" for c in [*commands, *subcommands] for parameter in c.params]
    collected = _texts("user", "invokeai_external/cli") + _texts("code", "invokeai_external/cli")
    missing = [text for text in helps if " ".join(text.split("\f")[0].split())[:30] not in collected]
    # These are Typer's own.
    assert [text for text in missing if not text.startswith(("Show ", "Install completion"))] == []


def test_every_error_and_notice_is_collected() -> None:
    collected = _texts("user", "invokeai_external/")
    for path in (ROOT / "invokeai_external").rglob("*.py"):
        if path.relative_to(ROOT).as_posix() in wording.QUOTING:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("Notice", "Remedy"):
                for argument in [*node.args, *(keyword.value for keyword in node.keywords)]:
                    if isinstance(argument, ast.Constant) and " " in str(argument.value):
                        assert " ".join(str(argument.value).split()) in collected


@pytest.mark.parametrize(
    "path",
    [
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "Makefile",
        "api_keys.example.yaml",
        "docs/index.md",
        "invokeai_external/invoke/node_pack_init.txt",
        "invokeai_external/providers/openai.yaml",
        "workflows/two-providers.json",
    ],
)
def test_texts_beside_the_code_are_collected(path: str) -> None:
    assert any(text.path == path for text in TEXTS)
