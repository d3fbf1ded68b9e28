"""The tables of models, sizes, options and prices."""

from __future__ import annotations

from itertools import zip_longest

from invokeai_external.cli.commands.models import price_of, sizes_of, status_of
from invokeai_external.pricing.estimate import image_usd
from invokeai_external.providers import catalog
from invokeai_external.providers.registry import Registry
from invokeai_external.providers.schema import ChoiceOption, ModelConfig, Option
from invokeai_external.sizing import AspectRatio, FixedSizing, FlexibleSizing, SizeRequest

from .markdown import table

__all__ = ["models_table", "options_table", "price_list", "prices_table", "sizes_table"]

_UNKNOWN = "unknown"
_INPUTS = {"txt2img": "prompt", "img2img": "prompt, images", "inpaint": "prompt, images, mask"}
"""What a model can work from, by the last of its modes, which includes the ones before it."""


def _models_of(provider: str) -> tuple[ModelConfig, ...]:
    """A provider's models, with their status on the day of its catalogue file: the page does not change by itself."""
    return Registry(today=lambda: catalog.page(provider).as_of).models(provider)


def models_table(provider: str) -> str:
    """What each model of a provider can do."""
    headings = (
        "Model",
        f"Status on {catalog.page(provider).as_of}",
        "Sizes",
        "Input",
        "Max. input images",
        "Images per call",
        "Previews",
        "Max. prompt (characters)",
    )
    rows = [
        (
            f"`{model.id}`" + "".join(f", also `{alias}`" for alias in model.aliases),
            status_of(model),
            sizes_of(model),
            _INPUTS[model.modes[-1]],
            str(model.input_images.max_count),
            str(model.max_images_per_call),
            "yes" if model.previews else "-",
            f"{model.max_prompt_characters:,}" if model.max_prompt_characters else _UNKNOWN,
        )
        for model in _models_of(provider)
    ]
    return table(headings, rows)


def sizes_table(reference: str) -> str:
    """The pixels of a model's named sizes: one row for each aspect ratio, one column for each image size."""
    sizing = Registry().resolve(reference).model.sizing
    if isinstance(sizing, FixedSizing):
        raise ValueError(f"{reference} has a fixed list of sizes, which the table of models shows")
    offered = sizing.offered if isinstance(sizing, FlexibleSizing) else sizing
    ratios = [AspectRatio.parse(str(ratio)) for ratio in offered.ratios]
    image_sizes = tuple(offered.image_sizes) or (None,)
    rows = [
        (
            str(ratio),
            *(str(sizing.choose(SizeRequest(aspect_ratio=ratio, image_size=name)).size) for name in image_sizes),
        )
        for ratio in ratios
    ]
    return table(("Ratio", *(name or "Pixels" for name in image_sizes)), rows)


def options_table(provider: str) -> str:
    """The options of each model and their values."""
    models = _models_of(provider)
    names = list(dict.fromkeys(name for model in models for name in model.options))
    rows = [
        (
            f"`{model.id}`",
            *(_option_values(model.options[name]) if name in model.options else "-" for name in names),
        )
        for model in models
    ]
    return table(("Model", *(f"`--{name.replace('_', '-')}`" for name in names)), rows)


def prices_table(provider: str) -> str:
    """The prices of each model by token, and of one image where its tokens are known."""
    rows = [
        (
            f"`{model.id}`",
            _price(model.prices.text_in),
            _price(model.prices.image_in),
            _price(model.prices.text_out),
            _price(model.prices.image_out),
            _image_prices(model),
        )
        for model in _models_of(provider)
    ]
    return table(("Model", "Text input", "Image input", "Text output", "Image output", "One image"), rows)


def price_list() -> str:
    """What one image costs with each active model, both providers side by side."""
    columns = [
        [
            (f"`{model.id}`", _price_of_one(model))
            for model in _models_of(provider)
            if model.lifecycle.status == "active"
        ]
        for provider in ("openai", "gemini")
    ]
    rows = [(*left, *right) for left, right in zip_longest(*columns, fillvalue=("", ""))]
    return table(("OpenAI", "USD per image", "Gemini", "USD per image"), rows)


def _price_of_one(model: ModelConfig) -> str:
    price = price_of(model)
    return price if model.image_tokens or price == _UNKNOWN else f"{_UNKNOWN} ({price})"


def _option_values(option: Option) -> str:
    if isinstance(option, ChoiceOption):
        return ", ".join(f"{value} (preview)" if value in option.preview else value for value in option.values)
    return f"{option.minimum:g} to {option.maximum:g}"


def _price(price: float | None) -> str:
    return _UNKNOWN if price is None else f"{price:g}"


def _image_prices(model: ModelConfig) -> str:
    costs = {key: image_usd(model, tokens) for key, tokens in model.image_tokens.items()}
    known = [(key, cost) for key, cost in costs.items() if cost is not None]
    return "<br>".join(f"{cost:.3f}" if key == "any" else f"{cost:.3f} {key}" for key, cost in known) or _UNKNOWN
