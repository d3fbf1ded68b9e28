"""Faults, the log of requests, and what no log contains."""

from __future__ import annotations

import base64
import datetime
import email.utils
import functools
import hashlib
import io
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest
from PIL import Image
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from invokeai_external.sandbox import create_app
from invokeai_external.sandbox.faults import FAULTS, PROVIDERS

from ..support.samples import encoded, painted
from ..support.servers import SandboxServer

QueueFault = Callable[..., None]
KEYS = {"Authorization": "Bearer sk-test", "x-goog-api-key": "test"}
CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "openai": ("/openai/v1/images/generations", {"model": "gpt-image-2", "prompt": "a lighthouse"}),
    "gemini": (
        "/gemini/v1beta/models/gemini-nano-banana-2.1:generateContent",
        {"contents": [{"parts": [{"text": "a lighthouse"}]}]},
    ),
}


def call(http: httpx.Client, provider: str) -> httpx.Response:
    path, body = CALLS[provider]
    return http.post(path, json=body)


def image_text(response: httpx.Response, provider: str) -> str:
    """The image of a response as it was sent, which should be base64."""
    assert response.status_code == 200, response.text
    body = response.json()
    if provider == "openai":
        return str(body["data"][0]["b64_json"])
    return str(body["candidates"][0]["content"]["parts"][-1]["inlineData"]["data"])


def fault_error(http: httpx.Client, provider: str, status: int) -> dict[str, Any]:
    response = call(http, provider)
    assert response.status_code == status, response.text
    error: dict[str, Any] = response.json()["error"]
    if provider == "gemini":
        assert error["code"] == status
    else:
        assert list(error) == ["message", "type", "param", "code"]
    return error


def outcomes(http: httpx.Client) -> list[object]:
    return [entry["outcome"] for entry in http.get("/sandbox/requests").json()["requests"]]


class TestQueue:
    def test_faults_apply_in_order_until_the_queue_is_empty(self, http: httpx.Client, queue_fault: QueueFault) -> None:
        queue_fault("openai", "server_error", times=2, status=500)
        queue_fault("openai", "moderation")
        queue_fault("gemini", "quota")
        assert http.get("/sandbox/faults").json()["waiting"] == {"openai": 3, "gemini": 1}
        assert [call(http, "openai").status_code for _ in range(4)] == [500, 500, 400, 200]
        assert [call(http, "gemini").status_code for _ in range(2)] == [429, 200]

    def test_the_queue_can_be_cleared(self, http: httpx.Client, queue_fault: QueueFault) -> None:
        queue_fault("openai", "quota", times=5)
        assert http.delete("/sandbox/faults").status_code == 204
        assert call(http, "openai").status_code == 200

    def test_only_requests_for_images_with_a_valid_key_take_a_fault(
        self, http: httpx.Client, queue_fault: QueueFault
    ) -> None:
        queue_fault("openai", "quota")
        assert http.get("/openai/v1/models").status_code == 200
        assert http.post(CALLS["openai"][0], headers={"Authorization": "Bearer wrong"}).status_code == 401
        assert call(http, "openai").status_code == 429

    @pytest.mark.parametrize(
        ("body", "fact"),
        [
            (None, "JSON"),
            ([], "JSON"),
            ({"provider": "azure", "fault": "quota"}, "openai, gemini"),
            ({"provider": "openai", "fault": "rain"}, "moderation"),
            ({"provider": "openai", "fault": "blocked_prompt"}, "moderation"),
            ({"provider": "openai", "fault": "quota", "times": 0}, "times"),
            ({"provider": "openai", "fault": "quota", "times": True}, "times"),
            ({"provider": "openai", "fault": "quota", "colour": 1}, "colour"),
            ({"provider": "openai", "fault": "moderation", "violation": 1}, "violation"),
            ({"provider": "openai", "fault": "server_error", "status": 200}, "408, 409, 500"),
            ({"provider": "openai", "fault": "slow", "seconds": -1}, "seconds"),
            ({"provider": "openai", "fault": "served_file", "file": "no base64"}, "base64"),
            ({"provider": "openai", "fault": "served_file", "file": 5}, "base64"),
        ],
        ids=repr,
    )
    def test_an_invalid_fault_is_refused_with_the_reason(self, http: httpx.Client, body: Any, fact: str) -> None:
        response = http.post("/sandbox/faults", json=body)
        assert response.status_code == 422
        assert fact in response.json()["error"]

    def test_a_fault_that_is_not_json(self, http: httpx.Client) -> None:
        assert http.post("/sandbox/faults", content=b"{").status_code == 422

    def test_the_table_of_faults(self, http: httpx.Client) -> None:
        table = http.get("/sandbox/faults").json()["faults"]
        assert set(table) == set(FAULTS)
        assert table["slow"]["params"] == {"seconds": {"default": 1.0, "choices": []}}

    def test_every_fault_can_be_queued_without_parameters(self, http: httpx.Client, queue_fault: QueueFault) -> None:
        for name, kind in FAULTS.items():
            for provider in kind.providers:
                queue_fault(provider, name)
        assert sum(http.get("/sandbox/faults").json()["waiting"].values()) == sum(
            len(kind.providers) for kind in FAULTS.values()
        )


