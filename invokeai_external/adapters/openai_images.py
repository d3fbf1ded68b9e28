"""OpenAI's Images API: generations as JSON, edits as multipart, in the GPT image and the DALL·E dialect.

Source of the wire facts: the types of the official SDK (openai 3.54.0) and OpenAI's API reference.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import AuthenticationError, ContentBlockedError, ProviderError, QuotaError, RateLimitedError, Remedy
from ..planning.input_images import CallImage
from ..planning.plan import Call
from ..providers.schema import ProviderConfig
from ..result import Usage
from ..transport.messages import FilePart, HttpRequest, HttpResponse
from ..transport.retry import retry_after_from_text
from .base import Answer, AnswerImage, StreamEvent
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

__all__ = ["OpenAIImagesAdapter"]

_LIMITS_URL = "https://platform.openai.com/settings/organization/limits"
_VERIFY_URL = "https://platform.openai.com/settings/organization/general"

_BLOCKED = frozenset({"moderation_blocked", "content_policy_violation", "contentFilter", "content_filter"})
"""The codes of a refusal for what the prompt or the picture shows; the last two are Azure's."""

_NO_MONEY = {
    "insufficient_quota": "Add credit to the account at {billing}",
    "billing_hard_limit_reached": "Raise the spending limit of the account at {limits}",
    "project_spend_limit_exceeded": "Raise the spending limit of the project at {limits}",
    GATEWAY_UNPAID: PAID_AT_GATEWAY,
}
"""The codes of an error that no waiting cures, whatever its status, and what does."""

_UNVERIFIED = re.compile(r"must be verified|verif\w+ organi[sz]ation", re.IGNORECASE)

_OF_STREAMS = re.compile("stream|partial_image")

_EXTENSIONS = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}


