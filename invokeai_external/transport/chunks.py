"""Splits long bytes into chunks, so that no single step blocks the event loop."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["CHUNK_BYTES", "chunks"]

CHUNK_BYTES = 1 << 18
"""The most bytes that are decompressed, read or sent before other tasks get their turn."""


def chunks(data: bytes) -> Iterator[bytes]:
    """The data, unchanged if they are short enough."""
    if len(data) <= CHUNK_BYTES:
        yield data
        return
    for start in range(0, len(data), CHUNK_BYTES):
        yield data[start : start + CHUNK_BYTES]
