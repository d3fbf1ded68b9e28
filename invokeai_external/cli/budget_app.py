"""The commands about limits, their options and their help texts.

It imports nothing slow, so that ``--help`` is fast.
"""

from __future__ import annotations

from typing import Annotated

import typer

from . import lazy
from .parameters import Json, Root

__all__ = ["app"]

app = typer.Typer(help="Set and list limits on what images may cost.", rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def _budget(context: typer.Context) -> None:
    """Set and list limits on what images may cost."""
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command("set", short_help="Set a limit, raise it for a while, or remove it.")
def set_limit(
    name: Annotated[
        str,
        typer.Argument(
            metavar="<name>",
            help="The limit: total.day, total.month, providers.openai.month, models.openai/gpt-image-2.day, "
            "users.default.day, or max_per_image for each image.",
        ),
    ],
    amount: Annotated[str, typer.Argument(metavar="<usd>", help="The most in USD, such as 5; off removes the limit.")],
    until: Annotated[
        str | None,
        typer.Option(
            metavar="<date>",
            help="The last day on which it holds, such as 2026-12-05; then the limit of before holds again.",
        ),
    ] = None,
    root: Root = None,
) -> None:
    """Set a limit in invokeai_external.yaml, raise it for a while, or remove it.

    It holds at once, also in an Invoke that is running with this root.
    """
    lazy.budget.set_one(name, amount, until=until, root=root)


@app.command("list")
def list_limits(json: Json = False, root: Root = None) -> None:
    """List the limits and what of them is used."""
    lazy.budget.list_all(as_json=json, root=root)
