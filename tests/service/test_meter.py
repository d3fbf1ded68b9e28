"""Estimates against the sandbox's meter, which has separate prices and token rules: the same bill, over HTTP.

Every model, size, quality and mode whose price is published, recorded or reported. What is exact must be met exactly,
what is bounded must not be exceeded.
"""

from __future__ import annotations

import datetime
import io
from collections.abc import AsyncIterator, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from invokeai_external.planning.plan import Plan, plan
from invokeai_external.pricing.estimate import listed_prices
from invokeai_external.pricing.tables import qualities_of
from invokeai_external.providers.registry import Registry
from invokeai_external.providers.schema import ModelConfig
from invokeai_external.providers.sizings import FixedSizing, FlexibleSizing
from invokeai_external.request import GenerationRequest, InputImage
from invokeai_external.sandbox import create_app, gemini_tokens, openai_tokens
from invokeai_external.sandbox.meter import Tokens, cost_usd
from invokeai_external.service.service import Service
from invokeai_external.settings.settings import load_settings
from invokeai_external.sizing import Size, SizeChoice

from ..support.servers import SandboxServer

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

DAY = datetime.date(2026, 10, 20)
"""On this day, all models with a known price are available."""

MODELS = {model.id: model for model in Registry(today=lambda: DAY).models() if model.prices.image_out is not None}
PRICED = pytest.mark.parametrize("model", MODELS.values(), ids=list(MODELS))

PUBLISHED_SIZES = [Size(1024, 1024), Size(1536, 1024), Size(1024, 1536), Size(1536, 864)]
LARGE_SIZES = [Size(2880, 2880), Size(3840, 2160)]
"""Drawing these takes the sandbox a while, so only some qualities are tried."""

NANO = 1e-9


@pytest.fixture(scope="module")
def meter_url() -> Iterator[str]:
    with SandboxServer(create_app(today=lambda: DAY)) as server:
        yield server.url


class Till:
    """Sends requests and reads the meter."""

    def __init__(self, service: Service, sandbox: httpx.Client) -> None:
        self._service = service
        self._sandbox = sandbox

    async def bill(self, model: ModelConfig, **asked: Any) -> tuple[Plan, dict[str, float]]:
        """The plan of a request, and the sum of the meter over its calls: ``usd``, and the tokens of each kind."""
        if "output_format" in model.options:
            # Faster to draw than PNG.
            asked["options"] = {"output_format": "jpeg", **asked.get("options", {})}
        request = GenerationRequest(model=model.reference, prompt="a red fox in snow", **asked)
        self._sandbox.delete("/sandbox/requests")
        result = await self._service.generate(request)
        assert len(result.images) == request.n
        assert "cost_overrun" not in {notice.code for notice in result.notices}
        total: dict[str, float] = {}
        for call in self._sandbox.get("/sandbox/requests").json()["requests"]:
            for name, value in {"usd": call["metered"]["usd"], **call["metered"]["tokens"]}.items():
                total[name] = total.get(name, 0) + value
        return plan(request, model), total


@pytest.fixture
async def till(meter_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Till]:
    monkeypatch.setenv("INVOKEAI_EXTERNAL_OPENAI_BASE_URL", f"{meter_url}/openai/v1")
    monkeypatch.setenv("INVOKEAI_EXTERNAL_GEMINI_BASE_URL", f"{meter_url}/gemini/v1beta")
    # This machine needs no certificates, and loading them takes longer than most requests.
    with httpx.Client(base_url=meter_url, verify=False) as sandbox:
        async with Service(load_settings(tmp_path)) as service:
            yield Till(service, sandbox)


