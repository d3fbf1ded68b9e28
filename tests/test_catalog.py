"""The catalogue says of every model what its provider says; the figures here were copied from the providers' pages."""

from __future__ import annotations

import datetime

import pytest
from pydantic import ValidationError

from invokeai_external.providers import catalog
from invokeai_external.providers.inheritance import merge_fields
from invokeai_external.providers.lifecycle import Lifecycle
from invokeai_external.providers.registry import Registry
from invokeai_external.providers.schema import ChoiceOption, ModelConfig, NumberOption
from invokeai_external.providers.sizings import FlexibleSizing
from invokeai_external.sizing import Size, SizeChoice, SizeRequest

MODELS = {config.id: config for page in catalog.pages() if page.provider.in_invoke for config in page.configs()}

# id | status on the day of the facts | last day, with ? if it is not confirmed | successor | most input images |
# most images per call | modes | prices: text in, image in, text out, image out
FACTS = """
gemini-nano-banana-2.1        | active    |            |                            | 14| 1 | tim| 1.5 1.5 7.5 30
gemini-3-pro-image            | active    |            |                            | 14| 1 | tim| 2 2 12 120
gemini-3.1-flash-lite-image   | active    |            |                            | 14| 1 | tim| 0.25 0.25 1.5 30
gemini-3.1-flash-image        | deprecated| 2026-10-29?| gemini-nano-banana-2.1     | 14| 1 | tim| 0.5 0.5 3 60
gemini-2.5-flash-image        | deprecated| 2027-03-15?| gemini-3.1-flash-lite-image| 3 | 1 | tim| 0.3 0.3 2.5 30
gemini-3-pro-image-preview    | deprecated| 2026-06-25?| gemini-3-pro-image         | 14| 1 | tim| 2 2 12 120
gemini-3.1-flash-image-preview| deprecated| 2026-06-25?| gemini-3.1-flash-image     | 14| 1 | tim| 0.5 0.5 3 60
gpt-image-2.6-sunburst        | active    |            |                            | 16| 10| tim| 5 8 - 30
gpt-image-2.6-flare           | active    |            |                            | 16| 10| tim| 5 8 - 30
gpt-image-2.5-sunburst        | active    |            |                            | 16| 10| tim| 5 8 - 30
gpt-image-2.5-flare           | active    |            |                            | 16| 10| tim| 5 8 - 30
gpt-image-2                   | active    |            |                            | 16| 10| tim| 5 8 - 30
gpt-image-1.5                 | deprecated| 2026-12-01 | gpt-image-2.5-sunburst     | 16| 10| tim| 5 8 10 32
gpt-image-1-mini              | deprecated| 2026-12-01 | gpt-image-2                | 16| 10| tim| 2 2.5 - 8
gpt-image-1                   | retired   | 2026-10-23 | gpt-image-2.5-flare        | 16| 10| tim| 5 10 - 40
dall-e-3                      | retired   | 2026-05-12 | gpt-image-2                | 0 | 1 | t  | - - - -
dall-e-2                      | retired   | 2026-05-12 | gpt-image-2                | 1 | 10| tim| - - - -
"""
ROWS = [[cell.strip() for cell in line.split("|")] for line in FACTS.strip().splitlines()]

TEN_RATIOS = "1:1 2:3 3:2 3:4 4:3 4:5 5:4 9:16 16:9 21:9"
FOURTEEN_RATIOS = f"{TEN_RATIOS} 1:4 4:1 1:8 8:1"


