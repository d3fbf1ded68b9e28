"""Google's Gemini ``generateContent``: one image per call; text and images in, images and text out.

Source: the types of the official SDK (google-genai 3.4.0) and Google's API reference. The API is Protocol Buffers as
JSON, so keys arrive in camelCase or snake_case, base64 in either alphabet, and zeros may be missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ..errors import RejectedRequestError
from ..planning.plan import Call
from ..providers.authentication import Authentication, HeaderKey
from ..result import Notice, Usage
from ..transport.messages import Base64, HttpRequest, HttpResponse
from ..untrusted_text import fit_to_show
from .base import Adapter, Answer, AnswerImage, StreamEvent
from .error_dialects import error_in
from .fields import answer_image, body_image, get, mapping, mappings, text_of, token_count
from .gemini_errors import error_of, inner_error, no_image
from .gemini_options import generation_config, safety_settings, tools
from .gemini_search import searches_of, sources_of
from .http_errors import incomplete_stream, invalid_response, parse_json
from .stated_cost import stated_cost

__all__ = ["GeminiAdapter"]

_PAGE_SIZE = 1000
"""The most models that one response lists (Google's API reference)."""

_IN_A_THOUGHT = Notice("thought_image", "The model sent images only as thoughts; the last of them is used.")


@dataclass(frozen=True, slots=True)
class GeminiAdapter(Adapter):
    """Google's Gemini API, and every gateway with the same API."""

    paths: ClassVar[Mapping[str, str]] = {
        "generate": "models/{model}:generateContent",
        "stream": "models/{model}:streamGenerateContent",
        "models": "models",
    }
    usual_version: ClassVar[str] = "v1beta"
    usual_auth: ClassVar[Authentication] = HeaderKey(type="header", name="x-goog-api-key")
    sandbox_path: ClassVar[str | None] = "gemini/v1beta"
    sent_options: ClassVar[frozenset[str] | None] = frozenset({"temperature", "safety", "thinking_level", "web_search"})

    def doubts_about(self, base_url: str) -> tuple[Notice, ...]:
        if not base_url.endswith("/v1"):
            return ()
        # Third party: v1 does not have the field responseModalities.
        what = f"Google's API version v1 may refuse requests for images; use {base_url}beta as the base URL."
        return (Notice("api_version", what),)

    def build(self, call: Call, base_url: str) -> HttpRequest:
        images = list(call.images)
        if call.mask:
            images.insert(1, call.mask)  # the mask sentence calls it the second image
        parts: list[dict[str, Any]] = [
            {"inlineData": {"mimeType": image.mime_type, "data": Base64(image.data)}} for image in images
        ]
        parts.extend({"text": text} for text in (call.mask_sentence, call.prompt) if text is not None)
        name, query = ("stream", {"alt": "sse"}) if call.previews else ("generate", {})
        return HttpRequest(
            url=self.url(base_url, name, call.model.sent_id, query),
            json={
                "contents": [{"role": "user", "parts": parts}],
                "generationConfig": generation_config(call),
                **safety_settings(call),
                **tools(call),
            },
        )

    def parse(self, response: HttpResponse, call: Call) -> Answer:
        if not response.is_success:
            raise error_of(self.provider, response, call)
        if image := body_image(response):
            return Answer(images=(image,), cost_usd=stated_cost(self.provider, None, response.headers))
        body = parse_json(self.provider, response, call)
        if isinstance(body, list):
            # Without alt=sse, which gateways may drop, a stream is a list.
            return self.join_events(mappings(body), response, call)
        return self._answer(mapping(body), response, call)

    def read_event(self, event: HttpResponse, call: Call) -> StreamEvent:
        body = mapping(parse_json(self.provider, event, call))
        candidates = mappings(get(body, "candidates"))
        has_image = any(map(_has_image, candidates))
        # As in a response in one piece, an image is used whatever is beside it: it was paid for.
        if not has_image and (fields := error_in(body)):
            reason = fit_to_show(fields.get("message")) or "no reason given"
            raise inner_error(self.provider, fields, event, call) or incomplete_stream(
                self.provider, reason, event, call
            )
        parts = [part for candidate in candidates for part in _parts(candidate)]
        thought = [image.data for part in parts if part.get("thought") and (image := _image(part))]
        return StreamEvent(
            tuple(data for data in thought if data),
            body,
            has_image=has_image,
            is_last=any(get(candidate, "finishReason") for candidate in candidates),
            has_usage=bool(get(body, "usageMetadata")),
        )

    def join_events(self, bodies: Sequence[Mapping[str, Any]], head: HttpResponse, call: Call) -> Answer:
        whole = {name: value for body in bodies for name, value in body.items()}
        candidates = [candidate for body in bodies for candidate in mappings(get(body, "candidates"))]
        # An empty object does not replace what an earlier chunk found.
        candidate = {name: value for part in candidates for name, value in part.items() if value}
        is_blocked = get(mapping(get(whole, "promptFeedback")), "blockReason")
        if not is_blocked and not get(candidate, "finishReason") and not any(map(_has_image, candidates)):
            raise incomplete_stream(self.provider, "", head, call)
        if candidates:
            # A call makes one image, so these are the parts of one candidate.
            whole["candidates"] = [{**candidate, "content": {"parts": _joined_parts(candidates)}}]
        return self._answer(whole, head, call)

    def refuses_stream(self, response: HttpResponse) -> bool:
        # A gateway may not have the method, or may refuse thoughts, in which previews arrive.
        if response.status != 400:
            return response.status in (404, 405, 501)
        if type(error_of(self.provider, response, None)) is not RejectedRequestError:
            return False
        return re.search(rb"stream|thought|thinking", response.body, re.IGNORECASE) is not None

    def _answer(self, body: Mapping[str, Any], response: HttpResponse, call: Call) -> Answer:
        candidates = mappings(get(body, "candidates"))
        parts = [part for candidate in candidates for part in _final_parts(candidate)]
        text = " ".join(piece for part in parts if (piece := text_of(part.get("text")))) or None
        images = tuple(image for part in parts if (image := _image(part)))
        thoughts = () if any(image.is_readable for image in images) else _only_thoughts(body)
        images = thoughts or images
        request_id = text_of(get(body, "responseId"))
        if not images:
            error = no_image(self.provider, body, text, response, call, request_id)
            raise error.replace(usage=_usage(get(body, "usageMetadata"), has_image=False))
        if not any(image.is_readable for image in images):
            raise invalid_response(self.provider, "contains no image that can be read", response, call, request_id)
        return Answer(
            images=images,
            usage=_usage(usage := get(body, "usageMetadata")),
            request_id=request_id,
            model_version=text_of(get(body, "modelVersion")),
            text=text,
            notices=(_IN_A_THOUGHT,) if thoughts else (),
            searches=searches_of(candidates),
            sources=sources_of(candidates),
            cost_usd=stated_cost(self.provider, usage, response.headers),
        )

    def build_listing(self, base_url: str, page: str | None = None) -> HttpRequest:
        query = {"pageSize": str(_PAGE_SIZE), **({"pageToken": page} if page else {})}
        return HttpRequest(url=self.url(base_url, "models", query=query))

    def next_page(self, response: HttpResponse) -> str | None:
        return text_of(get(mapping(parse_json(self.provider, response, None)), "nextPageToken")) or None

    def parse_listing(self, response: HttpResponse) -> frozenset[str]:
        if not response.is_success:
            raise error_of(self.provider, response, None)
        entries = get(mapping(parse_json(self.provider, response, None)), "models")
        if not isinstance(entries, list):
            raise invalid_response(self.provider, "contains no list of models", response, None)
        names = (text_of(entry.get("name")) for entry in mappings(entries) if _generates_content(entry))
        return frozenset(name.removeprefix("models/") for name in names if name)


def _generates_content(card: Mapping[str, Any]) -> bool:
    """False for a listed model that has other methods only; a gateway may not name any."""
    methods = get(card, "supportedGenerationMethods")
    return not isinstance(methods, list) or not methods or "generateContent" in methods


def _parts(candidate: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return mappings(mapping(candidate.get("content")).get("parts"))


def _final_parts(candidate: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The parts of a candidate without its thoughts: an interim image is a preview, never a result."""
    return (part for part in _parts(candidate) if not part.get("thought"))


def _only_thoughts(body: Mapping[str, Any]) -> tuple[AnswerImage, ...]:
    """The last image among the thoughts of a candidate that ended normally: the final image may be sent as a thought
    (reported by third parties). Empty if it did not end normally: such an image is a preview."""
    parts = [
        part
        for candidate in mappings(get(body, "candidates"))
        if get(candidate, "finishReason") == "STOP"
        for part in _parts(candidate)
        if part.get("thought")
    ]
    found = [image for part in parts if (image := _image(part)) and image.is_readable]
    return tuple(found[-1:])


def _has_image(candidate: Mapping[str, Any]) -> bool:
    return any((image := _image(part)) and image.is_readable for part in _final_parts(candidate))


def _joined_parts(candidates: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The parts of a streamed candidate: the last image of its thoughts, then its final parts, in which the pieces of a
    text are joined."""
    thoughts = [part for candidate in candidates for part in _parts(candidate) if part.get("thought") and _image(part)]
    joined: list[Mapping[str, Any]] = thoughts[-1:]
    for part in (part for candidate in candidates for part in _final_parts(candidate)):
        text = text_of(part.get("text"))
        before = text_of(joined[-1].get("text")) if joined and not joined[-1].get("thought") else None
        if text and before:
            joined[-1] = {"text": before + text}
        else:
            joined.append(part)
    return joined


def _image(part: Mapping[str, Any]) -> AnswerImage | None:
    """The image of a part; None if there is no image in it."""
    data = mapping(get(part, "inlineData")).get("data")
    url = get(mapping(get(part, "fileData")), "fileUri")
    return answer_image(data, url) if data or url else None


def _usage(raw: object, *, has_image: bool = True) -> Usage | None:
    """The tokens as Google counts them. Thoughts are priced as text.

    Without details by modality, the tokens of the response are unknown. Details may add up to more than the total; then
    the rest counts as 0.
    """
    if not isinstance(raw, Mapping):
        return None
    prompt = token_count(get(raw, "promptTokenCount"))
    prompt_images = _image_tokens(get(raw, "promptTokensDetails"))
    candidates = token_count(get(raw, "candidatesTokenCount") or (None if has_image else 0))
    # If there is an image in the response, 0 image tokens means that they are unknown.
    images = _image_tokens(get(raw, "candidatesTokensDetails")) or (None if has_image else 0)
    # Protocol Buffers omit zeros.
    thoughts = token_count(get(raw, "thoughtsTokenCount") or 0)
    text = None if candidates is None or images is None else max(0, candidates - images)
    return Usage(
        input_text_tokens=None if prompt is None or prompt_images is None else max(0, prompt - prompt_images),
        input_image_tokens=prompt_images,
        output_text_tokens=None if text is None or thoughts is None else text + thoughts,
        output_image_tokens=images,
        total_tokens=token_count(get(raw, "totalTokenCount")),
    )


def _image_tokens(details: object) -> int | None:
    """The image tokens in the details by modality, 0 if they list no images; None if they cannot be read."""
    images = [entry for entry in mappings(details) if entry.get("modality") == "IMAGE"]
    counts = [token_count(get(entry, "tokenCount") or 0) for entry in images]
    known = [tokens for tokens in counts if tokens is not None]
    return token_count(sum(known)) if len(known) == len(counts) else None


ADAPTER = GeminiAdapter
