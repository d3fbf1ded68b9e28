"""Reads options that are given as text, ``NAME=VALUE``: on the command line, and in a node. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from ..errors import InvalidRequestError
from ..request import OptionValue
from ..untrusted_text import quoted

__all__ = ["options_of_lines", "with_texts"]


def with_texts(
    options: Mapping[str, OptionValue],
    texts: Iterable[str],
    *,
    label: str,
    example: str,
    again: Callable[[str], str],
) -> dict[str, OptionValue]:
    """The options with those of the texts.

    Args:
        options: The options that are given in another way.
        texts: The texts, each ``NAME=VALUE``. The value is all that follows the first equals sign, as it is written.
        label: What a text is called.
        example: A text that is right, as the user gives it.
        again: Returns how an option was given that has a value already, such as ``twice``.

    Raises:
        InvalidRequestError: A text has no name or no value, or an option is given twice.
    """
    found = dict(options)
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not name or not equals:
            what = "name" if equals else "value"
            raise InvalidRequestError(
                f"{label} {quoted(text)} has no {what}.",
                remedy=f"Write NAME=VALUE, such as {example}.",
            )
        if name in found:
            raise InvalidRequestError(f"The option {name} is given {again(name)}.", remedy="Remove one of the two.")
        found[name] = value
    return found


def options_of_lines(text: str) -> dict[str, OptionValue]:
    """The options of a text with one ``NAME=VALUE`` in each line; empty lines are ignored.

    Raises:
        InvalidRequestError: A line has no name or no value, or an option is given twice.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    return with_texts({}, lines, label="The option", example="quality=high", again=lambda _: "twice")