def test_the_models_and_their_order_newest_first() -> None:
    assert list(MODELS) == [row[0] for row in ROWS]


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_the_facts_of_a_model(row: list[str]) -> None:
    model_id, status, shutdown, successor, most_in, most_a_call, modes, prices = row
    model = MODELS[model_id]
    assert model.provider == ("gemini" if model_id.startswith("gemini") else "openai")
    life, day = model.lifecycle, catalog.page(model.provider).as_of
    assert life.status_on(day) == status
    assert life.shutdown == (datetime.date.fromisoformat(shutdown.removesuffix("?")) if shutdown else None)
    assert life.shutdown_confirmed is not shutdown.endswith("?")
    assert life.successor == (successor or None)
    assert successor == "" or MODELS[successor].lifecycle.status_on(day) != "retired"
    assert model.input_images.max_count == int(most_in)
    assert model.max_images_per_call == int(most_a_call)
    assert set(model.modes) == {{"t": "txt2img", "i": "img2img", "m": "inpaint"}[letter] for letter in modes}
    assert model.seed is (model.provider == "gemini")
    assert [model.prices.text_in, model.prices.image_in, model.prices.text_out, model.prices.image_out] == [
        None if price == "-" else float(price) for price in prices.split()
    ]


def test_release_dates_aliases_and_prompt_limits() -> None:
    assert {m.id: str(m.lifecycle.since) for m in MODELS.values() if m.lifecycle.since} == {
        "gemini-nano-banana-2.1": "2026-10-06",
        "gemini-3.1-flash-lite-image": "2026-06-30",
    }
    assert {alias: m.id for m in MODELS.values() for alias in m.aliases} == {
        "nano-banana-pro-preview": "gemini-3-pro-image",
        "chatgpt-image-latest": "gpt-image-1.5",
    }
    limits = {m.max_prompt_characters for m in MODELS.values() if m.id.startswith("gpt-image-")}
    assert limits == {32000}
    assert (MODELS["dall-e-3"].max_prompt_characters, MODELS["dall-e-2"].max_prompt_characters) == (4000, 1000)


@pytest.mark.parametrize(
    ("ids", "ratios", "image_sizes"),
    [
        ("gemini-nano-banana-2.1", FOURTEEN_RATIOS, "1K 2K 4K"),
        ("gemini-3.1-flash-image gemini-3.1-flash-image-preview", FOURTEEN_RATIOS, "512 1K 2K 4K"),
        ("gemini-3-pro-image gemini-3-pro-image-preview", TEN_RATIOS, "1K 2K 4K"),
        ("gemini-3.1-flash-lite-image", TEN_RATIOS, "1K"),
        ("gemini-2.5-flash-image", TEN_RATIOS, ""),
    ],
)
def test_the_ratios_and_image_sizes_of_gemini(ids: str, ratios: str, image_sizes: str) -> None:
    for model_id in ids.split():
        presets = MODELS[model_id].sizing.presets()
        expected = {(ratio, size) for ratio in ratios.split() for size in image_sizes.split() or (None,)}
        assert {(preset.aspect_ratio, preset.image_size) for preset in presets} == expected
        assert len(presets) == len(expected)


@pytest.mark.parametrize(
    ("model", "preset"),
    [
        ("gemini-3.1-flash-image", "512x512 (1:1 at 512)"),
        ("gemini-3.1-flash-image", "792x336 (21:9 at 512)"),
        ("gemini-3.1-flash-image", "848x1264 (2:3 at 1K)"),
        ("gemini-3.1-flash-image", "896x1200 (3:4 at 1K)"),
        ("gemini-3.1-flash-image", "1152x928 (5:4 at 1K)"),
        ("gemini-3.1-flash-image", "3072x384 (8:1 at 1K)"),
        ("gemini-3.1-flash-image", "1024x4096 (1:4 at 2K)"),
        ("gemini-3.1-flash-image", "5504x3072 (16:9 at 4K)"),
        ("gemini-nano-banana-2.1", "2752x1536 (16:9 at 2K)"),
        ("gemini-nano-banana-2.1", "6336x2688 (21:9 at 4K)"),
        ("gemini-3-pro-image", "1856x2304 (4:5 at 2K)"),
        ("gemini-3.1-flash-lite-image", "1376x768 (16:9 at 1K)"),
        ("gemini-2.5-flash-image", "832x1248 (2:3)"),
        ("gemini-2.5-flash-image", "1184x864 (4:3)"),
        ("gemini-2.5-flash-image", "1536x672 (21:9)"),
        ("gpt-image-1.5", "1536x1024"),
        ("gpt-image-1-mini", "1024x1536"),
        ("dall-e-3", "1792x1024"),
        ("dall-e-2", "256x256"),
        ("gpt-image-2", "3840x2160"),
        ("gpt-image-2.6-sunburst", "2048x2048"),
    ],
)
def test_the_exact_pixels_of_a_preset(model: str, preset: str) -> None:
    assert preset in [str(p) for p in MODELS[model].sizing.presets()]


