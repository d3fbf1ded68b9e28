"""What a user reads is plain English: no word of the glossary's left column, in no text."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
import yaml
from PIL import Image

from invokeai_external.cli import report
from invokeai_external.cli.app import app
from invokeai_external.cli.entry_point import main
from invokeai_external.errors import ExternalError
from invokeai_external.invoke.remedies import in_invoke, shown_text
from tests import wording
from tests.wording import Text, every_text, hits

ROOT = Path(__file__).resolve().parent.parent
TEXTS = list(every_text())


@pytest.mark.parametrize("kind", ["user", "code"])
def test_no_text_has_a_word_that_the_glossary_replaces(kind: wording.Kind) -> None:
    assert [str(hit) for hit in hits(TEXTS) if hit.kind == kind] == []


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


MONEY = re.compile(
    r"\b(?:ledger|reservations?|reserved?|scopes?|bounded|write-?offs?|written off|unconfirmed)\b", re.IGNORECASE
)
"""What no text about money says: it says spending record, in progress, charged, may have been charged, limit, up to."""

_OF_THE_CODE = ("docs/architecture.md", "invokeai_external/spending/")
"""What only describes the code, and SQL."""


def _in_plain_money(text: Text) -> list[str]:
    """What a text says in other words than those for users, but for names in backticks and of classes."""
    prose = re.sub(r"``.+?``|`[^`\n]+`", "…", text.text)
    is_name = re.fullmatch(r"[A-Z]\w+", prose) and re.search(
        rf"^(?:class )?{prose}\b", _source(text.path), re.MULTILINE
    )
    return [] if is_name else MONEY.findall(prose)


def _source(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8") if (ROOT / path).is_file() else ""


def _texts_of_pages() -> list[Text]:
    """What the pages in Invoke show: the text of HTML, and the strings of scripts that are more than a name."""
    texts = []
    for path in sorted((ROOT / "invokeai_external").rglob("*")):
        if path.suffix not in (".html", ".js"):
            continue
        source, name = path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix()
        found = re.split(r"<[^>]*>", source) if path.suffix == ".html" else re.findall(r"\"[^\"\n]*\"|`[^`]*`", source)
        texts += [Text(name, 1, "user", re.sub(r"[`\"]|\$\{[^}]*\}", "", one)) for one in found]
    return [text for text in texts if re.search(r"\s|^[A-Z]", text.text.strip())]


def test_what_users_read_about_money_has_no_word_of_the_code() -> None:
    texts = [text for text in TEXTS if text.kind == "user" and not text.path.startswith(_OF_THE_CODE)]
    found = [(text.path, text.line, words) for text in texts if (words := _in_plain_money(text))]
    found += [(text.path, text.line, words) for text in _texts_of_pages() if (words := MONEY.findall(text.text))]
    assert found == []


def test_the_help_has_no_word_of_the_code(capsys: pytest.CaptureFixture[str]) -> None:
    group = typer.main.get_command(app)
    pending: list[tuple[str, ...]] = [()]
    while pending:
        names = pending.pop()
        command: Any = group
        for name in names:
            command = command.commands[name]
        pending += [(*names, name) for name in getattr(command, "commands", {})]
        assert main([*names, "--help"]) == 0
        assert MONEY.findall(capsys.readouterr().out) == []


def test_a_word_of_the_code_is_found() -> None:
    assert _in_plain_money(Text("x", 1, "user", "The reservation is unconfirmed; see the ledger.")) == [
        "reservation",
        "unconfirmed",
        "ledger",
    ]
    assert _in_plain_money(Text("x", 1, "user", "It is `unconfirmed`: up to $5 may have been charged.")) == []


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
    collected += _texts("user", "invokeai_external/providers/option_flags.py")
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


# What errors and notices say, word for word: made by real calls, and the only place where sentences are compared.
#
# MESSAGES=rewrite python -m pytest tests/test_wording.py writes tests/messages.yaml as the messages are now.

MESSAGES = Path(__file__).with_name("messages.yaml")
INPUTS = ROOT / "tests" / "fixtures" / "root_0_1" / "pictures"
OPENAI = "openai/gpt-image-2"
GEMINI = "gemini/gemini-3.1-flash-lite-image"


@dataclass(frozen=True, slots=True)
class Case:
    """A command and what it meets. ``{out}``, ``{root}`` and ``{inputs}`` in it are folders."""

    command: str
    fault: str = ""
    parameters: Mapping[str, object] = field(default_factory=dict)
    settings: str = ""
    keys: str | None = None
    key_mode: int = 0o600
    notice: str = ""
    """The code of the notice to look at, of a command that prints JSON."""
    environment: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def provider(self) -> str:
        return "gemini" if GEMINI in self.command else "openai"


NO_KEYS = {"INVOKEAI_EXTERNAL_OPENAI_API_KEY": None, "INVOKEAI_EXTERNAL_GEMINI_API_KEY": None}
ONCE = "settings: {max_attempts: 1}"
# Nothing listens on port 1.
CLOSED = {"INVOKEAI_EXTERNAL_OPENAI_BASE_URL": "http://127.0.0.1:1/v1"}
FAR = {"INVOKEAI_EXTERNAL_OPENAI_BASE_URL": "https://provider.invalid/v1"}
FOX = f"generate 'a fox' --out {{out}} --model {OPENAI}"
FLARE_FOX = "generate 'a fox' --out {out} --model openai/gpt-image-2.5-flare"
GEMINI_FOX = f"generate 'a fox' --out {{out}} --model {GEMINI}"

CASES: Mapping[str, Case] = {
    # The request cannot be sent.
    "no key": Case(FOX, environment=NO_KEYS),
    "no key for the connection test": Case("keys test gemini", environment=NO_KEYS),
    "base URL that is not a URL": Case(FOX, environment={"INVOKEAI_EXTERNAL_OPENAI_BASE_URL": "ftp://x"}),
    "base URL that is too long": Case(
        FOX, environment={"INVOKEAI_EXTERNAL_OPENAI_BASE_URL": f"https://{3000 * chr(118)}"}
    ),
    "unknown provider": Case("generate 'a fox' --out {out} --model nobody/x"),
    "unknown model": Case("generate 'a fox' --out {out} --model gpt-image-two"),
    "misspelt model": Case("generate 'a fox' --out {out} --model gpt-imge-2"),
    "misspelt provider": Case("generate 'a fox' --out {out} --model opanai/gpt-image-2"),
    "empty prompt": Case(f"generate ' ' --out {{out}} --model {OPENAI}"),
    "empty model": Case("generate 'a fox' --out {out} --model ''"),
    "a model id with a control code": Case("generate 'a fox' --out {out} --model 'openai/gpt-image-2\x07'"),
    "a value that the model does not have": Case(f"{FOX} --quality best"),
    "a misspelt value": Case(f"{FOX} --quality hgh"),
    "a seed that is not a seed": Case(f"{GEMINI_FOX} --seed -1"),
    "a mask without an image": Case(f"{FOX} --mask {{inputs}}/transparent-openai.webp"),
    "a mask that is a photo": Case(f"{FOX} --init {{inputs}}/words-openai.jpg --mask {{inputs}}/mask-openai.png"),
    "a mask that is coloured": Case(f"{FOX} --init {{inputs}}/words-openai.jpg --mask {{masks}}/red.png"),
    "a mask that marks nothing": Case(f"{FOX} --init {{inputs}}/words-openai.jpg --mask {{masks}}/black.png"),
    "a mask that marks everything": Case(f"{FOX} --init {{inputs}}/words-openai.jpg --mask {{masks}}/white.png"),
    "a mask without the colour": Case(
        f"{FOX} --init {{inputs}}/words-openai.jpg --mask {{masks}}/red.png --mask-color blue"
    ),
    "a colour that is not a colour": Case(
        f"{FOX} --init {{inputs}}/words-openai.jpg --mask {{masks}}/red.png --mask-color rot"
    ),
    "a mask of another ratio": Case(f"{FOX} --init {{inputs}}/words-openai.jpg --mask {{masks}}/half.png"),
    "an image as its own mask": Case(f"{FOX} --init {{masks}}/half.png --mask {{masks}}/half.png"),
    "a size that is not a size": Case(f"{FOX} --size large"),
    "too many images": Case(f"{FOX} -n 11"),
    "unknown flag": Case("generate 'a fox' --no-such-option"),
    "unknown command": Case("paint"),
    "prompt without quotes": Case("generate a red fox"),
    "key in a command": Case("keys set openai sk-0123456789abcdef"),
    "URL in place of a path": Case("generate 'a fox' --init https://example.com/a.png"),
    "file URL in place of a path": Case("generate 'a fox' --init file:///tmp/a.png"),
    "new provider without its base URL": Case("providers add azure --root {root}"),
    "new provider without its wire format": Case("providers add azur --root {root}"),
    "provider that only needs a key": Case("providers add openai --root {root}"),
    "provider with a name that is not a name": Case("providers add my-server --root {root}"),
    "authentication that does not exist": Case(
        "providers add azure --root {root} --base-url https://a.example --auth basic"
    ),
    "model that nothing is known of": Case(
        "providers add azure --root {root} --base-url https://a.example --model acme-image-1"
    ),
    "settings that lines cannot change": Case(
        "providers add azure --root {root} --base-url https://a.example", settings="{settings: {concurrency: 2}}"
    ),
    "field that is not valid": Case(
        "providers add azure --root {root} --base-url https://a.example --auth 'header:a b'"
    ),
    "key for a provider that needs no key": Case(
        "keys set local --root {root}",
        settings="providers: {local: {adapter: gemini, base_url: 'http://127.0.0.1:9', auth: {type: none}}}",
    ),
    "provider without a list of models": Case(
        "keys test azure",
        environment={
            "INVOKEAI_EXTERNAL_AZURE_API_KEY": "a-key-of-azure",
            "INVOKEAI_EXTERNAL_AZURE_BASE_URL": "https://a.example",
        },
    ),
    "token that nothing makes": Case(
        "keys test vertex --root {root}",
        settings="providers: {vertex: {base_url: 'https://a.example', auth: {type: command, command: [no-command]}}}",
    ),
    "key in the wrong file": Case("keys list --root {root}", keys="external_azure_api_key: x\n"),
    "root that is a file": Case("models --root {inputs}/words-openai.jpg"),
    "root that does not exist": Case("undelivered --root {out}"),
    "input image that does not exist": Case(f"{FOX} --init {{inputs}}/no-such-image.png"),
    "input image that is not an image": Case(f"{FOX} --init {{root}}/invokeai_external.yaml"),
    "output folder that is a file": Case(f"generate 'a fox' --out {{inputs}}/words-openai.jpg --model {OPENAI}"),
    # The environment.
    "proxy that is not a URL": Case(FOX, environment={**FAR, "HTTPS_PROXY": "ftp://proxy.example"}),
    "SOCKS proxy": Case(FOX, environment={**FAR, "ALL_PROXY": "socks5://proxy.example"}),
    "certificates that do not exist": Case(FOX, environment={**FAR, "SSL_CERT_FILE": "/no/such/file.pem"}),
    "certificates that are not a folder": Case(FOX, environment={**FAR, "SSL_CERT_DIR": "/no/such/folder"}),
    "file without a certificate": Case(
        f"{FOX} --root {{root}}", environment={**FAR, "SSL_CERT_FILE": str(INPUTS / "words-openai.jpg")}
    ),
    "certificates that are a device": Case(FOX, environment={**FAR, "SSL_CERT_FILE": "/dev/null"}),
    # The files of a root.
    "setting out of range": Case("models --root {root}", settings="settings:\n  concurrency: 0\n"),
    "unknown setting": Case("models --root {root}", settings="settings:\n  speed: 9\n"),
    "misspelt setting": Case("models --root {root}", settings="settings:\n  max_wait: 9\n"),
    "misspelt default model": Case("models --root {root}", settings="settings:\n  default_model: gpt-imge-2\n"),
    "misspelt model in the settings": Case("models --root {root}", settings="models:\n  openai/GPT-image-2:\n"),
    "setting that is there twice": Case("models --root {root}", settings="settings:\n  previews: 1\n  previews: 2\n"),
    "settings that are not YAML": Case("models --root {root}", settings="settings: {\n"),
    "key file with a wrong field": Case("keys list --root {root}", keys="external_openai_api_key: [1]\n"),
    "misspelt name in the key file": Case("keys list --root {root}", keys="external_openai_baseurl: x\n"),
    "recall of a file without settings": Case("recall {root}/invokeai_external.yaml"),
    "install without a root": Case("install --root {root}"),
    "an experimental value": Case(f"{FLARE_FOX} --output-format gif"),
    "a markup without an image": Case(f"{FLARE_FOX} --markup {{inputs}}/mask-openai.png"),
    "a markup with a mask": Case(
        f"{FLARE_FOX} --init {{inputs}}/mask-openai.png --mask {{inputs}}/transparent-openai.webp "
        "--markup {inputs}/mask-openai.png"
    ),
    "a markup for a model without": Case(
        f"{FOX} --init {{inputs}}/mask-openai.png --markup {{inputs}}/mask-openai.png"
    ),
    "a markup that covers the image": Case(
        f"{FLARE_FOX} --init {{inputs}}/mask-openai.png --markup {{inputs}}/mask-openai.png"
    ),
    "a number that is not valid": Case(f"{FOX} --output-format jpeg --output-compression 101"),
    # Limits.
    "an image that could cost more than it may": Case(
        f"{FLARE_FOX} --root {{root}} --size 1024x1024", settings="budgets: {max_per_image_usd: 0.01}"
    ),
    "a run that could cost more than it may": Case(f"{FLARE_FOX} --size 1024x1024 --quality low -n 2 --max-cost 0.01"),
    "an unknown price where a limit applies": Case(
        "generate 'a fox' --out {out} --model openai/gpt-image-9 --root {root}",
        settings="budgets: {total: {day_usd: 5}}",
    ),
    "a limit that does not exist": Case("budget set daily 5 --root {root}"),
    "a limit of a misspelt provider": Case("budget set providers.opanai.day 5 --root {root}"),
    "a limit that is not an amount": Case("budget set total.day much --root {root}"),
    "a limit that lines cannot change": Case(
        "budget set total.day 5 --until 2099-12-05 --root {root}", settings="budgets: {total: {\n  day_usd: 1}}"
    ),
    "most of a limit is used": Case(
        f"{FLARE_FOX} --size 1024x1024 --quality low --json --root {{root}}",
        settings="budgets: {total: {day_usd: 0.0075}}",
        notice="budget_warning",
    ),
    "a limit on a model that ends": Case(
        "generate 'a fox' --out {out} --model openai/gpt-image-1.5 --quality low --json --root {root}",
        settings="budgets: {models: {openai/gpt-image-1.5: {day_usd: 5}}}",
        notice="limit_not_moved",
    ),
    # What a provider refuses.
    "key refused": Case(FOX, environment={"INVOKEAI_EXTERNAL_OPENAI_API_KEY": "invalid"}),
    "key refused by Gemini": Case(GEMINI_FOX, environment={"INVOKEAI_EXTERNAL_GEMINI_API_KEY": "invalid"}),
    "organization not verified": Case(FOX, "organization_not_verified"),
    "moderation": Case(FOX, "moderation"),
    "blocked prompt": Case(GEMINI_FOX, "blocked_prompt"),
    "refusal in a text": Case(GEMINI_FOX, "refusal_text"),
    "finish reason": Case(GEMINI_FOX, "finish_reason"),
    "quota": Case(FOX, "quota"),
    "quota of Gemini": Case(GEMINI_FOX, "quota"),
    "rate limit, without a second attempt": Case(
        f"{FOX} --root {{root}}", "rate_limited", {"form": "none"}, settings=ONCE
    ),
    # What goes wrong on the way.
    "no server": Case(f"{FOX} --root {{root}}", settings=ONCE, environment=CLOSED),
    "server error": Case(f"{FOX} --root {{root}}", "server_error", settings=ONCE),
    "gateway timeout": Case(FOX, "gateway_timeout"),
    "connection lost": Case(FOX, "dropped_connection"),
    "response too late": Case(
        f"{FOX} --root {{root}}", "slow", {"seconds": 30}, settings="settings: {timeout_s: 0.3, max_attempts: 1}"
    ),
    # What a provider sends and what is not usable.
    "no image": Case(FOX, "no_image"),
    "half of the JSON": Case(FOX, "truncated_json"),
    "not an image": Case(FOX, "not_an_image"),
    # Notices.
    "sandbox": Case(f"{FOX} --sandbox --json", notice="sandbox"),
    "plain http": Case(f"{FOX} --json", notice="plain_http"),
    "Gemini's API version v1": Case(
        f"{GEMINI_FOX} --dry-run --json",
        notice="api_version",
        environment={"INVOKEAI_EXTERNAL_GEMINI_BASE_URL": "https://generativelanguage.googleapis.com/v1"},
    ),
    "option dropped": Case(f"{GEMINI_FOX} --sandbox --quality high --json", notice="option_dropped"),
    "option for input images dropped": Case(
        "generate 'a fox' --dry-run --model openai/gpt-image-1 --input-fidelity high --json", notice="option_dropped"
    ),
    "compression dropped": Case(f"{FOX} --dry-run --output-compression 50 --json", notice="option_dropped"),
    "search that is billed": Case(
        "generate 'a fox' --dry-run --model gemini/gemini-3-pro-image --web-search web --json", notice="search_billed"
    ),
    "search that was made": Case(
        "generate 'a fox' --out {out} --model gemini/gemini-3-pro-image --web-search web --sandbox --json",
        notice="web_search",
    ),
    "svg": Case(
        f"{FLARE_FOX} --root {{root}} --output-format svg --sandbox --json",
        settings="settings: {experimental: true}",
        notice="svg_unchecked",
    ),
    "size changed": Case(f"{GEMINI_FOX} --dry-run --size 1000x900 --json", notice="size_changed"),
    "size changed to a cheaper one": Case(
        "generate 'a fox' --model gemini/gemini-3-pro-image --dry-run --image-size 3K --json", notice="size_changed"
    ),
    "size that no model makes": Case(f"{GEMINI_FOX} --dry-run --size 99999x1"),
    "seed changed": Case(f"{GEMINI_FOX} --dry-run --seed 4000000000 --json", notice="seed_changed"),
    "experimental size": Case(f"{FOX} --dry-run --size 3840x2160 --json", notice="experimental_size"),
    "another size received": Case(f"{FOX} --size 1024x1024 --json", "other_size", notice="size_received"),
    "model that will be retired": Case(
        "generate 'a fox' --dry-run --model gemini/gemini-2.5-flash-image --json", notice="model_deprecated"
    ),
    "snapshot": Case("generate 'a fox' --dry-run --model openai/gpt-image-2-2026-11-01 --json", notice="snapshot"),
    "model that is not in the catalogue": Case(
        "generate 'a fox' --dry-run --model openai/gpt-image-9 --json", notice="unknown_model"
    ),
    "how much a mask marks": Case(
        f"{FOX} --init {{masks}}/white.png --mask {{masks}}/red.png --mask-color red --sandbox --json",
        notice="mask_area",
    ),
    "keys that others can read": Case("keys list --root {root}", keys="external_openai_api_key: x\n", key_mode=0o644),
}


@pytest.fixture
def perform(
    tmp_path: Path, sandbox_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[Case], dict[str, str]]:
    """Runs a case; gives what it prints for people, and what Invoke says where that differs."""
    folders = {"out": tmp_path / "out", "root": tmp_path / "root", "inputs": INPUTS, "masks": tmp_path / "masks"}
    folders["masks"].mkdir()
    for name, color in (("white", "white"), ("black", "black"), ("red", "black"), ("half", "black")):
        mask = Image.new("RGB", (96, 64), color)
        if name in ("red", "half"):
            mask.paste("red" if name == "red" else "white", (0, 0, 48, 64))
        mask.crop((0, 0, 64, 64) if name == "half" else (0, 0, 96, 64)).save(folders["masks"] / f"{name}.png")
    errors: list[ExternalError] = []
    failure = report.failure

    def failed(error: Exception, **options: Any) -> int:
        errors.extend([error] if isinstance(error, ExternalError) else [])
        return failure(error, **options)

    def plain(text: str) -> str:
        text = text.replace(sandbox_url, "SANDBOX").replace(sandbox_url.removeprefix("http://"), "SANDBOX")
        for name, folder in folders.items():
            text = text.replace(str(folder), name.upper())
        text = re.sub(r"\breq_\w+", "REQUEST_ID", text)
        text = re.sub(r"[\d,]+ bytes", "N bytes", text)
        return text.rstrip()

    def run(case: Case) -> dict[str, str]:
        folders["root"].mkdir(exist_ok=True)
        (folders["root"] / "invokeai_external.yaml").write_text(case.settings, encoding="utf-8")
        if case.keys is not None:
            (folders["root"] / "api_keys.yaml").write_text(case.keys, encoding="utf-8")
            (folders["root"] / "api_keys.yaml").chmod(case.key_mode)
        if case.fault:
            order = {"provider": case.provider, "fault": case.fault, **case.parameters}
            assert httpx.post(f"{sandbox_url}/sandbox/faults", json=order).status_code == 201
        with monkeypatch.context() as patch:
            patch.setattr(report, "failure", failed)
            patch.setattr("invokeai_external.transport.proxies.find_spec", lambda _: None)
            for name, value in case.environment.items():
                patch.delenv(name) if value is None else patch.setenv(name, value)
            main([part.format(**folders) for part in shlex.split(case.command)])
        printed = capsys.readouterr()
        if case.notice:
            notices = json.loads(printed.out)["notices"]
            return {"notice": "\n".join(plain(each["message"]) for each in notices if each["code"] == case.notice)}
        said = {"command line": plain(printed.err)}
        for error in errors:
            if (in_host := shown_text(in_invoke(error))) != str(error):
                said["Invoke"] = plain(in_host)
        return said

    return run


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as they are read."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)

SAID: dict[str, dict[str, str]] = yaml.safe_load(MESSAGES.read_text(encoding="utf-8")) if MESSAGES.exists() else {}


@pytest.mark.parametrize("name", CASES)
def test_what_an_error_or_a_notice_says(name: str, perform: Callable[[Case], dict[str, str]]) -> None:
    said = perform(CASES[name])
    assert all(said.values())
    if os.environ.get("MESSAGES") == "rewrite":
        SAID[name] = said
        written = {case: SAID[case] for case in CASES if case in SAID}
        head = "# What errors and notices say. tests/test_wording.py writes and checks it.\n"
        MESSAGES.write_text(head + yaml.dump(written, Dumper=_Dumper, sort_keys=False, width=10_000), encoding="utf-8")
    assert said == SAID.get(name), "run with MESSAGES=rewrite, and read the difference"


def test_every_message_of_the_table_has_its_case() -> None:
    assert [*SAID] == [*CASES]
