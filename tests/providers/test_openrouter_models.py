"""What OpenRouter's list says of its models becomes models: nothing that is not understood, and nothing wrong."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invokeai_external.adapters.openrouter import OpenRouterAdapter
from invokeai_external.adapters.openrouter_models import listed_models, model_fields
from invokeai_external.providers import catalog
from invokeai_external.providers.schema import ChoiceOption, ModelConfig, NumberOption
from invokeai_external.providers.sizings import NamedSizing

from ..support.openrouter import ENDPOINTS, endpoint, enum, listed, price, span
from .conftest import make_response

OWN = {"provider": "openrouter", "provider_name": "OpenRouter"}


def model_of(model_id: str, *endpoints: dict[str, Any], **entry: Any) -> ModelConfig | None:
    found = list(endpoints) or ENDPOINTS[model_id]
    fields = model_fields({**listed(model_id, found), **entry}, {"id": model_id, "endpoints": found})
    return None if fields is None else ModelConfig.model_validate({**fields, **OWN, "id": model_id})


def known(model_id: str, *endpoints: dict[str, Any], **entry: Any) -> ModelConfig:
    model = model_of(model_id, *endpoints, **entry)
    assert model is not None
    return model


def sizes_of(model: ModelConfig) -> tuple[str, str]:
    assert isinstance(model.sizing, NamedSizing)
    return " ".join(map(str, model.sizing.ratios)), " ".join(model.sizing.image_sizes)


def prices_of(model: ModelConfig) -> dict[str, Any]:
    return model.prices.model_dump(exclude_unset=True)


# model | modes | most input images | most at once | seed | previews | image sizes | options | prices
FACTS = """
openai/gpt-image-2                | t i | 16 | 10 | - | p | -        | quality background
google/gemini-3-pro-image         | t i | 14 | 1  | - | - | 1K 2K 4K | -
bytedance-seed/seedream-4.5       | t i | 14 | 10 | s | - | 1K 2K 4K | -
black-forest-labs/flux.2-klein-4b | t i | 4  | 1  | s | - | -        | output_format
krea/krea-2-medium                | t i | 1  | 1  | s | - | 1K 2K    | -
inclusionai/ming-image-0.1-design-layer | i | 1 | 1 | - | - | -      | output_format
meta/muse-image                   | t   | 0  | 1  | - | - | -        | -
"""
PRICES: dict[str, dict[str, Any]] = {
    "openai/gpt-image-2": {"text_in": 5.0, "image_in": 8.0, "image_out": 30.0},
    # Only one of its two endpoints has a price of input images.
    "google/gemini-3-pro-image": {"image_out": 120.0},
    "bytedance-seed/seedream-4.5": {"per_image": {"any": 0.04}, "per_input_image": 0.0},
    "black-forest-labs/flux.2-klein-4b": {"per_megapixel": 0.014},
    "krea/krea-2-medium": {"per_image": {"1K": 0.03, "2K": 0.04}, "per_input_image": 0.003},
    "inclusionai/ming-image-0.1-design-layer": {"image_in": 0.0, "image_out": 0.0},
    "meta/muse-image": {},
}


@pytest.mark.parametrize("row", FACTS.strip().splitlines(), ids=lambda row: str(row).partition(" ")[0])
def test_the_facts_of_the_recorded_models(row: str) -> None:
    model_id, modes, inputs, at_once, seed, previews, image_sizes, options = (cell.strip() for cell in row.split("|"))
    model = known(model_id)
    assert {"txt2img": "t", "img2img": "i"}.keys() >= set(model.modes)
    assert " ".join({"txt2img": "t", "img2img": "i"}[mode] for mode in model.modes) == modes
    assert (model.input_images.max_count, model.max_images_per_call) == (int(inputs), int(at_once))
    assert (model.seed, model.previews) == (seed == "s", previews == "p")
    assert sizes_of(model)[1] == image_sizes.strip("-")
    assert " ".join(model.options) == options.strip("-")
    assert prices_of(model) == PRICES[model_id]


def test_names_descriptions_and_ratios() -> None:
    model = known("bytedance-seed/seedream-4.5")
    assert (model.name, model.prices_as_of) == ("Maker: seedream-4.5", None)
    assert model.description == "bytedance-seed/seedream-4.5 makes images. Images are billed by OpenRouter."
    # Not auto, which is not a ratio, and not 9:19.5, which this program cannot name.
    assert sizes_of(model)[0] == "1:1 1:2 2:1 16:9 21:9"
    nasty = known("maker/x", endpoint("m", {}), name="\x1b[31mEvil\u202e", description="a\nb " + "long " * 200)
    assert nasty.name == "[31mEvil"
    assert nasty.description.startswith("a b long")
    assert nasty.description.endswith("… Images are billed by OpenRouter.")
    assert len(nasty.description) < 400


def test_options_have_the_values_of_any_endpoint() -> None:
    formats = {"output_format": enum("png", "jpeg"), "output_compression": span(0, 100)}
    first = endpoint("a", {"quality": enum("auto", "low"), **formats})
    second = endpoint("b", {"quality": enum("auto", "high"), "background": enum("auto")})
    options = known("maker/x", first, second).options
    assert options == {
        "quality": ChoiceOption(values=("auto", "low", "high")),
        "output_format": ChoiceOption(values=("png", "jpeg")),
        "output_compression": NumberOption(minimum=0, maximum=100, whole=True),
    }


@pytest.mark.parametrize(
    "endpoints",
    [
        # Whether a response is an SVG, the program must know before it arrives.
        ENDPOINTS["recraft/recraft-v4.1-vector"],
        [endpoint("m", {"input_references": span(2, 4)})],
        [endpoint("m", {"input_references": span(3, 1)})],
    ],
)
def test_a_model_that_cannot_be_used_is_not_there(endpoints: list[dict[str, Any]]) -> None:
    assert model_of("maker/x", *endpoints) is None


IMAGE = price("output_image", "image", 0.04)
TOKEN = price("output_image", "token", 3e-05)


@pytest.mark.parametrize(
    ("pricing", "expected"),
    [
        ([[IMAGE]], {"per_image": {"any": 0.04}}),
        ([[IMAGE], [IMAGE]], {"per_image": {"any": 0.04}}),
        ([[IMAGE], [price("output_image", "image", 0.05)]], {}),
        ([[IMAGE], []], {}),
        ([[]], {}),
        # A tier that is not a size, a unit or a kind that is not known, a price that is not a number, twice the same.
        ([[price("output_image", "image", 0.04, "low_1k")]], {}),
        ([[price("output_image", "image", 0.04, "hd"), IMAGE]], {}),
        ([[price("output_image", "request", 0.04)]], {}),
        ([[IMAGE, price("output_video", "second", 1)]], {}),
        ([[price("output_image", "image", -1)]], {}),
        ([[price("output_image", "image", float("nan"))]], {}),
        ([[IMAGE, price("output_image", "image", 0.05)]], {}),
        ([[IMAGE, TOKEN]], {}),
        # Input that cannot be billed here would count as free.
        ([[IMAGE, price("input_image", "megapixel", 0.01)]], {}),
        ([[IMAGE, price("input_reference", "request", 0.005)]], {}),
        ([[IMAGE, price("input_text", "image", 0.01)]], {}),
        ([[IMAGE, price("input_image", "token", 1e-06)], [IMAGE]], {}),
        # With a price by token, a missing one is unknown and not free.
        ([[TOKEN, price("input_image", "token", 1e-06)], [TOKEN]], {"image_out": 30.0}),
        ([[TOKEN, price("input_image", "token", 1e-06)]], {"image_out": 30.0, "image_in": 1.0}),
        # No font is sent.
        ([[IMAGE, price("input_font", "request", 0.3)]], {"per_image": {"any": 0.04}}),
        ([[IMAGE, price("input_reference", "image", 0.01)]], {"per_image": {"any": 0.04}, "per_input_image": 0.01}),
        # The model does not have 8K.
        (
            [[price("output_image", "image", 0.03, "1k"), price("output_image", "image", 0.9, "8k")]],
            {"per_image": {"1K": 0.03}},
        ),
        ([[price("output_image", "image", 0.9, "8k")]], {}),
    ],
)
def test_prices(pricing: list[list[dict[str, Any]]], expected: dict[str, Any]) -> None:
    parameters = {"resolution": enum("1K", "2K")}
    model = known("maker/x", *(endpoint(f"m{place}", parameters, *lines) for place, lines in enumerate(pricing)))
    assert prices_of(model) == expected


def test_without_its_page_a_model_has_what_the_list_says_and_no_prices() -> None:
    entry = listed("openai/gpt-image-2", ENDPOINTS["openai/gpt-image-2"])
    pages: list[object] = [None, [], {}, {"endpoints": "x"}, {"error": {"code": 404}}]
    for page in pages:
        fields = model_fields(entry, page)
        assert fields is not None
        model = ModelConfig.model_validate({**fields, **OWN, "id": "x"})
        assert (list(model.options), model.previews, prices_of(model)) == (["quality", "background"], True, {})


def test_the_list_begins_with_the_newest_and_has_no_other_ids() -> None:
    found = ["maker/old", "maker/new", "../../etc", "a/b/c", "no-author", "maker/x?key=1", "maker/text"]
    body = {"data": [listed(name, [], created) for created, name in enumerate(found)]}
    body["data"][-1]["architecture"]["output_modalities"] = ["text"]
    assert list(listed_models(body)) == ["maker/new", "maker/old"]
    assert listed_models({"data": "x"}) == {}


def test_the_page_of_a_model_is_below_its_author() -> None:
    adapter = OpenRouterAdapter(catalog.page("openrouter").provider)
    base = "https://openrouter.ai/api/v1"
    assert adapter.build_discovery(base).url == f"{base}/images/models"
    assert adapter.build_discovery(base, "a/b:free").url == f"{base}/images/models/a/b%3Afree/endpoints"
    assert adapter.build_key_test(base).url == f"{base}/key"
    assert adapter.discovers_models


_NAMES = [
    "type",
    "values",
    "min",
    "max",
    "enum",
    "range",
    "boolean",
    "billable",
    "unit",
    "cost_usd",
    "variant",
    "image",
]
_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.sampled_from(_NAMES),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_NAMES), inner, max_size=4),
    max_leaves=10,
)
_PARAMETERS = st.dictionaries(
    st.sampled_from(
        ["aspect_ratio", "resolution", "quality", "background", "output_format", "n", "input_references", "seed"]
    ),
    _ANYTHING,
    max_size=6,
)


@given(_PARAMETERS, st.lists(_ANYTHING, max_size=3), _ANYTHING, _ANYTHING)
def test_whatever_the_list_says_becomes_a_valid_model_or_nothing(
    parameters: Any, pricing: Any, name: Any, architecture: Any
) -> None:
    entry = {**listed("maker/x", []), "name": name, "architecture": architecture, "description": name}
    page = {"endpoints": [{"supported_parameters": parameters, "pricing": pricing}]}
    adapter = OpenRouterAdapter(catalog.page("openrouter").provider)
    try:
        fields = adapter.discovered_model(entry, make_response(page))
    except ValueError as error:
        pytest.fail(f"it raised {error!r}")
    if fields is not None:
        ModelConfig.model_validate({**fields, **OWN, "id": "maker/x"})
