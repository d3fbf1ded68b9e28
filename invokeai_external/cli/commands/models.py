"""``models``: prints the catalogue as a table or as JSON."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ... import clock
from ...pricing.estimate import price_range
from ...providers.registry import Registry
from ...providers.schema import ModelConfig
from ...providers.sizings import FixedSizing, FlexibleSizing, NamedSizing
from ...result import Notice
from ...service.uses_of_ending_models import EXTERNAL_MODEL, ending_notices
from ...settings.settings import Settings, load_settings
from .. import event_loop, report
from ..common import named_provider, settings
from ..invoke_database import saved_workflows
from ..remedies import command_line
from ..terminal import print_table, width_of

__all__ = ["model_object", "price_of", "run", "sizes_of", "status_of"]


_WIDE = 140
"""In columns. A narrower terminal shows only what you need to choose a model."""


def run(*, provider: str | None, with_retired: bool, as_json: bool, root: Path | None) -> None:
    """Print the models; retired ones only with ``--all``."""
    current = settings(root)
    about_models: tuple[Notice, ...] = ()
    if provider and named_provider(provider, current.providers).discover_models:
        about_models = _discover(current, provider)
        current = load_settings(current.root)
    registry = Registry(current.catalog)
    workflows = saved_workflows(current.root, EXTERNAL_MODEL)
    of_models = ending_notices(current, registry, workflows, clock.utc_today())
    report.notices((*current.notices, *about_models, *of_models))
    # A provider without a key may have been asked for its models, so that they are known.
    asked = {name for name, each in current.providers.items() if each.discover_models and not current.is_on(name)}
    used = [model for model in registry.models(provider) if provider or model.provider not in asked]
    found = [model for model in used if with_retired or model.lifecycle.status != "retired"]
    if as_json:
        report.print_json([model_object(model) for model in found])
        return
    if not found:
        report.show(_no_models(provider, used, root))
        return
    width = width_of(sys.stdout)
    print_table([_cells(model, details=width is None or width >= _WIDE) for model in found])


def _no_models(provider: str | None, retired: Sequence[ModelConfig], root: Path | None) -> str:
    if retired or not provider:
        return f"All models are retired. To list them, run: {command_line('models', '--all', root=root)}"
    add = command_line("providers", "add", provider, "--model", "MODEL", root=root)
    return f"{provider} has no models yet. Add one that it has: {add}"


def _discover(current: Settings, provider: str) -> tuple[Notice, ...]:
    """Ask a provider for its models; returns a notice if those of an earlier day are used."""
    # Of the other providers, no request is sent, and what sends one takes long to load.

    from ...service.service import Service

    async def ask() -> tuple[Notice, ...]:
        async with Service(current) as service:
            return await service.discover_models(provider)

    return event_loop.run(ask)


def _cells(model: ModelConfig, *, details: bool) -> dict[str, str]:
    cells = {
        "Model": model.reference,
        "Status": status_of(model),
        "Sizes": sizes_of(model),
        "USD per image": price_of(model),
    }
    if details:
        cells |= {
            "From": ", ".join(model.modes),
            "Input images": str(model.input_images.max_count or "-"),
            "Seed": "yes" if model.seed else "no",
        }
    return cells


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
    names = ", ".join(sizing.image_sizes)
    if isinstance(sizing, NamedSizing) and not sizing.ratios:
        return names or "chosen by the model"
    return f"{len(sizing.ratios)} ratios{f' at {names}' if names else ''}"


def price_of(model: ModelConfig) -> str:
    """The range of what one finished image costs in USD, over the sizes and qualities that the model offers."""
    found = price_range(model)
    if found is None:
        price = model.prices.image_out
        return "unknown" if price is None else f"{price:g} USD per million tokens"
    most = "at most " if found.basis == "bounded" else ""
    if f"{found.low_usd:.3f}" == f"{found.high_usd:.3f}":
        return f"{most}{found.high_usd:.3f}"
    return f"{found.low_usd:.3f} to {most}{found.high_usd:.3f}"


def model_object(model: ModelConfig) -> dict[str, Any]:
    """The model for ``--json``: its fields in the catalogue, the sizes that it offers, the range of its prices."""
    presets = [
        {"width": p.size.width, "height": p.size.height, "aspect_ratio": p.aspect_ratio, "image_size": p.image_size}
        for p in model.sizing.presets()
        if p.size
    ]
    found = price_range(model)
    return {
        **model.model_dump(mode="json"),
        "reference": model.reference,
        "presets": presets,
        "price_range": asdict(found) if found else None,
    }
