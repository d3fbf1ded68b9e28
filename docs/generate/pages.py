"""Finds the generated parts of the pages and rewrites them.

A generated part stands between ``<!-- generated: NAME -->`` and ``<!-- end -->``. NAME is the name of a
function in ``BLOCKS``, followed by its arguments. Text outside these parts is written by hand and never touched.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from .catalogue import (
    image_prices_table,
    models_table,
    options_table,
    price_list,
    prices_table,
    sizes_table,
    unpriced_list,
)
from .help_texts import help_text
from .layout import ROOT, layout
from .reference import (
    authentication_table,
    budgets_table,
    errors_table,
    faults_table,
    mask_sentence,
    paths_table,
    provider_fields_table,
    settings_table,
)

__all__ = ["BLOCKS", "BLOCK_PATTERN", "ROOT", "pages", "rewritten"]

BLOCK_PATTERN = re.compile(r"<!-- generated: (?P<name>[^\n]+) -->\n.*?<!-- end -->", re.DOTALL)

BLOCKS: dict[str, Callable[..., str]] = {
    "help": help_text,
    "models": models_table,
    "sizes": sizes_table,
    "options": options_table,
    "price_list": price_list,
    "prices": prices_table,
    "image_prices": image_prices_table,
    "unpriced": unpriced_list,
    "settings": settings_table,
    "budgets": budgets_table,
    "provider_fields": provider_fields_table,
    "authentication": authentication_table,
    "paths": paths_table,
    "errors": errors_table,
    "faults": faults_table,
    "mask_sentence": mask_sentence,
    "layout": layout,
}


def pages() -> list[Path]:
    """The files that may have generated parts."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def rewritten(text: str) -> str:
    """The text of a page with its generated parts up to date.

    Raises:
        KeyError: A part has a name that is not in ``BLOCKS``.
    """

    def block(match: re.Match[str]) -> str:
        function, *arguments = match["name"].split()
        return f"<!-- generated: {match['name']} -->\n\n{BLOCKS[function](*arguments)}\n\n<!-- end -->"

    return BLOCK_PATTERN.sub(block, text)
