"""Writes a large PNG band by band, which takes little memory and, for noise, a third of Pillow's time."""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from PIL import Image, ImageChops

from .formats.png import SIGNATURE

__all__ = ["Box", "bands_of", "png_of_at_most", "png_of_bands"]

Box: TypeAlias = tuple[int, int, int, int]
"""Left, top, right and bottom, as Pillow counts."""

_BAND_PIXELS = 2_000_000
"""How many pixels are written at a time; with more, the system spends a third of the time on handing out memory."""

_COLOUR_TYPES = {"L": 0, "RGB": 2, "RGBA": 6, "A": 6}
"""PNG's colour type by mode (PNG specification, third edition, table 8). A is RGBA of which only the alpha is given."""

_NONE, _AVERAGE = 0, 3
"""Filter types (section 9.2)."""

_SAMPLED_ROWS = 32
"""How many rows in the middle of a band decide how it is written."""

_SMOOTH = 2.5
"""In bits of entropy for each byte. What has less gets Pillow's filters, one chosen for each row, which make it up to a
third smaller. Above, they win next to nothing, and choosing takes longer than all the rest."""

_NOISE = 7.2
"""In bits of entropy for each byte: more than this is stored, since to compress it takes seconds and saves a tenth."""


def bands_of(size: tuple[int, int]) -> Iterator[Box]:
    """The boxes of the bands of an image, from top to bottom."""
    width, height = size
    rows = max(1, _BAND_PIXELS // width)
    for top in range(0, height, rows):
        yield 0, top, width, min(height, top + rows)


def png_of_bands(size: tuple[int, int], mode: str, bands: Iterable[Image.Image], profile: bytes | None = None) -> bytes:
    """A PNG of 8 bits whose pixels come in bands, from top to bottom.

    Args:
        size: Its width and height.
        mode: L, RGB or RGBA, which is also that of every band.
        bands: As wide as the PNG, and together as high.
        profile: Its ICC profile.
    """
    file = io.BytesIO()
    for part in _parts(size, mode, bands, profile):
        file.write(part)
    return file.getvalue()


def png_of_at_most(max_bytes: int, size: tuple[int, int], mode: str, bands: Iterable[Image.Image]) -> bytes | None:
    """As ``png_of_bands``; None as soon as it has more bytes, without the bands that follow.

    The mode A stands for RGBA whose pixels are black; the bands are their alpha, of mode L.
    """
    file = io.BytesIO()
    for part in _parts(size, mode, bands, None):
        file.write(part)
        if file.tell() > max_bytes:
            return None
    return file.getvalue()


def _parts(size: tuple[int, int], mode: str, bands: Iterable[Image.Image], profile: bytes | None) -> Iterator[bytes]:
    yield SIGNATURE + _chunk(b"IHDR", struct.pack(">IIBBBBB", *size, 8, _COLOUR_TYPES[mode], 0, 0, 0))
    if profile:
        yield _chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(profile))
    # One zlib stream (RFC 1950): its header, the blocks of each band, an empty last block and the checksum.
    blocks, checksum = b"\x78\x01", zlib.adler32(b"")
    above = Image.new("L" if mode == "A" else mode, (size[0], 1))
    for band in bands:
        rows, level = _filtered_alpha(above, band) if mode == "A" else _filtered(above, band)
        checksum = zlib.adler32(rows, checksum)
        deflate = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, zlib.Z_RLE)
        yield _chunk(b"IDAT", blocks, deflate.compress(rows), deflate.flush(zlib.Z_SYNC_FLUSH))
        blocks, above = b"", band.crop((0, band.height - 1, band.width, band.height))
    yield _chunk(b"IDAT", b"\x03\0", struct.pack(">I", checksum)) + _chunk(b"IEND")


def _chunk(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join((kind, *parts))
    return b"".join((struct.pack(">I", len(body) - len(kind)), body, struct.pack(">I", zlib.crc32(body))))


def _filtered(above: Image.Image, band: Image.Image) -> tuple[memoryview, int]:
    """The rows of a band as PNG filters them, and zlib's level for them; ``above`` is the row before."""
    image = _below(above, band)
    middle = image.height // 2
    sample = image.crop((0, max(0, middle - _SAMPLED_ROWS), image.width, middle + 1))
    bits, kind = min((_entropy(sample), _NONE), (_entropy(_less_average(sample)), _AVERAGE))
    if bits < _SMOOTH:
        return _with_pillows_kinds(image), 1
    if bits > _NOISE:
        return _with_kind(image, _NONE), 0
    return _with_kind(_less_average(image) if kind == _AVERAGE else image, kind), 1


def _filtered_alpha(above: Image.Image, band: Image.Image) -> tuple[memoryview, int]:
    """As ``_filtered``, for black pixels of which the images are the alpha: only that is filtered, as black stays 0."""
    alpha = _with_pillows_kinds(_below(above, band))
    narrow, wide = 1 + band.width, 1 + 4 * band.width
    rows = bytearray(wide * band.height)
    rows[::wide] = alpha[::narrow]
    for place in range(band.height):
        rows[place * wide + 4 : (place + 1) * wide : 4] = alpha[place * narrow + 1 : (place + 1) * narrow]
    return memoryview(rows), 1


def _below(above: Image.Image, band: Image.Image) -> Image.Image:
    """A band with the row before it."""
    image = Image.new(band.mode, (band.width, band.height + 1))
    image.paste(above)
    image.paste(band, (0, 1))
    return image


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
