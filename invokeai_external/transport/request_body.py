"""Encodes request bodies, large ones in chunks and off the event loop."""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

import anyio
import anyio.to_thread
import httpx

from .chunks import CHUNK_BYTES, chunks

__all__ = ["InChunks", "each", "encode_json"]

_LONG_TEXT = 1 << 16
"""In characters: a body with a longer text takes longer to encode than a thread takes to start."""

_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
"""Writes JSON as httpx does."""


async def encode_json(body: Mapping[str, Any], limiter: anyio.CapacityLimiter) -> list[bytes]:
    """A body as JSON, in chunks; encoded in a thread if it is long."""
    if _has_long_text(body):
        return await anyio.to_thread.run_sync(_encoded, body, limiter=limiter)
    return _encoded(body)


class InChunks(httpx.AsyncByteStream):
    """A request body that is sent in chunks of a bounded size, so that other tasks never wait long."""

    def __init__(self, parts: AsyncIterable[bytes]) -> None:
        self._parts = parts

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._parts:
            for piece in chunks(part):
                yield piece


async def each(pieces: Sequence[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def _encoded(body: Mapping[str, Any]) -> list[bytes]:
    """A body as JSON, in pieces of about ``CHUNK_BYTES``; other threads run between the steps."""
    pieces, piece = [], bytearray()
    for text in _json_of(body):
        piece += text.encode("utf-8")
        if len(piece) >= CHUNK_BYTES:
            pieces.append(bytes(piece))
            piece.clear()
    return [*pieces, bytes(piece)]


def _json_of(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield "{"
        for place, (name, inner) in enumerate(value.items()):
            yield f"{',' if place else ''}{_JSON.encode(name)}:"
            yield from _json_of(inner)
        yield "}"
    elif isinstance(value, list | tuple):
        yield "["
        for place, inner in enumerate(value):
            if place:
                yield ","
            yield from _json_of(inner)
        yield "]"
    elif isinstance(value, str) and len(value) > _LONG_TEXT:
        yield '"'
        for start in range(0, len(value), CHUNK_BYTES):
            yield _JSON.encode(value[start : start + CHUNK_BYTES])[1:-1]
        yield '"'
    else:
        yield _JSON.encode(value)


def _has_long_text(value: object) -> bool:
    if isinstance(value, Mapping):
        return any(map(_has_long_text, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_has_long_text, value))
    return isinstance(value, str) and len(value) > _LONG_TEXT
