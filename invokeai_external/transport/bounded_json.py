"""Parses untrusted JSON with a limit on memory, and on the time that it blocks other threads.

Python uses up to thirty bytes for a byte of JSON, and parses it in one step, during which no other thread runs.
Therefore the number of values is limited, and long texts (an image in base64) are taken out and parsed in pieces.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

__all__ = ["MOST_VALUES", "closing_brackets", "count_values", "is_json", "load", "loads"]

MOST_VALUES = 200_000
"""A response with more values does not come from an image model; a list of a thousand models has a tenth of that."""

_MOST_REST = 8 << 20
"""The most bytes besides the long texts."""

_MOST_QUOTES = 1_000_000

_LONG = 1 << 10
"""A text of more bytes is taken out."""

_SLICE = 1 << 20
"""How many bytes are searched or parsed at once."""

_LONGEST_WIDE = 16 << 20
"""The longest text with characters other than ASCII, for which Python uses up to four bytes each."""

_LONGEST_TEXT = 96 << 20
"""The longest text: no image is larger in base64, and Python takes a tenth of a second to create 200 MB of text."""

_LONGEST_ESCAPES = 4096
"""How many backslashes may follow each other."""

_BACKSLASH = ord("\\")
_LONGEST_ESCAPE = 6
"""The characters of an escape by number, such as ``\\u00e9``; other escapes have two."""

_HIGH_SURROGATE = re.compile(rb"\\u[dD][89abAB]..", re.DOTALL)
_LOW_SURROGATE = re.compile(rb"\\u[dD][c-fC-F]")

_LONGEST_NUMBER = 100
"""The most digits of an integer."""

_DEEPEST = 100
"""How deeply values may be nested that are kept where Python cannot parse all of them."""

_BRACKETS = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[{\]}]', re.DOTALL)
"""A bracket, or a text, in which brackets mean nothing."""

_CHARSETS: Mapping[str, str] = {
    # As in browsers (WHATWG's Encoding Standard).
    **dict.fromkeys(("iso-8859-1", "iso8859-1", "latin1", "latin-1", "us-ascii", "windows-1252", "cp1252"), "cp1252"),
    **dict.fromkeys(("gb2312", "gbk", "gb18030"), "gb18030"),
    **dict.fromkeys(("shift_jis", "shift-jis"), "cp932"),
    **{name: name for name in ("iso-8859-15", "big5", "euc-jp", "euc-kr")},
}
"""The charsets in which a body is read that is not the UTF-8 of JSON (RFC 8259), and Python's name for each."""

_PADDING = "\0 \t\r\n"

_STAND_IN = b"Infinity"
"""Replaces each long text. It is not valid JSON, but Python accepts it and calls a function for each in turn."""


def count_values(text: bytes | bytearray) -> int:
    """At least the number of values in a piece of JSON, including keys: it counts what precedes or separates them."""
    return sum(text.count(sign) for sign in (b"[", b"{", b",", b":"))


def closing_brackets(text: bytes) -> bytes:
    """The brackets that complete JSON which was cut off behind a value."""
    missing = []
    # Every byte becomes one character: only ASCII is searched for.
    for match in _BRACKETS.finditer(text.decode("latin-1")):
        if match[0] in ("[", "{"):
            missing.append(b"]" if match[0] == "[" else b"}")
        elif match[0] in ("]", "}") and missing:
            missing.pop()
    return b"".join(reversed(missing))


def load(text: bytes, charset: str = "") -> object:
    """The same as ``loads``, within bounds. Raises ValueError for what is not JSON, too deeply nested or too large."""
    texts = list(_long_texts(text)) if len(text) > _SLICE else []
    if len(text) - sum(end - start for start, end in texts) > _MOST_REST:
        raise ValueError("too much data besides its long strings")
    rest = b"".join(_rest(text, texts))
    if count_values(rest) > MOST_VALUES:
        raise ValueError("too many values")
    places = iter(texts)

    def constants() -> Callable[[str], object]:
        nonlocal places
        places = iter(texts)
        return constant

    # Python calls it only outside of texts: within a text, the placeholder is text.
    def constant(name: str) -> object:
        if not texts or name.encode() != _STAND_IN:
            return float(name)
        place = next(places, None)
        if place is None:
            raise ValueError("a number that JSON does not have")
        return _read(text, *place, charset)

    loaded = loads(rest, constants, charset)
    if next(places, None):
        raise ValueError("a sign before a string")
    return loaded


def is_json(text: bytes, charset: str = "") -> bool:
    """True for whole JSON within the bounds of ``load``."""
    try:
        load(text, charset)
    except ValueError:
        return False
    return True


def loads(text: bytes, constants: Callable[[], Callable[[str], object]] | None = None, charset: str = "") -> object:
    """``json.loads`` that raises only ValueError, and parses a number of thousands of digits as infinite.

    What some relays do must not lose an image: line ends and tabs are accepted in a text, and NULs behind the JSON; a
    byte that is not UTF-8 is read by the charset or replaced; and a value that is nested too deeply becomes null.

    Args:
        text: The JSON.
        constants: Makes the function that is called for each constant that JSON does not have; called for each try.
        charset: The charset that the response claims; may be empty.
    """
    whole = _decoded(text, json.detect_encoding(text), charset).rstrip(_PADDING)
    try:
        return _loads(whole, constants)
    except RecursionError:
        pass
    return _loads("".join(_shallow(whole)), constants)


