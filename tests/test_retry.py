"""Retries: which failures, after how long, and which never."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from invokeai_external.errors import (
    AuthenticationError,
    CancelledError,
    ContentBlockedError,
    InvalidResponseError,
    ModelRetiredError,
    NetworkError,
    ProviderError,
    QuotaError,
    RateLimitedError,
    RejectedRequestError,
    TimedOutError,
    UnavailableError,
)
from invokeai_external.transport.retry_policy import (
    MOST_WAIT_S,
    RetryPolicy,
    retry_after_from_headers,
    retry_after_from_text,
    seconds_before_retry,
    should_retry_from_headers,
)

NOW = datetime(2026, 11, 23, 21, 0, 0, tzinfo=UTC).timestamp()

headers = st.text(st.characters(max_codepoint=255), max_size=40)


def wait(
    error: ProviderError,
    *,
    attempt: int = 1,
    waited_s: float = 0,
    policy: RetryPolicy = RetryPolicy(),  # noqa: B008 - a frozen value
    jitter: float = 0,
) -> float | None:
    """The seconds before the next attempt; None if the error is reported instead."""
    try:
        return seconds_before_retry(error, attempt=attempt, waited_s=waited_s, policy=policy, jitter=jitter)
    except ProviderError:
        return None


def reported(
    error: ProviderError,
    *,
    attempt: int = 1,
    waited_s: float = 0,
    policy: RetryPolicy = RetryPolicy(),  # noqa: B008 - a frozen value
) -> ProviderError:
    """The error that is reported because there is no next attempt."""
    with pytest.raises(ProviderError) as caught:
        seconds_before_retry(error, attempt=attempt, waited_s=waited_s, policy=policy, jitter=0)
    return caught.value


def numbers_in(message: str) -> list[str]:
    """The waits and the counts that a message names, with their units."""
    return re.findall(r"[\d.,]+ (?:s|times)\b", message)


# What a response asks for.


@pytest.mark.parametrize(
    ("given_headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "7"}, 7),
        ({"retry-after": "0"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "soon"}, None),
        # The three forms of an HTTP date (RFC 9110, 5.6.7), and one with another zone.
        ({"retry-after": "Mon, 23 Nov 2026 21:00:30 GMT"}, 30),
        ({"retry-after": "Monday, 23-Nov-26 21:01:00 GMT"}, 60),
        ({"retry-after": "Mon Nov 23 21:00:05 2026"}, 5),
        ({"retry-after": "Mon, 23 Nov 2026 22:00:10 +0100"}, 10),
        ({"retry-after": "Mon, 23 Nov 2026 20:59:59 GMT"}, None),
        ({"retry-after": "Mon, 99 Nov 2026 21:00:30 GMT"}, None),
    ],
)
def test_every_form_of_retry_after(given_headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_from_headers(given_headers, now=NOW) == seconds


@pytest.fixture
def tokyo() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "JST-9")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the time zone of a process cannot be changed here")
@pytest.mark.usefixtures("tokyo")
def test_a_date_without_a_time_zone_is_in_utc_in_every_local_time_zone() -> None:
    assert retry_after_from_headers({"retry-after": "Mon Nov 23 21:00:05 2026"}, now=NOW) == 5


@settings(deadline=None)
@given(st.floats(0.001, 1e9))
def test_any_number_of_seconds_or_milliseconds_is_parsed(seconds: float) -> None:
    assert retry_after_from_headers({"retry-after": repr(seconds)}, now=NOW) == seconds
    assert retry_after_from_headers({"retry-after-ms": repr(seconds)}, now=NOW) == seconds / 1000


@settings(deadline=None)
@given(st.integers(1, 10**8))
def test_any_future_date_is_parsed(seconds: int) -> None:
    date = format_datetime(datetime.fromtimestamp(NOW + seconds, UTC), usegmt=True)
    assert retry_after_from_headers({"retry-after": date}, now=NOW) == seconds


@settings(deadline=None)
@given(ms=headers, after=headers, flag=headers)
@example(ms="1" * 400, after="Mon, 23 Nov 9999999 21:00:30 GMT", flag="")
@example(ms="", after="23 Nov 2026 21:00:30 +9999", flag="TRUE")
def test_junk_never_raises(ms: str, after: str, flag: str) -> None:
    seconds = retry_after_from_headers({"retry-after-ms": ms, "retry-after": after}, now=NOW)
    assert seconds is None or (seconds > 0 and math.isfinite(seconds))
    assert should_retry_from_headers({"x-should-retry": flag}) in (None, True, False)


@settings(deadline=None)
@given(st.lists(st.sampled_from([*"0123456789:,+-. ", "Mon", "Nov", "2026", "GMT", "23", "21:00:30"]), max_size=12))
def test_a_garbled_date_never_raises(parts: list[str]) -> None:
    text = "".join(parts)
    seconds = retry_after_from_headers({"retry-after": text}, now=NOW)
    if seconds is not None:
        assert seconds > 0
        assert any(character.isdigit() for character in text)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("true", True), (" False ", False), ("", None), ("maybe", None), ("1", None)],
)
def test_x_should_retry(value: str, expected: bool | None) -> None:
    assert should_retry_from_headers({"x-should-retry": value}) is expected
    assert should_retry_from_headers({}) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Rate limit reached. Please try again in 20s.", 20),
        ("Rate limit is exceeded. Try again after 51.84 seconds.", 51.84),
        ("Please try again in 20ms.", 0.02),
        ("Please try again in 1m20s.", 80),
        ("Please try again in 6m0s. Visit https://x.test", 360),
        ("please wait 2 minutes", 120),
        ("Please RETRY after 1 hour 30 minutes", 5400),
        ("Please retry in 20.75s.", 20.75),
        ("wait for about 5 s", 5),
        ("Limit 5 images in 1 minute. Please slow down.", None),
        ("Try again later.", None),
        ("Try again in a moment.", None),
        ("Try again in 0s.", None),
        ("Try again in 5 stars.", None),
        ("Try again in \u0665s.", None),
        ("Try again in " + "9" * 400 + "s.", None),
        ("x" * 5000 + " try again in 5s.", None),
        ("", None),
    ],
)
def test_a_wait_in_a_message(text: str, seconds: float | None) -> None:
    assert retry_after_from_text(text) == (None if seconds is None else pytest.approx(seconds))


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["try again", "wait", " in ", " after ", "5", ".", "s", "ms", " ", "9" * 30]), max_size=30)
)
def test_no_message_raises(parts: list[str]) -> None:
    seconds = retry_after_from_text("".join(parts))
    assert seconds is None or 0 < seconds < 1e10


# Which failures.


@pytest.mark.parametrize("status", [409, 429, 500, 502, 503, 529])
def test_these_statuses_are_retried_unless_the_provider_says_no(status: int) -> None:
    assert wait(UnavailableError("Busy.", status=status)) == 0.5
    assert wait(UnavailableError("Busy.", status=status, should_retry=False)) is None


@pytest.mark.parametrize("status", [409, 429, 500, 503, 504])
def test_what_may_have_been_billed_is_never_retried_whatever_the_response_says(status: int) -> None:
    error = UnavailableError("Gone.", status=status, should_retry=True, retry_after=1, may_be_billed=True)
    assert reported(error) is error


@pytest.mark.parametrize("status", [400, 404, 413, 422])
def test_other_statuses_are_retried_only_if_the_provider_says_so(status: int) -> None:
    assert wait(RejectedRequestError("No.", status=status)) is None
    assert wait(RejectedRequestError("No.", status=status, should_retry=True)) == 0.5


@pytest.mark.parametrize("kind", [AuthenticationError, ContentBlockedError, ModelRetiredError, QuotaError])
def test_an_error_that_waiting_cannot_fix_is_reported_at_once_whatever_the_response_says(
    kind: type[ProviderError],
) -> None:
    error = kind("No.", status=429, should_retry=True, retry_after=1)
    assert reported(error) is error
    assert error.message == "No."


@pytest.mark.parametrize("kind", [NetworkError, TimedOutError])
def test_only_what_was_never_sent_is_retried_after_a_network_failure(kind: type[ProviderError]) -> None:
    # One that took all of its time would take as much again.
    assert wait(kind("Lost.", never_sent=True)) == (0.5 if kind is NetworkError else None)
    assert wait(kind("Lost.")) is None
    assert wait(kind("Lost.", should_retry=True, retry_after=1)) is None


@pytest.mark.parametrize("status", [200, 302])
def test_a_response_without_an_error_status_is_never_retried(status: int) -> None:
    assert wait(InvalidResponseError("No image.", status=status, should_retry=True)) is None


def test_a_cancelled_request_is_not_retried() -> None:
    assert wait(CancelledError("Cancelled.")) is None


# How long.


def test_the_backoff_doubles_up_to_a_limit_and_the_sixth_failure_is_reported() -> None:
    error = UnavailableError("Busy.", status=503)
    waits = [wait(error, attempt=attempt) for attempt in range(1, 6)]
    assert waits == [0.5, 1, 2, 4, 8]
    patient = RetryPolicy(max_attempts=20)
    assert wait(error, attempt=6, policy=patient) == wait(error, attempt=19, policy=patient) == 8
    assert numbers_in(reported(error, attempt=6).message) == ["6 times"]


@settings(deadline=None)
@given(st.integers(1, 5), st.floats(0, 1))
def test_jitter_takes_off_up_to_a_quarter(attempt: int, jitter: float) -> None:
    seconds = wait(UnavailableError("Busy.", status=503), attempt=attempt, jitter=jitter)
    full = {1: 0.5, 2: 1.0, 3: 2.0, 4: 4.0, 5: 8.0}[attempt]
    assert seconds is not None
    assert full * 0.75 <= seconds <= full
    assert wait(UnavailableError("Busy.", status=503), attempt=attempt, jitter=1) == full * 0.75


def test_a_wait_that_the_provider_asks_for_has_no_jitter() -> None:
    assert wait(RateLimitedError("Slow down.", status=429, retry_after=119.5), jitter=1) == 119.5
    assert wait(RateLimitedError("Slow down.", status=429, retry_after=120)) == 120
    assert wait(NetworkError("Lost.", never_sent=True, retry_after=3)) == 3


def test_a_wait_longer_than_what_is_left_is_reported_with_both_numbers() -> None:
    error = RateLimitedError(
        "OpenAI asks you to slow down.",
        provider="openai",
        model="gpt-image-2",
        status=429,
        request_id="req_1",
        retry_after=90.25,
    )
    found = reported(error, waited_s=70.5)
    assert found.message.startswith(error.message)
    assert numbers_in(found.message) == ["90.2 s", "49.5 s"]
    assert found.remedy
    assert (found.remedy.action, found.remedy.setting) == ("change_setting", "max_wait_s")
    assert "2 minutes" in found.remedy.text
    assert (found.provider, found.model, found.status, found.request_id) == ("openai", "gpt-image-2", 429, "req_1")
    assert (type(found), found.retry_after) == (RateLimitedError, 90.25)


@pytest.mark.parametrize(
    ("seconds", "exact", "rounded"),
    [
        (0.4, "0.4 s", "a second"),
        (1, "1 s", "a second"),
        (45.1, "45.1 s", "46 seconds"),
        (121, "121 s", "3 minutes"),
        (3600, "3,600 s", "60 minutes"),
        (7200, "7,200 s", "2 hours"),
        (1_000_000, "1,000,000 s", "12 days"),
    ],
)
def test_a_long_wait_is_rounded_up_in_the_remedy(seconds: float, exact: str, rounded: str) -> None:
    error = UnavailableError("Busy.", status=503, retry_after=seconds)
    found = reported(error, policy=RetryPolicy(max_wait_s=0))
    assert type(found) is UnavailableError
    assert numbers_in(found.message) == [exact, "0 s"]
    assert f" {rounded}" in (found.hint or "")
    # No longer wait can be set.
    can_raise = seconds <= MOST_WAIT_S
    assert found.remedy
    assert (found.remedy.setting, "max_wait_s" in found.remedy.text) == ("max_wait_s" if can_raise else None, can_raise)


def test_a_setting_that_cannot_be_raised_far_enough_is_not_named() -> None:
    error = UnavailableError("Busy.", status=503, retry_after=1000)
    found = reported(error, waited_s=3000, policy=RetryPolicy(max_wait_s=3500))
    assert "max_wait_s" not in (found.hint or "")


def test_a_wait_that_another_failure_asks_for_is_reported_as_a_rate_limit() -> None:
    assert type(reported(NetworkError("Lost.", never_sent=True, retry_after=500))) is RateLimitedError


def test_max_wait_s_limits_the_total_of_all_waits() -> None:
    error = UnavailableError("Busy.", status=503)
    assert wait(error, attempt=5, waited_s=112) == 8
    assert numbers_in(reported(error, attempt=5, waited_s=112.1).message) == ["5 times"]
    assert wait(UnavailableError("Busy.", status=503, retry_after=1), waited_s=500) is None


def test_the_message_names_the_attempts_only_if_there_was_more_than_one() -> None:
    error = UnavailableError("Busy.", status=503)
    assert reported(error, policy=RetryPolicy(max_attempts=1)).message == "Busy."
    assert reported(error, policy=RetryPolicy(max_wait_s=0)).message == "Busy."


def test_the_defaults() -> None:
    assert RetryPolicy() == RetryPolicy(max_attempts=6, max_wait_s=120)
    assert parsedate_to_datetime("Mon, 23 Nov 2026 21:00:00 GMT").timestamp() == NOW
