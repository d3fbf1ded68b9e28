"""Google's Gemini ``generateContent``: one picture a call, words and pictures in, pictures and words out.

Source of the wire facts: the types of the official SDK (google-genai 3.4.0) and Google's API reference. The API is
protobuf behind JSON, so keys may arrive in camelCase or snake_case and base64 in either alphabet.
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
)
from ..planning.plan import Call
from ..providers.schema import ProviderConfig
from ..result import Notice, Usage
from ..transport.messages import HttpRequest, HttpResponse
from ..transport.retry import retry_after_from_headers, retry_after_from_text
from .base import Answer, AnswerImage, StreamEvent
from .base64_text import encode_base64
from .errors import (
    GATEWAY_UNPAID,
    PAID_AT_GATEWAY,
    asked_for,
    broken_off,
    error_from,
    error_of_status,
    invalid_answer,
    lacks_money,
    new_key,
    parse_json,
    said,
)
from .fields import answer_image, count, error_fields, error_in, one_line, text_of

__all__ = ["GeminiAdapter"]

_PER_MINUTE_WAIT_S = 60.0
"""A quota by the minute that names no delay is full again after one."""

_TERMINAL_WAIT_S = 300.0
"""A delay above this is a quota that will not come back while somebody waits."""

_LONGEST_PAGE = 1000
"""The most models that one answer lists (Google's API reference)."""

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


_IN_A_THOUGHT = Notice("thought_image", "The model sent the image only as a thought; it is the last one that it sent.")


@dataclass(frozen=True, slots=True)
class GeminiAdapter:
    """Google's Gemini API, and every gateway that speaks it."""

    provider: ProviderConfig

    @property
    def counts_previews(self) -> bool:
        return False

    def auth_headers(self, key: str) -> dict[str, str]:
        return {"x-goog-api-key": key}

    def build(self, call: Call, base_url: str) -> HttpRequest:
        pictures = list(call.images)
        if call.mask:
            pictures.insert(1, call.mask)  # behind the picture to edit, as the sentence on it says
        parts: list[dict[str, Any]] = [
            {"inlineData": {"mimeType": image.mime_type, "data": encode_base64(image.data)}} for image in pictures
        ]
        parts.extend({"text": text} for text in (call.mask_sentence, call.prompt) if text is not None)
        method = "streamGenerateContent?alt=sse" if call.previews else "generateContent"
        return HttpRequest(
            url=f"{base_url}/models/{quote(call.model.id, safe='')}:{method}",
            json={"contents": [{"role": "user", "parts": parts}], "generationConfig": _generation_config(call)},
        )

    def parse(self, response: HttpResponse, call: Call) -> Answer:
        if not response.is_success:
            raise self._error(response, call)
        return self._answer(_mapping(parse_json(self.provider, response, call)), response, call)

    def read_event(self, event: HttpResponse, call: Call) -> StreamEvent:
        body = _mapping(parse_json(self.provider, event, call))
        if fields := error_in(body):
            raise self._event_error(fields, event, call)
        candidates = _mappings(_get(body, "candidates"))
        parts = [part for candidate in candidates for part in _parts(candidate)]
        thought = [image.data for part in parts if part.get("thought") and (image := _image(part))]
        return StreamEvent(
            tuple(data for data in thought if data),
            body,
            has_image=any(map(_has_image, candidates)),
            is_last=any(_get(candidate, "finishReason") for candidate in candidates),
            has_usage=bool(_get(body, "usageMetadata")),
        )

    def join_events(self, bodies: Sequence[Mapping[str, Any]], head: HttpResponse, call: Call) -> Answer:
        whole = {name: value for body in bodies for name, value in body.items()}
        candidates = [candidate for body in bodies for candidate in _mappings(_get(body, "candidates"))]
        candidate = {name: value for part in candidates for name, value in part.items()}
        is_blocked = _get(_mapping(_get(whole, "promptFeedback")), "blockReason")
        if not is_blocked and not _get(candidate, "finishReason") and not any(map(_has_image, candidates)):
            raise broken_off(self.provider, "", head, call)
        if candidates:
            # One call makes one picture, so all are one candidate.
            whole["candidates"] = [{**candidate, "content": {"parts": _joined_parts(candidates)}}]
        return self._answer(whole, head, call)

    def refuses_stream(self, response: HttpResponse) -> bool:
        # A gateway may lack the method, or refuse the thoughts in which previews come.
        if response.status != 400:
            return response.status in (404, 405, 501)
        if type(self._error(response, None)) is not RejectedRequestError:
            return False
        return re.search(rb"stream|thought|thinking", response.body, re.IGNORECASE) is not None

    def _answer(self, body: Mapping[str, Any], response: HttpResponse, call: Call) -> Answer:
        parts = [part for candidate in _mappings(_get(body, "candidates")) for part in _final_parts(candidate)]
        text = " ".join(words for part in parts if (words := text_of(part.get("text")))) or None
        images = tuple(image for part in parts if (image := _image(part)))
        thoughts = () if any(image.is_readable for image in images) else _only_thoughts(body)
        images = thoughts or images
        request_id = text_of(_get(body, "responseId"))
        if not images:
            raise self._no_image(body, text, response, call, request_id)
        if not any(image.is_readable for image in images):
            raise invalid_answer(self.provider, "holds no picture that can be read", response, call, request_id)
        return Answer(
            images=images,
            usage=_usage(_get(body, "usageMetadata")),
            request_id=request_id,
            model_version=text_of(_get(body, "modelVersion")),
            text=text,
            notices=(_IN_A_THOUGHT,) if thoughts else (),
        )

    def _no_image(
        self, body: Mapping[str, Any], text: str | None, response: HttpResponse, call: Call, request_id: str | None
    ) -> ProviderError:
        """Why there is no picture: a blocked prompt, a refusal with its reason, an answer in words, or a fault."""
        feedback = _mapping(_get(body, "promptFeedback"))
        candidate = next(iter(_mappings(_get(body, "candidates"))), {})
        blocked, reason = text_of(_get(feedback, "blockReason")), text_of(_get(candidate, "finishReason"))
        words = one_line(" ".join(filter(None, (text_of(_get(candidate, "finishMessage")), text))))
        if blocked:
            words = one_line(_get(feedback, "blockReasonMessage"))
            what = f"blocked the prompt ({one_line(blocked)})"
        elif reason == "MAX_TOKENS":
            what = "ran out of tokens before its picture (MAX_TOKENS)"
            return invalid_answer(self.provider, what, response, call, request_id)
        elif reason in _BLOCKED:
            what = f"refused to make the picture ({reason})"
        elif words:
            what = f"answered in words, without a picture{'' if reason in (None, 'STOP') else f' ({one_line(reason)})'}"
        else:
            what = f"holds no picture ({one_line(reason) or 'no reason given'})"
            return invalid_answer(self.provider, what, response, call, request_id)
        hint = "Change the prompt or the pictures given."
        message = f"{self.provider.name} {what}{said(words)}"
        return error_from(ContentBlockedError, message, hint, response, call, request_id)

    def build_listing(self, base_url: str) -> HttpRequest:
        return HttpRequest(url=f"{base_url}/models?pageSize={_LONGEST_PAGE}")

    def parse_listing(self, response: HttpResponse) -> frozenset[str]:
        if not response.is_success:
            raise self._error(response, None)
        entries = _get(_mapping(parse_json(self.provider, response, None)), "models")
        if not isinstance(entries, list):
            raise invalid_answer(self.provider, "holds no list of models", response, None)
        names = (text_of(entry.get("name")) for entry in _mappings(entries))
        return frozenset(name.removeprefix("models/") for name in names if name)

    def _error(self, response: HttpResponse, call: Call | None) -> ProviderError:
        return self._error_of(error_fields(response), response, call)

    def _event_error(self, fields: Mapping[str, Any], head: HttpResponse, call: Call) -> ProviderError:
        """The error of an event, which names the status that the answer would have had."""
        status = count(fields.get("code")) or 0
        if status < 400:
            return broken_off(self.provider, one_line(fields.get("message")) or "no reason given", head, call)
        return self._error_of(fields, replace(head, status=status), call).replace(status=head.status)

    def _error_of(self, fields: Mapping[str, Any], response: HttpResponse, call: Call | None) -> ProviderError:
        details = _mappings(fields.get("details"))
        words = text_of(fields.get("message")) or ""
        if response.status == 401 or any(detail.get("reason") == "API_KEY_INVALID" for detail in details):
            remedy = new_key(self.provider)
            return error_from(AuthenticationError, f"{self.provider.name} refused the key.", remedy, response, call)
        at_gateway = GATEWAY_UNPAID in (fields.get("code"), fields.get("type"))
        if at_gateway or response.status == 402 or lacks_money(response.status, words):
            return self._no_money(words, response, call, at_gateway=at_gateway)
        if response.status == 403:
            message = f"{self.provider.name} does not allow this key to use {asked_for(call)}{said(one_line(words))}"
            hint = f"Check the restrictions of the key and its project at {self.provider.key_url}"
            return error_from(AuthenticationError, message, hint, response, call)
        if response.status == 429:
            return self._quota_error(words, details, response, call)
        error = error_of_status(self.provider, one_line(words), response, call)
        if wait_s := _retry_delay(details):
            error = error.replace(retry_after=wait_s)
        if fields.get("status") == "FAILED_PRECONDITION":
            # Google's documents: the free tier is not open in the caller's country.
            billing = Remedy(f"Where Google has no free tier, turn on billing at {self.provider.billing_url}")
            error = error.replace(remedy=billing)
        return error

    def _no_money(self, words: str, response: HttpResponse, call: Call | None, *, at_gateway: bool) -> ProviderError:
        """An account without credit, or at the limit that its owner has set: no waiting cures it."""
        message = f"{self.provider.name} refused for lack of money{said(one_line(words))}"
        own = f"Add credit, or raise the spending limit, at {self.provider.billing_url}"
        hint = PAID_AT_GATEWAY if at_gateway else own
        return error_from(QuotaError, message, hint, response, call)

    def _quota_error(
        self, words: str, details: Sequence[Mapping[str, Any]], response: HttpResponse, call: Call | None
    ) -> ProviderError:
        """A 429: a quota that comes back while one waits, or one that does not."""
        quota = " ".join(text_of(_get(violation, "quotaId")) or "" for violation in _violations(details))
        wait_s = (
            _retry_delay(details)
            or retry_after_from_headers(response.headers, now=response.received_at)
            or retry_after_from_text(words)
        )
        kind: type[ProviderError] = QuotaError
        # Google's words are long and push what to do out of Invoke's notice; they are quoted where they add to it.
        quoted = ""
        if re.search(r"\blimit: 0(?![\d.]*[1-9])", words) or _is_zero(details):
            what, hint = (
                "gives this key no quota for this model (limit: 0)",
                f"Turn on billing at {self.provider.billing_url}",
            )
        elif "PerDay" in quota or "Daily" in quota:
            what, hint = (
                "says that the quota of the day is used up",
                f"Wait for tomorrow, or see {self.provider.billing_url}",
            )
        elif wait_s is not None and wait_s > _TERMINAL_WAIT_S:
            what = f"asks to wait {wait_s:,.0f} s, so a quota is used up"
            hint, quoted = f"See your quotas at {self.provider.billing_url}", one_line(words)
        else:
            kind, quoted = RateLimitedError, one_line(words)
            what, hint = "asks to slow down", f"Ask for fewer pictures at once, or see {self.provider.billing_url}"
            if wait_s is None and "PerMinute" in quota:
                wait_s = _PER_MINUTE_WAIT_S
        error = error_from(kind, f"{self.provider.name} {what}{said(quoted)}", hint, response, call)
        return error.replace(retry_after=wait_s)


def _generation_config(call: Call) -> dict[str, Any]:
    # TEXT is asked for as well, so that a refusal comes with the model's own words.
    config: dict[str, Any] = {"responseModalities": ["TEXT", "IMAGE"]}
    if call.seed is not None:
        config["seed"] = call.seed
    if "temperature" in call.options:
        config["temperature"] = call.options["temperature"]
    image_config = {"aspectRatio": call.size.aspect_ratio, "imageSize": call.size.image_size}
    if any(image_config.values()):
        config["imageConfig"] = {name: value for name, value in image_config.items() if value}
    if "thinking_level" in call.options:
        config["thinkingConfig"] = {"thinkingLevel": str(call.options["thinking_level"]).upper()}
    if call.previews:
        config.setdefault("thinkingConfig", {})["includeThoughts"] = True
    return config


def _get(mapping: Mapping[str, Any], camel: str) -> Any:
    """A field by its camelCase name, or by the snake_case one that protobuf allows as well."""
    if camel in mapping:
        return mapping[camel]
    return mapping.get(re.sub(r"([A-Z])", lambda m: f"_{m[1].lower()}", camel))


def _mappings(value: object) -> list[Mapping[str, Any]]:
    """The objects of a list; none of anything else."""
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _parts(candidate: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return _mappings(_mapping(candidate.get("content")).get("parts"))


def _final_parts(candidate: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The parts of a candidate without its thoughts: an interim picture is a preview, never a result."""
    return (part for part in _parts(candidate) if not part.get("thought"))


def _only_thoughts(body: Mapping[str, Any]) -> tuple[AnswerImage, ...]:
    """The last picture of a model's thoughts, where it ended as it should: the finished one may come as a thought
    (seen by third parties). None otherwise: such a picture is a preview."""
    parts = [
        part
        for candidate in _mappings(_get(body, "candidates"))
        if _get(candidate, "finishReason") == "STOP"
        for part in _parts(candidate)
        if part.get("thought")
    ]
    found = [image for part in parts if (image := _image(part)) and image.is_readable]
    return tuple(found[-1:])


def _has_image(candidate: Mapping[str, Any]) -> bool:
    return any((image := _image(part)) and image.is_readable for part in _final_parts(candidate))


def _joined_parts(candidates: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The parts of a streamed candidate: the last picture of its thoughts, then what is final, in which words that came
    in pieces become one part again."""
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
    """The picture of a part; None if it holds none."""
    data = _mapping(_get(part, "inlineData")).get("data")
    url = _get(_mapping(_get(part, "fileData")), "fileUri")
    return answer_image(data, url) if data or url else None


def _usage(raw: object) -> Usage | None:
    """Google's count. Thoughts are priced as text; without details of its pictures an answer's tokens are unknown.

    Details and sums may disagree; what is left of a sum is never less than nothing.
    """
    if not isinstance(raw, Mapping):
        return None
    prompt = count(_get(raw, "promptTokenCount"))
    prompt_images = _image_tokens(_get(raw, "promptTokensDetails"))
    answer = count(_get(raw, "candidatesTokenCount"))
    # An answer has a picture, so that no token of one is no count of it.
    images = _image_tokens(_get(raw, "candidatesTokensDetails")) or None
    # Protocol buffers leave zero out.
    thoughts = count(_get(raw, "thoughtsTokenCount") or 0)
    words = None if answer is None or images is None else max(0, answer - images)
    return Usage(
        input_text_tokens=None if prompt is None or prompt_images is None else max(0, prompt - prompt_images),
        input_image_tokens=prompt_images,
        output_text_tokens=None if words is None or thoughts is None else words + thoughts,
        output_image_tokens=images,
        total_tokens=count(_get(raw, "totalTokenCount")),
    )


def _image_tokens(details: object) -> int | None:
    """The tokens of pictures in details by modality, 0 where they name none; None where they cannot be read."""
    counts = [count(_get(entry, "tokenCount") or 0) for entry in _mappings(details) if entry.get("modality") == "IMAGE"]
    known = [tokens for tokens in counts if tokens is not None]
    return sum(known) if len(known) == len(counts) else None


def _retry_delay(details: Sequence[Mapping[str, Any]]) -> float | None:
    """The seconds of ``google.rpc.RetryInfo``, written like ``20.75s`` or ``900ms``; None if there is none."""
    for detail in details:
        match = re.fullmatch(r"(\d{1,12}(?:\.\d+)?)(ms|s)", text_of(_get(detail, "retryDelay")) or "")
        if match:
            return float(match[1]) / (1000.0 if match[2] == "ms" else 1.0)
    return None


def _violations(details: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The quotas of ``google.rpc.QuotaFailure`` that were hit."""
    return [violation for detail in details for violation in _mappings(detail.get("violations"))]


def _is_zero(details: Sequence[Mapping[str, Any]]) -> bool:
    """True if the quota that was hit is zero: protocol buffers leave the value out then."""
    values = [_get(violation, "quotaValue") or 0 for violation in _violations(details) if _get(violation, "quotaId")]
    values += [
        metadata["quota_limit_value"]
        for detail in details
        if "quota_limit_value" in (metadata := _mapping(detail.get("metadata")))
    ]
    return any(str(value) == "0" for value in values)
