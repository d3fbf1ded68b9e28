"""Server-sent events, however a server writes them and wherever the network cuts them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invokeai_external.transport.sse import EventReader, is_stream


def events_of(*chunks: bytes) -> list[bytes]:
    """The data of each event, its pieces put together."""
    reader = EventReader()
    events: list[bytes] = []
    event: list[bytes] = []
    pieces: list[bytes | None] = [data for chunk in chunks for data in reader.feed(chunk)]
    for data in (*pieces, *reader.end()):
        if data is None:
            events.append(b"".join(event))
            event = []
        else:
            event.append(data)
    return events


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: one\n\ndata: two\n\n", [b"one", b"two"]),
        (b"data: one\r\n\r\ndata: two\r\n\r\n", [b"one", b"two"]),
        (b"data: one\r\rdata: two\r\r", [b"one", b"two"]),
        (b"event: name\nid: 7\nretry: 5\ndata: one\n\n", [b"one"]),
        (b": keep-alive\n\n: keep-alive\n\ndata: one\n\n", [b"one"]),
        (b"data: first line\ndata: second line\n\n", [b"first line\nsecond line"]),
        (b"data:no space\n\ndata:  two spaces\n\n", [b"no space", b" two spaces"]),
        (b"data: a: b\n\n", [b"a: b"]),
        (b"data\n\n", [b""]),
        (b"\xef\xbb\xbfdata: behind a mark\n\n", [b"behind a mark"]),
        (b"event: nothing\n\n", []),
        (b"", []),
        (b"data: one\n\ndata: whole line, no empty one\n", [b"one", b"whole line, no empty one"]),
        (b"data: one\n\ndata: cut o", [b"one", b"cut o"]),
        (b"data\ndata:\ndata: \ndata: three\n\n", [b"\n\n\nthree"]),
        (b"database: no\n\ndat\n\n", []),
        # JSON without data: before it, in the middle of a stream, on one line or on several.
        (b'data: one\n\n{"error": 1}\n', [b"one", b'{"error": 1}']),
        (b'data: one\n\n{"error": 1}', [b"one", b'{"error": 1}']),
        (b'data: one\n{"error": 1}\n\n', [b"one", b'{"error": 1}']),
        (b'[{\r\n "data": 1,\r\n  data: 2\r\n}]\r\n\r\ndata: one\n\n', [b'[{\n "data": 1,\n  data: 2\n}]', b"one"]),
        (b'{"error": 1}\ndata: one\n\n', [b'{"error": 1}', b"one"]),
        (b'{"error": 1}\n\n"error": 2\n', [b'{"error": 1}']),
    ],
    ids=repr,
)
def test_a_stream_is_read_as_the_standard_says(stream: bytes, events: list[bytes]) -> None:
    assert events_of(stream) == events
    assert events_of(*(stream[i : i + 1] for i in range(len(stream)))) == events


@given(
    st.lists(st.binary().filter(lambda data: b"\r" not in data and b"\n" not in data), max_size=5),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
    st.lists(st.integers(0, 60), max_size=6),
)
def test_where_the_pieces_end_makes_no_difference(data: list[bytes], end: bytes, cuts: list[int]) -> None:
    stream = b"".join(b"data: " + line + end + end for line in data)
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    assert events_of(*(stream[a:b] for a, b in pairwise(places))) == data


@pytest.mark.slow
def test_a_line_of_many_pieces_takes_time_in_proportion_to_its_length() -> None:
    """Thirty megabytes in pieces of sixteen kilobytes: to look through all of it for each piece would take minutes."""
    pieces = [b"data: ", *[b"A" * 16_384] * 2_000, b"\n\n"]
    assert [len(data) for data in events_of(*pieces)] == [16_384 * 2_000]


def test_a_line_end_in_three_pieces_is_three_line_ends_or_two() -> None:
    assert events_of(b"data: one\r", b"\n", b"\n", b"data: two\n\n") == [b"one", b"two"]
    assert events_of(b"data: one\r", b"\n", b"\r", b"\n", b"data: two\n\n") == [b"one", b"two"]
    assert events_of(b"data: one\r", b"", b"\n", b"data: and\n", b"\n") == [b"one\nand"]


@pytest.mark.parametrize("stream", [b"data: cut", b"data: one\ndata", b"event", b"data"])
def test_it_knows_whether_the_last_line_has_ended(stream: bytes) -> None:
    reader = EventReader()
    list(reader.feed(stream))
    assert reader.is_in_line
    list(reader.feed(b"\n"))
    assert not reader.is_in_line


@pytest.mark.parametrize(
    ("start", "in_events", "in_json"),
    [
        (b"data: {}", True, True),
        (b"event: x", True, True),
        (b"id: 1\n", True, True),
        (b"retry: 5", True, True),
        (b": ping", True, True),
        (b"\xef\xbb\xbf\n data: x", True, True),
        (b'{"data"', False, False),
        (b"  \n[", False, False),
        (b"<html>", True, False),
        (b"detail: none", True, False),
        (b"iVBORw0K", True, False),
        # Too short.
        (b"", None, None),
        (b" \n\r\n", None, None),
        (b"d", True, None),
        (b"event", True, None),
        (b"x", True, False),
    ],
)
def test_a_body_is_what_its_start_says(start: bytes, in_events: bool | None, in_json: bool | None) -> None:
    """``in_events`` if its media type is that of a stream, ``in_json`` if it is another one."""
    assert is_stream(start, is_said_to_be=True) is in_events
    assert is_stream(start, is_said_to_be=False) is in_json


def test_the_data_of_an_image_are_unchanged() -> None:
    reader = EventReader()
    assert [list(reader.feed(piece)) for piece in (b"data: {", b"AAAA", b"BBBB", b"}\n", b"\n")] == [
        [b"{"],
        [b"AAAA"],
        [b"BBBB"],
        [b"}"],
        [None],
    ]
