"""Sends responses, including faults on the wire."""

from __future__ import annotations

import base64
import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import format_datetime

import anyio
from fastapi import Request
from fastapi.responses import Response
from starlette.types import Receive, Scope, Send

from .call_log import ABANDONED, CUT_SHORT, Outcome
from .errors import HtmlPage, Refusal
from .faults import Fault
from .state import state_of

__all__ = [
    "NOT_AN_IMAGE",
    "Event",
    "apply_wire_fault",
    "base64_text",
    "deliver",
    "deliver_events",
    "has_unreadable_images",
    "rate_limit_headers",
    "wait_sentence",
]

_JSON = "application/json; charset=utf-8"

NOT_AN_IMAGE = b"These bytes are not an image, as the fault requires."


@dataclass(frozen=True, slots=True)
class Event:
    """An event of a stream as it is sent, and the finished image files in it."""

    data: bytes
    images: tuple[bytes, ...] = field(default=(), repr=False)


async def apply_wire_fault(fault: Fault | None, request: Request) -> None:
    """Wait, close the connection or give up as a gateway does, if that is the fault. The service bills the request.

    Raises ConnectionResetError if there is no connection to close, as in a test without a server.
    """
    if fault is None:
        return
    if fault.name == "gateway_timeout":
        raise HtmlPage(int(fault.number("status")))
    if fault.name == "slow":
        if not await _client_stays(request, fault.number("seconds")):
            Outcome.of(request.scope).note(ABANDONED)
            raise Refusal(503, None)
    elif fault.name == "dropped_connection":
        Outcome.of(request.scope).note(CUT_SHORT)
        await _close_connection(request.receive)
        # The server discards this response, since the client is gone.
        raise Refusal(503, None)


def deliver(
    body: object, fault: Fault | None, headers: Mapping[str, str] | None = None, images: Sequence[bytes] = ()
) -> Response:
    """A JSON response with status 200, complete or cut short; ``images`` are the finished image files in it."""
    content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    name = fault.name if fault else ""
    if name == "truncated_body":
        return _CutShortResponse(content, images, dict(headers or {}))
    if name == "truncated_json":
        content, images = _first_half(content, images)
    return _WholeResponse(content, images, dict(headers or {}))


def deliver_events(events: Sequence[Event], fault: Fault | None, headers: Mapping[str, str] | None = None) -> Response:
    """A stream of events with status 200, one write each; cut short in the middle if that is the fault."""
    name = fault.name if fault else ""
    # A stream without events is an empty line.
    whole = list(events) or [Event(b"\n")]
    if name == "truncated_json":
        last = whole.pop().data
        whole.append(Event(last[: len(last) // 2] + b"\n\n"))
    pause_s = fault.number("seconds") if fault and name == "slow_stream" else 0.0
    return _EventStream(whole, dict(headers or {}), pause_s=pause_s, cut_short=name == "truncated_body")


def rate_limit_headers(fault: Fault) -> dict[str, str]:
    """The headers that say how long to wait, in the form of the fault."""
    form, seconds = fault.text("form"), fault.number("seconds")
    if form == "retry-after-ms":
        return {"retry-after-ms": f"{seconds * 1000:g}"}
    if form == "retry-after-seconds":
        return {"retry-after": f"{seconds:g}"}
    if form == "retry-after-date":
        moment = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
        return {"retry-after": format_datetime(moment, usegmt=True)}
    if form.startswith("x-should-retry-"):
        return {"x-should-retry": form.removeprefix("x-should-retry-")}
    return {}


def wait_sentence(fault: Fault) -> str:
    """The sentence that says how long to wait, if that is the form of the fault; otherwise empty (recorded traffic)."""
    return f"Please try again after {fault.number('seconds'):g} seconds. " if fault.text("form") == "words" else ""


def _first_half(content: bytes, images: Sequence[bytes]) -> tuple[bytes, Sequence[bytes]]:
    """The first half of a response, and the images that are whole in it."""
    half = content[: len(content) // 2]
    return half, [image for image in images if b'"%b"' % base64.b64encode(image) in half]


def has_unreadable_images(fault: Fault | None) -> bool:
    """True for a fault that makes the images of a response unreadable."""
    return fault is not None and fault.name in ("bad_base64", "not_an_image", "no_image")


def base64_text(data: bytes, fault: Fault | None) -> str:
    """A file as base64 text, broken if that is the fault."""
    name = fault.name if fault else ""
    if name == "not_an_image":
        data = NOT_AN_IMAGE
    if name == "url_safe_base64":
        return base64.urlsafe_b64encode(data).decode()
    text = base64.b64encode(data).decode()
    return f"{text[:40]}*** this is not base64 ***" if name == "bad_base64" else text


class _WholeResponse(Response):
    """JSON that is sent completely."""

    def __init__(self, content: bytes, images: Sequence[bytes], headers: Mapping[str, str]) -> None:
        super().__init__(content, media_type=_JSON, headers=dict(headers))
        self._images = images

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        Outcome.of(scope).sends(self._images)
        await super().__call__(scope, receive, send)


class _EventStream(Response):
    """Server-sent events without a content length; if cut short, with half of the last event and no end."""

    def __init__(self, events: Sequence[Event], headers: Mapping[str, str], *, pause_s: float, cut_short: bool) -> None:
        super().__init__(media_type="text/event-stream", headers=dict(headers))
        del self.headers["content-length"]
        self._events = events
        self._pause_s = pause_s
        self._cut_short = cut_short

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        outcome, sleep = Outcome.of(scope), state_of(Request(scope)).sleep
        *before, last = self._events
        for event in before:
            outcome.sends(event.images)
            await send({"type": "http.response.body", "body": event.data, "more_body": True})
            await sleep(self._pause_s)
        body = last.data[: len(last.data) // 2] if self._cut_short else last.data
        outcome.sends(() if self._cut_short else last.images)
        await send({"type": "http.response.body", "body": body, "more_body": self._cut_short})
        if self._cut_short:
            outcome.note(CUT_SHORT)
            await _close_connection(receive)


class _CutShortResponse(Response):
    """Announces the whole body, sends half of it and closes the connection."""

    def __init__(self, content: bytes, images: Sequence[bytes], headers: Mapping[str, str]) -> None:
        super().__init__(content, media_type=_JSON, headers=dict(headers))
        self._images = images

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        half, images = _first_half(bytes(self.body), self._images)
        Outcome.of(scope).sends(images)
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": half, "more_body": True})
        Outcome.of(scope).note(CUT_SHORT)
        await _close_connection(receive)


async def _close_connection(receive: Receive) -> None:
    """Close the socket of a request after the sent bytes; raises ConnectionResetError if there is no socket.

    ASGI has no message for that. In uvicorn, ``receive`` is a method of the object with the transport.
    """
    transport = getattr(getattr(receive, "__self__", None), "transport", None)
    if transport is None:
        raise ConnectionResetError("the sandbox dropped the connection, as the fault requires")
    transport.close()
    # Wait until the server notices, or it would try to send an error page.
    await _until_client_disconnects(receive)


async def _client_stays(request: Request, seconds: float) -> bool:
    """Whether the client is still connected after so many seconds; returns as soon as it disconnects."""
    stays = True

    async def watch() -> None:
        nonlocal stays
        await _until_client_disconnects(request.receive)
        stays = False
        group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        group.start_soon(watch)
        await state_of(request).sleep(seconds)
        group.cancel_scope.cancel()
    return stays


async def _until_client_disconnects(receive: Receive) -> None:
    """Return when the client disconnects; discards what it still sends."""
    while (await receive())["type"] != "http.disconnect":
        pass
