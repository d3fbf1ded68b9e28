"""The chunks of a PNG file (PNG specification, third edition, section 5)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ...sizing import Size
from ..decoding_limits import MAX_PIXELS, MOST_AT_COST
from ..errors import ImageError, damaged, too_many_parts, truncated, unreadable
from . import exif

__all__ = ["Png", "begun_size"]

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_CRITICAL = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})

_SHOWN = _CRITICAL | {
    *(b"tRNS", b"bKGD", b"pHYs", b"sBIT"),
    *(b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"mDCV", b"cLLI"),
}
"""The chunks that change how the still image looks. Others may reveal who made it, where, when and how."""

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""The channels of a pixel by colour type: grey, RGB, palette, grey with alpha, RGBA (section 11.2.1, IHDR)."""

_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
"""The bits that a channel may have, by colour type (the same table)."""

_GREY, _PALETTE = 0, 3

_DEFLATE_MOST = 1032
"""The most bytes that zlib inflates from one byte (zlib's technical details); a shorter file lacks pixels."""

_MOST_INFLATED = 1 << 24
"""How many bytes all compressed texts of a file may inflate to: a small file could inflate to gigabytes."""


_END = b"\0\0\0\0IEND\xae\x42\x60\x82"

_LARGEST_PROFILE = 1 << 20
"""How many bytes an ICC profile may inflate to: Pillow, which many servers use, refuses an image with a larger one."""

