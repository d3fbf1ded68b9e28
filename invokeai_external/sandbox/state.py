"""The state of a sandbox. It belongs to the app, so that two sandboxes in one process share nothing."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import cast

import anyio
from starlette.requests import Request

from .. import clock
from .call_log import CallLog
from .faults import FaultQueue
from .models import ServedModels

__all__ = ["FileStore", "SandboxState", "StoredFile", "state_of"]

_MAX_FILES = 64


@dataclass(slots=True)
class StoredFile:
    """An image file with a URL.

    Attributes:
        data: Its bytes.
        mime_type: Its type.
        misses: How many more requests get a 404.
        needs_key: True if only a request with a key gets the file.
    """

    data: bytes = field(repr=False)
    mime_type: str
    misses: int = 0
    needs_key: bool = False


class FileStore:
    """The image files that responses link to: the newest 64."""

    def __init__(self) -> None:
        self._files: OrderedDict[str, StoredFile] = OrderedDict()

    def put(self, file: StoredFile) -> str:
        """Store a file and return its name."""
        name = f"img-{secrets.token_hex(12)}.{file.mime_type.removeprefix('image/')}"
        self._files[name] = file
        if len(self._files) > _MAX_FILES:
            self._files.popitem(last=False)
        return name

    def get(self, name: str) -> StoredFile | None:
        """The file; None if there is no such file, not yet, or no longer."""
        file = self._files.get(name)
        if file and file.misses:
            file.misses -= 1
            return None
        return file


@dataclass(slots=True)
class SandboxState:
    """Which models are served, how to wait, the queued faults, the received requests, and the files with URLs."""

    models: ServedModels = field(default_factory=lambda: ServedModels({}, clock.utc_today))
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep
    faults: FaultQueue = field(default_factory=FaultQueue)
    calls: CallLog = field(default_factory=CallLog)
    files: FileStore = field(default_factory=FileStore)


def state_of(request: Request) -> SandboxState:
    """The state of the app that serves a request."""
    return cast(SandboxState, request.app.state.sandbox)
