"""Finds what would cost less: another quality or size, or fewer images. Pure, like the plan."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ..pricing.estimate import cheapest_quality, image_price, usual_choice
from ..pricing.tables import qualities_of
from ..providers.sizings import FlexibleSizing
from ..sizing import Size, SizeChoice
from .plan import Call, Plan, estimate_of

__all__ = ["CheaperChoice", "cheaper_choice", "cheaper_near_size", "named_choice"]

_NEAR = 1.125
"""By which factor each edge of a near size may differ."""

_AS_LARGE = 0.97
"""The least share of the pixels that a near size has."""

_WORTHWHILE = 0.85
"""The most that a near size costs, as a share of the price, to be worth a hint."""


@dataclass(frozen=True, slots=True)
class CheaperChoice:
    """A request that costs less.

    Attributes:
        quality: The quality to choose; None to keep it.
        n: The number of images to choose; None to keep it.
        at_most_usd: The most that it costs.
        size: The size to choose; None to keep it.
    """

    quality: str | None
    n: int | None
    at_most_usd: float
    size: Size | None = None

    def __str__(self) -> str:
        """As the command line takes it: ``--quality low``, ``-n 2``."""
        given = {"--size": self.size, "--quality": self.quality, "-n": self.n}
        return " ".join(f"{flag} {value}" for flag, value in given.items() if value is not None)


def cheaper_choice(plan: Plan, within_usd: float) -> CheaperChoice | None:
    """The dearest choice of those that cost at most so much: another quality first, then fewer images.

    Args:
        plan: What was requested.
        within_usd: The most that it may cost.
    """
    found = []
    for quality in qualities_of(plan.model):
        if quality and any(call.quality != quality for call in plan.calls):
            at_most = _at_most([_with_quality(call, quality) for call in plan.calls])
            if at_most is not None and at_most <= within_usd:
                found.append(CheaperChoice(quality, None, at_most))
    if found:
        return max(found, key=lambda choice: choice.at_most_usd)
    each = [_at_most([replace(call, n=1)]) for call in plan.calls]
    images = sum(call.n for call in plan.calls)
    if images < 2 or None in each or not (dearest := max(price or 0.0 for price in each)):
        return None
    n = min(images - 1, int(within_usd / dearest))
    return CheaperChoice(None, n, n * dearest) if n else None


def named_choice(plan: Plan) -> CheaperChoice | None:
    """The usual size and quality in the place of what is left to the model; None if that costs no less.

    With input images, the model chooses a size of their ratio, so no other is named.
    """
    call = plan.calls[0]
    given = call.quality
    size, quality = usual_choice(plan.model, call.size, given)
    if call.images:
        size = call.size
    if quality is None and (cheapest := cheapest_quality(plan.model, size)):
        quality = cheapest.quality
    if (size, quality) == (call.size, given):
        return None
    named = size.size if size != call.size else None
    return _if_cheaper(plan, named, quality if quality != given else None)


def cheaper_near_size(plan: Plan) -> CheaperChoice | None:
    """The nearest size that is hardly smaller and costs at least 15 % less; None without one, or if no size is set."""
    call = plan.calls[0]
    if call.size.size is None or call.images or not isinstance(plan.model.sizing, FlexibleSizing):
        return None
    price = image_price(plan.model, call.size, call.quality).at_most_usd
    if not price:
        return None
    for size in _near_sizes(plan.model.sizing, call.size.size):
        other = image_price(plan.model, SizeChoice(size), call.quality).at_most_usd
        if other is not None and other <= _WORTHWHILE * price:
            return _if_cheaper(plan, size, None)
    return None


def _near_sizes(sizing: FlexibleSizing, size: Size) -> list[Size]:
    """The sizes that differ little and are hardly smaller, the nearest first."""

    def near(edge: int) -> range:
        step = sizing.multiple_of
        return range(math.ceil(edge / _NEAR / step) * step, math.floor(edge * _NEAR) + 1, step)

    def distance(other: Size) -> float:
        return abs(math.log(other.width / size.width)) + abs(math.log(other.height / size.height))

    found = (Size(width, height) for width in near(size.width) for height in near(size.height))
    return sorted(
        (other for other in found if other.pixels >= _AS_LARGE * size.pixels and sizing.allows(other)), key=distance
    )


def _if_cheaper(plan: Plan, size: Size | None, quality: str | None) -> CheaperChoice | None:
    """A choice, if the most that the plan costs with it is less than without."""
    before = _at_most(list(plan.calls))
    calls = [replace(call, size=SizeChoice(size) if size else call.size) for call in plan.calls]
    after = _at_most([_with_quality(call, quality) if quality else call for call in calls])
    if before is None or after is None or round(before - after, 9) <= 0:
        return None
    return CheaperChoice(quality, None, after, size)


def _with_quality(call: Call, quality: str) -> Call:
    return replace(call, options={**call.options, "quality": quality})


def _at_most(calls: list[Call]) -> float | None:
    prices = [estimate_of(call).total.at_most_usd for call in calls]
    known = [price for price in prices if price is not None]
    return sum(known) if len(known) == len(prices) else None
