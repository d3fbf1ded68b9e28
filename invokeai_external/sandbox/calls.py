"""The log of received calls, for tests to look at: kept in memory only, without keys and without picture bytes."""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Mapping

from starlette.requests import Request

__all__ = ["CallLog", "describe_bytes", "hide_key_in_query"]

_CREDENTIALS = {"authorization", "x-goog-api-key", "api-key", "x-api-key", "proxy-authorization", "cookie"}
_MOST_CALLS = 1000


class CallLog:
    """The newest thousand calls, oldest first."""

    def __init__(self) -> None:
        self._calls: deque[dict[str, object]] = deque(maxlen=_MOST_CALLS)

    def record(self, request: Request, **content: object) -> None:
        """Note a call; ``content`` is its ``json`` body or its multipart ``fields``, made free of picture bytes."""
        self._calls.append(
            {
                "method": request.method,
                "path": request.url.path,
                "query": request.url.query,
                "headers": _without_credentials(request.headers),
                **content,
            }
        )

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
