"""OpenAI's Images API: generations as JSON, edits as multipart, for GPT Image and DALL·E models.

An edit with ``moderation`` is JSON, with its images as ``data:`` URLs: the multipart form does not have that field.

Source: the types of the official SDK (openai 3.57.0) and OpenAI's API reference.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..errors import AuthenticationError, ContentBlockedError, ProviderError, QuotaError, RateLimitedError, Remedy
from ..images.formats.containers import EXTENSIONS
from ..planning.input_images import CallImage
from ..planning.plan import Call
from ..providers.schema import ProviderConfig
from ..result import Usage
from ..transport.messages import Base64, FilePart, HttpRequest, HttpResponse
from ..transport.retry_policy import retry_after_from_text
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
from .fields import answer_image, body_image, mapping, text_of, token_count

__all__ = ["OpenAIImagesAdapter"]

_LIMITS_URL = "https://platform.openai.com/settings/organization/limits"
_VERIFY_URL = "https://platform.openai.com/settings/organization/general"

_NO_CREDIT = {
    "insufficient_quota": "Add credit to the account at {billing}",
    "billing_hard_limit_reached": "Raise the spending limit of the account at {limits}",
    "project_spend_limit_exceeded": "Raise the spending limit of the project at {limits}",
    GATEWAY_NO_CREDIT: GATEWAY_REMEDY,
}
"""The codes of an account without credit, whatever the status, and the remedy for each."""

_UNVERIFIED = re.compile(r"must be verified|verif\w+ organi[sz]ation", re.IGNORECASE)

_VIOLATIONS = re.compile(r"safety_violations=\[([^\]]*)\]")

_MOST_CATEGORIES = 5

_ABOUT_STREAMS = re.compile("stream|partial_image")


@dataclass(frozen=True, slots=True)
class OpenAIImagesAdapter:
    """OpenAI's Images API, and every server with the same API."""

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
        if "moderation" in fields:
            return HttpRequest(url=f"{base_url}/images/edits", json={**fields, **_data_urls(call)})
        form = {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}
        return HttpRequest(url=f"{base_url}/images/edits", form=form, files=_files(call))

    def parse(self, response: HttpResponse, call: Call) -> Answer:
        if not response.is_success:
            raise self._error(response, call)
        if image := body_image(response):
            return Answer(images=(image,), request_id=response.headers.get("x-request-id"))
        body = parse_json(self.provider, response, call)
        return self._answer(body if isinstance(body, dict) else {}, response, call)

    def read_event(self, event: HttpResponse, call: Call) -> StreamEvent:
        body = parse_json(self.provider, event, call)
        if not isinstance(body, dict):
            return StreamEvent()
        kind = text_of(body.get("type")) or ""
        has_image = any(image.is_readable for image in map(_image, _entries(body)))
        # As in a response in one piece, an image is used whatever is beside it: it was paid for.
        if not has_image and (fields := error_in(body) or (body if kind == "error" else {})):
            reason = fit_to_show(fields.get("message")) or "no reason given"
            raise self._inner_error(fields, event, call) or incomplete_stream(self.provider, reason, event, call)
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
        return self._answer({"data": entries, "usage": bodies[-1].get("usage")}, head, call)

    def refuses_stream(self, response: HttpResponse) -> bool:
        if response.status not in (400, 422):
            return False
        fields = error_fields(response)
        if self._known_error(fields, response.status, response, None):
            return False
        if named := text_of(fields.get("param")):
            return _ABOUT_STREAMS.search(named) is not None
        # Servers word it differently. If they only quote a prompt about streams, a second call is refused, for free.
        return _ABOUT_STREAMS.search(response.body.decode(errors="replace")) is not None

    def _answer(self, body: Mapping[str, Any], response: HttpResponse, call: Call) -> Answer:
        entries = body.get("data")
        if not isinstance(entries, list) or not entries:
            error = self._inner_error(error_fields(response), response, call)
            raise error or invalid_response(self.provider, "contains no images", response, call)
        images = tuple(_image(entry) for entry in entries)
        if not any(image.is_readable for image in images):
            raise invalid_response(self.provider, "contains no image that can be read", response, call)
        usage = _usage(body.get("usage"), bills_text=call.model.prices.text_out is not None)
        return Answer(images=images, usage=usage, request_id=response.headers.get("x-request-id"))

    def build_listing(self, base_url: str, page: str | None = None) -> HttpRequest:
        return HttpRequest(url=f"{base_url}/models")

    def next_page(self, response: HttpResponse) -> str | None:
        # The list of models has no pages (SDK).
        return None

    def parse_listing(self, response: HttpResponse) -> frozenset[str]:
        if not response.is_success:
            raise self._error(response, None)
        body = parse_json(self.provider, response, None)
        entries = body.get("data") if isinstance(body, dict) else None
        if not isinstance(entries, list):
            raise invalid_response(self.provider, "contains no list of models", response, None)
        ids = (text_of(entry.get("id")) for entry in entries if isinstance(entry, dict))
        return frozenset(name for name in ids if name)

    def _error(self, response: HttpResponse, call: Call | None) -> ProviderError:
        fields = error_fields(response)
        known = self._known_error(fields, response.status, response, call)
        if known:
            return known
        # OpenAI says so of a model that has ended with 400; 404 means the same, and not only with OpenAI.
        message = text_of(fields.get("message")) or ""
        is_gone = response.status == 400 and fields.get("param") == "model" and "does not exist" in message
        named = replace(response, status=404) if is_gone else response
        error = error_for_status(self.provider, fit_to_show(fields.get("message")), named, call)
        return error.replace(status=response.status)

    def _inner_error(self, fields: Mapping[str, Any], head: HttpResponse, call: Call) -> ProviderError | None:
        """The error in an event, or in a response that calls itself a success; None if it is not a known one."""
        status = status_in(fields)
        known = self._known_error(fields, status or head.status, head, call)
        if known or status is None:
            return known
        message = fit_to_show(fields.get("message"))
        error = error_for_status(self.provider, message, replace(head, status=status), call)
        return error.replace(status=head.status)

    def _known_error(
        self, fields: Mapping[str, Any], status: int, response: HttpResponse, call: Call | None
    ) -> ProviderError | None:
        """The error for OpenAI's codes and statuses; None for a status that means the same with every provider."""
        name = self.provider.name
        message = text_of(fields.get("message")) or ""
        line = fit_to_show(message)
        quoted = quoting(line)
        codes = error_codes(fields)
        no_credit = next((code for code in codes if code in _NO_CREDIT), None)
        kind: type[ProviderError]
        remedy: Remedy
        if not CONTENT_BLOCKED.isdisjoint(codes):
            details = mapping(fields.get("moderation_details"))
            stage = details.get("moderation_stage")
            blocked = "finished image" if stage == "output" else "request"
            kind, what = (
                ContentBlockedError,
                f"{name} blocked the {blocked} because of its content{_categories(details, message)}{quoted}",
            )
            less_strict = _less_strict(call) if call else None
            remedy = change_the_request(less_strict, is_image=stage == "output")
        elif no_credit:
            kind, what = QuotaError, f"{name} refused the request for lack of credit ({no_credit}){quoted}"
            remedy = Remedy(_NO_CREDIT[no_credit].format(billing=self.provider.billing_url, limits=_LIMITS_URL))
        elif lacks_credit(status, message):
            kind, what = QuotaError, f"{name} refused the request for lack of credit{quoted}"
            remedy = Remedy(f"Add credit at {self.provider.billing_url}, or raise the spending limit at {_LIMITS_URL}")
        elif status == 429:
            kind, what = RateLimitedError, f"{name} asks you to slow down{quoted}"
            remedy = Remedy(f"Request fewer images at once, or see your limits at {_LIMITS_URL}", url=_LIMITS_URL)
            limited = error_from(kind, what, remedy, response, call)
            return limited if limited.retry_after else limited.replace(retry_after=retry_after_from_text(message))
        elif status == 401:
            # The message of a 401 quotes a part of the key, so it is not shown.
            kind, what, remedy = AuthenticationError, f"{name} refused the key.", key_remedy(self.provider)
        elif (status == 403 and "verif" in line.lower()) or (status == 400 and _UNVERIFIED.search(message)):
            is_stream = "stream" in message.lower()
            kind = QuotaError
            offers = "streams" if is_stream else "offers"
            what = f"{name} {offers} {model_or_listing(call)} to verified organisations only."
            text = f"Verify your organisation at {_VERIFY_URL} (it can take 15 minutes to take effect)."
            instead = " Or turn previews off: without them, no verification is needed." if is_stream else ""
            remedy = Remedy(f"{text}{instead}", url=_VERIFY_URL)
        elif status == 403:
            kind, what = AuthenticationError, f"{name} does not allow this key to use {model_or_listing(call)}{quoted}"
            url = self.provider.key_url
            remedy = Remedy(f"Check the permissions of the key and its project at {url}", url=url)
        else:
            return None
        return error_from(kind, what, remedy, response, call)


