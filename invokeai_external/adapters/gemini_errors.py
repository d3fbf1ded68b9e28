"""Google's errors: refusals with their finish reasons, quotas, keys, and a response without an image.

Source: Google's API reference, and its details of errors: ``google.rpc.RetryInfo``, ``QuotaFailure``, ``ErrorInfo``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..errors import (
    AuthenticationError,
    ContentBlockedError,
    ProviderError,
    QuotaError,
    RateLimitedError,
    Remedy,
    UnavailableError,
)
from ..planning.plan import Call
from ..providers.provider_config import ProviderConfig
from ..transport.messages import HttpResponse
from ..transport.retry_policy import retry_after_from_duration, retry_after_from_headers, retry_after_from_text
from ..untrusted_text import fit_to_show
from .error_dialects import error_codes, error_fields, error_in, status_in
from .fields import get, mapping, mappings, text_of
from .gemini_options import less_strict
from .http_errors import (
    CONTENT_BLOCKED,
    GATEWAY_NO_CREDIT,
    GATEWAY_REMEDY,
    blocked_content,
    change_the_request,
    error_for_status,
    error_from,
    invalid_response,
    lacks_credit,
    model_or_listing,
    quoting,
    refused_key,
)

__all__ = ["error_of", "inner_error", "no_image"]

_PER_MINUTE_WAIT_S = 60.0
"""How long to wait for a quota per minute if the response does not say."""

_TERMINAL_WAIT_S = 300.0
"""A longer delay means a quota that is used up for longer than anybody waits."""

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


def no_image(
    provider: ProviderConfig,
    body: Mapping[str, Any],
    text: str | None,
    response: HttpResponse,
    call: Call,
    request_id: str | None,
) -> ProviderError:
    """Why there is no image: a blocked prompt, a refusal with its reason, text instead of an image, or a fault."""
    feedback = mapping(get(body, "promptFeedback"))
    candidate = next(iter(mappings(get(body, "candidates"))), {})
    blocked, reason = text_of(get(feedback, "blockReason")), text_of(get(candidate, "finishReason"))
    # The service writes it, and not the model.
    finish_message = text_of(get(candidate, "finishMessage")) or ""
    message = fit_to_show(" ".join(filter(None, (finish_message, text))))
    if not candidate and not blocked and (error := inner_error(provider, error_in(body), response, call)):
        return error
    if blocked:
        message = fit_to_show(get(feedback, "blockReasonMessage"))
        what = f"blocked the prompt ({fit_to_show(blocked)})"
    elif reason == "MAX_TOKENS":
        what = "ran out of tokens before the image (MAX_TOKENS)"
        return invalid_response(provider, what, response, call, request_id)
    elif reason in _BLOCKED:
        what = f"refused to make the image ({reason})"
    elif not text and _FAILED.search(finish_message):
        what = f"{provider.name} failed to make the image ({fit_to_show(reason)}){quoting(message)}"
        remedy = "It may have been billed. Try again later."
        return error_from(UnavailableError, what, remedy, response, call, request_id, may_be_billed=True)
    elif message:
        what = "sent text without an image" if text else "made no image"
        what = what if reason in (None, "STOP") else f"{what} ({fit_to_show(reason)})"
    else:
        what = f"contains no image ({fit_to_show(reason) or 'no reason given'})"
        return invalid_response(provider, what, response, call, request_id)
    what = f"{provider.name} {what}{quoting(message)}"
    change = change_the_request(less_strict(call) if "SAFETY" in (blocked, reason) else None)
    return error_from(ContentBlockedError, what, change, response, call, request_id)


def inner_error(
    provider: ProviderConfig, fields: Mapping[str, Any], head: HttpResponse, call: Call
) -> ProviderError | None:
    """The error in an event, or in a response that calls itself a success; None if it is not a known one."""
    status = status_in(fields)
    if status is None and CONTENT_BLOCKED.isdisjoint(error_codes(fields)):
        return None
    return _error_with(provider, fields, replace(head, status=status or head.status), call).replace(status=head.status)


def error_of(provider: ProviderConfig, response: HttpResponse, call: Call | None) -> ProviderError:
    """The error of a response without success."""
    return _error_with(provider, error_fields(response), response, call)


def _error_with(
    provider: ProviderConfig, fields: Mapping[str, Any], response: HttpResponse, call: Call | None
) -> ProviderError:
    """The error with the fields that were found in a response, or in a part of it."""
    details = mappings(fields.get("details"))
    message = text_of(fields.get("message")) or ""
    if response.status == 401 or any(detail.get("reason") == "API_KEY_INVALID" for detail in details):
        return refused_key(provider, response, call)
    codes = error_codes(fields)
    if not CONTENT_BLOCKED.isdisjoint(codes):
        # A gateway's, since Google says so in other fields.
        return blocked_content(provider, fit_to_show(message), response, call)
    at_gateway = GATEWAY_NO_CREDIT in codes
    if at_gateway or response.status == 402 or lacks_credit(response.status, message):
        return _no_credit(provider, message, response, call, at_gateway=at_gateway)
    if response.status == 403:
        used, quoted = model_or_listing(call), quoting(fit_to_show(message))
        what = f"{provider.name} does not allow this key to use {used}{quoted}"
        remedy = Remedy(f"Check the restrictions of the key and its project {provider.key_place}", url=provider.key_url)
        return error_from(AuthenticationError, what, remedy, response, call)
    if response.status == 429:
        return _quota_error(provider, message, details, response, call)
    error = error_for_status(provider, fit_to_show(message), response, call)
    if wait_s := _retry_delay(details):
        error = error.replace(retry_after=wait_s)
    if re.search("Unknown name .{0,9}response_?modalities", message, re.IGNORECASE):
        error = error.replace(remedy=_use_v1beta(provider))
    if fields.get("status") == "FAILED_PRECONDITION":
        # Google's documentation: there is no free tier in the country of the caller.
        text = f"If {provider.name} has no free tier in your country, turn on billing {provider.billing_place}"
        error = error.replace(remedy=Remedy(text, url=provider.billing_url))
    return error


def _no_credit(
    provider: ProviderConfig, message: str, response: HttpResponse, call: Call | None, *, at_gateway: bool
) -> ProviderError:
    """The account has no credit left, or has reached its spending limit: waiting does not help."""
    remedy = Remedy(f"Add credit, or raise the spending limit, {provider.billing_place}", url=provider.billing_url)
    what = f"{provider.name} refused the request for lack of credit{quoting(fit_to_show(message))}"
    return error_from(QuotaError, what, GATEWAY_REMEDY if at_gateway else remedy, response, call)


def _quota_error(
    provider: ProviderConfig,
    message: str,
    details: Sequence[Mapping[str, Any]],
    response: HttpResponse,
    call: Call | None,
) -> ProviderError:
    """The error of a 429: a limit that ends while you wait, or a quota that is used up."""
    quota = " ".join(text_of(get(violation, "quotaId")) or "" for violation in _violations(details))
    wait_s = (
        _retry_delay(details)
        or retry_after_from_headers(response.headers, now=response.received_at)
        or retry_after_from_text(message)
    )
    kind: type[ProviderError] = QuotaError
    # Google's messages are so long that Invoke cuts off the remedy behind them: quoted only if they add something.
    quoted = ""
    at = provider.billing_place
    if re.search(r"\blimit: 0(?![\d.]*[1-9])", message) or _is_zero(details):
        what, todo = "gives this key no quota for this model (limit: 0)", f"Turn on billing {at}"
    elif "PerDay" in quota or "Daily" in quota:
        what, todo = "says that the quota for today is used up", f"Wait until tomorrow, or see your quotas {at}"
    elif wait_s is not None and wait_s > _TERMINAL_WAIT_S:
        what = f"asks you to wait {wait_s:,.0f} s, which means that a quota is used up"
        todo, quoted = f"See your quotas {at}", fit_to_show(message)
    else:
        kind, quoted = RateLimitedError, fit_to_show(message)
        what, todo = "asks you to slow down", f"Request fewer images at once, or see your quotas {at}"
        if wait_s is None and "PerMinute" in quota:
            wait_s = _PER_MINUTE_WAIT_S
    what = f"{provider.name} {what}{quoting(quoted)}"
    error = error_from(kind, what, Remedy(todo, url=provider.billing_url), response, call)
    return error.replace(retry_after=wait_s)


def _use_v1beta(provider: ProviderConfig) -> Remedy:
    """The remedy for a request that the API version v1 refuses, because it does not have a field of v1beta."""
    return Remedy(
        "Use a base URL that ends with /v1beta.", action="fix_base_url", provider=provider.id, url=provider.base_url
    )


def _retry_delay(details: Sequence[Mapping[str, Any]]) -> float | None:
    """The seconds of ``google.rpc.RetryInfo``, such as ``20.75s`` or ``900ms``; None if it is missing."""
    for detail in details:
        if wait_s := retry_after_from_duration(text_of(get(detail, "retryDelay")) or ""):
            return wait_s
    return None


def _violations(details: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The quotas of ``google.rpc.QuotaFailure`` that were exceeded."""
    return [violation for detail in details for violation in mappings(detail.get("violations"))]


def _is_zero(details: Sequence[Mapping[str, Any]]) -> bool:
    """True if the quota that was exceeded is zero. Protocol Buffers omit zeros, so a missing value is one."""
    values = [get(violation, "quotaValue") or 0 for violation in _violations(details) if get(violation, "quotaId")]
    values += [
        metadata["quota_limit_value"]
        for detail in details
        if "quota_limit_value" in (metadata := mapping(detail.get("metadata")))
    ]
    return any(str(value) == "0" for value in values)
