"""Serves hostile responses, and normal ones beside them, in a separate process.

``python -m benchmarks.hostile FOLDER`` prints its port and serves until its standard input ends; the folder contains
the normal responses. The path selects the response: ``/lists/openai/v1/images/generations``.
"""

from __future__ import annotations

import gzip
import http.server
import json
import sys
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

from .provider import serve_until_stdin_ends, served_by

__all__ = ["served"]

_AT_ONCE = 1 << 20
_TOO_MUCH = 290_000_000


def served(folder: Path) -> AbstractContextManager[str]:
    """The base URL of a server with these responses, which runs while the context is open."""
    return served_by("hostile", folder)


def _repeated(begin: bytes, middle: bytes, size: int, end: bytes = b"") -> Iterator[bytes]:
    yield begin
    piece = middle * (_AT_ONCE // len(middle))
    for _ in range(size // len(piece)):
        yield piece
    yield end


def _zeros_as_gzip(size: int) -> bytes:
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    return b"".join([*(packer.compress(bytes(_AT_ONCE)) for _ in range(size // _AT_ONCE)), packer.flush()])


def _openai_events(encoded: bytes, _: bytes) -> Iterator[bytes]:
    for kind in (b"partial_image", b"completed"):
        yield b'data: {"type": "image_generation.%b", "b64_json": "' % kind
        yield encoded
        yield b'"}\n\n'


def _gemini_events(encoded: bytes, thought: bytes) -> Iterator[bytes]:
    for text, more in ((thought, b', "thought": true'), (encoded, b"")):
        yield b'data: {"candidates": [{"content": {"parts": [{"inlineData": {"mimeType": "image/png", "data": "'
        yield text
        yield b'"}%b}]}}]}\n\n' % more
    yield b'data: {"candidates": [{"finishReason": "STOP"}], "usageMetadata": {"totalTokenCount": 1300}}\n\n'


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    folder: Path
    zeros: bytes

    def do_POST(self) -> None:
        self._read_request()
        _, name, provider, *_ = self.path.split("/")
        status, headers, body = self._response(name, provider)
        self.send_response(status)
        for header, value in headers.items():
            self.send_header(header, value)
        self.send_header("Connection", "close")
        self.end_headers()
        # A client that refuses the response closes the connection.
        with suppress(ConnectionError):
            for piece in body:
                self.wfile.write(piece)
        self.close_connection = True

    def _read_request(self) -> None:
        left = int(self.headers["Content-Length"])
        while left:
            left -= len(self.rfile.read(min(left, _AT_ONCE)))

    def _response(self, name: str, provider: str) -> tuple[int, dict[str, str], Iterator[bytes]]:
        as_json = {"Content-Type": "application/json"}
        as_events = {"Content-Type": "text/event-stream"}
        packed = {"gzip": "gzip", "gzip-gzip": "gzip, gzip", "br": "br", "zstd": "zstd"}
        if name in packed:
            body = gzip.compress(self.zeros) if name == "gzip-gzip" else self.zeros
            return 200, {**as_json, "Content-Encoding": packed[name]}, iter([body])
        if name == "4K-gzip":
            body = gzip.compress(self._good("4K", provider), 1)
            return 200, {**as_json, "Content-Encoding": "gzip"}, iter([body])
        if name == "4K-stream":
            make = _openai_events if provider == "openai" else _gemini_events
            return 200, as_events, make(self._encoded("4K", provider), self._encoded("1K", provider))
        endless = {
            "lists": (b"[", b"[],", b"[]]"),
            "digits": (b'{"data": ', b"1", b"}"),
            "text": (b'{"data": [{"revised_prompt": "', b"x", b'"}]}'),
            "emoji": (b'{"data": [{"revised_prompt": "', b"x", '🦊"}]}'.encode()),
            "base64": (b'{"data": [{"b64_json": "', b"AAAA", b'*"}]}'),
            "error": (b'{"error": {"message": "', b"x", b'"}}'),
            "events": (b"", b"data:\n\n", b""),
        }
        if name in endless:
            begin, middle, end = endless[name]
            size = 40_000_000 if name == "events" else _TOO_MUCH
            headers = as_events if name == "events" else as_json
            return 400 if name == "error" else 200, headers, _repeated(begin, middle, size, end)
        return 200, as_json, iter([self._good(name, provider)])

    def _good(self, size: str, provider: str) -> bytes:
        return (self.folder / f"{size}-{provider}").read_bytes()

    def _encoded(self, size: str, provider: str) -> bytes:
        response: Any = json.loads(self._good(size, provider))
        if provider == "openai":
            text: str = response["data"][0]["b64_json"]
        else:
            text = response["candidates"][0]["content"]["parts"][0]["inlineData"]["data"]
        return text.encode("ascii")

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


def _serve(folder: Path) -> None:
    _Handler.folder, _Handler.zeros = folder, _zeros_as_gzip(400_000_000)
    serve_until_stdin_ends(_Handler)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
