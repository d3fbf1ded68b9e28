"""The log of received requests, for tests: in memory only, without keys and image data."""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping

from starlette.requests import Request
from starlette.types import Scope

__all__ = ["ABANDONED", "CUT_SHORT", "CallLog", "Outcome", "describe_bytes", "hide_key_in_query", "without_files"]

_CREDENTIALS = {"authorization", "x-goog-api-key", "api-key", "x-api-key", "proxy-authorization", "cookie"}
_MAX_CALLS = 1000

ABANDONED = "abandoned"
"""The outcome of a request whose client did not wait for the response."""

CUT_SHORT = "cut short"
"""The outcome of a request whose response was cut short by a fault."""


class Outcome:
    """The outcome of a request; attached to its scope before the request is logged.

    Attributes:
        entry: Its entry in the log; None for a request that is not logged.
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
        """Log the status of the response, or that it was abandoned or cut short; only the first outcome counts."""
        if self.entry and self.entry["outcome"] is None:
            self.entry["outcome"] = outcome

    def meter(self, bill: Mapping[str, object]) -> None:
        """Log what the service would bill for the request."""
        if self.entry:
            self.entry["metered"] = bill

    def sends(self, images: Iterable[bytes]) -> None:
        """Log the complete image files that are about to be sent, by their SHA-256."""
        if self.entry:
            sent = self.entry["images"]
            assert isinstance(sent, list)
            sent.extend(hashlib.sha256(data).hexdigest() for data in images)


class CallLog:
    """The newest thousand requests, oldest first."""

    def __init__(self) -> None:
        self._calls: deque[dict[str, object]] = deque(maxlen=_MAX_CALLS)

    def record(self, request: Request, **content: object) -> None:
        """Log a request; ``content`` is its ``json`` body or its multipart ``fields``, without image bytes.

        Its ``outcome`` is the status of the response, ``abandoned``, ``cut short``, or None while it is open; its
        ``images`` are the SHA-256 of the complete image files in the response, without previews. ``metered`` is what
        the service would bill, even if the response does not reach the client; None if it would bill nothing.
        """
        entry: dict[str, object] = {
            "method": request.method,
            "path": request.url.path,
            "query": request.url.query,
            "headers": _without_credentials(request.headers),
            "outcome": None,
            "images": [],
            "metered": None,
            **content,
        }
        Outcome.of(request.scope).entry = entry
        self._calls.append(entry)

    def all(self) -> list[dict[str, object]]:
        return list(self._calls)

    def clear(self) -> None:
        self._calls.clear()


def describe_bytes(data: bytes) -> dict[str, object]:
    """What the log has in place of a file: its length in bytes and its SHA-256."""
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def without_files(body: object, field: str, decoded: Callable[[str], bytes]) -> object:
    """A JSON body for the log, with the length and the hash of each file in place of it.

    Args:
        body: The body.
        field: The name of the fields that hold a file as text, wherever they are.
        decoded: Returns the bytes of such a text.
    """
    if isinstance(body, list):
        return [without_files(item, field, decoded) for item in body]
    if not isinstance(body, dict):
        return body
    return {
        name: describe_bytes(decoded(below))
        if name == field and isinstance(below, str)
        else without_files(below, field, decoded)
        for name, below in body.items()
    }


def hide_key_in_query(request: Request) -> None:
    """Remove a ``?key=`` from the query, or the web server would write it into its access log."""
    query: bytes = request.scope["query_string"]
    request.scope["query_string"] = re.sub(rb"(^|&)(key|api_key)=[^&]*", rb"\1\2=present", query)


def _without_credentials(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: "present" if name in _CREDENTIALS else value for name, value in headers.items()}
