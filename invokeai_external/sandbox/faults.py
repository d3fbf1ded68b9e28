"""The faults: what can go wrong at a provider, made to happen for the next requests.

``POST /sandbox/faults`` with ``{"provider": "openai", "fault": "rate_limited", "times": 2, "form": "none"}`` puts a
fault into the provider's queue. Each request for images with a valid key takes one fault from the queue, whatever else
is wrong with it, until the queue is empty; requests for the list of models do not. ``FAULTS`` is the table of all
faults and their parameters.
"""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["FAULTS", "PROVIDERS", "Fault", "FaultKind", "FaultQueue", "Param", "read_fault"]

PROVIDERS = ("openai", "gemini")

ParamValue = str | float | None


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter of a fault.

    Attributes:
        default: Its value if it is not given.
        choices: Its valid values; empty for any value of its type.
        is_file: True for the base64 of a file.
    """

    default: ParamValue
    choices: tuple[ParamValue, ...] = ()
    is_file: bool = False

    def accepts(self, value: object) -> bool:
        if self.is_file:
            return isinstance(value, str) and _is_base64(value)
        if self.choices:
            return any(value == choice and type(value) is type(choice) for choice in self.choices)
        if isinstance(self.default, int | float):
            return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
        return isinstance(value, str)


@dataclass(frozen=True, slots=True)
class FaultKind:
    """A row of the table: what happens, for which providers, and the parameters."""

    summary: str
    params: Mapping[str, Param] = field(default_factory=dict)
    providers: tuple[str, ...] = PROVIDERS


_STATUSES = (408, 409, 500, 502, 503, 504)
_SECONDS = Param(1.0)

FAULTS: Mapping[str, FaultKind] = {
    "rate_limited": FaultKind(
        "HTTP 429; a retry after the wait succeeds; form: how the response states it; delay: the text in RetryInfo",
        {
            "form": Param(
                "retry-after-seconds",
                (
                    "retry-after-ms",
                    "retry-after-seconds",
                    "retry-after-date",
                    "x-should-retry-true",
                    "x-should-retry-false",
                    "retry-info",
                    "words",
                    "none",
                ),
            ),
            "seconds": _SECONDS,
            "delay": Param(None),
        },
    ),
    "quota": FaultKind(
        "a quota or billing error; OpenAI: code and status; Gemini: limit, status and delay (the text in RetryInfo)",
        {
            "code": Param(
                "insufficient_quota",
                (
                    "insufficient_quota",
                    "billing_hard_limit_reached",
                    "project_spend_limit_exceeded",
                    "insufficient_user_quota",
                ),
            ),
            "status": Param(429, (400, 402, 403, 429)),
            "limit": Param("per_day", ("per_day", "zero", "zero_value", "per_minute", "prepayment")),
            "delay": Param(None),
        },
    ),
    "server_error": FaultKind(
        "the provider is broken or overloaded; body html: a page as from a proxy",
        {"status": Param(503, _STATUSES), "body": Param("json", ("json", "html"))},
    ),
    "gateway_timeout": FaultKind(
        "a gateway gives up with an HTML page while the provider goes on",
        {"status": Param(504, (504, 520, 522, 524))},
    ),
    "organization_not_verified": FaultKind("HTTP 403: the organisation is not verified", providers=("openai",)),
    "moderation": FaultKind(
        "HTTP 400: moderation_blocked; stage: of the prompt and the input images, or of the finished image",
        {"violation": Param("violence"), "stage": Param("input", ("input", "output", "unknown"))},
        providers=("openai",),
    ),
    "blocked_prompt": FaultKind(
        "HTTP 200 with promptFeedback and no candidates", {"reason": Param("PROHIBITED_CONTENT")}, providers=("gemini",)
    ),
    "refusal_text": FaultKind(
        "HTTP 200 and STOP with text in place of an image",
        {"text": Param("I can't create that image, but I can describe it for you.")},
        providers=("gemini",),
    ),
    "finish_reason": FaultKind(
        "HTTP 200 with a candidate that ended without an image",
        {"reason": Param("IMAGE_SAFETY"), "message": Param(None)},
        providers=("gemini",),
    ),
    "no_image": FaultKind("HTTP 200 without content: an empty data list, a candidate without parts"),
    "wrapped_error": FaultKind(
        "an error inside a list of one", {"status": Param(503, (400, 403, 404, 429, *_STATUSES))}, providers=("gemini",)
    ),
    "truncated_body": FaultKind("the connection closes in the middle of the body that content-length announced"),
    "truncated_json": FaultKind("a complete HTTP response with half of its JSON"),
    "bad_base64": FaultKind("image data that is not base64"),
    "not_an_image": FaultKind("valid base64 of something that is not an image"),
    "url_safe_base64": FaultKind("image data in the URL-safe alphabet of base64"),
    "served_file": FaultKind(
        "this file in place of every image, byte for byte: base64 of a PNG, JPEG or WebP",
        {"file": Param("", is_file=True)},
    ),
    "url_result": FaultKind(
        "a URL instead of b64_json: one on the sandbox, with misses responses of 404 before the image, or a data: URL",
        {
            "form": Param("absolute", ("absolute", "relative", "data")),
            "misses": Param(0.0),
            "key": Param("none", ("none", "required")),
        },
        providers=("openai",),
    ),
    "several_images": FaultKind(
        "one image more than requested: the first one again, or the first one at half its size before all others",
        {"form": Param("twice", ("twice", "small_first"))},
    ),
    "thought_only": FaultKind("the image only in a thought, and STOP", providers=("gemini",)),
    "snake_case": FaultKind("a response with snake_case names", providers=("gemini",)),
    "jpeg_answer": FaultKind("a JPEG image, whatever format was requested"),
    "other_size": FaultKind(
        "an image with a different size from the one requested", {"width": Param(896), "height": Param(640)}
    ),
    "sloppy_mask": FaultKind("an edit that also changes every pixel outside its mask a little"),
    "slow": FaultKind("a normal response after this many seconds", {"seconds": _SECONDS}),
    "dropped_connection": FaultKind("the connection closes without a response"),
    "slow_stream": FaultKind("this many seconds between the events of a stream", {"seconds": _SECONDS}),
    "stream_ends_early": FaultKind("a stream that ends before its image is complete"),
    "stream_error": FaultKind(
        "an error after the previews; OpenAI: an event with code; Gemini: JSON with status behind the events",
        {
            "code": Param("server_error", ("server_error", "rate_limit_exceeded", "moderation_blocked")),
            "status": Param(503, (400, 429, *_STATUSES)),
        },
    ),
    "stream_ignored": FaultKind("the response in one piece, as from a server that ignores stream"),
    "stream_refused": FaultKind("an error for a streamed request, as from a server without streams"),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """A queued fault with all its parameters."""

    name: str
    params: Mapping[str, ParamValue]

    def text(self, name: str) -> str:
        return str(self.params[name])

    def number(self, name: str) -> float:
        return float(self.params[name] or 0)

    def file(self, name: str) -> bytes:
        return base64.b64decode(self.text(name))

    def optional(self, name: str) -> str | None:
        """A text parameter that may be null."""
        value = self.params[name]
        return None if value is None else str(value)


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except ValueError:
        return False
    return True


class FaultQueue:
    """The queued faults of each provider, first in, first out."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[Fault]] = {provider: deque() for provider in PROVIDERS}

    def add(self, provider: str, fault: Fault, times: int) -> None:
        self._queues[provider].extend([fault] * times)

    def take(self, provider: str) -> Fault | None:
        """Remove and return the next fault; None if the queue is empty."""
        queue = self._queues[provider]
        return queue.popleft() if queue else None

    def waiting(self) -> dict[str, int]:
        """How many faults are queued, by provider."""
        return {provider: len(queue) for provider, queue in self._queues.items()}

    def clear(self) -> None:
        for queue in self._queues.values():
            queue.clear()


