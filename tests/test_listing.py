"""``models check``: the provider's own list beside the catalogue."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx
import yaml

from invokeai_external import Registry, load_settings
from invokeai_external.cli.entry_point import main
from invokeai_external.pricing.estimate import price_range
from invokeai_external.providers.listing import ListingCheck, compare_listing

LAST, AFTER = datetime.date(2026, 12, 1), datetime.date(2026, 12, 2)
KEY = "sk-test-listing"


def compared(*listed: str, day: datetime.date = AFTER, provider: str = "openai") -> ListingCheck:
    return compare_listing(set(listed), Registry(today=lambda: day).models(provider), day)


def test_known_models_are_sorted_by_what_the_catalogue_expects() -> None:
    check = compared("gpt-image-2", "dall-e-2")
    assert check.listed == ("gpt-image-2",)
    assert check.still_listed == ("dall-e-2",)
    assert check.gone == ("gpt-image-1.5", "gpt-image-1-mini", "gpt-image-1", "dall-e-3")
    assert check.only_in_catalogue == tuple(
        f"gpt-image-{name}" for name in ("2.6-sunburst", "2.6-flare", "2.5-sunburst", "2.5-flare")
    )
    assert compared("gpt-image-1.5", day=LAST).still_listed == ()
    assert compared("gpt-image-1.5", day=AFTER).still_listed == ("gpt-image-1.5",)


def test_a_model_is_gone_only_after_its_last_day() -> None:
    for day, is_gone in ((LAST, False), (AFTER, True)):
        check = compared("gpt-image-2", day=day)
        assert [("gpt-image-1.5" in names) for names in (check.gone, check.only_in_catalogue)] == [is_gone, not is_gone]
    # Not confirmed: a preview since 2026-06-25, and one of 2027.
    check = compared("gemini-nano-banana-2.1", provider="gemini")
    assert "gemini-3-pro-image-preview" in check.gone
    assert "gemini-2.5-flash-image" in check.only_in_catalogue


def test_a_model_is_listed_under_its_alias_too() -> None:
    assert "gpt-image-1.5" in compared("chatgpt-image-latest", day=LAST).listed


@pytest.mark.parametrize(
    ("name", "is_new"),
    [
        ("gpt-image-3", True),
        ("gpt-image-2-mini", True),
        ("gemini-4-pro-image", True),
        ("nano-banana-3", True),
        # Snapshots of known models.
        ("gpt-image-2-2026-04-21", False),
        ("gemini-3-pro-image-preview-11-2025", False),
        ("gpt-image-2-latest", False),
        # Not image models, or of another API.
        ("gpt-5.6", False),
        ("text-embedding-3-large", False),
        ("imagen-4.0-generate-001", False),
        # Nothing that may be pasted into a file.
        ("gpt-image-3: {name: x}\n", False),
        ("gpt-image-3\u202e", False),
        ("x-image-" + "x" * 500, False),
    ],
)
def test_what_counts_as_a_new_image_model(name: str, is_new: bool) -> None:
    provider = "gemini" if name.startswith("gemini") else "openai"
    assert compared(name, provider=provider).new == ((name,) if is_new else ())


def openai_list(*names: str) -> dict[str, Any]:
    return {"object": "list", "data": [{"id": name, "object": "model"} for name in names]}


def card(name: str, *methods: str) -> dict[str, Any]:
    return {"name": f"models/{name}", "supportedGenerationMethods": list(methods)}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for provider in ("OPENAI", "GEMINI"):
        monkeypatch.setenv(f"INVOKEAI_EXTERNAL_{provider}_API_KEY", KEY)
        monkeypatch.setenv(f"INVOKEAI_EXTERNAL_{provider}_BASE_URL", f"https://{provider.lower()}.example/v1")
    return tmp_path


def checked(capsys: pytest.CaptureFixture[str], root: Path, provider: str) -> dict[str, Any]:
    assert main(["models", "check", provider, "--json", "--root", str(root)]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@respx.mock
def test_the_lines_for_new_models_can_be_pasted(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    respx.get("https://openai.example/v1/models").respond(
        json=openai_list("gpt-image-2", "gpt-image-3", "gpt-image-2-mini", "gpt-5.6")
    )
    found = checked(capsys, root, "openai")
    assert (found["provider"], found["new"]) == ("openai", ["gpt-image-2-mini", "gpt-image-3"])
    assert list(yaml.safe_load(found["yaml"])["models"]) == ["openai/gpt-image-2-mini", "openai/gpt-image-3"]
    (root / "invokeai_external.yaml").write_text(found["yaml"], encoding="utf-8")
    registry = Registry(load_settings(root).catalog)
    # Nobody knows what a new model costs, whatever the one costs that it is like.
    assert [price_range(registry.resolve(f"openai/{name}").model) for name in found["new"]] == [None, None]
    assert registry.resolve("openai/gpt-image-3").notices == ()
    # Pasted, they are known, and there is nothing more to paste.
    again = checked(capsys, root, "openai")
    assert (again["new"], again["yaml"]) == ([], None)
    assert {"gpt-image-3", "gpt-image-2-mini"} < set(again["listed"])


@respx.mock
def test_the_text_names_each_kind_and_the_file_and_no_key(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    respx.get("https://openai.example/v1/models").respond(json=openai_list("gpt-image-2", "gpt-image-3", "dall-e-3"))
    assert main(["models", "check", "openai", "--root", str(root)]) == 0
    out = capsys.readouterr().out
    facts = ("gpt-image-3", "dall-e-3", "dall-e-2", "gpt-image-2.5-flare", str(root / "invokeai_external.yaml"))
    assert [fact for fact in facts if fact not in out] == []
    assert KEY not in out


@respx.mock
def test_all_pages_of_a_list_are_read(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pages = {
        None: {"models": [card("gemini-3-pro-image", "generateContent")], "nextPageToken": "a b&c"},
        "a b&c": {"models": [card("gemini-4-image", "generateContent")], "nextPageToken": "last"},
        "last": {"models": [card("gemini-5-image", "predict"), card("nano-banana-9")]},
    }
    route = respx.get(url__startswith="https://gemini.example/v1/models")
    route.mock(side_effect=lambda request: httpx.Response(200, json=pages[request.url.params.get("pageToken")]))
    found = checked(capsys, root, "gemini")
    assert route.call_count == 3
    assert found["listed"] == ["gemini-3-pro-image"]
    # One without generateContent has another API; one without any method may be from a gateway.
    assert found["new"] == ["gemini-4-image", "nano-banana-9"]


@respx.mock
def test_a_list_whose_pages_never_end_is_left_after_some(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    count = iter(range(1000))
    route = respx.get(url__startswith="https://gemini.example/v1/models")
    route.mock(side_effect=lambda _: httpx.Response(200, json={"models": [], "nextPageToken": str(next(count))}))
    assert checked(capsys, root, "gemini")["listed"] == []
    assert route.call_count == 20


@pytest.mark.parametrize("provider", ["openai", "gemini"])
def test_the_sandbox_lists_the_catalogue(provider: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "check", provider, "--sandbox", "--json", "--root", str(tmp_path)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["new"], found["only_in_catalogue"], found["yaml"]) == ([], [], None)
    assert found["listed"]


@respx.mock
def test_a_refused_key_is_an_error(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    respx.get("https://openai.example/v1/models").respond(401, json={"error": {"message": "no", "code": "x"}})
    assert main(["models", "check", "openai", "--json", "--root", str(root)]) == 1
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "authentication"
