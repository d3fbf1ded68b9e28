"""``models show``: prints everything that is known of one model, as text or as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...pricing.estimate import (
    ImagePrice,
    ListedPrice,
    image_price,
    listed_prices,
    price_range,
    text_price,
    whole_price,
)
from ...pricing.tables import qualities_of
from ...pricing.tokens import Basis, input_image_tokens
from ...providers.registry import Registry
from ...providers.schema import ChoiceOption, ModelConfig, Option, Prices, TextOption
from ...sizing import Size, SizeChoice
from .. import report
from ..common import settings
from ..option_flags import flag_of
from ..terminal import print_facts, print_table
from .models import model_object, price_of, sizes_of, status_of

__all__ = ["has_bounds", "price_rows", "run"]

_MADE_FROM = {
    "txt2img": "a prompt",
    "img2img": "a prompt and images",
    "inpaint": "a prompt, an image and a mask",
}


_HOW_EXACT: dict[Basis, str] = {
    "exact": "exact, by a rule for the tokens of each size and quality",
    "table": "from a table of the provider",
    "bounded": "the most that an image costs",
    "unknown": "unknown",
}


def run(reference: str, *, as_json: bool, root: Path | None) -> None:
    """Print everything that is known of one model."""
    current = settings(root)
    found = Registry(current.catalog).resolve(reference)
    report.notices((*current.notices, *found.notices))
    if as_json:
        report.print_json({**model_object(found.model), **_price_fields(found.model)})
    else:
        _print_page(found.model)


def _price_fields(model: ModelConfig) -> dict[str, Any]:
    """The price of one image at each size and quality, and if you leave both to the model."""
    return {
        "image_price_list": [
            {
                "size": str(entry.size.size) if entry.size.size else None,
                "aspect_ratio": entry.size.aspect_ratio,
                "image_size": entry.size.image_size,
                "quality": entry.quality,
                **asdict(entry.price),
            }
            for entry in listed_prices(model)
        ],
        "default_image_price": {
            **asdict(image_price(model, SizeChoice())),
            "expected_usd": whole_price(model, SizeChoice()).usd,
        },
    }


def _print_page(model: ModelConfig) -> None:
    report.show(f"{model.reference}: {model.name}")
    report.show(model.description, indent=0)
    print()
    print_facts(list(_facts(model)))
    print()
    report.show("USD per image, at most:" if has_bounds(model) else "USD per image:")
    print_table(_price_table(model))
    if model.sources:
        print("\nSources:")
        for source in model.sources:
            report.show(f"- {source}")


def _facts(model: ModelConfig) -> Iterator[tuple[str, str]]:
    limits = model.input_images
    yield "Status", status_of(model)
    if model.lifecycle.since:
        yield "Since", str(model.lifecycle.since)
    if model.aliases:
        yield "Aliases", ", ".join(model.aliases)
    yield "Made from", "; ".join(_MADE_FROM[mode] for mode in model.modes)
    if limits.max_count:
        total = f", {_megabytes(limits.max_total_bytes)} together" if limits.max_total_bytes else ""
        yield "Input images", f"up to {limits.max_count}, {_megabytes(limits.max_bytes)} each{total}"
        yield "Tokens of an input image", _input_tokens(model)
    if "inpaint" in model.modes:
        yield "Mask", f"up to {_megabytes(limits.max_mask_bytes)}"
    if limits.markup:
        yield "Markup", "yes"
    yield "Images per call", str(model.max_images_per_call)
    if model.max_prompt_characters:
        yield "Prompt", f"up to {model.max_prompt_characters:,} characters"
    yield "Seed", "yes" if model.seed else "no"
    each = f", {model.preview_tokens} tokens for each that comes" if model.preview_tokens else ""
    yield "Previews", f"yes{each}" if model.previews else "no"
    yield "Sizes", sizes_of(model)
    for name, option in model.options.items():
        default = f"; your default: {model.defaults[name]}" if name in model.defaults else ""
        yield flag_of(name) or f"-o {name}", f"{_option_text(option)}{default}"
    as_of = f" of {model.prices_as_of}" if model.prices_as_of else ""
    yield f"Prices{as_of}", _prices_text(model.prices)
    for later in model.later_prices:
        yield f"Prices from {later.since}", _prices_text(later)
    yield "USD per image", price_of(model)
    if found := price_range(model):
        is_billed_so = found.basis == "exact" and model.prices.is_by_image
        yield "How exact this is", "exact, as images are billed" if is_billed_so else _HOW_EXACT[found.basis]
    left_out = image_price(model, SizeChoice())
    if left_out.basis != "unknown":
        yield "Without --size and --quality", _if_left_to_the_model(model, left_out)
    if text := text_price(model):
        yield "Text with an image", f"up to {model.max_text_tokens:,} tokens, {_usd(text, digits=4)}"


def _if_left_to_the_model(model: ModelConfig, price: ImagePrice) -> str:
    if price.usd is not None:
        return _usd(price, digits=4)
    expected = whole_price(model, SizeChoice()).usd
    return f"{'' if expected is None else f'about {expected:.4f}, '}at most {_usd(price, digits=4)}"


def _input_tokens(model: ModelConfig) -> str:
    square = input_image_tokens(model, Size(1024, 1024))
    if square.at_most is None:
        return "unknown"
    return f"{'' if square.usual is not None else 'at most '}{square.at_most:,} for 1024x1024"


def _option_text(option: Option) -> str:
    """The values of an option."""
    if isinstance(option, ChoiceOption):
        kinds = {**dict.fromkeys(option.preview, " (preview)"), **dict.fromkeys(option.experimental, " (experimental)")}
        return ", ".join(f"{value}{kinds.get(value, '')}" for value in option.values)
    if isinstance(option, TextOption):
        return f"text, up to {option.max_characters:,} characters"
    return f"{option.minimum:g} to {option.maximum:g}"


def _prices_text(prices: Prices) -> str:
    tokens = {
        "prompt": prices.text_in,
        "input images": prices.image_in,
        "text": prices.text_out,
        "images": prices.image_out,
        "cached prompt": prices.cached_text_in,
        "cached input images": prices.cached_image_in,
    }
    known = [f"{name} {price:g}" for name, price in tokens.items() if price is not None]
    parts = [f"USD per million tokens: {', '.join(known)}"] if known else []
    if prices.per_image:
        names = [f"{usd:g}" if name == "any" else f"{name} {usd:g}" for name, usd in prices.per_image.items()]
        parts.append(f"USD per image: {', '.join(names)}")
    if prices.per_megapixel is not None:
        parts.append(f"USD per megapixel: {prices.per_megapixel:g}")
    if prices.per_input_image is not None:
        parts.append(f"USD per input image: {prices.per_input_image:g}")
    parts = parts or ["unknown"]
    if prices.web_search is not None:
        parts.append(f"a web search query {prices.web_search:g}")
    shares = {"a batch": prices.batch, "flex": prices.flex}
    parts += [f"{name} costs {share:.0%} of this" for name, share in shares.items() if share is not None]
    return "; ".join(parts)


def _price_table(model: ModelConfig) -> list[dict[str, str]]:
    headings = ("Size", *(quality or "Price" for quality in qualities_of(model)))
    return [dict(zip(headings, (sizes, *prices), strict=True)) for sizes, prices in price_rows(model, digits=4)]


def has_bounds(model: ModelConfig) -> bool:
    """True if the prices of ``price_rows`` are the most that an image costs."""
    return any(entry.price.basis == "bounded" for entry in listed_prices(model))


def price_rows(model: ModelConfig, *, digits: int) -> list[tuple[str, list[str]]]:
    """What one image costs at most: for each group of sizes that cost the same, the price at each quality."""
    by_size: dict[SizeChoice, list[ListedPrice]] = {}
    for entry in listed_prices(model):
        by_size.setdefault(entry.size, []).append(entry)
    groups: dict[tuple[str, ...], list[str]] = {}
    for size, entries in by_size.items():
        name = size.image_size or str(size.size or size)
        cells = tuple(_usd(entry.price, digits=digits) for entry in entries)
        names = groups.setdefault(cells, [])
        if name not in names:
            names.append(name)
    return [(", ".join(_shortened(names)), list(cells)) for cells, names in groups.items()]


def _shortened(names: Sequence[str]) -> Sequence[str]:
    return names if len(names) <= 4 else (*names[:3], f"{len(names) - 3} more")


def _usd(price: ImagePrice, *, digits: int) -> str:
    return "unknown" if price.at_most_usd is None else f"{price.at_most_usd:.{digits}f}"


def _megabytes(size: int) -> str:
    return f"{size / 1_000_000:g} MB"