@dataclass(frozen=True, slots=True)
class OpenAIImagesAdapter:
    """OpenAI, and every server that speaks its Images API."""

    provider: ProviderConfig

    @property
    def counts_previews(self) -> bool:
        return True

    def auth_headers(self, key: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {key}"}

    def build(self, call: Call, base_url: str) -> HttpRequest:
        fields = _fields(call)
        if not call.images:
            return HttpRequest(url=f"{base_url}/images/generations", json=fields)
        form = {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}
        return HttpRequest(url=f"{base_url}/images/edits", form=form, files=_files(call))

    def parse(self, response: HttpResponse, call: Call) -> Answer:
        if not response.is_success:
            raise self._error(response, call)
        body = parse_json(self.provider, response, call)
        return self._answer(body if isinstance(body, dict) else {}, response, call)

    def read_event(self, event: HttpResponse, call: Call) -> StreamEvent:
        body = parse_json(self.provider, event, call)
        if not isinstance(body, dict):
            return StreamEvent()
        kind = text_of(body.get("type")) or ""
        if fields := error_in(body) or (body if kind == "error" else {}):
            limited = fields.get("code") == "rate_limit_exceeded"
            error = self._known_error(fields, 429 if limited else event.status, event, call)
            raise error or broken_off(self.provider, one_line(fields.get("message")) or "no reason given", event, call)
        if kind.endswith(".partial_image"):
            preview = _image(body).data
            return StreamEvent((preview,) if preview else ())
        if kind.endswith(".completed"):
            return StreamEvent(body=body, has_image=True, is_last=True, has_usage=True)
        return StreamEvent()

    def join_events(self, bodies: Sequence[Mapping[str, Any]], head: HttpResponse, call: Call) -> Answer:
        if not bodies:
            raise broken_off(self.provider, "", head, call)
        return self._answer({"data": list(bodies), "usage": bodies[-1].get("usage")}, head, call)

    def refuses_stream(self, response: HttpResponse) -> bool:
        if response.status not in (400, 422):
            return False
        fields = error_fields(response)
        if self._known_error(fields, response.status, response, None):
            return False
        if named := text_of(fields.get("param")):
            return _OF_STREAMS.search(named) is not None
        # Servers say it each in their own way; that a prompt speaks of a stream costs one more call that costs nothing.
        return _OF_STREAMS.search(response.body.decode(errors="replace")) is not None

    def _answer(self, body: Mapping[str, Any], response: HttpResponse, call: Call) -> Answer:
        entries = body.get("data")
        if not isinstance(entries, list) or not entries:
            raise invalid_answer(self.provider, "holds no pictures", response, call)
        images = tuple(_image(entry) for entry in entries)
        if not any(image.is_readable for image in images):
            raise invalid_answer(self.provider, "holds no picture that can be read", response, call)
        usage = _usage(body.get("usage"), bills_text=call.model.prices.text_out is not None)
        return Answer(images=images, usage=usage, request_id=response.headers.get("x-request-id"))

    def build_listing(self, base_url: str) -> HttpRequest:
        return HttpRequest(url=f"{base_url}/models")

    def parse_listing(self, response: HttpResponse) -> frozenset[str]:
        if not response.is_success:
            raise self._error(response, None)
        body = parse_json(self.provider, response, None)
        entries = body.get("data") if isinstance(body, dict) else None
        if not isinstance(entries, list):
            raise invalid_answer(self.provider, "holds no list of models", response, None)
        ids = (text_of(entry.get("id")) for entry in entries if isinstance(entry, dict))
        return frozenset(name for name in ids if name)

    def _error(self, response: HttpResponse, call: Call | None) -> ProviderError:
        fields = error_fields(response)
        known = self._known_error(fields, response.status, response, call)
        return known or error_of_status(self.provider, one_line(fields.get("message")), response, call)

    def _known_error(
        self, fields: Mapping[str, Any], status: int, response: HttpResponse, call: Call | None
    ) -> ProviderError | None:
        """The error that OpenAI's codes and statuses name; None for what means the same with every provider."""
        full_words = text_of(fields.get("message")) or ""
        words = one_line(full_words)
        # Some servers leave the code empty and name it as the type.
        codes = [text_of(fields.get(name)) or "" for name in ("code", "type")]
        unpaid = next((code for code in codes if code in _NO_MONEY), None)
        kind: type[ProviderError]
        remedy: Remedy | str
        if not _BLOCKED.isdisjoint(codes):
            kind, message = ContentBlockedError, f"OpenAI's safety system blocked the picture{said(words)}"
            remedy = f"Change the prompt or the pictures given.{_less_strict(call) if call else ''}"
        elif unpaid:
            kind, message = QuotaError, f"OpenAI refused for lack of money ({unpaid}){said(words)}"
            remedy = _NO_MONEY[unpaid].format(billing=self.provider.billing_url, limits=_LIMITS_URL)
        elif lacks_money(status, full_words):
            kind, message = QuotaError, f"OpenAI refused for lack of money{said(words)}"
            remedy = f"Add credit at {self.provider.billing_url}, or raise the spending limit at {_LIMITS_URL}"
        elif status == 429:
            kind, message = RateLimitedError, f"OpenAI asks to slow down{said(words)}"
            remedy = f"Ask for fewer pictures at once, or see the limits of your tier at {_LIMITS_URL}"
            limited = error_from(kind, message, remedy, response, call)
            return limited if limited.retry_after else limited.replace(retry_after=retry_after_from_text(full_words))
        elif status == 401:
            # The words of a 401 quote a part of the key, so they are not shown.
            kind, message = AuthenticationError, "OpenAI refused the key."
            remedy = new_key(self.provider)
        elif (status == 403 and "verif" in words.lower()) or (status == 400 and _UNVERIFIED.search(full_words)):
            what = "streams" if "stream" in full_words.lower() else "serves"
            kind, message = QuotaError, f"OpenAI {what} {asked_for(call)} to verified organisations only."
            remedy = f"Verify the organisation at {_VERIFY_URL} (it can take 15 minutes to count)."
            if what == "streams":
                remedy += " Without previews, no stream is asked for."
        elif status == 403:
            kind, message = AuthenticationError, f"OpenAI does not allow this key to use {asked_for(call)}{said(words)}"
            remedy = f"Check the permissions of the key and its project at {self.provider.key_url}"
        else:
            return None
        return error_from(kind, message, remedy, response, call)


def _less_strict(call: Call) -> str:
    """A further sentence where the model has a choice of moderation and the lesser one was not made."""
    option = call.model.options.get("moderation")
    if option is None or call.mode not in option.modes or call.options.get("moderation") == "low":
        return ""
    return " The option moderation=low is less strict."


def _is_dalle(model_id: str) -> bool:
    """DALL·E by its family's prefix; everything else speaks the GPT image dialect, ids yet unknown included."""
    return model_id.startswith("dall-e-")


def _fields(call: Call) -> dict[str, Any]:
    """The fields that generations and edits share, values as JSON has them."""
    fields: dict[str, Any] = {"model": call.model.id, "prompt": call.prompt, "n": call.n}
    if call.size.size:
        fields["size"] = str(call.size.size)
    # A catalogue knows numbers as floats; the API's numbers are whole.
    fields.update({k: int(v) if isinstance(v, float) and v.is_integer() else v for k, v in call.options.items()})
    if _is_dalle(call.model.id):
        # DALL·E answers with an address unless asked for the data; GPT image models refuse the parameter.
        fields["response_format"] = "b64_json"
    if call.previews:
        fields |= {"stream": True, "partial_images": call.previews}
    return fields


def _files(call: Call) -> tuple[FilePart, ...]:
    """The pictures under the names that the official SDK gives them: ``image`` for one, ``image[]`` for several."""
    name = "image" if len(call.images) == 1 else "image[]"
    parts = [_file(name, f"image-{place}", image) for place, image in enumerate(call.images, start=1)]
    if call.mask:
        parts.append(_file("mask", "mask", call.mask))
    return tuple(parts)


def _file(name: str, stem: str, image: CallImage) -> FilePart:
    # The user's own file names are private, so neutral ones are sent.
    return FilePart(name, f"{stem}.{_EXTENSIONS[image.mime_type]}", image.mime_type, image.data)


def _image(entry: object) -> AnswerImage:
    if not isinstance(entry, dict):
        return AnswerImage()
    return answer_image(entry.get("b64_json"), entry.get("url"), entry.get("revised_prompt"))


def _usage(raw: object, *, bills_text: bool) -> Usage | None:
    """OpenAI's count; ``bills_text`` if the model is known to answer with text tokens beside those of its pictures."""
    if not isinstance(raw, Mapping):
        return None
    details = _details(raw, "input_tokens_details")
    text, image = _output_tokens(
        count(raw.get("output_tokens")), _details(raw, "output_tokens_details"), bills_text=bills_text
    )
    return Usage(
        input_text_tokens=count(details.get("text_tokens")),
        input_image_tokens=count(details.get("image_tokens")),
        output_text_tokens=text,
        output_image_tokens=image,
        total_tokens=count(raw.get("total_tokens")),
    )


def _details(raw: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    details = raw.get(name)
    return details if isinstance(details, Mapping) else {}


def _output_tokens(total: int | None, details: Mapping[str, Any], *, bills_text: bool) -> tuple[int | None, int | None]:
    """The text and the picture tokens of an answer (gpt-image-1.5 has a few hundred of text a picture).

    What the details leave out of the sum counts as pictures, which cost more. Without details all of it does, unless
    the model is known to bill text: then neither is known.
    """
    text, image = count(details.get("text_tokens")), count(details.get("image_tokens"))
    if text is None and image is None:
        return (None, None) if bills_text else (0, total)
    if text is None or image is None or total is None:
        rest = None if total is None else max(0, total - (text or 0) - (image or 0))
        return rest if text is None else text, rest if image is None else image
    return text, max(image, total - text)
