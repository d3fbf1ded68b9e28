"""Turns error responses into errors, as far as they mean the same for every provider."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TypeVar

from ..errors import (
    AuthenticationError,
    ContentBlockedError,
    InvalidResponseError,
    ModelRetiredError,
    ProviderError,
    QuotaError,
    RejectedRequestError,
    Remedy,
    TimedOutError,
    UnavailableError,
)
from ..planning.plan import Call
from ..providers.provider_config import ProviderConfig
from ..providers.schema import ModelConfig
from ..root_folder import USER_FILE
from ..transport.messages import HttpResponse
from ..transport.retry_policy import outcome_is_unknown, retry_after_from_headers, should_retry_from_headers
from ..untrusted_text import fit_to_show
from .error_dialects import error_fields, error_object
from .fields import document_of

__all__ = [
    "CONTENT_BLOCKED",
    "GATEWAY_NO_CREDIT",
    "GATEWAY_REMEDY",
    "blocked_content",
    "change_the_request",
    "error_for_status",
    "error_from",
    "incomplete_stream",
    "invalid_response",
    "lacks_credit",
    "model_or_listing",
    "parse_json",
    "quoting",
    "refused_key",
]


ErrorKind = TypeVar("ErrorKind", bound=ProviderError)

_MAY_BE_BILLED = "It may have been billed: check your usage before you try again."

_NO_REASON = (
    "It gave no reason. Check the base URL; if it is right, try again without options, or with a shorter prompt."
)

CONTENT_BLOCKED = frozenset(
    {
        *("moderation_blocked", "content_policy_violation"),
        *("contentFilter", "content_filter", "ResponsibleAIPolicyViolation"),
    }
)
"""The codes of a refusal because of the content of the prompt or the image; the last three are Azure's."""

GATEWAY_NO_CREDIT = "insufficient_user_quota"
"""The code of some gateways (new-api, one-api) for an account with them that has no credit; sent with HTTP 403."""

GATEWAY_REMEDY = "Add credit to your account with the service at your base URL."

_NO_CREDIT = re.compile(
    r"prepayment credits|credits? (?:balance )?(?:is|are) (?:too low|depleted)|spend(?:ing)? (?:cap|limit)"
    r"|billing hard limit",
    re.IGNORECASE,
)
"""How providers say, often without a code, that an account has no credit or has reached its spending limit."""


def error_from(
    kind: type[ErrorKind],
    message: str,
    remedy: Remedy | str | None,
    response: HttpResponse,
    call: Call | None,
    request_id: str | None = None,
    *,
    may_be_billed: bool = False,
) -> ErrorKind:
    """An error with the facts of its response: where it happened, and what the response says about a retry.

    Args:
        kind: The class of the error.
        message: What is wrong.
        remedy: What to do next.
        response: The response.
        call: The call; None if the list of models was requested, here and below. That is never billed.
        request_id: The provider's id of the request; if None, that of OpenAI's header, which many gateways send too.
        may_be_billed: True if a call may have been billed although it failed.
    """
    return kind(
        message,
        remedy=remedy,
        provider=call.model.provider if call else None,
        model=call.model.id if call else None,
        status=response.status,
        request_id=request_id or response.headers.get("x-request-id"),
        retry_after=retry_after_from_headers(response.headers, now=response.received_at),
        should_retry=should_retry_from_headers(response.headers),
        may_be_billed=may_be_billed and call is not None,
    )


def invalid_response(
    provider: ProviderConfig, what: str, response: HttpResponse, call: Call | None, request_id: str | None = None
) -> InvalidResponseError:
    """The error of a successful response without the expected content. If it contains an error, that is quoted.

    Args:
        provider: The provider.
        what: The rest of a sentence that begins with *The response from PROVIDER*.
        response: The response.
        call: The call.
        request_id: The provider's id of the request.
    """
    message = f"The response from {provider.name} {what}{quoting(fit_to_show(error_fields(response).get('message')))}"
    remedy = "Try again; if it happens again, check the base URL."
    if call:
        remedy = f"It may have been billed. {remedy}"
    return error_from(InvalidResponseError, message, remedy, response, call, request_id, may_be_billed=True)


def error_for_status(
    provider: ProviderConfig, message: str, response: HttpResponse, call: Call | None
) -> ProviderError:
    """The error of an HTTP status that means the same with every provider.

    Args:
        provider: The provider.
        message: The provider's message, on one line; may be empty.
        response: The response.
        call: The call.
    """
    status, model = response.status, call.model if call else None
    name, quoted = provider.name, quoting(message)
    kind: type[ProviderError] = RejectedRequestError
    remedy: Remedy | str | None = None
    if status == 402:
        kind, what = QuotaError, f"{name} requires payment (HTTP 402){quoted}"
        remedy = f"Add credit {provider.billing_place}, or to your account with the service at your base URL."
    elif status == 404 and model and _may_have_ended(model, response):
        # The successor is more useful than the provider's message, which only says that the model does not exist.
        kind, what, remedy = ModelRetiredError, _retired(model, name), _successor(model)
    elif status == 404:
        what = f"{name} does not offer {model_or_listing(call)}{quoted}"
        remedy = _unknown_model(provider, model) if model else "Check the base URL."
    elif status == 408:
        kind, what, remedy = TimedOutError, f"{name} stopped waiting (HTTP 408){quoted}", "Try again later."
    elif status == 409 or status >= 500:
        kind, what = UnavailableError, f"{name} is overloaded or broken (HTTP {status}){quoted}"
        remedy = "Try again later."
        if _is_of_gateway(response):
            what = f"A gateway or proxy responded instead of {name} (HTTP {status}){quoted}"
    elif status == 413:
        what = f"The request is too large for {name} (HTTP 413){quoted}"
        remedy = "Use fewer or smaller images."
    elif status >= 400:
        what = f"{name} refused the request (HTTP {status}){quoted}"
        # With a reason, that says what to do.
        remedy = None if message else _NO_REASON if call else "Check the base URL."
    else:
        kind, remedy = InvalidResponseError, "Check the base URL."
        what = f"{name} sent HTTP {status}, which is not a valid response to this request."
    may_be_billed = _may_be_billed(response)
    if may_be_billed and call:
        remedy = _MAY_BE_BILLED
    return error_from(kind, what, remedy, response, call, may_be_billed=may_be_billed)


