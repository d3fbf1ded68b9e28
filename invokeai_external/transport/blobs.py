"""Extracts images from a JSON response as it arrives, so that their base64 is never in memory as a whole.

Pure: bytes in, bytes out. A picture costs the memory of its file and no more, and is decoded when its last byte comes.
"""

from __future__ import annotations

import binascii
import io
import re
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module

from pydantic import ConfigDict, TypeAdapter

from .bounded_json import count_values, loads

__all__ = ["AnswerReader"]

_OPENING = re.compile(rb'(?<!\\)"(?:b64_json|data)"[ \t\r\n]*:[ \t\r\n]*"')
"""What stands in front of a picture: OpenAI's name for it or Gemini's, and the quote that opens the text."""

_LONGEST_OPENING = 64
"""How many bytes are looked at again when the next piece comes; behind more spaces a picture is read plainly."""

_MOST_PICTURES = 100
"""An answer with more than these is none of a picture model, and is left to plain reading."""

_STAND_IN = b"-Infinity"
"""Stands in the JSON where a picture was. JSON has no such number, but Python reads it and tells of each, in order."""

_ROOM = 33 << 20
"""How many bytes a picture's buffer begins with. Linux gives memory when it is written to, and what is left over is
given back. Above 32 MB glibc never takes it from the heap (malloc's M_MMAP_THRESHOLD), where a buffer that grows is
copied from place to place and leaves holes behind."""

_QUICK_BYTES = 1 << 16

_MOST_TEXT = 8 << 20
"""With more text than this beside its pictures an answer is read plainly, which takes less memory then."""

_AT_ONCE = 3 << 18
"""How many bytes are copied or encoded in one go; a multiple of three, so that the pieces of base64 make the whole."""

_STANDARD, _FOR_URLS = b"+/", b"-_"
"""What tells base64's two alphabets apart."""

_TO_STANDARD = bytes.maketrans(_FOR_URLS, _STANDARD)
_FROM_STANDARD = bytes.maketrans(_STANDARD, _FOR_URLS)


def _decoder() -> Callable[[bytes], bytes]:
    """What decodes base64 in the standard alphabet, and raises ValueError for what is in neither alphabet.

    pybase64 is the fastest, and is used where it happens to be installed. pydantic, which is everywhere, takes a fifth
    of the time of Python's own module.
    """
    try:
        module = import_module("pybase64")
    except ImportError:
        return _decode_with_pydantic
    return partial(module.b64decode, altchars=None, validate=True)


_base64 = TypeAdapter(bytes, config=ConfigDict(val_json_bytes="base64"))


def _decode_with_pydantic(text: bytes) -> bytes:
    # It reads JSON, where letters may be escaped.
    if b"\\" in text:
        raise ValueError("an escape")
    return _base64.validate_json(b'"%b"' % text)


_decode = _decoder()


