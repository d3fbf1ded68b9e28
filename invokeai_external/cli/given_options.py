"""Reads the options of a model from the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..request import OptionValue
from ..untrusted_text import quoted
from .option_flags import flag_of
from .report import UsageError

__all__ = ["options_of"]


def options_of(flags: Mapping[str, OptionValue], texts: Sequence[str]) -> dict[str, OptionValue]:
    """The options of a request: those of flags, and ``NAME=VALUE`` of ``--option``.

    Raises:
        UsageError: A text has no name or no value, or an option is given twice.
    """
    options = dict(flags)
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not name or not equals:
            what = "name" if equals else "value"
            raise UsageError(
                f"--option {quoted(text)} has no {what}.", remedy="Write NAME=VALUE, such as --option quality=high."
            )
        if name in options:
            where = f"with {flag_of(name)} and with --option" if name in flags else "twice with --option"
            raise UsageError(f"The option {name} is given {where}.", remedy="Remove one of the two.")
        options[name] = value
    return options
