"""Records the calls in flight, so that a killed process leaves a record of what may have been billed.

A folder in the root has a file for each ``Service`` with calls in flight, locked while its process is running. It is
deleted as soon as nothing is in flight: a file whose lock is free belongs to a process that was killed. Its lines:

    {"format": 1}
    {"begin": 1, "sent_at": "2026-11-29T12:03:11+00:00", "provider": "openai", "model": "gpt-image-2", "n": 1}
    {"end": 1}

It contains no prompt, key or hash. A line that cannot be written is skipped: no call may fail because of it.
"""

from __future__ import annotations

import errno
import itertools
import json
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from ..locks import try_lock
from ..planning.plan import MAX_IMAGES
from ..progress import Progress, Retrying, Sending
from ..providers import catalog
from ..providers.built_in import built_in_ids
from ..result import Notice
from ..root_folder import IN_FLIGHT_FOLDER
from ..untrusted_number import whole_number
from ..untrusted_text import NAME, fit_to_show

__all__ = ["InFlight", "LeftBehind", "LeftCall", "left_behind", "notices_of"]

_FORMAT = 1
_MOST_BYTES = 1 << 24
"""A file is read up to this size, which takes seconds. A call takes about a hundred bytes, and the file is deleted when
nothing is in flight: a hundred thousand calls without a pause fit."""

_LONGEST_LINE = 1 << 12

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LeftCall:
    """A call that was in flight when its process was killed: whether it was billed, only the provider knows.

    Attributes:
        provider: The provider's id.
        model: The model id that was sent.
        n: How many images it asked for.
        sent_at: When it was sent, in UTC.
    """

    provider: str
    model: str
    n: int
    sent_at: datetime


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """What killed processes left behind.

    Attributes:
        calls: The calls that were in flight.
        newer: Files that a newer version of this program wrote; they were neither read nor deleted.
    """

    calls: tuple[LeftCall, ...] = ()
    newer: tuple[Path, ...] = ()


class InFlight:
    """The calls of one ``Service`` that are in flight.

    Args:
        root: The folder of the settings; None to record nothing. It is not created: if it does not exist, nothing is
            recorded.
        clock: Seconds since the epoch.
    """

    def __init__(self, root: Path | None, clock: Callable[[], float] = time.time) -> None:
        self._root = root
        self._clock = clock
        self._numbers = itertools.count(1)
        self._open: set[int] = set()
        self._file: tuple[int, Path] | None = None

    @contextmanager
    def call(
        self, provider: str, model: str, n: int, on_progress: Callable[[Progress], None]
    ) -> Iterator[Callable[[Progress], None]]:
        """Follow one call while the block runs; yields a function that passes its progress on to ``on_progress``.

        The call is in flight from each ``Sending`` to the ``Retrying`` after it, or to the end of the block: until then
        its caller may not have the images that arrived. However the block ends, the caller knows how.
        """
        number: int | None = None

        def report(progress: Progress) -> None:
            nonlocal number
            if isinstance(progress, Sending | Retrying):
                self._end(number)
                number = None
            if isinstance(progress, Sending):
                number = self._begin(provider, model, n)
            on_progress(progress)

        try:
            yield report
        finally:
            self._end(number)

    def _begin(self, provider: str, model: str, n: int) -> int:
        number = next(self._numbers)
        self._open.add(number)
        sent_at = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="seconds")
        if self._file is None and self._root is not None:
            try:
                self._file = _new_file(self._root / IN_FLIGHT_FOLDER)
            except OSError as error:
                _log.debug("Calls in flight are not recorded: %s", error.strerror)
        self._write({"begin": number, "sent_at": sent_at, "provider": provider, "model": model, "n": n})
        return number

    def _end(self, number: int | None) -> None:
        if number is None:
            return
        self._open.discard(number)
        if self._open:
            self._write({"end": number})
        elif self._file is not None:
            descriptor, path = self._file
            self._file = None
            # Windows does not delete an open file. Once closed, another process may delete it, and finds no open call.
            self._write_to(descriptor, {"end": number})
            with suppress(OSError):
                os.close(descriptor)
            with suppress(OSError):
                path.unlink()

    def _write(self, line: Mapping[str, object]) -> None:
        if self._file is not None:
            self._write_to(self._file[0], line)

    @staticmethod
    def _write_to(descriptor: int, line: Mapping[str, object]) -> None:
        try:
            os.write(descriptor, _encoded(line))
        except OSError as error:
            _log.debug("A call in flight is not recorded: %s", error.strerror)