class TestErrors:
    @pytest.mark.parametrize(
        ("form", "headers"),
        [
            ("retry-after-ms", {"retry-after-ms": "2500"}),
            ("retry-after-seconds", {"retry-after": "2.5"}),
            ("x-should-retry-true", {"x-should-retry": "true"}),
            ("x-should-retry-false", {"x-should-retry": "false"}),
            ("none", {}),
        ],
    )
    @pytest.mark.parametrize("provider", PROVIDERS)
    def test_rate_limited(
        self, http: httpx.Client, queue_fault: QueueFault, provider: str, form: str, headers: dict[str, str]
    ) -> None:
        queue_fault(provider, "rate_limited", form=form, seconds=2.5)
        response = call(http, provider)
        assert response.status_code == 429
        headers_sent = {name: value for name, value in response.headers.items() if "retry" in name}
        assert headers_sent == headers

    def test_rate_limited_until_a_date(self, http: httpx.Client, queue_fault: QueueFault) -> None:
        queue_fault("openai", "rate_limited", form="retry-after-date", seconds=100)
        before = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
        until = email.utils.parsedate_to_datetime(call(http, "openai").headers["retry-after"])
        wait = datetime.timedelta(seconds=100)
        assert before + wait <= until <= datetime.datetime.now(datetime.UTC) + wait

    @pytest.mark.parametrize(
        ("params", "delay"), [({"seconds": 20.75}, "20.75s"), ({"delay": "900ms"}, "900ms"), ({"seconds": 3}, "3s")]
    )
    def test_retry_info(self, http: httpx.Client, queue_fault: QueueFault, params: dict[str, Any], delay: str) -> None:
        queue_fault("gemini", "rate_limited", form="retry-info", **params)
        error = fault_error(http, "gemini", 429)
        assert error["status"] == "RESOURCE_EXHAUSTED"
        assert error["details"] == [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}]

    @pytest.mark.parametrize(
        "code", ["insufficient_quota", "billing_hard_limit_reached", "project_spend_limit_exceeded"]
    )
    def test_quota_of_openai(self, http: httpx.Client, queue_fault: QueueFault, code: str) -> None:
        queue_fault("openai", "quota", code=code)
        assert fault_error(http, "openai", 429)["code"] == code

    @pytest.mark.parametrize(("limit", "name"), [("per_day", "PerDay"), ("per_minute", "PerMinute")])
    def test_quota_of_gemini(self, http: httpx.Client, queue_fault: QueueFault, limit: str, name: str) -> None:
        queue_fault("gemini", "quota", limit=limit, delay="58.8s")
        failure, retry = fault_error(http, "gemini", 429)["details"]
        assert name in failure["violations"][0]["quotaId"]
        assert retry["retryDelay"] == "58.8s"

    def test_a_wait_only_in_the_message(self, http: httpx.Client, queue_fault: QueueFault) -> None:
        for provider in PROVIDERS:
            queue_fault(provider, "rate_limited", form="words", seconds=0.25)
            response = call(http, provider)
            assert "Please try again after 0.25 seconds." in response.json()["error"]["message"]
            assert not [name for name in response.headers if "retry" in name]

    def test_no_credit_left(self, http: httpx.Client, queue_fault: QueueFault) -> None:
        queue_fault("openai", "quota", code="insufficient_user_quota", status=403)
        assert fault_error(http, "openai", 403)["code"] == "insufficient_user_quota"
        queue_fault("gemini", "quota", limit="prepayment", status=402)
        assert fault_error(http, "gemini", 402)["status"] == "RESOURCE_EXHAUSTED"
        queue_fault("gemini", "quota", limit="zero_value")
        (failure,) = fault_error(http, "gemini", 429)["details"]
        assert "quotaValue" not in failure["violations"][0]

    def test_no_free_quota(self, http: httpx.Client, queue_fault: QueueFault) -> None:
        queue_fault("gemini", "quota", limit="zero")
        error = fault_error(http, "gemini", 429)
        assert "limit: 0" in error["message"]
        assert "details" not in error

    @pytest.mark.parametrize("provider", PROVIDERS)
    @pytest.mark.parametrize("status", [408, 409, 500, 502, 503, 504])
    def test_server_errors(self, http: httpx.Client, queue_fault: QueueFault, provider: str, status: int) -> None:
        queue_fault(provider, "server_error", status=status)
        assert fault_error(http, provider, status)["message"]
        queue_fault(provider, "server_error", status=status, body="html")
        page = call(http, provider)
        assert (page.status_code, page.headers["content-type"].partition(";")[0]) == (status, "text/html")
        assert page.text.startswith("<html>")

    @pytest.mark.parametrize("provider", PROVIDERS)
    @pytest.mark.parametrize("status", [504, 520, 522, 524])
    def test_gateway_timeout(self, http: httpx.Client, queue_fault: QueueFault, provider: str, status: int) -> None:
        queue_fault(provider, "gateway_timeout", status=status)
        page = call(http, provider)
        assert (page.status_code, page.headers["content-type"].partition(";")[0]) == (status, "text/html")

    def test_moderation(self, http: httpx.Client, queue_fault: QueueFault) -> None:
        queue_fault("openai", "moderation", violation="self_harm")
        response = call(http, "openai")
        error = response.json()["error"]
        assert (response.status_code, error["code"], error["type"]) == (
            400,
            "moderation_blocked",
            "image_generation_user_error",
        )
        assert response.headers["x-request-id"] in error["message"]
        assert "safety_violations=[self_harm]" in error["message"]
        assert error["moderation_details"] == {"moderation_stage": "input", "categories": ["self_harm"]}
        queue_fault("openai", "moderation", stage="output")
        assert call(http, "openai").json()["error"]["moderation_details"]["moderation_stage"] == "output"

    def test_organization_not_verified(self, http: httpx.Client, queue_fault: QueueFault) -> None:
        queue_fault("openai", "organization_not_verified")
        assert "must be verified" in fault_error(http, "openai", 403)["message"]

    def test_wrapped_error(self, http: httpx.Client, queue_fault: QueueFault) -> None:
        queue_fault("gemini", "wrapped_error", status=429)
        response = call(http, "gemini")
        assert response.status_code == 429
        assert [item["error"]["status"] for item in response.json()] == ["RESOURCE_EXHAUSTED"]


