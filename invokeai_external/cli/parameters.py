"""The parameters that several commands have. It imports nothing slow, so that ``--help`` is fast."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from ..providers.built_in import built_in_ids
from . import lazy

__all__ = [
    "PROVIDERS",
    "InvokeRoot",
    "Json",
    "Provider",
    "Root",
    "amount_usd",
    "local",
    "model_ids",
    "provider_argument",
    "provider_id",
    "provider_ids",
    "short",
]

PROVIDERS = "|".join(built_in_ids())


def provider_id(value: str | None) -> str | None:
    """The id of a provider, which may be written in any case; an empty text names no provider."""
    return value.lower() if value else None


def provider_ids(context: typer.Context, incomplete: str) -> list[str]:
    """What completion offers for a provider."""
    offered = lazy.completions.providers(context.params.get("root"))
    return [provider for provider in offered if provider.startswith(incomplete)]


def model_ids(context: typer.Context, incomplete: str) -> list[str]:
    """What completion offers for a model."""
    return lazy.completions.models(incomplete, context.params.get("root"))


def provider_argument(text: str) -> Any:
    return typer.Argument(metavar=PROVIDERS, help=text, callback=provider_id, autocompletion=provider_ids)


Provider = Annotated[str, provider_argument("The provider that the key is for.")]


def local(value: Path | list[Path] | None) -> Path | list[Path] | None:
    """Refuse a URL where a path is expected: as a path it has lost a slash, and no file has such a name."""
    for path in [value] if isinstance(value, Path) else value or ():
        text = str(path)
        if text.startswith("file:/"):
            raise typer.BadParameter(f"This is a URL; write the path: {text.removeprefix('file:')}")
        if re.match(r"[a-z][a-z0-9+.-]+:/|data:", text, re.IGNORECASE):
            url = text.replace(":/", "://", 1)
            url = url if len(url) <= _LONGEST_URL else f"{url[:_LONGEST_URL]}…"
            raise typer.BadParameter(f"{url} is a URL, not a path; download the file, then write its path.")
    return value


_LONGEST_URL = 200


def short(value: str | None) -> str | None:
    """Refuse a text that is too long for a name; an empty one counts as not given."""
    if value and len(value) > _LONGEST_NAME:
        raise typer.BadParameter(f"It has {len(value):,} characters; {_LONGEST_NAME} is the most.")
    return value or None


_LONGEST_NAME = 100


def amount_usd(value: float | None) -> float | None:
    """Refuse an amount of money that cannot be one."""
    if value is not None and not 0 <= value <= MOST_USD:
        raise typer.BadParameter(f"Write an amount in USD from 0 to {MOST_USD:,}, such as 0.50.")
    return value


MOST_USD = 1_000_000
"""The largest amount that a limit may have, in USD."""

Root = Annotated[
    Path | None,
    typer.Option(
        "--root",
        metavar="FOLDER",
        callback=local,
        help="The root folder: it holds api_keys.yaml and invokeai_external.yaml.  [default: INVOKEAI_ROOT if set, "
        "else your user settings folder]",
    ),
]
InvokeRoot = Annotated[
    Path | None,
    typer.Option(
        "--root",
        metavar="INVOKE_ROOT",
        callback=local,
        help="The root folder of Invoke: it holds invokeai.yaml.  [default: INVOKEAI_ROOT if set, else your user "
        "settings folder]",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result or the error as JSON.")]
