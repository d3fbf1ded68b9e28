"""Which items of Invoke's queue have calls out that were started before their turn: written down before they are sent.

An Invoke that is killed, or that stops before they are answered, leaves word of them: the items still wait in the queue
and send again at their turn, which may be billed twice. The next start knows and says it. One small file in the root:

    {"format": 1, "orderly": false, "items": [{"number": 12, "batch": "0b1f…", "provider": "openai",
                                              "model": "gpt-image-2", "sent_at": "2026-11-29T12:03:11+00:00"}]}

There is no prompt in it, no key, no user, and no hash. It is there while Invoke looks ahead, and gone after an orderly
stop that left nothing unanswered.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Container
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["FILE", "Item", "SentAhead"]

FILE = "invokeai_external_queue.json"
"""The file in the root."""

_FORMAT = 1

_log = logging.getLogger(__name__)


class Item(NamedTuple):
    """An item of the queue.

    Attributes:
        number: Its number; a new database begins again at 1.
        batch: The id of its batch, which no other database has.
    """

    number: int
    batch: str


@dataclass
class _Sent:
    """What is out for an item: how many runs, and what is written down of the first of them."""

    runs: int
    entry: dict[str, object]


class SentAhead:
    """The items with calls out. May be used from any thread.

    Args:
        root: Invoke's root folder.
        clock: Seconds since the epoch.

    Attributes:
        was_orderly: False if the last Invoke that looked ahead in this root was killed, or died.
    """

    def __init__(self, root: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = root / FILE
        self._clock = clock
        self._lock = threading.Lock()
        held = _read(self._path)
        self._is_ours = held.get("format", _FORMAT) == _FORMAT
        self.was_orderly = not held or bool(held.get("orderly"))
        self._doubtful = _items(held) if self._is_ours else {}
        self._out: dict[Item, _Sent] = {}
        self._is_open = False

    def open(self) -> None:
        """Looking ahead begins: from now on the file is there."""
        with self._lock:
            self._is_open = True
            self._write(orderly=False)

    def doubtful(self) -> list[Item]:
        """The items whose calls an earlier Invoke sent and did not see answered, by their number."""
        with self._lock:
            return sorted(self._doubtful)

    def is_doubtful(self, item: Item) -> bool:
        """True if a call of this item may have been billed before."""
        with self._lock:
            return item in self._doubtful

    def begin(self, item: Item, provider: str, model: str) -> None:
        """A run of an item is about to be sent before its turn."""
        sent_at = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="seconds")
        with self._lock:
            sent = self._out.setdefault(
                item,
                _Sent(0, {**item._asdict(), "provider": provider, "model": model, "sent_at": sent_at}),
            )
            sent.runs += 1
            self._write(orderly=False)

    def answered(self, item: Item) -> None:
        """What became of a run of an item is known, and kept."""
        with self._lock:
            if (sent := self._out.get(item)) is None:
                return
            sent.runs -= 1
            if not sent.runs:
                del self._out[item]
                self._write(orderly=False)

    def retain(self, alive: Container[Item]) -> None:
        """Forget the items that have ended: nothing sends for them again."""
        with self._lock:
            before = len(self._out) + len(self._doubtful)
            self._out = {item: sent for item, sent in self._out.items() if item in alive}
            self._doubtful = {item: entry for item, entry in self._doubtful.items() if item in alive}
            if len(self._out) + len(self._doubtful) < before:
                self._write(orderly=False)

    def close(self) -> None:
        """Looking ahead ends in an orderly way; what is still out is left to be said by the next start."""
        with self._lock:
            if self._is_open:
                self._write(orderly=True)
            self._is_open = False

    def _write(self, *, orderly: bool) -> None:
        """Passes over what fails: no call may wait for it. A file that a newer version wrote is left as it is."""
        if not self._is_open or not self._is_ours:
            return
        entries = [*self._doubtful.values(), *(sent.entry for sent in self._out.values())]
        try:
            if orderly and not entries:
                self._path.unlink(missing_ok=True)
                return
            held = {"format": _FORMAT, "orderly": orderly, "items": entries}
            new = self._path.with_name(f".{FILE}.new")
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(json.dumps(held).encode())
            new.replace(self._path)
        except OSError as error:
            _log.debug("What is sent before its turn is not written down: %s", error.strerror)


def _read(path: Path) -> dict[str, Any]:
    """What the file holds; nothing if it is not there or cannot be read."""
    with suppress(OSError, ValueError, RecursionError):
        held = json.loads(path.read_text(encoding="utf-8"))
        return held if isinstance(held, dict) else {}
    return {}


def _items(held: dict[str, Any]) -> dict[Item, dict[str, object]]:
    found = {}
    entries = held.get("items")
    for entry in entries if isinstance(entries, list) else ():
        match entry:
            case {"number": int(number), "batch": str(batch)}:
                found[Item(number, batch)] = dict(entry)
    return found
