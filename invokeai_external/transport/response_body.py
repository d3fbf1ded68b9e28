"""Reads response bodies: decompressed, in chunks, and within limits."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing

import anyio.lowlevel
import httpx

from ..untrusted_number import whole_number_in_text
from .bounded_json import MOST_VALUES
from .chunks import chunks
from .decompression import decompressor
from .failures import as_failures_of_httpx, too_large, unreadable

__all__ = ["Allowance", "body_chunks", "check_values", "stated_length"]

_CHUNKS_PER_TURN = 128
"""After this many chunks other tasks get their turn: one read may hold thousands of chunks of one byte."""


class Allowance:
    """How many bytes may still be read, shared by all the images of a response, or by one body.

    Args:
        most: The limit for all of them.
    """

    def __init__(self, most: int) -> None:
        self._most = self._left = most

    def take(self, held: int, wanted: int) -> int:
        """Hold ``wanted`` bytes in place of ``held``; returns ``wanted``.

        Raises:
            InvalidResponseError: Fewer are left. What was held is given back at once, so that of several images that
                share an allowance no more fail than must.
        """
        self._left += held
        if wanted > self._left:
            raise too_large(self._most)
        self._left -= wanted
        return wanted

    def give_back(self, count: int) -> None:
        """Free bytes that were read and discarded."""
        self._left += count


def stated_length(response: httpx.Response) -> int | None:
    """How many bytes a response says that its body has; None if it does not, or if the body is compressed."""
    if response.headers.get("content-encoding"):
        return None
    return whole_number_in_text(response.headers.get("content-length"), 0, sys.maxsize)


async def body_chunks(response: httpx.Response, allowance: Allowance) -> AsyncGenerator[bytes, None]:
    """The decompressed body in chunks of a bounded size. Stops as soon as it is larger than allowed."""
    if response.is_stream_consumed:
        # The user's client has read it, by a hook or because its transport is a mock.
        with as_failures_of_httpx():
            content = response.content
        allowance.take(0, len(content))
        for chunk in chunks(content):
            yield chunk
        return
    body = decompressor(response)
    received = size = taken = count = 0
    async with aclosing(_raw_chunks(response)) as raw_chunks:
        async for raw in raw_chunks:
            received += len(raw)
            count += 1
            if count % _CHUNKS_PER_TURN == 0:
                await anyio.lowlevel.checkpoint()
            for number, chunk in enumerate(body.decompress(raw)):
                if number:
                    # Cancellation and other tasks come in between.
                    await anyio.lowlevel.checkpoint()
                size += len(chunk)
                taken = allowance.take(taken, max(size, received))
                yield chunk
            taken = allowance.take(taken, max(size, received))
    if not body.is_whole:
        raise httpx.RemoteProtocolError("the compressed data are incomplete")


async def _raw_chunks(response: httpx.Response) -> AsyncGenerator[bytes, None]:
    with as_failures_of_httpx():
        async with aclosing(response.aiter_raw()) as raw_chunks:  # type: ignore[type-var]
            async for raw in raw_chunks:
                yield raw


def check_values(values: int) -> None:
    """Raise InvalidResponseError for JSON with more values than any response of an image model."""
    if values > MOST_VALUES:
        raise unreadable(f"has more than {MOST_VALUES:,} values")
