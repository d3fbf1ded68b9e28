"""What one sandbox remembers. It belongs to the app, so that two sandboxes in one process never meet."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import cast

from starlette.requests import Request

from .calls import CallLog
from .faults import FaultQueue

__all__ = ["FileShelf", "SandboxState", "state_of"]

_MOST_FILES = 64


class FileShelf:
    """The picture files that answers point to by URL: the newest 64."""

    def __init__(self) -> None:
        self._files: OrderedDict[str, tuple[bytes, str]] = OrderedDict()

    def put(self, data: bytes, mime_type: str) -> str:
        """Keep a file; gives the name to ask for it by."""
        name = f"img-{secrets.token_hex(12)}.{mime_type.removeprefix('image/')}"
        self._files[name] = (data, mime_type)
        if len(self._files) > _MOST_FILES:
            self._files.popitem(last=False)
        return name

    def get(self, name: str) -> tuple[bytes, str] | None:
        """The bytes and the MIME type; None if there is no such file, or no longer."""
        return self._files.get(name)


@dataclass(slots=True)
class SandboxState:
    """The ordered faults, the received calls, the files behind URLs, and whether retired models answer."""

    serve_retired: bool = False
    faults: FaultQueue = field(default_factory=FaultQueue)
    calls: CallLog = field(default_factory=CallLog)
    files: FileShelf = field(default_factory=FileShelf)


def state_of(request: Request) -> SandboxState:
    """The state of the app that serves a request."""
    return cast(SandboxState, request.app.state.sandbox)
