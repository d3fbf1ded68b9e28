"""An HTTP request without its key, and a response, as plain values."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Base64", "FilePart", "HttpRequest", "HttpResponse"]

_CHARSET = re.compile(r""";\s*charset\s*=\s*["']?([\w.:-]+)""", re.IGNORECASE)


_BASE64_STEP = 3 << 16
"""In bytes; the base64 of each is in whole groups, without padding."""


@dataclass(frozen=True, slots=True)
class Base64:
    """A file in a JSON body, as base64 (in the standard alphabet, padded) after a prefix such as that of a data URL.

    It is encoded while it is sent: the text of several large files would take more memory than the files. ``str``
    returns it.
    """

    data: bytes = field(repr=False)
    prefix: str = ""

    def __len__(self) -> int:
        """The number of characters, which are all ASCII."""
        return len(self.prefix) + (len(self.data) + 2) // 3 * 4

    def __str__(self) -> str:
        return b"".join(self.pieces()).decode("ascii")

    def pieces(self) -> Iterator[bytes]:
        """The text in pieces of a bounded size."""
        yield self.prefix.encode("ascii")
        for start in range(0, len(self.data), _BASE64_STEP):
            yield base64.b64encode(self.data[start : start + _BASE64_STEP])


@dataclass(frozen=True, slots=True)
class FilePart:
    """One file of a multipart request."""

    name: str
    filename: str
    content_type: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """A request without its key: a POST of either ``json`` or ``form`` and ``files``, or a GET of neither.

    Attributes:
        url: The whole URL; it never contains a key.
        json: The JSON body; the files in it are ``Base64``.
        form: The text fields of a multipart body, which may have no files.
        files: The files of a multipart body, in order.
        headers: Its own headers, never with a key. Those with which the client describes itself and the body, and those
            with the key, come before them.
    """

    url: str
    json: Mapping[str, Any] | None = None
    form: Mapping[str, str] = field(default_factory=dict)
    files: tuple[FilePart, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def method(self) -> str:
        return "GET" if self.json is None and not self.form and not self.files else "POST"


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A response as it arrived.

    Attributes:
        status: The HTTP status.
        headers: Names in lower case.
        body: The whole body, decompressed; empty if there is a document.
        received_at: Seconds since the epoch, to compare dates in the headers with.
        document: The JSON of the body, if its images were decoded while it arrived; they are bytes in it.
        is_cut_short: True if the response is usable although its end is missing or broken.
        is_stream: True for a stream of events, which are not part of ``body``.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    received_at: float
    document: object | None = field(default=None, repr=False)
    is_cut_short: bool = False
    is_stream: bool = False

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    @property
    def media_type(self) -> str:
        """The media type that the response claims to have, in lower case; may be empty."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def charset(self) -> str:
        """The charset that the response claims to have, in lower case; may be empty."""
        named = _CHARSET.search(self.headers.get("content-type", ""))
        return named[1].lower() if named else ""
