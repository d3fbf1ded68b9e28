"""Invoke's log."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict

from ..errors import SettingsError

__all__ = ["BatchLog", "calls_were", "log", "naming", "report_broken_settings"]

log = logging.getLogger("InvokeAI")
"""Invoke configures this logger before it loads node packs."""


_BATCHES = 16
"""How many batches the log knows at a time: a queue seldom takes turns between more."""


class BatchLog:
    """Logs what is the same for each item of a batch only once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._logged: OrderedDict[str, set[str]] = OrderedDict()

    def info(self, batch: str, message: str) -> None:
        """Log a message, unless it was logged for this batch.

        Args:
            batch: The id of the batch.
            message: The message.
        """
        with self._lock:
            logged = self._logged.setdefault(batch, set())
            self._logged.move_to_end(batch)
            if len(self._logged) > _BATCHES:
                self._logged.popitem(last=False)
            is_new = message not in logged
            logged.add(message)
        if is_new:
            log.info("%s", message)


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
