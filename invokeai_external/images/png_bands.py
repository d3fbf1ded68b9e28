"""Writes a large PNG band by band, which takes little memory and, for noise, a third of Pillow's time."""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeAlias

from PIL import Image, ImageChops

from .formats.png import SIGNATURE

__all__ = ["Box", "Written", "bands_of", "png_of_at_most", "png_of_bands", "png_of_written", "written"]

Box: TypeAlias = tuple[int, int, int, int]
"""Left, top, right and bottom, as Pillow counts."""

_BAND_PIXELS = 2_000_000
"""How many pixels are written at a time; with more, the system spends a third of the time on handing out memory."""

_COLOUR_TYPES = {"L": 0, "RGB": 2, "RGBA": 6, "A": 6}
"""PNG's colour type by mode (PNG specification, third edition, table 8). A is RGBA of which only the alpha is given."""

_NONE, _AVERAGE = 0, 3
"""Filter types (section 9.2)."""

_ADLER_BASE = 65521
"""The prime number of Adler-32 (RFC 1950, section 8.2)."""

_SAMPLED_ROWS = 32
"""How many rows in the middle of a band decide how it is written."""

_SMOOTH = 2.5
"""In bits of entropy for each byte. What has less gets Pillow's filters, one chosen for each row, which make it up to a
third smaller. Above, they win next to nothing, and choosing takes longer than all the rest."""

_NOISE = 6.6
"""In bits of entropy for each byte: more than this is stored, since to compress it takes seconds and saves a sixth at
most. Photos have less."""


class Written(NamedTuple):
    """A band as it is in the file: its chunk, and the checksum and the length of its rows before compression."""

    chunk: bytes
    checksum: int
    length: int


def bands_of(size: tuple[int, int]) -> Iterator[Box]:
    """The boxes of the bands of an image, from top to bottom, each with the row above it, which its filters need."""
    width, height = size
    rows = max(1, _BAND_PIXELS // width)
    for top in range(0, height, rows):
        yield 0, top - 1, width, min(height, top + rows)


def png_of_bands(size: tuple[int, int], mode: str, bands: Iterable[Image.Image], profile: bytes | None = None) -> bytes:
    """A PNG of 8 bits whose pixels come in bands, from top to bottom.

    Args:
        size: Its width and height.
        mode: L, RGB or RGBA, which is also that of every band.
        bands: The pixels in each box of ``bands_of``; what is above the image does not count.
        profile: Its ICC profile.
    """
    return png_of_written(size, mode, _written(mode, bands), profile)


def png_of_at_most(max_bytes: int, size: tuple[int, int], mode: str, bands: Iterable[Image.Image]) -> bytes | None:
    """As ``png_of_bands``; None as soon as it has more bytes, without the bands that follow.

    The mode A stands for RGBA whose pixels are black; the bands are their alpha, of mode L.
    """
    file = io.BytesIO()
    for part in _parts(size, mode, _written(mode, bands), None):
        file.write(part)
        if file.tell() > max_bytes:
            return None
    return file.getvalue()


def png_of_written(size: tuple[int, int], mode: str, bands: Iterable[Written], profile: bytes | None = None) -> bytes:
    """As ``png_of_bands``, from bands that ``written`` made."""
    return b"".join(_parts(size, mode, bands, profile))


def written(mode: str, band: Image.Image, *, is_first: bool) -> Written:
    """A band of ``png_of_bands`` on its own: it is the same in every PNG that has these pixels there."""
    if is_first:
        band = band.copy()
        band.paste(0, (0, 0, band.width, 1))
    rows, level = _filtered_alpha(band) if mode == "A" else _filtered(band)
    deflate = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, zlib.Z_RLE)
    chunk = _chunk(b"IDAT", deflate.compress(rows), deflate.flush(zlib.Z_SYNC_FLUSH))
    return Written(chunk, zlib.adler32(rows), len(rows))


def _written(mode: str, bands: Iterable[Image.Image]) -> Iterator[Written]:
    return (written(mode, band, is_first=place == 0) for place, band in enumerate(bands))


