"""The limits that apply to a call, and what counts against them."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from .amounts import nano
from .calendar_days import Period, is_time_zone

__all__ = [
    "FIELDS",
    "Amounts",
    "Budget",
    "Budgets",
    "Limit",
    "LimitExceededError",
    "RaisedBudget",
    "Refusal",
    "Scope",
    "UnknownPrice",
    "budgets_of",
    "every_limit",
    "limits_of",
]

Scope = Literal["total", "provider", "model", "user"]
"""What a limit is about."""

UnknownPrice = Literal["refuse", "allow", "ask"]
"""What to do with a call that may cost anything, where a limit applies."""

Dollars = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]

FIELDS: dict[Period, str] = {"day": "day_usd", "month": "month_usd"}
"""The field of a budget by the period that it limits."""

_FROZEN = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class RaisedBudget(BaseModel):
    """Other limits for a while.

    Attributes:
        day_usd: The most in a day; None if that is not changed.
        month_usd: The most in a month; None if that is not changed.
        until: The last day on which they hold.
    """

    model_config = _FROZEN

    day_usd: Dollars | None = None
    month_usd: Dollars | None = None
    until: datetime.date


class Budget(BaseModel):
    """What may be spent in a day and in a month.

    Attributes:
        day_usd: The most in a day, in USD; None for no limit.
        month_usd: The most in a month; None for no limit.
        raised: Other limits for a while.
        warn_at: The share of a limit from which on you are warned, once in each period.
    """

    model_config = _FROZEN

    day_usd: Dollars | None = None
    month_usd: Dollars | None = None
    raised: RaisedBudget | None = None
    warn_at: float = Field(default=0.8, gt=0, le=1)

    def amount(self, period: Period, today: datetime.date) -> int | None:
        """The limit of a period in nano-dollars; None for no limit."""
        field = FIELDS[period]
        return nano(getattr(self.raised if self.raised_until(period, today) else self, field))

    def raised_until(self, period: Period, today: datetime.date) -> datetime.date | None:
        """The last day of the other limit of a period that holds today; None if only the usual one holds."""
        raised = self.raised
        holds = raised and today <= raised.until and getattr(raised, FIELDS[period]) is not None
        return raised.until if raised and holds else None


class Budgets(BaseModel):
    """The limits on what is spent: the ``budgets:`` of ``invokeai_external.yaml``. By default there are no limits.

    Attributes:
        timezone: The time zone of the days, such as ``Europe/Berlin``; None for that of this computer.
        total: The limits on everything together.
        providers: Those by the provider's id.
        models: Those by ``provider/model-id``.
        users: Those by the user's name in Invoke; ``default`` are those of each user who has no others.
        max_per_image_usd: The most that an image may cost.
        unknown_price: What to do with a call whose price is unknown, where a limit applies: ``ask`` asks on a terminal,
            and else refuses.
        wait_s: In Invoke, how many seconds a run waits at most for calls in flight whose end could make room.
    """

    model_config = _FROZEN

    timezone: str | None = None
    total: Budget | None = None
    providers: dict[str, Budget] = Field(default_factory=dict)
    models: dict[str, Budget] = Field(default_factory=dict)
    users: dict[str, Budget] = Field(default_factory=dict)
    max_per_image_usd: Dollars | None = None
    unknown_price: UnknownPrice = "ask"
    wait_s: float = Field(default=120, ge=0, le=3600)

    @field_validator("timezone")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        if name is not None and not is_time_zone(name):
            raise ValueError("this computer knows no such time zone")
        return name

    @property
    def are_set(self) -> bool:
        """True if there is a limit."""
        return bool(self.total or self.providers or self.models or self.users or self.max_per_image_usd is not None)


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit that applies to a call.

    Attributes:
        name: As ``budget set`` takes it: ``total.day``, ``models.openai/gpt-image-2.month``.
        scope: What it is about.
        who: The provider, the model or the user; empty for the total.
        period: For how long.
        amount: The most, in nano-dollars.
        warn_at: The share of it from which on you are warned.
        until: The last day on which it has this amount; None for ever.
    """

    name: str
    scope: Scope
    who: str
    period: Period
    amount: int
    warn_at: float
    until: datetime.date | None = None


