"""Shows what a plan will cost, to people and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ..planning.cheaper import cheaper_near_size, named_choice
from ..planning.plan import Plan

__all__ = ["estimate_object", "estimate_text"]


def estimate_object(plan: Plan) -> dict[str, Any]:
    """The estimate for programs, in USD; what is unknown is null.

    ``expected_usd`` is what to expect, ``at_most_usd`` the most. ``usd`` is null if it depends on what the model
    chooses.
    """
    estimate, as_of = plan.estimate, plan.model.prices_as_of
    return {
        "expected_usd": plan.expected_usd,
        **asdict(estimate.total),
        "parts": [{"name": part.name, **asdict(part.price)} for part in estimate.parts],
        "prices_as_of": as_of and str(as_of),
    }


def estimate_text(plan: Plan) -> str:
    """The estimate for people, in one sentence or some more."""
    estimate = plan.estimate
    images, total = estimate.part("images"), estimate.total
    if images.at_most_usd is None:
        return "Estimated cost: unknown."
    expected = plan.expected_usd if images.usd is None else images.usd
    text = f"at most ${images.at_most_usd:.4f}" if expected is None else f"${expected:.4f}"
    if expected is not None and images.usd != images.at_most_usd:
        text = f"about {text}"
    in_total = "an unknown amount" if total.at_most_usd is None else f"at most ${total.at_most_usd:.4f}"
    day = f" (prices of {plan.model.prices_as_of})" if plan.model.prices_as_of else ""
    return f"Estimated cost: {text} for {_number(plan)}, {in_total} in total{day}.{_searches(plan)}{_cheaper(plan)}"


def _number(plan: Plan) -> str:
    n = sum(call.n for call in plan.calls)
    return "the image" if n == 1 else f"{n} images"


def _searches(plan: Plan) -> str:
    """A sentence on the web searches, if there may be some: nobody publishes how many there are."""
    if all(part.name != "web_search" for part in plan.estimate.parts):
        return ""
    price = plan.model.prices.web_search
    each = "" if price is None else f" Each costs ${price:g}, above a free allowance."
    return f" The model may search the web as often as it likes.{each}"


def _cheaper(plan: Plan) -> str:
    """A sentence for each choice that costs less: of what is left to the model, and of a near size."""
    choices = (named_choice(plan), cheaper_near_size(plan))
    return "".join(f" With {choice}: up to ${choice.at_most_usd:.4f}." for choice in choices if choice)
