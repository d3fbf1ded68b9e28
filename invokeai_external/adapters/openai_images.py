"""OpenAI's Images API: generations as JSON, edits as multipart, for GPT Image and DALL·E models.

An edit with ``moderation`` is JSON, with its images as ``data:`` URLs: the multipart form does not have that field.

Source: the types of the official SDK (openai 3.57.0) and OpenAI's API reference.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ..errors import ProviderError
from ..images.formats.containers import EXTENSIONS
from ..planning.input_images import CallImage
from ..planning.plan import Call
from ..result import Usage
from ..transport.messages import Base64, FilePart, HttpRequest, HttpResponse
from .base import Answer, AnswerImage
from .error_dialects import error_fields
from .fields import mapping, text_of, token_count
from .image_data import ImageDataAdapter
from .openai_errors import error_of, inner_error, known_error
from .stated_cost import stated_cost

__all__ = ["OpenAIImagesAdapter"]

_ABOUT_STREAMS = re.compile("stream|partial_image")


@dataclass(frozen=True, slots=True)
class OpenAIImagesAdapter(ImageDataAdapter):
    """OpenAI's Images API, and every server with the same API."""

    paths: ClassVar[Mapping[str, str]] = {"generate": "images/generations", "edit": "images/edits", "models": "models"}
    sandbox_path: ClassVar[str | None] = "openai/v1"
    counts_previews: ClassVar[bool] = True

    def build(self, call: Call, base_url: str) -> HttpRequest:
        fields = _fields(call)
        url = self.url(base_url, "edit" if call.images else "generate", call.model.sent_id)
        if not call.images:
            return HttpRequest(url=url, json=fields)
        if "moderation" in fields:
            return HttpRequest(url=url, json={**fields, **_data_urls(call)})
        form = {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}
        return HttpRequest(url=url, form=form, files=_files(call))

    def error_of(self, response: HttpResponse, call: Call | None) -> ProviderError:
        return error_of(self.provider, response, call)

    def inner_error(self, fields: Mapping[str, Any], head: HttpResponse, call: Call) -> ProviderError | None:
        return inner_error(self.provider, fields, head, call)

    def answer(self, images: tuple[AnswerImage, ...], usage: object, response: HttpResponse, call: Call) -> Answer:
        return Answer(
            images=images,
            usage=_usage(usage, bills_text=call.model.prices.text_out is not None),
            request_id=response.headers.get("x-request-id"),
            cost_usd=stated_cost(self.provider, usage, response.headers),
        )

    def refuses_stream(self, response: HttpResponse) -> bool:
        if response.status not in (400, 422):
            return False
        fields = error_fields(response)
        if known_error(self.provider, fields, response.status, response, None):
            return False
        if named := text_of(fields.get("param")):
            return _ABOUT_STREAMS.search(named) is not None
        # Servers word it differently. If they only quote a prompt about streams, a second call is refused, for free.
        return _ABOUT_STREAMS.search(response.body.decode(errors="replace")) is not None


def _is_dalle(model_id: str) -> bool:
    """True for DALL·E, by the prefix of its ids. All other models, also unknown ones, are requested like GPT Image."""
    return model_id.startswith("dall-e-")


def _fields(call: Call) -> dict[str, Any]:
    """The fields that generations and edits have in common, with JSON values."""
    fields: dict[str, Any] = {"model": call.model.sent_id, "prompt": call.prompt, "n": call.n}
    if call.size.size:
        fields["size"] = str(call.size.size)
    # The numbers of options are floats; those of the API are integers.
    fields.update({k: int(v) if isinstance(v, float) and v.is_integer() else v for k, v in call.options.items()})
    if _is_dalle(call.model.sent_id):
        # By default DALL·E responds with a URL; GPT Image refuses the parameter.
        fields["response_format"] = "b64_json"
    if call.previews:
        fields |= {"stream": True, "partial_images": call.previews}
    return fields


def _files(call: Call) -> tuple[FilePart, ...]:
    """The images, named as by the official SDK: ``image`` for one, ``image[]`` for several; then mask or markup."""
    name = "image" if len(call.images) == 1 else "image[]"
    parts = [_file(name, f"image-{place}", image) for place, image in enumerate(call.images, start=1)]
    if call.mask:
        parts.append(_file("mask", "mask", call.mask))
    if call.markup:
        parts.append(_file("markup", "markup", call.markup))
    return tuple(parts)


def _data_urls(call: Call) -> dict[str, Any]:
    """The images of an edit and its mask, as the JSON form has them."""
    mask = {"mask": _data_url(call.mask)} if call.mask else {}
    return {"images": [_data_url(image) for image in call.images], **mask}


def _data_url(image: CallImage) -> dict[str, Base64]:
    return {"image_url": Base64(image.data, prefix=f"data:{image.mime_type};base64,")}


def _file(name: str, stem: str, image: CallImage) -> FilePart:
    # The names of the user's files are private.
    return FilePart(name, f"{stem}.{EXTENSIONS[image.mime_type]}", image.mime_type, image.data)


def _usage(raw: object, *, bills_text: bool) -> Usage | None:
    """The tokens as OpenAI counts them; ``bills_text`` is True if the model bills text tokens with its images."""
    if not isinstance(raw, Mapping):
        return None
    details = mapping(raw.get("input_tokens_details"))
    text, image = _output_tokens(
        token_count(raw.get("output_tokens")), mapping(raw.get("output_tokens_details")), bills_text=bills_text
    )
    return Usage(
        input_text_tokens=token_count(details.get("text_tokens")),
        input_image_tokens=token_count(details.get("image_tokens")),
        output_text_tokens=text,
        output_image_tokens=image,
        total_tokens=token_count(raw.get("total_tokens")),
    )


def _output_tokens(total: int | None, details: Mapping[str, Any], *, bills_text: bool) -> tuple[int | None, int | None]:
    """The text and the image tokens of a response (gpt-image-1.5 has a few hundred text tokens per image).

    Tokens that are in the total but not in the details count as image tokens, which cost more. Without details, that is
    all of them, unless the model bills text: then neither number is known.
    """
    text, image = token_count(details.get("text_tokens")), token_count(details.get("image_tokens"))
    if text is None and image is None:
        return (None, None) if bills_text else (0, total)
    if text is None or image is None or total is None:
        rest = None if total is None else max(0, total - (text or 0) - (image or 0))
        return rest if text is None else text, rest if image is None else image
    return text, max(image, total - text)


ADAPTER = OpenAIImagesAdapter