class TestResponsesWithoutAnImage:
    def test_blocked_prompt(self, http: httpx.Client, queue_fault: QueueFault) -> None:
        queue_fault("gemini", "blocked_prompt", reason="BLOCKLIST")
        body = call(http, "gemini").json()
        assert body["promptFeedback"] == {"blockReason": "BLOCKLIST"}
        assert "candidates" not in body
        assert set(body["usageMetadata"]) == {"promptTokenCount", "totalTokenCount", "promptTokensDetails"}

    def test_refusal_text(self, http: httpx.Client, queue_fault: QueueFault) -> None:
        queue_fault("gemini", "refusal_text", text="No.")
        candidate = call(http, "gemini").json()["candidates"][0]
        assert (candidate["content"]["parts"], candidate["finishReason"]) == ([{"text": "No."}], "STOP")

    @pytest.mark.parametrize(
        ("params", "candidate"),
        [
            ({"reason": "MAX_TOKENS"}, {"finishReason": "MAX_TOKENS"}),
            ({"reason": "NO_IMAGE", "message": "None."}, {"finishReason": "NO_IMAGE", "finishMessage": "None."}),
        ],
        ids=repr,
    )
    def test_finish_reason(
        self, http: httpx.Client, queue_fault: QueueFault, params: dict[str, str], candidate: dict[str, str]
    ) -> None:
        queue_fault("gemini", "finish_reason", **params)
        assert call(http, "gemini").json()["candidates"] == [{"content": {}, "index": 0, **candidate}]

    def test_no_image(self, http: httpx.Client, queue_fault: QueueFault) -> None:
        for provider in PROVIDERS:
            queue_fault(provider, "no_image")
        assert call(http, "openai").json()["data"] == []
        assert call(http, "gemini").json()["candidates"][0]["content"] == {"role": "model"}


