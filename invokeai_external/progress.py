"""What is reported while a request is in progress: one event for each step of each call. Plain values."""

from __future__ import annotations

from dataclasses import dataclass, field

from .errors import ProviderError
from .result import GeneratedImage, Notice, Usage
from .sizing import Size

__all__ = ["Failed", "Preview", "Progress", "Received", "Retrying", "Sending", "Waiting"]


@dataclass(frozen=True, slots=True)
class Sending:
    """A call is sent.

    Attributes:
        call: Which call, from 1 to ``calls``.
        calls: How many calls there are.
        attempt: Which attempt of the call, from 1.
    """

    call: int
    calls: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Preview:
    """A call shows its unfinished image. It is never a result.

    Attributes:
        call: Which call, from 1 to ``calls``.
        calls: How many calls there are.
        index: Which preview of that call, from 1.
        count: How many were requested; None if the model decides how many.
        data: A complete image file, smaller or coarser than the finished image.
        mime_type: ``image/png``, ``image/jpeg`` or ``image/webp``, according to the bytes.
        size: The requested size of the finished image; None if the model chooses it.
    """

    call: int
    calls: int
    index: int
    count: int | None
    data: bytes = field(repr=False)
    mime_type: str
    size: Size | None = None


@dataclass(frozen=True, slots=True)
class Retrying:
    """A call failed and will be retried.

    Attributes:
        call: Which call, from 1 to ``calls``.
        calls: How many calls there are.
        wait_s: How many seconds it waits first.
        reason: The error.
    """

    call: int
    calls: int
    wait_s: float
    reason: ProviderError


@dataclass(frozen=True, slots=True)
class Received:
    """A call succeeded.

    Attributes:
        call: Which call, from 1 to ``calls``.
        calls: How many calls there are.
        images: Its images.
        notices: What to know about them.
        usage: The tokens of the call; None if they are unknown.
        cost_usd: The cost of the call in USD; None if it is unknown.
        cost_from: Who says so: ``provider`` or ``prices``; None if the cost is unknown.
        request_id: The provider's id of the call.
        computed_usd: What it costs by the prices of the model, if the provider says so itself; None if that is unknown.
    """

    call: int
    calls: int
    images: tuple[GeneratedImage, ...]
    notices: tuple[Notice, ...] = ()
    usage: Usage | None = None
    cost_usd: float | None = None
    cost_from: str | None = None
    request_id: str | None = None
    computed_usd: float | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """A call failed and will not be retried; or it was cancelled before anything of it was sent.

    Attributes:
        call: Which call, from 1 to ``calls``.
        calls: How many calls there are.
        reason: The error.
    """

    call: int
    calls: int
    reason: ProviderError


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request waits for calls in progress, whose end may leave enough of a limit for it. Only in Invoke.

    Attributes:
        call: 0, since its calls are not sent yet.
        calls: How many calls there are.
        limit: The limit, such as ``total.day``.
    """

    call: int
    calls: int
    limit: str


Progress = Sending | Preview | Retrying | Received | Failed | Waiting
"""What happens while a request is in progress."""
