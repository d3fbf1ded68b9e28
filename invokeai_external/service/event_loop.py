"""Which event loop is running."""

from __future__ import annotations

from anyio.lowlevel import RunVar

__all__ = ["this_run"]

_RUN: RunVar[object] = RunVar("invokeai_external.service")
"""Stands for an event loop as long as it runs."""


def this_run() -> object:
    """What stands for the event loop that is running."""
    try:
        return _RUN.get()
    except LookupError:
        run = object()
        _RUN.set(run)
        return run
