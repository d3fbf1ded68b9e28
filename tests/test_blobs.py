"""Images decoded while a response arrives: the result equals that of a plain parser, whatever the pieces are."""

from __future__ import annotations

import base64
import json
import math
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pybase64
import pytest
from hypothesis import given
from hypothesis import strategies as st

from invokeai_external.adapters.base64_text import decode_base64
from invokeai_external.transport import blobs
from invokeai_external.transport.blobs import BodyReader

PICTURE = bytes(range(256)) * 3 + b"\xff\xfe"
STANDARD = base64.b64encode(PICTURE).decode()
FOR_URLS = base64.urlsafe_b64encode(PICTURE).decode()


@pytest.fixture(params=["pydantic", "pybase64"], autouse=True, scope="module")
def _decoder(request: pytest.FixtureRequest) -> Iterator[None]:
    decode: dict[str, Callable[[bytes], bytes]] = {
        "pydantic": blobs._decode_with_pydantic,
        "pybase64": partial(pybase64.b64decode, altchars=None, validate=True),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blobs, "_decode", decode[request.param])
        yield


def read(pieces: list[bytes], length: int | None = None) -> BodyReader:
    reader = BodyReader()
    reader.length = length
    for piece in pieces:
        reader.feed(piece)
    return reader


def plainly(body: bytes) -> object:
    """What a plain parser reads that allows for what relays do: line ends and tabs within a text, bytes that are not
    UTF-8, zero bytes behind the end. Raises ValueError."""
    try:
        return json.loads(body, strict=False)
    except ValueError:
        return json.loads(body.rstrip(b"\0").decode("utf-8", "replace"), strict=False)


def cut(body: bytes, size: int) -> list[bytes]:
    return [body[start : start + size] for start in range(0, len(body), size)]


def same(found: Any, plain: Any) -> bool:
    """True if a document equals that of a plain parser, except for images, which are decoded already."""
    if isinstance(found, bytes):
        return isinstance(plain, str) and decode_base64(plain) == found
    if isinstance(found, dict):
        return list(found) == list(plain) and all(same(value, plain[name]) for name, value in found.items())
    if isinstance(found, list):
        return len(found) == len(plain) and all(map(same, found, plain))
    if isinstance(found, float) and math.isnan(found):
        return isinstance(plain, float) and math.isnan(plain)
    return type(found) is type(plain) and bool(found == plain)


def held(body: bytes, pieces: list[bytes], length: int | None = None) -> None:
    reader = read(pieces, length)
    document = reader.document()
    if document is not None:
        assert same(document, plainly(body))
    assert reader.body() == body
    assert reader.document() is None


@st.composite
def cuts(draw: st.DrawFn, body: bytes) -> list[bytes]:
    places = sorted(draw(st.sets(st.integers(0, len(body)), max_size=12)))
    return [body[start:end] for start, end in zip([0, *places], [*places, len(body)], strict=True)]


# Base64 as providers and others write it, and what only looks like it.
encoded = st.builds(
    lambda data, encode, padding: encode(data).decode().rstrip("=") + padding,
    st.binary(max_size=60),
    st.sampled_from([base64.b64encode, base64.urlsafe_b64encode]),
    st.sampled_from(["", "=", "==", "==="]),
)
values = st.one_of(
    st.builds(lambda data: base64.b64encode(data).decode(), st.binary(max_size=60)),
    encoded,
    st.text(alphabet='ABab01+/-_= \n"\\,:ü=', max_size=12),
    st.builds("{}{}".format, st.just("data:image/png;base64,"), encoded),
)
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), values)
documents = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["data", "b64_json", "inlineData", '"data', "text"]), inner, max_size=4),
    ),
    max_leaves=8,
)
bodies = st.builds(
    lambda document, indent, colon, ascii_only: json.dumps(
        document, indent=indent, separators=(",", colon), ensure_ascii=ascii_only
    ).encode("utf-8"),
    documents,
    st.sampled_from([None, 1]),
    st.sampled_from([":", ": ", " \n:\t "]),
    st.booleans(),
)


@given(st.data(), bodies, st.none() | st.integers(0, 2000) | st.just(sys.maxsize))
def test_any_json_is_parsed_as_by_a_plain_parser(data: st.DataObject, body: bytes, length: int | None) -> None:
    """Whatever its response says about its length."""
    held(body, data.draw(cuts(body)), length)


@given(st.data(), bodies, st.binary(max_size=3), st.integers(0, 3))
def test_any_damage_is_left_to_the_plain_parser(data: st.DataObject, body: bytes, put_in: bytes, left_out: int) -> None:
    place = data.draw(st.integers(0, len(body)))
    damaged = body[:place] + put_in + body[place + left_out :]
    pieces = data.draw(cuts(damaged))
    reader = read(pieces)
    try:
        plain = plainly(damaged)
    except ValueError:
        assert reader.document() is None
        assert reader.body() == damaged
    else:
        assert (document := reader.document()) is None or same(document, plain)
        held(damaged, pieces)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64, 100, 10_000])
@pytest.mark.parametrize("text", [STANDARD, FOR_URLS, STANDARD.rstrip("="), FOR_URLS.rstrip("="), "AAAA" + FOR_URLS])
@pytest.mark.parametrize("length", [None, 0, 60, 100_000])
def test_an_image_is_decoded_from_pieces_of_any_size(text: str, size: int, length: int | None) -> None:
    answer = {"created": 1, "data": [{"b64_json": text, "url": None}, {"b64_json": STANDARD}], "usage": {"n": 2}}
    document = read(cut(json.dumps(answer).encode(), size), length).document()
    first = decode_base64(text)
    assert document == {**answer, "data": [{"b64_json": first, "url": None}, {"b64_json": PICTURE}]}


