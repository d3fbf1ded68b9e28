"""Trying again: which failures, after how long, and when never."""

from __future__ import annotations

import math
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
from invokeai_external.transport.retry import (
    RetryPolicy,
    asked_wait,
    seconds_before_retry,
    should_retry_header,
    wait_in_words,
)

NOW = datetime(2026, 11, 23, 21, 0, 0, tzinfo=UTC).timestamp()

headers = st.text(st.characters(max_codepoint=255), max_size=40)


def wait(
    error: ProviderError,
    *,
    attempt: int = 1,
    waited_s: float = 0,
    policy: RetryPolicy = RetryPolicy(),  # noqa: B008 - a frozen value
    dice: float = 0,
) -> float | None:
    """The seconds before the next try; None if the error is told instead."""
    try:
        return seconds_before_retry(error, attempt=attempt, waited_s=waited_s, policy=policy, dice=dice)
    except ProviderError:
        return None


def told(
    error: ProviderError,
    *,
    attempt: int = 1,
    waited_s: float = 0,
    policy: RetryPolicy = RetryPolicy(),  # noqa: B008 - a frozen value
) -> ProviderError:
    """The error that the user is told, where there is no next try."""
    with pytest.raises(ProviderError) as caught:
        seconds_before_retry(error, attempt=attempt, waited_s=waited_s, policy=policy, dice=0)
    return caught.value


# What an answer asks for.


@pytest.mark.parametrize(
    ("said", "seconds"),
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
def test_every_form_of_retry_after(said: dict[str, str], seconds: float | None) -> None:
    assert asked_wait(said, now=NOW) == seconds


@pytest.fixture
def far_east() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "JST-9")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the zone of a process cannot be changed here")
@pytest.mark.usefixtures("far_east")
def test_a_date_without_a_zone_is_in_utc_wherever_the_machine_stands() -> None:
    assert asked_wait({"retry-after": "Mon Nov 23 21:00:05 2026"}, now=NOW) == 5


@settings(deadline=None)
@given(st.floats(0.001, 1e9))
def test_any_number_of_seconds_or_milliseconds_is_read(seconds: float) -> None:
    assert asked_wait({"retry-after": repr(seconds)}, now=NOW) == seconds
    assert asked_wait({"retry-after-ms": repr(seconds)}, now=NOW) == seconds / 1000


@settings(deadline=None)
@given(st.integers(1, 10**8))
def test_any_date_to_come_is_read(seconds: int) -> None:
    date = format_datetime(datetime.fromtimestamp(NOW + seconds, UTC), usegmt=True)
    assert asked_wait({"retry-after": date}, now=NOW) == seconds


@settings(deadline=None)
@given(ms=headers, after=headers, flag=headers)
@example(ms="1" * 400, after="Mon, 23 Nov 9999999 21:00:30 GMT", flag="")
@example(ms="", after="23 Nov 2026 21:00:30 +9999", flag="TRUE")
def test_junk_never_raises(ms: str, after: str, flag: str) -> None:
    seconds = asked_wait({"retry-after-ms": ms, "retry-after": after}, now=NOW)
    assert seconds is None or (seconds > 0 and math.isfinite(seconds))
    assert should_retry_header({"x-should-retry": flag}) in (None, True, False)


@settings(deadline=None)
@given(st.lists(st.sampled_from([*"0123456789:,+-. ", "Mon", "Nov", "2026", "GMT", "23", "21:00:30"]), max_size=12))
def test_a_garbled_date_never_raises(parts: list[str]) -> None:
    text = "".join(parts)
    seconds = asked_wait({"retry-after": text}, now=NOW)
    if seconds is not None:
        assert seconds > 0
        assert any(character.isdigit() for character in text)


@pytest.mark.parametrize(
    ("said", "word"),
    [("true", True), (" False ", False), ("", None), ("maybe", None), ("1", None)],
)
def test_the_provider_s_own_word_on_trying_again(said: str, word: bool | None) -> None:
    assert should_retry_header({"x-should-retry": said}) is word
    assert should_retry_header({}) is None


@pytest.mark.parametrize(
    ("words", "seconds"),
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
def test_a_wait_that_stands_in_words(words: str, seconds: float | None) -> None:
    assert wait_in_words(words) == (None if seconds is None else pytest.approx(seconds))


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["try again", "wait", " in ", " after ", "5", ".", "s", "ms", " ", "9" * 30]), max_size=30)
)
def test_no_words_raise(parts: list[str]) -> None:
    seconds = wait_in_words("".join(parts))
    assert seconds is None or 0 < seconds < 1e10


# Which failures.


@pytest.mark.parametrize("status", [409, 429, 500, 502, 503, 529])
def test_these_statuses_are_tried_again_unless_the_provider_says_no(status: int) -> None:
    assert wait(UnavailableError("Busy.", status=status)) == 0.5
    assert wait(UnavailableError("Busy.", status=status, should_retry=False)) is None


@pytest.mark.parametrize("status", [409, 429, 500, 503, 504])
def test_what_may_have_been_billed_is_never_sent_again_whatever_the_answer_says(status: int) -> None:
    error = UnavailableError("Gone.", status=status, should_retry=True, retry_after=1, may_be_billed=True)
    assert told(error) is error


@pytest.mark.parametrize("status", [400, 404, 413, 422])
def test_other_statuses_are_not_unless_the_provider_says_yes(status: int) -> None:
    assert wait(RejectedRequestError("No.", status=status)) is None
    assert wait(RejectedRequestError("No.", status=status, should_retry=True)) == 0.5


