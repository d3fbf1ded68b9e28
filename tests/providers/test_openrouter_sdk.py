"""What is sent to OpenRouter, field by field, is what its official SDK sends for the same request; and the SDK reads
what the tests' server responds with, so that the tests of the adapter are about OpenRouter's format.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import anyio
import openrouter
import pytest

from invokeai_external.adapters.openrouter import OpenRouterAdapter
from invokeai_external.planning.plan import Call
from invokeai_external.providers import catalog
from invokeai_external.sizing import Size, SizeChoice
from invokeai_external.transport.client import Transport

from ..support.openrouter import OpenRouterServer, error_response
from .conftest import Recorded, Recorder, call_image
from .test_openrouter_adapter import CALL, call_of

pytestmark = pytest.mark.slow

ADAPTER = OpenRouterAdapter(catalog.page("openrouter").provider)
JPEG = b"\xff\xd8\xff\xe0 another"


def sent_by_us(recorder: Recorder, call: Call, key: str) -> Recorded:
    async def send() -> None:
        async with Transport(timeout_s=10, max_response_bytes=10_000) as transport:
            request = ADAPTER.build(call, f"{recorder.url}/api/v1")
            ADAPTER.parse(await transport.send(request, ADAPTER.auth_headers(key)), call)

    anyio.run(send)
    return recorder.requests.pop()


def sdk(url: str, key: str) -> openrouter.OpenRouter:
    return openrouter.OpenRouter(api_key=key, server_url=f"{url}/api/v1")


def url_of(data: bytes, mime_type: str) -> dict[str, Any]:
    return {
        "type": "image_url",
        "image_url": {"url": f"data:{mime_type};base64,{base64.b64encode(data).decode()}"},
    }


ALL_OPTIONS = {"quality": "high", "background": "opaque", "output_format": "webp", "output_compression": 80}
ONE, TWO = call_image(), call_image(JPEG, "image/jpeg", "b.jpg")


@pytest.mark.parametrize(
    ("call", "fields"),
    [
        pytest.param(CALL, {}, id="the least"),
        pytest.param(
            replace(
                call_of(options=ALL_OPTIONS, seed=7),
                n=3,
                size=SizeChoice(aspect_ratio="16:9", image_size="2K", about=Size(2731, 1536)),
            ),
            {**ALL_OPTIONS, "n": 3, "seed": 7, "aspect_ratio": "16:9", "resolution": "2K"},
            id="everything",
        ),
        pytest.param(replace(CALL, size=SizeChoice(Size(1536, 1024))), {"size": "1536x1024"}, id="a size in pixels"),
        pytest.param(
            replace(CALL, init_image=ONE, references=(TWO,)),
            {"input_references": [url_of(ONE.data, "image/png"), url_of(JPEG, "image/jpeg")]},
            id="input images",
        ),
    ],
)
def test_calls_are_sent_as_the_sdk_sends_them(
    recorder: Recorder, canary: str, call: Call, fields: dict[str, Any]
) -> None:
    ours = sent_by_us(recorder, call, canary)
    asked = {"model": "maker/image-1", "prompt": "a red fox", "n": 1, **fields}
    with sdk(recorder.url, canary) as client:
        client.images.generate(**asked)
    theirs = recorder.requests.pop()
    assert (ours.method, ours.path, ours.query) == (theirs.method, theirs.path, theirs.query)
    assert (ours.method, ours.path) == ("POST", "/api/v1/images")
    assert ours.content_kind == theirs.content_kind == "application/json"
    assert ours.headers["authorization"] == theirs.headers["authorization"]
    assert theirs.headers.keys() - ours.headers.keys() <= {"accept", "user-agent"}
    assert ours.body == theirs.body == asked


def test_a_stream_is_asked_for_as_the_sdk_asks(recorder: Recorder, canary: str) -> None:
    ours = sent_by_us(recorder, call_of(previews=1), canary)
    with sdk(recorder.url, canary) as client:
        client.images.generate(model="maker/image-1", prompt="a red fox", n=1, stream=True)
    assert ours.body == recorder.requests.pop().body


@pytest.fixture
def server() -> Iterator[OpenRouterServer]:
    with OpenRouterServer() as server:
        yield server


def test_the_sdk_reads_the_images_the_list_and_the_endpoints_of_the_tests_server(server: OpenRouterServer) -> None:
    with sdk(server.url, "sk-or-v1-valid") as client:
        made = client.images.generate(model="openai/gpt-image-2", prompt="a red fox", n=2)
        assert [image.media_type for image in made.data] == ["image/png"] * 2
        assert made.usage
        assert made.usage.cost == 0.1344
        models = client.images.list_models().data
        assert {model.id for model in models} == set(server.endpoints)
        found = client.images.list_model_endpoints(author="krea", slug="krea-2-medium")
        assert [(line.billable, line.unit, line.variant) for line in found.endpoints[0].pricing] == [
            ("input_image", "image", None),
            ("output_image", "image", "2k"),
            ("output_image", "image", "1k"),
        ]
    assert server.paths("GET") == ["/images/models", "/images/models/krea/krea-2-medium/endpoints"]


@pytest.mark.parametrize(
    ("status", "metadata", "kind"),
    [
        (401, {}, "UnauthorizedResponseError"),
        (402, {"limit_source": "openrouter_key_limit"}, "PaymentRequiredResponseError"),
        (403, {"reasons": ["sexual"]}, "ForbiddenResponseError"),
        (404, {}, "NotFoundResponseError"),
        (413, {}, "PayloadTooLargeResponseError"),
        (429, {"retry_after_seconds": 1}, "TooManyRequestsResponseError"),
        (502, {"error_type": "refusal"}, "BadGatewayResponseError"),
        (524, {}, "EdgeNetworkTimeoutResponseError"),
        (529, {}, "ProviderOverloadedResponseError"),
    ],
)
def test_the_sdk_reads_the_errors_of_the_tests_server(
    server: OpenRouterServer, status: int, metadata: dict[str, Any], kind: str
) -> None:
    server.responses.append(error_response(status, "It failed", **metadata))
    with sdk(server.url, "sk-or-v1-valid") as client, pytest.raises(openrouter.errors.OpenRouterError) as caught:
        client.images.generate(model="openai/gpt-image-2", prompt="a red fox", retries=None)
    assert type(caught.value).__name__ == kind
    data: Any = caught.value
    assert (data.data.error.message, data.data.error.code) == ("It failed", status)
    assert (data.data.error.metadata or {}) == metadata
