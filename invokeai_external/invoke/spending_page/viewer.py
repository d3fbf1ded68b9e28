"""Who looks at the page, and which calls of the record they see."""

from __future__ import annotations

from dataclasses import dataclass

from ...spending.recorded_call import RecordedCall

__all__ = ["Viewer"]


@dataclass(frozen=True, slots=True)
class Viewer:
    """A user of Invoke.

    Attributes:
        id: The user's id in Invoke.
        name: The name that the record has of this user; None if Invoke has a single user.
        is_admin: True for administrators, and for the only user.
    """

    id: str
    name: str | None
    is_admin: bool

    @property
    def only(self) -> str | None:
        """The user whose calls these are all that this one sees; None for an administrator, who sees all amounts."""
        return None if self.is_admin else self.name or ""

    def may_settle(self, call: RecordedCall) -> bool:
        """True if this user may say whether a call was charged."""
        return self.is_admin or (self.name is not None and call.payer.user == self.name)

    def is_payer(self, call: RecordedCall) -> bool:
        """True if this user made a call in Invoke, and so may see its prompt and its image."""
        return call.payer.host == "invoke" and call.payer.user == self.name
