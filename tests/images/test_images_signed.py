"""Whether a file carries Content Credentials, which hold only as long as no byte of it changes."""

from __future__ import annotations

import struct

import pytest

from invokeai_external.images.formats.containers import is_signed
from invokeai_external.images.inputs import prepare_input
from invokeai_external.images.inspect import inspect_image
from invokeai_external.images.text_chunks import embed_text

from ..support.samples import encoded, painted, with_chunks
from ..support.signing import signed, validation_state

FORMATS = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
PLAIN = {kind: encoded(painted("RGB", (40, 30)), kind) for kind in FORMATS}
C2PA = bytes.fromhex("63327061001100108000 00aa00389b71")
OTHER = bytes.fromhex("6a736f6e001100108000 00aa00389b71")
"""The type of a JUMBF box with JSON (ISO 19566-5, table B.1)."""


def app11(body: bytes) -> bytes:
    """The plain JPEG with an APP11 segment after its first marker."""
    data = PLAIN["JPEG"]
    return data[:2] + b"\xff\xeb" + struct.pack(">H", len(body) + 2) + body + data[2:]


def jumbf(kind: bytes, header: bytes = b"JP\0\1\0\0\0\1") -> bytes:
    description = struct.pack(">I4s", 25, b"jumd") + kind + b"\0"
    return header + struct.pack(">I4s", 8 + len(description), b"jumb") + description


@pytest.mark.parametrize("kind", FORMATS)
def test_a_signed_file_is_recognised(kind: str) -> None:
    mime_type = FORMATS[kind]
    carrying = signed(PLAIN[kind], mime_type)
    assert validation_state(carrying, mime_type) == "Valid"
    assert is_signed(carrying)
    assert not is_signed(PLAIN[kind])
    assert inspect_image(carrying, max_pixels=10**6).is_signed
    assert not inspect_image(PLAIN[kind], max_pixels=10**6).is_signed


@pytest.mark.parametrize("kind", FORMATS)
def test_control_one_more_text_makes_the_credentials_invalid(kind: str) -> None:
    mime_type = FORMATS[kind]
    written = embed_text(signed(PLAIN[kind], mime_type), {"invokeai_metadata": "{}"})
    assert validation_state(written, mime_type) == "Invalid"


@pytest.mark.parametrize("kind", FORMATS)
def test_what_is_sent_carries_no_credentials(kind: str) -> None:
    sent = prepare_input(signed(PLAIN[kind], FORMATS[kind]), max_bytes=10**6).data
    assert not is_signed(sent)
    assert validation_state(sent, FORMATS[kind]) == ""


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (jumbf(C2PA), True),
        (b"JP\0\1\0\0\0\1" + struct.pack(">I4sQ", 1, b"jumb", 41) + struct.pack(">I4s", 25, b"jumd") + C2PA, True),
        (jumbf(OTHER), False),
        (b"HDR_RI ver=11\0c2pa" + C2PA, False),
        (jumbf(C2PA, header=b"XX\0\1\0\0\0\1"), False),
        (jumbf(C2PA)[:30], False),
        (b"", False),
    ],
    ids=["c2pa", "extended length", "JSON", "HDR", "no JUMBF", "cut off", "empty"],
)
def test_only_app11_segments_of_c2pa_count(body: bytes, expected: bool) -> None:
    assert is_signed(app11(body)) is expected


def test_the_same_letters_elsewhere_do_not_count() -> None:
    assert not is_signed(with_chunks(PLAIN["PNG"], (b"tEXt", b"Title\0caBX C2PA " + jumbf(C2PA))))
    assert not is_signed(embed_text(PLAIN["JPEG"], {"Title": "JP jumb jumd c2pa"}))
    assert not is_signed(embed_text(PLAIN["WEBP"], {"Title": "C2PA"}))


@pytest.mark.parametrize("data", [b"", b"no image", PLAIN["PNG"][:60], PLAIN["JPEG"][:60], PLAIN["WEBP"][:60]])
def test_an_incomplete_image_is_not_signed(data: bytes) -> None:
    assert not is_signed(data)