@dataclass(frozen=True, slots=True)
class Amounts:
    """What counts against a limit, in nano-dollars.

    Attributes:
        charged: What was charged.
        unconfirmed: What may have been charged, at the most that it can be.
        reserved: What calls in progress may cost at most.
    """

    charged: int = 0
    unconfirmed: int = 0
    reserved: int = 0

    @property
    def used(self) -> int:
        """All of it."""
        return self.charged + self.unconfirmed + self.reserved


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why calls may not be made.

    Attributes:
        limit: The limit that they would exceed.
        amounts: What counts against it.
        could_cost: What the calls could cost together, in nano-dollars.
        resets_at: When the limit starts again.
    """

    limit: Limit
    amounts: Amounts
    could_cost: int
    resets_at: datetime.datetime


class LimitExceededError(Exception):
    """Calls could exceed a limit, so they may not be made."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.limit.name)
        self.refusal = refusal


def budgets_of(
    budgets: Budgets, *, provider: str, model: str, user: str | None
) -> tuple[tuple[str, Scope, str, Budget], ...]:
    """The budgets that apply to a call: of each its name, its scope, whom it is for, and itself.

    Args:
        budgets: All budgets.
        provider: The provider's id.
        model: The model's reference, ``provider/model-id``.
        user: The user's name in Invoke; None where there are no users.
    """
    own = user if user in budgets.users else "default"
    named: tuple[tuple[str, Scope, str, Budget | None], ...] = (
        ("total", "total", "", budgets.total),
        (f"providers.{provider}", "provider", provider, budgets.providers.get(provider)),
        *(
            (f"models.{name}", "model", name, found)
            for name, found in budgets.models.items()
            if _is_or_dates(model, name)
        ),
        (f"users.{own}", "user", user or "", None if user is None else budgets.users.get(own or "")),
    )
    return tuple((name, scope, who, budget) for name, scope, who, budget in named if budget)


def _is_or_dates(model: str, name: str) -> bool:
    """True if a model is the one with this name, or a dated snapshot of it: ``gpt-image-2-2026-09-08``."""
    return model == name or re.match(r"-\d", model.removeprefix(name)) is not None


def limits_of(
    budgets: Budgets, *, provider: str, model: str, user: str | None, today: datetime.date
) -> tuple[Limit, ...]:
    """The limits that apply to a call, as ``budgets_of`` finds them; ``today`` decides whether they are raised."""
    return _limits(budgets_of(budgets, provider=provider, model=model, user=user), today)


def every_limit(budgets: Budgets, today: datetime.date) -> tuple[Limit, ...]:
    """All limits that are set; that of each user without another one, ``users.default``, is about nobody."""
    total = (("total", "total", "", budgets.total),) if budgets.total else ()
    scopes: tuple[tuple[str, Scope, Mapping[str, Budget]], ...] = (
        ("providers", "provider", budgets.providers),
        ("models", "model", budgets.models),
        ("users", "user", budgets.users),
    )
    named = tuple(
        (f"{section}.{who}", scope, "" if (scope, who) == ("user", "default") else who, budget)
        for section, scope, found in scopes
        for who, budget in found.items()
    )
    return _limits((*total, *named), today)


def _limits(found: Iterable[tuple[str, Scope, str, Budget]], today: datetime.date) -> tuple[Limit, ...]:
    return tuple(
        Limit(f"{name}.{period}", scope, who, period, amount, budget.warn_at, budget.raised_until(period, today))
        for name, scope, who, budget in found
        for period in FIELDS
        if (amount := budget.amount(period, today)) is not None
    )
