"""Chooses the size to send. Pure.

The nearest size is a matter of geometry, see ``sizing``. It is not used if it is larger than what was asked for and
costs more than the next smaller one: nobody pays for a size that they did not ask for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from ..errors import CapabilityError, InvalidRequestError
from ..pricing.estimate import image_price
from ..providers.schema import ModelConfig
from ..providers.sizings import FlexibleSizing
from ..request import GenerationRequest, OptionValue
from ..result import Notice
from ..sizing import UNSEEN_STRETCH, SizeChoice, SizeRequest
from .input_images import natural_ratio

__all__ = ["choose_size"]

_AS_ASKED = 1.1
"""By which factor the edge of a size may exceed the edge that was asked for and still be what was asked for: 2752x1536
for 2560x1440."""

_MAX_EDGE = 65_535
"""In pixels: the longest edge of a JPEG."""

_MAX_RATIO = 100
"""Of the longer to the shorter edge."""

_MIN_NAMED_EDGE = 64
"""In pixels. A smaller image size, such as 4, means something else: 4K."""


def choose_size(
    request: GenerationRequest, model: ModelConfig, options: Mapping[str, OptionValue]
) -> tuple[SizeChoice, list[Notice]]:
    """The size to send, and notices if it is not what was asked for.

    Args:
        request: The request.
        model: The model, with the prices of the day.
        options: The options that are sent, since the quality decides the price.

    Raises:
        InvalidRequestError: The size is one that no model could make, or two sizes are given.
        CapabilityError: The image to edit inside a mask has a ratio that the model cannot make.
    """
    if request.size and (request.aspect_ratio or request.image_size):
        raise InvalidRequestError(
            "A size cannot be combined with an aspect ratio or an image size.", remedy="Use one or the other."
        )
    wanted = SizeRequest(
        size=request.size,
        aspect_ratio=request.aspect_ratio,
        image_size=request.image_size or None,
        natural_ratio=natural_ratio(request),
    )
    _refuse_absurd(wanted, model)
    _refuse_stretched(request, wanted, model)
    nearest, *others = model.sizing.nearest(wanted)
    choice = nearest
    if not wanted.is_met_by(nearest) and _excess(nearest, wanted) > _AS_ASKED:
        quality = options.get("quality")
        costs = _costs(model, (nearest, *others), None if quality is None else str(quality))
        choice = next((other for other in others if costs[other] < costs[nearest]), nearest)
    notices = []
    # The host scales the result of an edit to the image; so does the service with a mask.
    used = "requested" if request.init_image else "used"
    scaled = " The result is scaled to the size of the image to edit." if request.mask else ""
    if not wanted.is_met_by(choice):
        instead = "the model chooses the size" if choice == SizeChoice() else f"{choice} is {used} instead"
        dearer = "" if choice == nearest else f", since {nearest} costs more"
        what = f"{model.name} does not support {wanted}; {instead}{dearer}.{scaled}"
        notices.append(Notice("size_changed", what))
    elif not wanted.keeps_natural_ratio(choice):
        what = f"{model.name} has no size with the ratio of the image to edit; {choice} is {used} instead.{scaled}"
        notices.append(Notice("size_changed", what))
    if _is_experimental(model, choice):
        notices.append(Notice("experimental_size", f"{choice} is experimental on {model.name}: results may vary."))
    return choice, notices


def _refuse_absurd(wanted: SizeRequest, model: ModelConfig) -> None:
    if wanted.is_open:
        return
    size = wanted.in_pixels()
    longer, shorter = max(size.width, size.height), min(size.width, size.height)
    is_too_small = wanted.image_size is not None and wanted.edge < _MIN_NAMED_EDGE
    if longer <= _MAX_EDGE and longer <= _MAX_RATIO * shorter and not is_too_small:
        return
    raise InvalidRequestError(
        f"{wanted} is not a size that {model.name} can make.", remedy=_possible_sizes(model) or "Choose another size."
    )


def _possible_sizes(model: ModelConfig) -> str | None:
    """A sentence about the sizes that a model can make; None if it has no sizes."""
    rule = model.sizing
    if isinstance(rule, FlexibleSizing):
        return (
            f"Its sizes have {rule.min_pixels:,} to {rule.max_pixels:,} pixels, edges up to {rule.max_edge} pixels and "
            f"ratios from {rule.min_ratio} to {rule.max_ratio}."
        )
    offered = (choice.nominal for choice in rule.presets())
    sizes = sorted(filter(None, offered), key=lambda each: each.pixels)
    return f"Its smallest size is {sizes[0]}, its largest {sizes[-1]}." if sizes else None


def _refuse_stretched(request: GenerationRequest, wanted: SizeRequest, model: ModelConfig) -> None:
    """Refuse to edit a part of an image whose ratio is outside a model's rule: what is new would be stretched."""
    rule, ratio = model.sizing, wanted.natural_ratio
    if not request.mask or ratio is None or not isinstance(rule, FlexibleSizing):
        return
    seen = 1 + UNSEEN_STRETCH
    if rule.min_ratio.value / seen <= ratio <= rule.max_ratio.value * seen:
        return
    raise CapabilityError(
        f"{model.name} supports aspect ratios from {rule.min_ratio} to {rule.max_ratio}, and the image to edit is "
        f"{'wider' if ratio > 1 else 'taller'}.",
        remedy="Crop the image, or extend it less.",
    )


def _excess(choice: SizeChoice, wanted: SizeRequest) -> float:
    """By which factor the edge of a square of the choice's area exceeds that of what was asked for."""
    if wanted.size and choice.nominal:
        return math.sqrt(choice.nominal.pixels / wanted.size.pixels)
    return choice.edge / wanted.edge


def _costs(model: ModelConfig, choices: tuple[SizeChoice, ...], quality: str | None) -> dict[SizeChoice, float]:
    """What an image of each size costs; if any price is unknown, their areas, since larger images cost more."""
    prices = {choice: image_price(model, choice, quality).at_most_usd for choice in choices}
    known = {choice: price for choice, price in prices.items() if price is not None}
    return known if len(known) == len(prices) else {choice: choice.edge for choice in choices}


def _is_experimental(model: ModelConfig, choice: SizeChoice) -> bool:
    limit = model.sizing.experimental_above if isinstance(model.sizing, FlexibleSizing) else None
    return limit is not None and choice.size is not None and choice.size.pixels > limit
