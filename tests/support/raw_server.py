"""A server that says byte for byte what a test has it say: half answers, odd framing, silence, no end.

It speaks no HTTP beyond reading a request, so that nothing of what is said is put right on the way::

    with RawServer(answer(b"{}"), HOLD) as server:
        httpx.get(server.url)
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

__all__ = ["HOLD", "RESET", "RawServer", "Received", "Step", "answer", "chunk", "chunked", "events", "head"]

HOLD: Final = "hold"
"""Say no more and keep the connection open until the client closes it."""

RESET: Final = "reset"
"""Close the connection with a reset in place of an orderly end."""

Step = bytes | float | str
"""What a server does next: bytes are sent, a number is a pause in seconds, else ``HOLD`` or ``RESET``."""

Script = Callable[["Received"], Iterable[Step]]
"""What is said to a request, step by step; it may be a generator without an end."""


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it came; the names of its headers are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class RawServer:
    """Runs in a thread while its context is open, on a port of 127.0.0.1.

    Args:
        steps: Said to every request; the connection is closed then.
        script: Is asked what to say to a request, in place of the steps.

    Attributes:
        url: Its URL, without a slash at the end.
        requests: All that came, in order.
    """

    def __init__(self, *steps: Step, script: Script | None = None) -> None:
        self._script: Script = script or (lambda _: steps)
        self.url = ""
        self.requests: list[Received] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)
        self._is_ready = threading.Event()
        self._closing = asyncio.Event()

    def __enter__(self) -> RawServer:
        self._thread.start()
        self._is_ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join(10)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._is_ready.set()
        await self._closing.wait()
        server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            received = await _request(reader)
            self.requests.append(received)
            for step in self._script(received):
                if not await _take(step, reader, writer):
                    break
        writer.close()


async def _take(step: Step, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Take one step; gives False where the client has left."""
    if isinstance(step, bytes):
        writer.write(step)
        await writer.drain()
    elif step == HOLD:
        await reader.read()
    elif step == RESET:
        writer.transport.abort()
    else:
        with suppress(TimeoutError):
            await asyncio.wait_for(reader.read(), float(step))
            return False
    return True


async def _request(reader: asyncio.StreamReader) -> Received:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").strip().split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("transfer-encoding") == "chunked":
        body = b"".join([piece async for piece in _chunks(reader)])
    else:
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Received(method, target, headers, body)


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while size := int(await reader.readline(), 16):
        yield (await reader.readexactly(size + 2))[:-2]
    await reader.readline()


def head(status: int = 200, /, **headers: object) -> bytes:
    """The head of a response; an underscore in the name of a header is a hyphen."""
    lines = [f"HTTP/1.1 {status} Said", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1")


def answer(body: bytes, status: int = 200, **headers: object) -> bytes:
    """A whole JSON response, its length announced."""
    return head(status, **{"content_type": "application/json", "content_length": len(body), **headers}) + body


def chunk(data: bytes) -> bytes:
    """A piece of a body in chunks; an empty one is its end."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def chunked(*pieces: bytes, **headers: object) -> bytes:
    """The head and these pieces of a response in chunks, without the chunk that ends it."""
    begin = head(200, **{"content_type": "application/json", "transfer_encoding": "chunked", **headers})
    return begin + b"".join(map(chunk, pieces))


def events(*events: bytes, **headers: object) -> bytes:
    """The head and these events of a stream in chunks, without the chunk that ends it."""
    return chunked(*(b"data: %b\n\n" % event for event in events), **{"content_type": "text/event-stream", **headers})
