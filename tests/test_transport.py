"""Responses from the transport: images decoded, everything else as it arrived, and all of it within limits."""

from __future__ import annotations

import asyncio
import base64
import errno
import gzip
import json
import os
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import nullcontext
from typing import Any

import anyio
import anyio.abc
import anyio.lowlevel
import h11
import httpx
import pytest

from invokeai_external.errors import (
    InvalidResponseError,
    NetworkError,
    ServiceStateError,
    TimedOutError,
)
from invokeai_external.transport import events as event_stream
from invokeai_external.transport.client import USER_AGENT, Transport
from invokeai_external.transport.events import EventHandler
from invokeai_external.transport.messages import FilePart, HttpRequest, HttpResponse
from invokeai_external.version import VERSION

from .support.raw_server import HOLD, RESET, RawServer, Received, Step, answer, chunk, chunked, events, head
from .support.servers import SandboxServer

pytestmark = pytest.mark.anyio

IMAGE = bytes(range(256)) * 1000
WHOLE = json.dumps({"data": [{"b64_json": base64.b64encode(IMAGE).decode()}]}).encode()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def answered(body: bytes, *, status: int = 200, most: int = 1_000_000) -> HttpResponse:
    """The response of the transport to a body in pieces of an odd size."""

    async def app(scope: object, receive: object, send: object) -> None:
        assert callable(send)
        await send({"type": "http.response.start", "status": status, "headers": []})
        for start in range(0, len(body), 9_973):
            await send({"type": "http.response.body", "body": body[start : start + 9_973], "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async with Transport(timeout_s=10, max_response_bytes=most, asgi_app=app) as transport:
        return await transport.send(HttpRequest(url="https://provider.invalid/", json={}), {})


async def test_an_image_is_decoded_while_it_arrives() -> None:
    response = await answered(WHOLE)
    assert response.document == {"data": [{"b64_json": IMAGE}]}
    assert response.body == b""


@pytest.mark.parametrize("body", [WHOLE[:-4], WHOLE.replace(b"AAEC", b"AA\\u0045C"), b"<html>", b"{}"])
async def test_a_body_without_plain_images_is_returned_as_it_arrived(body: bytes) -> None:
    response = await answered(body)
    assert (response.document, response.body) == (None, body)


async def test_the_body_of_an_error_is_not_decoded() -> None:
    response = await answered(WHOLE, status=400)
    assert (response.document, response.body) == (None, WHOLE)


async def test_the_limit_counts_what_arrives_and_not_what_is_stored() -> None:
    assert (await answered(WHOLE, most=len(WHOLE))).document
    with pytest.raises(InvalidResponseError, match=f"{len(WHOLE) - 1:,}"):
        await answered(WHOLE, most=len(WHOLE) - 1)


# What servers and relays should not send, byte for byte


async def sent(
    server: RawServer,
    *,
    stream: EventHandler | None = None,
    most: int = 1_000_000,
    timeout_s: float = 10,
    total_timeout_s: float = 20,
    head_timeout_s: float = 10,
) -> HttpResponse:
    async with Transport(
        timeout_s=timeout_s,
        total_timeout_s=total_timeout_s,
        head_timeout_s=head_timeout_s,
        max_response_bytes=most,
    ) as transport:
        return await transport.send(HttpRequest(url=f"{server.url}/v1/images", json={"n": 1}), {}, stream)


DOCUMENT = {"data": [{"b64_json": IMAGE}]}
TRUNCATED_GZIP = gzip.compress(WHOLE)[:-6]
GZIP_WITH_A_WRONG_CHECKSUM = gzip.compress(WHOLE)[:-8] + bytes(8)


@pytest.mark.parametrize(
    "said",
    [
        (chunked(WHOLE),),
        (chunked(WHOLE), RESET),
        (chunked(WHOLE[:700], WHOLE[700:]), b"zz\r\n"),
        (answer(WHOLE, content_length=len(WHOLE) + 2),),
        (answer(WHOLE, content_length=len(WHOLE) + 2), 0.2, RESET),
        (chunked(gzip.compress(WHOLE), content_encoding="gzip"),),
        (answer(TRUNCATED_GZIP, content_encoding="gzip"),),
        (chunked(TRUNCATED_GZIP, content_encoding="gzip"),),
        (answer(GZIP_WITH_A_WRONG_CHECKSUM, content_encoding="gzip"),),
        (chunked(*(bytes([byte]) for byte in GZIP_WITH_A_WRONG_CHECKSUM), content_encoding="gzip"), chunk(b"")),
    ],
)
async def test_complete_json_counts_whatever_is_missing_of_its_transfer(
    said: tuple[Step, ...],
) -> None:
    with RawServer(*said) as server:
        response = await sent(server)
    assert response.document == DOCUMENT
    assert response.is_cut_short


DEEP = b"[" * 90_000 + b"]" * 90_000


@pytest.mark.parametrize(
    ("body", "charset"),
    [
        (WHOLE + b"\n\n\0\0\0", "utf-8"),
        (WHOLE[:-1] + b', "note": "gr\xfcn"}', "iso-8859-1"),
        (WHOLE[:-1] + b', "note": "gr\xfcn"}', "utf-8"),
        (WHOLE[:-1] + b', "note": %b}' % DEEP, "utf-8"),
        (b'{"note": %b, ' % DEEP + WHOLE[1:], "utf-8"),
    ],
    ids=["NULs", "Latin-1", "not UTF-8", "deep behind it", "deep before it"],
)
async def test_odd_json_around_an_image_does_not_lose_it(body: bytes, charset: str) -> None:
    with RawServer(answer(body, content_type=f"application/json; charset={charset}")) as server:
        response = await sent(server)
    assert isinstance(response.document, dict)
    assert response.document["data"] == DOCUMENT["data"]
    assert response.document.get("note", "grün") == "grün" if charset == "iso-8859-1" else True


@pytest.mark.parametrize(("timeout_s", "total_timeout_s"), [(0.3, 20), (10, 0.3)])
async def test_complete_json_counts_when_the_time_is_up(timeout_s: float, total_timeout_s: float) -> None:
    with RawServer(answer(WHOLE, content_length=len(WHOLE) + 2), HOLD) as server:
        response = await sent(server, timeout_s=timeout_s, total_timeout_s=total_timeout_s)
    assert (response.document, response.is_cut_short) == (DOCUMENT, True)


@pytest.mark.parametrize("end", [b"", b"}", b'}],"usage":{"output_tok'], ids=repr)
@pytest.mark.parametrize("more", [0, 100], ids=["whole", "cut"])
@pytest.mark.parametrize("then", [(), (0.2, RESET), (HOLD,)], ids=repr)
async def test_a_whole_image_counts_whatever_is_missing_behind_it(
    end: bytes, more: int, then: tuple[Step, ...]
) -> None:
    body = WHOLE[:-3] + end
    with RawServer(answer(body, content_length=len(body) + more), *then) as server:
        response = await sent(server, timeout_s=0.5)
    assert (response.document, response.is_cut_short) == (DOCUMENT, True)


async def test_a_whole_image_counts_though_a_run_is_cancelled_before_the_rest() -> None:
    with RawServer(answer(WHOLE[:-3], content_length=len(WHOLE)), HOLD) as server, anyio.move_on_after(0.5):
        response = await sent(server)
    assert (response.document, response.is_cut_short) == (DOCUMENT, True)


async def test_complete_json_without_an_image_to_decode_counts_too() -> None:
    body = json.dumps({"data": [{"url": "https://x.test/1.png"}]}).encode()
    with RawServer(chunked(body)) as server:
        response = await sent(server)
    assert (response.body, response.is_cut_short) == (body, True)


@pytest.mark.parametrize(
    "said",
    [
        (chunked(WHOLE[:-4]),),
        (answer(WHOLE[:-4], content_length=len(WHOLE)), RESET),
        (chunked(gzip.compress(WHOLE)[:100], content_encoding="gzip"),),
        (head(200, content_length=5),),
        (),
    ],
)
async def test_a_response_that_breaks_off_is_lost_and_may_be_billed(said: tuple[Step, ...]) -> None:
    with RawServer(*said) as server, pytest.raises(NetworkError) as caught:
        await sent(server)
    assert caught.value.may_be_billed
    assert not caught.value.never_sent


@pytest.mark.parametrize(
    "said",
    [
        b"hello, this is HTTP/0.9\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        head(200, transfer_encoding="chunked") + b"no number\r\n{}\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * 500_000,
    ],
)
async def test_a_response_that_is_not_http_is_not_a_lost_connection(said: bytes) -> None:
    with RawServer(said, HOLD) as server, pytest.raises(InvalidResponseError) as caught:
        await sent(server)
    assert caught.value.may_be_billed


async def test_a_handshake_that_fails_is_not_a_refused_connection() -> None:
    async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(close, "127.0.0.1", 0)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, Transport(timeout_s=10, max_response_bytes=1000) as transport:
        with pytest.raises(NetworkError) as caught:
            await transport.send(HttpRequest(url=url, json={}), {})
    assert caught.value.never_sent
    assert "TLS" in caught.value.message


async def test_complete_responses_are_not_cut_short() -> None:
    for said in (answer(WHOLE), chunked(WHOLE) + chunk(b""), head(200) + WHOLE):
        with RawServer(said) as server:
            response = await sent(server)
        assert (response.document, response.is_cut_short) == (DOCUMENT, False)


# Connections


async def test_an_idle_connection_is_not_reused_since_its_server_may_close_it() -> None:
    ports = []

    async def app(scope: Any, _: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        ports.append(scope["client"][1])
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"{}"})

    with SandboxServer(app) as server:
        for keepalive_s in (60.0, 0.0):
            async with Transport(timeout_s=10, max_response_bytes=1000, keepalive_s=keepalive_s) as transport:
                for _ in range(2):
                    await transport.send(HttpRequest(url=server.url, json={}), {})
    assert [ports[0] == ports[1], ports[2] == ports[3]] == [True, False]


STRANGE_COOKIE = head(200, content_length=2, connection="close", set_cookie="a=\xff") + b"{}"


async def test_no_cookie_is_stored() -> None:
    with RawServer(STRANGE_COOKIE) as server:
        async with Transport(timeout_s=10, max_response_bytes=1000) as transport:
            for _ in range(2):
                await transport.send(HttpRequest(url=server.url, json={}), {})
    assert ["cookie" in request.headers for request in server.requests] == [False, False]


async def test_a_cookie_of_the_given_client_that_cannot_be_sent_is_named() -> None:
    with RawServer(STRANGE_COOKIE) as server:
        async with httpx.AsyncClient() as given:
            transport = Transport(timeout_s=10, max_response_bytes=1000, http_client=given)
            await transport.send(HttpRequest(url=server.url, json={}), {})
            with pytest.raises(ServiceStateError):
                await transport.send(HttpRequest(url=server.url, json={}), {})
            given.cookies.clear()
            await transport.send(HttpRequest(url=server.url, json={}), {})
    assert len(server.requests) == 2


# Compression


async def test_only_gzip_is_requested() -> None:
    with RawServer(answer(gzip.compress(WHOLE), content_encoding="gzip")) as server:
        assert (await sent(server)).document == DOCUMENT
    assert server.requests[0].headers["accept-encoding"] == "gzip"


@pytest.mark.parametrize(
    "packed",
    [
        gzip.compress(WHOLE[:20]) + gzip.compress(WHOLE[20:]),
        b"".join(gzip.compress(WHOLE[start : start + 500]) for start in range(0, len(WHOLE), 500)),
        gzip.compress(b"") * 5000 + gzip.compress(WHOLE),
        gzip.compress(WHOLE) + bytes(512),
    ],
)
async def test_gzip_may_have_several_members_and_padding(packed: bytes) -> None:
    said = packed[:30], 0.01, packed[30:]
    with RawServer(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n\r\n", *said
    ) as server:
        whole = await sent(server)
    assert whole.document == DOCUMENT
    assert not whole.is_cut_short


async def test_gzip_of_more_members_than_any_server_sends_is_an_error() -> None:
    packed = gzip.compress(b"") * 10_000 + gzip.compress(WHOLE)
    with RawServer(answer(packed, content_encoding="gzip")) as server, pytest.raises(InvalidResponseError):
        await sent(server)


async def test_gzip_whose_last_member_has_no_end_is_cut_off() -> None:
    packed = gzip.compress(WHOLE[:20]) + gzip.compress(WHOLE[20:])[:100]
    with RawServer(answer(packed, content_encoding="gzip")) as server, pytest.raises(NetworkError):
        await sent(server)


@pytest.mark.slow
@pytest.mark.parametrize(
    "said",
    [
        (chunked(*[b" "] * 6_000, WHOLE), chunk(b"")),
        (b"HTTP/1.1 102 Processing\r\n\r\n" * 3000, answer(WHOLE)),
    ],
)
async def test_a_response_in_thousands_of_parts_does_not_hold_up_other_tasks(
    said: tuple[bytes, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = [0]
    next_event = h11.Connection.next_event

    def counted(connection: h11.Connection) -> object:
        counts[-1] += 1
        return next_event(connection)

    async def take_turns() -> None:
        while True:
            counts.append(0)
            await anyio.lowlevel.checkpoint()

    monkeypatch.setattr(h11.Connection, "next_event", counted)
    with RawServer(b"".join(said)) as server:
        async with anyio.create_task_group() as group:
            group.start_soon(take_turns)
            # The other task takes all the time that it gets, so it depends on the machine how long this takes.
            assert (await sent(server, total_timeout_s=300)).is_success
            group.cancel_scope.cancel()
    assert sum(counts) > 3000
    assert max(counts) < 500


async def test_a_body_labelled_as_gzip_that_is_not_is_read_as_it_is() -> None:
    with RawServer(answer(WHOLE, content_encoding="gzip")) as server:
        assert (await sent(server)).document == DOCUMENT


@pytest.mark.parametrize("encoding", ["gzip, gzip", "br", "zstd", "deflate", "identity, br", "compress"])
async def test_a_compression_that_was_not_requested_is_an_error(encoding: str) -> None:
    with (
        RawServer(answer(gzip.compress(WHOLE), content_encoding=encoding)) as server,
        pytest.raises(InvalidResponseError) as caught,
    ):
        await sent(server)
    assert (caught.value.may_be_billed, caught.value.status) == (True, 200)
    # Brotli of 64 kB and more begins so.
    with RawServer(answer(b"[\x8f\x3c\x21" + bytes(99), content_encoding=encoding)) as server:
        with pytest.raises(InvalidResponseError) as caught:
            await sent(server)
        assert "compression" in caught.value.message
    with RawServer(answer(b"?", 429, content_encoding=encoding)) as server:
        assert (await sent(server)).status == 429


@pytest.mark.parametrize("encoding", ["utf-8", "none", "br", "utf-8, gzip"])
async def test_a_label_that_is_not_a_compression_loses_no_image(encoding: str) -> None:
    for said in (answer(b" \n" + WHOLE, content_encoding=encoding), chunked(WHOLE, content_encoding=encoding)):
        with RawServer(said) as server:
            assert (await sent(server)).document == DOCUMENT
    # In pieces of one byte.
    with RawServer(head(200, content_encoding=encoding), *(bytes([byte]) for byte in b'{"a": 1}')) as server:
        assert (await sent(server)).body == b'{"a": 1}'
    seen: list[HttpResponse] = []

    async def see(event: HttpResponse) -> None:
        seen.append(event)

    with RawServer(events(b'{"a": 1}', content_encoding=encoding) + chunk(b"")) as server:
        assert (await sent(server, stream=see)).is_stream
    assert len(seen) == 1


async def test_the_limit_counts_decompressed_bytes_and_no_chunk_holds_up_other_tasks() -> None:
    bomb = gzip.compress(bytes(60_000_000))
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    with RawServer(answer(bomb, content_encoding="gzip")) as server:
        async with anyio.create_task_group() as group:
            group.start_soon(others)
            with pytest.raises(InvalidResponseError, match="20,000,000"):
                await sent(server, most=20_000_000)
            group.cancel_scope.cancel()
    assert turns > 20_000_000 // (1 << 18)


async def test_broken_gzip_cannot_be_decompressed() -> None:
    with (
        RawServer(answer(b"\x1f\x8b\x08 and so on and on", content_encoding="gzip")) as server,
        pytest.raises(InvalidResponseError),
    ):
        await sent(server)


# No end


async def test_a_megabyte_of_an_error_is_read() -> None:
    def script(_: Received) -> Iterator[Step]:
        yield head(400, content_type="text/plain")
        while True:
            yield b"x" * 100_000

    with RawServer(script=script) as server:
        response = await sent(server, most=300_000_000)
    assert (response.status, len(response.body)) == (400, 1 << 20)


async def test_the_body_of_an_error_is_not_waited_for_long() -> None:
    with RawServer(head(503, content_length=100), b"Sorry", HOLD) as server:
        response = await sent(server, head_timeout_s=0.2)
    assert (response.status, response.body) == (503, b"Sorry")


async def test_endless_heartbeats_come_to_an_end() -> None:
    def script(_: Received) -> Iterator[Step]:
        yield head(200, content_type="application/json")
        while True:
            yield b" "
            yield 0.05

    with (
        RawServer(script=script) as server,
        pytest.raises(TimedOutError, match=r"0\.4 s") as caught,
    ):
        await sent(server, total_timeout_s=0.4)
    assert (caught.value.may_be_billed, caught.value.status) == (True, 200)


@pytest.mark.parametrize(
    "piece", [b"x-header: 1\r\n", b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"], ids=["slow", "silent", "informational"]
)
async def test_a_head_that_does_not_end_is_an_error(piece: bytes) -> None:
    def script(_: Received) -> Iterator[Step]:
        yield b"HTTP/1.1 103 Early Hints\r\n\r\n" if piece.startswith(b"HTTP") else b"HTTP/1.1 200 OK\r\n"
        while True:
            yield piece
            yield 0.05

    with (
        RawServer(script=script) as server,
        pytest.raises(TimedOutError, match=r"0\.3 s") as caught,
    ):
        await sent(server, head_timeout_s=0.3)
    assert caught.value.may_be_billed


async def test_a_provider_may_take_its_time_before_the_head_begins() -> None:
    with RawServer(0.4, answer(WHOLE)) as server:
        assert (await sent(server, head_timeout_s=0.1)).document == DOCUMENT


@pytest.mark.parametrize("body", [b"[" + b"[]," * 400_000, b'{"data": [' + b'"",' * 300_000], ids=["lists", "texts"])
async def test_json_of_endless_values_is_rejected_before_it_is_complete(body: bytes) -> None:
    def script(_: Received) -> Iterator[Step]:
        yield chunked(body)
        yield HOLD

    with (
        RawServer(script=script) as server,
        pytest.raises(InvalidResponseError, match="200,000") as caught,
    ):
        await sent(server, most=300_000_000)
    assert caught.value.may_be_billed


# Streams of events


class Events:
    """Collects the events of a stream, and says how long the rest is worth waiting for."""

    def __init__(self, *rests: float | None) -> None:
        self.events: list[object] = []
        self._rests = iter(rests)

    async def __call__(self, event: HttpResponse) -> float | None:
        self.events.append(event.body if event.document is None else event.document)
        return next(self._rests, None)


async def test_the_image_of_an_event_is_decoded_while_it_arrives() -> None:
    seen = Events()
    with RawServer(events(WHOLE, b'{"a": 1}'), chunk(b"")) as server:
        response = await sent(server, stream=seen)
    assert seen.events == [DOCUMENT, b'{"a": 1}']
    assert (response.body, response.document, response.is_cut_short) == (b"", None, False)


async def test_heartbeats_between_events_are_ignored() -> None:
    seen = Events()
    signs = (
        b": ping\n\n",
        b"data:\n\n",
        b"data: keep-alive\n\n",
        b"event: ping\ndata: ping\n\n",
        b"data: 7\n\n",
        b"\n",
    )
    said = chunked(*signs, b"data: %b\n\n" % WHOLE, *signs, content_type="text/event-stream")
    with RawServer(said, chunk(b"")) as server:
        await sent(server, stream=seen)
    assert seen.events == [DOCUMENT]


@pytest.mark.parametrize("last", [b"data: %b", b"data: %b\n", b"data: %b\n\n"])
async def test_a_complete_last_event_counts_however_the_stream_ends(last: bytes) -> None:
    for end, kind in ((chunk(b""), None), (b"", NetworkError)):
        seen = Events()
        outcome = pytest.raises(kind) if kind else nullcontext()
        with RawServer(chunked(last % WHOLE, content_type="text/event-stream"), end) as server, outcome:
            await sent(server, stream=seen)
        assert seen.events == [DOCUMENT]


async def test_an_event_that_is_cut_off_is_ignored() -> None:
    seen = Events()
    said = chunked(b'data: {"a": 1}\n\ndata: ' + WHOLE[:5_000], content_type="text/event-stream")
    with RawServer(said, chunk(b"")) as server:
        await sent(server, stream=seen)
    assert seen.events == [b'{"a": 1}']


async def test_a_stream_ends_when_nothing_is_missing_though_the_connection_stays_open() -> None:
    seen = Events(None, 0.0)
    with RawServer(events(b'{"a": 1}', WHOLE), HOLD) as server:
        await sent(server, stream=seen)
    assert seen.events == [b'{"a": 1}', DOCUMENT]


async def test_a_stream_ends_at_its_last_word() -> None:
    seen = Events()
    with RawServer(events(WHOLE, b"[DONE]"), HOLD) as server:
        await sent(server, stream=seen)
    assert seen.events == [DOCUMENT]


async def test_events_within_the_time_that_the_rest_is_worth_are_handed_over() -> None:
    seen = Events(5.0, 0.0)
    late = chunk(b'data: {"usage": 1}\n\n')
    with RawServer(events(WHOLE), 0.2, late, HOLD) as server:
        await sent(server, stream=seen)
    assert seen.events == [DOCUMENT, b'{"usage": 1}']
    seen = Events(0.2)
    with RawServer(events(WHOLE), HOLD) as server:
        await sent(server, stream=seen)
    assert seen.events == [DOCUMENT]


@pytest.mark.parametrize("event", [b"data:\n\n", b"data: 1\n\n", b"data: {}\n\n"])
async def test_a_stream_of_endless_events_is_an_error(event: bytes) -> None:
    seen = Events()
    with (
        RawServer(chunked(event * 10_001, content_type="text/event-stream"), HOLD) as server,
        pytest.raises(InvalidResponseError, match="10,000"),
    ):
        await sent(server, stream=seen, most=300_000_000)
    assert len(seen.events) in (0, 10_000)


@pytest.mark.parametrize("line", [b"\n", b"\r", b":\n", b"id\n"])
async def test_a_stream_of_endless_lines_is_an_error(line: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "_MOST_LINES", 20_000)
    with (
        RawServer(chunked(line * 20_001, content_type="text/event-stream"), HOLD) as server,
        pytest.raises(InvalidResponseError, match="20,000"),
    ):
        await sent(server, stream=Events(), most=300_000_000)


async def test_values_are_counted_over_all_events() -> None:
    with (
        RawServer(events(*[b"[" + b"0," * 30_000 + b"0]"] * 10), HOLD) as server,
        pytest.raises(InvalidResponseError, match="200,000"),
    ):
        await sent(server, stream=Events(), most=300_000_000)


# Requests


async def test_a_large_request_is_json_of_the_announced_length() -> None:
    body = {"prompt": "Grüße, 🦊", "parts": [{"data": "A" * 3_000_000}, 1, 2.5, None, True], "last": "x" * 70_000}
    with RawServer(answer(b"{}")) as server:
        async with Transport(timeout_s=10, max_response_bytes=1_000_000) as client:
            await client.send(HttpRequest(url=server.url, json=body), {"x-key": "k"})
    (request,) = server.requests
    assert request.body == json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    assert (request.headers["content-type"], request.headers["x-key"]) == ("application/json", "k")


async def test_large_files_are_sent_completely() -> None:
    files = (FilePart("image[]", "image-1.png", "image/png", bytes(range(256)) * 5_000),)
    with RawServer(answer(b"{}")) as server:
        async with Transport(timeout_s=10, max_response_bytes=1_000_000) as client:
            await client.send(HttpRequest(url=server.url, form={"n": "1"}, files=files), {})
    (request,) = server.requests
    assert files[0].data in request.body
    assert int(request.headers["content-length"]) == len(request.body)


async def test_a_form_without_files_is_multipart_too() -> None:
    with RawServer(answer(b"{}")) as server:
        async with Transport(timeout_s=10, max_response_bytes=1_000_000) as client:
            await client.send(HttpRequest(url=server.url, form={"prompt": "Grüße, 🦊", "n": "1"}), {"x-key": "k"})
    (request,) = server.requests
    kind, _, boundary = request.headers["content-type"].partition("; boundary=")
    assert (request.method, kind, request.headers["x-key"]) == ("POST", "multipart/form-data", "k")
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in (("prompt", "Grüße, 🦊"), ("n", "1"))
    ]
    assert request.body.decode() == f"{''.join(parts)}--{boundary}--\r\n"
    assert int(request.headers["content-length"]) == len(request.body)


BODIES = pytest.mark.parametrize(
    "body", [{"json": {"n": 1}}, {"form": {"n": "1"}}, {"files": (FilePart("image", "1.png", "image/png", b"x"),)}, {}]
)


@BODIES
async def test_the_header_with_the_key_comes_before_the_headers_of_a_request(body: dict[str, Any]) -> None:
    own = {"authorization": "Bearer other", "X-Title": "Foxes", "accept": "application/json"}
    with RawServer(answer(b"{}")) as server:
        async with Transport(timeout_s=10, max_response_bytes=1_000_000) as client:
            await client.send(HttpRequest(url=server.url, headers=own, **body), {"Authorization": "Bearer k"})
    (request,) = server.requests
    assert request.headers["authorization"] == "Bearer k"
    assert (request.headers["x-title"], request.headers["accept"]) == ("Foxes", "application/json")


@BODIES
async def test_the_headers_of_a_request_do_not_change_how_it_is_sent(body: dict[str, Any]) -> None:
    names = (
        "Content-Type",
        "content-length",
        "Transfer-Encoding",
        "Host",
        "user-agent",
        "ACCEPT-ENCODING",
        "connection",
    )
    with RawServer(answer(b"{}", connection="close")) as server:
        async with Transport(timeout_s=10, max_response_bytes=1_000_000) as client:
            await client.send(HttpRequest(url=server.url, **body), {})
            await client.send(HttpRequest(url=server.url, headers=dict.fromkeys(names, "7"), **body), {})
    usual, request = (dict(one.headers) for one in server.requests)
    for headers in (usual, request):
        # It has a random boundary.
        headers["content-type"] = headers.get("content-type", "").partition(";")[0]
    assert request == usual
    assert len(server.requests[1].body) == len(server.requests[0].body)


async def test_the_headers_of_a_request_do_not_follow_a_redirect() -> None:
    with RawServer(answer(b"{}")) as other:
        with RawServer(head(307, location=other.url, content_length=0)) as server:
            async with Transport(timeout_s=10, max_response_bytes=1_000_000) as client:
                request = HttpRequest(url=server.url, json={}, headers={"x-title": "Foxes"})
                assert (await client.send(request, {"Authorization": "Bearer k"})).status == 307
        assert (len(server.requests), other.requests) == (1, [])


# The client


async def test_every_request_names_this_program() -> None:
    with RawServer(answer(b"{}", connection="close")) as server:
        async with Transport(timeout_s=10, max_response_bytes=1_000_000) as transport:
            await transport.send(HttpRequest(url=server.url, json={}), {})
            await transport.send(HttpRequest(url=server.url), {})
            await transport.fetch(f"{server.url}/1.png", {}, transport.allowance())
    assert [request.headers["user-agent"] for request in server.requests] == [f"invokeai_external/{VERSION}"] * 3


async def test_a_given_client_sends_and_stays_open() -> None:
    """Its default headers are only sent to the provider; its ``auth`` and its ``follow_redirects`` are not used."""
    with RawServer(head(302, location="/elsewhere", content_length=0, connection="close")) as server:
        async with httpx.AsyncClient(
            headers={"x-gateway": "g", "user-agent": "mine"}, auth=("user", "password"), follow_redirects=True
        ) as given:
            async with Transport(timeout_s=10, max_response_bytes=1_000_000, http_client=given) as transport:
                response = await transport.send(HttpRequest(url=server.url, json={}), {"Authorization": "Bearer k"})
                await transport.fetch(f"{server.url}/1.png", {}, transport.allowance())
            assert not given.is_closed
    assert response.status == 302
    sent_there, fetched = server.requests
    assert (sent_there.headers["authorization"], sent_there.headers["x-gateway"]) == ("Bearer k", "g")
    assert sent_there.headers["user-agent"] == USER_AGENT
    assert not {"authorization", "x-gateway"} & fetched.headers.keys()


async def test_a_given_client_that_is_closed_is_an_error() -> None:
    given = httpx.AsyncClient()
    await given.aclose()
    async with Transport(timeout_s=10, max_response_bytes=1_000_000, http_client=given) as transport:
        with pytest.raises(ServiceStateError):
            await transport.send(HttpRequest(url="https://provider.invalid/", json={}), {})


async def test_a_response_with_thousands_of_headers_is_an_error() -> None:
    lines = b"".join(b"a%d: b\r\n" % number for number in range(9_000))
    with (
        RawServer(b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n{}", HOLD) as server,
        pytest.raises(InvalidResponseError, match="1,000 headers"),
    ):
        await sent(server)


async def test_the_lines_of_a_body_are_not_counted_as_headers() -> None:
    body = b"{" + b"\n" * 5_000 + b"}"
    with RawServer(answer(body, 200, **{f"h{number}": "x" for number in range(90)})) as server:
        assert (await sent(server)).body == body


@pytest.mark.parametrize(
    "location", ["javascript:alert(1)", "https://xn--a/", "mailto:x", "http://[::1", "http://a:99999"]
)
@pytest.mark.parametrize("status", [200, 302, 400])
@pytest.mark.parametrize("is_given", [True, False])
async def test_the_target_of_a_redirect_may_be_anything(location: str, status: int, is_given: bool) -> None:
    client = httpx.AsyncClient() if is_given else None
    async with client or nullcontext():
        with RawServer(answer(b"{}", status, location=location)) as server:
            transport = Transport(timeout_s=10, max_response_bytes=1000, http_client=client)
            try:
                response = await transport.send(HttpRequest(url=server.url, json={}), {})
            except (InvalidResponseError, NetworkError):
                # httpx reads the target though it does not follow it.
                assert (status, is_given) == (302, True)
            else:
                assert response.status == status
            await transport.aclose()


# Failures that a client which was given does not name as httpx does


class FailingBody(httpx.AsyncByteStream):
    """A body that raises an error after it was sent, or when it is closed."""

    def __init__(self, error: Exception, body: bytes, *, on_close: bool) -> None:
        self._error, self._body, self._on_close = error, body, on_close

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._body
        if not self._on_close:
            raise self._error

    async def aclose(self) -> None:
        if self._on_close:
            raise self._error


def failing(error: Exception, where: str, body: bytes = b"") -> httpx.AsyncClient:
    """A client that raises an error in place of a response (``head``), in its body, or when that is closed."""

    def respond(_: httpx.Request) -> httpx.Response:
        if where == "head":
            raise error
        return httpx.Response(
            400 if where == "error" else 200, stream=FailingBody(error, body, on_close=where == "close")
        )

    return httpx.AsyncClient(transport=httpx.MockTransport(respond))


async def sent_with(client: httpx.AsyncClient, url: str = "https://provider.invalid") -> HttpResponse:
    transport = Transport(timeout_s=10, max_response_bytes=1_000_000, http_client=client)
    async with client, transport:
        return await transport.send(HttpRequest(url=url, json={}), {})


ERRORS = [
    ssl.SSLError("bad record"),
    OSError("?"),
    ConnectionResetError(),
    RecursionError(),
    httpx.StreamConsumed(),
    RuntimeError("?"),
    UnicodeDecodeError("utf-8", b"?", 0, 1, "?"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("where", ["head", "body", "error", "close"])
async def test_whatever_a_given_client_raises_is_a_failure_of_the_network(error: Exception, where: str) -> None:
    async def through(body: bytes) -> HttpResponse:
        return await sent_with(failing(error, where, body))

    if where == "error":
        assert ((response := await through(b"No.")).status, response.body) == (400, b"No.")
    elif where == "close":
        assert (await through(WHOLE)).document == DOCUMENT
    else:
        with pytest.raises(NetworkError) as caught:
            await through(WHOLE[:-4])
        assert (caught.value.may_be_billed, caught.value.never_sent) == (True, False)
    if where == "body":
        assert (await through(WHOLE)).document == DOCUMENT


@pytest.mark.parametrize(
    "error", [ConnectionRefusedError(), socket.gaierror("name"), ssl.SSLCertVerificationError("certificate")], ids=repr
)
async def test_a_given_client_that_made_no_connection_sent_nothing(error: Exception) -> None:
    with pytest.raises(NetworkError) as caught:
        await sent_with(failing(error, "head"))
    assert (caught.value.may_be_billed, caught.value.never_sent) == (False, True)


async def test_a_connection_for_which_no_file_may_be_opened_sent_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    async with Transport(timeout_s=10, max_response_bytes=1000) as transport:
        # The event loop makes its sockets with this class.
        monkeypatch.setattr(socket, "socket", refuse)
        with pytest.raises(NetworkError) as caught:
            await transport.send(HttpRequest(url="http://127.0.0.1:9/x"), {})
    assert caught.value.never_sent
    assert "files are open" in caught.value.message


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_host_with_two_numbers_that_refuses_is_said_to_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    async def both(host: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        kind = (socket.SOCK_STREAM, 6, "")
        return [(socket.AF_INET, *kind, ("127.0.0.1", port)), (socket.AF_INET, *kind, ("127.0.0.2", port))]

    monkeypatch.setattr("anyio._core._sockets.getaddrinfo", both)
    async with Transport(timeout_s=10, max_response_bytes=1000) as transport:
        with pytest.raises(NetworkError) as caught:
            await transport.send(HttpRequest(url=f"http://two-numbers:{port}/x"), {})
    assert "connection refused" in caught.value.message


async def test_a_response_that_a_hook_has_consumed_is_lost() -> None:
    async def consume(response: httpx.Response) -> None:
        async for _ in response.aiter_raw():
            pass

    given = httpx.AsyncClient(event_hooks={"response": [consume]})
    with RawServer(answer(WHOLE)) as server, pytest.raises(NetworkError) as caught:
        await sent_with(given, server.url)
    assert caught.value.may_be_billed


# Connections that are never complete


@pytest.mark.parametrize(
    ("said", "timeout_s", "total_timeout_s", "head_timeout_s"),
    [
        ((HOLD,), 0.3, 9, 9),
        ((HOLD,), 9, 0.3, 9),
        ((b"HTTP/1.1 200 OK\r\nx: ", HOLD), 0.3, 9, 9),
        ((b"HTTP/1.1 200 OK\r\nx: ", HOLD), 9, 0.3, 9),
        ((b"HTTP/1.1 200 OK\r\nx: ", HOLD), 9, 9, 0.3),
        ((head(200), HOLD), 9, 0.3, 9),
    ],
)
async def test_nothing_was_sent_through_a_proxy_that_does_not_finish(
    said: tuple[Step, ...],
    timeout_s: float,
    total_timeout_s: float,
    head_timeout_s: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with RawServer(*said) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        transport = Transport(
            timeout_s=timeout_s,
            total_timeout_s=total_timeout_s,
            head_timeout_s=head_timeout_s,
            max_response_bytes=1_000_000,
        )
        async with transport:
            with pytest.raises(TimedOutError) as caught:
                await transport.send(HttpRequest(url="https://provider.invalid", json={}), {})
        assert [request.method for request in proxy.requests] == ["CONNECT"]
    assert (caught.value.may_be_billed, caught.value.never_sent) == (False, True)


async def test_nothing_was_sent_before_tls_is_complete() -> None:
    with RawServer(HOLD) as server:
        server.url = server.url.replace("http:", "https:")
        with pytest.raises(TimedOutError) as caught:
            await sent(server, total_timeout_s=0.4)
    assert (caught.value.may_be_billed, caught.value.never_sent, server.requests) == (False, True, [])


@pytest.mark.parametrize("proxy", [None, "socks5"])
async def test_a_connection_is_closed_if_it_is_never_ready(proxy: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    async def read_to_end(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            async for _ in stream:
                pass
        is_closed.set()

    is_closed = anyio.Event()
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    address = f"127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}"
    if proxy:
        pytest.importorskip("socksio")
        monkeypatch.setenv("HTTPS_PROXY", f"{proxy}://{address}")
    transport = Transport(timeout_s=10, total_timeout_s=0.3, max_response_bytes=1_000_000)
    async with listener, transport, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, read_to_end)
        with pytest.raises(TimedOutError):
            await transport.send(HttpRequest(url=f"https://{'provider.invalid' if proxy else address}", json={}), {})
        with anyio.fail_after(5):
            await is_closed.wait()
        tasks.cancel_scope.cancel()
