"""The commands about the files that this program keeps, their options and their help texts. It imports nothing slow."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import lazy
from .parameters import Json, Root, local

__all__ = ["app"]

app = typer.Typer(
    help="Copy, restore or empty the spending record.",
    invoke_without_command=True,
    rich_markup_mode=None,
)

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@app.callback()
def data(context: typer.Context) -> None:
    """Copy, restore or empty the spending record. Invoke may be running."""
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command("backup", short_help="Write a copy of the spending record.")
def backup(
    file: Annotated[Path, typer.Argument(help="The new file.", callback=local)], json: Json = False, root: Root = None
) -> None:
    """Write a copy of the spending record into a new file, which only you can read."""
    lazy.data.backup(file, as_json=json, root=root)


@app.command("restore", short_help="Put a copy in the place of the spending record.")
def restore(
    file: Annotated[Path, typer.Argument(help="A file that 'data backup' has written.", callback=local)],
    yes: Yes = False,
    json: Json = False,
    root: Root = None,
) -> None:
    """Put a copy in the place of what is in the spending record.

    Calls in progress stay. Those that were in progress when the copy was made may have been charged.
    """
    lazy.data.restore(file, yes=yes, as_json=json, root=root)


@app.command("delete", short_help="Delete what is in the spending record.")
def delete(yes: Yes = False, json: Json = False, root: Root = None) -> None:
    """Delete all calls and sums from the spending record. Calls in progress stay.

    Limits count from zero again.
    """
    lazy.data.delete(yes=yes, as_json=json, root=root)
