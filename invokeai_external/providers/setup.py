"""What ``providers add`` asks for a ready provider whose base URL every user has another one of: facts of its file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from .frozen import Frozen

__all__ = ["Setup", "SetupWay"]

_BLANK = re.compile(r"[A-Z]{3,}")


class SetupWay(Frozen):
    """One way to use a provider.

    Attributes:
        about: What this way is, briefly.
        base_url: The base URL, with a blank of capital letters in the place of each part that every user has another
            one of.
        usual: What most users write in the place of such a blank.
        auth: How requests may be authenticated, as with ``--auth``; the first is the usual one. Empty if there is only
            one way, that of the file.
        provider: Fields that differ from those of the file.
    """

    about: str
    base_url: str
    usual: dict[str, str] = Field(default_factory=dict)
    auth: tuple[str, ...] = ()
    provider: dict[str, Any] = Field(default_factory=dict)

    @property
    def blanks(self) -> tuple[str, ...]:
        """The blanks of the base URL, each once."""
        return tuple(dict.fromkeys(_BLANK.findall(self.base_url)))

    def filled(self, answers: Mapping[str, str]) -> str:
        """The base URL with the blanks filled in."""
        return _BLANK.sub(lambda found: answers[found[0]], self.base_url)


class Setup(Frozen):
    """What to ask.

    Attributes:
        ways: The ways to use the provider by their names; the first is the usual one.
        models: The question for models that need an entry; None if there are no such models.
    """

    ways: dict[str, SetupWay] = Field(min_length=1)
    models: str | None = None
