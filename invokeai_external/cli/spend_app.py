"""The commands about the spending record, their options and their help texts. It imports nothing slow."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from . import lazy
from .parameters import Json, Root, local, provider_argument

__all__ = ["SpendBy", "app"]

app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)

SpendBy = Literal["day", "model", "provider", "user", "board", "tag"]
"""``By`` of ``spending.reports``, which loads too much for a help page; a test compares the two."""

Csv = Annotated[bool, typer.Option("--csv", help="Print the result as CSV, with columns that stay.")]


@app.callback()
def spend(
    context: typer.Context,
    by: Annotated[SpendBy, typer.Option("--by", help="What to add up by.")] = "day",
    since: Annotated[
        str | None,
        typer.Option(metavar="<day>", help="The first day, such as 2026-11-29.  [default: the first of this month]"),
    ] = None,
    json: Json = False,
    csv: Csv = False,
    root: Root = None,
) -> None:
    """Show what images have cost, as the spending record has it."""
    if context.invoked_subcommand is None:
        lazy.spend.run(by=by, since=since, as_json=json, as_csv=csv, root=root)


@app.command("show", short_help="Show one call, or the newest ones.")
def show_call(
    call: Annotated[int | None, typer.Argument(help="The number of the call.")] = None,
    last: Annotated[int, typer.Option(metavar="<int>", min=1, max=10_000_000, help="How many calls.")] = 20,
    json: Json = False,
    csv: Csv = False,
    root: Root = None,
) -> None:
    """Show all that is recorded of one call; without a number, list the newest calls."""
    lazy.spend_calls.show(call, last=last, as_json=json, as_csv=csv, root=root)


@app.command("confirm", short_help="Settle calls that may have been charged.")
def confirm_calls(
    calls: Annotated[list[int] | None, typer.Argument(help="The numbers of the calls.")] = None,
    charged: Annotated[
        bool | None, typer.Option("--charged/--not-charged", help="Whether they were charged, as your bill says.")
    ] = None,
    all: Annotated[bool, typer.Option("--all", help="Settle all calls that may have been charged.")] = False,
    json: Json = False,
    root: Root = None,
) -> None:
    """Settle calls that may have been charged; without a number and --all, list them.

    A call that was charged counts at the most that it can cost; one that was not no longer counts.
    """
    lazy.spend_calls.confirm(calls or (), everything=all, charged=charged, as_json=json, root=root)


@app.command("import", short_help="Add images that were made before the record.")
def import_images(
    files: Annotated[
        list[Path], typer.Argument(metavar="file|folder", help="Images, or folders of images.", callback=local)
    ],
    json: Json = False,
    root: Root = None,
) -> None:
    """Add images that were made before the record, with the cost in their metadata.

    They are marked as imported and count against no limit. An image that is recorded already is not added again.
    """
    lazy.spend_import.run(files, as_json=json, root=root)


@app.command("check", short_help="Compare a provider's bill with the record.")
def check_bill(
    provider: Annotated[str, provider_argument("The provider.")],
    month: Annotated[str, typer.Argument(help="The month, such as 2026-11.")],
    amount: Annotated[str, typer.Argument(help="What the bill says, in USD, such as 41.20.")],
    json: Json = False,
    root: Root = None,
) -> None:
    """Compare a provider's bill for a month with the spending record, and say what may explain the difference."""
    lazy.spend_check.run(provider, month, amount, as_json=json, root=root)
