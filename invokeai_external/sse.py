"""Server-sent events as they arrive, in pieces of any size (WHATWG HTML, 9.2.6). Pure: bytes in, bytes out."""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["EventReader"]

_LINE_END = re.compile(rb"\r\n|\n|\r")
_MARK = b"\xef\xbb\xbf"
"""The byte order mark that a stream may begin with."""


class EventReader:
    """Gives the data of each event; names, ids and comments are left out, as both providers say all in the data."""

    def __init__(self) -> None:
        self._line: list[bytes] = []
        self._data: list[bytes] = []
        self._after_return = False
        self._is_first_line = True

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The events that a piece completes; several lines of data are joined by line feeds."""
        if self._after_return and chunk:
            chunk = chunk.removeprefix(b"\n")
        self._after_return = chunk.endswith(b"\r") or (self._after_return and not chunk)
        # Only the new piece is looked through: a line of picture data has millions of bytes and thousands of pieces.
        *ends, rest = _LINE_END.split(chunk)
        for end in ends:
            self._line.append(end)
            line = b"".join(self._line)
            self._line.clear()
            yield from self._take(line)
        self._line.append(rest)

    def end(self) -> Iterator[bytes]:
        """The event that the end of the stream completes: some servers forget the empty line behind the last one.

        A line that was cut off is no data.
        """
        yield from self._take(b"")

    def _take(self, line: bytes) -> Iterator[bytes]:
        if self._is_first_line:
            self._is_first_line, line = False, line.removeprefix(_MARK)
        if not line:
            if self._data:
                yield b"\n".join(self._data)
            self._data.clear()
            return
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
