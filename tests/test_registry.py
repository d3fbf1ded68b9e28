"""Finding a model by name, and merging the user's own models into the catalogue."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from invokeai_external.errors import (
    InvalidRequestError,
    NotConfiguredError,
    RemedyAction,
    RequestError,
    SettingsError,
    UnknownProviderError,
)
from invokeai_external.planning.plan import plan
from invokeai_external.pricing.estimate import image_price
from invokeai_external.providers.registry import Registry
from invokeai_external.providers.schema import ChoiceOption, NumberOption, TextOption
from invokeai_external.providers.sizings import FixedSizing, FlexibleSizing, PresetSizing
from invokeai_external.request import GenerationRequest
from invokeai_external.settings.settings import load_settings
from invokeai_external.sizing import AspectRatio, Size, SizeChoice

from .support.providers import IN_INVOKE


def with_models(folder: Path, text: str) -> Registry:
    """A registry with the ``models:`` of a user's file."""
    (folder / "invokeai_external.yaml").write_text(f"models:\n{text}", encoding="utf-8")
    return Registry(load_settings(folder, {}).catalog)


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("openai/gpt-image-2.5-flare", "openai/gpt-image-2.5-flare"),
        ("gpt-image-2.5-flare", "openai/gpt-image-2.5-flare"),
        (" gemini-3-pro-image ", "gemini/gemini-3-pro-image"),
        ("nano-banana-pro-preview", "gemini/gemini-3-pro-image"),
        ("gemini/nano-banana-pro-preview", "gemini/gemini-3-pro-image"),
        ("chatgpt-image-latest", "openai/gpt-image-1.5"),
        ("dall-e-2", "openai/dall-e-2"),
        # In the form in which Google lists its ids.
        ("models/gemini-3-pro-image", "gemini/gemini-3-pro-image"),
        ("gemini/models/gemini-3-pro-image", "gemini/gemini-3-pro-image"),
        # A known id is that model, whatever it begins with.
        ("gpt-image-1-mini", "openai/gpt-image-1-mini"),
        ("gemini-3-pro-image-preview", "gemini/gemini-3-pro-image-preview"),
    ],
)
def test_a_known_model_is_found_without_a_notice(typed: str, found: str) -> None:
    resolved = Registry().resolve(typed)
    assert resolved.model.reference == found
    assert resolved.notices == ()


@pytest.mark.parametrize(
    ("typed", "like", "image_out"),
    [
        ("gpt-image-2.5-flare-2026-09-14", "GPT Image 2.5 Flare", 30),
        ("openai/gpt-image-2-2026-04-21", "GPT Image 2", 30),
        ("gpt-image-1-mini-2025-10-06", "GPT Image 1 Mini", 8),
        ("gpt-image-1-2025-04-23", "GPT Image 1", 40),
        ("gemini/gemini-3-pro-image-preview-11-2025", "Gemini 3 Pro Image Preview", 120),
    ],
)
def test_a_dated_snapshot_has_the_profile_and_the_prices_of_the_longest_known_id(
    typed: str, like: str, image_out: float
) -> None:
    resolved = Registry().resolve(typed)
    model_id = typed.rpartition("/")[2]
    assert resolved.model.id == model_id
    assert resolved.model.name == f"{like} ({model_id})"
    assert resolved.model.prices.image_out == image_out
    (notice,) = resolved.notices
    assert notice.code == "snapshot"
    assert [fact for fact in (model_id, like) if fact not in notice.message] == []


@pytest.mark.parametrize(
    ("typed", "like"),
    [
        ("openai/gpt-image-10", "gpt-image-2.6-sunburst"),
        ("openai/gpt-image-2.50", "gpt-image-2.6-sunburst"),
        ("openai/my/model", "gpt-image-2.6-sunburst"),
        ("gemini/imagen-9", "gemini-nano-banana-2.1"),
        # The id is that of another provider.
        ("gemini/gpt-image-2", "gemini-nano-banana-2.1"),
    ],
)
def test_an_unknown_id_has_the_profile_of_the_newest_model_without_prices(typed: str, like: str) -> None:
    registry = Registry()
    resolved, newest = registry.resolve(typed), registry.resolve(like).model
    model_id = typed.partition("/")[2]
    assert resolved.model.reference == typed
    assert (resolved.model.sizing, resolved.model.options) == (newest.sizing, newest.options)
    assert (resolved.model.prices.image_out, resolved.model.prices.text_in) == (None, None)
    (notice,) = resolved.notices
    assert notice.code == "unknown_model"
    assert [fact for fact in (model_id, newest.name, "prices") if fact not in notice.message] == []


