"""The segments of a JPEG file (ITU-T T.81, annex B)."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from ...sizing import Size
from ..decoding_limits import MAX_PIXELS, MOST_AT_COST
from ..errors import ImageError, damaged, too_many_parts, truncated, unreadable
from . import exif

__all__ = ["Jpeg"]

SIGNATURE = b"\xff\xd8\xff"

_APP0, _APP1, _APP2, _APP11, _APP14, _APP15, _COM = 0xE0, 0xE1, 0xE2, 0xEB, 0xEE, 0xEF, 0xFE
_SOI, _EOI, _SOS, _DRI = 0xD8, 0xD9, 0xDA, 0xDD

_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""The markers of a frame header, which holds the size: SOF0 to SOF15 without DHT, JPG and DAC (table B.1)."""

_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
"""The frame headers of files whose pixels come in several scans (table B.1)."""

_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""The next marker in compressed data: 0xFF, but not a stuffed 0xFF00, a fill byte or a restart marker."""

_RESTART = re.compile(rb"\xff[\xd0-\xd7]")

_EXIF = b"Exif\0\0"

_C2PA = re.compile(
    rb"JP.{10}jumb(?:.{8})?.{4}jumd\x63\x32\x70\x61\x00\x11\x00\x10\x80\x00\x00\xaa\x00\x38\x9b\x71", re.DOTALL
)
"""A JUMBF box in APP11 (ISO 19566-5, annex D) described as a C2PA manifest store (C2PA 2.2, 11.1.4)."""

_EXIF_MOST = 0xFFFF - 2 - len(_EXIF)
"""The largest EXIF block in bytes: the length of a segment has 16 bits and counts itself."""


_MOST_SEGMENTS = 10_000
"""The most segments of a file: they hold 655 MB. Profiles, previews and manifests take some hundred."""

_USUAL_SCANS, _MOST_SCANS, _MOST_SCANNED = 16, 100, 1_000_000_000
"""How many scans a file may have: always the first, and up to the second if it has so few pixels that all scans of them
together are at most the third. libjpeg writes 10 into a progressive file, and 18 into one in CMYK (jcparam.c), which
may thus have 55 million pixels. Each may be of a few bytes, and decoding it takes a pass over all pixels."""


@dataclass(frozen=True, slots=True)
class _Segment:
    """Offsets of a segment: ``start`` of the marker, ``body`` after marker and length, ``end`` of the next segment.

    ``gap`` is the end of the previous segment: between the two may be fill bytes, and other bytes of careless writers.
    """

    marker: int
    gap: int
    start: int
    body: int
    end: int


class Jpeg:
    """A parsed JPEG file.

    Attributes:
        mime_type: ``image/jpeg``.
        size: The size in pixels as stored.
        has_alpha: False.
        orientation: How to turn the pixels to show them, 1 to 8, as EXIF counts.
        is_plain: True if the pixels can be sent as they are; False for CMYK.
        has_end: False if only the end marker is missing, or a part of the last scan.
        most_pixels: How many pixels an image of this kind may have to be decoded.
        is_signed: True if the file carries Content Credentials, in APP11 segments (C2PA 2.2, A.3.1).
    """

    mime_type: Literal["image/jpeg"] = "image/jpeg"
    has_alpha = False

    def __init__(self, data: bytes) -> None:
        """Read the outlines of the segments and the frame header; raises ImageError if the JPEG is not complete."""
        self._data = data
        self._view = memoryview(data)
        self._segments = tuple(_walk(data))
        frames = [segment for segment in self._segments if segment.marker in _FRAMES]
        # With two frame headers, Pillow would use the second, which may be a decompression bomb.
        if len(frames) != 1 or frames[0].end - frames[0].body < 6:
            raise unreadable()
        height, width, components = struct.unpack_from(">xHHB", data, frames[0].body)
        if not width or not height:
            raise unreadable()
        self.size = Size(width, height)
        self.most_pixels = MOST_AT_COST if frames[0].marker in _PROGRESSIVE else MAX_PIXELS
        most = max(_USUAL_SCANS, min(_MOST_SCANS, _MOST_SCANNED // self.size.pixels))
        if sum(segment.marker == _SOS for segment in self._segments) > most:
            raise ImageError(f"The JPEG has more than {most} scans, which take too long to decode.", "too_many_parts")
        self.has_end = self._segments[-1].marker == _EOI
        if not self.has_end and self._coefficients() < 64 * components:
            raise truncated()
        self.is_plain = components < 4
        self.is_signed = any(s.marker == _APP11 and _C2PA.match(data, s.body, s.end) for s in self._segments)

    @property
    def orientation(self) -> int:
        return exif.orientation(self._exif())

    def stripped(self, more: bytes = b"") -> bytes:
        """The file with only what shows, and nothing after its end, where phones put videos and depth maps.

        An end marker that is missing is added; ``more`` goes between the last scan and that.
        """
        end = b"" if self.has_end else more + b"\xff\xd9"
        return b"".join((b"\xff\xd8", *(self._view[s.start : s.end] for s in self._segments if self._is_shown(s)), end))

    @property
    def has_restarts(self) -> bool:
        """True if the file defines a restart interval (ITU-T T.81, B.2.4.4)."""
        return any(segment.marker == _DRI for segment in self._segments)

    @property
    def next_restart(self) -> bytes:
        """The restart marker that comes next if the last scan has restarts and goes on (ITU-T T.81, E.1.4)."""
        last = self._segments[-1]
        return bytes((0xFF, 0xD0 + len(_RESTART.findall(self._data, last.body, last.end)) % 8))

    def texts(self) -> dict[str, str]:
        """The texts by keyword in the EXIF user comment."""
        return exif.read_texts(self._exif())

    def parts_with_texts(self, texts: Mapping[str, str]) -> list[bytes | memoryview]:
        """The file with these texts in its EXIF user comment.

        Raises:
            ImageError: With them the EXIF block is larger than a segment can be.
        """
        block = exif.with_texts(self._exif(), texts)
        if len(block) > _EXIF_MOST:
            raise ImageError(
                f"The texts need {len(block):,} bytes of EXIF; the limit of a JPEG file is {_EXIF_MOST:,} bytes.",
                "too_many_bytes",
            )
        body = _EXIF + block
        segment = struct.pack(">BBH", 0xFF, _APP1, 2 + len(body)) + body
        # EXIF must come first, or directly after a JFIF header, which must come first too.
        first = next(i for i, s in enumerate(self._segments) if s.marker != _APP0)
        return [
            b"\xff\xd8",
            *self._slices(self._segments[:first]),
            segment,
            *self._slices(s for s in self._segments[first:] if not self._is_exif(s)),
            self._view[self._segments[-1].end :] if self.has_end else b"\xff\xd9",
        ]

    def _coefficients(self) -> int:
        """How many of the 64 coefficients of each component some scan completes (ITU-T T.81, B.2.3 and G.1.1)."""
        complete = set[tuple[int, int]]()
        for scan in (segment for segment in self._segments if segment.marker == _SOS):
            header = self._data[scan.body : min(scan.end, scan.body + 12)]
            count = header[0] if header else 0
            first, last, approximation = (*header[1 + 2 * count : 4 + 2 * count], 0, 0, 1)[:3]
            if approximation & 15 == 0:
                complete.update(
                    (component, k) for component in header[1 : 1 + 2 * count : 2] for k in range(first, last + 1)
                )
        return len(complete)

    def _exif(self) -> bytes:
        """The EXIF block; one that spans several segments is joined as Pillow does."""
        return b"".join(self._view[s.body + len(_EXIF) : s.end] for s in self._segments if self._is_exif(s))

    def _is_exif(self, segment: _Segment) -> bool:
        return segment.marker == _APP1 and self._data.startswith(_EXIF, segment.body)

    def _is_shown(self, segment: _Segment) -> bool:
        """True if the segment changes how the image looks: JFIF, ICC and Adobe's colour transform among the APPn."""
        if _APP0 <= segment.marker <= _APP15:
            shown = {_APP0: b"JFIF\0", _APP2: b"ICC_PROFILE\0", _APP14: b"Adobe"}.get(segment.marker)
            return shown is not None and self._data.startswith(shown, segment.body)
        return segment.marker != _COM

    def _slices(self, segments: Iterable[_Segment]) -> Iterator[memoryview]:
        return (self._view[segment.gap : segment.end] for segment in segments)


def _walk(data: bytes) -> Iterator[_Segment]:
    """The segments after SOI, up to and including EOI, or the last scan; a scan includes its compressed data."""
    position = 2
    for _ in range(_MOST_SEGMENTS):
        found = _MARKER.search(data, position)
        if found is None:
            raise truncated()
        marker = data[found.end() - 1]
        if marker == _EOI:
            yield _Segment(marker, position, found.start(), found.end(), found.end())
            return
        if found.end() + 2 > len(data):
            raise truncated()
        (length,) = struct.unpack_from(">H", data, found.end())
        if marker == _SOI or length < 2:
            raise damaged()
        end = found.end() + length
        if end > len(data):
            raise truncated()
        if marker == _SOS:
            after = _MARKER.search(data, end)
            # A single 0xFF at the end is half of an end marker.
            end = after.start() if after else len(data) - data.endswith(b"\xff")
        yield _Segment(marker, position, found.start(), found.end() + 2, end)
        if marker == _SOS and after is None:
            return
        position = end
    raise too_many_parts(_MOST_SEGMENTS)
