"""Reads what an image file says of itself without reading its pixels, which may be gigabytes."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

from .formats import png
from .formats.containers import begun_type

__all__ = ["outline"]

_HEAD = 12
"""In bytes. They show the format."""

_MOST = 32_000_000
"""In bytes, of all that is not pixels: texts, profiles, manifests."""

_MOST_PARTS = 100_000
"""A PNG of 100 MB has some ten thousand chunks of pixels."""

_HEADER = 32
"""In bytes, of the pixels of a WebP: their beginning has the size."""

_SOS = 0xDA
"""The marker of a JPEG that compressed pixels follow (ITU-T T.81, table B.1); its texts are before them."""


def outline(file: BinaryIO) -> bytes:
    """A PNG, JPEG or WebP without its pixels, which has the same texts; empty for another format.

    Args:
        file: The file, at its start.

    Raises:
        OSError: It cannot be read.
    """
    head = file.read(_HEAD)
    file.seek(0)
    match begun_type(head):
        case "image/png":
            return b"".join(_png(file))
        case "image/jpeg":
            return b"".join(_jpeg(file))
        case "image/webp":
            content = b"WEBP" + b"".join(_webp(file))
            return struct.pack("<4sI", b"RIFF", len(content)) + content
        case _:
            return b""


def _png(file: BinaryIO) -> Iterator[bytes]:
    yield file.read(len(png.SIGNATURE))
    room, has_pixels = _MOST, False
    for _ in range(_MOST_PARTS):
        head = file.read(8)
        if len(head) < 8:
            return
        length, kind = struct.unpack(">I4s", head)
        if kind != b"IDAT":
            body = file.read(min(length + 4, room))
            room -= len(body)
            yield head + body
        else:
            file.seek(length + 4, 1)
            if not has_pixels:
                # Each chunk ends with a checksum, which nobody looks at here.
                yield struct.pack(">I4sI", 0, kind, 0)
            has_pixels = True
        if kind == b"IEND" or room <= 0:
            return


def _jpeg(file: BinaryIO) -> Iterator[bytes]:
    yield file.read(2)
    room = _MOST
    while room > 0:
        head = file.read(4)
        if len(head) < 4 or head[0] != 0xFF:
            return
        body = file.read(max(0, int.from_bytes(head[2:], "big") - 2))
        room -= len(head) + len(body)
        yield head + body
        if head[1] == _SOS:
            yield b"\xff\xd9"
            return


def _webp(file: BinaryIO) -> Iterator[bytes]:
    (end,) = struct.unpack("<4xI4x", file.read(_HEAD))
    room, left = _MOST, end - 4
    # What follows the end is not looked at.
    for _ in range(_MOST_PARTS):
        head = file.read(8) if left > 0 and room > 0 else b""
        if len(head) < 8:
            return
        kind, length = struct.unpack("<4sI", head)
        kept = min(length, room if kind == b"EXIF" else _HEADER)
        body = file.read(kept)
        room -= len(head) + len(body)
        left -= len(head) + length + length % 2
        yield struct.pack("<4sI", kind, len(body)) + body + bytes(len(body) % 2)
        file.seek(length + length % 2 - kept, 1)