@pytest.mark.parametrize(
    ("typed", "kind", "action", "facts"),
    [
        ("gpt-image-10", InvalidRequestError, "list_models", ("'gpt-image-10'", "openai/gpt-image-10")),
        ("flux-2", InvalidRequestError, "list_models", ("'flux-2'", "gemini, openai")),
        ("openai/", InvalidRequestError, "list_models", ("'openai/'", "--provider openai")),
        ("mistral/paint-1", UnknownProviderError, "advice", ("'mistral'", "gemini, openai")),
    ],
)
def test_the_error_of_an_unknown_name_says_what_to_do(
    typed: str, kind: type[RequestError], action: RemedyAction, facts: tuple[str, ...]
) -> None:
    with pytest.raises(RequestError) as caught:
        Registry().resolve(typed)
    assert type(caught.value) is kind
    assert caught.value.remedy is not None
    assert caught.value.remedy.action == action
    assert [fact for fact in facts if fact not in str(caught.value)] == []


@pytest.mark.parametrize(
    ("keys", "default"),
    [
        (["openai"], "gpt-image-2.6-sunburst"),
        (["gemini"], "gemini-nano-banana-2.1"),
        (["openai", "gemini"], "gemini-nano-banana-2.1"),
    ],
)
def test_the_default_is_the_newest_active_model_of_a_provider_with_a_key(keys: list[str], default: str) -> None:
    assert Registry().default_model(keys).id == default


def test_without_a_key_the_remedy_is_to_set_one_or_to_use_the_sandbox() -> None:
    with pytest.raises(NotConfiguredError) as caught:
        Registry().default_model([])
    assert caught.value.remedy is not None
    assert (caught.value.remedy.action, caught.value.remedy.provider) == ("set_key", None)
    facts = ("invokeai-external keys set openai", "gemini", "--sandbox")
    assert [fact for fact in facts if fact not in caught.value.remedy.text] == []


def test_models_are_listed_by_provider_newest_first() -> None:
    registry = Registry()
    assert [len(registry.models(provider)) for provider in ("gemini", "openai", "mistral")] == [7, 10, 0]
    assert list(dict.fromkeys(model.provider for model in registry.models()))[:2] == ["gemini", "openai"]
    assert registry.models()[0].id == "gemini-nano-banana-2.1"
    assert [registry.provider(provider).name for provider in IN_INVOKE] == ["Google Gemini", "OpenAI"]


# The user's own models.


def test_fields_of_a_known_model_are_overridden_one_by_one(tmp_path: Path) -> None:
    registry = with_models(
        tmp_path,
        """
  openai/gpt-image-1.5:
    prices: {image_out: 99}
    lifecycle: {successor: gpt-image-2.5-flare}
    options:
      quality: {values: [low]}
      strength: {minimum: 0, maximum: 1}
""",
    )
    model, original = registry.resolve("gpt-image-1.5").model, Registry().resolve("gpt-image-1.5").model
    assert (model.prices.image_out, model.prices.text_in, model.prices.text_out) == (99, 5, 10)
    assert (str(model.lifecycle.shutdown), model.lifecycle.successor) == ("2026-12-01", "gpt-image-2.5-flare")
    assert model.options == {
        **original.options,
        "quality": original.options["quality"].model_copy(update={"values": ("low",)}),
        "strength": NumberOption(minimum=0, maximum=1),
    }
    assert model.prices_as_of is None
    changed = {"prices", "prices_as_of", "lifecycle", "options"}
    assert model.model_dump(exclude=changed) == original.model_dump(exclude=changed)
    assert [m.id for m in registry.models("openai")] == [m.id for m in Registry().models("openai")]


def test_an_option_of_another_kind_replaces_the_old_one(tmp_path: Path) -> None:
    registry = with_models(
        tmp_path,
        """
  openai/gpt-image-1.5:
    options:
      quality: {text: true, max_characters: 200}
      moderation: {modes: [txt2img]}
      output_compression: {maximum: 50}
      text: {values: [a, b]}
      values: {text: true}
""",
    )
    options, original = (
        registry.resolve("gpt-image-1.5").model.options,
        Registry().resolve("gpt-image-1.5").model.options,
    )
    assert options == {
        **original,
        "quality": TextOption(text=True, max_characters=200),
        "moderation": original["moderation"].model_copy(update={"modes": ("txt2img",)}),
        "output_compression": NumberOption(minimum=0, maximum=50, whole=True),
        "text": ChoiceOption(values=("a", "b")),
        "values": TextOption(text=True),
    }


