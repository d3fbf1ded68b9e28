"""Images that a response names by URL."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import httpx
import pytest
import respx
from pydantic import SecretStr

from invokeai_external.errors import InvalidResponseError, NetworkError, ProviderError
from invokeai_external.request import GenerationRequest
from invokeai_external.service.service import Service
from invokeai_external.settings.settings import Credentials
from invokeai_external.transport.messages import HttpResponse

from ..support.clock import Clock
from ..support.raw_server import RawServer, Step, answer
from ..support.raw_server import Received as RawReceived
from ..support.samples import encoded, noisy
from .common import OPENAI, PNG_1X1, URL, Order, generate, received_calls, relay, settings_of

pytestmark = pytest.mark.anyio


async def answered(status: int, body: object) -> HttpResponse:
    return HttpResponse(status, {}, json.dumps(body).encode(), 0)


@pytest.mark.parametrize(
    ("url", "kind", "fact"),
    [
        ("http://images.example/1.png", InvalidResponseError, ""),
        ("ftp://images.example/1.png", InvalidResponseError, ""),
        ("http://[broken", InvalidResponseError, ""),
        ("https://127.0.0.1:1/1.png", InvalidResponseError, ""),
        ("https://10.0.0.1/1.png", InvalidResponseError, ""),
        ("https://169.254.169.254/latest/meta-data", InvalidResponseError, ""),
        ("https://[::ffff:127.0.0.1]/1.png", InvalidResponseError, ""),
        ("https://2130706433/1.png", InvalidResponseError, ""),
        ("https://localhost/1.png", InvalidResponseError, ""),
        ("https://router.local/1.png", InvalidResponseError, ""),
        ("https://me:secret@images.example/1.png", InvalidResponseError, ""),
        ("javascript:alert(1)", InvalidResponseError, ""),
        ("file:///etc/passwd", InvalidResponseError, ""),
        ("https://down.example/1.png", NetworkError, "down.example"),
        ("https://xn--a/1.png", InvalidResponseError, ""),
        ("https://images.example/\x07.png", InvalidResponseError, ""),
        ("https://images.example/gone.png", NetworkError, "HTTP 404"),
    ],
)
@pytest.mark.respx(assert_all_called=False)
async def test_an_image_is_fetched_only_from_a_valid_url(
    url: str, kind: type[ProviderError], fact: str, tmp_path: Path, respx_mock: respx.MockRouter
) -> None:
    respx_mock.post(URL).mock(return_value=httpx.Response(200, json={"data": [{"url": url}]}))
    respx_mock.get("https://images.example/gone.png").mock(return_value=httpx.Response(404))
    respx_mock.get("https://down.example/1.png").mock(side_effect=httpx.ConnectError("refused"))
    clock = Clock()
    with pytest.raises(kind) as caught:
        await generate(settings_of(tmp_path), OPENAI, clock=clock)
    assert fact in caught.value.message
    assert caught.value.may_be_billed
    assert 25 < sum(clock.waits) <= 30 if kind is NetworkError else clock.waits == []


async def test_a_proxy_that_cannot_be_used_costs_only_the_images_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "ftp://proxy.example")
    body = {"data": [{"url": "https://images.example/1.png"}, {"b64_json": PNG_1X1}]}
    with RawServer(answer(json.dumps(body).encode())) as server:
        result = await generate(relay(settings_of(tmp_path), server.url), OPENAI, n=2)
    assert len(result.images) == 1
    (error,) = result.errors
    assert isinstance(error, NetworkError)
    assert error.may_be_billed
    assert "HTTPS_PROXY" in error.message


async def test_a_client_that_is_closed_too_soon_costs_only_the_images_that_are_not_fetched_yet(tmp_path: Path) -> None:
    body = {"data": [{"url": "https://images.example/1.png"}, {"b64_json": PNG_1X1}]}

    async def send(_: httpx.Request) -> httpx.Response:
        await client.aclose()
        return httpx.Response(200, json=body)

    client = httpx.AsyncClient(transport=httpx.MockTransport(send))
    async with client, Service(settings_of(tmp_path), http_client=client) as service:
        result = await service.generate(GenerationRequest(prompt="a fox", model=OPENAI, n=2))
    assert len(result.images) == 1
    (error,) = result.errors
    assert isinstance(error, NetworkError)
    assert error.may_be_billed


@pytest.mark.parametrize(
    "params",
    [{"misses": 2}, {"key": "required"}, {"misses": 1, "key": "required"}, {"form": "data"}, {"form": "relative"}],
)
async def test_an_image_behind_a_url_may_come_late_or_need_the_key_or_be_in_the_url(
    params: dict[str, Any], sandbox_url: str, order: Order, tmp_path: Path
) -> None:
    order(OPENAI, "url_result", **params)
    clock = Clock()
    (image,) = (await generate(settings_of(tmp_path), OPENAI, clock=clock)).images
    (call,) = received_calls(sandbox_url)
    assert call["images"] == [hashlib.sha256(image.data).hexdigest()]
    assert clock.waits == [0.5, 1][: params.get("misses", 0)]


async def test_the_key_goes_to_no_other_origin_and_follows_no_redirect(
    tmp_path: Path, respx_mock: respx.MockRouter
) -> None:
    own, other = "https://api.openai.com/files/1.png", "https://files.openai.com/1.png"
    respx_mock.post(URL).mock(return_value=httpx.Response(200, json={"data": [{"url": own}, {"url": other}]}))
    elsewhere = httpx.Response(302, headers={"location": "https://elsewhere.example/1.png"})
    asked = respx_mock.get(own).mock(side_effect=[httpx.Response(401), elsewhere])
    foreign = respx_mock.get(other).mock(return_value=httpx.Response(401))
    with pytest.raises(NetworkError):
        await generate(settings_of(tmp_path), OPENAI, clock=Clock(), n=2)
    assert [("authorization" in call.request.headers) for call in asked.calls] == [False, True]
    assert foreign.call_count > 3
    assert not any("authorization" in call.request.headers for call in foreign.calls)


@pytest.mark.parametrize(
    ("url", "is_own"),
    [
        ("https://gw.example/x.png", True),
        ("https://GW.example:443/x.png", True),
        ("https://gw.example:444/x.png", False),
        ("http://gw.example/x.png", False),
        ("https://gw.example.evil.example/x.png", False),
        ("https://gw.example@evil.example/x.png", False),
        ("https://evil.example/https://gw.example/x.png", False),
    ],
)
async def test_only_the_same_scheme_host_and_port_get_the_key(
    url: str, is_own: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INVOKEAI_EXTERNAL_OPENAI_BASE_URL", "https://gw.example/v1")
    asked: list[tuple[str, Any]] = []
    clock = Clock()
    async with Service(settings_of(tmp_path), clock=clock, sleep=clock.sleep) as service:

        async def fetch(url: str, headers: Any, _: Any) -> HttpResponse:
            asked.append((url, headers))
            return HttpResponse(401 if len(asked) == 1 else 410, {}, b"", 0)

        monkeypatch.setattr(service._transport, "fetch", fetch)
        monkeypatch.setattr(
            service._transport, "send", lambda *_: answered(200, {"data": [{"url": url}]}), raising=True
        )
        with pytest.raises(ProviderError):
            await service.generate(GenerationRequest(model=OPENAI, prompt="a fox"))
    assert any(headers for _, headers in asked) is is_own


@pytest.mark.parametrize("url", ["../" * 30_000, "/?" + "a" * 70_000])
async def test_a_url_of_a_book_s_length_is_not_fetched(url: str, tmp_path: Path) -> None:
    with RawServer(answer(json.dumps({"data": [{"url": url}]}).encode())) as server:
        settings = replace(
            settings_of(tmp_path), credentials={"openai": Credentials(SecretStr("k" * 20), server.url, "the test")}
        )
        with pytest.raises(InvalidResponseError):
            await generate(settings, OPENAI)
    assert len(server.requests) == 1


async def test_at_most_ten_urls_are_fetched_within_one_deadline(tmp_path: Path, respx_mock: respx.MockRouter) -> None:
    urls = [{"url": f"https://images.example/{i}.png"} for i in range(40)]
    respx_mock.post(URL).mock(return_value=httpx.Response(200, json={"data": urls}))
    fetched = respx_mock.get(host="images.example").mock(return_value=httpx.Response(404))
    clock = Clock()
    with pytest.raises(NetworkError, match="HTTP 404"):
        await generate(settings_of(tmp_path), OPENAI, clock=clock, n=2)
    assert len({str(call.request.url) for call in fetched.calls}) == 10
    assert sum(clock.waits) <= 30


async def test_the_images_that_a_response_names_by_url_share_its_limit(
    tmp_path: Path, respx_mock: respx.MockRouter
) -> None:
    image = encoded(noisy((640, 640)), "PNG")
    most = 1_000_000
    assert 2 * len(image) < most < 3 * len(image)
    urls = [{"url": f"https://images.example/{i}.png"} for i in range(3)]
    respx_mock.post(URL).mock(return_value=httpx.Response(200, json={"data": urls}))
    respx_mock.get(host="images.example").mock(
        side_effect=lambda request: httpx.Response(200, content=image + request.url.path.encode())
    )
    result = await generate(settings_of(tmp_path, max_response_bytes=most), OPENAI, n=3)
    assert len(result.images) == 2
    assert [type(error) for error in result.errors] == [InvalidResponseError]


async def test_a_complete_fetched_image_counts_though_its_transfer_did_not_end(tmp_path: Path) -> None:
    image = base64.b64decode(PNG_1X1)

    def script(request: RawReceived) -> list[Step]:
        if request.method == "POST":
            return [answer(b'{"data": [{"url": "/1.png"}]}')]
        return [answer(image, content_length=len(image) + 2)]

    with anyio.fail_after(30), RawServer(script=script) as server:
        result = await generate(relay(settings_of(tmp_path), server.url), OPENAI, clock=Clock())
    assert [image.data for image in result.images] == [image]
    assert [request.method for request in server.requests] == ["POST", "GET"]


async def test_half_a_fetched_image_is_fetched_again(tmp_path: Path) -> None:
    image = base64.b64decode(PNG_1X1)
    # Cut within its pixels.
    halves = [answer(image[:-20], content_length=len(image)), answer(image)]

    def script(request: RawReceived) -> list[Step]:
        return [answer(b'{"data": [{"url": "/1.png"}]}')] if request.method == "POST" else [halves.pop(0)]

    with anyio.fail_after(30), RawServer(script=script) as server:
        result = await generate(relay(settings_of(tmp_path), server.url), OPENAI, clock=Clock())
    assert [image.data for image in result.images] == [image]


async def test_an_image_at_an_https_url_is_fetched_without_the_key(
    tmp_path: Path, respx_mock: respx.MockRouter
) -> None:
    url = "https://images.example/1.png"
    respx_mock.post(URL).mock(return_value=httpx.Response(200, json={"data": [{"url": url}, {"b64_json": "!"}]}))
    fetched = respx_mock.get(url).mock(return_value=httpx.Response(200, content=base64.b64decode(PNG_1X1)))
    result = await generate(settings_of(tmp_path), OPENAI, n=2)
    assert "authorization" not in fetched.calls[0].request.headers
    assert len(result.images) == 1
    assert [type(error) for error in result.errors] == [InvalidResponseError]


async def test_fetching_a_finished_image_is_retried(tmp_path: Path, respx_mock: respx.MockRouter) -> None:
    url = "https://images.example/1.png"
    made = respx_mock.post(URL).mock(return_value=httpx.Response(200, json={"data": [{"url": url}]}))
    answers: list[httpx.Response | Exception] = [
        httpx.Response(503, headers={"retry-after-ms": "10"}),
        httpx.ReadTimeout("slow"),
        httpx.ReadError("gone"),
        httpx.Response(200, content=base64.b64decode(PNG_1X1)),
    ]
    fetched = respx_mock.get(url).mock(side_effect=answers)
    assert len((await generate(settings_of(tmp_path), OPENAI)).images) == 1
    assert (made.call_count, fetched.call_count) == (1, 4)


async def test_an_image_on_the_provider_s_own_machine_is_fetched(tmp_path: Path) -> None:
    """A server on this machine or in a private network may name its own URLs."""
    image = base64.b64decode(PNG_1X1)

    def script(request: RawReceived) -> list[Step]:
        own = f"http://{request.headers['host']}/1.png"
        return [answer(json.dumps({"data": [{"url": own}]}).encode() if request.method == "POST" else image)]

    with anyio.fail_after(30), RawServer(script=script) as server:
        result = await generate(relay(settings_of(tmp_path), server.url), OPENAI, clock=Clock())
    assert [made.data for made in result.images] == [image]
