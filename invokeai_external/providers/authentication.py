"""How a provider learns who sends a request: with a key in a header, with a token, or not at all."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from .frozen import Frozen

__all__ = [
    "HEADER_NAME",
    "TYPES_WITHOUT_MORE",
    "Authentication",
    "BearerKey",
    "CommandToken",
    "GoogleToken",
    "HeaderKey",
    "NoKey",
]

HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A name that a header can have (RFC 9110, 5.6.2)."""


class BearerKey(Frozen):
    """The key in the header ``Authorization``, after the word ``Bearer``."""

    type: Literal["bearer"]


class HeaderKey(Frozen):
    """The key, and nothing else, in a separate header.

    Attributes:
        name: The name of the header.
    """

    type: Literal["header"]
    name: Annotated[str, StringConstraints(pattern=rf"^{HEADER_NAME.pattern}$")]


class CommandToken(Frozen):
    """A token that a command prints, after the word ``Bearer``. Only the user's own settings may name a command.

    Attributes:
        command: The program and its arguments; there is no shell between.
    """

    type: Literal["command"]
    command: tuple[Annotated[str, Field(min_length=1)], ...] = Field(min_length=1)


class GoogleToken(Frozen):
    """A token for this machine's account with Google Cloud, after the word ``Bearer``; needs google-auth."""

    type: Literal["google"]


class NoKey(Frozen):
    """No key and no token, as with a server on this machine."""

    type: Literal["none"]


Authentication = Annotated[BearerKey | HeaderKey | CommandToken | GoogleToken | NoKey, Field(discriminator="type")]

TYPES_WITHOUT_MORE = ("bearer", "google", "none")
"""The types that need no further field."""
