"""Answers as they come from the transport: pictures decoded, everything else as it arrived."""

from __future__ import annotations

import base64
import json

import pytest

from invokeai_external.errors import InvalidResponseError
from invokeai_external.providers.base import HttpRequest, HttpResponse
from invokeai_external.transport import Transport

pytestmark = pytest.mark.anyio

PICTURE = bytes(range(256)) * 1000
WHOLE = json.dumps({"data": [{"b64_json": base64.b64encode(PICTURE).decode()}]}).encode()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def answered(body: bytes, *, status: int = 200, most: int = 1_000_000) -> HttpResponse:
    """What the transport makes of an answer that comes in pieces of an odd size."""

    async def app(scope: object, receive: object, send: object) -> None:
        assert callable(send)
        await send({"type": "http.response.start", "status": status, "headers": []})
        for start in range(0, len(body), 9_973):
            await send({"type": "http.response.body", "body": body[start : start + 9_973], "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async with Transport(timeout_s=10, max_response_bytes=most, asgi_app=app) as transport:
        return await transport.send(HttpRequest(url="https://provider.invalid/", json={}), {})


async def test_a_picture_is_decoded_while_it_arrives() -> None:
    response = await answered(WHOLE)
    assert response.document == {"data": [{"b64_json": PICTURE}]}
    assert response.body == b""


@pytest.mark.parametrize("body", [WHOLE[:-1], WHOLE.replace(b"AAEC", b"AA\\u0045C"), b"<html>", b"{}"])
async def test_what_holds_no_plain_picture_is_the_body_as_it_arrived(body: bytes) -> None:
    response = await answered(body)
    assert (response.document, response.body) == (None, body)


async def test_the_body_of_an_error_is_left_as_it_is() -> None:
    response = await answered(WHOLE, status=400)
    assert (response.document, response.body) == (None, WHOLE)


async def test_the_limit_counts_what_arrives_and_not_what_is_kept() -> None:
    assert (await answered(WHOLE, most=len(WHOLE))).document
    with pytest.raises(InvalidResponseError, match=f"larger than the {len(WHOLE) - 1:,} bytes"):
        await answered(WHOLE, most=len(WHOLE) - 1)