def read_fault(body: object) -> tuple[str, Fault, int]:
    """Read the body of a request for a fault: the provider, the fault and how many times.

    Raises:
        ValueError: The body is not valid; the message says why.
    """
    if not isinstance(body, dict):
        raise ValueError("the body must be a JSON object")
    provider, name, times = body.get("provider"), body.get("fault"), body.get("times", 1)
    if provider not in PROVIDERS:
        raise ValueError(f"provider must be one of {', '.join(PROVIDERS)}")
    if not isinstance(name, str) or name not in FAULTS or provider not in FAULTS[name].providers:
        offered = ", ".join(name for name, kind in FAULTS.items() if provider in kind.providers)
        raise ValueError(f"fault must be, for {provider}, one of {offered}")
    if not isinstance(times, int) or isinstance(times, bool) or not 1 <= times <= 1000:
        raise ValueError("times must be a whole number from 1 to 1000")
    known = FAULTS[name].params
    given = {key: value for key, value in body.items() if key not in ("provider", "fault", "times")}
    for key, value in given.items():
        if key not in known:
            raise ValueError(f"{name} has no parameter {key}; its parameters: {', '.join(known) or '-'}")
        if not known[key].accepts(value):
            if known[key].is_file:
                raise ValueError(f"{key} of {name} must be the base64 of a file")
            offered = ", ".join(str(choice) for choice in known[key].choices)
            raise ValueError(f"{key} of {name} must " + (f"be one of {offered}" if offered else "have another type"))
    return provider, Fault(name, {key: given.get(key, param.default) for key, param in known.items()}), times
