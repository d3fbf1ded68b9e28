"""Logs what each run has cost and what today comes to: Invoke clears its progress line at the end of a run."""

from __future__ import annotations

import threading
from contextlib import suppress

from ..errors import ExternalError
from ..result import GenerationResult
from ..service.spent_today import cost_text, spent_today
from ..settings.settings import Settings
from .log import calls_were, log
from .look_ahead.run_table import Run

__all__ = ["log_abandoned", "log_cost", "log_cost_soon"]


def log_abandoned(run: Run, model: str | None) -> None:
    """Log the calls that are in flight when a run ends: they were cancelled."""
    if calls := len(run.in_flight):
        log.info("invokeai_external: %s cancelled in flight and may be billed.", calls_were(calls, model))


def log_cost_soon(settings: Settings, result: GenerationResult) -> None:
    """Log what a run has cost, in a thread, so that no run waits for the spending record or fails with it."""
    thread = threading.Thread(
        target=log_cost, args=(settings, result), name="invokeai_external cost of a run", daemon=True
    )
    # The system may not allow another thread.
    with suppress(RuntimeError):
        thread.start()


def log_cost(settings: Settings, result: GenerationResult) -> None:
    """Log what a run has cost, and what all users together have spent today: administrators read the log.

    If nothing is recorded, or the record cannot be read, it is only the cost.
    """
    try:
        today = spent_today(settings)
    except ExternalError:
        today = None
    cost = ", ".join([cost_text(result.cost_usd), *([str(today)] if today else ())])
    log.info("invokeai_external: %s/%s: %s", result.provider, result.model, cost)
