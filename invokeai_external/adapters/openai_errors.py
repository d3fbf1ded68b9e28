"""OpenAI's errors: its codes, refusals because of the content, and accounts without credit.

Source: OpenAI's API reference, recorded traffic, and the codes of gateways with the same API.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..errors import ContentBlockedError, ProviderError, QuotaError, Remedy
from ..planning.plan import Call
from ..providers.provider_config import ProviderConfig
from ..transport.messages import HttpResponse
from ..untrusted_text import fit_to_show
from . import usual_errors
from .error_dialects import error_codes, error_fields, status_in
from .fields import mapping, text_of
from .http_errors import (
    CONTENT_BLOCKED,
    GATEWAY_NO_CREDIT,
    GATEWAY_REMEDY,
    change_the_request,
    error_for_status,
    error_from,
    model_or_listing,
    quoting,
)

__all__ = ["error_of", "inner_error", "known_error"]

_NO_CREDIT = {
    "insufficient_quota": "Add credit to the account {billing}",
    "billing_hard_limit_reached": "Raise the spending limit of the account {limits}",
    "project_spend_limit_exceeded": "Raise the spending limit of the project {limits}",
    GATEWAY_NO_CREDIT: GATEWAY_REMEDY,
}
"""The codes of an account without credit, whatever the status, and the remedy for each."""

_UNVERIFIED = re.compile(r"must be verified|verif\w+ organi[sz]ation", re.IGNORECASE)

_VIOLATIONS = re.compile(r"safety_violations=\[([^\]]*)\]")

_MOST_CATEGORIES = 5


def error_of(provider: ProviderConfig, response: HttpResponse, call: Call | None) -> ProviderError:
    """The error of a response without success."""
    fields = error_fields(response)
    known = known_error(provider, fields, response.status, response, call)
    if known:
        return known
    # OpenAI says so of a model that has ended with 400; 404 means the same, and not only with OpenAI.
    message = text_of(fields.get("message")) or ""
    is_gone = response.status == 400 and fields.get("param") == "model" and "does not exist" in message
    named = replace(response, status=404) if is_gone else response
    error = error_for_status(provider, fit_to_show(fields.get("message")), named, call)
    return error.replace(status=response.status)


def inner_error(
    provider: ProviderConfig, fields: Mapping[str, Any], head: HttpResponse, call: Call
) -> ProviderError | None:
    """The error in an event, or in a response that calls itself a success; None if it is not a known one."""
    status = status_in(fields)
    known = known_error(provider, fields, status or head.status, head, call)
    if known or status is None:
        return known
    message = fit_to_show(fields.get("message"))
    error = error_for_status(provider, message, replace(head, status=status), call)
    return error.replace(status=head.status)


def known_error(
    provider: ProviderConfig, fields: Mapping[str, Any], status: int, response: HttpResponse, call: Call | None
) -> ProviderError | None:
    """The error for OpenAI's codes, and for what is known of any provider's errors; None for other statuses."""
    name = provider.name
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
        remedy = Remedy(_NO_CREDIT[no_credit].format(billing=provider.billing_place, limits=provider.limits_place))
    elif (status == 403 and "verif" in line.lower()) or (status == 400 and _UNVERIFIED.search(message)):
        is_stream = "stream" in message.lower()
        kind = QuotaError
        offers = "streams" if is_stream else "offers"
        what = f"{name} {offers} {model_or_listing(call)} to verified organisations only."
        url = provider.verification_url
        text = f"Verify your organisation{f' at {url}' if url else ''} (it can take 15 minutes to take effect)."
        instead = " Or turn previews off: without them, no verification is needed." if is_stream else ""
        remedy = Remedy(f"{text}{instead}", url=url)
    else:
        return usual_errors.known_error(provider, fields, status, response, call)
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
