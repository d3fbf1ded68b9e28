"""No key is ever shown: neither the key in use nor anything that looks like a key."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from invokeai_external.adapters.base import Answer, AnswerImage, Source
from invokeai_external.errors import ExternalError, RateLimitedError
from invokeai_external.service.calls import shown_answer
from invokeai_external.transport.redaction import redacted
from invokeai_external.untrusted_text import without_keys

KEY = "my-own-gateway-key"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"The key {KEY} is wrong.", "The key [key] is wrong."),
        (f"?key={KEY}&x=1", "?key=[key]&x=1"),
        ("Incorrect API key provided: sk-proj-abc_DEF-1234567890.", "Incorrect API key provided: [key]."),
        ("Incorrect API key provided: sk-proj-********************abcd.", "Incorrect API key provided: [key]."),
        ("API key AIzaSyD-1234567890_abcdef not valid", "API key [key] not valid"),
        ("token AQ.Ab8RN6K-0123456789_x", "token [key]"),
        ("Authorization: Bearer eyJhbGciOi.J9-payload_x", "Authorization: [key]"),
        # Text that only resembles a key.
        ("A risk-management desk-lamp", "A risk-management desk-lamp"),
        ("sk-1234", "sk-1234"),
        ("Bearer auth is missing", "Bearer auth is missing"),
        ("gpt-image-2 refused task-sketching", "gpt-image-2 refused task-sketching"),
    ],
)
def test_a_text_is_shown_without_keys(text: str, shown: str) -> None:
    assert without_keys(text, KEY) == shown


@settings(deadline=None)
@given(st.text(max_size=30), st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=16), st.text())
def test_no_key_of_any_form_is_shown(before: str, key: str, after: str) -> None:
    assert key not in without_keys(f"{before}{key}{after}", key)


@pytest.mark.parametrize(
    ("text", "key", "shown"),
    [
        # Not a secret: its letters are also in ids and in names of models.
        ("serious errors of sandbox req_sandbox_1", "s", "serious errors of sandbox req_sandbox_1"),
        ("req_sandbox_1", "sandbox", "req_sandbox_1"),
        # A short one is removed only as a separate word.
        ("the key gateway-key1 is wrong", "gateway-key1", "the key [key] is wrong"),
        ("?key=gateway-key1&x", "gateway-key1", "?key=[key]&x"),
        ("req_gateway-key1_77 of my-gateway-key1", "gateway-key1", "req_gateway-key1_77 of my-gateway-key1"),
    ],
)
def test_the_letters_of_a_short_key_are_removed_only_where_it_is_a_whole_word(text: str, key: str, shown: str) -> None:
    assert without_keys(text, key) == shown


def test_without_a_key_in_use_other_keys_are_still_removed() -> None:
    assert without_keys("plain text, sk-0123456789abcdef", "") == "plain text, [key]"


def test_no_part_of_an_error_shows_a_key() -> None:
    error = RateLimitedError(
        f"OpenAI said: {KEY}.", remedy=f"Check {KEY}.", request_id=f"req-{KEY}", status=429, retry_after=3
    )
    found = redacted(error, KEY)
    assert type(found) is RateLimitedError
    assert (found.message, found.hint, found.request_id) == ("OpenAI said: [key].", "Check [key].", "req-[key]")
    assert (str(found), found.args) == ("OpenAI said: [key]. Check [key].", ("OpenAI said: [key].",))
    assert KEY not in repr(found)
    assert (found.status, found.retry_after) == (429, 3)
    bare = redacted(ExternalError("No key."), KEY)
    assert (bare.message, bare.hint, bare.request_id) == ("No key.", None, None)


def test_no_text_of_a_response_contains_a_key() -> None:
    images = (AnswerImage(KEY.encode(), revised_prompt=f"a fox, {KEY}"), AnswerImage(url="https://a.example/b"))
    pages = Source("https://a.example/", f"About {KEY}"), Source(f"https://a.example/?key={KEY}", "A link with the key")
    answer = Answer(
        images=images,
        request_id=f"r-{KEY}",
        model_version=KEY,
        text="sk-0123456789abcdef",
        searches=(f"what is {KEY}",),
        sources=pages,
    )
    assert shown_answer(answer, KEY) == Answer(
        images=(AnswerImage(KEY.encode(), revised_prompt="a fox, [key]"), images[1]),
        request_id="r-[key]",
        model_version="[key]",
        text="[key]",
        searches=("what is [key]",),
        sources=(Source("https://a.example/", "About [key]"),),
    )
    assert shown_answer(Answer(images=()), KEY) == Answer(images=())
