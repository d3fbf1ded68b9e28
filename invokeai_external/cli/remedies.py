"""What to do about an error, as commands that you can paste: quoted, and with ``--root`` if you gave it."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from ..errors import ExternalError, Remedy
from ..providers.catalog import pages

__all__ = ["PROGRAM", "command_line", "with_root"]

_Error = TypeVar("_Error", bound=ExternalError)

PROGRAM = "invokeai-external"


def command_line(*arguments: str, root: Path | None = None) -> str:
    """A command of this program, quoted for a shell; ``root`` is what was given with ``--root``."""
    more = [] if root is None else ["--root", str(root)]
    return shlex.join([PROGRAM, *arguments, *more])


def with_root(error: _Error, root: Path | None) -> _Error:
    """The same error; the commands of its remedy name the root that was given with ``--root``."""
    if error.remedy is None or (root is None and error.remedy.action != "raise_limit"):
        return error
    return error.replace(remedy=replace(error.remedy, text=_text(error.remedy, root)))


def _text(remedy: Remedy, root: Path | None) -> str:
    match remedy.action:
        case "raise_limit" if remedy.setting == "max_cost":
            return f"{remedy.text} To raise it, use a larger --max-cost."
        case "raise_limit" if remedy.setting:
            return (
                f"{remedy.text} To raise it, run: {command_line('budget', 'set', remedy.setting, 'AMOUNT', root=root)}"
            )
        case _ if root is None:
            return remedy.text
        case "set_key" | "replace_key" if remedy.provider and not remedy.source_is_variable:
            make = f"Create a key at {remedy.url}, then run" if remedy.url else "Copy the whole key, then run"
            in_use = f"The key in use is from {remedy.source}. " if remedy.source else ""
            return f"{in_use}{make}: {command_line('keys', 'set', remedy.provider, root=root)}"
        case "set_key" if not remedy.provider:
            # The others need a base URL or a model too.
            ready = (page.provider.id for page in pages() if page.provider.base_url and page.models)
            commands = " or: ".join(command_line("keys", "set", provider, root=root) for provider in ready)
            return f"To try everything free of charge, add --sandbox. To set a key, run: {commands}"
        case "list_models" | "check_model":
            provider = ("--provider", remedy.provider) if remedy.provider else ()
            check = "Check the base URL, or choose" if remedy.action == "check_model" else "Choose"
            return f"{check} one of the models that this command lists: {command_line('models', *provider, root=root)}"
        case _:
            more = shlex.join(["--root", str(root)])
            return _ADDING.sub(lambda command: f"{command[0]} {more}", remedy.text)


_ADDING = re.compile(rf"\b{PROGRAM} providers add \w+")