def test_a_new_model_has_the_profile_of_another_for_what_its_entry_does_not_say(tmp_path: Path) -> None:
    registry = with_models(
        tmp_path,
        """
  openai/my-proxy-model:
    name: Mine
    aliases: [mine]
    prices: {text_in: 1, image_in: 2, image_out: 3}
  gemini/gemini-3-pro-image-2027-01-01:
""",
    )
    mine, snapshot = registry.resolve("mine").model, registry.resolve("gemini-3-pro-image-2027-01-01")
    assert (mine.reference, mine.name, mine.prices.image_out, mine.prices.text_out) == (
        "openai/my-proxy-model",
        "Mine",
        3,
        None,
    )
    assert mine.sizing == registry.resolve("gpt-image-2.6-sunburst").model.sizing
    assert registry.models()[-2:] == (mine, snapshot.model)
    assert (snapshot.model.prices.image_out, snapshot.notices) == (120, ())
    assert registry.default_model(["openai"]).id == "gpt-image-2.6-sunburst"


@pytest.mark.parametrize(
    ("model", "sizing", "kind", "asked", "sent"),
    [
        ("openai/gpt-image-2", "{kind: fixed, sizes: [512x512, 8x4]}", FixedSizing, Size(9, 5), "8x4"),
        ("openai/gpt-image-1", "{sizes: [64x64]}", FixedSizing, Size(1024, 1024), "64x64"),
        (
            "openai/gpt-image-2",
            '{kind: presets, ratios: {"1:1": 64x64, "2:1": 96x48}, image_sizes: {1K: 1, 2K: 2}}',
            PresetSizing,
            Size(190, 100),
            "192x96 (2:1 at 2K)",
        ),
        ("openai/gpt-image-2", "{max_edge: 2048}", FlexibleSizing, Size(3840, 2160), "2048x1152"),
        (
            "gemini/gemini-3-pro-image",
            '{kind: flexible, multiple_of: 64, min_ratio: "1:2", max_ratio: "2:1", max_edge: 1024, min_pixels: 1, '
            "max_pixels: 1048576}",
            FlexibleSizing,
            Size(1000, 700),
            "1024x704",
        ),
        (
            "gemini/gemini-3-pro-image",
            '{ratios: {"32:9": 2048x576}}',
            PresetSizing,
            Size(2048, 576),
            "2048x576 (32:9 at 1K)",
        ),
    ],
)
def test_sizes_are_overridden_too_even_by_another_kind(
    tmp_path: Path, model: str, sizing: str, kind: type, asked: Size, sent: str
) -> None:
    found = with_models(tmp_path, f"  {model}:\n    sizing: {sizing}\n").resolve(model).model
    assert type(found.sizing) is kind
    assert str(plan(GenerationRequest(prompt="a red fox", size=asked), found).calls[0].size) == sent


def test_an_override_keeps_the_sizes_that_it_does_not_name(tmp_path: Path) -> None:
    text = '  gemini/gemini-3-pro-image:\n    sizing: {ratios: {"32:9": 2048x576}}\n'
    found = with_models(tmp_path, text).resolve("gemini-3-pro-image").model
    assert isinstance(found.sizing, PresetSizing)
    assert len(found.sizing.ratios) == 11
    request = GenerationRequest(prompt="a red fox", aspect_ratio=AspectRatio(16, 9), image_size="4K")
    assert str(plan(request, found).calls[0].size) == "5504x3072 (16:9 at 4K)"


def test_an_entry_under_an_alias_becomes_the_model_of_that_name(tmp_path: Path) -> None:
    registry = with_models(tmp_path, "  openai/chatgpt-image-latest:\n    name: The latest\n")
    latest = registry.resolve("chatgpt-image-latest").model
    assert (latest.reference, latest.name, latest.prices.image_out) == ("openai/chatgpt-image-latest", "The latest", 32)
    assert latest.aliases == ()
    assert registry.resolve("gpt-image-1.5").model.name == "GPT Image 1.5"


def test_an_entry_cannot_rename_its_model(tmp_path: Path) -> None:
    registry = with_models(tmp_path, "  openai/gpt-image-2: {id: other, provider: gemini}\n")
    assert registry.resolve("gpt-image-2").model.reference == "openai/gpt-image-2"


