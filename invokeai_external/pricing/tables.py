"""Finds the entries of a table by size and quality: tokens or prices of one image, as the catalogue has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from ..providers.schema import ChoiceOption, ModelConfig
from ..providers.sizings import FlexibleSizing, NamedSizing, PresetSizing
from ..sizing import SizeChoice

__all__ = ["entries", "entry", "possible_sizes", "qualities_of"]

_Value = TypeVar("_Value", int, float)


def qualities_of(model: ModelConfig) -> tuple[str | None, ...]:
    """The qualities that a model can choose from if you do not set one; a single None for a model without them."""
    option = model.options.get("quality")
    values = option.values if isinstance(option, ChoiceOption) else ()
    return tuple(value for value in values if value != "auto") or (None,)


def entry(table: Mapping[str, _Value], model: ModelConfig, size: SizeChoice, quality: str | None) -> _Value | None:
    """The entry for an image of a size and quality; None if the table does not name it.

    The first of these names counts: the image size that is sent (``2K``), the quality and the size in pixels
    (``high 1024x1024``), the size in pixels, ``any``.
    """
    named = _image_size(model, size)
    names: list[str] = [named] if named else []
    if size.size:
        names += [f"{quality} {size.size}", str(size.size)]
    return next((table[name] for name in (*names, "any") if name in table), None)


def entries(
    table: Mapping[str, _Value], model: ModelConfig, size: SizeChoice, quality: str | None
) -> Sequence[_Value | None]:
    """The entries for all sizes and qualities that an image may have: what is not sent, the model chooses."""
    qualities = (quality,) if quality else qualities_of(model)
    return [entry(table, model, each, one) for one in qualities for each in possible_sizes(model, size)]


def possible_sizes(model: ModelConfig, size: SizeChoice) -> Sequence[SizeChoice]:
    """The size that is sent, or those among which the model chooses, as far as they can be listed."""
    if size.size or isinstance(model.sizing, FlexibleSizing):
        return (size,)
    name = _image_size(model, size)
    if isinstance(model.sizing, NamedSizing):
        # Which of the names is the default is not published.
        return (size,) if name or not model.sizing.image_sizes else model.sizing.presets()
    return [choice for choice in model.sizing.presets() if choice.image_size in (None, name)] or (
        replace(size, image_size=name),
    )


def _image_size(model: ModelConfig, size: SizeChoice) -> str | None:
    """The named image size that the model gets; None for a model that gets its sizes in pixels."""
    if isinstance(model.sizing, NamedSizing):
        return size.image_size
    if not isinstance(model.sizing, PresetSizing):
        return None
    # If no image size is sent, the default is 1K (types of google-genai 3.4.0).
    return size.image_size or "1K"
