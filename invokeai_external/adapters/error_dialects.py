"""Finds the error in a body, in the dialects of providers, gateways and proxies.

The fields are those of OpenAI's and Google's ``error`` object; in every dialect ``message`` holds what it says::

    {"error": {"message": "…", "code": "…"}}    OpenAI, Google, and whoever imitates them
    {"error": "…"}                              Ollama, OAuth (with error_description)
    {"detail": "…"}, {"detail": [{"loc": ["body", "n"], "msg": "…"}]}    FastAPI; RFC 9457
    {"message": "…"}                            API gateways of AWS, Azure and Kong
    {"errors": ["…"]}, {"errors": {"n": ["…"]}}    Cloudflare, ASP.NET
    plain text
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ..transport.bounded_json import load
from ..transport.messages import HttpResponse
from ..transport.sse import EventReader, is_stream
from ..untrusted_number import whole_number
from .fields import document_of, mapping, text_of

__all__ = ["error_codes", "error_fields", "error_in", "error_object", "status_in"]

_DEEPEST = 5

_MOST_ENTRIES = 3
"""How many entries of a list of errors are quoted."""

_TEXTS = ("message", "msg", "error_description", "error_message", "errorMessage", "Message", "description", "title")
"""The fields that say what is wrong, in order of preference."""

_STATUSES = {
    "rate_limit_exceeded": 429,
    "RESOURCE_EXHAUSTED": 429,
    "UNAVAILABLE": 503,
    "INTERNAL": 500,
    "DEADLINE_EXCEEDED": 504,
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
}
"""The HTTP statuses that OpenAI's and Google's codes stand for."""

_NOT_TEXT = (b"{", b"[", b"<", b'"')
"""What JSON and HTML begin with."""

_LONGEST_TEXT = 10_000
"""How many bytes of a plain text are read."""


def error_fields(response: HttpResponse) -> Mapping[str, Any]:
    """The fields of the error of a response that holds nothing else; empty if it says nothing."""
    try:
        body = document_of(response)
    except ValueError:
        return _in_events(response) or _plain_text(response)
    return _read(body)


def error_in(body: object) -> Mapping[str, Any]:
    """The fields of the error that a body holds beside other things; empty if there is no error.

    A ``message`` without those is not an error: an event may say how far the image is.
    """
    has_error = isinstance(body, dict) and any(body.get(name) for name in ("error", "errors", "detail"))
    return _read(body) if has_error else {}


def error_object(response: HttpResponse) -> object:
    """The ``error`` of a response, whatever its type; None if there is no error or no JSON."""
    try:
        body = document_of(response)
    except ValueError:
        return None
    return body.get("error") if isinstance(body, dict) else None


def status_in(fields: Mapping[str, Any]) -> int | None:
    """The HTTP status that an error would have had in a response for itself; None if it does not say."""
    found = (_status(fields.get(name)) for name in ("code", "status", "statusCode", "status_code"))
    return next(filter(None, found), None)


def _status(value: object) -> int | None:
    if isinstance(value, str):
        # LiteLLM writes numbers as text.
        value = int(value) if re.fullmatch("[45][0-9][0-9]", value) else _STATUSES.get(value)
    return whole_number(value, 400, 599)


def error_codes(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """The codes of an error: its own, its type, since some servers send the code as the type, and the inner one."""
    inner = mapping(fields.get("innererror") or fields.get("inner_error"))
    codes = (text_of(code) for code in (fields.get("code"), fields.get("type"), inner.get("code")))
    return tuple(code for code in codes if code)


def _read(value: object, depth: int = 0) -> dict[str, Any]:
    """The fields of an error, with its text as ``message``; empty if it says nothing."""
    if isinstance(value, str):
        return {"message": value} if value.strip() else {}
    if depth == _DEEPEST:
        return {}
    if isinstance(value, list):
        entries = [fields for entry in value[:_MOST_ENTRIES] if (fields := _read(entry, depth + 1))]
        texts = [str(fields["message"]) for fields in entries if "message" in fields]
        return {**entries[0], "message": "; ".join(texts)} if texts else next(iter(entries), {})
    if not isinstance(value, dict):
        return {}
    inner, detail, listed = (_read(value.get(name), depth + 1) for name in ("error", "detail", "errors"))
    if inner and not isinstance(value.get("error"), str):
        return {**_plain_fields(value), **inner}
    own = next((text for name in _TEXTS if (text := _read(value.get(name), depth + 1).get("message"))), None)
    if own and inner:
        # A short name of the error, beside its description.
        return {"code": inner["message"], **value, "message": own}
    said = own or inner.get("message") or detail.get("message")
    each = listed.get("message") or _of_each_field(value.get("errors"), depth)
    message = ": ".join(str(text) for text in (_placed(value, said), each) if text)
    fields = {**listed, **detail, **value}
    return {**fields, "message": message} if message else fields


def _plain_fields(value: Mapping[str, Any]) -> dict[str, Any]:
    """The code and the type beside an error object; what is inside it takes precedence."""
    return {name: value[name] for name in ("code", "type") if isinstance(value.get(name), str)}


def _of_each_field(errors: object, depth: int) -> str:
    """What an object says that has the errors of each field of the request."""
    entries = list(errors.items())[:_MOST_ENTRIES] if isinstance(errors, dict) else []
    texts = ((name, _read(entry, depth + 1).get("message")) for name, entry in entries)
    return "; ".join(f"{name}: {text}" for name, text in texts if text)


def _placed(value: Mapping[str, Any], text: object) -> object:
    """The text of an error, behind the place in the request that it is about."""
    place = value.get("loc")
    if not text or not isinstance(place, list) or not place:
        return text
    return f"{'.'.join(str(step) for step in place[:_DEEPEST])}: {text}"


def _in_events(response: HttpResponse) -> Mapping[str, Any]:
    """The fields of the first error in a stream of events, as servers send that write every response as one."""
    if not is_stream(response.body, is_said_to_be=False):
        return {}
    reader, event = EventReader(), b""
    for data in (*reader.feed(response.body[:_LONGEST_TEXT]), *reader.end()):
        if data is not None:
            event += data
            continue
        with suppress(ValueError):
            if fields := error_in(load(event)):
                return fields
        event = b""
    return {}


def _plain_text(response: HttpResponse) -> Mapping[str, Any]:
    """A body that is neither JSON nor HTML, as the message of an error."""
    media_type = response.media_type
    is_text = media_type == "text/plain" or (not response.is_success and media_type in ("", "application/json"))
    body = response.body[:_LONGEST_TEXT].strip()
    if not is_text or not body or body.startswith(_NOT_TEXT) or b"\0" in body:
        return {}
    return {"message": body.decode(errors="replace")}
