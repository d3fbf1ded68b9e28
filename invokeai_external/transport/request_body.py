"""Encodes request bodies in pieces, each when it is sent."""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Mapping
from typing import Any

import httpx

from .chunks import chunks
from .messages import Base64

__all__ = ["InChunks", "JsonBody"]

_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
"""Writes JSON as httpx does."""


class InChunks(httpx.AsyncByteStream):
    """A request body that is sent in chunks of a bounded size, so that other tasks never wait long."""

    def __init__(self, parts: AsyncIterable[bytes]) -> None:
        self._parts = parts

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._parts:
            for piece in chunks(part):
                yield piece


class JsonBody(httpx.AsyncByteStream):
    """A JSON body, whose files become base64 when they are sent. It can be sent again.

    Attributes:
        length: In bytes.
    """

    def __init__(self, body: Mapping[str, Any]) -> None:
        self._parts: list[bytes | Base64] = []
        text = bytearray()
        for part in _json_of(body):
            if isinstance(part, str):
                text += part.encode("utf-8")
            else:
                self._parts += [bytes(text), part]
                text.clear()
        self._parts.append(bytes(text))
        self.length = sum(map(len, self._parts))

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            for piece in part.pieces() if isinstance(part, Base64) else chunks(part):
                yield piece


def _json_of(value: object) -> Iterator[str | Base64]:
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
    elif isinstance(value, Base64):
        yield '"'
        yield value
        yield '"'
    else:
        yield _JSON.encode(value)
