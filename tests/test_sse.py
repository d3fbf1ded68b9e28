"""Server-sent events, however a server writes them and wherever the network cuts them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invokeai_external.sse import EventReader


def events_of(*chunks: bytes) -> list[bytes]:
    reader = EventReader()
    return [*(data for chunk in chunks for data in reader.feed(chunk)), *reader.end()]


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
        (b"data: one\n\ndata: cut o", [b"one"]),
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


def test_a_line_of_many_pieces_takes_time_in_proportion_to_its_length() -> None:
    """Thirty megabytes in pieces of sixteen kilobytes: to look through all of it for each piece would take minutes."""
    pieces = [b"data: ", *[b"A" * 16_384] * 2_000, b"\n\n"]
    assert [len(data) for data in events_of(*pieces)] == [16_384 * 2_000]
