"""Records which queue items have calls in flight that were sent before their turn, in one small file in the root.

A call is recorded before it is sent. If Invoke is killed, or stops before the call is answered, the item is still in
the queue and sends the call again at its turn, which may be billed twice. The next start finds the record and says so:

    {"format": 1, "orderly": false, "items": [{"number": 12, "batch": "0b1f…", "provider": "openai",
                                              "model": "gpt-image-2", "sent_at": "2026-11-29T12:03:11+00:00"}]}

The file holds no prompt, no key, no user and no hash. It exists while look-ahead runs, and is deleted by an orderly
stop that leaves no call unanswered.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Container
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ...result import Notice
from ..queue_items import ItemId

__all__ = ["FILE", "MAY_BE_BILLED_TWICE", "SentItems"]

FILE = "invokeai_external_queue.json"
"""The file in the root."""

MAY_BE_BILLED_TWICE = Notice(
    "may_be_billed_twice",
    "Invoke sent this request before its last stop and did not receive the response. You may be billed twice.",
)

_FORMAT = 1

_log = logging.getLogger(__name__)


@dataclass
class _Sent:
    """The runs in flight for one item.

    Attributes:
        runs: How many there are.
        entry: The item's entry in the file, made for the first run.
    """

    runs: int
    entry: dict[str, object]


class SentItems:
    """The items with calls in flight. May be used from any thread.

    Args:
        root: Invoke's root folder.
        clock: Returns the seconds since the epoch.

    Attributes:
        was_orderly: False if the previous Invoke that used look-ahead in this root was killed or crashed.
    """

    def __init__(self, root: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = root / FILE
        self._clock = clock
        self._lock = threading.Lock()
        stored = _read(self._path)
        self._is_ours = stored.get("format", _FORMAT) == _FORMAT
        self.was_orderly = not stored or bool(stored.get("orderly"))
        self._unconfirmed = _entries(stored) if self._is_ours else {}
        self._in_flight: dict[ItemId, _Sent] = {}
        self._is_open = False

    def open(self) -> None:
        """Start recording; from now on the file exists."""
        with self._lock:
            self._is_open = True
            self._write(orderly=False)

    def unconfirmed(self) -> list[ItemId]:
        """The items for which an earlier Invoke sent calls and received no response, in the order of their numbers."""
        with self._lock:
            return sorted(self._unconfirmed)

    def is_unconfirmed(self, item: ItemId) -> bool:
        """True if an earlier Invoke sent a call for this item that may have been billed."""
        with self._lock:
            return item in self._unconfirmed

    def add(self, item: ItemId, provider: str, model: str) -> None:
        """Record a run of an item that is about to be sent before its turn."""
        sent_at = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="seconds")
        with self._lock:
            sent = self._in_flight.setdefault(
                item, _Sent(0, {**asdict(item), "provider": provider, "model": model, "sent_at": sent_at})
            )
            sent.runs += 1
            self._write(orderly=False)

    def confirm(self, item: ItemId) -> None:
        """Record that the outcome of a run of an item is known and stored."""
        with self._lock:
            if (sent := self._in_flight.get(item)) is None:
                return
            sent.runs -= 1
            if not sent.runs:
                del self._in_flight[item]
                self._write(orderly=False)

    def retain(self, queued: Container[ItemId]) -> None:
        """Remove the items that are no longer in the queue, since they send nothing again."""
        with self._lock:
            before = len(self._in_flight) + len(self._unconfirmed)
            self._in_flight = {item: sent for item, sent in self._in_flight.items() if item in queued}
            self._unconfirmed = {item: entry for item, entry in self._unconfirmed.items() if item in queued}
            if len(self._in_flight) + len(self._unconfirmed) < before:
                self._write(orderly=False)

    def close(self) -> None:
        """Stop recording, in an orderly way. The next start reports what is still in flight."""
        with self._lock:
            if self._is_open:
                self._write(orderly=True)
            self._is_open = False

    def _write(self, *, orderly: bool) -> None:
        """Write the file. Errors are ignored, since no call may wait for it; a newer version's file is not changed."""
        if not self._is_open or not self._is_ours:
            return
        entries = [*self._unconfirmed.values(), *(sent.entry for sent in self._in_flight.values())]
        try:
            if orderly and not entries:
                self._path.unlink(missing_ok=True)
                return
            stored = {"format": _FORMAT, "orderly": orderly, "items": entries}
            new = self._path.with_name(f".{FILE}.new")
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(json.dumps(stored).encode())
            new.replace(self._path)
        except OSError as error:
            _log.debug("The calls sent before their turn could not be recorded: %s", error.strerror)


def _read(path: Path) -> dict[str, Any]:
    """The content of the file; empty if it does not exist or cannot be read."""
    with suppress(OSError, ValueError, RecursionError):
        stored = json.loads(path.read_text(encoding="utf-8"))
        return stored if isinstance(stored, dict) else {}
    return {}


def _entries(stored: dict[str, Any]) -> dict[ItemId, dict[str, object]]:
    found = {}
    entries = stored.get("items")
    for entry in entries if isinstance(entries, list) else ():
        match entry:
            case {"number": int(number), "batch": str(batch)}:
                found[ItemId(number, batch)] = dict(entry)
    return found
