"""Standard streams that report failures: full disks, closed pipes, limited encodings, an input that cannot be read."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from typing import Any, TextIO, TypeVar, cast

from ..errors import ExternalError, InvalidRequestError

__all__ = ["OutputError", "UnreadOutputError", "guarded", "mute", "read_input"]


class OutputError(ExternalError):
    """Cannot write to standard output: the disk is full, or the program that reads it has ended."""

    code = "output"


class UnreadOutputError(OutputError):
    """The program that reads standard output has ended, as ``head`` does when it has enough lines."""


@contextmanager
def guarded() -> Iterator[None]:
    """While the block runs, standard output writes any text, or raises OutputError; flush it before the block ends.

    A character that the encoding of the output lacks is written as an escape; a path that is not Unicode as its bytes.
    """
    codecs.register_error(_ERRORS, _written_anyway)
    for stream in (sys.stdout, sys.stderr):
        # Tests and other programs may have replaced them with streams that lack this method.
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors=_ERRORS)
    with redirect_stdout(cast(TextIO, _Output(sys.stdout))):
        yield


_Given = TypeVar("_Given")

_ERRORS = "invokeai_external.written_anyway"


def _written_anyway(error: UnicodeError) -> tuple[bytes, int]:
    """The bytes for characters that an encoding lacks: the original bytes of a file name, else an escape in ASCII."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    found = error.object[error.start : error.end]
    # Python reads a byte of a file name that is not UTF-8 as one of these.
    parts = [
        bytes([ord(letter) - 0xDC00]) if "\udc80" <= letter <= "\udcff" else letter.encode("ascii", "backslashreplace")
        for letter in found
    ]
    return b"".join(parts), error.end


class _Output:
    """Standard output, whose failures can be distinguished from those of other files."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        # There is no stream if the program was started with standard output closed.
        self._failure = None if stream else "it is closed"
        self._is_unread = False

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
        """Do it unless something failed before: the caller may have ignored that failure."""
        if self._stream and not self._failure:
            try:
                return what(self._stream)
            except OSError as error:
                self._failure, self._is_unread = error.strerror or str(error), isinstance(error, BrokenPipeError)
                mute(self._stream)
        kind = UnreadOutputError if self._is_unread else OutputError
        raise kind(
            f"Cannot write to standard output: {self._failure}.",
            remedy="Redirect it to a file that can be written, or to a program that reads all of it.",
        )


def mute(stream: TextIO | None) -> None:
    """Discard the rest of a stream that failed: Python flushes it at exit, and would fail again."""
    if stream is not None:
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def read_input(most_bytes: int) -> bytes:
    """Standard input up to its end, or up to a number of bytes; empty if it is closed.

    Raises:
        InvalidRequestError: It cannot be read.
    """
    # There is no such object if the program was started with standard input closed.
    if sys.stdin is None:
        return b""
    try:
        # A program that calls this one may have put a text file in its place.
        buffer = getattr(sys.stdin, "buffer", None)
        return buffer.read(most_bytes) if buffer else sys.stdin.read(most_bytes).encode("utf-8", "surrogateescape")
    except OSError as error:
        raise InvalidRequestError(
            f"Standard input cannot be read: {error.strerror}.", remedy="Pipe it in from a program or a file."
        ) from None
