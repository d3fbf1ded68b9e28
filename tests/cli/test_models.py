"""``models``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..support.openrouter import OpenRouterServer
from ..support.providers import IN_INVOKE


def test_models_lists_retired_models_only_with_all(run: Any) -> None:
    listed = run("models").stdout
    assert "openai/gpt-image-2.6-sunburst" in listed
    assert "dall-e-3" not in listed
    everything = run("models", "--all").stdout
    assert "retired, ended 2026-05-12, use gpt-image-2" in everything
    assert "gemini/" not in run("models", "--provider", "openai").stdout
    assert len([m for m in run("models", "--all", "--json").json if m["provider"] in IN_INVOKE]) == 17
    flare = next(m for m in run("models", "--json").json if m["id"] == "gpt-image-2.5-flare")
    assert {"text_in": 5, "image_in": 8, "text_out": None, "image_out": 30}.items() <= flare["prices"].items()
    assert flare["price_range"] == {"low_usd": 0.00258, "high_usd": 0.71157, "basis": "exact"}
    assert {"width": 3840, "height": 2160, "aspect_ratio": None, "image_size": None} in flare["presets"]


def test_models_shows_the_users_own(run: Any, tmp_path: Path) -> None:
    (tmp_path / "invokeai_external.yaml").write_text(
        "models:\n  openai/gpt-image-9:\n    name: Nine\n  gemini/gemini-3-pro-image:\n    prices: {image_out: 99}\n"
    )
    listed = {m["reference"]: m for m in run("models", "--json", "--root", tmp_path).json}
    assert listed["openai/gpt-image-9"]["name"] == "Nine"
    assert listed["gemini/gemini-3-pro-image"]["prices"]["image_out"] == 99
    assert listed["gemini/gemini-3-pro-image"]["prices"]["text_out"] == 12


def test_models_is_a_list_and_show_is_one_model(run: Any) -> None:
    shown = run("models", "show", "gpt-image-2")
    assert (shown.code, shown.stderr) == (0, "")
    assert "openai/gpt-image-2" in shown.stdout
    (listed,) = (m for m in run("models", "--json").json if m["id"] == "gpt-image-2")
    assert listed.items() <= run("models", "show", "openai/gpt-image-2", "--json").json.items()
    assert run("models", "show", "gpt-imge-2").code == 2


def test_the_page_of_a_model_has_its_limits_options_prices_and_sources(run: Any) -> None:
    text = run("models", "show", "gpt-image-2.6-flare").stdout
    facts = ("active", "32,000", "50 MB", "--quality", "xhigh", "2026-11-29", "1.25", "0.0265", "0.7258", "2.5")
    assert [fact for fact in facts if fact not in text] == []
    shown = run("models", "show", "gpt-image-2.6-flare", "--json").json
    # Usually 4.2 times the 439 tokens of 2.5 at medium quality.
    usual = {"expected_usd": 0.05532}
    assert shown["default_image_price"] == {"usd": None, "at_most_usd": 0.72582, "basis": "bounded", **usual}
    (low,) = (e for e in shown["image_price_list"] if (e["size"], e["quality"]) == ("1024x1024", "low"))
    assert (low["usd"], low["at_most_usd"], low["basis"]) == (0.02472, 0.02646, "bounded")
    assert len(shown["image_price_list"]) == 33 * 5
    assert any("third parties" in source for source in shown["sources"])
    assert "USD per million tokens: " in text
    unknown = run("models", "show", "openai/dall-e-3", "--json").json
    assert (unknown["price_range"], unknown["default_image_price"]["basis"]) == (None, "unknown")
    assert "unknown" in run("models", "show", "openai/dall-e-3").stdout


def test_texts_of_the_users_models_do_nothing_on_a_terminal(run: Any, tmp_path: Path) -> None:
    (tmp_path / "invokeai_external.yaml").write_text(
        'models:\n  openai/gpt-image-2:\n    lifecycle: {successor: "\\e[31mred"}\n    aliases: ["a\\e[2Jb"]\n'
    )
    for command in (["models"], ["models", "show", "openai/gpt-image-2"]):
        result = run(*command, "--root", tmp_path)
        assert result.code == 0
        assert "[31mred" in result.stdout
        assert "\x1b" not in result.stdout + result.stderr


@pytest.fixture
def openrouter(tmp_path: Path) -> Iterator[OpenRouterServer]:
    with OpenRouterServer() as server:
        text = f"providers:\n  openrouter: {{base_url: '{server.base_url}'}}\n"
        (tmp_path / "invokeai_external.yaml").write_text(text)
        yield server


def test_models_of_a_provider_that_lists_them_itself(run: Any, tmp_path: Path, openrouter: OpenRouterServer) -> None:
    at_root = ("--root", tmp_path)
    assert "openrouter" not in run("models", *at_root).stdout
    shown = run("models", "--provider", "openrouter", *at_root)
    assert (shown.code, shown.stderr) == (0, "")
    assert "openrouter/krea/krea-2-medium" in shown.stdout
    assert "7 ratios at 1K, 2K" in shown.stdout
    assert "0.030 to 0.040" in shown.stdout
    # Now from the file, also for one model.
    openrouter.requests.clear()
    assert run("models", "--provider", "openrouter", *at_root).stdout == shown.stdout
    page = run("models", "show", "openrouter/krea/krea-2-medium", *at_root).stdout
    assert "USD per image: 1K 0.03, 2K 0.04; USD per input image: 0.003" in page
    assert run("models", "show", "openrouter/meta/muse-image", *at_root).stdout.count("chosen by the model") == 1
    assert openrouter.requests == []


def test_models_of_an_earlier_day_have_a_notice_and_without_them_it_is_an_error(
    run: Any, tmp_path: Path, openrouter: OpenRouterServer
) -> None:
    openrouter.is_down = True
    failed = run("models", "--provider", "openrouter", "--root", tmp_path)
    assert failed.code == 1
    assert "Down for maintenance" in failed.stderr
    openrouter.is_down = False
    run("models", "--provider", "openrouter", "--root", tmp_path)
    file = tmp_path / "invokeai_external_discovered.json"
    data = json.loads(file.read_text())
    data["providers"]["openrouter"]["at"] = "2026-01-02T03:04:05+00:00"
    file.write_text(json.dumps(data))
    openrouter.is_down = True
    listed = run("models", "--provider", "openrouter", "--root", tmp_path)
    assert listed.code == 0
    assert "The models of 2026-01-02 are used." in listed.stderr
    assert "openrouter/krea/krea-2-medium" in listed.stdout


def test_a_check_asks_such_a_provider_again(
    run: Any, tmp_path: Path, openrouter: OpenRouterServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INVOKEAI_EXTERNAL_OPENROUTER_API_KEY", "sk-or-v1-valid")
    monkeypatch.setenv("INVOKEAI_EXTERNAL_OPENROUTER_BASE_URL", openrouter.base_url)
    run("models", "--provider", "openrouter", "--root", tmp_path)
    openrouter.endpoints["acme/new-image"] = openrouter.endpoints["krea/krea-2-medium"]
    checked = run("models", "check", "openrouter", "--root", tmp_path)
    assert checked.code == 0
    assert "lists 8 of 8" in checked.stdout
    assert "models:" not in checked.stdout
    openrouter.requests.clear()
    assert "acme/new-image" in run("models", "--provider", "openrouter", "--root", tmp_path).stdout
    assert openrouter.requests == []
