"""What a failed answer means, where it means the same with every provider."""

from __future__ import annotations

import re
from typing import TypeVar

from ..errors import (
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
from ..providers.schema import ModelConfig, ProviderConfig
from ..transport.messages import HttpResponse
from ..transport.retry import retry_after_from_headers, should_retry_from_headers
from .fields import document_of, error_fields, error_object, one_line

__all__ = [
    "GATEWAY_UNPAID",
    "PAID_AT_GATEWAY",
    "asked_for",
    "broken_off",
    "error_from",
    "error_of_status",
    "invalid_answer",
    "lacks_money",
    "new_key",
    "parse_json",
    "said",
]


ErrorKind = TypeVar("ErrorKind", bound=ProviderError)


_UNKNOWN_OUTCOME = frozenset({408, 504, 520, 522, 524})
"""What a gateway answers that gave up waiting or lost the connection behind it (504, and Cloudflare's 52x), and 408:
the provider goes on with the request, and bills it."""


_LOOK_FIRST = "It may have been billed: look at your usage before you send it again."


GATEWAY_UNPAID = "insufficient_user_quota"
"""The code of gateways for many providers (new-api, one-api) for an account of theirs without money, with HTTP 403."""


PAID_AT_GATEWAY = "Add credit where the operator of your base URL says."


_NO_MONEY = re.compile(
    r"prepayment credits|credits? (?:balance )?(?:is|are) (?:too low|depleted)|spend(?:ing)? (?:cap|limit)"
    r"|billing hard limit",
    re.IGNORECASE,
)
"""What providers say, often without a code of the kind, of an account without money or at its owner's limit."""


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
    """An error that tells where it happened and what its answer says of trying again.

    Without a call it is the list of models that was asked for, here and in the functions below: that is never billed.

    The request id is OpenAI's header, which many gateways send too, unless another is given.
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


def invalid_answer(
    provider: ProviderConfig, what: str, response: HttpResponse, call: Call | None, request_id: str | None = None
) -> InvalidResponseError:
    """The error of an answer that claims success and has not in it what it must; quotes the error that it may hold."""
    message = f"The answer of {provider.name} {what}{said(one_line(error_fields(response).get('message')))}"
    hint = "Try again, or check the base URL if this happens every time."
    if call:
        hint = f"It may have been billed. {hint}"
    return error_from(InvalidResponseError, message, hint, response, call, request_id, may_be_billed=True)


def error_of_status(provider: ProviderConfig, words: str, response: HttpResponse, call: Call | None) -> ProviderError:
    """The error of an HTTP status that means the same with every provider.

    Args:
        provider: Whose answer it is.
        words: The provider's own words, on one line; empty if there were none.
        response: The answer.
        call: What was asked.
    """
    status, model = response.status, call.model if call else None
    kind: type[ProviderError] = RejectedRequestError
    hint: str | None = None
    if status == 402:
        kind, message = QuotaError, f"{provider.name} wants to be paid first (HTTP 402){said(words)}"
        hint = f"Add credit at {provider.billing_url}, or where the operator of your base URL says."
    elif status == 404 and model and model.lifecycle.status in ("deprecated", "retired"):
        # What replaced the model matters more than the provider's words, which only say that it is not there.
        kind, message, hint = ModelRetiredError, _retired(model), _successor(model)
    elif status == 404:
        message = f"{provider.name} does not serve {asked_for(call)}{said(words)}"
        hint = "See 'invokeai-external models' for the models that are known, or check the base URL."
        if not model:
            hint = "Check the base URL."
    elif status == 408:
        kind, message = TimedOutError, f"{provider.name} gave up waiting (HTTP 408){said(words)}"
        hint = "Try again later."
    elif status == 409 or status >= 500:
        kind, message = UnavailableError, f"{provider.name} is overloaded or out of order (HTTP {status}){said(words)}"
        hint = "Try again later."
    elif status == 413:
        message = f"The request is too large for {provider.name} (HTTP 413){said(words)}"
        hint = "Give fewer or smaller pictures."
    elif status >= 400:
        message = f"{provider.name} refused the request (HTTP {status}){said(words)}"
    else:
        kind = InvalidResponseError
        message = f"{provider.name} answered with HTTP {status}, which is no answer to such a request."
        hint = "Check the base URL."
    may_be_billed = _may_be_billed(response)
    if may_be_billed and call:
        hint = _LOOK_FIRST
    return error_from(kind, message, hint, response, call, may_be_billed=may_be_billed)


def _may_be_billed(response: HttpResponse) -> bool:
    """True for a failed answer that does not come from the provider itself, which may be at work on the request."""
    if response.status in _UNKNOWN_OUTCOME:
        return True
    return response.status >= 500 and not isinstance(error_object(response), dict)


def broken_off(provider: ProviderConfig, words: str, head: HttpResponse, call: Call) -> ProviderError:
    """The error of a stream that ended without its picture, for the reason that the provider gives, if any."""
    kind = UnavailableError if words else InvalidResponseError
    message = f"{provider.name} broke off before the picture was finished{said(words)}"
    hint = "It may have been billed. Try again later."
    return error_from(kind, message, hint, head, call, may_be_billed=True)


def lacks_money(status: int, words: str) -> bool:
    """True if a failed answer says in words that the account has no money, which no waiting cures."""
    return 400 <= status < 500 and _NO_MONEY.search(words) is not None


def new_key(provider: ProviderConfig) -> Remedy:
    """What to do about a key that was refused."""
    text = f"Make a new one at {provider.key_url} and set it with: invokeai-external keys set {provider.id}"
    return Remedy(text, action="set_key", provider=provider.id, url=provider.key_url)


def asked_for(call: Call | None) -> str:
    """What a call uses, as an error names it: its model, or the list of models where there is no call."""
    return call.model.id if call else "its list of models"


def said(words: str) -> str:
    """The end of a sentence that quotes a provider, or just its full stop."""
    if not words:
        return "."
    return f": {words}" if words.endswith((".", "!", "?", "…")) else f": {words}."


def _retired(model: ModelConfig) -> str:
    life = model.lifecycle
    if life.status == "retired":
        return f"{model.name} was retired{f' on {life.shutdown}' if life.shutdown else ''}."
    known = "set" if life.shutdown_confirmed else "reported"
    return f"{model.name} is no longer served{f'; its end was {known} for {life.shutdown}' if life.shutdown else ''}."


def _successor(model: ModelConfig) -> str | None:
    return f"Use {model.lifecycle.successor} instead." if model.lifecycle.successor else None


def parse_json(provider: ProviderConfig, response: HttpResponse, call: Call | None) -> object:
    """The JSON of a successful answer; raises InvalidResponseError."""
    try:
        return document_of(response)
    except ValueError:
        raise invalid_answer(provider, f"is not whole JSON ({len(response.body):,} bytes)", response, call) from None
