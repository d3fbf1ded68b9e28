"""Records the calls that were cancelled in flight, which their provider may bill: a line for each run, in one file.

    {"format": 1, "at": "2026-11-29T12:03:11+00:00", "provider": "openai", "model": "gpt-image-2", "calls": 1}

The file holds no prompt, no key, no user and no hash.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ..root_folder import ABANDONED_FILE
from ..untrusted_number import whole_number
from ..untrusted_text import NAME, fit_to_show

__all__ = ["AbandonedCalls", "abandoned_calls"]

_COUNTED = timedelta(days=30)
"""How long a line is counted."""

_FORMAT = 1
_MOST_BYTES = 1 << 18
"""Two thousand lines. A file that is larger is deleted and begun again."""

_MOST_CALLS = 1000
"""No run has more."""

_log = logging.getLogger(__name__)


class AbandonedCalls:
    """The file in a root.

    Args:
        root: The root folder.
        clock: Returns the seconds since the epoch.
    """

    def __init__(self, root: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = root / ABANDONED_FILE
        self._clock = clock

    def add(self, provider: str, model: str, calls: int) -> None:
        """Record calls of one run that were cancelled. Never raises: no run may fail because of it."""
        now = datetime.fromtimestamp(self._clock(), UTC)
        entry = {"format": _FORMAT, "at": now.isoformat(timespec="seconds")}
        line = json.dumps({**entry, "provider": provider, "model": model, "calls": calls})
        try:
            if self._path.exists() and self._path.stat().st_size > _MOST_BYTES:
                self._path.unlink()
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(descriptor, "ab") as file:
                file.write(f"{line}\n".encode())
        except OSError as error:
            _log.debug("The cancelled calls could not be recorded: %s", error.strerror)


def abandoned_calls(root: Path, now: datetime) -> Counter[str]:
    """How many calls to each ``provider/model`` were cancelled in flight in the 30 days before ``now``."""
    found: Counter[str] = Counter()
    path = root / ABANDONED_FILE
    with suppress(OSError):
        if not path.is_file() or path.stat().st_size > 2 * _MOST_BYTES:
            return found
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError, RecursionError, TypeError):
                match json.loads(line):
                    case {"at": str(at), "provider": str(provider), "model": str(model), "calls": number}:
                        name, calls = f"{provider}/{model}", whole_number(number, 1, _MOST_CALLS)
                        is_recent = now - _COUNTED <= datetime.fromisoformat(at) <= now
                        if calls and is_recent and fit_to_show(name, NAME) == name:
                            found[name] += calls
    return found
