"""The defaults of a model's options: when they count, what they may be, how they are written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from invokeai_external.errors import CapabilityError, InvalidRequestError, SettingsError
from invokeai_external.invoke.spending_page.model_defaults import checked_default, models_with_options
from invokeai_external.planning.plan import Plan, count_calls, plan
from invokeai_external.providers.registry import Registry
from invokeai_external.providers.schema import ModelConfig
from invokeai_external.request import GenerationRequest, InputImage
from invokeai_external.root_folder import USER_FILE
from invokeai_external.settings.settings import load_user_file
from invokeai_external.settings.user_file_edit import set_default

from .support.samples import png_of

FLARE = "openai/gpt-image-2.5-flare"
BANANA = "gemini/gemini-nano-banana-2.1"


def with_file(root: Path, defaults: str, reference: str = FLARE) -> ModelConfig:
    """A model with defaults in the user's file."""
    (root / USER_FILE).write_text(f"models:\n  {reference}:\n    defaults: {defaults}\n", encoding="utf-8")
    return Registry(load_user_file(root).catalog).resolve(reference).model


def planned(model: ModelConfig, **options: Any) -> Plan:
    return plan(GenerationRequest(prompt="a fox", options=options), model)


def sent(model: ModelConfig, **options: Any) -> dict[str, Any]:
    [call] = planned(model, **options).calls
    return dict(call.options)


def test_a_default_counts_for_what_a_request_does_not_set(tmp_path: Path) -> None:
    model = with_file(tmp_path, "{quality: xhigh, moderation: low}")
    assert sent(model) == {"quality": "xhigh", "moderation": "low"}
    # As Invoke's panel and our nodes say that the provider chooses.
    assert sent(model, quality="auto", background="auto", moderation="") == {"quality": "xhigh", "moderation": "low"}
    assert sent(model, quality="low") == {"quality": "low", "moderation": "low"}
    # It is in the estimate.
    assert planned(model).estimate == planned(model, quality="xhigh").estimate != planned(model, quality="low").estimate
    assert planned(model).notices == ()


def test_off_is_a_value_of_a_web_search_and_a_word_in_yaml(tmp_path: Path) -> None:
    model = with_file(tmp_path, "{web_search: web, safety: off}", BANANA)
    assert sent(model) == {"web_search": "web", "safety": "off"}
    assert sent(model, web_search="off") == {"safety": "off"}


def test_a_default_that_does_not_apply_is_not_sent_and_has_no_notice(tmp_path: Path) -> None:
    model = with_file(tmp_path, "{input_fidelity: high}", "openai/gpt-image-1.5")
    assert sent(model) == {}
    assert [notice.code for notice in planned(model).notices] == [
        notice.code for notice in planned(replace_defaults(model)).notices
    ]
    image = InputImage(png_of("RGB", (64, 64)), "image.png")
    [call] = plan(GenerationRequest(prompt="a fox", init_image=image), model).calls
    assert call.options == {"input_fidelity": "high"}


@pytest.mark.parametrize(
    ("defaults", "options", "expected"),
    [
        ({"output_format": "jpeg"}, {"background": "transparent"}, {"background": "transparent"}),
        (
            {"output_format": "webp"},
            {"background": "transparent"},
            {"background": "transparent", "output_format": "webp"},
        ),
        ({"background": "transparent"}, {"output_format": "jpeg"}, {"output_format": "jpeg"}),
        ({"background": "transparent"}, {"output_format": "auto"}, {"background": "transparent"}),
        ({"background": "transparent", "output_format": "jpeg"}, {}, {"output_format": "jpeg"}),
        ({"output_compression": 80}, {}, {}),
        ({"output_compression": 80}, {"output_format": "webp"}, {"output_compression": 80, "output_format": "webp"}),
        ({"output_compression": 80, "output_format": "jpeg"}, {}, {"output_compression": 80, "output_format": "jpeg"}),
        ({"frame_count": 4}, {}, {}),
    ],
)
def test_a_default_gives_way_to_what_a_request_sets(
    defaults: dict[str, Any], options: dict[str, Any], expected: dict[str, Any]
) -> None:
    model = replace_defaults(Registry().resolve(FLARE).model, **defaults)
    found = planned(model, **options)
    assert [dict(call.options) for call in found.calls] == [expected]
    assert "option_dropped" not in [notice.code for notice in found.notices]


@pytest.mark.parametrize("default", ["gif", "svg", "jpeg", "webp"])
def test_with_a_mask_the_default_format_is_not_sent(default: str) -> None:
    model = Registry().resolve(FLARE).model
    image = InputImage(png_of("RGB", (64, 64)), "image.png")
    request = GenerationRequest(
        prompt="a fox", n=3, init_image=image, mask=InputImage(png_of("L", (64, 64)), "mask.png")
    )
    defaults = {"output_format": default, "output_compression": 80, "frame_count": 4}
    found = plan(request, replace_defaults(model, **defaults), experimental=True)
    assert found == replace(plan(request, model), model=found.model, calls=found.calls)
    assert [dict(call.options) for call in found.calls] == [{}] * count_calls(request, found.model)
    assert len(found.calls) == count_calls(request, model)


def test_moderation_as_a_default_is_not_sent_with_markup() -> None:
    model = replace_defaults(Registry().resolve(FLARE).model, moderation="low")
    image = InputImage(png_of("RGB", (64, 64)), "image.png")
    markup = InputImage(png_of("RGBA", (64, 64)), "markup.png")
    found = plan(GenerationRequest(prompt="a fox", init_image=image, markup=markup), model)
    assert [dict(call.options) for call in found.calls] == [{}]
    assert "option_dropped" not in [notice.code for notice in found.notices]


