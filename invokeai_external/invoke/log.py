"""Invoke's log."""

from __future__ import annotations

import logging

from ..errors import SettingsError

__all__ = ["calls_were", "log", "naming", "report_broken_settings"]

log = logging.getLogger("InvokeAI")
"""Invoke configures this logger before it loads node packs."""


def calls_were(count: int, model: str | None = None) -> str:
    """The beginning of a sentence about calls, such as *1 call to openai/gpt-image-2 was*."""
    to = f" to {model}" if model else ""
    return f"1 call{to} was" if count == 1 else f"{count} calls{to} were"


def naming(name: str, message: str) -> str:
    """A message that names the model of a node: the name is put before it unless it is there.

    Args:
        name: The name of the model's record, which may have the end date behind it.
        message: The message.
    """
    return message if name.partition(" (")[0] in message else f"{name}: {message}"


def report_broken_settings(error: SettingsError) -> None:
    """Log that the settings file was changed and is broken while Invoke runs."""
    log.error("invokeai_external: %s Until then, the settings stay as they were.", error)
