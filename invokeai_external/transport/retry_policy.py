"""Decides whether and when to retry a call: the policy, the backoff with jitter, and what a provider asks for.

Pure: the time and the random number are arguments.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC

from ..errors import (
    AuthenticationError,
    ContentBlockedError,
    ModelRetiredError,
    ProviderError,
    QuotaError,
    RateLimitedError,
    Remedy,
    TimedOutError,
    UnavailableError,
)
from ..untrusted_number import number, number_in_text

__all__ = [
    "MOST_WAIT_S",
    "RetryPolicy",
    "outcome_is_unknown",
    "pauses_model",
    "retry_after_from_duration",
    "retry_after_from_headers",
    "retry_after_from_text",
    "seconds_before_retry",
    "should_retry_from_headers",
]

MOST_WAIT_S = 3600
"""The most that ``max_wait_s`` may be."""

_FIRST_BACKOFF_S = 0.5
_MAX_BACKOFF_S = 8.0
_MAX_JITTER = 0.25
"""The largest part of a backoff that jitter takes off. This figure and the two above are those of the official OpenAI
SDK (openai 3.54.0, ``_base_client.py``)."""

_SECONDS_IN = {
    **dict.fromkeys(("ms", "millisecond", "milliseconds"), 0.001),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hour", "hours"), 3600.0),
}
_TIME = re.compile(rf"([0-9]{{1,9}}(?:\.[0-9]{{1,9}})?)\s?({'|'.join(_SECONDS_IN)})(?![a-z])", re.IGNORECASE)
_RETRY_AFTER = re.compile(
    rf"\b(?:again|retry|wait)(?:\s(?:in|after|for|about|at least))*\s(?P<time>(?:{_TIME.pattern}\s?)+)", re.IGNORECASE
)
_MAX_TEXT = 2000
"""How many characters of a message are searched."""

_MAX_RETRY_AFTER_S = 1e9

_TERMINAL = (AuthenticationError, ContentBlockedError, ModelRetiredError, QuotaError)
_RETRYABLE_STATUSES = frozenset({409, 429})
_UNKNOWN_OUTCOME = frozenset({408, 504, 520, 522, 524})


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """The limits on the retries of one call.

    Attributes:
        max_attempts: The most attempts, including the first.
        max_wait_s: The most seconds to wait between attempts, in total.
    """

    max_attempts: int = 6
    max_wait_s: float = 120.0


def seconds_before_retry(
    error: ProviderError, *, attempt: int, waited_s: float, policy: RetryPolicy, jitter: float
) -> float:
    """How long to wait before the next attempt.

    If the provider does not say how long, the backoff starts at 0.5 s and doubles up to 8 s, less the jitter.

    Args:
        error: Why the last attempt failed.
        attempt: The number of attempts so far; 0 if the first one waits because another call was asked to.
        waited_s: The seconds that were spent waiting so far.
        policy: The limits.
        jitter: A random number from 0 to 1, so that clients that failed together do not retry together.

    Returns:
        Seconds, 0 or more.

    Raises:
        ProviderError: The error to report: a retry does not help, or a limit of the policy is reached.
    """
    if not _is_retryable(error):
        raise error
    if attempt >= policy.max_attempts:
        raise _with_attempts(error, attempt)
    left_s = max(0.0, policy.max_wait_s - waited_s)
    if error.retry_after is not None:
        if error.retry_after > left_s:
            can_raise = waited_s + error.retry_after <= MOST_WAIT_S
            raise _waits_too_long(error, error.retry_after, left_s, can_raise=can_raise)
        return error.retry_after
    backoff_s = min(_FIRST_BACKOFF_S * 2.0 ** (attempt - 1), _MAX_BACKOFF_S) * (1 - _MAX_JITTER * jitter)
    if backoff_s > left_s:
        raise _with_attempts(error, attempt)
    return backoff_s


def outcome_is_unknown(status: int) -> bool:
    """True for the HTTP status of a call that the provider may still finish, and bill: it is not sent again.

    504 and Cloudflare's 52x are of a gateway that stopped waiting for the provider, or lost the connection to it; 408
    says that the provider itself stopped waiting.
    """
    return status in _UNKNOWN_OUTCOME


def pauses_model(error: ProviderError) -> bool:
    """True if an error says how long to wait before any further call to its model."""
    return error.retry_after is not None and _is_retryable(error)


def retry_after_from_headers(headers: Mapping[str, str], *, now: float) -> float | None:
    """The wait that a response asks for: ``retry-after-ms``, or else ``retry-after`` in seconds or as an HTTP date.

    Args:
        headers: The headers of the response, names in lower case.
        now: Seconds since the epoch, to compare a date with.

    Returns:
        Seconds above 0; None if there is no wait that can be parsed.
    """
    for name, per_second in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        if (value := number_in_text(headers.get(name))) is not None:
            return _positive(value / per_second)
    # This loads half the standard library, and the header is hardly ever a date.
    from email.utils import parsedate_to_datetime

    try:
        date = parsedate_to_datetime(headers["retry-after"])
    except (KeyError, ValueError, OverflowError):
        return None
    # A date without a time zone is in UTC (RFC 9110, 5.6.7); Python would take it for local time.
    return _positive((date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now)


def retry_after_from_text(text: str) -> float | None:
    """The wait that a message asks for, such as "Please try again in 1m20s" or "after 51.84 seconds".

    A 429 of OpenAI may say it in the message only.

    Returns:
        Seconds above 0; None if there is no wait that can be parsed.
    """
    found = _RETRY_AFTER.search(text[:_MAX_TEXT])
    if found is None:
        return None
    return _positive(sum(float(n) * _SECONDS_IN[unit.lower()] for n, unit in _TIME.findall(found["time"])))


def retry_after_from_duration(text: str) -> float | None:
    """The wait that a duration of Protocol Buffers asks for, such as ``20.75s``; gateways also write ``900ms``.

    Returns:
        Seconds above 0; None if there is no wait that can be parsed.
    """
    unit, per_second = ("ms", 1000.0) if text.endswith("ms") else ("s", 1.0)
    value = number_in_text(text.removesuffix(unit)) if text.endswith(unit) else None
    return None if value is None else _positive(value / per_second)


def should_retry_from_headers(headers: Mapping[str, str]) -> bool | None:
    """OpenAI's ``x-should-retry`` header, which overrides the status; None if it is missing or not a boolean."""
    return {"true": True, "false": False}.get(headers.get("x-should-retry", "").strip().lower())