def _parts(size: tuple[int, int], mode: str, bands: Iterable[Written], profile: bytes | None) -> Iterator[bytes]:
    yield SIGNATURE + _chunk(b"IHDR", struct.pack(">IIBBBBB", *size, 8, _COLOUR_TYPES[mode], 0, 0, 0))
    if profile:
        yield _chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(profile))
    # One zlib stream (RFC 1950): its header, the blocks of each band, an empty last block and the checksum.
    yield _chunk(b"IDAT", b"\x78\x01")
    checksum = zlib.adler32(b"")
    for band in bands:
        yield band.chunk
        checksum = _checksum_of_both(checksum, band.checksum, band.length)
    yield _chunk(b"IDAT", b"\x03\0", struct.pack(">I", checksum)) + _chunk(b"IEND")


def _checksum_of_both(first: int, second: int, length: int) -> int:
    """The Adler-32 of two texts in a row, from that of each; ``length`` is the second one's (RFC 1950, section 8.2)."""
    low = (first & 0xFFFF) + (second & 0xFFFF) - 1
    high = (first >> 16) + (second >> 16) + length * ((first & 0xFFFF) - 1)
    return high % _ADLER_BASE << 16 | low % _ADLER_BASE


def _chunk(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join((kind, *parts))
    return b"".join((struct.pack(">I", len(body) - len(kind)), body, struct.pack(">I", zlib.crc32(body))))


def _filtered(image: Image.Image) -> tuple[memoryview, int]:
    """The rows of an image but for the first as PNG filters them, and zlib's level for them."""
    middle = image.height // 2
    sample = image.crop((0, max(0, middle - _SAMPLED_ROWS), image.width, middle + 1))
    bits, kind = min((_entropy(sample), _NONE), (_entropy(_less_average(sample)), _AVERAGE))
    if bits < _SMOOTH:
        return _with_pillows_kinds(image), 1
    if bits > _NOISE:
        return _with_kind(image, _NONE), 0
    return _with_kind(_less_average(image) if kind == _AVERAGE else image, kind), 1


def _filtered_alpha(image: Image.Image) -> tuple[memoryview, int]:
    """As ``_filtered``, for black pixels of which the image is the alpha: only that is filtered, as black stays 0."""
    alpha = _with_pillows_kinds(image)
    narrow, wide = 1 + image.width, 1 + 4 * image.width
    height = image.height - 1
    rows = bytearray(wide * height)
    rows[::wide] = alpha[::narrow]
    for place in range(height):
        rows[place * wide + 4 : (place + 1) * wide : 4] = alpha[place * narrow + 1 : (place + 1) * narrow]
    return memoryview(rows), 1


def _stride(image: Image.Image) -> int:
    """The bytes of a row with its filter type."""
    return 1 + image.width * len(image.getbands())


def _with_pillows_kinds(image: Image.Image) -> memoryview:
    """The rows of an image but for the first, each with the filter type that Pillow chooses."""
    return memoryview(zlib.decompress(image.tobytes("zip", image.mode, False, 0)))[_stride(image) :]


def _with_kind(image: Image.Image, kind: int) -> memoryview:
    """The rows of an image but for the first, with the same filter type before each."""
    stride = _stride(image)
    # The encoder adds a byte after each row, which is the one before the next.
    rows = bytearray(image.tobytes("raw", image.mode, stride))
    rows[stride - 1 :: stride] = bytes([kind]) * image.height
    return memoryview(rows)[stride - 1 : -1]


def _less_average(image: Image.Image) -> Image.Image:
    """PNG's filter Average: each byte less the mean of the one to the left and the one above, rounded down."""
    left = image.crop((-1, 0, image.width - 1, image.height))
    up = image.crop((0, -1, image.width, image.height - 1))
    return ImageChops.subtract_modulo(image, ImageChops.add(left, up, 2))


def _entropy(image: Image.Image) -> float:
    """In bits for each byte."""
    histogram = image.histogram()
    counts = [sum(histogram[value::256]) for value in range(256)]
    total = sum(counts)
    return -sum(count * math.log2(count / total) for count in counts if count) / total
