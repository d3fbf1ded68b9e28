"""What a request may cost, and the sentences about the limits. Pure: the record checks what depends on other calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import TypeGuard

from ..errors import BudgetExceededError, InvalidRequestError, Remedy
from ..planning.cheaper import CheaperChoice, cheaper_choice
from ..planning.plan import Plan
from ..request import GenerationRequest
from ..result import Notice
from ..spending.amounts import nano, shown_usd, usd
from ..spending.limits import Budgets, Limit, Refusal, budgets_of
from ..spending.record import Warned
from ..spending.recorded_call import Payer, PlannedCall, Settlement
from ..untrusted_text import quoted

__all__ = ["Purse", "check_request", "checked_purse", "checked_request", "limit_exceeded", "overrun", "warning"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Purse:
    """Who pays for a request, and what it may cost.

    Attributes:
        payer: On whose account it is made.
        max_cost_usd: The most that it may cost; None for what the budgets allow.
        allow_unknown_price: Make it even if its price is unknown and a limit applies.
        may_wait: Wait for calls in progress of this program whose end could leave enough, for ``budgets.wait_s``.
        withdraw: Given for a request before its turn, and called in a thread if a limit refuses it. If it returns True,
            the request ends at once, its refusal is not recorded, and it is made again at its turn. False if its turn
            has come.

    Raises:
        InvalidRequestError: The payer or the amount is not valid.
    """

    payer: Payer = field(default_factory=Payer)
    max_cost_usd: float | None = None
    allow_unknown_price: bool = False
    may_wait: bool = False
    withdraw: Callable[[], bool] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.payer, Payer):
            raise _wrong("payer", "a Payer", self.payer)
        for name in ("host", "user", "board_id", "board", "tag"):
            value: object = getattr(self.payer, name)
            if value is not None and not isinstance(value, str):
                raise _wrong(f"payer.{name}", "text", value)
        most: object = self.max_cost_usd
        if most is not None and not (_is_number(most) and 0 <= most < inf):
            raise _wrong("max_cost_usd", "an amount in USD, such as 0.5", most)


def checked_request(request: object) -> GenerationRequest:
    """The request; raises InvalidRequestError if it is something else."""
    if isinstance(request, GenerationRequest):
        return request
    raise InvalidRequestError(
        f"The request must be a GenerationRequest, not {type(request).__name__}.",
        remedy='Write it like: GenerationRequest(prompt="a red fox")',
    )


def checked_purse(purse: object) -> Purse:
    """The purse of a request, by default one that nothing is said of; raises InvalidRequestError for anything else."""
    if purse is None or isinstance(purse, Purse):
        return purse or Purse()
    raise InvalidRequestError(
        f"purse must be a Purse, not {type(purse).__name__}.", remedy="Write it like: Purse(max_cost_usd=0.5)"
    )


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _wrong(name: str, wanted: str, value: object) -> InvalidRequestError:
    return InvalidRequestError(
        f"{name} must be {wanted}, not {quoted(str(value))}.", remedy=f"Correct {name}, then try again."
    )


def check_request(plan: Plan, calls: Sequence[PlannedCall], budgets: Budgets, purse: Purse) -> None:
    """Check what a request may cost on its own.

    Raises:
        BudgetExceededError: An image could cost more than an image may, or all more than the request may; or what it
            costs is not known, and a limit applies.
    """
    model = plan.model
    each = [call.at_most for call in calls]
    known = [amount for amount in each if amount is not None]
    if len(known) < len(each):
        names = budgets_of(budgets, provider=model.provider, model=model.reference, user=purse.payer.user)
        has_limit = names or budgets.max_per_image_usd is not None or purse.max_cost_usd is not None
        if not has_limit or purse.allow_unknown_price or budgets.unknown_price == "allow":
            return
        raise BudgetExceededError(
            f"What an image of {model.name} costs is not known, and a limit applies to it.",
            remedy="To make it all the same, set budgets.unknown_price to allow in invokeai_external.yaml.",
            provider=model.provider,
            model=model.id,
            limit="unknown_price",
        )
    dearest = max(-(-amount // call.n) for call, amount in zip(calls, known, strict=True))
    _check_amount(plan, "max_per_image", f"An image of {model.name}", dearest, budgets.max_per_image_usd, len(calls))
    _check_amount(plan, "max_cost", "This request", sum(known), purse.max_cost_usd, 1)


def _check_amount(plan: Plan, name: str, what: str, could: int, most_usd: float | None, images: int) -> None:
    most = nano(most_usd)
    if most is None or could <= most:
        return
    cheaper = cheaper_choice(plan, (most_usd or 0.0) * images)
    advice = _less(cheaper).strip() or "Choose a cheaper model, or raise the limit."
    raise BudgetExceededError(
        f"{what} could cost up to {shown_usd(could)}, and the limit is {shown_usd(most)}.",
        remedy=Remedy(advice, "raise_limit", setting=name),
        provider=plan.model.provider,
        model=plan.model.id,
        limit=name,
        limit_usd=usd(most) or 0.0,
        could_cost_usd=usd(could),
        cheaper=str(cheaper) if cheaper else None,
    )


def limit_exceeded(plan: Plan, refusal: Refusal) -> BudgetExceededError:
    """The error for a request that could exceed a limit."""
    limit, amounts = refusal.limit, refusal.amounts
    left = max(0, limit.amount - amounts.used)
    cheaper = cheaper_choice(plan, usd(left) or 0.0)
    parts = [f"{shown_usd(left)} of {shown_usd(limit.amount)} is left"]
    if amounts.unconfirmed:
        parts.append(f"{shown_usd(amounts.unconfirmed)} may have been charged")
    if amounts.reserved:
        parts.append(f"{shown_usd(amounts.reserved)} is in progress")
    raise_it = f"{'Or raise' if cheaper else 'Raise'} {limit.name}"
    return BudgetExceededError(
        f"This could cost up to {shown_usd(refusal.could_cost)}, and {_named(limit)} does not allow it: "
        f"{', '.join(parts)}.",
        remedy=Remedy(
            f"{_less(cheaper)}{raise_it}, which starts again at {refusal.resets_at:%Y-%m-%d %H:%M}.",
            "raise_limit",
            setting=limit.name,
        ),
        provider=plan.model.provider,
        model=plan.model.id,
        limit=limit.name,
        limit_usd=usd(limit.amount) or 0.0,
        used_usd=usd(amounts.used) or 0.0,
        unconfirmed_usd=usd(amounts.unconfirmed) or 0.0,
        in_progress_usd=usd(amounts.reserved) or 0.0,
        could_cost_usd=usd(refusal.could_cost),
        resets_at=refusal.resets_at.isoformat(),
        cheaper=str(cheaper) if cheaper else None,
    )


def warning(warned: Warned) -> Notice:
    """The notice that most of a limit is used."""
    limit, used = warned.limit, warned.amounts.used
    what = f"With this run, up to {shown_usd(used)} of {shown_usd(limit.amount)} is used: {_named(limit)}."
    return Notice("budget_warning", what)


def overrun(planned: PlannedCall, end: Settlement) -> Notice | None:
    """The notice that a call cost more than the most that was expected; it counts in full."""
    if end.cost is None or planned.at_most is None or end.cost <= planned.at_most:
        return None
    return Notice(
        "cost_overrun",
        f"{planned.reference} cost {shown_usd(end.cost)}, and at most {shown_usd(planned.at_most)} was expected. "
        "All of it counts towards your limits.",
    )


def _less(choice: CheaperChoice | None) -> str:
    return f"Choose {choice}: up to {shown_usd(nano(choice.at_most_usd) or 0)}. " if choice else ""


def _named(limit: Limit) -> str:
    """A limit as it is shown: the limit of the day for openai."""
    of = f" for {limit.who}" if limit.who else ""
    return f"the limit of the {limit.period}{of}"
