"""Extracts images from a JSON response as it arrives, so that their base64 is never in memory as a whole.

Pure: bytes in, bytes out. An image uses the memory of its file, and is decoded as soon as its last byte arrives.
For a 4K image this is about five times faster than reading the response first, and takes a quarter of the memory.
"""

from __future__ import annotations

import binascii
import io
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import import_module
from itertools import pairwise

from pydantic import ConfigDict, TypeAdapter

from ..images.formats.containers import begins_like_image
from .bounded_json import closing_brackets, count_values, loads

__all__ = ["BodyReader"]

_OPENING = re.compile(rb'"(?<!\\")(?:b64_json|data)"[ \t\r\n]*:[ \t\r\n]*"')
"""What precedes an image: the field that OpenAI or Gemini use for it, and the opening quote. It begins with a fixed
character, for which ``re`` looks thirty times as fast as for a condition."""

_MAX_OPENING = 64
"""How many bytes are searched again with the next piece; after more spaces, an image is not found."""

_MAX_IMAGES = 100
"""A response with more does not come from an image model, and is not decoded while it arrives."""

_PLACEHOLDER = b"-Infinity"
"""Replaces each image in the JSON. It is not valid JSON, but Python accepts it and calls a function for each."""

_ROOM = 33 << 20
"""The initial size of the buffer of an image. Linux provides memory when it is written to, and the rest is given back.
Above 32 MB glibc does not take it from the heap (malloc's M_MMAP_THRESHOLD), where a growing buffer is copied again and
again and leaves gaps."""

_SMALL_BODY = 8 << 20
"""In a body that is not longer, a buffer is as large as the body has room for, so that it comes from memory that was in
use before: to get an image of 1K into fresh memory takes longer than to decode it."""

_QUICK_BYTES = 1 << 16

_MAX_TEXT = 8 << 20
"""With more text than this besides its images, a response is read as a whole, which then takes less memory."""

_AT_ONCE = 3 << 18
"""How many bytes are copied or encoded at once; a multiple of three, so that the pieces of base64 can be joined."""

_STANDARD, _FOR_URLS = b"+/", b"-_"
"""The characters in which the two alphabets of base64 differ."""

_TO_STANDARD = bytes.maketrans(_FOR_URLS, _STANDARD)
_FROM_STANDARD = bytes.maketrans(_STANDARD, _FOR_URLS)


def _keep_freed_memory() -> None:
    """Let the program keep the memory that the buffers of small bodies free, for the next ones.

    glibc gives pieces back to the system at once unless it has got back a larger one before (mallopt(3),
    M_MMAP_THRESHOLD), and up to twice that at the end of the heap. Nothing of this one is ever written to.
    """
    bytes(_SMALL_BODY)


_keep_freed_memory()


def _decoder() -> Callable[[bytes], bytes]:
    """A function that decodes base64 in the standard alphabet, and raises ValueError for other characters.

    pybase64 is the fastest and is used if it is installed. pydantic, which always is, takes a fifth of the time of
    Python's own module.
    """
    try:
        module = import_module("pybase64")
    except ImportError:
        return _decode_with_pydantic
    return partial(module.b64decode, altchars=None, validate=True)


_base64 = TypeAdapter(bytes, config=ConfigDict(val_json_bytes="base64"))


def _decode_with_pydantic(text: bytes) -> bytes:
    # It parses JSON, in which letters may be escaped.
    if b"\\" in text:
        raise ValueError("an escape in a string of base64")
    return _base64.validate_json(b'"%b"' % text)


_decode = _decoder()


