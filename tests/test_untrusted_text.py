"""Text from outside is fit to be shown, whatever is in it."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invokeai_external.untrusted_text import ID, QUOTE, fit_to_show, printable, quoted, shows_nothing

KEY = "my-own-gateway-key"
ANYTHING = st.text(st.characters() | st.sampled_from("\x1b\x9b\u202e\u2066\u200b\u200d\u00ad\ud800\n\r\u2028 a日"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mb\x07\x00\x7f", "a[31mb"),
        ("a\x9b31mb\x90\x9d", "a31mb"),
        ("a\u202eb\u2066c\u2069\u200f", "abc"),
        ("a\u200bb\ufeffc\u2060d\u00ade\u034ff\u3164\U000e0041", "abcdef"),
        ("\ud83e a \udc9b", "? a ?"),
        ("one\r\ntwo\rthree\x85four\u2028five\x0bsix\tseven", "one\ntwo\nthree\nfour\nfive\nsix\tseven"),
        *((text, text) for text in ("naïve 狐 🦊 ❤\ufe0f", "👨\u200d👩\u200d👧", "क्\u200cष", "日本\u3000語\u00a0x")),
        # Joiners that join nothing.
        ("a\u200db \u200d日\u200d 日\u200d\u200c\u200d日 日\u202e\u200d", "ab 日 日\u200d日 日"),
    ],
)
def test_nothing_acts_on_a_terminal_or_is_hidden(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert fit_to_show(text, keeps_lines=True) == shown


@given(ANYTHING)
def test_whatever_it_is_it_can_be_printed_and_stays_so(text: str) -> None:
    shown = printable(text)
    assert not {unicodedata.category(sign) for sign in shown} & {"Cs", "Zl", "Zp"}
    hidden = [sign for sign in shown if unicodedata.category(sign) in {"Cc", "Cf"}]
    assert set(hidden) <= set("\n\t\u200c\u200d")
    assert printable(shown) == shown
    line = fit_to_show(text)
    assert line == " ".join(line.split())
    assert len(line) <= QUOTE + 1


@pytest.mark.parametrize("value", [None, 1, 1.5, True, b"text", ["text"], {"text": 1}])
def test_what_is_not_text_is_empty(value: object) -> None:
    assert fit_to_show(value) == ""


def test_one_line_has_single_spaces() -> None:
    assert fit_to_show("  one\n\n  two\tthree ") == "one two three"
    assert fit_to_show(" one\n\n  two ", keeps_lines=True) == " one\n\n  two "


@pytest.mark.parametrize(
    ("text", "most", "shown"),
    [
        ("a red fox", 9, "a red fox"),
        ("a red fox", 8, "a red…"),
        ("a red fox", 5, "a red…"),
        ("a red fox", 6, "a red…"),
        ("狐" * 10, 4, "狐狐狐狐…"),
        ("x" * 10, 4, "…"),
        ("\u200b" * 1000, 4, "…"),
    ],
)
def test_a_long_text_is_cut_between_two_words(text: str, most: int, shown: str) -> None:
    assert fit_to_show(text, most) == shown


@given(st.integers(0, 40), st.text("\u200b\x1b \n狐", max_size=9), st.integers(1, 60))
def test_no_part_of_a_key_is_left_at_the_cut(before: int, hidden: str, most: int) -> None:
    for key in (KEY, "sk-proj-0123456789abcdef"):
        shown = fit_to_show("狐 " * before + hidden + key + " and more words", most, key=KEY)
        assert key[:4] not in shown


def test_a_key_is_found_though_hidden_characters_are_in_it() -> None:
    assert fit_to_show("key: my-own-\u200bgateway\x00-key!", key=KEY) == "key: [key]!"


def test_a_key_is_removed_before_the_text_is_cut() -> None:
    assert fit_to_show(f"{'x ' * 60}{KEY}", ID, key=KEY) == f"{'x ' * 60}[key]"


def test_a_text_of_a_hundred_megabytes_is_not_read_to_its_end() -> None:
    text = "\x9b" * 100_000_000
    assert fit_to_show(text) == "…"


@pytest.mark.parametrize(
    "text", ["", " \n\t", "\u200b \x07\ufeff", "\u200d", "\u2800\u3164", "\ufe0f\u0301", "\x1b\x9b\u202e"]
)
def test_what_nobody_sees_shows_nothing(text: str) -> None:
    assert shows_nothing(text)


@pytest.mark.parametrize("text", ["a", "\u200b.", "狐", "🦊", "❤\ufe0f", "e\u0301", "क्"])
def test_one_character_to_see_is_enough(text: str) -> None:
    assert not shows_nothing(text)


@pytest.mark.parametrize(
    ("value", "shown"),
    [("big", "'big'"), ("a\x1b[31m", "'a[31m'"), (-1, "-1"), (0.5, "0.5"), ("x" * 100_000, "'…'"), (10**4000, "…")],
)
def test_a_value_is_quoted_without_its_control_codes_and_its_length(value: object, shown: str) -> None:
    assert quoted(value) == shown