_MOST_CHUNKS = 1 << 16
"""The most chunks of a file: with libpng's 8 kB for each chunk of pixels, a file of 512 MB."""


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Offsets of a chunk: ``start`` of its length, ``end`` after its CRC."""

    kind: bytes
    start: int
    end: int


class Png:
    """A parsed PNG file.

    Attributes:
        mime_type: ``image/png``.
        size: The size in pixels as stored.
        has_alpha: True if there is an alpha channel or a transparent colour.
        orientation: How to turn the pixels to show them, 1 to 8, as EXIF counts.
        is_plain: True if the pixels can be sent as they are. 16-bit grey cannot: Pillow, which many servers use, makes
            it white when it converts it to RGB.
        has_end: False if only the last chunk is missing, or a part of it; it is added to what the methods return.
        most_pixels: How many pixels an image of this kind may have to be decoded.
        is_signed: True if the file carries Content Credentials, in a ``caBX`` chunk (C2PA 2.2, A.3.3).
    """

    mime_type: Literal["image/png"] = "image/png"

    def __init__(self, data: bytes) -> None:
        """Read the outlines of the chunks and the header; raises ImageError if the PNG is not complete."""
        self._chunks = tuple(_walk(data))
        self.has_end = self._chunks[-1].end <= len(data)
        self._data = data if self.has_end else data[: self._chunks[-1].start] + _END
        self._view = memoryview(self._data)
        header = self._chunks[0]
        if header.kind != b"IHDR" or len(self._body(header)) != 13:
            raise unreadable()
        width, height, self._depth, self._colour, compression, filtering, interlace = struct.unpack(
            ">IIBBBBB", self._body(header)
        )
        if not (0 < width < 1 << 31 and 0 < height < 1 << 31 and self._depth in _DEPTHS.get(self._colour, ())):
            raise unreadable()
        if compression or filtering or interlace > 1:
            raise unreadable()
        self._kinds = [chunk.kind for chunk in self._chunks]
        # With two headers, Pillow would use the second, which may be a decompression bomb.
        if b"IDAT" not in self._kinds or self._kinds.count(b"IHDR") != 1:
            raise unreadable()
        self.size = Size(width, height)
        self.has_alpha = self._colour >= 4 or b"tRNS" in self._kinds
        self.most_pixels = MOST_AT_COST if self._depth == 16 else MAX_PIXELS
        self.is_plain = (self._colour, self._depth) != (_GREY, 16)
        self.is_signed = b"caBX" in self._kinds

    @property
    def orientation(self) -> int:
        return next((exif.orientation(bytes(self._body(c))) for c in self._chunks if c.kind == b"eXIf"), 1)

    def verify(self) -> None:
        """Check every chunk by its checksum, without inflating the pixels, unless the file has no end.

        Raises:
            ImageError: A checksum is wrong, chunks are missing or out of order, or the size needs more bytes.
        """
        for chunk in self._chunks:
            (checksum,) = struct.unpack_from(">I", self._data, chunk.end - 4)
            if zlib.crc32(self._view[chunk.start + 4 : chunk.end - 4]) != checksum:
                raise damaged()
            if chunk.kind[:1].isupper() and chunk.kind not in _CRITICAL:
                raise unreadable()
        first = self._kinds.index(b"IDAT")
        pixels = self._chunks[first : first + self._kinds.count(b"IDAT")]
        if any(chunk.kind != b"IDAT" for chunk in pixels):
            raise damaged()
        if self._colour == _PALETTE and b"PLTE" not in self._kinds[:first]:
            raise damaged()
        least = self.size.pixels * self._depth * _CHANNELS[self._colour] // 8
        if sum(len(self._body(chunk)) for chunk in pixels) * _DEFLATE_MOST < least:
            raise damaged()
        if not self.has_end and not self._has_all_pixels(pixels):
            raise truncated()

    def stripped(self) -> bytes:
        """The file with only what shows: no texts, no EXIF, no dates, and only the first image of an animation."""
        return b"".join((SIGNATURE, *self._slices(chunk for chunk in self._chunks if self._is_shown(chunk))))

    def texts(self) -> dict[str, str]:
        """The texts by keyword, the last one if several share a keyword; ignores those that cannot be read."""
        texts = {}
        room = _MOST_INFLATED
        for chunk in self._chunks:
            if chunk.kind in _TEXTS:
                keyword, compressed, text = _text(chunk.kind, bytes(self._body(chunk)))
                try:
                    if compressed:
                        text = _inflated(text, room)
                        room -= len(text)
                    texts[keyword] = text.decode("utf-8" if chunk.kind == b"iTXt" else "latin-1")
                except (UnicodeDecodeError, zlib.error):
                    continue
        return texts

    def parts_with_texts(self, texts: Mapping[str, str]) -> list[bytes | memoryview]:
        """The file with these texts before its pixels, in place of those with the same keywords."""
        return self.parts_with_text_chunks([_text_chunk(*text) for text in texts.items()])

    def parts_with_text_chunks(
        self, texts: Sequence[tuple[bytes, bytes]], dropped: Iterable[str] = ()
    ) -> list[bytes | memoryview]:
        """The file with these text chunks, each a type and a body, before its pixels.

        They replace the texts in the file with the same keywords; texts with a dropped keyword are removed.

        Raises:
            ImageError: One is not a text chunk.
        """
        if any(kind not in _TEXTS for kind, _ in texts):
            raise ImageError("Only text chunks can be written into a PNG.", "invalid_text")
        keywords = {keyword.encode("latin-1") for keyword in dropped} | {_keyword(body) for _, body in texts}
        chunks = [c for c in self._chunks if c.kind not in _TEXTS or _keyword(bytes(self._body(c))) not in keywords]
        first = next(i for i, chunk in enumerate(chunks) if chunk.kind == b"IDAT")
        return [
            SIGNATURE,
            *self._slices(chunks[:first]),
            *(_chunk(*text) for text in texts),
            *self._slices(chunks[first:]),
            self._view[self._chunks[-1].end :],
        ]

    def _is_shown(self, chunk: _Chunk) -> bool:
        if chunk.kind != b"iCCP":
            return chunk.kind in _SHOWN
        inflater = zlib.decompressobj()
        try:
            inflater.decompress(bytes(self._body(chunk)).partition(b"\0")[2][1:], _LARGEST_PROFILE)
        except zlib.error:
            return True  # Pillow ignores such a profile
        return not inflater.unconsumed_tail

    def _has_all_pixels(self, chunks: Sequence[_Chunk]) -> bool:
        """True if the compressed pixels have an end; not more is inflated than an image of that size has."""
        inflater = zlib.decompressobj()
        room = self.size.pixels * 9 + 16 * self.size.height + 1024  # 8 bytes a pixel, and the filters of its rows
        try:
            for chunk in chunks:
                rest: bytes | memoryview = self._body(chunk)
                while len(rest) and not inflater.eof and room > 0:
                    room -= len(inflater.decompress(rest, 1 << 20))
                    rest = inflater.unconsumed_tail
        except zlib.error:
            raise damaged() from None
        return inflater.eof

    def _body(self, chunk: _Chunk) -> memoryview:
        return self._view[chunk.start + 8 : chunk.end - 4]

    def _slices(self, chunks: Iterable[_Chunk]) -> Iterator[memoryview]:
        """The chunks, adjacent ones as one slice: the pixels may be in thousands of chunks."""
        start = end = 0
        for chunk in chunks:
            if chunk.start != end:
                yield self._view[start:end]
                start = chunk.start
            end = chunk.end
        yield self._view[start:end]


_TEXTS = frozenset({b"tEXt", b"zTXt", b"iTXt"})
"""The types of chunks that contain a keyword and a text."""


def _walk(data: bytes) -> Iterator[_Chunk]:
    """The chunks up to IEND. If only that is missing, the last one ends beyond the file."""
    position = len(SIGNATURE)
    has_pixels = False
    for _ in range(_MOST_CHUNKS):
        if position + 12 > len(data):
            if not has_pixels or not _END.startswith(data[position:]):
                raise truncated()
            yield _Chunk(b"IEND", position, position + 12)
            return
        length, kind = struct.unpack_from(">I4s", data, position)
        if not kind.isalpha():
            raise damaged()
        end = position + 12 + length
        if end > len(data):
            raise truncated()
        yield _Chunk(kind, position, end)
        has_pixels = has_pixels or kind == b"IDAT"
        if kind == b"IEND":
            return
        position = end
    raise too_many_parts(_MOST_CHUNKS)


def begun_size(data: bytes) -> Size | None:
    """The size in the header of a PNG, whatever follows; None for other data."""
    if data[:8] != SIGNATURE or data[12:16] != b"IHDR" or len(data) < 24:
        return None
    width, height = struct.unpack_from(">II", data, 16)
    return Size(width, height) if width and height else None


def _keyword(body: bytes) -> bytes:
    return body.partition(b"\0")[0]


def _text(kind: bytes, body: bytes) -> tuple[str, bool, bytes]:
    """The keyword of a text chunk, whether its text is compressed, and the text (sections 11.3.3.2 to 11.3.3.4)."""
    keyword, _, rest = body.partition(b"\0")
    if kind == b"tEXt":
        compressed, text = False, rest
    elif kind == b"zTXt":
        compressed, text = True, rest[1:]  # after the compression method, which is always 0
    else:
        compressed, text = rest[:1] == b"\1", rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    return keyword.decode("latin-1"), compressed, text


def _inflated(data: bytes, room: int) -> bytes:
    """Raises zlib.error if the data are broken or inflate to more than ``room`` bytes."""
    inflater = zlib.decompressobj()
    inflated = inflater.decompress(data, max(room, 1))  # 0 would mean no limit
    if not inflater.eof:
        raise zlib.error("too long or truncated")
    return inflated


def _text_chunk(keyword: str, text: str) -> tuple[bytes, bytes]:
    """ASCII as ``tEXt``, which every reader decodes the same, and other text as ``iTXt``."""
    if text.isascii():
        kind, body = b"tEXt", text.encode("ascii")
    else:
        kind, body = b"iTXt", b"\0\0\0\0" + text.encode("utf-8")
    return kind, keyword.encode("latin-1") + b"\0" + body


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
