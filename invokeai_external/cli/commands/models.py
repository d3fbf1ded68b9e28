"""``models``: prints the catalogue as a table or as JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ...pricing.estimate import image_usd
from ...providers.registry import Registry
from ...providers.schema import ModelConfig
from ...sizing import FixedSizing, FlexibleSizing
from .. import report
from ..common import settings

__all__ = ["price_of", "run", "show", "sizes_of", "status_of"]


_WIDE = 140
"""In columns. A narrower terminal shows only what you need to choose a model."""


def run(*, provider: str | None, with_retired: bool, as_json: bool, root: Path | None) -> None:
    """Print the models; retired ones only with ``--all``."""
    current = settings(root)
    report.notices(current.notices)
    found = [
        model
        for model in Registry(current.models).models(provider)
        if with_retired or model.lifecycle.status != "retired"
    ]
    if as_json:
        report.print_json([_model_object(model) for model in found])
        return
    # Without a terminal, do not wrap lines: there is no width to fit.
    console = Console()
    width = console.width if console.is_terminal else 200
    Console(width=width).print(_table(found, details=width >= _WIDE))


def show(reference: str, *, as_json: bool, root: Path | None) -> None:
    """Print everything that is known of one model."""
    current = settings(root)
    found = Registry(current.models).resolve(reference)
    report.notices((*current.notices, *found.notices))
    if as_json:
        report.print_json(_model_object(found.model))
        return
    for name, value in _facts(found.model):
        print(f"{name}: {value}")


def _facts(model: ModelConfig) -> list[tuple[str, str]]:
    return [
        ("Model", model.reference),
        ("Status", status_of(model)),
        ("Sizes", sizes_of(model)),
        ("USD per image", price_of(model)),
    ]


def _table(models: Sequence[ModelConfig], *, details: bool) -> Table:
    table = Table(box=None, pad_edge=False)
    columns: dict[str, Callable[[ModelConfig], str]] = {
        "Model": lambda model: model.reference,
        "Status": status_of,
        "Sizes": sizes_of,
        "USD per image": price_of,
    }
    if details:
        columns["From"] = lambda model: ", ".join(model.modes)
        columns["Input images"] = lambda model: str(model.input_images.max_count or "-")
        columns["Seed"] = lambda model: "yes" if model.seed else "no"
    for heading in columns:
        table.add_column(heading, no_wrap=heading == "Model")
    for model in models:
        table.add_row(*(cell(model) for cell in columns.values()))
    return table


def status_of(model: ModelConfig) -> str:
    """The status of a model, such as ``deprecated, ends 2026-12-01, use gpt-image-2``."""
    life = model.lifecycle
    end = f"ended {life.shutdown}" if life.status == "retired" else f"ends {life.shutdown}"
    parts = [
        life.status,
        (end if life.shutdown_confirmed else f"end {life.shutdown} not confirmed") if life.shutdown else "",
        f"use {life.successor}" if life.successor else "",
    ]
    return ", ".join(part for part in parts if part)


def sizes_of(model: ModelConfig) -> str:
    """The sizes in brief."""
    sizing = model.sizing
    if isinstance(sizing, FixedSizing):
        return ", ".join(str(size) for size in sizing.sizes)
    if isinstance(sizing, FlexibleSizing):
        grid = f"any on a {sizing.multiple_of}-pixel grid"
        return f"{grid}, {sizing.min_ratio} to {sizing.max_ratio}, edge to {sizing.max_edge}"
    named = f" at {', '.join(sizing.image_sizes)}" if sizing.image_sizes else ""
    return f"{len(sizing.ratios)} ratios{named}"


def price_of(model: ModelConfig) -> str:
    """The range of what one finished image costs; ``unknown`` if its tokens or its price are."""
    price = model.prices.image_out
    if price is None or not model.image_tokens:
        return "unknown" if price is None else f"{price:g} per million tokens"
    costs = [image_usd(model, tokens) for tokens in model.image_tokens.values()]
    known = [cost for cost in costs if cost is not None]
    if len(known) < len(costs):
        return "unknown"
    low, high = min(known), max(known)
    return f"{low:.3f}" if low == high else f"{low:.3f} to {high:.3f}"


def _model_object(model: ModelConfig) -> dict[str, Any]:
    presets = [
        {"width": p.size.width, "height": p.size.height, "aspect_ratio": p.aspect_ratio, "image_size": p.image_size}
        for p in model.sizing.presets()
        if p.size
    ]
    return {**model.model_dump(mode="json"), "reference": model.reference, "presets": presets}
