"""The tables of models, sizes, options and prices."""

from __future__ import annotations

from itertools import zip_longest

from invokeai_external.cli.commands.model_page import has_bounds, price_rows
from invokeai_external.cli.commands.models import price_of, sizes_of, status_of
from invokeai_external.pricing.estimate import ListedPrice, listed_prices
from invokeai_external.pricing.tables import qualities_of
from invokeai_external.pricing.tokens import input_image_tokens
from invokeai_external.providers import catalog
from invokeai_external.providers.registry import Registry
from invokeai_external.providers.schema import ChoiceOption, ModelConfig, Option, TextOption
from invokeai_external.providers.sizings import FixedSizing, FlexibleSizing
from invokeai_external.sizing import AspectRatio, Size, SizeRequest

from .markdown import table

__all__ = [
    "image_prices_table",
    "models_table",
    "options_table",
    "price_list",
    "prices_table",
    "sizes_table",
    "unpriced_list",
]

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
            _INPUTS[model.modes[-1]] + (", markup" if model.input_images.markup else ""),
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
    """The prices of each model by token, and the range of what one image costs."""
    rows = [
        (
            f"`{model.id}`",
            *(
                _price(price)
                for price in (
                    model.prices.text_in,
                    model.prices.image_in,
                    model.prices.text_out,
                    model.prices.image_out,
                )
            ),
            *(_share(share) for share in (model.prices.batch, model.prices.flex)),
            price_of(model),
        )
        for model in _models_of(provider)
    ]
    headings = ("Model", "Prompt", "Input images", "Text output", "Image output", "Batch", "Flex", "USD per image")
    return table(headings, rows)


def image_prices_table(provider: str) -> str:
    """What one image costs with each model, by size and quality; models with the same prices share a row."""
    models = [
        model for model in _models_of(provider) if any(e.price.at_most_usd is not None for e in listed_prices(model))
    ]
    qualities = list(dict.fromkeys(quality for model in models for quality in qualities_of(model)))
    qualities.sort(key=lambda quality: _QUALITIES.index(quality or ""))
    rows: dict[tuple[str, ...], list[str]] = {}
    for model in models:
        note = ", at most" if has_bounds(model) else ""
        for sizes, prices in price_rows(model, digits=3):
            if isinstance(model.sizing, FlexibleSizing) and not sizes.startswith(_SIZES_TO_SHOW):
                continue
            by_quality = dict(zip(qualities_of(model), prices, strict=True))
            cells = (f"{sizes}{note}", *(by_quality.get(quality, "-") for quality in qualities))
            rows.setdefault(cells, []).append(f"`{model.id}`")
    headings = ("Models", "Size", *(quality or "USD per image" for quality in qualities))
    return table(headings, [("<br>".join(names), *cells) for cells, names in rows.items()])


_QUALITIES = ("", "low", "medium", "high", "xhigh", "max")

_SIZES_TO_SHOW = ("1024x1024", "1360x768", "1248x832", "2048x2048", "2736x1536", "2880x2880", "3840x2160")
"""Of a model with any size, the table shows these; portrait costs as much as landscape."""


def unpriced_list(provider: str) -> str:
    """The models, sizes and qualities of a provider without a price, by name."""
    lines = []
    for model in _models_of(provider):
        listed = listed_prices(model)
        unknown = [entry for entry in listed if entry.price.basis == "unknown"]
        if len(unknown) == len(listed):
            lines.append(f"- `{model.id}`: all sizes and qualities.")
        elif unknown:
            lines.append(f"- `{model.id}`: {', '.join(_named(entry) for entry in unknown)}.")
        elif model.input_images.max_count and input_image_tokens(model, Size(1024, 1024)).basis == "unknown":
            lines.append(f"- `{model.id}`: input images.")
    return "\n".join(lines)


def _named(entry: ListedPrice) -> str:
    return " ".join(part for part in (str(entry.size), entry.quality) if part)


def price_list() -> str:
    """What one image costs with each active model, both providers side by side."""
    columns = [
        [(f"`{model.id}`", price_of(model)) for model in _models_of(provider) if model.lifecycle.status == "active"]
        for provider in ("openai", "gemini")
    ]
    rows = [(*left, *right) for left, right in zip_longest(*columns, fillvalue=("", ""))]
    return table(("OpenAI", "USD per image", "Gemini", "USD per image"), rows)


def _option_values(option: Option) -> str:
    if isinstance(option, ChoiceOption):
        kinds = {**dict.fromkeys(option.preview, " (preview)"), **dict.fromkeys(option.experimental, " (experimental)")}
        return ", ".join(f"{value}{kinds.get(value, '')}" for value in option.values)
    if isinstance(option, TextOption):
        return f"text, up to {option.max_characters:,} characters"
    return f"{option.minimum:g} to {option.maximum:g}"


def _price(price: float | None) -> str:
    return _UNKNOWN if price is None else f"{price:g}"


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"
