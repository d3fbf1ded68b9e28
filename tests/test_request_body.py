"""JSON bodies: what httpx would write, in pieces, with files that become base64 only when they are sent."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest

from invokeai_external.transport.chunks import CHUNK_BYTES
from invokeai_external.transport.messages import Base64
from invokeai_external.transport.request_body import JsonBody

pytestmark = pytest.mark.anyio


async def sent(body: JsonBody) -> list[bytes]:
    return [piece async for piece in body]


async def test_a_body_is_the_json_of_httpx_and_can_be_sent_again() -> None:
    fields: Mapping[str, Any] = {"prompt": 'a 🦊\n"x"' * 100_000, "n": 2, "list": [1.5, None, True, {}], "empty": []}
    file = bytes(range(256)) * 5_000
    body = JsonBody(
        {**fields, "images": [{"url": Base64(file, prefix="data:image/png;base64,")}, {"url": Base64(b"")}]}
    )
    pieces = await sent(body)
    text = f"data:image/png;base64,{base64.b64encode(file).decode()}"
    expected = json.dumps(
        {**fields, "images": [{"url": text}, {"url": ""}]}, ensure_ascii=False, separators=(",", ":"), allow_nan=False
    )
    assert b"".join(pieces) == expected.encode()
    assert body.length == len(b"".join(pieces))
    assert max(map(len, pieces)) <= CHUNK_BYTES
    assert await sent(body) == pieces
