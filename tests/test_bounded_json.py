"""JSON parsed within bounds: everything that Python parses, and nothing that costs more than a response is worth."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from invokeai_external.transport import bounded_json
from invokeai_external.transport.bounded_json import MOST_VALUES, count_values, load


@pytest.fixture(autouse=True, scope="module")
def _small_steps() -> Iterator[None]:
    """So that short texts are cut out and cut up as long ones are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bounded_json, "_SLICE", 40)
        patch.setattr(bounded_json, "_LONG", 16)
        yield


signs = st.sampled_from(["a", '"', "\\", "/", "é", "🦊", "\n", "\ud83d", "b" * 20, "Infinity"])
texts = st.lists(signs, max_size=30).map("".join)
documents = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "data", "é"]), inner, max_size=3),
    max_leaves=10,
)


def _has_infinity(document: object) -> bool:
    if isinstance(document, dict | list):
        return any(map(_has_infinity, document.values() if isinstance(document, dict) else document))
    return document in (math.inf, -math.inf)


@given(documents, st.booleans(), st.booleans())
@example(document='"\ud83d\ud83dbbbbbbbbbbbbbbbbbbbb\ud83d\U0001f98a', ascii_only=True, escapes_slashes=False)
def test_it_parses_what_python_parses(document: object, ascii_only: bool, escapes_slashes: bool) -> None:
    text = json.dumps(document, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    if escapes_slashes:
        text = text.replace(b"/", b"\\/")
    try:
        found = load(text)
    except ValueError:
        # Beside a long text no number may be infinite, which JSON has not.
        assert _has_infinity(document)
        return
    assert repr(found) == repr(json.loads(text))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b'{"a": "' + b"x" * 100,
        b'{"a": "' + b"x" * 100 + b"\\",
        b'"' + b"\\" * 10_000 + b'"',
        b"\xff" * 100,
        b'["' + b"x" * 50 + b'", Infinity]',
        b'[-"' + b"x" * 50 + b'"]',
        b'{"' + b"x" * 50 + b'": 1}',
        b'"' + b"x" * 50 + b"\\q" + b'"',
        b"[" * 100_000,
    ],
)
def test_invalid_json_is_a_value_error_and_nothing_else(text: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        load(text)


def test_the_number_of_values_is_bounded() -> None:
    text = b"[" + b"0," * (MOST_VALUES - 2) + b"0]"
    found: Any = load(text)
    assert (len(found), count_values(text)) == (MOST_VALUES - 1, MOST_VALUES - 1)
    with pytest.raises(ValueError, match="too many values"):
        load(b"[" + b"0," * MOST_VALUES + b"0]")


def test_the_rest_besides_the_long_texts_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    long_text = b'"' + b"x" * 1000 + b'"'
    monkeypatch.setattr(bounded_json, "_MOST_REST", 500)
    assert load(b"[%b, %b]" % (long_text, long_text)) == ["x" * 1000] * 2
    with pytest.raises(ValueError, match="too much data"):
        load(b"[%b, %b%b]" % (long_text, b" " * 500, long_text))


def test_long_texts_are_bounded_by_the_memory_that_they_would_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_json, "_LONGEST_WIDE", 1000)
    monkeypatch.setattr(bounded_json, "_LONGEST_TEXT", 3000)
    monkeypatch.setattr(bounded_json, "_MOST_QUOTES", 2000)
    plain = b"x" * 3000
    assert load(b'"%b"' % plain) == "x" * 3000
    assert load(b'"%b\\n"' % plain[:1500]) == "x" * 1500 + "\n"
    for text in (plain[1:] + "é".encode(), plain[:1500] + b"\\u00e9", plain + b"x", plain + b"\\n", b'\\"' * 2001):
        with pytest.raises(ValueError, match=r"too long|unterminated"):
            load(b'"%b"' % text)