class AnswerReader:
    """Reads the body of an answer in pieces of any size.

    Whatever is not as expected (an escape or a space in a picture, a wrong character, two alphabets, a body that is
    cut off or no JSON) makes it a plain reader: the body that it gives then is to the byte what arrived. For that
    nothing has to be kept: what was decoded is encoded again.

    Attributes:
        values: How many values there may be in the JSON so far, pictures left out (``bounded_json.count_values``).
    """

    def __init__(self) -> None:
        self.values = 0
        self._text = bytearray()
        """The body without its pictures."""
        self._searched = 0
        """Where in the text the next opening can begin at the earliest."""
        self._pictures: list[_Picture] = []
        self._is_in_picture = False
        self._is_plain = False

    @property
    def is_quick(self) -> bool:
        """True if ``document`` and ``body`` take less time than starting a thread."""
        return len(self._text) <= _QUICK_BYTES and not (self._is_plain and self._pictures)

    @property
    def may_be_whole(self) -> bool:
        """True if the body could end here: its last sign is one that ends JSON."""
        return not self._is_in_picture and self._text[-_LONGEST_OPENING:].rstrip().endswith((b"}", b"]"))

    def feed(self, piece: bytes) -> None:
        """Take the next piece of the body."""
        while piece:
            piece = self._read_picture(piece) if self._is_in_picture else self._read_text(piece)

    def document(self) -> object | None:
        """The JSON of the whole body, each picture as bytes in place of its text; None if ``body`` is to be read."""
        if self._is_plain or not self._pictures or len(self._text) > _MOST_TEXT:
            return None
        if self._is_in_picture or _STAND_IN in self._text:
            self._is_plain = True
            return None
        pictures = iter(self._pictures)

        def constant(name: str) -> bytes | float:
            return next(pictures).decoded() if name.encode() == _STAND_IN else float(name)

        try:
            document: object = loads(b"".join(self._parts()), constant)
        except ValueError:
            document = None
        if document is None or next(pictures, None):
            # The plain reader says what is wrong with it.
            self._is_plain = True
            return None
        return document

    def body(self) -> bytes:
        """The body as it arrived. Takes a moment if there are pictures in it."""
        self._is_plain = True
        # Written piece by piece, between which other threads run; the buffer becomes the body without being copied.
        body, position = io.BytesIO(), 0
        for picture in self._pictures:
            self._write_text(body, position, picture.place)
            body.writelines(picture.encoded())
            position = picture.place
        self._write_text(body, position, len(self._text))
        return body.getvalue()

    def _write_text(self, body: io.BytesIO, start: int, end: int) -> None:
        for at in range(start, end, _AT_ONCE):
            body.write(self._text[at : min(at + _AT_ONCE, end)])

    def _read_text(self, piece: bytes) -> bytes:
        """Take text up to the next picture; what is left is given back."""
        self._text += piece
        self.values += count_values(piece)
        opening = None if self._is_plain else _OPENING.search(self._text, self._searched)
        if opening is None:
            self._searched = max(self._searched, len(self._text) - _LONGEST_OPENING)
            return b""
        if len(self._pictures) == _MOST_PICTURES:
            self._is_plain = True
            return b""
        # The picture takes both quotes with it.
        rest = bytes(self._text[opening.end() :])
        self.values -= count_values(rest)
        del self._text[opening.end() - 1 :]
        self._searched = len(self._text)
        self._pictures.append(_Picture(self._searched))
        self._is_in_picture = True
        return rest

    def _read_picture(self, piece: bytes) -> bytes:
        """Take base64 up to the quote that closes it; what is left is given back."""
        picture, end = self._pictures[-1], piece.find(b'"')
        try:
            if end < 0:
                picture.add(piece)
                return b""
            picture.add_last(piece[:end])
        except ValueError:
            # What came of it so far is encoded again when the body is asked for; the rest of it is text.
            self._is_plain, self._is_in_picture = True, False
            return piece
        picture.is_whole, self._is_in_picture = True, False
        return piece[end + 1 :]

    def _parts(self) -> Iterator[bytes]:
        """The text with something in place of each picture and its quotes."""
        position = 0
        for picture in self._pictures:
            yield bytes(self._text[position : picture.place])
            yield _STAND_IN
            position = picture.place
        yield bytes(self._text[position:])


class _Picture:
    """One picture while it is decoded.

    Attributes:
        place: Where in the text it was.
        is_whole: True if the quote that closes it came.
    """

    def __init__(self, place: int) -> None:
        self.place = place
        self.is_whole = False
        self._decoded = io.BytesIO(bytes(_ROOM))
        """Its buffer becomes the picture's bytes without being copied."""
        self._count = 0
        """How many bytes came of the text that is no longer kept."""
        self._rest = b""
        """The end of the text: one to four characters that may be its last, or all of its last piece."""
        self._alphabet: bytes | None = None
        """The signs of the alphabet that it is in, once one of them came."""

    def add(self, text: bytes) -> None:
        """Take more of the text. Raises ValueError, and takes nothing, if that is not base64 or the end of it."""
        text = self._rest + text
        whole = (len(text) - 1) // 4 * 4
        decoded = self._decoded_from(text[:whole])
        if len(decoded) != whole // 4 * 3:
            raise ValueError("padded before the end")
        self._count += self._decoded.write(decoded)
        self._rest = text[whole:]

    def add_last(self, text: bytes) -> None:
        """Take the end of the text, padded or not. Raises ValueError, and takes nothing, if that is not base64."""
        last = self._rest + text
        self._decoded.write(self._decoded_from(last + b"=" * (-len(last) % 4)))
        self._decoded.truncate()
        self._rest = last

    def decoded(self) -> bytes:
        return self._decoded.getvalue()

    def encoded(self) -> Iterator[bytes]:
        """The text as it arrived, with its quotes, in pieces."""
        decoded = self._decoded.getbuffer()
        yield b'"'
        for start in range(0, self._count, _AT_ONCE):
            piece = decoded[start : min(start + _AT_ONCE, self._count)]
            text = binascii.b2a_base64(piece, newline=False)
            yield text.translate(_FROM_STANDARD) if self._alphabet == _FOR_URLS else text
        yield self._rest + (b'"' if self.is_whole else b"")

    def _decoded_from(self, text: bytes) -> bytes:
        alphabets = [alphabet for alphabet in (_STANDARD, _FOR_URLS) if any(sign in text for sign in alphabet)]
        alphabet = self._alphabet or next(iter(alphabets), None)
        if any(other != alphabet for other in alphabets):
            raise ValueError("two alphabets")
        decoded = _decode(text.translate(_TO_STANDARD) if alphabet == _FOR_URLS else text)
        self._alphabet = alphabet
        return decoded