def _loads(text: str, constants: Callable[[], Callable[[str], object]] | None) -> object:
    return json.loads(text, strict=False, parse_int=_whole, parse_constant=constants and constants())


def _decoded(text: bytes, encoding: str, charset: str) -> str:
    try:
        return text.decode(encoding, "surrogatepass")
    except UnicodeDecodeError:
        return text.decode(_CHARSETS.get(charset, encoding), "replace")


def _shallow(text: str) -> Iterator[str]:
    """The JSON with null for each list and object that is nested too deeply."""
    position = depth = 0
    for match in _BRACKETS.finditer(text):
        if match[0] in ("[", "{"):
            depth += 1
            if depth == _DEEPEST:
                yield text[position : match.start()]
                yield "null"
        elif match[0] in ("]", "}"):
            if depth == _DEEPEST:
                position = match.end()
            depth -= 1
    # Where the brackets do not end, neither does the JSON.
    if depth < _DEEPEST:
        yield text[position:]


def _whole(digits: str) -> float:
    """An integer; one that is too long for Python must not lose an image."""
    return int(digits) if len(digits) <= _LONGEST_NUMBER else math.inf


def _long_texts(text: bytes) -> Iterator[tuple[int, int]]:
    """The start and the end of each long text, without its quotes. Raises ValueError for a text without an end."""
    position = 0
    for _ in range(_MOST_QUOTES):
        start = _find(text, b'"', position, len(text)) + 1
        if not start:
            return
        end = _closing_quote(text, start)
        if end - start > _LONG:
            yield start, end
        position = end + 1
    raise ValueError("too many long strings")


def _closing_quote(text: bytes, start: int) -> int:
    position = start
    for _ in range(_MOST_QUOTES):
        end = _find(text, b'"', position, len(text))
        if end < 0:
            break
        escapes = _backslashes_before(text, end)
        if escapes == _LONGEST_ESCAPES:
            break
        if escapes % 2 == 0:
            return end
        position = end + 1
    raise ValueError("an unterminated string")


def _rest(text: bytes, texts: Sequence[tuple[int, int]]) -> Iterator[bytes]:
    """The JSON with a placeholder for each long text and its quotes."""
    position = 0
    for start, end in texts:
        yield text[position : start - 1]
        yield _STAND_IN
        position = end + 1
    yield text[position:]


def _read(text: bytes, start: int, end: int, charset: str) -> str:
    """A long text as a string."""
    is_ascii = all(text[at : min(at + _SLICE, end)].isascii() for at in range(start, end, _SLICE))
    if not is_ascii and end - start > _LONGEST_WIDE:
        raise ValueError("a string with non-ASCII characters that is too long")
    if end - start > _LONGEST_TEXT:
        raise ValueError("a string that is too long")
    if _find(text, b"\\", start, end) < 0:
        return _decoded(text[start:end], "utf-8", charset)
    pieces = []
    for piece in _pieces(text, start, end):
        pieces.append(str(json.loads(_decoded(b'"%b"' % piece, "utf-8", charset), strict=False)))
        if end - start > _LONGEST_WIDE and not pieces[-1].isascii():
            raise ValueError("a string with non-ASCII characters that is too long")
    return "".join(pieces)


def _pieces(text: bytes, start: int, end: int) -> Iterator[bytes]:
    """A text in pieces, cut neither within a character nor within an escape."""
    while start < end:
        stop = min(start + _SLICE, end)
        while stop < end and text[stop] & 0xC0 == 0x80:
            stop += 1
        if stop < end:
            stop = min(_after_escape(text, stop), end)
        yield text[start:stop]
        start = stop


def _after_escape(text: bytes, position: int) -> int:
    """The end of the escape around a position, else the position; a surrogate pair is one escape."""
    for start in range(position - _LONGEST_ESCAPE + 1, position):
        if text[start] == _BACKSLASH and _backslashes_before(text, start) % 2 == 0:
            position = max(position, start + (_LONGEST_ESCAPE if text[start + 1 : start + 2] == b"u" else 2))
    if _HIGH_SURROGATE.fullmatch(text, position - _LONGEST_ESCAPE, position) and _LOW_SURROGATE.match(text, position):
        position += _LONGEST_ESCAPE
    return position


def _find(text: bytes, signs: bytes, start: int, end: int) -> int:
    """The same as ``text.find``, in steps."""
    for at in range(start, end, _SLICE):
        found = text.find(signs, at, min(at + _SLICE + len(signs) - 1, end))
        if found >= 0:
            return found
    return -1


def _backslashes_before(text: bytes, end: int) -> int:
    before = text[max(0, end - _LONGEST_ESCAPES) : end]
    return len(before) - len(before.rstrip(b"\\"))