def test_the_models_with_fixed_sizes() -> None:
    def sizes(model: str) -> list[str]:
        return [str(choice) for choice in MODELS[model].sizing.presets()]

    for model in ("gpt-image-1.5", "gpt-image-1-mini", "gpt-image-1"):
        assert sizes(model) == ["1024x1024", "1536x1024", "1024x1536"]
    assert sizes("dall-e-3") == ["1024x1024", "1792x1024", "1024x1792"]
    assert sizes("dall-e-2") == ["256x256", "512x512", "1024x1024"]


def test_the_rule_of_the_models_with_any_size() -> None:
    flexible = {m.id: m.sizing for m in MODELS.values() if isinstance(m.sizing, FlexibleSizing)}
    assert list(flexible) == [row[0] for row in ROWS if row[0].startswith("gpt-image-2")]
    for sizing in flexible.values():
        assert sizing.model_dump(exclude={"offered"}) == {
            "kind": "flexible",
            "multiple_of": 16,
            "min_ratio": "1:3",
            "max_ratio": "3:1",
            "max_edge": 3840,
            "min_pixels": 655_360,
            "max_pixels": 8_294_400,
            "experimental_above": 2560 * 1440,
        }


def test_the_options_and_their_values() -> None:
    def values(model: ModelConfig) -> dict[str, str]:
        return {name: " ".join(o.values) for name, o in model.options.items() if isinstance(o, ChoiceOption)}

    gpt = {
        "quality": "auto low medium high",
        "background": "auto opaque transparent",
        "moderation": "auto low",
        "output_format": "png jpeg webp",
    }
    later = {**gpt, "quality": "auto low medium high xhigh max"}
    later["output_format"] = "png jpeg webp gif svg"
    newest = {**later, "complexity": "low medium high"}
    safety = {"safety": "block_low_and_above block_medium_and_above block_only_high block_none off"}
    search = {**safety, "web_search": "off web image"}
    assert {model.id: values(model) for model in MODELS.values()} == {
        "gemini-nano-banana-2.1": {**search, "thinking_level": "minimal medium high"},
        "gemini-3-pro-image": {**search, "web_search": "off web"},
        "gemini-3.1-flash-lite-image": safety,
        "gemini-3.1-flash-image": {**search, "thinking_level": "minimal high"},
        "gemini-2.5-flash-image": safety,
        "gemini-3-pro-image-preview": {**search, "web_search": "off web"},
        "gemini-3.1-flash-image-preview": {**search, "thinking_level": "minimal high"},
        "gpt-image-2.6-sunburst": newest,
        "gpt-image-2.6-flare": newest,
        "gpt-image-2.5-sunburst": later,
        "gpt-image-2.5-flare": later,
        "gpt-image-2": gpt,
        "gpt-image-1.5": {**gpt, "input_fidelity": "low high"},
        "gpt-image-1-mini": gpt,
        "gpt-image-1": {**gpt, "input_fidelity": "low high"},
        "dall-e-3": {"quality": "standard hd", "style": "vivid natural"},
        "dall-e-2": {},
    }
    for model in MODELS.values():
        numbers = {name: option for name, option in model.options.items() if isinstance(option, NumberOption)}
        temperature = {"temperature": NumberOption(minimum=0, maximum=1)}
        compression = {"output_compression": NumberOption(minimum=0, maximum=100, whole=True)}
        is_gpt = model.id.startswith("gpt-image-")
        if model.input_images.markup:
            frames = NumberOption(minimum=2, maximum=16, whole=True)
            duration = NumberOption(minimum=10, maximum=655_350, whole=True)
            compression |= {"frame_count": frames, "frame_duration_ms": duration}
        assert numbers == (temperature if model.provider == "gemini" else compression if is_gpt else {})


