"""OpenRouter's errors: its own, and those of the maker of a model, which it passes on.

    {"error": {"code": 429, "message": "Provider returned error",
               "metadata": {"error_type": "rate_limit_exceeded", "provider_name": "…", "raw": "…"}}}

``metadata`` may name the kind of error, the maker's message (``raw``), how long to wait, which limit was reached
(``limit_source``), and why a request was blocked (``reasons``, ``patterns``, ``block_reason``).

Source: OpenRouter's guide on errors and the types of the official SDK (openrouter 1.3.84). ``raw``,
``retry_after_seconds`` and ``block_reason`` are in responses that third parties recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from ..errors import ContentBlockedError, ProviderError, QuotaError, RateLimitedError, Remedy
from ..planning.plan import Call
from ..providers.provider_config import ProviderConfig
from ..transport.bounded_json import load
from ..transport.messages import HttpResponse
from ..untrusted_number import number
from ..untrusted_text import fit_to_show
from .error_dialects import error_fields, error_in, status_in
from .fields import mapping, mappings, text_of
from .http_errors import change_the_request, error_for_status, error_from, lacks_credit, quoting
from .usual_errors import known_error

__all__ = ["error_of", "inner_error", "request_id"]

_BLOCKED = frozenset({"content_policy_violation", "refusal"})

_LONGEST_WAIT_S = 86_400

_MOST_REASONS = 5


def error_of(provider: ProviderConfig, response: HttpResponse, call: Call | None) -> ProviderError:
    """The error of a response without success."""
    fields = error_fields(response)
    known = _known_error(provider, fields, response.status, response, call)
    error = known or error_for_status(provider, _said(fields), response, call)
    return error.replace(request_id=request_id(response))


def inner_error(
    provider: ProviderConfig, fields: Mapping[str, Any], head: HttpResponse, call: Call
) -> ProviderError | None:
    """The error in an event, or in a response that calls itself a success; None if it is not a known one."""
    status = status_in(fields)
    known = _known_error(provider, fields, status or head.status, head, call)
    if known is None and status is None:
        return None
    error = known or error_for_status(provider, _said(fields), replace(head, status=status or head.status), call)
    return error.replace(status=head.status, request_id=request_id(head))


def request_id(response: HttpResponse) -> str | None:
    """OpenRouter's id of a request."""
    return response.headers.get("x-generation-id") or response.headers.get("x-request-id")


def _known_error(
    provider: ProviderConfig, fields: Mapping[str, Any], status: int, response: HttpResponse, call: Call | None
) -> ProviderError | None:
    """The error for what OpenRouter says; None for a status that means the same with every provider."""
    name, details = provider.name, mapping(fields.get("metadata"))
    said = _said(fields)
    quoted, limit = quoting(said), text_of(details.get("limit_source"))
    kind: type[ProviderError]
    remedy: Remedy
    if _is_blocked(details):
        kind, what = ContentBlockedError, f"{name} blocked the request because of its content{_why(details)}{quoted}"
        remedy = change_the_request(None)
    elif status == 402 and limit == "openrouter_in_flight_budget":
        # It is billed when the calls in flight have ended; until then their cost is set aside.
        what = f"{name} has set aside all of your credit for the calls in flight{quoted}"
        remedy = Remedy(f"Request fewer images at once, or add credit {provider.billing_place}")
        waits = error_from(RateLimitedError, what, remedy, response, call)
        return waits.replace(should_retry=True, retry_after=waits.retry_after or _wait(details))
    elif status == 402 and limit == "openrouter_key_limit":
        kind, what = QuotaError, f"The key for {name} has reached its spending limit{quoted}"
        remedy = Remedy(f"Raise the limit of the key {provider.key_place}", url=provider.key_url)
    elif status == 402 or lacks_credit(status, said):
        kind, what = QuotaError, f"{name} refused the request for lack of credit{quoted}"
        remedy = Remedy(f"Add credit {provider.billing_place}", url=provider.billing_url)
    else:
        usual = known_error(provider, {**fields, "message": said}, status, response, call)
        if isinstance(usual, RateLimitedError) and usual.retry_after is None:
            return usual.replace(retry_after=_wait(details))
        return usual
    return error_from(kind, what, remedy, response, call)


def _is_blocked(details: Mapping[str, Any]) -> bool:
    if details.get("error_type") in _BLOCKED:
        return True
    return any(details.get(name) for name in ("reasons", "patterns", "block_reason"))


def _why(details: Mapping[str, Any]) -> str:
    """What OpenRouter or the maker objects to, in brackets."""
    reasons = details.get("reasons")
    named = reasons[:_MOST_REASONS] if isinstance(reasons, list) else [details.get("block_reason")]
    shown = ", ".join(filter(None, (fit_to_show(reason, 40) for reason in named)))
    return f" ({shown})" if shown else ""


def _wait(details: Mapping[str, Any]) -> float | None:
    return number(details.get("retry_after_seconds"), 0, _LONGEST_WAIT_S) or None


def _said(fields: Mapping[str, Any]) -> str:
    """What the error says, on one line: OpenRouter's message, then the maker's."""
    message, details = text_of(fields.get("message")) or "", mapping(fields.get("metadata"))
    message, of_maker = _each_field(message) or message, _of_maker(details.get("raw"))
    maker = text_of(details.get("provider_name"))
    if of_maker and of_maker not in message:
        said = f"{maker}: {of_maker}" if maker else of_maker
        message = f"{message.rstrip('.')}: {said}" if message else said
    return fit_to_show(message)


def _of_maker(raw: object) -> str | None:
    """The message in the body of the maker's error, which is JSON, or a sentence."""
    body = raw
    if isinstance(raw, str):
        if not raw.lstrip().startswith(("{", "[")):
            return None if raw.lstrip().startswith("<") else raw.strip() or None
        body = None
        with suppress(ValueError):
            body = load(raw.encode(errors="replace"))
    fields = error_in(body) or mapping(body)
    return text_of(fields.get("message"))


def _each_field(message: str) -> str | None:
    """The text of a message that is a list of what is wrong with each field of the request, as JSON; else None."""
    if not message.lstrip().startswith("["):
        return None
    problems: object = None
    with suppress(ValueError):
        problems = load(message.encode(errors="replace"))
    texts = []
    for problem in mappings(problems)[:_MOST_REASONS]:
        path = problem.get("path")
        place = ".".join(str(step) for step in path) if isinstance(path, list) else ""
        texts.append(f"{place}: {text}" if (text := text_of(problem.get("message"))) and place else text)
    return "; ".join(filter(None, texts)) or None
