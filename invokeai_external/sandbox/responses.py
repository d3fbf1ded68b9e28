"""How an answer goes out on the wire, faults of the wire included."""

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
from .errors import Refusal
from .faults import Fault
from .state import state_of

__all__ = [
    "NOT_AN_IMAGE",
    "Event",
    "base64_text",
    "deliver",
    "deliver_events",
    "is_spoilt",
    "meet_wire_fault",
    "rate_limit_headers",
    "wait_in_words",
]

_JSON = "application/json; charset=utf-8"

NOT_AN_IMAGE = b"These bytes are no image, as ordered."


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a stream as it is written, and the finished image files in it."""

    data: bytes
    images: tuple[bytes, ...] = field(default=(), repr=False)


async def meet_wire_fault(fault: Fault | None, request: Request) -> None:
    """Wait, or close the connection, if that is what was ordered.

    Raises ConnectionResetError where there is no connection to close, as in a test without a server.
    """
    if fault is None:
        return
    if fault.name == "slow":
        if not await _client_waits(request, fault.number("seconds")):
            Outcome.of(request.scope).note(ABANDONED)
            raise Refusal(503, None)
    elif fault.name == "dropped_connection":
        Outcome.of(request.scope).note(CUT_SHORT)
        await _close_connection(request.receive)
        # The server throws this answer away, as there is nobody left to get it.
        raise Refusal(503, None)


def deliver(
    body: object, fault: Fault | None, headers: Mapping[str, str] | None = None, images: Sequence[bytes] = ()
) -> Response:
    """A JSON answer with status 200, whole or cut short; ``images`` are the finished image files in it."""
    content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    name = fault.name if fault else ""
    if name == "truncated_body":
        return _CutShortResponse(content, media_type=_JSON, headers=dict(headers or {}))
    if name == "truncated_json":
        content, images = content[: len(content) // 2], ()
    return _WholeResponse(content, images, dict(headers or {}))


def deliver_events(events: Sequence[Event], fault: Fault | None, headers: Mapping[str, str] | None = None) -> Response:
    """A stream of events with status 200, one write each; cut short in the middle if that was ordered."""
    name = fault.name if fault else ""
    # A stream in which nothing comes is an empty line.
    whole = list(events) or [Event(b"\n")]
    if name == "truncated_json":
        last = whole.pop().data
        whole.append(Event(last[: len(last) // 2] + b"\n\n"))
    pause_s = fault.number("seconds") if fault and name == "slow_stream" else 0.0
    return _EventStream(whole, dict(headers or {}), pause_s=pause_s, cut_short=name == "truncated_body")


def rate_limit_headers(fault: Fault) -> dict[str, str]:
    """The headers that tell how long to wait, in the ordered form."""
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


def wait_in_words(fault: Fault) -> str:
    """The sentence that tells how long to wait, if that was the ordered form; empty otherwise."""
    return f"Please try again in {fault.number('seconds'):g}s. " if fault.text("form") == "words" else ""


def is_spoilt(fault: Fault | None) -> bool:
    """True if it was ordered that the images of an answer cannot be read."""
    return fault is not None and fault.name in ("bad_base64", "not_an_image", "no_image")


def base64_text(data: bytes, fault: Fault | None) -> str:
    """A file as base64 text, spoilt if that was ordered."""
    name = fault.name if fault else ""
    if name == "not_an_image":
        data = NOT_AN_IMAGE
    if name == "url_safe_base64":
        return base64.urlsafe_b64encode(data).decode()
    text = base64.b64encode(data).decode()
    return f"{text[:40]}*** this is not base64 ***" if name == "bad_base64" else text


class _WholeResponse(Response):
    """JSON that is sent to its end."""

    def __init__(self, content: bytes, images: Sequence[bytes], headers: Mapping[str, str]) -> None:
        super().__init__(content, media_type=_JSON, headers=dict(headers))
        self._images = images

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        Outcome.of(scope).sends(self._images)
        await super().__call__(scope, receive, send)


class _EventStream(Response):
    """Server-sent events without an announced length; cut short, half of the last one and no end."""

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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        half = bytes(self.body[: len(self.body) // 2])
        await send({"type": "http.response.body", "body": half, "more_body": True})
        Outcome.of(scope).note(CUT_SHORT)
        await _close_connection(receive)


async def _close_connection(receive: Receive) -> None:
    """Close the socket under a request once what was sent is out; raises ConnectionResetError if there is none.

    ASGI has no message for it. uvicorn's ``receive`` is a method of the object that holds the transport.
    """
    transport = getattr(getattr(receive, "__self__", None), "transport", None)
    if transport is None:
        raise ConnectionResetError("the sandbox dropped the connection, as ordered")
    transport.close()
    # Wait until the server has noticed; it would try to answer with an error page otherwise.
    await _until_nobody_waits(receive)


async def _client_waits(request: Request, seconds: float) -> bool:
    """Whether the client is still there after so many seconds; returns at once when it goes."""
    waits = True

    async def watch() -> None:
        nonlocal waits
        await _until_nobody_waits(request.receive)
        waits = False
        group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        group.start_soon(watch)
        await state_of(request).sleep(seconds)
        group.cancel_scope.cancel()
    return waits


async def _until_nobody_waits(receive: Receive) -> None:
    """Return when the client has gone; the rest of what it sends is thrown away."""
    while (await receive())["type"] != "http.disconnect":
        pass
