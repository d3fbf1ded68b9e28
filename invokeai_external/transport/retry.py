"""When to try again, how long to wait before, and when never. Pure: the clock and the dice are handed in."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC
from typing import NamedTuple

from ..errors import (
    AuthenticationError,
    ContentBlockedError,
    ModelRetiredError,
    ProviderError,
    QuotaError,
    RateLimitedError,
    UnavailableError,
)

__all__ = [
    "RetryPolicy",
    "asked_wait",
    "asks_all_to_wait",
    "seconds_before_retry",
    "should_retry_header",
    "wait_in_words",
]

_FIRST_BACKOFF_S = 0.5
_LONGEST_BACKOFF_S = 8.0
_JITTER = 0.25
"""The official OpenAI SDK's figures (openai 3.54.0, ``_base_client.py``)."""

_SECONDS_IN = {
    **dict.fromkeys(("ms", "millisecond", "milliseconds"), 0.001),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hour", "hours"), 3600.0),
}
_TIME = re.compile(rf"([0-9]{{1,9}}(?:\.[0-9]{{1,9}})?)\s?({'|'.join(_SECONDS_IN)})(?![a-z])", re.IGNORECASE)
_WAIT_IN_WORDS = re.compile(
    rf"\b(?:again|retry|wait)(?:\s(?:in|after|for|about|at least))*\s(?P<time>(?:{_TIME.pattern}\s?)+)", re.IGNORECASE
)
_MOST_WORDS = 2000
"""How much of a message is looked through."""

_LONGEST_WAIT_S = 1e9

_TERMINAL = (AuthenticationError, ContentBlockedError, ModelRetiredError, QuotaError)
_RETRYABLE_STATUSES = frozenset({409, 429})


class RetryPolicy(NamedTuple):
    """How patient to be with one call.

    Attributes:
        max_attempts: The most tries, the first included.
        max_wait_s: The most seconds to spend waiting between tries, all waits together.
    """

    max_attempts: int = 6
    max_wait_s: float = 120.0


def seconds_before_retry(
    error: ProviderError, *, attempt: int, waited_s: float, policy: RetryPolicy, dice: float
) -> float:
    """How long to wait before the next try.

    Args:
        error: What the last try met.
        attempt: How many tries there were; 0 if the wait that another call met comes before the first one.
        waited_s: The seconds that were spent waiting so far.
        policy: The limits.
        dice: A random number from 0 to 1, to spread the tries of many clients.

    Returns:
        Seconds, 0 or more.

    Raises:
        ProviderError: The error to tell the user, where trying again is no use or not allowed any more.
    """
    if not _is_retryable(error):
        raise error
    if attempt >= policy.max_attempts:
        raise _told_of_tries(error, attempt)
    left_s = max(0.0, policy.max_wait_s - waited_s)
    if error.retry_after is not None:
        if error.retry_after > left_s:
            raise _asks_too_long(error, error.retry_after, left_s)
        return error.retry_after
    backoff_s = min(_FIRST_BACKOFF_S * 2.0 ** (attempt - 1), _LONGEST_BACKOFF_S) * (1 - _JITTER * dice)
    if backoff_s > left_s:
        raise _told_of_tries(error, attempt)
    return backoff_s


def asks_all_to_wait(error: ProviderError) -> bool:
    """True if an error tells how long to leave a model alone, which holds for every call to it."""
    return error.retry_after is not None and _is_retryable(error)


def asked_wait(headers: Mapping[str, str], *, now: float) -> float | None:
    """The seconds that an answer asks to wait: ``retry-after-ms``, else ``retry-after`` in seconds or as an HTTP date.

    Args:
        headers: The answer's headers, names in lower case.
        now: Seconds since the epoch, for the form with a date.

    Returns:
        Seconds above 0; None where nothing is asked, or nothing that can be read.
    """
    for name, per_second in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) / per_second
        except (KeyError, ValueError):
            continue
        return _positive(seconds)
    # Loads half the standard library, for a header that is hardly ever a date.
    from email.utils import parsedate_to_datetime

    try:
        date = parsedate_to_datetime(headers["retry-after"])
    except (KeyError, ValueError, OverflowError):
        return None
    # A date that names no zone is in UTC (RFC 9110, 5.6.7), which Python would take for local time.
    return _positive((date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now)


def wait_in_words(words: str) -> float | None:
    """The seconds that a sentence asks to wait, such as "Please try again in 1m20s" or "after 51.84 seconds".

    OpenAI's 429 may say it nowhere else. None where it asks for no wait, or for none that can be read.
    """
    asked = _WAIT_IN_WORDS.search(words[:_MOST_WORDS])
    if asked is None:
        return None
    return _positive(sum(float(n) * _SECONDS_IN[unit.lower()] for n, unit in _TIME.findall(asked["time"])))


def should_retry_header(headers: Mapping[str, str]) -> bool | None:
    """OpenAI's ``x-should-retry``, which wins over the status; None where it says nothing."""
    return {"true": True, "false": False}.get(headers.get("x-should-retry", "").strip().lower())


def _positive(seconds: float) -> float | None:
    return min(seconds, _LONGEST_WAIT_S) if math.isfinite(seconds) and seconds > 0 else None


def _is_retryable(error: ProviderError) -> bool:
    if isinstance(error, _TERMINAL):
        return False
    if error.never_sent:
        return True
    # What may have been billed must not be paid for twice, whatever the answer says of trying again. Without a status,
    # or with one of success, nobody knows.
    if error.may_be_billed or error.status is None or error.status < 400:
        return False
    if error.should_retry is not None:
        return error.should_retry
    return error.status in _RETRYABLE_STATUSES or error.status >= 500


def _told_of_tries(error: ProviderError, tries: int) -> ProviderError:
    return error.replace(message=f"{error.message.rstrip('.')} (tried {tries} times).") if tries > 1 else error


def _asks_too_long(error: ProviderError, wait_s: float, left_s: float) -> ProviderError:
    kind = type(error) if isinstance(error, RateLimitedError | UnavailableError) else RateLimitedError
    return kind(
        f"{error.message.rstrip('.')}, and asks to wait {_short(wait_s)} s, longer than the {_short(left_s)} s "
        "that are left for it.",
        remedy=f"Try again in {_spoken(wait_s)}, or raise max_wait_s in invokeai_external.yaml.",
        provider=error.provider,
        model=error.model,
        status=error.status,
        request_id=error.request_id,
        retry_after=wait_s,
    )


def _short(seconds: float) -> str:
    return f"{seconds:,.1f}".removesuffix(".0")


def _spoken(seconds: float) -> str:
    if seconds <= 1:
        return "a second"
    if seconds < 90:
        return f"{math.ceil(seconds)} seconds"
    minutes = math.ceil(seconds / 60)
    return f"{minutes} minutes" if minutes < 90 else f"{math.ceil(minutes / 60)} hours"
