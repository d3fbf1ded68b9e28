"""The chunks of a WebP file (WebP container specification; the bitstream headers: RFC 9649)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from ...sizing import Size
from ..decoding_limits import MOST_AT_GREAT_COST
from ..errors import too_many_parts, truncated, unreadable
from . import exif

__all__ = ["WebP"]

_PIXELS = frozenset({b"VP8 ", b"VP8L", b"ANMF"})
_SHOWN = _PIXELS | {b"VP8X", b"ICCP", b"ANIM", b"ALPH"}

_HAS_ANIMATION, _HAS_XMP, _HAS_EXIF, _HAS_ALPHA = 0x02, 0x04, 0x08, 0x10
"""The flags in the first byte of a ``VP8X`` chunk."""


_MOST_CHUNKS = 10_000
"""The most chunks of a file: each frame of an animation is one, and Pillow reads them all."""


@dataclass(frozen=True, slots=True)
class _Chunk:
    """``body`` is the offset of the chunk's content, ``size`` the content's length without padding."""

    kind: bytes
    body: int
    size: int

    @property
    def start(self) -> int:
        return self.body - 8

    @property
    def end(self) -> int:
        return self.body + self.size + self.size % 2


class WebP:
    """A parsed WebP file.

    Attributes:
        mime_type: ``image/webp``.
        size: The size in pixels as stored.
        has_alpha: True if there is an alpha channel.
        orientation: How to turn the pixels to show them, 1 to 8, as EXIF counts.
        is_plain: True if the pixels can be sent as they are; False for an animation.
        most_pixels: How many pixels an image of this kind may have to be decoded.
        is_signed: True if the file carries Content Credentials, in a ``C2PA`` chunk (C2PA 2.2, A.3.7).
    """

    mime_type: Literal["image/webp"] = "image/webp"

    def __init__(self, data: bytes) -> None:
        """Read the outlines of the chunks and the header; raises ImageError if the WebP is not complete."""
        self._data = data
        self._view = memoryview(data)
        self._end = 8 + struct.unpack_from("<I", data, 4)[0]
        self._chunks = tuple(_walk(data, self._end))
        if not any(chunk.kind in _PIXELS for chunk in self._chunks):
            raise unreadable()
        try:
            width, height, self._flags = _header(self._chunks[0].kind, self._content(self._chunks[0]))
        except struct.error:
            raise unreadable() from None
        if not width or not height:
            raise unreadable()
        self.size = Size(width, height)
        self.most_pixels = MOST_AT_GREAT_COST
        self.has_alpha = bool(self._flags & _HAS_ALPHA)
        self.is_plain = not self._flags & _HAS_ANIMATION
        self.is_signed = any(chunk.kind == b"C2PA" for chunk in self._chunks)

    @property
    def orientation(self) -> int:
        return exif.orientation(self._exif())

    def stripped(self) -> bytes:
        """The file with only what shows: no EXIF, no XMP, no unknown chunks, nothing after its end."""
        flags = self._flags & ~(_HAS_EXIF | _HAS_XMP)
        return b"".join(self._built(flags, [c for c in self._chunks if c.kind in _SHOWN]))

    def texts(self) -> dict[str, str]:
        """The texts by keyword in the EXIF user comment."""
        return exif.read_texts(self._exif())

    def parts_with_texts(self, texts: Mapping[str, str]) -> list[bytes | memoryview]:
        """The file with these texts in its EXIF user comment; a simple file becomes an extended one."""
        block = exif.with_texts(self._exif(), texts)
        chunk = struct.pack("<4sI", b"EXIF", len(block)) + block + bytes(len(block) % 2)
        return self._built(
            self._flags | _HAS_EXIF, [c for c in self._chunks if c.kind != b"EXIF"], chunk, self._view[self._end :]
        )

    def _exif(self) -> bytes:
        return next((bytes(self._content(chunk)) for chunk in self._chunks if chunk.kind == b"EXIF"), b"")

    def _content(self, chunk: _Chunk) -> memoryview:
        return self._view[chunk.body : chunk.body + chunk.size]

    def _built(
        self, flags: int, chunks: list[_Chunk], exif_chunk: bytes = b"", trailer: bytes | memoryview = b""
    ) -> list[bytes | memoryview]:
        """A file of these chunks, with the EXIF chunk in its place: after the pixels, before XMP and unknown chunks."""
        parts = [self._view[chunk.start : chunk.end] for chunk in chunks]
        if exif_chunk:
            last = max(i for i, chunk in enumerate(chunks) if chunk.kind in _PIXELS)
            parts.insert(last + 1, memoryview(exif_chunk))
        if chunks[0].kind == b"VP8X":
            parts[0] = memoryview(b"".join((parts[0][:8], bytes((flags,)), parts[0][9:])))
        elif exif_chunk:
            canvas = (self.size.width - 1).to_bytes(3, "little") + (self.size.height - 1).to_bytes(3, "little")
            parts.insert(0, memoryview(struct.pack("<4sII", b"VP8X", 10, flags) + canvas))
        length = 4 + sum(len(part) for part in parts)
        return [struct.pack("<4sI4s", b"RIFF", length, b"WEBP"), *parts, trailer]


def _walk(data: bytes, end: int) -> Iterator[_Chunk]:
    if end > len(data):
        raise truncated()
    position = 12
    for _ in range(_MOST_CHUNKS):
        if position == end:
            return
        if position + 8 > end:
            raise truncated()
        kind, size = struct.unpack_from("<4sI", data, position)
        body = position + 8
        position = body + size + size % 2
        if position > end:
            raise truncated()
        yield _Chunk(kind, body, size)
    raise too_many_parts(_MOST_CHUNKS)


def _header(kind: bytes, content: memoryview) -> tuple[int, int, int]:
    """Width, height and the flags of a ``VP8X`` chunk, or those that it would have; raises struct.error."""
    if kind == b"VP8X":
        flags, *edges = struct.unpack_from("<B3xHBHB", content)
        return edges[0] + (edges[1] << 16) + 1, edges[2] + (edges[3] << 16) + 1, flags
    if kind == b"VP8 ":
        code, width, height = struct.unpack_from("<3x3sHH", content)
        if code == b"\x9d\x01\x2a":
            return width & 0x3FFF, height & 0x3FFF, 0
    if kind == b"VP8L":
        code, bits = struct.unpack_from("<sI", content)
        if code == b"\x2f":
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, _HAS_ALPHA if bits >> 28 & 1 else 0
    raise unreadable()