@cache
def image(width: int, height: int, mode: str = "RGB") -> InputImage:
    file = io.BytesIO()
    drawn = Image.new(mode, (width, height))
    if mode == "L":
        drawn.paste(255, (0, 0, width // 2, height // 2))
    drawn.save(file, "PNG")
    return InputImage(file.getvalue(), f"{mode}.png")


def assert_within(found: Plan, bill: dict[str, float], model: ModelConfig) -> None:
    """The images cost what the estimate says, and the whole bill is not above its bound."""
    estimate, prices = found.estimate, model.prices
    images = estimate.part("images")
    assert images.at_most_usd is not None
    images_usd = bill["image_out"] * (prices.image_out or 0) / 1e6
    text_usd = (bill["text_out"] + bill["thoughts"]) * (prices.text_out or 0) / 1e6
    if images.basis in ("exact", "table"):
        assert images_usd == pytest.approx(images.usd, abs=NANO)
    elif images.usd is not None:
        assert images_usd == pytest.approx(images.usd, rel=0.03)
    assert images_usd <= images.at_most_usd + NANO
    assert text_usd <= (estimate.part("text").at_most_usd or 0)
    assert (text_usd > 0) == (bill["text_out"] + bill["thoughts"] > 0)
    prompt = estimate.part("prompt")
    assert prompt.at_most_usd is not None
    assert 0 < bill["text_in"] * (prices.text_in or 0) / 1e6 <= prompt.at_most_usd
    if estimate.total.at_most_usd is not None:
        assert bill["usd"] <= estimate.total.at_most_usd + NANO
    assert bill["usd"] == pytest.approx(images_usd + text_usd + _sent_usd(bill, model), abs=NANO)


def _sent_usd(bill: dict[str, float], model: ModelConfig) -> float:
    prices = model.prices
    tokens = bill["text_in"] * (prices.text_in or 0) + bill["image_in"] * (prices.image_in or 0)
    return (tokens + bill["previews"] * (prices.image_out or 0)) / 1e6


def qualities(model: ModelConfig) -> list[dict[str, str]]:
    return [{} if quality is None else {"quality": quality} for quality in qualities_of(model)]


@PRICED
async def test_a_prompt_at_every_size_and_quality(till: Till, model: ModelConfig) -> None:
    tried = 0
    if isinstance(model.sizing, FlexibleSizing | FixedSizing):
        for size in (size for size in PUBLISHED_SIZES if model.sizing.allows(size)):
            for options in qualities(model):
                found, bill = await till.bill(model, size=size, options=options)
                assert_within(found, bill, model)
                tried += 1
        assert tried == len(qualities(model)) * (3 if isinstance(model.sizing, FixedSizing) else 4)
        return
    for name in (*getattr(model.sizing, "image_sizes", ()), None):
        found, bill = await till.bill(model, image_size=name)
        assert_within(found, bill, model)


def metered_usd(model: ModelConfig, size: SizeChoice, quality: str | None) -> float:
    """What the meter counts for one image, without text."""
    if model.provider == "gemini":
        tokens = gemini_tokens.output_image_tokens(model.id, size.image_size)
    else:
        assert size.size is not None
        tokens = openai_tokens.output_image_tokens(model.id, quality or "", size.size)
    usd = cost_usd(model.id, Tokens(image_out=tokens))
    assert usd is not None
    return usd


@PRICED
def test_every_offered_size_and_quality(model: ModelConfig) -> None:
    """Without a request, since drawing them all takes minutes."""
    listed = listed_prices(model)
    assert len(listed) >= 9
    for entry in listed:
        metered, price = metered_usd(model, entry.size, entry.quality), entry.price
        assert price.usd is not None
        assert price.at_most_usd is not None
        if price.basis in ("exact", "table"):
            assert price.usd == price.at_most_usd == pytest.approx(metered, abs=NANO)
        else:
            assert price.usd == pytest.approx(metered, rel=0.03)
            assert metered <= price.at_most_usd + NANO


@pytest.mark.parametrize(
    ("model", "size", "quality"),
    [
        ("gpt-image-2", LARGE_SIZES[0], "high"),
        ("gpt-image-2.5-flare", LARGE_SIZES[0], "max"),
        ("gpt-image-2.5-sunburst", LARGE_SIZES[1], "xhigh"),
        ("gpt-image-2.6-flare", LARGE_SIZES[1], "high"),
        ("gpt-image-2.6-sunburst", LARGE_SIZES[0], "low"),
    ],
)
async def test_the_largest_sizes(till: Till, model: str, size: Size, quality: str) -> None:
    found, bill = await till.bill(MODELS[model], size=size, options={"quality": quality})
    assert_within(found, bill, MODELS[model])


@PRICED
@pytest.mark.parametrize("n", [1, 2])
async def test_images_are_sent_too(till: Till, model: ModelConfig, n: int) -> None:
    sent = (image(1024, 1024), image(300, 200), image(1600, 900))[: model.input_images.max_count]
    found, bill = await till.bill(model, n=n, references=sent, options=qualities(model)[0])
    assert_within(found, bill, model)
    part = found.estimate.part("input_images")
    if part.at_most_usd is not None:
        assert 0 < bill["image_in"] * (model.prices.image_in or 0) / 1e6 <= part.at_most_usd + NANO


@PRICED
async def test_the_part_that_a_mask_marks_is_edited(till: Till, model: ModelConfig) -> None:
    asked = {"init_image": image(1024, 1024), "mask": image(1024, 1024, "L"), "options": qualities(model)[0]}
    found, bill = await till.bill(model, **asked)
    assert_within(found, bill, model)
    part = found.estimate.part("input_images")
    if part.at_most_usd is not None:
        assert 0 < bill["image_in"] * (model.prices.image_in or 0) / 1e6 <= part.at_most_usd + NANO


@pytest.mark.parametrize("model", [m for m in MODELS.values() if m.preview_tokens], ids=lambda model: model.id)
async def test_previews_are_asked_for(till: Till, model: ModelConfig) -> None:
    asked = {"size": Size(1024, 1024), "options": {"quality": "medium"}}
    found, bill = await till.bill(model, previews=3, **asked)
    assert_within(found, bill, model)
    assert 0 < bill["previews"] <= 300


@PRICED
async def test_size_and_quality_are_left_to_the_model(till: Till, model: ModelConfig) -> None:
    found, bill = await till.bill(model)
    assert_within(found, bill, model)
