"""How long a model is available: its release, its last day, its successor, and from when on its end is reported."""

from __future__ import annotations

import datetime
from typing import Literal

from .frozen import Frozen

__all__ = ["Lifecycle", "Status"]

Status = Literal["active", "deprecated", "retired"]
"""Available; available, but with an announced or reported end; no longer available from the provider."""

_SOON = datetime.timedelta(days=30)
"""How long before its end the use of a model is reported."""


class Lifecycle(Frozen):
    """How long a model is available.

    Attributes:
        status: The status; None if only the dates decide. Models from a ``Registry`` have the status of the day.
        since: The release date.
        shutdown: The last day, in UTC; None if it is not known.
        shutdown_confirmed: False if the provider has not announced the last day, or it is disputed. Then it only
            causes a warning.
        successor: The id of the model to use instead. From a ``Registry``, it is not retired itself, and not even
            deprecated if one of its successors is not.
        successor_name: Its name; set by a ``Registry``.
    """

    status: Status | None = None
    since: datetime.date | None = None
    shutdown: datetime.date | None = None
    shutdown_confirmed: bool = True
    successor: str | None = None
    successor_name: str | None = None

    @property
    def instead(self) -> str:
        """What to use instead, as the last sentence of a message: the name and the id to type; empty if unknown."""
        if self.successor is None:
            return ""
        named = f"{self.successor_name} ({self.successor})" if self.successor_name else self.successor
        return f" Use {named} instead."

    def ending(self, provider: str) -> str:
        """When a model ends or has ended, as the rest of a sentence that begins with its name.

        A day that is not confirmed may be over, so that sentence is right before and after it. ``provider`` is the name
        of the provider, whose own dates these are: a server at another base URL may have others.
        """
        if self.status == "retired":
            return f"was retired by {provider}{f' after {self.shutdown}' if self.shutdown else ''}"
        if self.shutdown is None:
            return f"will be retired by {provider} on a date that is not known"
        if self.shutdown_confirmed:
            return f"will be retired by {provider} after {self.shutdown}"
        return f"is deprecated: its last day at {provider} is reported as {self.shutdown}"

    def ends_soon(self, day: datetime.date) -> bool:
        """True from 30 days before the last day on, confirmed or not; False for a model that has ended."""
        return self.status == "deprecated" and self.shutdown is not None and self.shutdown - day <= _SOON

    def may_have_ended(self, day: datetime.date) -> bool:
        """True after the last day, confirmed or not."""
        return self.status == "retired" or (
            self.status == "deprecated" and self.shutdown is not None and day > self.shutdown
        )

    def status_on(self, day: datetime.date) -> Status:
        """The status on a day: retired after the last day, if that is confirmed.

        A written status of ``active`` or ``retired`` is used on every day.
        """
        if self.status in ("active", "retired"):
            return self.status
        if self.shutdown and self.shutdown_confirmed and day > self.shutdown:
            return "retired"
        return "deprecated" if self.shutdown or self.status else "active"