def left_behind(root: Path) -> LeftBehind:
    """The calls that were in flight when a process was killed. Each is reported once: its file is deleted."""
    calls: list[LeftCall] = []
    newer: list[Path] = []
    for path in sorted((root / IN_FLIGHT_FOLDER).glob("*.jsonl")):
        with suppress(OSError):
            found = _taken(path)
            if found is None:
                newer.append(path)
            else:
                calls += found
    return LeftBehind(tuple(calls), tuple(newer))


def notices_of(left: LeftBehind) -> list[Notice]:
    """The notices about it: one for each provider and model."""
    found: dict[tuple[str, str], list[LeftCall]] = {}
    for call in sorted(left.calls, key=lambda call: call.sent_at):
        found.setdefault((call.provider, call.model), []).append(call)
    return [
        *(Notice("left_in_flight", _sentence(*names, calls)) for names, calls in found.items()),
        *(
            Notice("newer_format", f"{path} was written by a newer version of this program and is not read.")
            for path in left.newer
        ),
    ]


def _sentence(provider: str, model: str, calls: Sequence[LeftCall]) -> str:
    """Says that calls of one model may have been billed; ``calls`` has the oldest first."""
    # The provider may have been removed since then.
    info = catalog.page(provider).provider if provider in built_in_ids() else None
    started = f"started {calls[0].sent_at:%Y-%m-%d %H:%M} UTC"
    name, where = (info.name, f" {info.billing_place}{'' if info.billing_url else '.'}") if info else (provider, ".")
    if len(calls) == 1:
        what, them = f"1 call to {name} ({model}, {started}) was", "it may have been billed. It is"
    else:
        what = f"{len(calls)} calls to {name} ({model}, the first {started}) were"
        them = "they may have been billed. They are"
    return f"{what} in flight when the program ended: {them} not sent again. Check your usage{where}"


def _new_file(folder: Path) -> tuple[int, Path]:
    """A new file, locked, with its first line; raises OSError."""
    folder.mkdir(mode=0o700, exist_ok=True)
    while True:
        path = folder / f"{secrets.token_hex(8)}.jsonl"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | getattr(os, "O_BINARY", 0)
        descriptor = os.open(path, flags, 0o600)
        try:
            # Before the lock was taken, another process may have taken the file for one that was left behind.
            if try_lock(descriptor) and _is_still_there(descriptor, path):
                os.write(descriptor, _encoded({"format": _FORMAT}))
                return descriptor, path
        except OSError:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise
        os.close(descriptor)


def _taken(path: Path) -> list[LeftCall] | None:
    """The open calls of a file whose process is gone, and deletes the file; None if a newer version wrote it.

    Empty if its process is running, or another one has just taken it. Raises OSError.
    """
    if not path.is_file() or path.is_symlink():
        return []
    descriptor = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
    with closing(os.fdopen(descriptor, "rb")) as file:
        if not try_lock(descriptor) or not _is_still_there(descriptor, path):
            return []
        calls = _open_calls(file)
        if calls is None:
            return None
        if os.name == "posix":
            # Still under the lock, so that no other process reports it too.
            path.unlink()
    path.unlink(missing_ok=True)
    return calls


def _open_calls(file: IO[bytes]) -> list[LeftCall] | None:
    """The open calls of a file; None if a newer version wrote it. Raises OSError if another program did."""
    calls: dict[int, LeftCall] = {}
    for place, line in enumerate(_lines(file)):
        match line:
            case {"format": int(number)} if place == 0 and number > _FORMAT:
                return None
            # The folder may be a link to anywhere: files of other programs stay.
            case _ if place == 0 and not isinstance(line.get("format"), int):
                raise OSError(errno.EINVAL, "another program wrote it")
            case {"end": int(number)}:
                calls.pop(number, None)
            case {"begin": int(number), "sent_at": str(sent_at), "provider": str(provider), "model": str(model)} if (
                _is_name(provider) and _is_name(model)
            ):
                n = whole_number(line.get("n"), 1, MAX_IMAGES) or 1
                with suppress(ValueError, OverflowError):
                    sent = datetime.fromisoformat(sent_at).astimezone(UTC)
                    calls[number] = LeftCall(provider, model, n, sent)
    return list(calls.values())


def _is_name(text: str) -> bool:
    """True if a text can be shown as the name of a provider or a model."""
    return fit_to_show(text, NAME) == text


def _lines(file: IO[bytes]) -> Iterator[dict[str, Any]]:
    """The lines that are JSON objects; the last may be cut off."""
    left = _MOST_BYTES
    while left > 0 and (line := file.readline(_LONGEST_LINE)):
        left -= len(line)
        with suppress(ValueError, RecursionError):
            value = json.loads(line)
            if isinstance(value, dict):
                yield value


def _is_still_there(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _encoded(line: Mapping[str, object]) -> bytes:
    return json.dumps(line).encode() + b"\n"
