"""Finds what would cost less: another quality, or fewer images. Pure, like the plan."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..pricing.tables import qualities_of
from .plan import Call, Plan, estimate_of

__all__ = ["CheaperChoice", "cheaper_choice"]


@dataclass(frozen=True, slots=True)
class CheaperChoice:
    """A request that costs less.

    Attributes:
        quality: The quality to choose; None to keep it.
        n: The number of images to choose; None to keep it.
        at_most_usd: The most that it costs.
    """

    quality: str | None
    n: int | None
    at_most_usd: float

    def __str__(self) -> str:
        """As the command line takes it: ``--quality low``, ``-n 2``."""
        return f"--quality {self.quality}" if self.quality else f"-n {self.n}"


def cheaper_choice(plan: Plan, within_usd: float) -> CheaperChoice | None:
    """The dearest choice of those that cost at most so much: another quality first, then fewer images.

    Args:
        plan: What was requested.
        within_usd: The most that it may cost.
    """
    found = []
    for quality in qualities_of(plan.model):
        if quality and any(call.options.get("quality") != quality for call in plan.calls):
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


def _with_quality(call: Call, quality: str) -> Call:
    return replace(call, options={**call.options, "quality": quality})


def _at_most(calls: list[Call]) -> float | None:
    prices = [estimate_of(call).total.at_most_usd for call in calls]
    known = [price for price in prices if price is not None]
    return sum(known) if len(known) == len(prices) else None
