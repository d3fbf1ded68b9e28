"""Decodes base64 in steps, so that a long text does not block other threads."""

from __future__ import annotations

import base64

__all__ = ["decode_base64"]


_STANDARD_ALPHABET = bytes.maketrans(b"-_", b"+/")
"""Translates the URL-safe alphabet of base64 into the standard one."""


_CHUNK = 1 << 20
"""How many characters are decoded in one step."""


def decode_base64(text: str) -> bytes:
    """Decode base64 in either alphabet, padded or not, wrapped or not, with or without a ``data:`` prefix.

    Apart from the text, this needs twice the memory of the decoded bytes.

    Raises:
        ValueError: The text is not base64.
    """
    decoded, rest = [], b""
    start = text.index(",") + 1 if text[:5].lower() == "data:" and "," in text else 0
    end = _end_without_padding(text)
    for at in range(start, end, _CHUNK):
        piece = text[at : min(at + _CHUNK, end)]
        rest += piece.encode("ascii").translate(_STANDARD_ALPHABET, b" \t\r\n")
        whole = len(rest) // 4 * 4
        decoded.append(base64.b64decode(rest[:whole], validate=True))
        if len(decoded[-1]) != whole // 4 * 3:
            raise ValueError("padding before the end")
        rest = rest[whole:]
    decoded.append(base64.b64decode(rest + b"=" * (-len(rest) % 4), validate=True))
    return b"".join(decoded)


def _end_without_padding(text: str) -> int:
    end = len(text)
    while end and (length := len(text[max(0, end - _CHUNK) : end].rstrip("= \t\r\n"))) == 0:
        end = max(0, end - _CHUNK)
    return max(0, end - _CHUNK) + length if end else 0
