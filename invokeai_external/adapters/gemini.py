"""Google's Gemini ``generateContent``: one image per call; text and images in, images and text out.

Source: the types of the official SDK (google-genai 3.4.0) and Google's API reference. The API is Protocol Buffers as
JSON, so keys arrive in camelCase or snake_case, base64 in either alphabet, and zeros may be missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from ..errors import (
    AuthenticationError,
    ContentBlockedError,
    ProviderError,
    QuotaError,
    RateLimitedError,
    RejectedRequestError,
    Remedy,
    UnavailableError,
)
from ..planning.plan import Call
from ..providers.schema import ProviderConfig
from ..result import Notice, Usage
from ..transport.messages import Base64, HttpRequest, HttpResponse
from ..transport.retry_policy import retry_after_from_headers, retry_after_from_text
from ..untrusted_text import fit_to_show
from .base import Answer, AnswerImage, StreamEvent
from .error_dialects import error_codes, error_fields, error_in, status_in
from .errors import (
    CONTENT_BLOCKED,
    GATEWAY_NO_CREDIT,
    GATEWAY_REMEDY,
    change_the_request,
    error_for_status,
    error_from,
    incomplete_stream,
    invalid_response,
    key_remedy,
    lacks_credit,
    model_or_listing,
    parse_json,
    quoting,
)
from .fields import answer_image, body_image, get, mapping, mappings, text_of, token_count
from .gemini_error_details import is_zero, retry_delay, violations
from .gemini_options import generation_config, less_strict, safety_settings, tools
from .gemini_search import searches_of, sources_of

__all__ = ["GeminiAdapter"]

_PER_MINUTE_WAIT_S = 60.0
"""How long to wait for a quota per minute if the response does not say."""

_TERMINAL_WAIT_S = 300.0
"""A longer delay means a quota that is used up for longer than anybody waits."""

_PAGE_SIZE = 1000
"""The most models that one response lists (Google's API reference)."""

_BLOCKED = frozenset(
    {
        "SAFETY",
        "RECITATION",
        "PROHIBITED_CONTENT",
        "BLOCKLIST",
        "SPII",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
        "MODEL_ARMOR",
        "LANGUAGE",
        "ESCALATION",
    }
)
"""The finish reasons that mean a refusal."""

_FAILED = re.compile(r"internal error|failed|try again later|unavailable", re.IGNORECASE)
"""How the service says that it failed, as with the finish reason OTHER."""

_IN_A_THOUGHT = Notice("thought_image", "The model sent images only as thoughts; the last of them is used.")


@dataclass(frozen=True, slots=True)
class GeminiAdapter:
    """Google's Gemini API, and every gateway with the same API."""

    provider: ProviderConfig

    @property
    def counts_previews(self) -> bool:
        return False

    def auth_headers(self, key: str) -> dict[str, str]:
        return {"x-goog-api-key": key}

    def build(self, call: Call, base_url: str) -> HttpRequest:
        images = list(call.images)
        if call.mask:
            images.insert(1, call.mask)  # the mask sentence calls it the second image
        parts: list[dict[str, Any]] = [
            {"inlineData": {"mimeType": image.mime_type, "data": Base64(image.data)}} for image in images
        ]
        parts.extend({"text": text} for text in (call.mask_sentence, call.prompt) if text is not None)
        method = "streamGenerateContent?alt=sse" if call.previews else "generateContent"
        return HttpRequest(
            url=f"{base_url}/models/{quote(call.model.id, safe='')}:{method}",
            json={
                "contents": [{"role": "user", "parts": parts}],
                "generationConfig": generation_config(call),
                **safety_settings(call),
                **tools(call),
            },
        )

    def parse(self, response: HttpResponse, call: Call) -> Answer:
        if not response.is_success:
            raise self._error(response, call)
        if image := body_image(response):
            return Answer(images=(image,))
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
            raise self._inner_error(fields, event, call) or incomplete_stream(self.provider, reason, event, call)
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
        if type(self._error(response, None)) is not RejectedRequestError:
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
            raise self._no_image(body, text, response, call, request_id)
        if not any(image.is_readable for image in images):
            raise invalid_response(self.provider, "contains no image that can be read", response, call, request_id)
        return Answer(
            images=images,
            usage=_usage(get(body, "usageMetadata")),
            request_id=request_id,
            model_version=text_of(get(body, "modelVersion")),
            text=text,
            notices=(_IN_A_THOUGHT,) if thoughts else (),
            searches=searches_of(candidates),
            sources=sources_of(candidates),
        )

    def _no_image(
        self, body: Mapping[str, Any], text: str | None, response: HttpResponse, call: Call, request_id: str | None
    ) -> ProviderError:
        """Why there is no image: a blocked prompt, a refusal with its reason, text instead of an image, or a fault."""
        feedback = mapping(get(body, "promptFeedback"))
        candidate = next(iter(mappings(get(body, "candidates"))), {})
        blocked, reason = text_of(get(feedback, "blockReason")), text_of(get(candidate, "finishReason"))
        # The service writes it, and not the model.
        finish_message = text_of(get(candidate, "finishMessage")) or ""
        message = fit_to_show(" ".join(filter(None, (finish_message, text))))
        if not candidate and not blocked and (error := self._inner_error(error_in(body), response, call)):
            return error
        if blocked:
            message = fit_to_show(get(feedback, "blockReasonMessage"))
            what = f"blocked the prompt ({fit_to_show(blocked)})"
        elif reason == "MAX_TOKENS":
            what = "ran out of tokens before the image (MAX_TOKENS)"
            return invalid_response(self.provider, what, response, call, request_id)
        elif reason in _BLOCKED:
            what = f"refused to make the image ({reason})"
        elif not text and _FAILED.search(finish_message):
            what = f"{self.provider.name} failed to make the image ({fit_to_show(reason)}){quoting(message)}"
            remedy = "It may have been billed. Try again later."
            return error_from(UnavailableError, what, remedy, response, call, request_id, may_be_billed=True)
        elif message:
            what = "sent text without an image" if text else "made no image"
            what = what if reason in (None, "STOP") else f"{what} ({fit_to_show(reason)})"
        else:
            what = f"contains no image ({fit_to_show(reason) or 'no reason given'})"
            return invalid_response(self.provider, what, response, call, request_id)
        what = f"{self.provider.name} {what}{quoting(message)}"
        change = change_the_request(less_strict(call) if "SAFETY" in (blocked, reason) else None)
        return error_from(ContentBlockedError, what, change, response, call, request_id)

    def build_listing(self, base_url: str, page: str | None = None) -> HttpRequest:
        more = f"&pageToken={quote(page, safe='')}" if page else ""
        return HttpRequest(url=f"{base_url}/models?pageSize={_PAGE_SIZE}{more}")

    def next_page(self, response: HttpResponse) -> str | None:
        return text_of(get(mapping(parse_json(self.provider, response, None)), "nextPageToken")) or None

    def parse_listing(self, response: HttpResponse) -> frozenset[str]:
        if not response.is_success:
            raise self._error(response, None)
        entries = get(mapping(parse_json(self.provider, response, None)), "models")
        if not isinstance(entries, list):
            raise invalid_response(self.provider, "contains no list of models", response, None)
        names = (text_of(entry.get("name")) for entry in mappings(entries) if _generates_content(entry))
        return frozenset(name.removeprefix("models/") for name in names if name)

    def _error(self, response: HttpResponse, call: Call | None) -> ProviderError:
        return self._error_of(error_fields(response), response, call)

    def _inner_error(self, fields: Mapping[str, Any], head: HttpResponse, call: Call) -> ProviderError | None:
        """The error in an event, or in a response that calls itself a success; None if it is not a known one."""
        status = status_in(fields)
        if status is None and CONTENT_BLOCKED.isdisjoint(error_codes(fields)):
            return None
        return self._error_of(fields, replace(head, status=status or head.status), call).replace(status=head.status)

    def _error_of(self, fields: Mapping[str, Any], response: HttpResponse, call: Call | None) -> ProviderError:
        details = mappings(fields.get("details"))
        message = text_of(fields.get("message")) or ""
        if response.status == 401 or any(detail.get("reason") == "API_KEY_INVALID" for detail in details):
            remedy = key_remedy(self.provider)
            return error_from(AuthenticationError, f"{self.provider.name} refused the key.", remedy, response, call)
        codes = error_codes(fields)
        if not CONTENT_BLOCKED.isdisjoint(codes):
            # A gateway's, since Google says so in other fields.
            what = f"{self.provider.name} blocked the request because of its content{quoting(fit_to_show(message))}"
            return error_from(ContentBlockedError, what, change_the_request(None), response, call)
        at_gateway = GATEWAY_NO_CREDIT in codes
        if at_gateway or response.status == 402 or lacks_credit(response.status, message):
            return self._no_credit(message, response, call, at_gateway=at_gateway)
        if response.status == 403:
            used, quoted = model_or_listing(call), quoting(fit_to_show(message))
            what = f"{self.provider.name} does not allow this key to use {used}{quoted}"
            url = self.provider.key_url
            remedy = Remedy(f"Check the restrictions of the key and its project at {url}", url=url)
            return error_from(AuthenticationError, what, remedy, response, call)
        if response.status == 429:
            return self._quota_error(message, details, response, call)
        error = error_for_status(self.provider, fit_to_show(message), response, call)
        if wait_s := retry_delay(details):
            error = error.replace(retry_after=wait_s)
        if re.search("Unknown name .{0,9}response_?modalities", message, re.IGNORECASE):
            error = error.replace(remedy=_use_v1beta(self.provider))
        if fields.get("status") == "FAILED_PRECONDITION":
            # Google's documentation: there is no free tier in the country of the caller.
            url = self.provider.billing_url
            text = f"If Google has no free tier in your country, turn on billing at {url}"
            error = error.replace(remedy=Remedy(text, url=url))
        return error

    def _no_credit(self, message: str, response: HttpResponse, call: Call | None, *, at_gateway: bool) -> ProviderError:
        """The account has no credit left, or has reached its spending limit: waiting does not help."""
        url = self.provider.billing_url
        remedy = Remedy(f"Add credit, or raise the spending limit, at {url}", url=url)
        what = f"{self.provider.name} refused the request for lack of credit{quoting(fit_to_show(message))}"
        return error_from(QuotaError, what, GATEWAY_REMEDY if at_gateway else remedy, response, call)

    def _quota_error(
        self, message: str, details: Sequence[Mapping[str, Any]], response: HttpResponse, call: Call | None
    ) -> ProviderError:
        """The error of a 429: a limit that ends while you wait, or a quota that is used up."""
        quota = " ".join(text_of(get(violation, "quotaId")) or "" for violation in violations(details))
        wait_s = (
            retry_delay(details)
            or retry_after_from_headers(response.headers, now=response.received_at)
            or retry_after_from_text(message)
        )
        kind: type[ProviderError] = QuotaError
        # Google's messages are so long that Invoke cuts off the remedy behind them: quoted only if they add something.
        quoted = ""
        url = self.provider.billing_url
        if re.search(r"\blimit: 0(?![\d.]*[1-9])", message) or is_zero(details):
            what, todo = "gives this key no quota for this model (limit: 0)", f"Turn on billing at {url}"
        elif "PerDay" in quota or "Daily" in quota:
            what, todo = "says that the quota for today is used up", f"Wait until tomorrow, or see {url}"
        elif wait_s is not None and wait_s > _TERMINAL_WAIT_S:
            what = f"asks you to wait {wait_s:,.0f} s, which means that a quota is used up"
            todo, quoted = f"See your quotas at {url}", fit_to_show(message)
        else:
            kind, quoted = RateLimitedError, fit_to_show(message)
            what, todo = "asks you to slow down", f"Request fewer images at once, or see your quotas at {url}"
            if wait_s is None and "PerMinute" in quota:
                wait_s = _PER_MINUTE_WAIT_S
        what = f"{self.provider.name} {what}{quoting(quoted)}"
        error = error_from(kind, what, Remedy(todo, url=url), response, call)
        return error.replace(retry_after=wait_s)


def _generates_content(card: Mapping[str, Any]) -> bool:
    """False for a listed model that has other methods only; a gateway may not name any."""
    methods = get(card, "supportedGenerationMethods")
    return not isinstance(methods, list) or not methods or "generateContent" in methods


def _use_v1beta(provider: ProviderConfig) -> Remedy:
    """The remedy for a request that the API version v1 refuses, because it does not have a field of v1beta."""
    return Remedy("Use a base URL that ends with /v1beta.", action="fix_base_url", url=provider.base_url)


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


def _usage(raw: object) -> Usage | None:
    """The tokens as Google counts them. Thoughts are priced as text.

    Without details by modality, the tokens of the response are unknown. Details may add up to more than the total; then
    the rest counts as 0.
    """
    if not isinstance(raw, Mapping):
        return None
    prompt = token_count(get(raw, "promptTokenCount"))
    prompt_images = _image_tokens(get(raw, "promptTokensDetails"))
    candidates = token_count(get(raw, "candidatesTokenCount"))
    # There is an image in the response, so 0 image tokens means that they are unknown.
    images = _image_tokens(get(raw, "candidatesTokensDetails")) or None
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
