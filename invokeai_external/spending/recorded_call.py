"""A call as the spending record knows it: what it may cost, who pays, how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..result import Usage

__all__ = ["FORWARD", "OPEN", "Payer", "PlannedCall", "RecordedCall", "Settlement", "State"]

State = Literal["reserved", "sent", "charged", "not_charged", "unconfirmed"]
"""What is known about the cost of a call. ``reserved`` and ``sent`` are in progress; ``unconfirmed`` may have been
charged."""

OPEN: tuple[State, ...] = ("reserved", "sent")
"""The states of calls in progress."""

FORWARD: dict[State, tuple[State, ...]] = {
    "reserved": ("sent", "charged", "not_charged", "unconfirmed"),
    "sent": ("charged", "not_charged", "unconfirmed"),
    "unconfirmed": ("charged", "not_charged"),
    "charged": (),
    "not_charged": (),
}
"""The states that may follow each."""


@dataclass(frozen=True, slots=True)
class Payer:
    """On whose account a call is made.

    Attributes:
        host: What made it: ``cli``, ``library`` or ``invoke``.
        user: The user's name in Invoke.
        board_id: The id of the board in Invoke that its images are saved to.
        board: Its name at the time.
        tag: What the user files it under, such as a client's name.
    """

    host: str = "library"
    user: str | None = None
    board_id: str | None = None
    board: str | None = None
    tag: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedCall:
    """A call before it is sent. Amounts are in nano-dollars.

    Attributes:
        provider: The provider's id.
        model: The model's id.
        n: How many images it asks for.
        expected: What it usually costs; None if that is unknown.
        at_most: The most that it costs; None if that is unknown.
        basis: How well the two are known.
        tier: The service tier.
        size: The size that is sent; None if the model chooses it.
        quality: The quality that is sent; None if the model chooses it.
        prices_of: The day from which on its prices hold, as ISO text; None if that is not known.
        prompt: The prompt, if it is to be recorded.
    """

    provider: str
    model: str
    n: int
    expected: int | None
    at_most: int | None
    basis: str
    tier: str = "standard"
    size: str | None = None
    quality: str | None = None
    prices_of: str | None = None
    prompt: str | None = None

    @property
    def reference(self) -> str:
        """``provider/model-id``."""
        return f"{self.provider}/{self.model}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """How a call ended. Amounts are in nano-dollars.

    Attributes:
        state: What is known about its cost.
        cost: What it cost; None unless it was charged, or if that is unknown.
        cost_from: Who says so: ``provider`` or ``prices``.
        computed: What it cost by the prices, if the provider stated another cost.
        usage: Its tokens; None if they are unknown.
        images: How many images it made.
        image_hashes: The SHA-256 of each, in hexadecimal.
        request_id: The provider's id of it.
        error: The code of the error that ended it.
        at_most: The most that may have been charged, if its response says so; None for what was reserved.
    """

    state: State
    cost: int | None = None
    cost_from: str | None = None
    computed: int | None = None
    usage: Usage | None = None
    images: int = 0
    image_hashes: tuple[str, ...] = ()
    request_id: str | None = None
    error: str | None = None
    at_most: int | None = None


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """A row of the record.

    Attributes:
        id: Its number.
        call: What was planned.
        payer: Who pays.
        end: How it ended, or the state it is in.
        started_at: When it was reserved, in seconds since the epoch.
        settled_at: When it ended; None while it is in progress.
        day: The day that it counts for, as ISO text.
        sandbox: True if it was made by the sandbox, and counts nowhere.
        imported: True if it was read from an image that was made earlier, and counts against no limit.
    """

    id: int
    call: PlannedCall
    payer: Payer
    end: Settlement
    started_at: float
    settled_at: float | None
    day: str
    sandbox: bool = False
    imported: bool = False
