"""What wire formats have in common whose responses are JSON with the images in ``data``: OpenAI's and OpenRouter's.

In a stream, the types of the events end with ``.partial_image`` for a preview and ``.completed`` for the image; an
error has the type ``error``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ProviderError
from ..planning.plan import Call
from ..transport.messages import HttpResponse
from ..untrusted_text import fit_to_show
from .base import Adapter, Answer, AnswerImage, StreamEvent
from .error_dialects import error_fields, error_in
from .fields import answer_image, body_image, mappings, text_of
from .http_errors import incomplete_stream, invalid_response, parse_json

__all__ = ["ImageDataAdapter"]


@dataclass(frozen=True, slots=True)
class ImageDataAdapter(Adapter):
    """A wire format with the images in ``data``, in one piece or as a stream of events, and a list of models there."""

    @abstractmethod
    def error_of(self, response: HttpResponse, call: Call | None) -> ProviderError:
        """The error of a response without success; ``call`` is None for the list of models."""

    @abstractmethod
    def inner_error(self, fields: Mapping[str, Any], head: HttpResponse, call: Call) -> ProviderError | None:
        """The error in an event, or in a response that calls itself a success; None if it is not a known one."""

    @abstractmethod
    def answer(self, images: tuple[AnswerImage, ...], usage: object, response: HttpResponse, call: Call) -> Answer:
        """Put images, at least one of them readable, and what is beside them into an ``Answer``.

        Args:
            images: The images.
            usage: What the response has as ``usage``; None if it is missing.
            response: The response.
            call: The call.
        """

    def parse(self, response: HttpResponse, call: Call) -> Answer:
        if not response.is_success:
            raise self.error_of(response, call)
        if image := body_image(response):
            return self.answer((image,), None, response, call)
        body = parse_json(self.provider, response, call)
        return self._checked_answer(body if isinstance(body, dict) else {}, response, call)

    def read_event(self, event: HttpResponse, call: Call) -> StreamEvent:
        body = parse_json(self.provider, event, call)
        if not isinstance(body, dict):
            return StreamEvent()
        kind = text_of(body.get("type")) or ""
        has_image = any(image.is_readable for image in map(_image, _entries(body)))
        # As in a response in one piece, an image is used whatever is beside it: it was paid for.
        if not has_image and (fields := error_in(body) or (body if kind == "error" else {})):
            reason = fit_to_show(fields.get("message")) or "no reason given"
            raise self.inner_error(fields, event, call) or incomplete_stream(self.provider, reason, event, call)
        if kind.endswith(".partial_image"):
            preview = _image(body).data
            return StreamEvent((preview,) if preview else ())
        # Some gateways send the whole response in one event, or an image without a type.
        if kind.endswith(".completed") or has_image:
            return StreamEvent(body=body, has_image=True, is_last=True, has_usage=True)
        return StreamEvent()

    def join_events(self, bodies: Sequence[Mapping[str, Any]], head: HttpResponse, call: Call) -> Answer:
        if not bodies:
            raise incomplete_stream(self.provider, "", head, call)
        entries = [entry for body in bodies for entry in _entries(body)]
        return self._checked_answer({"data": entries, "usage": bodies[-1].get("usage")}, head, call)

    def parse_listing(self, response: HttpResponse) -> frozenset[str]:
        return frozenset(
            name for entry in mappings(self.listing(response)["data"]) if (name := text_of(entry.get("id")))
        )

    def listing(self, response: HttpResponse) -> Mapping[str, Any]:
        """The body of a list of models, which has the models in ``data``; raises like ``parse_listing``."""
        if not response.is_success:
            raise self.error_of(response, None)
        body = parse_json(self.provider, response, None)
        if not isinstance(body, dict) or not isinstance(body.get("data"), list):
            raise invalid_response(self.provider, "contains no list of models", response, None)
        return body

    def _checked_answer(self, body: Mapping[str, Any], response: HttpResponse, call: Call) -> Answer:
        entries = body.get("data")
        if not isinstance(entries, list) or not entries:
            error = self.inner_error(error_fields(response), response, call)
            raise error or invalid_response(self.provider, "contains no images", response, call)
        images = tuple(map(_image, entries))
        if not any(image.is_readable for image in images):
            raise invalid_response(self.provider, "contains no image that can be read", response, call)
        return self.answer(images, body.get("usage"), response, call)


def _entries(body: Mapping[str, Any]) -> Sequence[object]:
    """The images of an event: its ``data`` if it is a whole response, else the event itself."""
    entries = body.get("data")
    return entries if isinstance(entries, list) else [body]


def _image(entry: object) -> AnswerImage:
    """The image of an entry of ``data``; it is not readable if the entry is not an image."""
    if not isinstance(entry, dict):
        return AnswerImage()
    return answer_image(entry.get("b64_json"), entry.get("url"), entry.get("revised_prompt"))
