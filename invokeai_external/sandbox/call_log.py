"""The log of received calls, for tests to look at: kept in memory only, without keys and without image bytes."""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Iterable, Mapping

from starlette.requests import Request
from starlette.types import Scope

__all__ = ["ABANDONED", "CUT_SHORT", "CallLog", "Outcome", "describe_bytes", "hide_key_in_query"]

_CREDENTIALS = {"authorization", "x-goog-api-key", "api-key", "x-api-key", "proxy-authorization", "cookie"}
_MOST_CALLS = 1000

ABANDONED = "abandoned"
"""The outcome of a call whose client did not wait for the answer."""

CUT_SHORT = "cut short"
"""The outcome of a call whose answer was not sent to its end, as ordered."""


class Outcome:
    """What becomes of a request; hangs on its scope, from before it is known to be a call.

    Attributes:
        entry: Its entry in the log of calls; None for what is no call.
    """

    _KEY = "invokeai_external.outcome"

    def __init__(self) -> None:
        self.entry: dict[str, object] | None = None

    def attach(self, scope: Scope) -> None:
        scope[self._KEY] = self

    @classmethod
    def of(cls, scope: Scope) -> Outcome:
        found: Outcome = scope[cls._KEY]
        return found

    def note(self, outcome: int | str) -> None:
        """Write down the status of the answer, or that it was abandoned or cut short; the first word counts."""
        if self.entry and self.entry["outcome"] is None:
            self.entry["outcome"] = outcome

    def sends(self, images: Iterable[bytes]) -> None:
        """Write down the image files that are about to be sent whole, by their SHA-256."""
        if self.entry:
            sent = self.entry["images"]
            assert isinstance(sent, list)
            sent.extend(hashlib.sha256(data).hexdigest() for data in images)


class CallLog:
    """The newest thousand calls, oldest first."""

    def __init__(self) -> None:
        self._calls: deque[dict[str, object]] = deque(maxlen=_MOST_CALLS)

    def record(self, request: Request, **content: object) -> None:
        """Note a call; ``content`` is its ``json`` body or its multipart ``fields``, made free of image bytes.

        Its ``outcome`` is the status of the answer, ``abandoned``, ``cut short``, or None while it is open; its
        ``images`` are the SHA-256 of the image files that the answer held whole, previews aside.
        """
        entry: dict[str, object] = {
            "method": request.method,
            "path": request.url.path,
            "query": request.url.query,
            "headers": _without_credentials(request.headers),
            "outcome": None,
            "images": [],
            **content,
        }
        Outcome.of(request.scope).entry = entry
        self._calls.append(entry)

    def all(self) -> list[dict[str, object]]:
        return list(self._calls)

    def clear(self) -> None:
        self._calls.clear()


def describe_bytes(data: bytes) -> dict[str, object]:
    """What the log says in the place of a file: its length in bytes and its SHA-256."""
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def hide_key_in_query(request: Request) -> None:
    """Take a ``?key=`` out of the query, where the web server's access log would write it down."""
    query: bytes = request.scope["query_string"]
    request.scope["query_string"] = re.sub(rb"(^|&)(key|api_key)=[^&]*", rb"\1\2=present", query)


def _without_credentials(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: "present" if name in _CREDENTIALS else value for name, value in headers.items()}
