"""Decompresses response bodies in steps of a bounded size."""

from __future__ import annotations

import re
import zlib
from bisect import bisect_left
from collections.abc import Iterator
from typing import Any

import httpx

from ..errors import InvalidResponseError
from ..images.formats.containers import begins_like_image
from .chunks import CHUNK_BYTES, chunks
from .sse import is_stream

__all__ = ["Gzip", "Identity", "Unknown", "decompressor"]

_MOST_MEMBERS = 10_000
"""Servers send one. Each takes time, even one of twenty bytes that holds nothing."""

_LONGEST_START = 1 << 12
"""How many bytes of a body are searched for what it is; they may be spaces."""

_LONGEST_SIGN = 12
"""How many bytes show what a body is."""

_JSON_BEGINS = re.compile(rb'\{\s*(?:\}|"[ -~])|\[\s*(?:\]|\{\s*"|"[ -~])')
"""The start of an object with a name, or of a list of objects or texts. One byte is not enough: what brotli makes often
begins with that of a bracket."""

_GZIP_BEGINS = b"\x1f"
"""The first byte of gzip (RFC 1952). Neither JSON nor an event stream begins with it."""


class Identity:
    """A body that is not compressed."""

    is_whole = True

    def decompress(self, raw: bytes) -> Iterator[bytes]:
        return chunks(raw)


class Gzip:
    """Decompresses gzip, at most ``CHUNK_BYTES`` at a time. The data may have several members (RFC 1952, 2.2).

    Data that are labelled as gzip but are not pass through unchanged: some gateways decompress a response and leave
    its header in place.
    """

    def __init__(self) -> None:
        self._zlib: Any = None
        self._is_plain = self._is_over = False
        self._members = 1

    @property
    def is_whole(self) -> bool:
        return self._is_plain or (self._zlib is not None and self._zlib.eof)

    def decompress(self, raw: bytes) -> Iterator[bytes]:
        if self._zlib is None and not self._is_plain and raw:
            self._is_plain = not raw.startswith(_GZIP_BEGINS)
            self._zlib = _member()
        if self._is_plain:
            yield from chunks(raw)
            return
        is_full = False
        while (raw or is_full) and not self._is_over:
            if self._zlib.eof:
                # What follows the last member is padding.
                self._is_over = not raw.startswith(_GZIP_BEGINS)
                if self._is_over:
                    return
                self._members += 1
                if self._members > _MOST_MEMBERS:
                    raise httpx.DecodingError("too many gzip members")
                self._zlib = _member()
            before = self._zlib.copy()
            try:
                piece = self._zlib.decompress(raw, CHUNK_BYTES)
            except zlib.error:
                # Only the checksum at the end may be wrong, and the data in front of it whole.
                yield _up_to_the_fault(before, raw)
                raise httpx.DecodingError("not gzip") from None
            is_full = len(piece) == CHUNK_BYTES and not self._zlib.eof
            raw = self._zlib.unused_data if self._zlib.eof else self._zlib.unconsumed_tail
            if piece:
                yield piece


class Unknown:
    """A body with a Content-Encoding that was not requested, or that does not exist, such as ``utf-8``.

    It passes through unchanged if it begins like JSON, a stream of events or an image, and else is not read at all.

    Args:
        refusal: Is raised if it does not.
    """

    def __init__(self, refusal: InvalidResponseError) -> None:
        self._refusal = refusal
        self._start = b""
        self._is_plain = False

    @property
    def is_whole(self) -> bool:
        return not self._start

    def decompress(self, raw: bytes) -> Iterator[bytes]:
        if not self._is_plain:
            self._start += raw
            is_plain = _is_plain(self._start)
            if is_plain is None and len(self._start) < _LONGEST_START:
                return
            if not is_plain:
                raise self._refusal
            self._is_plain = True
            raw, self._start = self._start, b""
        yield from chunks(raw)


def _is_plain(start: bytes) -> bool | None:
    """True for the start of JSON, a stream of events or an image; None if it is too short to see that."""
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")
    if begins_like_image(start) or _JSON_BEGINS.match(text):
        return True
    return None if len(text) < _LONGEST_SIGN else is_stream(start, is_said_to_be=False)


def _member() -> Any:
    return zlib.decompressobj(zlib.MAX_WBITS | 16)


def _up_to_the_fault(member: Any, raw: bytes) -> bytes:
    """What the data decompress to before zlib fails, which discards that."""

    def is_beyond(length: int) -> bool:
        try:
            member.copy().decompress(raw[:length], CHUNK_BYTES)
        except zlib.error:
            return True
        return False

    length = bisect_left(range(len(raw)), True, key=is_beyond) - 1
    piece: bytes = member.decompress(raw[: max(length, 0)], CHUNK_BYTES)
    return piece


def decompressor(response: httpx.Response) -> Identity | Gzip | Unknown:
    """The decompressor for a response; that of an encoding that was not requested may raise InvalidResponseError."""
    listed = response.headers.get_list("content-encoding", split_commas=True)
    encodings = [name for name in (entry.strip().lower() for entry in listed) if name not in ("", "identity")]
    if not encodings:
        return Identity()
    if encodings in (["gzip"], ["x-gzip"]):
        return Gzip()
    return Unknown(
        InvalidResponseError(
            "The response uses a compression that was not requested.",
            remedy="It may have been billed. Check the base URL: the server must use gzip or no Content-Encoding.",
            status=response.status_code,
            request_id=response.headers.get("x-request-id"),
            may_be_billed=True,
        )
    )