class TestBrokenResponses:
    @pytest.mark.parametrize("provider", PROVIDERS)
    def test_images(self, http: httpx.Client, queue_fault: QueueFault, provider: str) -> None:
        for fault in ("bad_base64", "not_an_image", "url_safe_base64", "jpeg_answer", "other_size"):
            queue_fault(provider, fault)
        broken = [image_text(call(http, provider), provider) for _ in range(5)]
        with pytest.raises(ValueError, match="base64"):
            base64.b64decode(broken[0], validate=True)
        with pytest.raises(OSError, match="cannot identify"):
            Image.open(io.BytesIO(base64.b64decode(broken[1])))
        assert set("-_") & set(broken[2])
        assert not set("+/") & set(broken[2])
        usual = {"openai": "PNG", "gemini": "JPEG"}[provider]
        assert Image.open(io.BytesIO(base64.urlsafe_b64decode(broken[2]))).format == usual
        assert Image.open(io.BytesIO(base64.b64decode(broken[3]))).format == "JPEG"
        assert Image.open(io.BytesIO(base64.b64decode(broken[4]))).size == (896, 640)

    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
    @pytest.mark.parametrize("provider", PROVIDERS)
    def test_served_file(self, http: httpx.Client, queue_fault: QueueFault, provider: str, kind: str) -> None:
        file = encoded(painted("RGB", (40, 30)), kind) + b"after its end"
        queue_fault(provider, "served_file", file=base64.b64encode(file).decode())
        assert base64.b64decode(image_text(call(http, provider), provider)) == file

    def test_sloppy_mask(self, http: httpx.Client, queue_fault: QueueFault, photo_png: bytes, mask_png: bytes) -> None:
        def edit() -> Image.Image:
            response = http.post(
                "/openai/v1/images/edits",
                data={"model": "gpt-image-1.5", "prompt": "a lighthouse", "size": "1024x1024"},
                files=[("image", ("a.png", photo_png, "image/png")), ("mask", ("m.png", mask_png, "image/png"))],
            )
            return Image.open(io.BytesIO(base64.b64decode(image_text(response, "openai"))))

        queue_fault("openai", "sloppy_mask")
        sloppy, exact = edit(), edit()
        outside = (0, 0, 1024, 200)
        assert sloppy.crop(outside) != exact.crop(outside)
        inside = (400, 300, 600, 700)
        assert sloppy.crop(inside) == exact.crop(inside)

    def test_url_result(self, http: httpx.Client, queue_fault: QueueFault) -> None:
        queue_fault("openai", "url_result")
        (item,) = call(http, "openai").json()["data"]
        assert list(item) == ["url"]
        assert item["url"].startswith(str(http.base_url))
        fetched = httpx.get(item["url"])
        assert Image.open(io.BytesIO(fetched.content)).size == (1024, 1024)

    def test_a_data_url_and_a_relative_url(self, http: httpx.Client, queue_fault: QueueFault) -> None:
        queue_fault("openai", "url_result", form="data")
        (item,) = call(http, "openai").json()["data"]
        head, _, text = item["url"].partition(",")
        assert head == "data:image/png;base64"
        assert Image.open(io.BytesIO(base64.b64decode(text))).size == (1024, 1024)
        queue_fault("openai", "url_result", form="relative")
        (item,) = call(http, "openai").json()["data"]
        assert item["url"].startswith("/openai/files/")
        assert http.get(item["url"]).status_code == 200

    def test_a_url_that_works_late_and_needs_the_key(self, http: httpx.Client, queue_fault: QueueFault) -> None:
        queue_fault("openai", "url_result", misses=2, key="required")
        (item,) = call(http, "openai").json()["data"]
        assert [httpx.get(item["url"]).status_code for _ in range(3)] == [404, 404, 401]
        assert http.get(item["url"]).status_code == 200

    @pytest.mark.parametrize("provider", PROVIDERS)
    def test_more_images_than_requested(self, http: httpx.Client, queue_fault: QueueFault, provider: str) -> None:
        sizes = []
        for form in ("twice", "small_first"):
            queue_fault(provider, "several_images", form=form)
            response = call(http, provider).json()
            if provider == "openai":
                texts = [item["b64_json"] for item in response["data"]]
            else:
                parts = response["candidates"][0]["content"]["parts"]
                texts = [part["inlineData"]["data"] for part in parts if "inlineData" in part]
            assert len(texts) == 2
            sizes.append([Image.open(io.BytesIO(base64.b64decode(text))).size for text in texts])
        whole, half = ((1024, 1024), (512, 512)) if provider == "openai" else ((1408, 768), (704, 384))
        assert sizes == [[whole] * 2, [half, whole]]

    def test_thought_only(self, http: httpx.Client, queue_fault: QueueFault) -> None:
        queue_fault("gemini", "thought_only")
        (candidate,) = call(http, "gemini").json()["candidates"]
        assert candidate["finishReason"] == "STOP"
        assert [part["thought"] for part in candidate["content"]["parts"]] == [True]

    def test_snake_case(self, http: httpx.Client, queue_fault: QueueFault) -> None:
        queue_fault("gemini", "snake_case")
        body = call(http, "gemini").json()
        assert set(body) == {"candidates", "usage_metadata", "model_version", "response_id"}
        assert body["candidates"][0]["content"]["parts"][-1]["inline_data"]["mime_type"] == "image/jpeg"

    @pytest.mark.parametrize("provider", PROVIDERS)
    def test_truncated_json(self, http: httpx.Client, queue_fault: QueueFault, provider: str) -> None:
        queue_fault(provider, "truncated_json")
        response = call(http, provider)
        assert response.status_code == 200
        with pytest.raises(json.JSONDecodeError):
            response.json()

    @pytest.mark.parametrize("provider", PROVIDERS)
    def test_connections(self, http: httpx.Client, queue_fault: QueueFault, provider: str) -> None:
        queue_fault(provider, "truncated_body")
        queue_fault(provider, "dropped_connection")
        with pytest.raises(httpx.RemoteProtocolError):
            call(http, provider)
        with pytest.raises(httpx.RemoteProtocolError):
            call(http, provider)
        assert call(http, provider).status_code == 200

    @pytest.mark.parametrize("fault", ["truncated_body", "dropped_connection"])
    def test_connections_in_process(self, fault: str) -> None:
        with TestClient(create_app(), headers={"Authorization": "Bearer sk-test"}) as client:
            client.post("/sandbox/faults", json={"provider": "openai", "fault": fault})
            path, body = CALLS["openai"]
            with pytest.raises(ConnectionResetError):
                client.post(path, json=body)

    @pytest.mark.parametrize("provider", PROVIDERS)
    def test_slow(self, provider: str) -> None:
        waits: list[float] = []

        async def sleep(seconds: float) -> None:
            waits.append(seconds)

        with TestClient(create_app(sleep=sleep), headers=KEYS) as client:
            client.post("/sandbox/faults", json={"provider": provider, "fault": "slow", "seconds": 0.3})
            path, body = CALLS[provider]
            assert client.post(path, json=body).status_code == 200
        assert waits == [0.3]

    def test_a_slow_stream(self) -> None:
        waits: list[float] = []

        async def sleep(seconds: float) -> None:
            waits.append(seconds)

        with TestClient(create_app(sleep=sleep), headers=KEYS) as client:
            client.post("/sandbox/faults", json={"provider": "openai", "fault": "slow_stream", "seconds": 0.3})
            path, body = CALLS["openai"]
            events = client.post(path, json={**body, "stream": True, "partial_images": 2}).text.count("data: ")
        assert waits == [0.3] * (events - 1)

    def test_a_slow_request_can_be_cancelled(self) -> None:
        async def ask() -> None:
            sleeping = anyio.Event()

            async def sleep(seconds: float) -> None:
                sleeping.set()
                await anyio.sleep_forever()

            async with _in_process(sleep) as client, anyio.create_task_group() as group:
                await client.post("/sandbox/faults", json={"provider": "openai", "fault": "slow"})
                path, body = CALLS["openai"]
                group.start_soon(functools.partial(client.post, path, json=body))
                await sleeping.wait()
                group.cancel_scope.cancel()

        anyio.run(ask)

    def test_requests_overlap(self) -> None:
        async def five_at_once() -> None:
            sleeping, all_sleep = [], anyio.Event()

            async def sleep(seconds: float) -> None:
                sleeping.append(seconds)
                if len(sleeping) == 5:
                    all_sleep.set()
                await all_sleep.wait()

            async with _in_process(sleep) as client:
                await client.post("/sandbox/faults", json={"provider": "openai", "fault": "slow", "times": 5})
                path, body = CALLS["openai"]
                async with anyio.create_task_group() as group:
                    for _ in range(5):
                        group.start_soon(functools.partial(client.post, path, json=body))

        anyio.run(five_at_once)


