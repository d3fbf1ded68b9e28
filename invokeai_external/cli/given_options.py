"""Reads the options of a model from the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..errors import InvalidRequestError
from ..planning.option_texts import with_texts
from ..request import OptionValue
from .option_flags import flag_of
from .report import UsageError

__all__ = ["options_of"]


def options_of(flags: Mapping[str, OptionValue], texts: Sequence[str]) -> dict[str, OptionValue]:
    """The options of a request: those of flags, and ``NAME=VALUE`` of ``--option``.

    Raises:
        UsageError: A text has no name or no value, or an option is given twice.
    """

    def again(name: str) -> str:
        return f"with {flag_of(name)} and with --option" if name in flags else "twice with --option"

    try:
        return with_texts(flags, texts, label="--option", example="--option quality=high", again=again)
    except InvalidRequestError as error:
        raise UsageError(error.message, remedy=error.remedy) from None
