"""Shows what a plan will cost, to people and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ..planning.plan import Plan
from ..pricing.estimate import cheapest_quality, image_price
from ..pricing.tables import qualities_of
from ..sizing import DEFAULT_EDGE, Size, SizeChoice

__all__ = ["estimate_object", "estimate_text"]


_USUAL = Size(DEFAULT_EDGE, DEFAULT_EDGE)


def estimate_object(plan: Plan) -> dict[str, Any]:
    """The estimate for programs: ``usd`` is what is usual, ``at_most_usd`` the most; each is null if it is unknown."""
    estimate, as_of = plan.estimate, plan.model.prices_as_of
    return {
        **asdict(estimate.total),
        "parts": [{"name": part.name, **asdict(part.price)} for part in estimate.parts],
        "prices_as_of": as_of and str(as_of),
    }


def estimate_text(plan: Plan) -> str:
    """The estimate for people, in one sentence or two."""
    estimate = plan.estimate
    images, total = estimate.part("images"), estimate.total
    if images.at_most_usd is None:
        return "Estimated cost: unknown."
    is_fixed = images.usd == images.at_most_usd
    text = f"Estimated cost: {'' if is_fixed else 'at most '}${images.at_most_usd:.4f} for {_number(plan)}"
    in_total = "an unknown amount" if total.at_most_usd is None else f"at most ${total.at_most_usd:.4f}"
    day = f" (prices of {plan.model.prices_as_of})" if plan.model.prices_as_of else ""
    return f"{text}, {in_total} in total{day}.{_cheapest(plan, images.at_most_usd)}"


def _number(plan: Plan) -> str:
    n = sum(call.n for call in plan.calls)
    return "the image" if n == 1 else f"{n} images"


def _cheapest(plan: Plan, most: float) -> str:
    """A sentence on the usual size and the cheapest quality, as far as you set neither; empty if neither helps.

    With input images, the model chooses a size of their ratio, so no other is suggested.
    """
    call = plan.calls[0]
    is_open = call.size.size is None and not call.images and plan.model.sizing.allows(_USUAL)
    size = SizeChoice(_USUAL) if is_open else call.size
    given = call.options.get("quality")
    found = None if given else cheapest_quality(plan.model, size)
    flags = [f"--size {_USUAL}"] if is_open else []
    if found:
        flags.append(f"--quality {found.quality}")
    price = found.price if found else image_price(plan.model, size, None if given is None else str(given))
    if not flags or not qualities_of(plan.model)[0] or price.at_most_usd is None or call.keeps_file:
        return ""
    usd = price.at_most_usd * sum(call.n for call in plan.calls)
    if round(most - usd, 9) <= 0:
        return ""
    return f" With {' '.join(flags)}, at most ${usd:.4f} for {_number(plan)}."
