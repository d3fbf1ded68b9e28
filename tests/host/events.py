"""The events that an open page of Invoke receives over socket.io."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import socketio

from .invoke import Invoke, Json, wait_for


class Listener:
    """Receives all events of one Invoke in a ``with`` block, like an open page.

    Attributes:
        heard: The names and contents of the events, oldest first.
    """

    def __init__(self, invoke: Invoke) -> None:
        self.heard: list[tuple[str, Json]] = []
        self._url = invoke.url
        self._client = socketio.Client(ssl_verify=False)
        self._client.on("*", self._hear)

    def _hear(self, event: str, content: Json) -> None:
        # 6.13.0 sends every event twice to a page that is in two rooms.
        if (event, content) not in self.heard:
            self.heard.append((event, content))

    def __enter__(self) -> Self:
        self._client.connect(self._url, socketio_path="/ws/socket.io", transports=["websocket"])
        self._client.emit("subscribe_queue", {"queue_id": "default"})
        # The server does not confirm that we are in the room.
        self._client.call("subscribe_bulk_download", {"bulk_download_id": "default"}, timeout=10)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._client.disconnect()
        self._client.wait()

    def named(self, event: str) -> list[Json]:
        """The contents of all events of one name."""
        return [content for name, content in self.heard if name == event]

    def wait_for(self, event: str, **fields: Any) -> Json:
        """Wait for an event with these fields."""
        return wait_for(lambda: next((c for c in self.named(event) if fields.items() <= c.items()), None))
