"""The flags of ``generate`` for the options of the catalogue, and the completion of ``--option``.

It imports nothing slow, so that ``--help`` is fast.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Annotated, Any

import typer

from ..providers.option_flags import FLAGS
from . import lazy

__all__ = ["OptionFlags", "complete_option", "flag_of", "with_option_flags"]

OptionFlags = Mapping[str, str | float] | None
"""The values of the flags that were given, by the names of the options."""

_PARAMETER = "flags"


def flag_of(option: str) -> str | None:
    """The flag of an option; None if only ``--option`` sets it."""
    return f"--{option.replace('_', '-')}" if option in FLAGS else None


def with_option_flags(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command a flag for each option in ``FLAGS``; its parameter ``flags`` gets the values of those given."""
    parameters = list(inspect.signature(command, eval_str=True).parameters.values())
    place = next(i for i, parameter in enumerate(parameters) if parameter.name == _PARAMETER)
    parameters[place : place + 1] = [
        parameters[place].replace(name=name, annotation=Annotated[kind | None, typer.Option(help=text)])
        for name, (kind, text) in FLAGS.items()
    ]

    @wraps(command)
    def run(**arguments: Any) -> int:
        given = {name: value for name in FLAGS if (value := arguments.pop(name)) is not None}
        return command(**arguments, **{_PARAMETER: given})

    # Typer reads the parameters of a command from its signature.
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return run


def complete_option(context: typer.Context, incomplete: str) -> list[str]:
    """What completion offers for ``--option``."""
    return lazy.completions.options(incomplete, context.params.get("model"), context.params.get("root"))
