"""Reads the events of a stream of images, as OpenAI's Images API and OpenRouter send them.

Their types end with ``.partial_image`` for a preview and ``.completed`` for the image; an error has the type ``error``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..errors import ProviderError
from ..planning.plan import Call
from ..providers.provider_config import ProviderConfig
from ..transport.messages import HttpResponse
from ..untrusted_text import fit_to_show
from .base import AnswerImage, StreamEvent
from .error_dialects import error_in
from .fields import answer_image, text_of
from .http_errors import incomplete_stream, parse_json

__all__ = ["image_entries", "image_of", "read_image_event"]


def read_image_event(
    provider: ProviderConfig,
    event: HttpResponse,
    call: Call,
    error_of: Callable[[Mapping[str, Any]], ProviderError | None],
) -> StreamEvent:
    """Parse one event.

    Args:
        provider: The provider.
        event: The head of the response, with the data of the event as its body.
        call: The call.
        error_of: The error for the fields of one in an event; None if they say only that the stream has ended.

    Raises:
        ProviderError: The event is an error, or not JSON.
    """
    body = parse_json(provider, event, call)
    if not isinstance(body, dict):
        return StreamEvent()
    kind = text_of(body.get("type")) or ""
    has_image = any(image.is_readable for image in map(image_of, image_entries(body)))
    # As in a response in one piece, an image is used whatever is beside it: it was paid for.
    if not has_image and (fields := error_in(body) or (body if kind == "error" else {})):
        reason = fit_to_show(fields.get("message")) or "no reason given"
        raise error_of(fields) or incomplete_stream(provider, reason, event, call)
    if kind.endswith(".partial_image"):
        preview = image_of(body).data
        return StreamEvent((preview,) if preview else ())
    # Some gateways send the whole response in one event, or an image without a type.
    if kind.endswith(".completed") or has_image:
        return StreamEvent(body=body, has_image=True, is_last=True, has_usage=True)
    return StreamEvent()


def image_entries(body: Mapping[str, Any]) -> Sequence[object]:
    """The images of an event: its ``data`` if it is a whole response, else the event itself."""
    entries = body.get("data")
    return entries if isinstance(entries, list) else [body]


def image_of(entry: object) -> AnswerImage:
    """The image of an entry of ``data``; it is not readable if the entry is not an image."""
    if not isinstance(entry, dict):
        return AnswerImage()
    return answer_image(entry.get("b64_json"), entry.get("url"), entry.get("revised_prompt"))