class BodyReader:
    """Reads the body of a response in pieces of any size.

    If anything is not as expected (an escape or a space in an image, a wrong character, two alphabets, a body that is
    cut off or is not JSON), it restores the body byte for byte. Nothing has to be stored for that: what was decoded is
    encoded again.

    Attributes:
        values: How many values the JSON may have so far, without its images (``bounded_json.count_values``).
        length: How many bytes the body has, if that is known before it arrives.
    """

    def __init__(self) -> None:
        self.values = 0
        self.length: int | None = None
        self._text = bytearray()
        """The body without its images."""
        self._searched = 0
        """The earliest position in the text of the next opening."""
        self._images: list[_Image] = []
        self._is_in_image = False
        self._is_restored = False

    @property
    def is_quick(self) -> bool:
        """True if ``document`` and ``body`` take less time than starting a thread."""
        needs_body = self._is_restored or not self.may_be_whole
        return len(self._text) <= _QUICK_BYTES and not (needs_body and self._images)

    @property
    def has_image(self) -> bool:
        """True if a whole image has arrived."""
        return any(image.is_whole and image.decoded() for image in self._images)

    @property
    def may_be_whole(self) -> bool:
        """True if the body could end here: its last character can end JSON."""
        return not self._is_in_image and self._text[-_MAX_OPENING:].rstrip(b"\0 \t\r\n").endswith((b"}", b"]"))

    def feed(self, piece: bytes) -> None:
        """Take the next piece of the body."""
        while piece:
            piece = self._read_image(piece) if self._is_in_image else self._read_text(piece)

    def document(self, charset: str = "") -> object | None:
        """The JSON of the whole body, with images as bytes instead of text; None if ``body`` must be parsed instead.

        ``charset`` is what the response claims, for a body that is not UTF-8.
        """
        if self._is_restored or not self._images or len(self._text) > _MAX_TEXT:
            return None
        document = None
        if not self._is_in_image and _PLACEHOLDER not in self._text:
            rest = self._text[self._images[-1].position :]
            document = _document(self._text_up_to(self._images) + rest, self._images, charset)
        # Whoever parses the body reports what is wrong with it.
        self._is_restored = document is None
        return document

    def document_up_to_image(self, charset: str = "") -> object | None:
        """The JSON up to its last whole image, for a body that is cut off or broken behind it.

        Nothing that follows is used, since numbers of tokens may be incomplete too. None if there is no image, or if
        the JSON before it is broken as well.
        """
        images = [image for image in self._images if image.is_whole]
        if not self.has_image or images[-1].position > _MAX_TEXT:
            return None
        text = self._text_up_to(images)
        if text.count(_PLACEHOLDER) > len(images):
            return None
        return _document(text + closing_brackets(text), images, charset)

    def body(self) -> bytes:
        """The body as it arrived. This takes a while if it has images."""
        self._is_restored = True
        # Other threads run between the pieces; the buffer becomes the body without being copied.
        body, position = io.BytesIO(), 0
        for image in self._images:
            self._write_text(body, position, image.position)
            body.writelines(image.encoded())
            position = image.position
        self._write_text(body, position, len(self._text))
        return body.getvalue()

    def _write_text(self, body: io.BytesIO, start: int, end: int) -> None:
        for at in range(start, end, _AT_ONCE):
            body.write(self._text[at : min(at + _AT_ONCE, end)])

    def _read_text(self, piece: bytes) -> bytes:
        """Take text up to the next image; return the rest."""
        self._text += piece
        if not begins_like_image(self._text):
            self.values += count_values(piece)
        opening = None if self._is_restored else _OPENING.search(self._text, self._searched)
        if opening is None:
            self._searched = max(self._searched, len(self._text) - _MAX_OPENING)
            return b""
        if len(self._images) == _MAX_IMAGES:
            self._is_restored = True
            return b""
        # Both quotes belong to the image.
        rest = bytes(self._text[opening.end() :])
        self.values -= count_values(rest)
        del self._text[opening.end() - 1 :]
        self._searched = len(self._text)
        room = _ROOM if self.length is None or self.length > _SMALL_BODY else self.length // 4 * 3
        self._images.append(_Image(self._searched, room))
        self._is_in_image = True
        return rest

    def _read_image(self, piece: bytes) -> bytes:
        """Take base64 up to its closing quote; return the rest."""
        image, end = self._images[-1], piece.find(b'"')
        try:
            if end < 0:
                image.add(piece)
                return b""
            image.add_last(piece[:end])
        except ValueError:
            # The part that was decoded is encoded again when the body is needed; the rest is text.
            self._is_restored, self._is_in_image = True, False
            return piece
        image.is_whole, self._is_in_image = True, False
        return piece[end + 1 :]

    def _text_up_to(self, images: Sequence[_Image]) -> bytes:
        """The text up to the last of these images, with a placeholder for each image and its quotes."""
        starts = [0, *(image.position for image in images)]
        pieces = (self._text[start:end] for start, end in pairwise(starts))
        return b"".join(piece + _PLACEHOLDER for piece in pieces)


def _document(text: bytes, images: Sequence[_Image], charset: str) -> object | None:
    """The JSON of a text, with images as bytes in place of their placeholders; None if it is not JSON."""
    left = iter(images)

    def constants() -> Callable[[str], object]:
        nonlocal left
        left = iter(images)
        return constant

    def constant(name: str) -> bytes | float:
        return next(left).decoded() if name.encode() == _PLACEHOLDER else float(name)

    try:
        document: object = loads(text, constants, charset)
    except ValueError:
        return None
    return None if next(left, None) else document


class _Image:
    """One image while it is decoded.

    Args:
        position: Its position in the text.
        room: How many bytes its buffer has at first.

    Attributes:
        position: Its position in the text.
        is_whole: True if its closing quote has arrived.
    """

    def __init__(self, position: int, room: int) -> None:
        self.position = position
        self.is_whole = False
        self._decoded = io.BytesIO(bytes(room))
        """Its buffer becomes the image's bytes without being copied."""
        self._count = 0
        """How many bytes were decoded from text that is no longer stored."""
        self._rest = b""
        """The end of the text: one to four characters that may be the last, or all of the last piece."""
        self._alphabet: bytes | None = None
        """The characters of its alphabet, once one of them has arrived."""

    def add(self, text: bytes) -> None:
        """Take more of the text. Raises ValueError, without a change, if it is not base64 or ends it."""
        text = self._rest + text
        whole = (len(text) - 1) // 4 * 4
        decoded = self._decoded_from(text[:whole])
        if len(decoded) != whole // 4 * 3:
            raise ValueError("padded before the end")
        self._count += self._decoded.write(decoded)
        self._rest = text[whole:]

    def add_last(self, text: bytes) -> None:
        """Take the end of the text, padded or not. Raises ValueError, without a change, if it is not base64."""
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
            raise ValueError("a mixture of two base64 alphabets")
        decoded = _decode(text.translate(_TO_STANDARD) if alphabet == _FOR_URLS else text)
        self._alphabet = alphabet
        return decoded
