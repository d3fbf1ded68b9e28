"""The modules that are loaded when they are first used, so that ``--help`` and completion are fast."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import completions, generate_arguments, given_options, report
    from .commands import (
        budget,
        data,
        demo,
        doctor,
        generate,
        install,
        keys,
        model_page,
        models,
        models_check,
        providers,
        providers_add,
        recall,
        sandbox,
        share,
        spend,
        spend_calls,
        spend_check,
        spend_import,
        undelivered,
    )

__all__ = [
    "budget",
    "completions",
    "data",
    "demo",
    "doctor",
    "generate",
    "generate_arguments",
    "given_options",
    "install",
    "keys",
    "model_page",
    "models",
    "models_check",
    "providers",
    "providers_add",
    "recall",
    "report",
    "sandbox",
    "share",
    "spend",
    "spend_calls",
    "spend_check",
    "spend_import",
    "undelivered",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    is_command = name not in ("completions", "generate_arguments", "given_options", "report")
    return import_module(f".commands.{name}" if is_command else f".{name}", __package__)
