"""What one sandbox remembers. It belongs to the app, so that two sandboxes in one process never meet."""

from __future__ import annotations

import datetime
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import cast

import anyio
from starlette.requests import Request

from .. import clock
from ..providers.schema import ModelConfig
from .call_log import CallLog
from .faults import FaultQueue

__all__ = ["FileShelf", "SandboxState", "ShelvedFile", "state_of"]

_MOST_FILES = 64


@dataclass(slots=True)
class ShelvedFile:
    """An image file behind a URL.

    Attributes:
        data: Its bytes.
        mime_type: What they are.
        misses: How often it is still answered that it is not there.
        needs_key: True if it is for those alone who bring a key.
    """

    data: bytes = field(repr=False)
    mime_type: str
    misses: int = 0
    needs_key: bool = False


class FileShelf:
    """The image files that answers point to by URL: the newest 64."""

    def __init__(self) -> None:
        self._files: OrderedDict[str, ShelvedFile] = OrderedDict()

    def put(self, file: ShelvedFile) -> str:
        """Keep a file; gives the name to ask for it by."""
        name = f"img-{secrets.token_hex(12)}.{file.mime_type.removeprefix('image/')}"
        self._files[name] = file
        if len(self._files) > _MOST_FILES:
            self._files.popitem(last=False)
        return name

    def get(self, name: str) -> ShelvedFile | None:
        """The file; None if there is no such one, not yet, or no longer."""
        file = self._files.get(name)
        if file and file.misses:
            file.misses -= 1
            return None
        return file


@dataclass(slots=True)
class SandboxState:
    """The ordered faults, the received calls, the files behind URLs, which models answer, and how to wait."""

    serve_retired: bool = False
    today: Callable[[], datetime.date] = clock.utc_today
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep
    faults: FaultQueue = field(default_factory=FaultQueue)
    calls: CallLog = field(default_factory=CallLog)
    files: FileShelf = field(default_factory=FileShelf)

    def serves(self, model: ModelConfig) -> bool:
        """False for a model that is retired by now, unless such ones answer as well."""
        return self.serve_retired or model.lifecycle.status_on(self.today()) != "retired"


def state_of(request: Request) -> SandboxState:
    """The state of the app that serves a request."""
    return cast(SandboxState, request.app.state.sandbox)