def _may_be_billed(response: HttpResponse) -> bool:
    """True for an error of a gateway: the provider behind it may still be working on the request."""
    return outcome_is_unknown(response.status) or _is_of_gateway(response)


def _is_of_gateway(response: HttpResponse) -> bool:
    """True for a server error without the object that every provider sends."""
    return response.status >= 500 and not isinstance(error_object(response), dict)


def incomplete_stream(provider: ProviderConfig, message: str, head: HttpResponse, call: Call) -> ProviderError:
    """The error of a stream that ended without its image.

    Args:
        provider: The provider.
        message: The reason that the provider gave, on one line; empty if it gave no reason.
        head: The head of the response.
        call: The call.
    """
    kind = UnavailableError if message else InvalidResponseError
    what = f"{provider.name} ended the stream before the image was complete{quoting(message)}"
    return error_from(kind, what, "It may have been billed. Try again later.", head, call, may_be_billed=True)


def lacks_credit(status: int, message: str) -> bool:
    """True if the message of an error says that the account has no credit left, so that waiting does not help."""
    return 400 <= status < 500 and _NO_CREDIT.search(message) is not None


def refused_key(provider: ProviderConfig, response: HttpResponse, call: Call | None) -> AuthenticationError:
    """The error of a key that was refused. Its message may quote a part of the key, so it is not shown."""
    text = f"Create a new key {provider.key_place} and set it with: invokeai-external keys set {provider.id}"
    remedy = Remedy(text, action="replace_key", provider=provider.id, url=provider.key_url)
    return error_from(AuthenticationError, f"{provider.name} refused the key.", remedy, response, call)


def blocked_content(
    provider: ProviderConfig, message: str, response: HttpResponse, call: Call | None
) -> ContentBlockedError:
    """The error of a refusal because of the content, with the provider's message on one line, which may be empty."""
    what = f"{provider.name} blocked the request because of its content{quoting(message)}"
    return error_from(ContentBlockedError, what, change_the_request(None), response, call)


def change_the_request(less_strict: str | None, *, is_image: bool = False) -> Remedy:
    """What to do if the content was refused.

    Args:
        less_strict: A sentence about an option of the model that refuses less.
        is_image: True if the finished image was refused, and not the request.
    """
    text = "Change the prompt or the input images."
    if is_image:
        text = "Try again, since another image may be accepted, or change the prompt."
    return Remedy(f"{text} {less_strict}" if less_strict else text, option=less_strict)


def model_or_listing(call: Call | None) -> str:
    """What was requested, as an error names it: the model of a call, or the list of models."""
    return call.model.id if call else "a list of models"


def quoting(message: str) -> str:
    """The end of a sentence that quotes a provider's message, or only a full stop if the message is empty."""
    if not message:
        return "."
    return f": {message}" if message.endswith((".", "!", "?", "…")) else f": {message}."


def _unknown_model(provider: ProviderConfig, model: ModelConfig) -> Remedy:
    if model.api_model:
        return Remedy(f"{model.api_model} was requested: check that name, in models: of {USER_FILE}, and the base URL.")
    text = f"List the known models with 'invokeai-external models --provider {provider.id}', or check the base URL."
    return Remedy(text, action="check_model", provider=provider.id)


def _may_have_ended(model: ModelConfig, response: HttpResponse) -> bool:
    """True if the end of a model may explain that it is not found: its last day is over, or is not known."""
    life, day = model.lifecycle, datetime.fromtimestamp(response.received_at, UTC).date()
    return life.may_have_ended(day) or (life.status == "deprecated" and life.shutdown is None)


def _retired(model: ModelConfig, provider: str) -> str:
    life = model.lifecycle
    if life.status == "retired":
        return f"{model.name} {life.ending(provider)}."
    known = "announced" if life.shutdown_confirmed else "reported"
    end = f"; its last day was {known} as {life.shutdown}" if life.shutdown else ""
    return f"{model.name} is no longer available{end}."


def _successor(model: ModelConfig) -> str | None:
    return model.lifecycle.instead.strip() or None


def parse_json(provider: ProviderConfig, response: HttpResponse, call: Call | None) -> object:
    """The JSON of a successful response.

    Raises:
        InvalidResponseError: It is not complete JSON.
    """
    try:
        return document_of(response)
    except ValueError:
        raise invalid_response(
            provider, f"is not complete JSON ({len(response.body):,} bytes)", response, call
        ) from None