@pytest.mark.parametrize("kind", [AuthenticationError, ContentBlockedError, ModelRetiredError, QuotaError])
def test_what_no_waiting_cures_is_told_at_once_whatever_the_answer_says(kind: type[ProviderError]) -> None:
    error = kind("No.", status=429, should_retry=True, retry_after=1)
    assert told(error) is error
    assert error.message == "No."


@pytest.mark.parametrize("kind", [NetworkError, TimedOutError])
def test_what_was_never_sent_is_tried_again_and_what_may_have_been_billed_is_not(kind: type[ProviderError]) -> None:
    assert wait(kind("Lost.", never_sent=True)) == 0.5
    assert wait(kind("Lost.")) is None
    assert wait(kind("Lost.", should_retry=True, retry_after=1)) is None


@pytest.mark.parametrize("status", [200, 302])
def test_an_answer_without_an_error_is_never_asked_for_again(status: int) -> None:
    assert wait(InvalidResponseError("The answer holds no pictures.", status=status, should_retry=True)) is None


def test_a_run_that_was_stopped_stays_stopped() -> None:
    assert wait(CancelledError("Stopped.")) is None


# How long.


def test_the_waits_double_up_to_a_limit_and_the_sixth_failure_is_told() -> None:
    error = UnavailableError("Busy.", status=503)
    waits = [wait(error, attempt=attempt) for attempt in range(1, 6)]
    assert waits == [0.5, 1, 2, 4, 8]
    patient = RetryPolicy(max_attempts=20)
    assert wait(error, attempt=6, policy=patient) == wait(error, attempt=19, policy=patient) == 8
    assert told(error, attempt=6).message == "Busy (tried 6 times)."


@settings(deadline=None)
@given(st.integers(1, 5), st.floats(0, 1))
def test_the_dice_take_up_to_a_quarter_off(attempt: int, dice: float) -> None:
    seconds = wait(UnavailableError("Busy.", status=503), attempt=attempt, dice=dice)
    full = {1: 0.5, 2: 1.0, 3: 2.0, 4: 4.0, 5: 8.0}[attempt]
    assert seconds is not None
    assert full * 0.75 <= seconds <= full
    assert wait(UnavailableError("Busy.", status=503), attempt=attempt, dice=1) == full * 0.75


def test_an_asked_wait_is_kept_to_the_second() -> None:
    assert wait(RateLimitedError("Slow down.", status=429, retry_after=119.5), dice=1) == 119.5
    assert wait(RateLimitedError("Slow down.", status=429, retry_after=120)) == 120
    assert wait(NetworkError("Lost.", never_sent=True, retry_after=3)) == 3


def test_an_asked_wait_beyond_what_is_left_is_told_with_both_numbers() -> None:
    error = RateLimitedError(
        "OpenAI asks to slow down.",
        provider="openai",
        model="gpt-image-2",
        status=429,
        request_id="req_1",
        retry_after=90.25,
    )
    found = told(error, waited_s=70.5)
    assert str(found) == (
        "OpenAI asks to slow down, and asks to wait 90.2 s, longer than the 49.5 s that are left for it. "
        "Try again in 2 minutes, or raise max_wait_s in invokeai_external.yaml."
    )
    assert (found.provider, found.model, found.status, found.request_id) == ("openai", "gpt-image-2", 429, "req_1")
    assert (type(found), found.retry_after) == (RateLimitedError, 90.25)


@pytest.mark.parametrize(
    ("seconds", "asks", "hint"),
    [
        (0.4, "0.4 s", "in a second"),
        (1, "1 s", "in a second"),
        (45.1, "45.1 s", "in 46 seconds"),
        (121, "121 s", "in 3 minutes"),
        (3600, "3,600 s", "in 60 minutes"),
        (1_000_000, "1,000,000 s", "in 278 hours"),
    ],
)
def test_a_long_wait_is_told_in_words(seconds: float, asks: str, hint: str) -> None:
    error = UnavailableError("Busy.", status=503, retry_after=seconds)
    found = told(error, policy=RetryPolicy(max_wait_s=0))
    assert type(found) is UnavailableError
    assert f"asks to wait {asks}, longer than the 0 s that are left for it." in found.message
    assert found.hint == f"Try again {hint}, or raise max_wait_s in invokeai_external.yaml."


def test_a_wait_asked_by_another_failure_is_told_as_a_limit_of_the_rate() -> None:
    assert type(told(NetworkError("Lost.", never_sent=True, retry_after=500))) is RateLimitedError


def test_the_budget_holds_for_all_waits_together() -> None:
    error = UnavailableError("Busy.", status=503)
    assert wait(error, attempt=5, waited_s=112) == 8
    assert told(error, attempt=5, waited_s=112.1).message == "Busy (tried 5 times)."
    assert wait(UnavailableError("Busy.", status=503, retry_after=1), waited_s=500) is None


def test_a_single_try_is_not_counted_aloud() -> None:
    error = UnavailableError("Busy.", status=503)
    assert told(error, policy=RetryPolicy(max_attempts=1)).message == "Busy."
    assert told(error, policy=RetryPolicy(max_wait_s=0)).message == "Busy."


def test_the_limits_as_they_come() -> None:
    assert RetryPolicy() == RetryPolicy(max_attempts=6, max_wait_s=120)
    assert parsedate_to_datetime("Mon, 23 Nov 2026 21:00:00 GMT").timestamp() == NOW
