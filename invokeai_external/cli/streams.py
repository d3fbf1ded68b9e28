"""Standard output and standard error that fail in a sentence: full disks, closed pipes, consoles of few letters."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from typing import Any, TextIO, TypeVar, cast

from ..errors import ExternalError

__all__ = ["OutputError", "guarded", "mute"]


class OutputError(ExternalError):
    """Standard output cannot be written: a full disk, or nobody reads it any more."""

    code = "output"


@contextmanager
def guarded() -> Iterator[None]:
    """While the block runs, standard output writes any text, or raises OutputError; flush it before the block ends.

    What the encoding of the output does not have is written with a backslash; a path that is not Unicode as its bytes.
    """
    codecs.register_error(_ERRORS, _written_anyway)
    for stream in (sys.stdout, sys.stderr):
        # Those of tests and of other programs may be of another kind.
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors=_ERRORS)
    with redirect_stdout(cast(TextIO, _Output(sys.stdout))):
        yield


_Given = TypeVar("_Given")

_ERRORS = "invokeai_external.written_anyway"


def _written_anyway(error: UnicodeError) -> tuple[bytes, int]:
    """The bytes of what an encoding does not have: those of a file name as they were, else an escape in ASCII."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    found = error.object[error.start : error.end]
    # Python reads a byte of a file name that is no UTF-8 as one of these.
    parts = [
        bytes([ord(letter) - 0xDC00]) if "\udc80" <= letter <= "\udcff" else letter.encode("ascii", "backslashreplace")
        for letter in found
    ]
    return b"".join(parts), error.end


class _Output:
    """Standard output, with failures that are told from those of other files."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        # Python has none where the program was started with it closed.
        self._failure = None if stream else "it is closed"

    def write(self, text: str) -> int:
        return self._done(lambda stream: stream.write(text))

    def flush(self) -> None:
        if self._stream:
            self._done(lambda stream: stream.flush())

    def isatty(self) -> bool:
        return self._stream is not None and self._stream.isatty()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _done(self, what: Callable[[TextIO], _Given]) -> _Given:
        """Do it, but not after a failure, of which somebody may have made nothing."""
        if self._stream and not self._failure:
            try:
                return what(self._stream)
            except OSError as error:
                self._failure = error.strerror or str(error)
                mute(self._stream)
        raise OutputError(
            f"Standard output cannot be written: {self._failure}.",
            remedy="Send it to a file or a program that takes it.",
        )


def mute(stream: TextIO | None) -> None:
    """Lead a stream that failed to nowhere: Python writes what is left of it when it ends, and would fail again."""
    if stream is not None:
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
