"""Reads fields of a response without trusting them: gateways and proxies may send anything."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ..images.formats.containers import begins_like_image
from ..transport.bounded_json import load
from ..transport.messages import HttpResponse
from ..untrusted_number import whole_number
from .base import AnswerImage
from .base64_text import decode_base64

__all__ = [
    "answer_image",
    "body_image",
    "document_of",
    "get",
    "mapping",
    "mappings",
    "text_of",
    "token_count",
]


_MAX_TOKENS = 10**9
"""More than this is not a number of tokens: the most expensive image has some ten thousand."""


def answer_image(encoded: object, url: object, revised_prompt: object = None) -> AnswerImage:
    """An image from the fields of a response.

    Args:
        encoded: The bytes, or their base64. What cannot be decoded counts as missing.
        url: The URL to download it from; a ``data:`` URL contains the image itself.
        revised_prompt: The prompt as the provider rewrote it.
    """
    data = encoded if isinstance(encoded, bytes) else b""
    inline = url if isinstance(url, str) and url[:5].lower() == "data:" else None
    for text in (encoded, inline):
        if isinstance(text, str) and not data:
            with suppress(ValueError):
                data = decode_base64(text)
    url = None if inline else url
    return AnswerImage(data or None, None if data else text_of(url), text_of(revised_prompt))


def body_image(response: HttpResponse) -> AnswerImage | None:
    """The image of a response that is the image file itself, as some relays send it; else None."""
    return AnswerImage(response.body) if begins_like_image(response.body) else None


def text_of(value: object) -> str | None:
    """A text that is not empty, encodable as UTF-8 (JSON allows lone surrogates, which are replaced); else None."""
    if not isinstance(value, str) or not value:
        return None
    # A long text is copied only if it must be.
    return value if value.isascii() else value.encode(errors="replace").decode()


def document_of(response: HttpResponse) -> object:
    """The JSON of a response, unwrapped from a list of one (some gateways, and Google's stream endpoint, send that).

    Raises:
        ValueError: The body is not JSON, or exceeds the limits of ``transport.bounded_json``.
    """
    loaded = load(response.body, response.charset) if response.document is None else response.document
    return loaded[0] if isinstance(loaded, list) and len(loaded) == 1 else loaded


def token_count(value: object) -> int | None:
    """A number of tokens; None if it is not one, or more than any call can use."""
    return whole_number(value, 0, _MAX_TOKENS)


def get(fields: Mapping[str, Any], camel: str) -> Any:
    """A field by its camelCase name, or by the snake_case name that Protocol Buffers allow too."""
    if camel in fields:
        return fields[camel]
    return fields.get(re.sub(r"([A-Z])", lambda m: f"_{m[1].lower()}", camel))


def mappings(value: object) -> list[Mapping[str, Any]]:
    """The objects in a list; empty for any other value."""
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def mapping(value: object) -> Mapping[str, Any]:
    """An object; empty for any other value."""
    return value if isinstance(value, Mapping) else {}
