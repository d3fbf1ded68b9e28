"""Ways to spoil bytes, JSON and HTTP responses: the same dice give the same damage."""

from __future__ import annotations

import copy
import gzip
import json
from random import Random
from typing import Any

__all__ = ["response", "spoilt_bytes", "spoilt_json"]

_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 10**308, 10**400, -(10**20), 0.5, 1e308, -1e-308),
    *("", " ", "x" * 5000, "\ud800", "\x00", "\x1b[31m\x9b2J", "\u202e\u200b", "STOP", "IMAGE_SAFETY", "data:,", "0"),
    *("javascript:alert(1)", "https://169.254.169.254/x", "http://[::1", "//", "data:image/png;base64,AAAA", "1e999"),
    *([], {}, [[]], [{}], {"": {}}, ["\ud800"], {"error": "x"}, {"error": {"code": 429, "message": []}}),
)
"""What stands where something else is expected."""

_NAMES = (
    *(
        "data",
        "b64_json",
        "url",
        "usage",
        "error",
        "code",
        "message",
        "type",
        "param",
        "details",
        "inlineData",
        "parts",
    ),
    *("candidates", "finishReason", "usageMetadata", "thought", "text", "fileData", "fileUri", "output_tokens", "size"),
    *("promptFeedback", "blockReason", "retryDelay", "violations", "quotaId", "mimeType", "content", "total_tokens"),
)

_INTERESTING = (
    *(b"\x00", b"\xff", b"\x80", b"\r\n", b"\n\n", b"\r", b"{", b"[", b'"', b"\\u", b"\\ud800", b"data:", b"NaN"),
    *(b"-Infinity", b"1e999", b"9" * 400, b"[" * 3000, b'{"a":' * 3000, b"\xef\xbb\xbf", b"*** ", b"=" * 9, b"-_+/"),
)

_HEADERS = (
    *(b"retry-after: 86400", b"retry-after: -1", b"retry-after: 1e400", b"retry-after: Fri, 99 Foo 2026 99:99:99 GMT"),
    *(b"retry-after-ms: nan", b"x-should-retry: true", b"x-should-retry: \xff", b"location: javascript:alert(1)"),
    *(b"location: https://example.com/" + b"a" * 3000, b"x-request-id: \x9b31m\xe2\x80\xae", b"x-request-id: "),
    *(b"content-encoding: gzip", b"content-encoding: br", b"content-encoding: gzip, gzip", b"content-encoding: zstd"),
    *(b"content-encoding: identity", b"content-type: text/event-stream", b"content-type: text/html; charset=\xff"),
    *(
        b"content-type: application/json; charset=utf-16",
        b"set-cookie: a=b",
        b"content-length: 5",
        b"connection: close",
    ),
    *(b"x-invokeai-external-sandbox: 1", b"transfer-encoding: chunked", b"refresh: 0; url=/", b"content-length: -1"),
)

_STATUSES = (200, 200, 200, 200, 201, 204, 206, 302, 307, 400, 401, 402, 403, 404, 408, 409, 413, 422, 429, 451)
_STATUSES_OF_SERVERS = (500, 502, 503, 504, 520, 522, 524, 529, 599, 100, 101, 103, 999)


def spoilt_bytes(data: bytes, dice: Random) -> bytes:
    """The bytes with one to four damages: cut, doubled, flipped, or with something put in."""
    for _ in range(dice.randint(1, 4)):
        at, length = dice.randint(0, len(data)), dice.choice((1, 2, 4, 16, 200))
        what = dice.randrange(7)
        if what == 0 and data:
            at = min(at, len(data) - 1)
            data = data[:at] + bytes((data[at] ^ 1 << dice.randrange(8),)) + data[at + 1 :]
        elif what == 1:
            data = data[:at]
        elif what == 2:
            data = data[:at] + data[at + length :]
        elif what == 3:
            data = data[:at] + data[at : at + length] * dice.choice((2, 3, 40)) + data[at + length :]
        elif what == 4:
            data = data[:at] + dice.choice(_INTERESTING) + data[at:]
        elif what == 5:
            data = data[:at] + dice.randbytes(length) + data[at + length :]
        else:
            other = dice.randint(0, len(data))
            data = data[:at] + data[other : other + length] + data[at:]
    return data


def spoilt_json(value: Any, dice: Random) -> Any:
    """The value with one to three of its places changed: replaced, removed, renamed, or there several times."""
    value = copy.deepcopy(value)
    for _ in range(dice.randint(1, 3)):
        places = list(_places(value))
        if not places:
            return dice.choice(_VALUES)
        holder, key = dice.choice(places)
        what = dice.randrange(6)
        if what <= 2:
            holder[key] = copy.deepcopy(dice.choice(_VALUES))
        elif what == 3:
            del holder[key]
        elif what == 4 and isinstance(holder, dict):
            holder[dice.choice(_NAMES)] = holder.pop(key)
        elif isinstance(holder, list):
            holder.extend(copy.deepcopy(holder[key]) for _ in range(dice.choice((1, 2, 150))))
        else:
            holder[dice.choice(_NAMES)] = copy.deepcopy(dice.choice((holder[key], *_VALUES)))
    return value


def _places(value: Any) -> Any:
    """Each place of a JSON value as what holds it and its name or number there."""
    names = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for name in names:
        yield value, name
        yield from _places(value[name])


def dumped(value: Any) -> bytes:
    """JSON, lone surrogates escaped, and numbers that no float holds written out."""
    return json.dumps(value, ensure_ascii=True).encode()


def response(body: bytes, content_type: bytes, dice: Random) -> bytes:
    """An HTTP/1.1 response around a body: mostly as it should be, at times with a head or a framing that is not."""
    status = 200 if dice.random() < 0.5 else dice.choice(_STATUSES + _STATUSES_OF_SERVERS)
    headers = [b"content-type: " + content_type]
    if dice.random() < 0.3:
        headers += [dice.choice(_HEADERS) for _ in range(dice.randint(1, 3))]
    if any(header == b"content-encoding: gzip" for header in headers) and dice.random() < 0.7:
        body = gzip.compress(body, 1)
        body = spoilt_bytes(body, dice) if dice.random() < 0.3 else body
    framing = dice.randrange(5)
    if framing <= 1:
        headers.append(
            b"content-length: %d" % (len(body) + (0 if dice.random() < 0.8 else dice.choice((-1, 2, 10**9))))
        )
    elif framing == 2:
        headers.append(b"transfer-encoding: chunked")
        body = _chunked(body, dice)
    head = b"HTTP/1.1 %d whatever\r\n%b\r\n\r\n" % (status, b"\r\n".join(headers))
    if dice.random() < 0.05:
        head = b"HTTP/1.1 103 Early Hints\r\n\r\n" * dice.choice((1, 50)) + head
    if dice.random() < 0.05:
        head = spoilt_bytes(head, dice)
    return head + body


def _chunked(body: bytes, dice: Random) -> bytes:
    step = dice.choice((1, 7, 1000)) if len(body) < 5000 else 1000
    pieces = [body[at : at + step] for at in range(0, len(body), step)]
    framed = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return framed + dice.choice((b"0\r\n\r\n", b"0\r\n\r\n", b"0\r\n\r\n", b"0\r\n", b"", b"zz\r\n"))