def _categories(details: Mapping[str, Any], message: str) -> str:
    """What OpenAI objects to, in brackets; it says so at the end of its message, which may be cut."""
    listed = details.get("categories")
    if not isinstance(listed, list):
        found = _VIOLATIONS.search(message)
        listed = found[1].split(",") if found else []
    names = filter(None, (fit_to_show(name, 40) for name in listed[:_MOST_CATEGORIES]))
    shown = ", ".join(dict.fromkeys(names))
    return f" ({shown})" if shown else ""


def _less_strict(call: Call) -> str | None:
    """A second sentence if the model has a less strict moderation than the one in use."""
    option = call.model.options.get("moderation")
    if option is None or call.mode not in option.modes or call.options.get("moderation") == "low" or call.markup:
        return None
    return "The option moderation=low is less strict."


def _is_dalle(model_id: str) -> bool:
    """True for DALL·E, by the prefix of its ids. All other models, also unknown ones, are requested like GPT Image."""
    return model_id.startswith("dall-e-")


def _fields(call: Call) -> dict[str, Any]:
    """The fields that generations and edits have in common, with JSON values."""
    fields: dict[str, Any] = {"model": call.model.id, "prompt": call.prompt, "n": call.n}
    if call.size.size:
        fields["size"] = str(call.size.size)
    # The numbers of options are floats; those of the API are integers.
    fields.update({k: int(v) if isinstance(v, float) and v.is_integer() else v for k, v in call.options.items()})
    if _is_dalle(call.model.id):
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


def _entries(body: Mapping[str, Any]) -> Sequence[object]:
    """The images of an event: its ``data`` if it is a whole response, else the event itself."""
    entries = body.get("data")
    return entries if isinstance(entries, list) else [body]


def _image(entry: object) -> AnswerImage:
    if not isinstance(entry, dict):
        return AnswerImage()
    return answer_image(entry.get("b64_json"), entry.get("url"), entry.get("revised_prompt"))


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