def test_the_image_of_gemini_is_decoded_and_its_signature_is_not() -> None:
    part = {"thoughtSignature": STANDARD, "inlineData": {"mimeType": "image/png", "data": STANDARD}}
    document: Any = read([json.dumps({"candidates": [{"content": {"parts": [part]}}]}, indent=2).encode()]).document()
    found = document["candidates"][0]["content"]["parts"][0]
    assert found == {"thoughtSignature": STANDARD, "inlineData": {"mimeType": "image/png", "data": PICTURE}}


@pytest.mark.parametrize(
    "value",
    [
        f"data:image/png;base64,{STANDARD}",
        STANDARD[:100] + " " + STANDARD[100:],
        STANDARD[:100] + "\n" + STANDARD[100:],
        STANDARD[:100] + "ü" + STANDARD[100:],
        STANDARD + FOR_URLS,
        FOR_URLS + STANDARD,
        STANDARD + "=A",
        STANDARD[:102] + "==" + STANDARD[102:],
        STANDARD + "A",
        "no base64",
    ],
)
def test_a_text_that_is_not_plain_base64_is_returned_as_it_arrived(value: str) -> None:
    body = json.dumps({"b64_json": STANDARD, "data": value}).encode()
    for size in (1, 64, 10_000):
        reader = read(cut(body, size))
        assert reader.document() is None
        assert reader.body() == body


@pytest.mark.parametrize(
    "body",
    [
        b'{"data":"' + STANDARD.encode(),
        b'{"data":"' + STANDARD.encode() + b'"',
        b'{"data":"' + STANDARD.encode() + b'"}}',
        b'{"data":"' + STANDARD.encode() + b'","x":-Infinity}',
        '{"data":"AAAA"}'.encode("utf-16"),
        b'{"x":"\\"data":"AAAA"}',
        b"",
        b"<html>",
    ],
)
def test_a_body_that_is_cut_off_or_odd_is_returned_as_it_arrived(body: bytes) -> None:
    for size in (1, 64, 1_000_000):
        reader = read(cut(body, size))
        assert reader.document() is None
        assert reader.body() == body


TWO_IMAGES = {
    "created": 1,
    "data": [{"b64_json": STANDARD, "revised_prompt": "{[ü"}, {"b64_json": FOR_URLS}],
    "usage": {"input_tokens": 50, "output_tokens": 1056},
}
OF_GEMINI = {
    "candidates": [
        {
            "content": {"parts": [{"text": "]}"}, {"inlineData": {"mimeType": "image/png", "data": STANDARD}}]},
            "finishReason": "STOP",
        }
    ],
    "usageMetadata": {"promptTokenCount": 5},
}


@pytest.mark.parametrize("answer", [TWO_IMAGES, OF_GEMINI], ids=["OpenAI", "Gemini"])
@pytest.mark.parametrize("end", [b"", b"\0\xff", b'<"x', b"<html>"], ids=repr)
def test_a_body_that_ends_anywhere_keeps_the_images_before_that(answer: dict[str, Any], end: bytes) -> None:
    body = json.dumps(answer, ensure_ascii=False).encode()
    quotes = [body.index(text.encode()) + len(text) for text in (STANDARD, FOR_URLS) if text.encode() in body]
    for length in range(len(body)):
        reader = read([body[:length] + end])
        assert reader.document() is None
        whole = sum(quote < length for quote in quotes)
        assert reader.has_image == (whole > 0)
        document: Any = reader.document_up_to_image()
        if not whole:
            assert document is None
        elif "data" in answer:
            images = [{"b64_json": PICTURE, "revised_prompt": "{[ü"}, {"b64_json": PICTURE}]
            assert document == {"created": 1, "data": images if whole == 2 else [{"b64_json": PICTURE}]}
        else:
            parts = [{"text": "]}"}, {"inlineData": {"mimeType": "image/png", "data": PICTURE}}]
            assert document == {"candidates": [{"content": {"parts": parts}}]}


@pytest.mark.parametrize(
    "body",
    [b'{"data":""', b'{x,"data":"AAAA"', b'{"y":-Infinity,"data":"AAAA"', b'{"x":"y"data":"AAAA"', b'["data":"AAAA"'],
    ids=repr,
)
def test_json_that_is_broken_before_its_image_is_not_parsed(body: bytes) -> None:
    assert read([body]).document_up_to_image() is None


def test_a_response_with_hundreds_of_images_is_returned_as_it_arrived() -> None:
    body = json.dumps({"data": [{"b64_json": "AAAA"}] * 101}).encode()
    for size in (7, 10_000):
        assert read(cut(body, size)).document() is None
        assert read(cut(body, size)).body() == body
    document: Any = read([json.dumps({"data": [{"b64_json": "AAAA"}] * 100}).encode()]).document()
    assert len(document["data"]) == 100


def test_numbers_that_only_python_accepts_are_still_parsed() -> None:
    document: Any = read([b'{"a": NaN, "data": "AAAA", "b": Infinity}']).document()
    assert math.isnan(document["a"])
    assert (document["data"], document["b"]) == (bytes(3), math.inf)


def test_the_decoder_is_the_fastest_one_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    fastest = blobs._decoder()
    assert isinstance(fastest, partial)
    assert fastest.func is pybase64.b64decode
    monkeypatch.setitem(sys.modules, "pybase64", None)
    assert blobs._decoder() is blobs._decode_with_pydantic
