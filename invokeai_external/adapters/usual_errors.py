"""The errors of a provider whose errors have nothing special: by their status, their code and what they say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..errors import AuthenticationError, ProviderError, QuotaError, RateLimitedError, Remedy
from ..planning.plan import Call
from ..providers.provider_config import ProviderConfig
from ..transport.messages import HttpResponse
from ..transport.retry_policy import retry_after_from_text
from ..untrusted_text import fit_to_show
from .error_dialects import error_codes, error_fields
from .fields import document_of, mapping, text_of
from .http_errors import (
    CONTENT_BLOCKED,
    GATEWAY_NO_CREDIT,
    GATEWAY_REMEDY,
    blocked_content,
    error_for_status,
    error_from,
    lacks_credit,
    model_or_listing,
    quoting,
    refused_key,
)

__all__ = ["known_error", "usual_error"]


def usual_error(
    provider: ProviderConfig,
    response: HttpResponse,
    call: Call | None,
    *,
    message: str | None = None,
    code: str | None = None,
) -> ProviderError:
    """The error of a response without success.

    Args:
        provider: The provider.
        response: The response.
        call: The call; None for the list of models.
        message: The name of the field with the message, if the provider has another form than the usual ones
            (``error_dialects``).
        code: The name of the field with the code, likewise.
    """
    if message and code and (own := _own_fields(response, message, code)):
        # With this, it counts as the provider's, and not as one of a gateway.
        response = replace(response, document={"error": own})
    fields = error_fields(response)
    if known := known_error(provider, fields, response.status, response, call):
        return known
    return error_for_status(provider, fit_to_show(fields.get("message")), response, call)


def _own_fields(response: HttpResponse, message: str, code: str) -> dict[str, Any]:
    try:
        body = mapping(document_of(response))
    except ValueError:
        return {}
    return {"message": body.get(message), "code": body.get(code)} if {message, code} & body.keys() else {}


def known_error(
    provider: ProviderConfig, fields: Mapping[str, Any], status: int, response: HttpResponse, call: Call | None
) -> ProviderError | None:
    """The error for what is known of an error: its fields and its status; None if nothing of it is.

    Args:
        provider: The provider.
        fields: The fields of the error.
        status: The status of the error, which is not that of the response for an error in a success.
        response: The response.
        call: The call; None for the list of models.
    """
    name, message, codes = provider.name, text_of(fields.get("message")) or "", error_codes(fields)
    quoted = quoting(fit_to_show(message))
    kind: type[ProviderError]
    remedy: Remedy | str
    if not CONTENT_BLOCKED.isdisjoint(codes):
        return blocked_content(provider, fit_to_show(message), response, call)
    if GATEWAY_NO_CREDIT in codes:
        kind, what = QuotaError, f"{name} refused the request for lack of credit{quoted}"
        remedy = GATEWAY_REMEDY
    elif lacks_credit(status, message):
        kind, what = QuotaError, f"{name} refused the request for lack of credit{quoted}"
        remedy = Remedy(f"Add credit {provider.billing_place}, or raise the spending limit {provider.limits_place}")
    elif status == 429:
        kind, what = RateLimitedError, f"{name} asks you to slow down{quoted}"
        todo = f"Request fewer images at once, or see your limits {provider.limits_place}"
        limited = error_from(kind, what, Remedy(todo, url=provider.limits_url), response, call)
        return limited if limited.retry_after else limited.replace(retry_after=retry_after_from_text(message))
    elif status == 401:
        return refused_key(provider, response, call)
    elif status == 403:
        kind, what = AuthenticationError, f"{name} does not allow this key to use {model_or_listing(call)}{quoted}"
        todo = f"Check the permissions of the key and its project {provider.key_place}"
        remedy = Remedy(todo, url=provider.key_url)
    else:
        return None
    return error_from(kind, what, remedy, response, call)
