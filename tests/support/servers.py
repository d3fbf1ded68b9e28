"""Servers on a port of this machine, each in a thread while its context is open."""

from __future__ import annotations

import socket
import threading
from typing import Any, Self

import uvicorn

from invokeai_external.sandbox import create_app

from . import guard  # noqa: F401 - what serves for a test sends nothing to the internet
from .clock import TODAY

__all__ = ["LocalServer", "SandboxServer"]


class LocalServer:
    """Serves an ASGI application.

    Attributes:
        url: The base URL, without a slash at the end.
    """

    def __init__(self, app: Any) -> None:
        # With the protocol named, asyncio sends small packets at once: 40 ms less for each request.
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._listener.bind(("127.0.0.1", 0))
        self._server = _Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._listener]})
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._server.is_up.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=10)
        self._listener.close()


class SandboxServer(LocalServer):
    """Serves the sandbox on the day of the catalogue's facts, or another application in its place."""

    def __init__(self, app: Any = None) -> None:
        super().__init__(app or create_app(today=lambda: TODAY))


class _Server(uvicorn.Server):
    """Says when it is up, so that nobody has to ask again and again."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_up.set()
