"""The modules of the commands, each loaded when its command runs, so that ``--help`` and completion are fast."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .commands import demo, doctor, generate, install, keys, models, recall, sandbox, undelivered

__all__ = ["demo", "doctor", "generate", "install", "keys", "models", "recall", "sandbox", "undelivered"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f"{__package__}.commands.{name}")