def test_facts_of_only_one_model_or_provider() -> None:
    assert [m.id for m in MODELS.values() if m.input_images.square_rgba] == ["dall-e-2"]
    markup = {m.id for m in MODELS.values() if m.input_images.markup}
    assert markup == {m.id for m in MODELS.values() if m.id.startswith(("gpt-image-2.5", "gpt-image-2.6"))}
    white = {m.id for m in MODELS.values() if m.input_images.mask_format == "white"}
    assert white == {m.id for m in MODELS.values() if m.provider == "gemini"}
    previews = {
        m.id: option.preview
        for m in MODELS.values()
        if isinstance(option := m.options.get("background"), ChoiceOption) and option.preview
    }
    assert previews == {"gpt-image-2": ("transparent",)}
    experimental = {
        (m.id, name): option.experimental
        for m in MODELS.values()
        for name, option in m.options.items()
        if isinstance(option, ChoiceOption) and option.experimental
    }
    assert experimental == {(model_id, "output_format"): ("gif", "svg") for model_id in markup}


def test_the_names_and_urls_of_the_providers() -> None:
    gemini, openai = (page.provider for page in catalog.pages() if page.provider.in_invoke)
    assert (gemini.id, gemini.name, gemini.base_url) == (
        "gemini",
        "Google Gemini",
        "https://generativelanguage.googleapis.com/v1beta",
    )
    assert (openai.id, openai.name, openai.base_url) == ("openai", "OpenAI", "https://api.openai.com/v1")


def test_fields_are_merged_at_every_depth_and_neither_mapping_is_changed() -> None:
    base = {"name": "A", "prices": {"text_in": 1, "image_out": 2}, "sizing": {"kind": "fixed", "sizes": ["8x8"]}}
    over = {"prices": {"image_out": 3}, "sizing": {"kind": "flexible", "max_edge": 9}, "aliases": ["b"]}
    assert merge_fields(base, over) == {
        "name": "A",
        "prices": {"text_in": 1, "image_out": 3},
        "sizing": {"kind": "flexible", "max_edge": 9},
        "aliases": ["b"],
    }
    same_kind = {"sizing": {"kind": "fixed", "note": "x"}}
    assert merge_fields(base, same_kind)["sizing"] == {"kind": "fixed", "sizes": ["8x8"], "note": "x"}
    assert base["prices"] == {"text_in": 1, "image_out": 2}
    assert over["prices"] == {"image_out": 3}


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("modes", ["txt2img"], "must agree on input images"),
        ("input_images", {"max_count": 0}, "must agree on input images"),
        ("max_images_per_call", 0, "greater than or equal to 1"),
        ("prices", {"image_out": -1}, "greater than or equal to 0"),
        ("prices", {"image_out": float("inf")}, "finite number"),
        ("lifecycle", {"status": "dead"}, "'active', 'deprecated' or 'retired'"),
        ("colour", "red", "not permitted"),
    ],
)
def test_a_model_that_is_not_valid_is_refused(field: str, value: object, expected: str) -> None:
    fields = {**catalog.page("openai").models["gpt-image-2"], field: value}
    with pytest.raises(ValidationError) as caught:
        ModelConfig.model_validate(fields)
    assert expected in str(caught.value)


