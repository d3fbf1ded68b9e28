"""Parses server-sent events, in pieces of any size (WHATWG HTML, 9.2.6). Pure: bytes in, bytes out."""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["EventReader", "is_stream"]

_LINE_END = re.compile(rb"\r\n|\n|\r")
_MARK = b"\xef\xbb\xbf"
"""The byte order mark that may begin a stream."""

_DATA = b"data:"

_FIELD = re.compile(rb"(?:data|event|id|retry)?:")
"""What a stream of events begins with; a colon begins a comment."""

_LONGEST_FIELD = len(b"retry:")

_BLANK = b" \t\r\n"


def is_stream(start: bytes, *, is_said_to_be: bool) -> bool | None:
    """Whether a body is a stream of events, whatever its media type says; None if its start is too short.

    Args:
        start: The start of the body.
        is_said_to_be: True if its media type is that of a stream.
    """
    text = start.removeprefix(_MARK).lstrip(_BLANK)
    if not text or (len(text) < _LONGEST_FIELD and text[:1] in b":deir" and not is_said_to_be):
        return None
    return not text.startswith((b"{", b"[")) if is_said_to_be else _FIELD.match(text) is not None


class EventReader:
    """Yields the data of each event, without its name, its id and comments, which no provider needs.

    Data are yielded in pieces as they arrive, so that an event with an image is never in memory as a whole. ``None``
    marks the end of an event. Several lines of data are joined by line feeds.

    JSON without ``data:`` before it, which servers send when they fail in the middle of a stream, is an event too: from
    a line that begins with a bracket to the next empty line or line of data.
    """

    def __init__(self) -> None:
        self._begun: bytes | None = b""
        """The line so far, until its field is known; then None."""
        self._is_data = False
        self._has_data = False
        self._is_bare = False
        """True in JSON without ``data:`` before it."""
        self._after_return = False
        self._is_first_line = True

    @property
    def is_in_line(self) -> bool:
        """True within a line: a stream that ends here was cut off."""
        return self._begun != b""

    def feed(self, chunk: bytes) -> Iterator[bytes | None]:
        """Pieces of data and ends of events in a piece of the stream."""
        if not chunk:
            return
        rest = chunk.removeprefix(b"\n") if self._after_return else chunk
        self._after_return = chunk.endswith(b"\r")
        # Only the new piece is searched: a line of image data has millions of bytes and arrives in thousands of pieces.
        if b"\n" in rest or b"\r" in rest:
            *lines, rest = _LINE_END.split(rest)
            for line in lines:
                yield from self._take(line)
                yield from self._end_line()
        yield from self._take(rest)

    def end(self) -> Iterator[None]:
        """The event that the end of the stream completes: some servers forget the empty line after it."""
        yield from self._end_event()

    def _end_event(self) -> Iterator[None]:
        self._is_bare = False
        if self._has_data:
            self._has_data = False
            yield None

    def _take(self, part: bytes) -> Iterator[bytes | None]:
        """Take a part of a line."""
        if self._begun is None:
            if self._is_data and part:
                yield part
            return
        self._begun += part
        if self._is_first_line:
            self._begun = self._begun.removeprefix(_MARK)
            if _MARK.startswith(self._begun):
                return
        if self._begun.startswith(_DATA) and len(self._begun) > len(_DATA):
            line = self._begun[len(_DATA) :].removeprefix(b" ")
            if self._is_bare:
                yield from self._end_event()
            yield from self._begin_data()
            self._begun = None
            if line:
                yield line
        elif not _DATA.startswith(self._begun):
            yield from self._take_other()

    def _take_other(self) -> Iterator[bytes | None]:
        """Take the beginning of a line that is not data, unless it is JSON."""
        line, self._begun = self._begun or b"", None
        self._is_data = self._is_bare or line.startswith((b"{", b"["))
        if self._is_data:
            if not self._is_bare:
                yield from self._end_event()
            self._is_bare = True
            yield from self._begin_data()
            yield line

    def _begin_data(self) -> Iterator[bytes]:
        if self._has_data:
            yield b"\n"
        self._is_data = self._has_data = True

    def _end_line(self) -> Iterator[bytes | None]:
        if self._begun in (b"data", _DATA):
            yield from self._begin_data()
        elif self._begun == b"":
            yield from self._end_event()
        self._begun, self._is_first_line = b"", False