def _in_process(sleep: Callable[[float], Awaitable[None]]) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(create_app(sleep=sleep))
    return httpx.AsyncClient(transport=transport, base_url="http://sandbox", headers=KEYS)


class TestLog:
    def test_requests_are_logged_without_keys_and_images(
        self, http: httpx.Client, photo_png: bytes, mask_png: bytes
    ) -> None:
        data = base64.b64encode(photo_png).decode()
        call(http, "openai")
        http.post(
            "/openai/v1/images/edits",
            data={"model": "gpt-image-2", "prompt": "x"},
            files=[("image[]", ("a.png", photo_png, "image/png")), ("mask", ("m.png", mask_png, "image/png"))],
        )
        parts = [{"text": "x"}, {"inline_data": {"mime_type": "image/png", "data": data}}]
        http.post(CALLS["gemini"][0], json={"contents": [{"parts": parts}]})
        response = http.get("/sandbox/requests")
        generation, edit, content = response.json()["requests"]
        assert (generation["method"], generation["path"]) == ("POST", CALLS["openai"][0])
        assert generation["json"] == CALLS["openai"][1]
        assert generation["headers"]["authorization"] == generation["headers"]["x-goog-api-key"] == "present"
        assert edit["fields"][:2] == [{"name": "model", "value": "gpt-image-2"}, {"name": "prompt", "value": "x"}]
        assert [(f["name"], f["filename"], f["content_type"], f["bytes"]) for f in edit["fields"][2:]] == [
            ("image[]", "a.png", "image/png", len(photo_png)),
            ("mask", "m.png", "image/png", len(mask_png)),
        ]
        logged = content["json"]["contents"][0]["parts"][1]["inline_data"]["data"]
        assert logged == {"bytes": len(photo_png), "sha256": edit["fields"][2]["sha256"]}
        assert "sk-test" not in response.text
        assert data not in response.text

    def test_the_outcome_of_a_request_is_logged(self, http: httpx.Client, queue_fault: QueueFault) -> None:
        queue_fault("openai", "rate_limited", form="none")
        assert call(http, "openai").status_code == 429
        assert call(http, "gemini").status_code == 200
        assert outcomes(http) == [429, 200]

    def test_a_cancelled_request_is_logged_as_abandoned(self) -> None:
        sleeping = threading.Event()

        async def sleep(seconds: float) -> None:
            sleeping.set()
            await anyio.sleep_forever()

        async def cancel_while_it_sleeps(url: str) -> None:
            path, body = CALLS["openai"]
            async with httpx.AsyncClient(base_url=url, headers=KEYS) as client, anyio.create_task_group() as group:
                group.start_soon(functools.partial(client.post, path, json=body, timeout=None))
                await anyio.to_thread.run_sync(sleeping.wait)
                group.cancel_scope.cancel()

        with SandboxServer(create_app(sleep=sleep)) as server, httpx.Client(base_url=server.url) as http:
            http.post("/sandbox/faults", json={"provider": "openai", "fault": "slow"})
            anyio.run(cancel_while_it_sleeps, server.url)
            while None in outcomes(http):
                pass
            assert outcomes(http) == ["abandoned"]

    @pytest.mark.parametrize("provider", PROVIDERS)
    def test_complete_images_are_logged_by_their_hash(
        self, http: httpx.Client, queue_fault: QueueFault, provider: str
    ) -> None:
        call(http, provider)
        for fault in ("bad_base64", "not_an_image", "truncated_json"):
            queue_fault(provider, fault)
            call(http, provider)
        queue_fault(provider, "truncated_body")
        with pytest.raises(httpx.RemoteProtocolError):
            call(http, provider)
        good = image_text(call(http, provider), provider)
        logged = [
            (entry["outcome"], len(entry["images"])) for entry in http.get("/sandbox/requests").json()["requests"]
        ]
        assert logged == [(200, 1), (200, 0), (200, 0), (200, 0), ("cut short", 0), (200, 1)]
        last = http.get("/sandbox/requests").json()["requests"][-1]
        assert last["images"] == [hashlib.sha256(base64.b64decode(good)).hexdigest()]

    def test_a_complete_image_of_a_stream_is_logged_even_if_the_stream_is_cut_short(
        self, http: httpx.Client, queue_fault: QueueFault
    ) -> None:
        path, body = CALLS["gemini"]
        path = path.replace(":generateContent", ":streamGenerateContent?alt=sse")
        queue_fault("gemini", "truncated_body")
        with pytest.raises(httpx.RemoteProtocolError):
            http.post(path, json=body)
        queue_fault("gemini", "stream_ends_early")
        http.post(path, json=body)
        path, body = CALLS["openai"]
        queue_fault("openai", "truncated_body")
        with pytest.raises(httpx.RemoteProtocolError):
            http.post(path, json={**body, "stream": True, "partial_images": 1})
        http.post(path, json={**body, "stream": True, "partial_images": 1})
        logged = [
            (entry["outcome"], len(entry["images"])) for entry in http.get("/sandbox/requests").json()["requests"]
        ]
        assert logged == [("cut short", 1), (200, 0), ("cut short", 0), (200, 1)]

    def test_refused_requests_are_logged_too(self, http: httpx.Client) -> None:
        http.post(CALLS["openai"][0], content=b"{", headers={"Content-Type": "application/json"})
        http.get("/gemini/v1/models")
        assert [c["path"] for c in http.get("/sandbox/requests").json()["requests"]] == [
            CALLS["openai"][0],
            "/gemini/v1/models",
        ]

    def test_it_can_be_cleared(self, http: httpx.Client) -> None:
        call(http, "openai")
        assert http.delete("/sandbox/requests").status_code == 204
        assert http.get("/sandbox/requests").json() == {"requests": []}

    def test_nothing_is_logged_elsewhere(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        with TestClient(create_app(), headers={"Authorization": "Bearer sk-secret"}) as client:
            client.post(CALLS["openai"][0], json={"model": "gpt-image-2", "prompt": "a private prompt"})
        # Only the client of this test logs a line with the URL, without a prompt or a key.
        assert "private" not in caplog.text
        assert "sk-secret" not in caplog.text

    @pytest.mark.parametrize("path", ["models", "models/x", "models/x:generateContent", "nowhere"])
    def test_a_key_in_the_url_is_removed_before_the_server_logs_it(self, path: str) -> None:
        app, seen = create_app(), []

        async def watched(scope: Scope, receive: Receive, send: Send) -> None:
            await app(scope, receive, send)
            # Web servers write the query of this scope into their access log.
            seen.append(scope.get("query_string"))

        client = TestClient(watched)
        for method in ("GET", "POST"):
            assert client.request(method, f"/gemini/v1/{path}?a=1&key=secret").status_code in (400, 404)
        assert seen == [b"a=1&key=present"] * 2


class TestApps:
    def test_two_sandboxes_share_nothing(self) -> None:
        with TestClient(create_app()) as one, TestClient(create_app()) as other:
            one.post("/sandbox/faults", json={"provider": "openai", "fault": "quota"})
            one.get("/openai/v1/models")
            assert other.get("/sandbox/faults").json()["waiting"]["openai"] == 0
            assert other.get("/sandbox/requests").json()["requests"] == []

    def test_the_admin_routes_can_be_omitted(self) -> None:
        with TestClient(create_app(admin=False)) as client:
            for path in ("/sandbox/faults", "/sandbox/requests"):
                assert client.get(path).status_code == 404

    def test_only_the_newest_files_with_urls_are_stored(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("invokeai_external.sandbox.state._MAX_FILES", 4)
        with TestClient(create_app(), headers={"Authorization": "Bearer sk-test"}) as client:
            client.post("/sandbox/faults", json={"provider": "openai", "fault": "url_result", "times": 2})
            body = {**CALLS["openai"][1], "n": 3, "size": "816x816"}
            responses = [client.post(CALLS["openai"][0], json=body).json()["data"] for _ in range(2)]
            statuses = [client.get(item["url"]).status_code for response in responses for item in response]
        assert statuses == [404] * 2 + [200] * 4

    @pytest.mark.slow
    def test_no_client_library_is_loaded(self) -> None:
        # Without one the sandbox cannot reach the network.
        script = (
            "import sys; from invokeai_external.sandbox import create_app; create_app();"
            "print({'httpx', 'httpx2', 'requests', 'urllib3', 'aiohttp', 'openai', 'google.genai'} & set(sys.modules))"
        )
        shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert shown.stdout.strip() == "set()"
