"""Which misspelt names are recognised, and which unknown ones are new models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from invokeai_external import GenerationRequest, Registry, Service, load_settings
from invokeai_external.cli.entry_point import main
from invokeai_external.errors import (
    CapabilityError,
    InvalidRequestError,
    RequestError,
    SettingsError,
    UnknownProviderError,
)
from invokeai_external.misspellings import meant_model, meant_name

KNOWN = [name for model in Registry().models() for name in (model.id, *model.aliases)]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        # Letters that are missing, added, different or swapped.
        ("gpt-imge-2", "gpt-image-2"),
        ("gtp-image-2", "gpt-image-2"),
        ("gpt-immage-2.5-flare", "gpt-image-2.5-flare"),
        ("gpt-image-2.5-flair", "gpt-image-2.5-flare"),
        ("gpt-image-2.6-sunbrust", "gpt-image-2.6-sunburst"),
        ("gemni-3-pro-image", "gemini-3-pro-image"),
        ("gemini-3.1-flsh-lite-image", "gemini-3.1-flash-lite-image"),
        ("chatgpt-image-lastest", "chatgpt-image-latest"),
        # Another case, other separators, the name in place of the id.
        ("GPT-Image-2", "gpt-image-2"),
        ("gpt_image_2", "gpt-image-2"),
        ("gpt\u2011image\u20112", "gpt-image-2"),
        ("gptimage2", "gpt-image-2"),
        ("gpt-image-2-", "gpt-image-2"),
        ("gpt-image-25-flare", "gpt-image-2.5-flare"),
        ("gpt-image-2-6-flare", "gpt-image-2.6-flare"),
        ("dalle-3", "dall-e-3"),
        ("GPT Image 2.5 Flare", "gpt-image-2.5-flare"),
        # In another order.
        ("gemini-pro-3-image", "gemini-3-pro-image"),
        # It continues another id, of which it is not a snapshot.
        ("gpt-image-1-mni", "gpt-image-1-mini"),
        ("gemini-3-pro-image-previw", "gemini-3-pro-image-preview"),
        # A snapshot keeps its date.
        ("gpt-imge-2-2026-04-21", "gpt-image-2-2026-04-21"),
    ],
)
def test_a_misspelt_model_id(typed: str, meant: str) -> None:
    assert meant_model(typed, KNOWN) == meant


@pytest.mark.parametrize(
    "typed",
    [
        # Other numbers: a newer version.
        "gpt-image-2.7-flare",
        "gpt-image-2.50",
        "gpt-image-3",
        "gpt-image-10",
        "gemini-4-pro-image",
        "gemini-nano-banana-3",
        "dall-e-4",
        # Another word: a sister of known ones.
        "gpt-image-2.6-blaze",
        "gpt-image-2.6-sunrise",
        "gpt-image-1-maxi",
        "gemini-3-ultra-image",
        "gemini-3-image",
        "gpt-image-2.6",
        # It continues a known id.
        "gpt-image-2-mini",
        "gpt-image-2-2026-04-21",
        "gemini-3-pro-image-preview-11-2025",
        # Models of a gateway.
        "imagen-9",
        "black-forest/flux-2",
        "openai/gpt-image-2",
        "my-model",
    ],
)
def test_a_new_model_is_not_a_misspelling(typed: str) -> None:
    assert meant_model(typed, KNOWN) is None
    assert Registry().resolve(f"openai/{typed}").model.id == typed


@pytest.mark.parametrize("name", KNOWN)
def test_no_known_model_is_a_misspelling_of_another(name: str) -> None:
    assert meant_model(name, [other for other in KNOWN if other != name]) is None


@pytest.mark.parametrize(
    ("typed", "known", "meant"),
    [
        ("qualty", ["quality", "style"], "quality"),
        ("inputFidelity", ["input_fidelity", "quality"], "input_fidelity"),
        ("output-format", ["output_format", "quality"], "output_format"),
        ("hgh", ["low", "high"], "high"),
        ("extreme", ["low", "high"], None),
        ("rde", ["green", "red"], "red"),
        ("ab", ["ac", "ad"], None),
        ("none", ["block_none", "off"], "block_none"),
        ("None", ["block_none", "off"], "block_none"),
        ("above", ["block_low_and_above", "block_medium_and_above"], None),
        ("one", ["block_none", "off"], None),
        ("", ["low"], None),
    ],
)
def test_a_misspelt_name(typed: str, known: list[str], meant: str | None) -> None:
    assert meant_name(typed, known) == meant


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("gpt-imge-2", "openai/gpt-image-2?"),
        ("openai/gpt-imge-2", "openai/gpt-image-2?"),
        ("openai/GPT-Image-2", "openai/gpt-image-2?"),
        ("Gemini-3-Pro-Image", "gemini/gemini-3-pro-image?"),
        ("gemini/nano-banana-pro-preveiw", "gemini/nano-banana-pro-preview?"),
        ("openai/gpt-imge-2-2026-04-21", "openai/gpt-image-2-2026-04-21?"),
    ],
)
def test_a_misspelt_model_is_refused_everywhere(typed: str, meant: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        Registry().resolve(typed)
    assert caught.value.remedy is not None
    # For every host, since it is only advice.
    assert caught.value.remedy.action == "advice"
    assert f"Did you mean {meant}" in caught.value.remedy.text
    service = Service(load_settings(tmp_path, {}), sandbox=True)
    with pytest.raises(InvalidRequestError):
        service.plan(GenerationRequest(prompt="a fox", model=typed))


def test_a_misspelt_provider() -> None:
    with pytest.raises(UnknownProviderError) as caught:
        Registry().resolve("opanai/gpt-image-2")
    assert "Did you mean openai?" in str(caught.value)


def test_a_misspelt_model_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["generate", "a fox", "--sandbox", "--json", "--out", str(tmp_path), "--root", str(tmp_path)]
    assert main([*command, "--model", "gpt-imge-2"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert (error["code"], "openai/gpt-image-2?" in error["hint"]) == ("invalid_request", True)
    assert list(tmp_path.iterdir()) == []


# In the settings.


def user_file(folder: Path, text: str) -> Path:
    (folder / "invokeai_external.yaml").write_text(text, encoding="utf-8")
    return folder


def test_a_misspelt_model_in_the_settings_names_its_line(tmp_path: Path) -> None:
    root = user_file(tmp_path, "models:\n  openai/my-model:\n  openai/gpt-imge-2:\n    prices: {image_out: 1}\n")
    with pytest.raises(SettingsError) as caught:
        Registry(load_settings(root, {}).catalog)
    assert [fact for fact in ("line 3", "gpt-imge-2", "openai/gpt-image-2?") if fact not in str(caught.value)] == []


def test_a_model_of_the_users_own_may_have_nearly_the_name_of_another(tmp_path: Path) -> None:
    root = user_file(tmp_path, "models:\n  openai/GPT-Image-2: {name: Our deployment}\n")
    registry = Registry(load_settings(root, {}).catalog)
    assert registry.resolve("openai/GPT-Image-2").model.name == "Our deployment"
    assert registry.resolve("gpt-image-2").model.name == "GPT Image 2"


@pytest.mark.parametrize(
    ("text", "line", "meant"),
    [
        ("settings:\n  timeout: 3\n", 2, "timeout_s"),
        ("settings:\n  concurency: 3\n", 2, "concurrency"),
        ("models:\n  openai/gpt-image-2:\n    price: {image_out: 1}\n", 3, "prices"),
        ("models:\n  openai/gpt-image-2:\n    prices: {image_ut: 1}\n", 3, "image_out"),
        ("models:\n  openai/gpt-image-2:\n    input_image_tokens: {rule: tiles, per_tyle: 1}\n", 3, "per_tile"),
        ("models:\n  openai/gpt-image-2:\n    lifecycle: {shutdwon: 2027-01-01}\n", 3, "shutdown"),
        ("models:\n  openai/gpt-image-2:\n    sizing: {max_egde: 2048}\n", 3, "max_edge"),
    ],
)
def test_a_misspelt_field_in_the_settings(text: str, line: int, meant: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        Registry(load_settings(user_file(tmp_path, text), {}).catalog)
    assert [fact for fact in (f"line {line}:", f"Did you mean {meant}?") if fact not in str(caught.value)] == []


@pytest.mark.parametrize(
    ("name", "line", "fact"),
    [
        ("gpt-imge-2", 2, "openai/gpt-image-2?"),
        ("opanai/gpt-image-2", 2, "Did you mean openai?"),
        ("imagen-9", 2, "'imagen-9'"),
    ],
)
def test_a_misspelt_default_model_names_its_line(name: str, line: int, fact: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(user_file(tmp_path, f"settings:\n  default_model: {name}\n"), {})
    expected = (f"line {line}:", "settings.default_model", fact)
    assert [fact for fact in expected if fact not in str(caught.value)] == []


def test_the_default_model_is_used_without_a_name(tmp_path: Path) -> None:
    text = "settings: {default_model: mine}\nmodels:\n  openai/my-model: {aliases: [mine]}\n"
    service = Service(load_settings(user_file(tmp_path, text), {}), sandbox=True)
    assert service.resolve(None).model.reference == "openai/my-model"
    assert service.resolve("gpt-image-2").model.id == "gpt-image-2"


# Options.


def plan_with(tmp_path: Path, model: str, **options: Any) -> list[str]:
    """The codes of the notices of a plan."""
    service = Service(load_settings(tmp_path, {}), sandbox=True)
    return [n.code for n in service.plan(GenerationRequest(prompt="a fox", model=model, options=options)).notices]


@pytest.mark.parametrize(
    ("options", "kind", "facts"),
    [
        ({"qualty": "high"}, InvalidRequestError, ["'qualty'", "Did you mean quality?"]),
        ({"Quality": "auto"}, InvalidRequestError, ["Did you mean quality?"]),
        ({"thinkingLevel": "high"}, InvalidRequestError, ["Did you mean thinking_level?"]),
        ({"zoom": 3}, InvalidRequestError, ["'zoom'", "moderation, output_compression"]),
        ({"seed": 3}, InvalidRequestError, ["seed", "GenerationRequest(seed="]),
        ({"quality": "hgh"}, CapabilityError, ["'hgh'", "Did you mean high?", "low"]),
        ({"quality": "extreme"}, CapabilityError, ["'extreme'", "low"]),
    ],
)
def test_a_misspelt_option_or_value_is_an_error(
    options: dict[str, Any], kind: type[RequestError], facts: list[str], tmp_path: Path
) -> None:
    with pytest.raises(kind) as caught:
        plan_with(tmp_path, "openai/gpt-image-2", **options)
    assert [fact for fact in facts if fact not in str(caught.value)] == []


def test_the_options_that_are_named_are_those_of_the_model(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        plan_with(tmp_path, "openai/gpt-image-2", zoom=3)
    assert "temperature" not in str(caught.value)


def test_the_beginning_of_a_name_is_enough() -> None:
    assert meant_name("day", ["day_usd", "month_usd"]) == "day_usd"


def test_an_option_of_another_model_is_dropped_with_a_notice(tmp_path: Path) -> None:
    assert plan_with(tmp_path, "openai/gpt-image-2", temperature=0.5) == ["option_dropped"]
    root = user_file(tmp_path, "models:\n  openai/my-model: {options: {strength: {minimum: 0, maximum: 1}}}\n")
    assert plan_with(root, "openai/gpt-image-2", strength=0.5) == ["option_dropped"]


@pytest.mark.parametrize(
    ("command", "meant"),
    [
        ("models --provider opanai", "openai"),
        ("keys test gemni", "gemini"),
        ("generate x --metadata embd", "embed"),
        ("generate x --qualty high", "--quality"),
        ("modles", "models"),
    ],
)
def test_a_misspelt_word_of_a_command(command: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command.split()) == 2
    assert f"Did you mean {meant}?" in " ".join(capsys.readouterr().err.replace("'", "").split())


def test_a_name_that_is_much_longer_than_all_others_is_not_a_misspelling() -> None:
    name = "a" * 200_000
    assert meant_name(name, ["low", "high"]) is None
    assert meant_model(name, KNOWN) is None
