"""What OpenRouter's list of image models says of a model, as the raw fields of a ``ModelConfig``. Pure.

The list says what any endpoint of a model supports; the page of a model has its endpoints, each of a maker or a host,
with what it supports and its prices. OpenRouter sends a request to an endpoint that supports all of it. What is not
understood is ignored; a price that is not the same at each endpoint is unknown.

Source: OpenRouter's guide, the types of the official SDK (openrouter 1.3.84), and lists that third parties recorded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from ..errors import InvalidRequestError
from ..sizing import AspectRatio, image_size_edge
from ..untrusted_number import number, whole_number
from ..untrusted_text import NAME, fit_to_show
from .fields import mapping, mappings, text_of

__all__ = ["listed_models", "model_fields"]

_ID = re.compile(r"[a-z0-9~][\w.-]{0,63}/[\w.:-]{1,95}", re.ASCII | re.IGNORECASE)
"""The id of a model: its author and its name. It becomes a part of a URL."""

_VALUE = re.compile(r"[\w.-]{1,40}", re.ASCII)

_CHOICES = ("quality", "background", "output_format")

_MOST_IMAGES = 10
_MOST_INPUT_IMAGES = 100
_MAX_USD = 1_000
_LONGEST_DESCRIPTION = 300


def listed_models(body: object) -> dict[str, Mapping[str, Any]]:
    """What the list says of each model that makes images, by its id, the newest first; empty if there is no list."""
    entries = [entry for entry in mappings(mapping(body).get("data")) if _makes_images(entry)]
    entries.sort(key=lambda entry: whole_number(entry.get("created"), 0, 1 << 40) or 0, reverse=True)
    return {str(entry["id"]): entry for entry in entries}


def _makes_images(entry: Mapping[str, Any]) -> bool:
    model_id, made = entry.get("id"), mapping(entry.get("architecture")).get("output_modalities")
    return isinstance(model_id, str) and bool(_ID.fullmatch(model_id)) and (made is None or "image" in _texts(made))


def model_fields(listed: Mapping[str, Any], page: object) -> dict[str, Any] | None:
    """The raw fields of a model; None if it cannot be used.

    Args:
        listed: What the list says of it.
        page: Its page; anything else if there is no page.
    """
    endpoints = mappings(mapping(page).get("endpoints"))
    supported = [mapping(one.get("supported_parameters")) for one in endpoints or [listed]]
    options = _options(supported)
    formats = mapping(options.get("output_format")).get("values")
    sent = _span(supported, "input_references")
    if not _takes_images(listed):
        sent = (0, 0)
    least, most = sent or (0, 0)
    # Of an SVG, the program must know before. A model that needs several images has no name here.
    if formats == ["svg"] or least > 1 or least > most:
        return None
    ratios = _named(supported, "aspect_ratio", AspectRatio.parse)
    image_sizes = _named(supported, "resolution", image_size_edge)
    name = fit_to_show(listed.get("name"), NAME) or str(listed.get("id"))
    made_at_once = _span(supported, "n") or (1, 1)
    return {
        "name": name,
        "description": _description(listed),
        "modes": [*(["txt2img"] if least == 0 else []), *(["img2img"] if most else [])],
        "input_images": {"max_count": min(most, _MOST_INPUT_IMAGES)},
        "max_images_per_call": max(1, min(made_at_once[1], _MOST_IMAGES)),
        "seed": any(mapping(each.get("seed")).get("type") == "boolean" for each in supported),
        "previews": any(one.get("supports_streaming") is True for one in endpoints or [listed]),
        "sizing": {"kind": "named", "ratios": ratios, "image_sizes": image_sizes},
        "options": options,
        "prices": _prices([mappings(one.get("pricing")) for one in endpoints], image_sizes),
    }


def _description(listed: Mapping[str, Any]) -> str:
    text = fit_to_show(listed.get("description"), _LONGEST_DESCRIPTION)
    if text and not text.endswith((".", "!", "?", "…")):
        text += "."
    return f"{text} Images are billed by OpenRouter.".lstrip()


def _takes_images(listed: Mapping[str, Any]) -> bool:
    taken = mapping(listed.get("architecture")).get("input_modalities")
    return taken is None or "image" in _texts(taken)


def _texts(value: object) -> list[str]:
    return [text for item in value if (text := text_of(item))] if isinstance(value, list) else []


def _values(supported: Sequence[Mapping[str, Any]], name: str) -> list[str]:
    """The values that any endpoint has, in their order."""
    descriptors = (mapping(each.get(name)) for each in supported)
    found = (_texts(each.get("values")) for each in descriptors if each.get("type") == "enum")
    return [value for value in dict.fromkeys(value for values in found for value in values) if len(value) <= 40]


def _span(supported: Sequence[Mapping[str, Any]], name: str) -> tuple[int, int] | None:
    """From the lowest number to the highest that any endpoint has; None if no endpoint has it."""
    descriptors = (mapping(each.get(name)) for each in supported)
    spans = [
        (low, high)
        for each in descriptors
        if each.get("type") == "range"
        and (low := whole_number(each.get("min"), 0, 1 << 31)) is not None
        and (high := whole_number(each.get("max"), 0, 1 << 31)) is not None
    ]
    return (min(low for low, _ in spans), max(high for _, high in spans)) if spans else None


def _named(supported: Sequence[Mapping[str, Any]], name: str, parse: Callable[[str], object]) -> list[str]:
    """The names of ratios or of image sizes that can be parsed: not ``auto``, which is sent as nothing, nor 9:19.5."""
    found = []
    for value in _values(supported, name):
        with suppress(InvalidRequestError):
            parse(value)
            found.append(value)
    return found


def _options(supported: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for name in _CHOICES:
        values = [value for value in _values(supported, name) if _VALUE.fullmatch(value)]
        if set(values) - {"auto"}:
            options[name] = {"values": values}
    formats = mapping(options.get("output_format")).get("values", ())
    span = _span(supported, "output_compression")
    if span and {"jpeg", "webp"} & set(formats):
        options["output_compression"] = {"minimum": span[0], "maximum": span[1], "whole": True}
    return options


_Line = tuple[str, str, str]
"""What is billed, by which unit, and of which variant; an empty text for all."""


def _prices(pricing: Sequence[Sequence[Mapping[str, Any]]], image_sizes: Sequence[str]) -> dict[str, Any]:
    """The prices that are the same at each endpoint; empty if one of them is not understood."""
    tables = [_table(lines) for lines in pricing]
    known = [table for table in tables if table is not None]
    if not known or len(known) < len(tables):
        return {}
    same = {line: usd for line, usd in known[0].items() if all(table.get(line) == usd for table in known)}
    differ = {line for table in known for line in table} - same.keys()
    of_images = {line: usd for line, usd in same.items() if line[0] == "output_image"}
    by_token = {unit for _, unit, _ in of_images} == {"token"}
    # Without their price, input tokens of a model with a price by image would count as free.
    if any(line[0] == "output_image" or not by_token for line in differ):
        return {}
    prices = _image_prices(of_images, image_sizes)
    fields = {("input_text", "token"): "text_in", ("input_image", "token"): "image_in"}
    for (what, unit, variant), usd in same.items() if prices else ():
        if what == "output_image":
            continue
        if (what, unit, variant) == ("input_image", "image", ""):
            prices["per_input_image"] = usd
        elif field := fields.get((what, unit)) if not variant else None:
            prices[field] = _per_million(usd)
        else:
            return {}
    return prices


def _table(lines: Sequence[Mapping[str, Any]]) -> dict[_Line, float] | None:
    """The prices of an endpoint by what they are of; None if one of them is not a price, or is there twice."""
    table: dict[_Line, float] = {}
    for line in lines:
        what, unit, variant = (line.get(name) for name in ("billable", "unit", "variant"))
        usd = number(line.get("cost_usd"), 0, _MAX_USD)
        if what == "input_font":
            # No font is sent.
            continue
        key = ("input_image" if what == "input_reference" else str(what), str(unit), str(variant or "").lower())
        if usd is None or key in table:
            return None
        table[key] = usd
    return table


def _image_prices(lines: Mapping[_Line, float], image_sizes: Sequence[str]) -> dict[str, Any]:
    """The prices of finished images; empty if they are not understood."""
    by_variant = {variant: usd for (_, _, variant), usd in lines.items()}
    units = {unit for _, unit, _ in lines}
    if list(by_variant) == [""] and len(units) == 1:
        [unit], usd = units, by_variant[""]
        match unit:
            case "token":
                return {"image_out": _per_million(usd)}
            case "image":
                return {"per_image": {"any": usd}}
            case "megapixel":
                return {"per_megapixel": usd}
        return {}
    if units != {"image"} or not all(map(_is_image_size, by_variant)):
        return {}
    table = {name: by_variant[name.lower()] for name in image_sizes if name.lower() in by_variant}
    return {"per_image": table} if table else {}


def _is_image_size(name: str) -> bool:
    try:
        image_size_edge(name)
    except InvalidRequestError:
        return False
    return True


def _per_million(usd: float) -> float:
    """A price of a token as one of a million; binary fractions are hidden."""
    return round(usd * 1_000_000, 9)
