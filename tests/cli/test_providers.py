"""``providers``: the list, and adding one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from invokeai_external.cli import completions
from invokeai_external.providers import catalog
from invokeai_external.providers.setup import Setup
from invokeai_external.settings.settings import load_settings

EAST = "https://east.openai.azure.com"
PROJECT = "https://aiplatform.googleapis.com/v1beta1/projects/p-1/locations/global/publishers/google"
READY = {page.provider.id: page.setup for page in catalog.pages() if page.setup}


def written(root: Path) -> str:
    return (root / "invokeai_external.yaml").read_text()


def answering(monkeypatch: pytest.MonkeyPatch, *answers: str) -> list[str]:
    """Answer the questions of a terminal, an empty text with what is offered; returns the questions."""
    asked: list[str] = []
    given = iter(answers)

    def prompt(question: str, *, default: str | None, **_: object) -> str:
        asked.append(question)
        answer = next(given)
        assert answer or default is not None
        return answer or default or ""

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.prompt", prompt)
    return asked


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (["azure", "--base-url", f"{EAST}/"], f"providers:\n  azure:\n    base_url: {EAST}/openai/v1\n"),
        (
            ["azure", "--base-url", EAST, "--model", "gpt-image-2=dep", "--model", "gpt-image-1.5"],
            f"providers:\n  azure:\n    base_url: {EAST}/openai/v1\n"
            "models:\n  azure/gpt-image-2:\n    api_model: dep\n",
        ),
        (
            ["azure", "--way", "classic", "--base-url", EAST],
            f"providers:\n  azure:\n    base_url: {EAST}/openai\n    api_version: openai\n"
            "    query: {api-version: 2025-04-01-preview}\n"
            "    paths: {generate: 'deployments/{model}/images/generations', "
            "edit: 'deployments/{model}/images/edits'}\n",
        ),
        (["vertex", "--base-url", PROJECT], f"providers:\n  vertex:\n    base_url: {PROJECT}\n"),
        (
            ["vertex", "--base-url", PROJECT, "--auth", "command:gcloud auth 'print-access-token'"],
            f"providers:\n  vertex:\n    base_url: {PROJECT}\n"
            "    auth: {type: command, command: [gcloud, auth, print-access-token]}\n",
        ),
        (
            ["vertex", "--way", "express"],
            "providers:\n  vertex:\n    base_url: https://aiplatform.googleapis.com/v1beta1/publishers/google\n"
            "    auth: {type: header, name: x-goog-api-key}\n",
        ),
        (
            ["litellm", "--base-url", "http://localhost:4000", "--model", "gemini/gemini-3-pro-image"],
            "providers:\n  litellm:\n    base_url: http://localhost:4000/v1\n"
            "models:\n  litellm/gemini-3-pro-image:\n    extends: gemini/gemini-3-pro-image\n",
        ),
        (
            [
                *("acme", "--adapter", "openai_images", "--base-url", "https://a.example", "--name", "Acme: Images"),
                *("--auth", "header:x-key", "--model", "gpt-image-2=acme-image-1"),
            ],
            "providers:\n  acme:\n    adapter: openai_images\n    name: 'Acme: Images'\n"
            "    base_url: https://a.example/v1\n    auth: {type: header, name: x-key}\n"
            "models:\n  acme/gpt-image-2:\n    extends: openai/gpt-image-2\n    api_model: acme-image-1\n",
        ),
        (
            ["local", "--adapter", "gemini", "--base-url", "http://127.0.0.1:9", "--auth", "none"],
            "providers:\n  local:\n    adapter: gemini\n    base_url: http://127.0.0.1:9/v1beta\n"
            "    auth: {type: none}\n",
        ),
    ],
)
def test_what_the_flags_say_is_written_or_printed(run: Any, root: Path, arguments: list[str], lines: str) -> None:
    printed = run("providers", "add", *arguments, "--print")
    assert (printed.code, printed.stdout) == (0, lines)
    assert not list(root.iterdir())
    assert run("providers", "add", *arguments).code == 0
    assert written(root) == lines
    settings = load_settings(root, {})
    assert settings.is_on(arguments[0])
    # A second time changes nothing.
    assert run("providers", "add", *arguments).code == 0
    assert written(root) == lines


def test_two_servers_of_a_kind_are_side_by_side(run: Any, root: Path) -> None:
    assert run("providers", "add", "azure", "--base-url", EAST).code == 0
    west = ("--like", "azure", "--way", "classic", "--base-url", "https://west.openai.azure.com")
    assert run("providers", "add", "azure_west", *west, "--model", "gpt-image-2=d").code == 0
    settings = load_settings(root, {"AZURE_OPENAI_API_KEY": "the-key-of-azure"})
    azure, other = settings.providers["azure"], settings.providers["azure_west"]
    assert (other.name, other.auth, other.list_models) == ("azure_west", azure.auth, False)
    assert other.query == {"api-version": "2025-04-01-preview"}
    # Its variable holds the key of one of them.
    assert (settings.is_ready("azure"), settings.is_ready("azure_west")) == (True, False)
    assert "extends: azure/gpt-image-2" in written(root)


def test_a_later_run_changes_only_what_it_names(run: Any, root: Path) -> None:
    like = ("--like", "azure", "--way", "classic", "--base-url", EAST)
    assert run("providers", "add", "azure_east", *like, "--auth", "bearer").code == 0
    before = written(root)
    assert run("providers", "add", "azure_east", "--like", "azure", "--model", "gpt-image-2=d").code == 0
    assert (
        written(root)
        == f"{before}models:\n  azure_east/gpt-image-2:\n    extends: azure/gpt-image-2\n    api_model: d\n"
    )
    # The way of before is kept.
    assert run("providers", "add", "azure_east", "--base-url", "https://other.openai.azure.com").code == 0
    assert written(root).startswith(before.replace(EAST, "https://other.openai.azure.com"))


def test_another_way_takes_back_what_the_first_one_wrote(run: Any, root: Path) -> None:
    (root / "invokeai_external.yaml").write_text("providers:\n  azure:\n    limits: {concurrency: 2}  # mine\n")
    for way, more in (("classic", True), ("v1", False)):
        assert run("providers", "add", "azure", "--way", way, "--base-url", EAST).code == 0
        assert "limits: {concurrency: 2}  # mine\n" in written(root)
        assert ("query" in written(root)) is ("paths" in written(root)) is more


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["azure"], "--base-url is missing"),
        (["azure", "--base-url", EAST, "--way", "clasic"], "Did you mean classic?"),
        (["acme", "--base-url", "https://a.example"], "--adapter is missing"),
        (["azur", "--base-url", "https://a.example"], "Did you mean azure?"),
        (["acme", "--adapter", "gemini"], "--base-url is missing"),
        (["acme", "--adapter", "gemni", "--base-url", "https://a.example"], "Did you mean gemini?"),
        (["acme", "--adapter", "gemini", "--base-url", "http://a.example"], "plain http"),
        (["acme", "--adapter", "gemini", "--base-url", "https://a.example", "--way", "x"], "--way is for ready"),
        (["acme", "--like", "azur", "--base-url", "https://a.example"], "Did you mean azure?"),
        (["a-b", "--adapter", "gemini", "--base-url", "https://a.example"], "lower case letters"),
        (["seedream", "--adapter", "gemini", "--base-url", "https://a.example"], "InvokeAI itself has"),
        (["openai", "--base-url", "https://a.example"], "only needs a key"),
        (["azure", "--base-url", EAST, "--model", "acme-image-1"], "not a model that this program knows"),
        (["azure", "--base-url", EAST, "--model", "gpt-image-2="], "is not a valid model"),
        (["azure", "--base-url", EAST, "--auth", "basic"], "Choose one of: bearer"),
        (["azure", "--base-url", EAST, "--auth", "command:"], "Choose one of: bearer"),
        (["azure", "--base-url", EAST, "--auth", "command:a 'b"], "quotation mark"),
        (["azure", "--base-url", EAST, "--auth", "header:a b"], "providers.azure.auth.name"),
        (["azure", "--base-url", EAST, "--name", 61 * "x"], "providers.azure.name"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(run: Any, root: Path, arguments: list[str], problem: str) -> None:
    result = run("providers", "add", *arguments)
    assert result.code == 2
    assert problem in result.stderr
    assert not (root / "invokeai_external.yaml").exists()


def test_a_provider_that_is_off_is_completed_before_its_key_is_asked_for(run: Any, root: Path) -> None:
    for command in (("keys", "test", "azure"), ("generate", "a fox", "--model", "azure/gpt-image-2")):
        result = run(*command, "--root", root)
        assert result.code == 2
        assert f"invokeai-external providers add azure --root {root}'" in " ".join(result.stderr.split())


def test_a_provider_with_a_base_url_may_get_another_one_and_models(run: Any, root: Path) -> None:
    assert "only needs a key" in run("providers", "add", "openrouter").stderr
    more = ("--base-url", "https://eu.openrouter.example", "--model", "gpt-image-2=openai/gpt-image-2")
    assert run("providers", "add", "openrouter", *more).code == 0
    assert written(root) == (
        "providers:\n  openrouter:\n    base_url: https://eu.openrouter.example/api/v1\n"
        "models:\n  openrouter/gpt-image-2:\n    extends: openai/gpt-image-2\n    api_model: openai/gpt-image-2\n"
    )


def test_a_file_that_lines_cannot_change_stays_and_the_lines_are_shown(run: Any, root: Path) -> None:
    before = "{settings: {concurrency: 2}}\n"
    (root / "invokeai_external.yaml").write_text(before)
    result = run("providers", "add", "azure", "--base-url", EAST)
    assert result.code == 2
    assert f"\nproviders:\n  azure:\n    base_url: {EAST}/openai/v1\n" in result.stderr
    assert written(root) == before


def test_a_terminal_is_asked_for_what_is_missing(run: Any, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answering(monkeypatch, "classic", "east", "gpt-image-2=my-dep", "")
    result = run("providers", "add", "azure")
    assert result.code == 0
    assert f"base_url: {EAST}/openai\n" in written(root)
    assert "api_model: my-dep" in written(root)
    assert "https://RESOURCE.openai.azure.com/openai\n" in result.stderr
    assert "keys set azure" in result.stderr
    assert [question.split(",")[0].split(" (")[0] for question in asked[:2]] == ["Way", "RESOURCE"]
    # What is known is not asked again.
    answering(monkeypatch, "")
    assert run("providers", "add", "azure").code == 0


def test_a_whole_base_url_answers_every_part_of_it(run: Any, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, "region", PROJECT.replace("//", "//eu-"), "")
    assert run("providers", "add", "vertex").code == 0
    assert written(root) == f"providers:\n  vertex:\n    base_url: {PROJECT.replace('//', '//eu-')}\n"


def test_each_part_of_a_base_url_may_have_a_usual_answer(run: Any, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, "region", "", "p-1", "command:gcloud auth print-access-token")
    result = run("providers", "add", "vertex")
    assert "https://us-central1-aiplatform.googleapis.com/v1beta1/projects/p-1/locations/us-central1/" in written(root)
    assert "keys test vertex" in result.stderr


def test_a_new_server_is_asked_for_its_format_url_name_and_models(
    run: Any, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, "openai_images", "https://a.example", "Acme", "gpt-image-2", "")
    assert run("providers", "add", "acme").code == 0
    assert written(root) == (
        "providers:\n  acme:\n    adapter: openai_images\n    name: Acme\n    base_url: https://a.example/v1\n"
        "models:\n  acme/gpt-image-2:\n    extends: openai/gpt-image-2\n"
    )


def test_the_list_has_all_providers_and_where_their_keys_are(
    run: Any, root: Path, canary: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("providers", "add", "acme", "--adapter", "gemini", "--base-url", "https://a.example")
    run("providers", "add", "vertex", "--base-url", PROJECT, "--auth", "command:print-it --secret")
    monkeypatch.setenv("INVOKEAI_EXTERNAL_ACME_API_KEY", canary)
    rows = {row["provider"]: row for row in run("providers", "--json").json["providers"]}
    assert rows["acme"] == {
        "provider": "acme",
        "name": "acme",
        "adapter": "gemini",
        "on": True,
        "ready": True,
        "base_url": "https://a.example/v1beta",
        "key_source": "INVOKEAI_EXTERNAL_ACME_API_KEY",
        "needs_key": True,
        "built_in": False,
    }
    assert (rows["azure"]["on"], rows["azure"]["base_url"], rows["azure"]["built_in"]) == (False, None, True)
    assert (rows["vertex"]["ready"], rows["vertex"]["key_source"]) == (True, "the command print-it")
    shown = run("providers").stdout
    assert all(provider in shown for provider in rows)
    assert "--secret" not in shown


@pytest.mark.parametrize("setup", READY.values(), ids=READY.keys())
def test_what_a_ready_file_asks_can_be_answered(setup: Setup) -> None:
    for way in setup.ways.values():
        assert set(way.usual) <= set(way.blanks)
        assert way.filled(dict.fromkeys(way.blanks, "x")).startswith(("https://", "http://x"))


def test_every_ready_file_that_is_off_says_what_it_asks() -> None:
    assert set(READY) == {provider.id for provider in catalog.providers() if provider.base_url is None}


@pytest.mark.parametrize(
    ("offered", "found"),
    [
        (lambda root: completions.providers(root), {"acme", "azure"}),
        (lambda root: completions.models("acm", root), {"acme/gpt-image-2"}),
        (lambda root: completions.models("gpt-image-2.5-s", root), {"gpt-image-2.5-sunburst"}),
    ],
)
def test_completion_offers_the_providers_and_models_of_the_file(
    run: Any, root: Path, offered: Callable[[Path], list[str]], found: set[str]
) -> None:
    added = ("--adapter", "openai_images", "--base-url", "https://a.example", "--model", "gpt-image-2")
    run("providers", "add", "acme", *added)
    assert found <= set(offered(root))
    (root / "invokeai_external.yaml").write_text("providers: [\n")
    assert "acme" not in str(offered(root))


def test_with_a_base_url_nothing_is_asked(run: Any, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answering(monkeypatch)
    assert run("providers", "add", "acme", "--adapter", "openai_images", "--base-url", "https://a.example").code == 0
    assert asked == []
    refused = run("providers", "add", "other", "--model", "gpt-imag-2")
    assert (refused.code, asked) == (2, [])