def replace_defaults(model: ModelConfig, **defaults: Any) -> ModelConfig:
    return model.model_copy(update={"defaults": defaults})


@pytest.mark.parametrize(
    ("defaults", "facts"),
    [
        ("{quality: ultra}", ("quality", "ultra", "xhigh")),
        ("{qualty: high}", ("qualty", "Did you mean quality?")),
        ("{output_compression: 101}", ("output compression", "101")),
        ("{output_compression: high}", ("output compression", "high")),
    ],
)
def test_an_invalid_default_is_an_error_that_names_the_file_and_only_where_it_would_be_used(
    tmp_path: Path, defaults: str, facts: tuple[str, ...]
) -> None:
    model = with_file(tmp_path, defaults)
    with pytest.raises(CapabilityError) as caught:
        planned(model)
    for fact in (*facts, USER_FILE, f"models.{FLARE}.defaults"):
        assert fact in str(caught.value)
    if "quality" in defaults:
        assert sent(model, quality="low") == {"quality": "low"}
    other = Registry(load_user_file(tmp_path).catalog).resolve("openai/gpt-image-2").model
    assert sent(other) == {}


def test_a_default_of_another_type_is_a_mistake_in_the_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        with_file(tmp_path, "{quality: [high]}")
    assert "line 3" in str(caught.value)


def test_the_default_format_decides_how_many_calls_there_are(tmp_path: Path) -> None:
    request = GenerationRequest(prompt="a fox", n=3)
    model = with_file(tmp_path, "{output_format: svg}", "openai/gpt-image-2.6-sunburst")
    assert count_calls(request, model) == len(plan(request, model, experimental=True).calls) == 3
    png = replace(request, options={"output_format": "png"})
    assert count_calls(png, model) == len(plan(png, model, experimental=True).calls)


def test_an_unknown_model_has_no_default_of_the_one_that_it_is_treated_like(tmp_path: Path) -> None:
    registry = Registry()
    newest = registry.similar_to("openai", "acme-image-9")
    with_file(tmp_path, "{quality: low}", newest.reference)
    registry = Registry(load_user_file(tmp_path).catalog)
    assert registry.resolve(newest.reference).model.defaults == {"quality": "low"}
    assert registry.resolve("openai/acme-image-9").model.defaults == {}


@pytest.mark.parametrize(
    ("entry", "reference"),
    [
        (f"openai/mine: {{extends: {FLARE}}}", "openai/mine"),
        (f"{FLARE}-2099-01-01: {{name: Mine}}", f"{FLARE}-2099-01-01"),
        ("", f"{FLARE}-2099-01-01"),
    ],
)
def test_a_default_is_that_of_its_model_and_of_no_model_like_it(tmp_path: Path, entry: str, reference: str) -> None:
    with_file(tmp_path, "{quality: xhigh}")
    with (tmp_path / USER_FILE).open("a", encoding="utf-8") as file:
        file.write(f"  {entry}\n")
    registry = Registry(load_user_file(tmp_path).catalog)
    assert registry.resolve(FLARE).model.defaults == {"quality": "xhigh"}
    model = registry.resolve(reference).model
    assert (model.id, model.defaults) == (reference.partition("/")[2], {})


def test_defaults_are_written_and_removed_and_every_other_line_stays(tmp_path: Path) -> None:
    file = tmp_path / USER_FILE
    set_default(tmp_path, FLARE, "quality", "xhigh")
    set_default(tmp_path, FLARE, "output_compression", 80)
    assert file.read_text(encoding="utf-8") == (
        f"models:\n  {FLARE}:\n    defaults:\n      quality: xhigh\n      output_compression: 80\n"
    )
    file.write_text(f"models:\n  {FLARE}: {{name: Mine}}   # ours\nsettings: {{tag: a}}\n", encoding="utf-8")
    set_default(tmp_path, FLARE, "quality", "low")
    text = f"models:\n  {FLARE}: {{name: Mine, defaults: {{quality: low}}}}   # ours\nsettings: {{tag: a}}\n"
    assert file.read_text(encoding="utf-8") == text
    set_default(tmp_path, FLARE, "quality", None)
    assert "defaults" not in file.read_text(encoding="utf-8")
    set_default(tmp_path, BANANA, "web_search", "off")
    assert Registry(load_user_file(tmp_path).catalog).resolve(BANANA).model.defaults == {"web_search": "off"}


def test_the_page_offers_the_options_of_each_model_and_only_what_works_becomes_a_default() -> None:
    registry = Registry()
    found = {each["model"]: each for each in models_with_options(registry.models())}
    assert found[FLARE]["defaults"] == {}
    assert "xhigh" in found[FLARE]["options"]["quality"]["values"]
    assert found[FLARE]["options"]["output_compression"] == {"minimum": 0, "maximum": 100, "whole": True}
    # Not what a setting has to allow first.
    assert "svg" not in found["openai/gpt-image-2.6-sunburst"]["options"]["output_format"]["values"]
    assert checked_default(registry, FLARE, "quality", "max") == "max"
    assert checked_default(registry, FLARE, "gone", None) is None
    with pytest.raises(CapabilityError):
        checked_default(registry, FLARE, "quality", "ultra")
    with pytest.raises(InvalidRequestError):
        checked_default(registry, "openai/nothing", "quality", "low")
