"""OpenRouter's Images API: models of many makers behind one request. JSON in, JSON or a stream of events out.

Input images are sent as ``data:`` URLs; there is no mask. Without a size in pixels, a model gets a named ratio and a
named resolution, from which each maker derives its own pixels.

Source: the types of the official SDK (openrouter 1.3.84), OpenRouter's guides, and recorded responses of third parties.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar

from ..errors import ProviderError
from ..planning.plan import Call
from ..pricing.prices import MAX_USD
from ..result import Usage
from ..transport.messages import Base64, HttpRequest, HttpResponse
from ..untrusted_number import number
from .base import Answer, AnswerImage
from .fields import document_of, mapping, token_count
from .image_data import ImageDataAdapter
from .openrouter_errors import error_of, inner_error, request_id
from .openrouter_models import listed_models, model_fields
from .stated_cost import stated_cost

__all__ = ["OpenRouterAdapter"]


@dataclass(frozen=True, slots=True)
class OpenRouterAdapter(ImageDataAdapter):
    """OpenRouter, and every server with the same API."""

    paths: ClassVar[Mapping[str, str]] = {
        "generate": "images",
        "models": "images/models",
        "model": "images/models/{model}/endpoints",
        "key": "key",
    }
    can_discover: ClassVar[bool] = True
    usual_version: ClassVar[str] = "api/v1"
    sent_options: ClassVar[frozenset[str] | None] = frozenset(
        {"quality", "background", "output_format", "output_compression"}
    )

    def build(self, call: Call, base_url: str) -> HttpRequest:
        return HttpRequest(url=self.url(base_url, "generate"), json=_fields(call))

    def error_of(self, response: HttpResponse, call: Call | None) -> ProviderError:
        return error_of(self.provider, response, call)

    def inner_error(self, fields: Mapping[str, Any], head: HttpResponse, call: Call) -> ProviderError | None:
        return inner_error(self.provider, fields, head, call)

    def answer(self, images: tuple[AnswerImage, ...], usage: object, response: HttpResponse, call: Call) -> Answer:
        counts = mapping(usage)
        return Answer(
            images=images,
            usage=_usage(counts, has_input_images=bool(call.images)) if counts else None,
            request_id=request_id(response),
            cost_usd=self._cost(counts, response),
        )

    def build_discovery(self, base_url: str, model_id: str | None = None) -> HttpRequest:
        if model_id is None:
            return self.build_listing(base_url)
        # The slash between the author and the name of a model is one of the path.
        return HttpRequest(url="/".join(self.url(base_url, "model", model_id).split("%2F")))

    def parse_discovery(self, response: HttpResponse) -> Mapping[str, Mapping[str, Any]]:
        return listed_models(self.listing(response))

    def discovered_model(self, listed: Mapping[str, Any], page: HttpResponse | None) -> dict[str, Any] | None:
        body: object = None
        if page and page.is_success:
            with suppress(ValueError):
                body = document_of(page)
        return model_fields(listed, body)

    def build_key_test(self, base_url: str) -> HttpRequest:
        # The list of models is public.
        return HttpRequest(url=self.url(base_url, "key"))

    def parse_key_test(self, response: HttpResponse) -> None:
        if not response.is_success:
            raise error_of(self.provider, response, None)

    def _cost(self, usage: Mapping[str, Any], response: HttpResponse) -> float | None:
        """The cost that a response states; with your separate key for the maker, what the maker bills too."""
        stated = stated_cost(self.provider, usage, response.headers)
        if stated is None or usage.get("is_byok") is not True:
            return stated
        of_maker = number(mapping(usage.get("cost_details")).get("upstream_inference_cost"), 0, MAX_USD)
        return None if of_maker is None else stated + of_maker


def _fields(call: Call) -> dict[str, Any]:
    fields: dict[str, Any] = {"model": call.model.sent_id, "prompt": call.prompt, "n": call.n}
    if call.size.aspect_ratio or call.size.image_size:
        # A size in pixels beside these is refused unless it agrees with them.
        named = {"aspect_ratio": call.size.aspect_ratio, "resolution": call.size.image_size}
        fields |= {name: value for name, value in named.items() if value}
    elif call.size.size:
        fields["size"] = str(call.size.size)
    fields |= call.options
    if call.seed is not None:
        fields["seed"] = call.seed
    if call.images:
        fields["input_references"] = [
            {"type": "image_url", "image_url": {"url": Base64(image.data, prefix=f"data:{image.mime_type};base64,")}}
            for image in call.images
        ]
    if call.previews:
        fields["stream"] = True
    return fields


def _usage(raw: Mapping[str, Any], *, has_input_images: bool) -> Usage:
    """The tokens. Those of the prompt and of input images are one number, so with input images neither is known."""
    sent, made = token_count(raw.get("prompt_tokens")), token_count(raw.get("completion_tokens"))
    of_images = token_count(mapping(raw.get("completion_tokens_details")).get("image_tokens"))
    return Usage(
        input_text_tokens=None if has_input_images else sent,
        input_image_tokens=None if has_input_images else 0,
        output_text_tokens=None if made is None or of_images is None else max(0, made - of_images),
        output_image_tokens=of_images,
        total_tokens=token_count(raw.get("total_tokens")),
    )


ADAPTER = OpenRouterAdapter
