"""The errors of both APIs, in their own JSON."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from http import HTTPStatus

__all__ = ["HtmlPage", "Refusal", "gemini_error", "gemini_unknown_names", "openai_error", "request_id"]

JSONObject = dict[str, object]

_GOOGLE_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
"""The canonical name of each HTTP status, as google.rpc.Code maps them."""


_CLOUDFLARE_PHRASES = {
    520: "Web server is returning an unknown error",
    522: "Connection timed out",
    524: "A timeout occurred",
}
"""The meaning of Cloudflare's own statuses."""


class Refusal(Exception):
    """An error response: its HTTP status, its JSON body and its extra headers."""

    def __init__(self, status: int, body: object, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.body = body
        self.headers = dict(headers or {})


class HtmlPage(Refusal):
    """An error page of a proxy or load balancer in front of the service, as HTML."""

    def __init__(self, status: int) -> None:
        title = f"{status} {_CLOUDFLARE_PHRASES.get(status) or HTTPStatus(status).phrase}"
        page = f"<html>\n<head><title>{title}</title></head>\n<body><center><h1>{title}</h1></center></body>\n</html>\n"
        super().__init__(status, page)


def request_id() -> str:
    """A new request ID in OpenAI's form, recognisable as the sandbox's."""
    return f"req_sandbox_{secrets.token_hex(12)}"


def openai_error(
    status: int,
    message: str,
    *,
    kind: str = "invalid_request_error",
    param: str | None = None,
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
    **more: object,
) -> Refusal:
    """An error of OpenAI: ``kind`` is its field ``type``, ``param`` the invalid parameter, ``more`` further fields."""
    body = {"error": {"message": message, "type": kind, "param": param, "code": code, **more}}
    return Refusal(status, body, {"x-request-id": request_id(), **(headers or {})})


def gemini_error(
    code: int,
    message: str,
    *,
    status: str | None = None,
    details: Sequence[JSONObject] = (),
    headers: Mapping[str, str] | None = None,
) -> Refusal:
    """An error of the Gemini API: google.rpc.Status as JSON. ``code`` is the HTTP status, ``status`` its name, by
    default the canonical one."""
    error: JSONObject = {"code": code, "message": message, "status": status or _GOOGLE_STATUS[code]}
    if details:
        error["details"] = list(details)
    return Refusal(code, {"error": error}, headers)


def gemini_unknown_names(places: Sequence[tuple[str, str]]) -> Refusal:
    """The Gemini API's error for unknown fields, each given as (the field, the snake_case path of its owner)."""
    violations: list[JSONObject] = []
    for name, owner in places:
        where = f" at '{owner}'" if owner else ""
        description = f'Invalid JSON payload received. Unknown name "{name}"{where}: Cannot find field.'
        violations.append({"field": owner, "description": description} if owner else {"description": description})
    message = "\n".join(str(violation["description"]) for violation in violations)
    bad_request: JSONObject = {
        "@type": "type.googleapis.com/google.rpc.BadRequest",
        "fieldViolations": violations,
    }
    return gemini_error(400, message, details=[bad_request])