def test_the_first_model_is_the_default_if_all_are_retired(tmp_path: Path) -> None:
    retired = "".join(
        f"  {model.reference}:\n    lifecycle: {{status: retired}}\n" for model in Registry().models("gemini")
    )
    registry = with_models(tmp_path, retired)
    assert registry.default_model(["gemini"]).id == "gemini-nano-banana-2.1"
    assert registry.resolve("gemini/unheard-of").model.lifecycle.status == "active"


def test_the_users_prices_may_begin_on_a_day(tmp_path: Path) -> None:
    (tmp_path / "invokeai_external.yaml").write_text(
        "models:\n  openai/gpt-image-2:\n    prices:\n      - {image_out: 30}\n"
        "      - {since: 2027-02-01, image_out: 24}\n",
        encoding="utf-8",
    )
    day = datetime.date(2027, 1, 31)
    registry = Registry(load_settings(tmp_path, {}).catalog, today=lambda: day)
    before = registry.resolve("gpt-image-2").model
    assert (before.prices.image_out, before.prices.text_in) == (30, None), "a list replaces the whole list"
    assert [entry.image_out for entry in before.later_prices] == [24]
    day += datetime.timedelta(days=1)
    after = registry.resolve("gpt-image-2").model
    assert (after.prices.image_out, after.later_prices) == (24, ())
    (listed,) = (model for model in registry.models("openai") if model.id == "gpt-image-2")
    assert listed == after


def test_the_users_own_tokens_and_prices_replace_published_prices_of_an_image(tmp_path: Path) -> None:
    registry = with_models(tmp_path, "  openai/gpt-image-1-mini:\n    image_tokens: {low 1024x1024: 500}\n")
    mini = registry.resolve("gpt-image-1-mini").model
    assert image_price(mini, SizeChoice(Size(1024, 1024)), "low").usd == pytest.approx(500 * 8 / 1e6)
    assert image_price(mini, SizeChoice(Size(1024, 1024)), "high").basis == "unknown"
    own = with_models(tmp_path, "  openai/gpt-image-1-mini:\n    image_prices: {low 1024x1024: 0.004}\n")
    assert image_price(own.resolve("gpt-image-1-mini").model, SizeChoice(Size(1024, 1024)), "low").usd == 0.004


@pytest.mark.parametrize(
    ("prices", "at"),
    [
        ("{image_out: 30}|{image_out: 24}", "line 3: models.openai/gpt-image-2.prices"),
        (
            "{image_out: 30}|{since: 2027-02-01, image_out: dear}",
            "line 5: models.openai/gpt-image-2.prices.1.image_out",
        ),
        ("{picture_out: 30}", "line 3: models.openai/gpt-image-2.prices"),
    ],
)
def test_prices_that_are_not_valid_are_refused_with_their_line(tmp_path: Path, prices: str, at: str) -> None:
    entries = "".join(f"      - {entry}\n" for entry in prices.split("|"))
    with pytest.raises(SettingsError, match=at):
        with_models(tmp_path, f"  openai/gpt-image-2:\n    prices:\n{entries}")


@pytest.mark.parametrize(
    ("prices", "per_image", "text_in"),
    [
        # Another way of billing takes the place of the catalogue's prices by token.
        ("{per_image: 0.02}", {"any": 0.02}, None),
        ("{per_image: {1024x1024: 0.02}}", {"1024x1024": 0.02}, None),
        ("{per_megapixel: 0.01}", {}, None),
        ("{per_image: 0.02, text_in: 3}", {"any": 0.02}, 3),
        ("{per_image: null}", {}, 5),
        ("{image_out: 24}", {}, 5),
    ],
)
def test_the_users_prices_by_image_replace_those_by_token(
    tmp_path: Path, prices: str, per_image: dict[str, float], text_in: float | None
) -> None:
    registry = with_models(tmp_path, f"  openai/gpt-image-2:\n    prices: {prices}\n")
    found = registry.resolve("gpt-image-2").model.prices
    assert (found.per_image, found.text_in) == (per_image, text_in)


def test_a_price_of_an_image_that_is_not_valid_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"line 3: models.openai/gpt-image-2.prices.per_image: .*number in USD"):
        with_models(tmp_path, "  openai/gpt-image-2:\n    prices: {per_image: dear}\n")