def test_the_prices_besides_those_of_tokens() -> None:
    cached = {
        m.id: (m.prices.cached_text_in, m.prices.cached_image_in) for m in MODELS.values() if m.prices.cached_text_in
    }
    newer = dict.fromkeys((row[0] for row in ROWS if row[0].startswith("gpt-image-2")), (1.25, 2))
    assert cached == {**newer, "gpt-image-1.5": (1.25, 2), "gpt-image-1-mini": (0.2, 0.25)}
    half = {m.id for m in MODELS.values() if m.prices.batch == 0.5}
    gemini = {m.id for m in MODELS.values() if m.provider == "gemini"}
    assert half == {*gemini, "gpt-image-2", "gpt-image-2.5-sunburst", "gpt-image-2.5-flare"}
    assert {m.id for m in MODELS.values() if m.prices.flex == 0.5} == gemini - {"gemini-nano-banana-2.1"}
    assert {m.prices.web_search for m in MODELS.values() if "gemini-3" in m.id or "nano" in m.id} == {0.014}
    assert {m.preview_tokens for m in MODELS.values() if m.id.startswith("gpt-")} == {100}


@pytest.mark.parametrize("model", MODELS.values(), ids=list(MODELS))
def test_every_model_has_sources_and_a_date_of_its_prices(model: ModelConfig) -> None:
    assert model.prices_as_of == datetime.date(2026, 11, 29)
    assert len(model.sources) >= 2


def test_prices_may_begin_on_a_day() -> None:
    entries = [{"image_out": 30}, {"since": "2027-02-01", "image_out": 24}, {"since": "2027-03-01", "image_out": 20}]
    fields = {**catalog.page("openai").models["gpt-image-2"], "prices": entries}
    model = ModelConfig.model_validate(fields)
    days = [datetime.date(2027, 1, 31), datetime.date(2027, 2, 1), datetime.date(2027, 4, 1)]
    assert [model.prices_on(day)[0].image_out for day in days] == [30, 24, 20]
    assert [len(model.prices_on(day)[1]) for day in days] == [2, 1, 0]
    assert ModelConfig.model_validate(model.model_dump(mode="json")) == model
    begins = ModelConfig.model_validate({**fields, "prices": {"since": "2027-02-01", "image_out": 24}})
    assert begins.prices_on(days[0])[0].image_out is None
    assert begins.prices_on(days[1])[0].image_out == 24
    for wrong in ([{"image_out": 30}, {"image_out": 24}], [{}, {"since": "2027-03-01"}, {"since": "2027-02-01"}]):
        with pytest.raises(ValidationError, match="later day"):
            ModelConfig.model_validate({**fields, "prices": wrong})


def test_the_profile_of_a_model_for_another_id() -> None:
    model = MODELS["gpt-image-1.5"]
    snapshot, unknown = model.as_snapshot("gpt-image-1.5-2026"), model.as_unknown("gpt-image-9")
    assert (snapshot.reference, snapshot.name) == ("openai/gpt-image-1.5-2026", "GPT Image 1.5 (gpt-image-1.5-2026)")
    assert (snapshot.prices.image_out, snapshot.lifecycle, snapshot.aliases) == (32, model.lifecycle, ())
    assert (unknown.reference, unknown.name, unknown.lifecycle) == ("openai/gpt-image-9", "gpt-image-9", Lifecycle())
    assert (unknown.prices.image_out, unknown.image_tokens, unknown.aliases) == (None, {}, ())
    assert (unknown.input_image_tokens, unknown.preview_tokens, unknown.prices_as_of) == (None, 0, None)
    assert unknown.sizing.choose(_square()) == snapshot.sizing.choose(_square()) == SizeChoice(_square().size)
    assert "Needs an API key; images are billed." in unknown.description


def _square() -> SizeRequest:
    return SizeRequest(size=Size(1024, 1024))


def test_the_models_with_previews() -> None:
    registry = Registry()
    without = [model.id for name in ("openai", "gemini") for model in registry.models(name) if not model.previews]
    assert without == ["dall-e-3", "dall-e-2", "gemini-3.1-flash-lite-image", "gemini-2.5-flash-image"]
