"""Fields of an answer, read with care: anybody may have written it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ..transport.bounded_json import load
from ..transport.messages import HttpResponse
from .base import AnswerImage
from .base64_text import decode_base64

__all__ = ["answer_image", "count", "document_of", "error_fields", "error_in", "error_object", "one_line", "text_of"]


_LONGEST_QUOTE = 300
"""How many characters of a provider's own words are shown."""


_MOST_TOKENS = 10**9
"""What is above this is no count of tokens: the dearest image has some ten thousand."""


def answer_image(encoded: object, url: object, revised_prompt: object = None) -> AnswerImage:
    """A picture from the fields of an answer: bytes or base64 text, else an address; neither where none can be read.

    An address may hold the picture itself (``data:image/png;base64,…``).
    """
    data = encoded if isinstance(encoded, bytes) else b""
    inline = url if isinstance(url, str) and url[:5].lower() == "data:" else None
    for text in (encoded, inline):
        if isinstance(text, str) and not data:
            with suppress(ValueError):
                data = decode_base64(text)
    url = None if inline else url
    return AnswerImage(data or None, None if data else text_of(url), text_of(revised_prompt))


def text_of(value: object) -> str | None:
    """A text that is not empty and can be written as UTF-8 (JSON allows lone surrogates); None for all else."""
    if not isinstance(value, str) or not value:
        return None
    # A long text is copied only where it must be.
    return value if value.isascii() else value.encode(errors="replace").decode()


def one_line(words: object) -> str:
    """A provider's own words, fit to be shown: on one line, not too long, without a terminal's control characters."""
    shown = "".join(c if c.isprintable() else " " for c in words) if isinstance(words, str) else ""
    text = " ".join(shown.split())
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE].rstrip()}…"


def error_fields(response: HttpResponse) -> Mapping[str, Any]:
    """The ``error`` object of a failed answer, also from inside a list of one; empty if there is none."""
    return error_in({"error": error_object(response)})


def error_object(response: HttpResponse) -> object:
    """The ``error`` of a failed answer, whatever it is; None if there is none."""
    try:
        body = document_of(response)
    except ValueError:
        return None
    return body.get("error") if isinstance(body, dict) else None


def error_in(body: object) -> Mapping[str, Any]:
    """The ``error`` object of a body, also where it is only text; empty if there is none."""
    error = body.get("error") if isinstance(body, dict) else None
    if isinstance(error, str):
        return {"message": error}
    return error if isinstance(error, dict) else {}


def document_of(response: HttpResponse) -> object:
    """JSON; some gateways, and Google's own stream endpoint, wrap it in a list of one. Raises ValueError."""
    loaded = load(response.body) if response.document is None else response.document
    return loaded[0] if isinstance(loaded, list) and len(loaded) == 1 else loaded


def count(value: object) -> int | None:
    """A number of tokens; None for anything else, and for more than any call can have used."""
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value <= _MOST_TOKENS else None