def _positive(seconds: float) -> float | None:
    return number(min(seconds, _MAX_RETRY_AFTER_S), 0.0, _MAX_RETRY_AFTER_S) or None


def _is_retryable(error: ProviderError) -> bool:
    if isinstance(error, _TERMINAL):
        return False
    if error.never_sent:
        # One that took all of its time would take as much again.
        return not isinstance(error, TimedOutError)
    # Nothing is billed twice, whatever the response says about a retry. Without an error status it is not known whether
    # the request was billed.
    if error.may_be_billed or error.status is None or error.status < 400:
        return False
    if error.should_retry is not None:
        return error.should_retry
    return error.status in _RETRYABLE_STATUSES or error.status >= 500


def _with_attempts(error: ProviderError, attempts: int) -> ProviderError:
    return error.replace(message=f"{error.message.rstrip('.')} (tried {attempts} times).") if attempts > 1 else error


def _waits_too_long(error: ProviderError, wait_s: float, left_s: float, *, can_raise: bool) -> ProviderError:
    again = f"Try again in {_in_words(wait_s)}"
    remedy = Remedy(f"{again}.")
    if can_raise:
        text = f"{again}, or raise max_wait_s in invokeai_external.yaml."
        remedy = Remedy(text, action="change_setting", setting="max_wait_s")
    kind = type(error) if isinstance(error, RateLimitedError | UnavailableError) else RateLimitedError
    return kind(
        f"{error.message} The wait of {_short(wait_s)} s that it asks for is longer than the {_short(left_s)} s that "
        "are left of max_wait_s.",
        remedy=remedy,
        provider=error.provider,
        model=error.model,
        status=error.status,
        request_id=error.request_id,
        retry_after=wait_s,
    )


def _short(seconds: float) -> str:
    return f"{seconds:,.1f}".removesuffix(".0")


def _in_words(seconds: float) -> str:
    if seconds <= 1:
        return "a second"
    if seconds < 90:
        return f"{math.ceil(seconds)} seconds"
    minutes = math.ceil(seconds / 60)
    if minutes < 90:
        return f"{minutes} minutes"
    hours = math.ceil(minutes / 60)
    return f"{hours} hours" if hours < 48 else f"{math.ceil(hours / 24):,} days"