def test_a_number_of_thousands_of_digits_is_infinite() -> None:
    assert load(b"[" + b"1" * 100 + b"]") == [int("1" * 100)]
    assert load(b"[" + b"1" * 10_000 + b"]") == [math.inf]


def test_a_placeholder_within_a_text_is_text(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"data": ["Infinity", "-Infinity", "NaN", "A/+=" * 50], "Infinity": "x" * 50}
    assert load(json.dumps(told).replace("/", "\\/").encode()) == told


@pytest.mark.parametrize("letter", ["+", "=", "\\", '"', "\n"])
def test_a_long_text_may_have_characters_escaped_by_number(letter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_json, "_LONGEST_WIDE", 100)
    text = f"ab{letter}c" * 100
    escaped = json.dumps([text]).replace(letter, f"\\u{ord(letter):04X}") if letter in "+=" else json.dumps([text])
    assert load(escaped.encode()) == [text]
    with pytest.raises(ValueError, match="non-ASCII"):
        load(json.dumps([f"{text}é"]).encode())


@pytest.mark.parametrize("text", [b"a\tb\nc", b"a\tb\nc" * 50, b"a\tb\\/\nc" * 50])
def test_a_text_may_hold_line_ends_that_are_not_escaped(text: bytes) -> None:
    assert load(b'["%b"]' % text) == [text.replace(b"\\/", b"/").decode()]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "utf-16"])
def test_nuls_and_spaces_behind_json_are_ignored(encoding: str) -> None:
    assert load('{"a": "b"}\n\n\0\0\0\n'.encode(encoding)) == {"a": "b"}
    with pytest.raises(ValueError, match=r"JSON|delimiter|data"):
        load('{"a": "b"\0}'.encode(encoding))


@pytest.mark.parametrize(
    ("charset", "text", "found"),
    [
        ("iso-8859-1", "Grüße".encode("latin-1"), "Grüße"),
        ("gbk", "狐狸".encode("gbk"), "狐狸"),
        # Its second byte is a backslash.
        ("shift_jis", "ソ".encode("cp932"), "ソ"),
        ("iso-8859-1", "Grüße".encode(), "Grüße"),
        ("", b"Gr\xfc", "Gr\ufffd"),
        ("utf-8", b"Gr\xfc", "Gr\ufffd"),
        ("punycode", b"Gr\xfc", "Gr\ufffd"),
        ("unicode_escape", b"\xfc 5", "\ufffd 5"),
        ("gbk", b"\xff", "\ufffd"),
    ],
)
def test_text_that_is_not_utf8_is_read_by_its_charset_or_replaced(charset: str, text: bytes, found: str) -> None:
    assert load(b'{"a": "%b"}' % text, charset) == {"a": found}
    assert load(b'{"a": "%b|"}' % text + b" " * 200, charset) == {"a": f"{found}|"}
    assert load(b'{"a": "%b|%b|"}' % (b"x" * 400, text), charset) == {"a": f"{'x' * 400}|{found}|"}


@pytest.mark.parametrize("depth", [2000, 60_000])
@pytest.mark.parametrize(
    "nested", [("[", "]"), ('{"]": ', "}"), ('{"a\\"": [', "]}")], ids=["lists", "objects", "both"]
)
def test_what_is_nested_too_deeply_is_null_and_loses_nothing_beside_it(nested: tuple[str, str], depth: int) -> None:
    begin, end = nested
    deep = begin * depth + "1" + end * depth
    for body in (
        f'{{"data": "{"x" * 50}", "x": {deep}, "y": "}}["}}',
        f'{{"x": {deep}, "y": "}}[", "data": "{"x" * 50}"}}',
    ):
        found: Any = load(body.encode())
        assert (found["data"], found["y"]) == ("x" * 50, "}[")
        assert "None" in repr(found["x"])
        with pytest.raises(ValueError, match=r"nested|Expecting|delimiter|unterminated"):
            load(body[:-1].encode())
