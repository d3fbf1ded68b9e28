"""What completion offers: the providers, models and options of the root folder. A broken file offers nothing."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from ..errors import ExternalError
from ..providers.built_in import built_in_ids
from ..providers.registry import Registry
from ..providers.schema import ChoiceOption
from ..settings.root import root_folder
from ..settings.settings import Settings, load_user_file

__all__ = ["models", "options", "providers"]


def _user_file(root: Path | None) -> Settings:
    return load_user_file(root_folder(root, os.environ))


def providers(root: Path | None) -> list[str]:
    """The ids of all providers; those of the built-in ones if the file cannot be read."""
    with suppress(ExternalError):
        return list(_user_file(root).providers)
    return list(built_in_ids())


def models(incomplete: str, root: Path | None) -> list[str]:
    """The names of models that a text may become: with their provider, or, if only that fits, without."""
    with suppress(ExternalError):
        known = Registry(_user_file(root).catalog).models()
        found = [model.reference for model in known if model.reference.startswith(incomplete)]
        return found or [model.id for model in known if model.id.startswith(incomplete)]
    return []


def options(incomplete: str, model: str | None, root: Path | None) -> list[str]:
    """What a text for ``--option`` may become: a name with an equals sign, or if only one name fits, its values too."""
    choices: dict[str, tuple[str, ...]] = {}
    with suppress(ExternalError):
        registry = Registry(_user_file(root).catalog)
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
