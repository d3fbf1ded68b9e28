"""The sandbox's meter against every figure that is published, recorded or reported. It shares no price and no rule
with the client."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

import invokeai_external.sandbox
from invokeai_external.providers.catalog import page
from invokeai_external.providers.schema import ModelConfig
from invokeai_external.sandbox import gemini_tokens, openai_tokens
from invokeai_external.sandbox.meter import Tokens, cost_usd
from invokeai_external.sizing import Size

SUNBURST_26 = "gpt-image-2.6-sunburst"


@pytest.mark.parametrize(
    ("model", "size", "tokens"),
    [
        ("gpt-image-2", "1024x1024", {"low": 196, "medium": 1756, "high": 7024}),
        ("gpt-image-2", "1536x1024", {"low": 158, "medium": 1372, "high": 5488}),
        ("gpt-image-2", "1024x1536", {"low": 158, "medium": 1372, "high": 5488}),
        ("gpt-image-2", "1536x864", {"low": 120}),
        (
            "gpt-image-2.5-flare",
            "1024x1024",
            {"low": 196, "medium": 439, "high": 1756, "xhigh": 3122, "max": 7024},
        ),
        ("gpt-image-2.5-sunburst", "2880x2880", {"max": 23719}),
        ("gpt-image-1.5", "1024x1024", {"low": 272, "medium": 1056, "high": 4160}),
        ("gpt-image-1", "1536x1024", {"low": 400, "medium": 1568, "high": 6208}),
        # 4.2 times the tokens of 2.5 at low and medium, 1.02 times for the rest.
        (SUNBURST_26, "1536x1024", {"low": 664, "high": 1399}),
        (SUNBURST_26, "1024x1024", {"low": 824, "medium": 1844, "high": 1791, "xhigh": 3184, "max": 7164}),
    ],
    ids=str,
)
def test_the_tokens_of_an_image_of_openai(model: str, size: str, tokens: dict[str, int]) -> None:
    counted = {q: openai_tokens.output_image_tokens(model, q, Size.parse(size)) for q in tokens}
    assert counted == tokens


@pytest.mark.parametrize(
    ("size", "quality", "reported"),
    [("1536x1024", "low", 664), ("1536x1024", "high", 1353), ("3840x2160", "high", 3337)],
)
def test_what_was_reported_of_gpt_image_26_is_not_more_than_metered(size: str, quality: str, reported: int) -> None:
    assert reported <= openai_tokens.output_image_tokens(SUNBURST_26, quality, Size.parse(size)) <= 1.05 * reported


@pytest.mark.parametrize(
    ("model", "width", "height", "tokens"),
    [
        ("gpt-image-2", 128, 128, 64),
        ("gpt-image-2", 1024, 1024, 1024),
        ("gpt-image-2.6-flare", 512, 512, 1024),
        ("gpt-image-2.5-flare", 600, 300, 32 * 16),
        ("gpt-image-2", 4000, 3000, 1536),
        ("gpt-image-1.5", 1024, 1024, 194),
        ("gpt-image-1-mini", 1536, 1024, 65 + 2 * 129),
    ],
)
def test_the_tokens_of_an_input_image_of_openai(model: str, width: int, height: int, tokens: int) -> None:
    assert openai_tokens.input_image_tokens(model, width, height) == tokens


def test_the_tokens_of_gemini() -> None:
    for model in ("gemini-nano-banana-2.1", "gemini-3-pro-image", "gemini-3.1-flash-lite-image"):
        assert gemini_tokens.output_image_tokens(model, "1K") == 1120
    assert gemini_tokens.output_image_tokens("gemini-2.5-flash-image", None) == 1290
    assert gemini_tokens.input_image_tokens("gemini-3.1-flash-lite-image") == 1120


@pytest.mark.parametrize(
    ("model", "tokens", "usd"),
    [
        ("gpt-image-1.5", Tokens(text_in=169, text_out=439, image_out=4160), 0.138355),
        ("gpt-image-1-mini", Tokens(image_out=625), 0.005),
        ("gpt-image-1-mini", Tokens(image_out=1375), 0.011),
        ("gpt-image-1-mini", Tokens(image_out=4500), 0.036),
        ("gpt-image-2", Tokens(text_in=1_000_000, image_in=1_000_000, image_out=1_000_000), 43),
        ("gpt-image-2.6-flare", Tokens(previews=100), 0.003),
        ("gpt-image-2", Tokens(text_out=1), None),
        ("dall-e-3", Tokens(), None),
        ("gemini-3-pro-image", Tokens(text_out=100, thoughts=900, image_out=1120), 0.1464),
        ("gemini-2.5-flash-image", Tokens(text_in=1000, image_in=1000, image_out=1290), 0.0393),
    ],
)
def test_costs(model: str, tokens: Tokens, usd: float | None) -> None:
    assert cost_usd(model, tokens) == usd


@pytest.mark.parametrize(
    "model", [m.id for name in ("openai", "gemini") for m in page(name).configs() if not m.id.startswith("dall-e-")]
)
def test_every_model_has_its_price(model: str) -> None:
    assert cost_usd(model, Tokens(text_in=1, image_in=1, image_out=1))


def test_it_reads_no_price_and_no_token_of_the_catalogue() -> None:
    read = {
        node.attr
        for path in Path(invokeai_external.sandbox.__file__).parent.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
    }
    facts = {name for name in ModelConfig.model_fields if "price" in name or "token" in name}
    assert {"prices", "image_tokens", "image_token_rule"} <= facts
    assert read.isdisjoint(facts)


class TestLog:
    """What the log of requests says of each request."""

    @staticmethod
    def last(http: httpx.Client) -> Any:
        return http.get("/sandbox/requests").json()["requests"][-1]["metered"]

    def openai(self, http: httpx.Client, **body: Any) -> Any:
        body = {"model": "gpt-image-2", "prompt": "x" * 44, "quality": "low", "size": "1024x1024", **body}
        http.post("/openai/v1/images/generations", json=body)
        return self.last(http)

    def gemini(self, http: httpx.Client, model: str = "gemini-nano-banana-2.1", **settings: Any) -> Any:
        body = {"contents": [{"parts": [{"text": "x" * 40}]}], "generationConfig": settings}
        http.post(f"/gemini/v1beta/models/{model}:generateContent", json=body)
        return self.last(http)

    def test_openai(self, http: httpx.Client) -> None:
        tokens = {"text_in": 22, "image_in": 0, "text_out": 0, "thoughts": 0, "image_out": 392, "previews": 0}
        assert self.openai(http, n=2) == {"usd": 0.01187, "tokens": tokens, "searches": 0}

    def test_a_stream_bills_the_previews_that_come(self, http: httpx.Client) -> None:
        assert self.openai(http, stream=True, partial_images=3)["tokens"]["previews"] == 200
        assert self.openai(http, stream=True, partial_images=3, quality="high")["tokens"]["previews"] == 300

    def test_an_edit_bills_its_images_for_each_image_made(
        self, http: httpx.Client, photo_png: bytes, mask_png: bytes
    ) -> None:
        files = {"image": ("a.png", photo_png), "mask": ("m.png", mask_png)}
        http.post("/openai/v1/images/edits", data={"model": "gpt-image-2", "prompt": "x", "n": "2"}, files=files)
        # 300x200, enlarged to 600x400, for the image and the mask.
        assert self.last(http)["tokens"]["image_in"] == 2 * 2 * 19 * 13

    def test_gemini(self, http: httpx.Client) -> None:
        bill = self.gemini(http, seed=8)
        assert bill["tokens"] == {
            "text_in": 10,
            "image_in": 0,
            "text_out": 16,
            "thoughts": 208,
            "image_out": 1120,
            "previews": 0,
        }
        assert bill["usd"] == pytest.approx((10 * 1.5 + 224 * 7.5 + 1120 * 30) / 1e6)
        usage = http.post(
            "/gemini/v1beta/models/gemini-nano-banana-2.1:generateContent",
            json={"contents": [{"parts": [{"text": "x" * 40}]}], "generationConfig": {"seed": 8}},
        ).json()["usageMetadata"]
        assert usage["candidatesTokenCount"] == 1136
        assert usage["thoughtsTokenCount"] == 208

    def test_a_search_is_billed(self, http: httpx.Client) -> None:
        body = {"contents": [{"parts": [{"text": "x"}]}], "generationConfig": {"seed": 1}}
        prices = []
        searching: dict[str, Any] = {"tools": [{"googleSearch": {}}]}
        for more in ({}, searching):
            http.post("/gemini/v1beta/models/gemini-3-pro-image:generateContent", json={**body, **more})
            prices.append(self.last(http))
        assert prices[1]["searches"] == 1
        assert prices[1]["usd"] - prices[0]["usd"] == pytest.approx(0.014)

    def test_a_blocked_prompt_bills_only_the_prompt(self, http: httpx.Client, queue_fault: Callable[..., None]) -> None:
        queue_fault("gemini", "blocked_prompt")
        assert {name for name, count in self.gemini(http)["tokens"].items() if count} == {"text_in"}

    @pytest.mark.parametrize("fault", ["gateway_timeout", "dropped_connection", "truncated_body", "stream_ends_early"])
    @pytest.mark.parametrize("provider", ["openai", "gemini"])
    def test_what_does_not_arrive_is_billed(
        self, http: httpx.Client, queue_fault: Callable[..., None], fault: str, provider: str
    ) -> None:
        queue_fault(provider, fault)
        try:
            bill = self.openai(http) if provider == "openai" else self.gemini(http)
        except httpx.RemoteProtocolError:
            bill = self.last(http)
        assert bill["usd"] > 0

    def test_what_the_service_refuses_is_not_billed(self, http: httpx.Client, queue_fault: Callable[..., None]) -> None:
        for fault in ("rate_limited", "server_error", "moderation"):
            queue_fault("openai", fault)
            assert self.openai(http) is None
        assert self.openai(http, size="10x10") is None

    def test_a_stream_that_is_refused_is_not_billed(self, http: httpx.Client, queue_fault: Callable[..., None]) -> None:
        queue_fault("openai", "stream_refused")
        assert self.openai(http, stream=True) is None
        queue_fault("gemini", "stream_refused")
        http.post(
            "/gemini/v1beta/models/gemini-nano-banana-2.1:streamGenerateContent?alt=sse",
            json={"contents": [{"parts": [{"text": "x"}]}]},
        )
        assert self.last(http) is None
        assert self.gemini(http, temperature=2) is None
        http.get("/openai/v1/models")
        assert self.last(http) is None

    def test_dalle_has_no_price(self) -> None:
        from starlette.testclient import TestClient

        app = invokeai_external.sandbox.create_app(serve_retired=True)
        with TestClient(app, headers={"Authorization": "Bearer sk-test"}) as http:
            http.post("/openai/v1/images/generations", json={"model": "dall-e-3", "prompt": "x"})
            assert http.get("/sandbox/requests").json()["requests"][-1]["metered"]["usd"] is None
