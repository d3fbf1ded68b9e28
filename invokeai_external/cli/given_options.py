"""Reads the options of a model from the command line, and completes them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ..errors import ExternalError
from ..providers.registry import Registry
from ..providers.schema import ChoiceOption
from ..request import OptionValue
from ..settings.root import root_folder
from ..settings.settings import load_settings
from ..untrusted_text import quoted
from .option_flags import flag_of
from .report import UsageError

__all__ = ["completions", "options_of"]


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


def completions(incomplete: str, model: str | None, root: Path | None) -> list[str]:
    """What a text for ``--option`` may become: a name with an equals sign, or if only one name fits, its values too."""
    choices: dict[str, tuple[str, ...]] = {}
    with suppress(ExternalError):
        registry = Registry(load_settings(root_folder(root, os.environ)).catalog)
        models = (registry.resolve(model).model,) if model else registry.models()
        for name, option in (entry for known in models for entry in known.options.items()):
            values = option.values if isinstance(option, ChoiceOption) else ()
            choices[name] = tuple(dict.fromkeys((*choices.get(name, ()), *values)))
    started = incomplete.partition("=")[0]
    names = [started] if started in choices else [name for name in choices if name.startswith(started)]
    if len(names) != 1:
        return [f"{name}=" for name in names]
    offered = [f"{names[0]}={value}" for value in choices[names[0]]] or [f"{names[0]}="]
    return [text for text in offered if text.startswith(incomplete)]
