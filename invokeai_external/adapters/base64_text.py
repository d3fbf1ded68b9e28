"""Base64 in steps, since a long one holds other threads up."""

from __future__ import annotations

import base64

__all__ = ["decode_base64", "encode_base64"]


_STANDARD_ALPHABET = bytes.maketrans(b"-_", b"+/")
"""Turns base64's alphabet for URLs into the standard one."""


_DECODED_AT_ONCE = 1 << 20


def encode_base64(data: bytes) -> str:
    """Base64 in the standard alphabet; made in steps, between which other threads run."""
    at_once = 3 << 16
    return "".join(
        base64.b64encode(data[start : start + at_once]).decode("ascii") for start in range(0, len(data), at_once)
    )


def decode_base64(text: str) -> bytes:
    """Read base64 in either alphabet, padded or not, on one line or many, with or without a ``data:`` prefix.

    It takes no more memory than the text and twice what it holds. Raises ValueError if it is none.
    """
    decoded, rest = [], b""
    start = text.index(",") + 1 if text[:5].lower() == "data:" and "," in text else 0
    end = _end_without_padding(text)
    for at in range(start, end, _DECODED_AT_ONCE):
        piece = text[at : min(at + _DECODED_AT_ONCE, end)]
        rest += piece.encode("ascii").translate(_STANDARD_ALPHABET, b" \t\r\n")
        whole = len(rest) // 4 * 4
        decoded.append(base64.b64decode(rest[:whole], validate=True))
        if len(decoded[-1]) != whole // 4 * 3:
            raise ValueError("padded before the end")
        rest = rest[whole:]
    decoded.append(base64.b64decode(rest + b"=" * (-len(rest) % 4), validate=True))
    return b"".join(decoded)


def _end_without_padding(text: str) -> int:
    end = len(text)
    while end and (kept := len(text[max(0, end - _DECODED_AT_ONCE) : end].rstrip("= \t\r\n"))) == 0:
        end = max(0, end - _DECODED_AT_ONCE)
    return max(0, end - _DECODED_AT_ONCE) + kept if end else 0
