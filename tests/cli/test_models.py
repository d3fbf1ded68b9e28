"""``models``."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def test_models_lists_retired_models_only_with_all(run: Any) -> None:
    listed = run("models").stdout
    assert "openai/gpt-image-2.6-sunburst" in listed
    assert "dall-e-3" not in listed
    everything = run("models", "--all").stdout
    assert "retired, ended 2026-05-12, use gpt-image-2" in everything
    assert "gemini/" not in run("models", "--provider", "openai").stdout
    assert len(run("models", "--all", "--json").json) == 17
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
    assert shown["default_image_price"] == {"usd": None, "at_most_usd": 0.72582, "basis": "bounded"}
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
