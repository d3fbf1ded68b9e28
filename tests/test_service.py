"""The service against the sandbox over HTTP, with its faults; respx where one exact network failure is needed."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import threading
import time
import zlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import httpx
import pytest
import respx
from PIL import Image
from pydantic import SecretStr

from invokeai_external.adapters.gemini import GeminiAdapter
from invokeai_external.adapters.openai_images import OpenAIImagesAdapter
from invokeai_external.errors import (
    AuthenticationError,
    CapabilityError,
    ContentBlockedError,
    InvalidResponseError,
    ModelRetiredError,
    NetworkError,
    NotConfiguredError,
    ProviderError,
    QuotaError,
    RateLimitedError,
    RejectedRequestError,
    ServiceStateError,
    TimedOutError,
    UnavailableError,
)
from invokeai_external.images import metadata
from invokeai_external.planning.plan import MASK_SENTENCE, Call
from invokeai_external.providers.registry import PROVIDER_IDS
from invokeai_external.request import GenerationRequest, InputImage
from invokeai_external.result import Failed, GenerationResult, Preview, Progress, Received, Retrying, Sending
from invokeai_external.service import calls as calls_module
from invokeai_external.service import image_checks
from invokeai_external.service.service import Service
from invokeai_external.settings.settings import Credentials, Settings, load_settings
from invokeai_external.sizing import AspectRatio, Size
from invokeai_external.transport import client, response_body
from invokeai_external.transport import events as event_stream
from invokeai_external.transport.blobs import BodyReader
from invokeai_external.transport.messages import HttpRequest, HttpResponse

from .support.clock import Clock
from .support.raw_server import HOLD, RESET, RawServer, Step, answer, chunk, chunked, events
from .support.raw_server import Received as RawReceived
from .support.samples import encoded, noisy

pytestmark = pytest.mark.anyio

OPENAI = "openai/gpt-image-2.5-flare"
GEMINI = "gemini/gemini-nano-banana-2.1"
MODELS = pytest.mark.parametrize("model", [OPENAI, GEMINI])

Order = Callable[..., None]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def order(sandbox_url: str) -> Order:
    """Order faults of a model's provider from the sandbox."""

    def order_fault(model: str, fault: str, **params: Any) -> None:
        provider = model.partition("/")[0]
        answer = httpx.post(f"{sandbox_url}/sandbox/faults", json={"provider": provider, "fault": fault, **params})
        assert answer.is_success, answer.text

    return order_fault


def settings_of(tmp_path: Path, **limits: float) -> Settings:
    lines = "".join(f"  {name}: {value}\n" for name, value in limits.items())
    (tmp_path / "invokeai_external.yaml").write_text(f"settings:\n{lines}")
    return load_settings(tmp_path)


async def generate(
    settings: Settings, model: str, *, seen: list[Progress] | None = None, clock: Clock | None = None, **request: Any
) -> GenerationResult:
    made = Service(settings, clock=clock, sleep=clock.sleep) if clock else Service(settings)
    async with made as service:
        on_progress = seen.append if seen is not None else lambda _: None
        return await service.generate(GenerationRequest(model=model, prompt="a red fox", **request), on_progress)


def received_calls(sandbox_url: str) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = httpx.get(f"{sandbox_url}/sandbox/requests").json()["requests"]
    return calls


@MODELS
async def test_a_picture_comes_with_its_size_cost_and_metadata(model: str, sandbox_url: str, tmp_path: Path) -> None:
    result = await generate(settings_of(tmp_path), model, size=Size(1024, 1024))
    (image,) = result.images
    assert image.size == Size(1024, 1024)
    assert result.usage is not None
    assert result.usage.output_image_tokens is not None
    assert result.usage.output_image_tokens > 0
    assert result.cost_usd is not None
    assert 0.001 < result.cost_usd < 1
    assert len(result.request_ids) == 1
    stored = metadata.read(metadata.embed(image.data, image.metadata))
    assert stored is not None
    assert stored["positive_prompt"] == "a red fox"
    assert stored["model"]["hash"] == model.replace("/", ":").join(["external:", ""])
    assert stored["external"]["request_id"] == result.request_ids[0]
    assert stored["external"]["cost_usd"] == result.cost_usd
    assert [notice.code for notice in result.notices] == ["plain_http", "sandbox"]
    assert [notice["code"] for notice in stored["external"]["notices"]] == ["sandbox"]


async def test_several_pictures_arrive_in_order_with_the_seed_of_each(sandbox_url: str, tmp_path: Path) -> None:
    result = await generate(settings_of(tmp_path), GEMINI, n=4, seed=0x7FFFFFFE)
    assert [image.seed for image in result.images] == [0x7FFFFFFE, 0x7FFFFFFF, 0, 1]
    assert len({image.data for image in result.images}) == 4
    assert len(set(result.request_ids)) == 4
    assert [image.metadata["seed"] for image in result.images] == [0x7FFFFFFE, 0x7FFFFFFF, 0, 1]


async def test_one_call_gives_several_pictures_and_they_share_its_cost(sandbox_url: str, tmp_path: Path) -> None:
    result = await generate(settings_of(tmp_path), OPENAI, n=3)
    assert len(received_calls(sandbox_url)) == 1
    assert result.cost_usd is not None
    assert [image.cost_usd for image in result.images] == [pytest.approx(result.cost_usd / 3)] * 3


@pytest.mark.parametrize(
    ("model", "params"),
    [
        (OPENAI, {"form": "retry-after-ms", "seconds": 0.02}),
        (OPENAI, {"form": "retry-after-seconds", "seconds": 0.02}),
        (OPENAI, {"form": "x-should-retry-true"}),
        (OPENAI, {"form": "words", "seconds": 0.02}),
        (GEMINI, {"form": "words", "seconds": 0.02}),
        (OPENAI, {"form": "none"}),
        (GEMINI, {"form": "retry-info", "delay": "20ms"}),
        (GEMINI, {"form": "none"}),
    ],
)
async def test_a_rate_limit_is_waited_out(
    model: str, params: dict[str, Any], sandbox_url: str, order: Order, tmp_path: Path
) -> None:
    order(model, "rate_limited", **params)
    seen: list[Progress] = []
    result = await generate(settings_of(tmp_path), model, seen=seen)
    assert len(result.images) == 1
    assert [type(event) for event in seen] == [Sending, Retrying, Sending, Received]
    retrying = seen[1]
    assert isinstance(retrying, Retrying)
    assert isinstance(retrying.reason, RateLimitedError)
    assert len(received_calls(sandbox_url)) == 2


async def test_what_one_call_is_asked_to_wait_all_calls_of_its_model_wait(
    sandbox_url: str, order: Order, tmp_path: Path
) -> None:
    order(OPENAI, "rate_limited", form="retry-after-ms", seconds=0.5)
    first: list[Progress] = []
    second: list[Progress] = []
    other: list[Progress] = []

    async with Service(settings_of(tmp_path)) as service, anyio.create_task_group() as group:
        group.start_soon(service.generate, GenerationRequest(model=OPENAI, prompt="a red fox"), first.append)
        while len(first) < 2:
            await anyio.sleep(0.01)
        group.start_soon(service.generate, GenerationRequest(model=OPENAI, prompt="a blue fox"), second.append)
        await service.generate(GenerationRequest(model="openai/gpt-image-2", prompt="a fox"), other.append)
        assert [type(event) for event in other] == [Sending, Received]
    assert [type(event) for event in first] == [Sending, Retrying, Sending, Received]
    assert [type(event) for event in second] == [Retrying, Sending, Received]
    retrying, sending = second[:2]
    assert isinstance(retrying, Retrying)
    assert 0 < retrying.wait_s < 0.5
    assert isinstance(retrying.reason, RateLimitedError)
    assert isinstance(sending, Sending)
    assert sending.attempt == 1


async def test_a_wait_that_is_too_long_for_one_call_holds_the_others_too(
    sandbox_url: str, order: Order, tmp_path: Path
) -> None:
    order(OPENAI, "rate_limited", seconds=300)
    seen: list[Progress] = []
    async with Service(settings_of(tmp_path)) as service:
        request = GenerationRequest(model=OPENAI, prompt="a red fox")
        for _ in range(2):
            with pytest.raises(RateLimitedError, match=r"\b(300|299\.\d) s"):
                await service.generate(request, seen.append)
        await service.generate(replace(request, model="openai/gpt-image-2"))
    assert [type(event) for event in seen] == [Sending, Failed, Failed]
    assert len(received_calls(sandbox_url)) == 2


async def test_a_shorter_wait_does_not_cut_a_longer_one_short(tmp_path: Path, sandbox_url: str) -> None:
    seen: list[Progress] = []
    async with Service(settings_of(tmp_path)) as service:
        service._attempts.hold(OPENAI, RateLimitedError("The first.", status=429, retry_after=0.5))
        service._attempts.hold(OPENAI, RateLimitedError("The second.", status=429, retry_after=0.1))
        await service.generate(GenerationRequest(model=OPENAI, prompt="a red fox"), seen.append)
    assert isinstance(seen[0], Retrying)
    assert seen[0].reason.message == "The first."
    assert 0.4 < seen[0].wait_s <= 0.5


UNREADABLE = ("no_image", "truncated_json", "bad_base64", "not_an_image")
LOST = ("truncated_body", "dropped_connection")


@pytest.mark.parametrize(
    ("model", "fault", "params", "kind", "facts"),
    [
        (OPENAI, "rate_limited", {"seconds": 300}, RateLimitedError, ["300 s", "5 minutes"]),
        (OPENAI, "rate_limited", {"form": "x-should-retry-false"}, RateLimitedError, []),
        (GEMINI, "rate_limited", {"form": "retry-info", "delay": "200s"}, RateLimitedError, ["200 s"]),
        (OPENAI, "quota", {}, QuotaError, ["insufficient_quota"]),
        (OPENAI, "quota", {"code": "billing_hard_limit_reached"}, QuotaError, []),
        (OPENAI, "quota", {"code": "project_spend_limit_exceeded"}, QuotaError, []),
        (OPENAI, "organization_not_verified", {}, QuotaError, []),
        (GEMINI, "quota", {"limit": "zero"}, QuotaError, []),
        (GEMINI, "quota", {"limit": "per_day"}, QuotaError, []),
        (OPENAI, "quota", {"status": 402}, QuotaError, []),
        (OPENAI, "quota", {"code": "insufficient_user_quota", "status": 403}, QuotaError, []),
        (GEMINI, "quota", {"limit": "zero_value"}, QuotaError, []),
        (GEMINI, "quota", {"limit": "prepayment"}, QuotaError, []),
        (GEMINI, "quota", {"limit": "prepayment", "status": 402}, QuotaError, []),
        (OPENAI, "moderation", {"violation": "stream"}, ContentBlockedError, []),
        (OPENAI, "moderation", {}, ContentBlockedError, []),
        (GEMINI, "blocked_prompt", {}, ContentBlockedError, ["PROHIBITED_CONTENT"]),
        (GEMINI, "refusal_text", {"text": "I cannot draw that."}, ContentBlockedError, ["I cannot draw that."]),
        (
            GEMINI,
            "finish_reason",
            {"reason": "IMAGE_SAFETY", "message": "It looks unsafe."},
            ContentBlockedError,
            ["IMAGE_SAFETY", "It looks unsafe."],
        ),
        (GEMINI, "finish_reason", {"reason": "MAX_TOKENS"}, InvalidResponseError, ["MAX_TOKENS"]),
        *((model, fault, {}, InvalidResponseError, []) for fault in UNREADABLE for model in (OPENAI, GEMINI)),
        *((model, fault, {}, NetworkError, []) for fault in LOST for model in (OPENAI, GEMINI)),
    ],
)
async def test_a_fault_that_no_retry_cures_is_told_at_once(
    model: str,
    fault: str,
    params: dict[str, Any],
    kind: type[ProviderError],
    facts: list[str],
    sandbox_url: str,
    order: Order,
    tmp_path: Path,
) -> None:
    order(model, fault, **params)
    with pytest.raises(kind) as caught:
        await generate(settings_of(tmp_path), model)
    assert type(caught.value) is kind
    assert [fact for fact in facts if fact not in str(caught.value)] == []
    assert caught.value.may_be_billed is (kind in (InvalidResponseError, NetworkError))
    assert (caught.value.provider, caught.value.model) == tuple(model.split("/"))
    assert len(received_calls(sandbox_url)) == 1


@MODELS
@pytest.mark.parametrize("status", [409, 500, 502, 503])
async def test_a_server_error_is_tried_again(
    model: str, status: int, sandbox_url: str, order: Order, tmp_path: Path
) -> None:
    order(model, "server_error", status=status)
    result = await generate(settings_of(tmp_path), model)
    assert len(result.images) == 1
    assert len(received_calls(sandbox_url)) == 2


@MODELS
@pytest.mark.parametrize(
    "params",
    [{"fault": "gateway_timeout", "status": s} for s in (504, 520, 522, 524)]
    + [{"fault": "server_error", "status": s} for s in (408, 504)]
    + [{"fault": "server_error", "status": s, "body": "html"} for s in (500, 502, 503)],
)
@pytest.mark.parametrize("previews", [0, 1])
async def test_what_a_gateway_gave_up_on_is_sent_once_and_may_have_been_billed(
    model: str, params: dict[str, Any], previews: int, sandbox_url: str, order: Order, tmp_path: Path
) -> None:
    order(model, **params)
    with pytest.raises(ProviderError) as caught:
        await generate(settings_of(tmp_path), model, previews=previews)
    assert (caught.value.status, caught.value.may_be_billed) == (params["status"], True)
    assert len(received_calls(sandbox_url)) == 1


async def test_no_word_of_a_gateway_has_what_may_be_billed_sent_again(
    tmp_path: Path, respx_mock: respx.MockRouter
) -> None:
    answer = httpx.Response(504, headers={"x-should-retry": "true", "retry-after-ms": "1"})
    route = respx_mock.post(URL).mock(return_value=answer)
    with pytest.raises(UnavailableError) as caught:
        await generate(settings_of(tmp_path), OPENAI)
    assert (caught.value.may_be_billed, route.call_count) == (True, 1)


async def test_the_tries_are_limited_and_counted(sandbox_url: str, order: Order, tmp_path: Path) -> None:
    order(OPENAI, "server_error", times=9)
    with pytest.raises(UnavailableError, match=r"\b2 times") as caught:
        await generate(settings_of(tmp_path, max_attempts=2), OPENAI)
    assert caught.value.status == 503
    assert len(received_calls(sandbox_url)) == 2


@pytest.mark.parametrize(
    ("model", "fault"),
    [
        (OPENAI, "url_result"),
        (OPENAI, "url_safe_base64"),
        (GEMINI, "url_safe_base64"),
        (GEMINI, "snake_case"),
        (OPENAI, "jpeg_answer"),
        (GEMINI, "jpeg_answer"),
    ],
)
async def test_unusual_answers_are_understood(
    model: str, fault: str, sandbox_url: str, order: Order, tmp_path: Path
) -> None:
    order(model, fault)
    (image,) = (await generate(settings_of(tmp_path), model, size=Size(1024, 1024))).images
    assert image.size == Size(1024, 1024)
    assert image.mime_type == ("image/jpeg" if fault == "jpeg_answer" else "image/png")
    assert metadata.read(metadata.embed(image.data, image.metadata)) is not None


@pytest.mark.parametrize("previews", [0, 1])
async def test_a_picture_that_comes_as_a_thought_alone_is_handed_over_and_noted(
    previews: int, sandbox_url: str, order: Order, tmp_path: Path
) -> None:
    order(GEMINI, "thought_only")
    result = await generate(settings_of(tmp_path), GEMINI, size=Size(1024, 1024), previews=previews)
    (image,) = result.images
    assert hashlib.sha256(image.data).hexdigest() in received_calls(sandbox_url)[0]["images"]
    assert "thought_image" in [notice.code for notice in result.notices]
    assert "thought_image" in [notice["code"] for notice in image.metadata["external"]["notices"]]  # type: ignore[index]


@MODELS
async def test_another_size_than_asked_for_is_kept_and_noted(
    model: str, sandbox_url: str, order: Order, tmp_path: Path
) -> None:
    order(model, "other_size", width=640, height=480)
    result = await generate(settings_of(tmp_path), model, size=Size(1024, 1024))
    assert result.images[0].size == Size(640, 480)
    (message,) = [notice.message for notice in result.notices if notice.code == "size_received"]
    assert "1024x1024" in message
    assert "640x480" in message
    recalled = result.images[0].metadata
    assert (recalled["width"], recalled["height"]) == (1024, 1024)
    received = recalled["external"]["received"]  # type: ignore[index]
    assert received == {"width": 640, "height": 480, "mime_type": "image/png"}


PHOTO = Image.merge("RGB", [Image.linear_gradient("L").rotate(turn).resize((900, 600)) for turn in (0, 90, 180)])
MARKED = (300, 200, 500, 400)


def png_file(picture: Image.Image, name: str) -> InputImage:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return InputImage(file.getvalue(), name)


def marked_box() -> InputImage:
    mask = Image.new("L", PHOTO.size)
    mask.paste(255, MARKED)
    return png_file(mask, "mask.png")


def with_hole(picture: Image.Image) -> bytes:
    """The pixels of a picture that the box does not mark."""
    picture = picture.copy()
    picture.paste((0, 0, 0), MARKED)
    return picture.tobytes()


def opened(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as picture:
        return picture.copy()


@MODELS
@pytest.mark.parametrize("fault", [None, "sloppy_mask", "jpeg_answer"])
async def test_an_edit_changes_nothing_outside_of_its_mask_whatever_the_provider_does(
    model: str, fault: str | None, sandbox_url: str, order: Order, tmp_path: Path
) -> None:
    if fault:
        order(model, fault, times=2)
    asked: dict[str, Any] = {"init_image": png_file(PHOTO, "photo.png"), "mask": marked_box(), "n": 2}
    result = await generate(settings_of(tmp_path), model, **asked)
    assert len(result.images) == 2
    for image in result.images:
        made = opened(image.data)
        assert (image.mime_type, image.size, made.size) == ("image/png", Size(900, 600), (900, 600))
        assert with_hole(made) == with_hole(PHOTO)
        assert made.crop(MARKED).tobytes() != PHOTO.crop(MARKED).tobytes()
        told = image.metadata
        assert (told["generation_mode"], told["width"], told["height"]) == ("inpaint", 900, 600)
        external: Any = told["external"]
        assert external["composited"] is True
        assert external["received"]["mime_type"] == ("image/jpeg" if fault == "jpeg_answer" else "image/png")
        assert external["received"]["width"] != 900
        assert external.get("mask_sentence") == (MASK_SENTENCE if model == GEMINI else None)
        assert metadata.read(metadata.embed(image.data, told)) is not None


@MODELS
async def test_without_a_mask_an_edit_is_handed_over_as_it_came(
    model: str, sandbox_url: str, order: Order, tmp_path: Path
) -> None:
    order(model, "jpeg_answer")
    (image,) = (await generate(settings_of(tmp_path), model, init_image=png_file(PHOTO, "photo.png"))).images
    assert image.mime_type == "image/jpeg"
    assert image.size != Size(900, 600)
    assert "composited" not in image.metadata["external"]  # type: ignore[operator]


@pytest.mark.parametrize(("feather", "mixed"), [(0, False), (16, True)])
async def test_the_width_of_the_feather_is_a_setting(
    feather: int, mixed: bool, sandbox_url: str, order: Order, tmp_path: Path
) -> None:
    black = Image.new("RGB", (1024, 1024))
    mask = Image.new("L", black.size)
    mask.paste(255, (0, 0, 512, 1024))
    (image,) = (
        await generate(
            settings_of(tmp_path, mask_feather_px=feather),
            OPENAI,
            size=Size(1024, 1024),
            init_image=png_file(black, "black.png"),
            mask=png_file(mask, "mask.png"),
        )
    ).images
    edge = opened(image.data).crop((508, 0, 512, 1024)).convert("L").getextrema()[1]
    assert (edge < 110) is mixed  # type: ignore[operator]


@MODELS
async def test_an_edit_of_another_shape_is_stretched_and_noted(
    model: str, sandbox_url: str, order: Order, tmp_path: Path
) -> None:
    order(model, "other_size", width=640, height=640)
    asked: dict[str, Any] = {
        "init_image": png_file(PHOTO, "photo.png"),
        "mask": marked_box(),
        "aspect_ratio": AspectRatio(3, 2),
    }
    result = await generate(settings_of(tmp_path), model, **asked)
    assert result.images[0].size == Size(900, 600)
    messages = {notice.code: notice.message for notice in result.notices}
    asked_for = "1248x832" if model == OPENAI else "1264x848"
    assert all(size in messages["size_received"] for size in (asked_for, "640x640", "900x600"))
    assert all(size in messages["edit_stretched"] for size in ("640x640", "900x600"))


@respx.mock
async def test_the_square_of_dall_e_2_is_laid_in_without_what_is_around_the_picture(tmp_path: Path) -> None:
    square = Image.new("RGB", (512, 512), "blue")
    square.paste((255, 0, 0), (0, 85, 512, 85 + 341))
    b64 = base64.b64encode(png_file(square, "x").data).decode()
    respx.post(path="/v1/images/edits").respond(json={"created": 1, "data": [{"b64_json": b64}]})
    settings = replace(
        settings_of(tmp_path, mask_feather_px=0),
        credentials={"openai": Credentials(SecretStr("sk-test"), "https://proxy.example/v1", "a test")},
    )
    asked: dict[str, Any] = {"size": Size(512, 512), "init_image": png_file(PHOTO, "photo.png"), "mask": marked_box()}
    result = await generate(settings, "openai/dall-e-2", **asked)
    made = opened(result.images[0].data)
    assert with_hole(made) == with_hole(PHOTO)
    assert made.crop(MARKED) == Image.new("RGB", (200, 200), "red")
    assert "edit_stretched" not in [notice.code for notice in result.notices]


@respx.mock
@pytest.mark.parametrize("mask", [True, False])
async def test_a_picture_that_cannot_be_laid_in_is_told_as_a_broken_one(mask: bool, tmp_path: Path) -> None:
    """Its checksums are good, so that without a mask it is kept; its pixels cannot be inflated."""
    good = png_file(Image.new("RGB", (8, 8)), "x").data
    head, _, tail = good.partition(b"IDAT")
    length = int.from_bytes(head[-4:])
    rotten = b"\xff" * length
    data = head + b"IDAT" + rotten + zlib.crc32(b"IDAT" + rotten).to_bytes(4) + tail[length + 4 :]
    b64 = base64.b64encode(data).decode()
    respx.post(path="/v1/images/edits").respond(json={"created": 1, "data": [{"b64_json": b64}]})
    settings = replace(
        settings_of(tmp_path),
        credentials={"openai": Credentials(SecretStr("sk-test"), "https://proxy.example/v1", "a test")},
    )
    asked: dict[str, Any] = {"init_image": png_file(PHOTO, "photo.png"), **({"mask": marked_box()} if mask else {})}
    if mask:
        with pytest.raises(InvalidResponseError) as caught:
            await generate(settings, OPENAI, **asked)
        assert caught.value.may_be_billed
    else:
        assert (await generate(settings, OPENAI, **asked)).images[0].data == data


async def test_what_was_paid_for_is_kept_when_other_calls_fail(sandbox_url: str, order: Order, tmp_path: Path) -> None:
    order(GEMINI, "refusal_text", times=2)
    result = await generate(settings_of(tmp_path), GEMINI, n=5)
    assert len(result.images) == 3
    assert [type(error) for error in result.errors] == [ContentBlockedError] * 2
    assert result.cost_usd is not None


@MODELS
async def test_a_wrong_key_is_told_without_showing_it(
    model: str, sandbox_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"INVOKEAI_EXTERNAL_{model.partition('/')[0].upper()}_API_KEY", "sk-wrong-1234567890")
    with pytest.raises(AuthenticationError) as caught:
        await generate(settings_of(tmp_path), model)
    assert caught.value.remedy is not None
    assert (caught.value.remedy.action, caught.value.remedy.provider) == ("set_key", model.partition("/")[0])
    assert "1234567890" not in repr(vars(caught.value))


async def test_a_retired_model_says_first_what_replaced_it(sandbox_url: str, tmp_path: Path) -> None:
    with pytest.raises(ModelRetiredError) as caught:
        await generate(settings_of(tmp_path), "openai/gpt-image-1")
    assert str(caught.value) == "GPT Image 1 was retired on 2026-10-23. Use gpt-image-2.5-flare instead."
    assert caught.value.status == 404


async def test_a_missing_key_names_command_variable_and_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INVOKEAI_EXTERNAL_OPENAI_API_KEY")
    with pytest.raises(NotConfiguredError) as caught:
        await generate(settings_of(tmp_path), OPENAI)
    for part in ("keys set openai", "INVOKEAI_EXTERNAL_OPENAI_API_KEY", str(tmp_path / "api_keys.yaml")):
        assert part in str(caught.value)


@MODELS
async def test_cancelling_ends_a_call_in_flight(model: str, sandbox_url: str, order: Order, tmp_path: Path) -> None:
    order(model, "slow", seconds=30)
    with anyio.fail_after(5), anyio.move_on_after(0.2) as scope:
        await generate(settings_of(tmp_path), model)
    assert scope.cancelled_caught


async def test_cancelling_ends_a_wait(sandbox_url: str, order: Order, tmp_path: Path) -> None:
    order(OPENAI, "rate_limited", seconds=100)
    with anyio.fail_after(5), anyio.move_on_after(0.5) as scope:
        await generate(settings_of(tmp_path), OPENAI)
    assert scope.cancelled_caught
    assert len(received_calls(sandbox_url)) == 1


async def test_an_error_of_the_listener_reaches_its_owner_as_it_is(sandbox_url: str, tmp_path: Path) -> None:
    class DiskFullError(Exception):
        pass

    def fail(_: Progress) -> None:
        raise DiskFullError

    async with Service(settings_of(tmp_path)) as service:
        with pytest.raises(DiskFullError):
            await service.generate(GenerationRequest(model=OPENAI, prompt="a fox"), fail)


async def test_without_a_model_the_newest_of_the_provider_with_a_key_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("INVOKEAI_EXTERNAL_GEMINI_API_KEY")
    async with Service(settings_of(tmp_path)) as service:
        assert service.plan(GenerationRequest(prompt="a fox")).model.reference == "openai/gpt-image-2.6-sunburst"


async def test_the_sandbox_runs_in_process_without_key_or_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INVOKEAI_EXTERNAL_OPENAI_API_KEY")
    monkeypatch.delenv("INVOKEAI_EXTERNAL_GEMINI_API_KEY")
    async with Service(settings_of(tmp_path), sandbox=True) as service:
        for model in (OPENAI, GEMINI):
            result = await service.generate(GenerationRequest(model=model, prompt="a fox"))
            assert [notice.code for notice in result.notices] == ["sandbox"]


# One exact failure of the network each, which no server can be made to give.


def one_pixel() -> bytes:
    file = io.BytesIO()
    Image.new("RGBA", (1, 1)).save(file, "PNG")
    return file.getvalue()


PNG_1X1 = base64.b64encode(one_pixel()).decode()
ANSWER = {"created": 1, "data": [{"b64_json": PNG_1X1}]}
URL = "https://api.openai.com/v1/images/generations"


@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError])
async def test_what_was_never_sent_is_sent_again(
    error: type[httpx.TransportError], tmp_path: Path, respx_mock: respx.MockRouter
) -> None:
    route = respx_mock.post(URL).mock(side_effect=[error("no"), httpx.Response(200, json=ANSWER)])
    assert len((await generate(settings_of(tmp_path), OPENAI)).images) == 1
    assert route.call_count == 2


async def test_no_connection_at_all_says_that_nothing_was_sent(tmp_path: Path, respx_mock: respx.MockRouter) -> None:
    respx_mock.post(URL).mock(side_effect=httpx.ConnectError("[Errno -2] Name or service not known"))
    with pytest.raises(NetworkError) as caught:
        await generate(settings_of(tmp_path, max_attempts=1), OPENAI)
    assert (caught.value.never_sent, caught.value.may_be_billed) == (True, False)
    assert "api.openai.com" in caught.value.message


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (httpx.ReadTimeout, TimedOutError),
        (httpx.WriteTimeout, TimedOutError),
        (httpx.ReadError, NetworkError),
        (httpx.WriteError, NetworkError),
        (httpx.RemoteProtocolError, NetworkError),
    ],
)
async def test_what_was_sent_is_not_sent_again_and_may_have_been_billed(
    error: type[httpx.TransportError],
    kind: type[ProviderError],
    tmp_path: Path,
    respx_mock: respx.MockRouter,
) -> None:
    route = respx_mock.post(URL).mock(side_effect=error("gone"))
    with pytest.raises(kind) as caught:
        await generate(settings_of(tmp_path), OPENAI)
    assert (caught.value.may_be_billed, route.call_count) == (True, 1)


async def test_an_answer_that_is_too_large_is_given_up(tmp_path: Path, respx_mock: respx.MockRouter) -> None:
    respx_mock.post(URL).mock(return_value=httpx.Response(200, content=b"x" * 1_000_001))
    with pytest.raises(InvalidResponseError, match="1,000,000"):
        await generate(settings_of(tmp_path, max_response_bytes=1_000_000), OPENAI)


async def test_a_picture_with_too_many_pixels_is_refused(sandbox_url: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidResponseError, match="1024x1024") as caught:
        await generate(settings_of(tmp_path, max_image_pixels=1_000_000), OPENAI, size=Size(1024, 1024))
    assert caught.value.may_be_billed


async def test_a_redirect_is_not_followed_with_the_key(tmp_path: Path, respx_mock: respx.MockRouter) -> None:
    respx_mock.post(URL).mock(return_value=httpx.Response(307, headers={"location": "https://elsewhere.example/"}))
    with pytest.raises(InvalidResponseError, match="HTTP 307"):
        await generate(settings_of(tmp_path), OPENAI)


@pytest.mark.parametrize(
    ("url", "kind", "fact"),
    [
        ("http://pictures.example/1.png", InvalidResponseError, ""),
        ("ftp://pictures.example/1.png", InvalidResponseError, ""),
        ("http://[broken", InvalidResponseError, ""),
        ("https://127.0.0.1:1/1.png", NetworkError, "127.0.0.1"),
        ("https://xn--a/1.png", InvalidResponseError, ""),
        ("https://pictures.example/\x07.png", InvalidResponseError, ""),
        ("https://pictures.example/gone.png", NetworkError, "HTTP 404"),
    ],
)
@pytest.mark.respx(assert_all_called=False)
async def test_a_picture_at_an_address_is_fetched_with_care(
    url: str, kind: type[ProviderError], fact: str, tmp_path: Path, respx_mock: respx.MockRouter
) -> None:
    respx_mock.post(URL).mock(return_value=httpx.Response(200, json={"data": [{"url": url}]}))
    respx_mock.get("https://pictures.example/gone.png").mock(return_value=httpx.Response(404))
    respx_mock.get("https://127.0.0.1:1/1.png").mock(side_effect=httpx.ConnectError("refused"))
    clock = Clock()
    with pytest.raises(kind) as caught:
        await generate(settings_of(tmp_path), OPENAI, clock=clock)
    assert fact in caught.value.message
    assert caught.value.may_be_billed
    assert 25 < sum(clock.waits) <= 30 if kind is NetworkError else clock.waits == []


@pytest.mark.parametrize(
    "params",
    [{"misses": 2}, {"key": "required"}, {"misses": 1, "key": "required"}, {"form": "data"}, {"form": "relative"}],
)
async def test_a_picture_behind_a_url_comes_late_or_for_the_key_or_in_the_url_itself(
    params: dict[str, Any], sandbox_url: str, order: Order, tmp_path: Path
) -> None:
    order(OPENAI, "url_result", **params)
    clock = Clock()
    (image,) = (await generate(settings_of(tmp_path), OPENAI, clock=clock)).images
    (call,) = received_calls(sandbox_url)
    assert call["images"] == [hashlib.sha256(image.data).hexdigest()]
    assert clock.waits == [0.5, 1][: params.get("misses", 0)]


async def test_the_key_goes_to_no_other_origin_and_along_no_redirect(
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
async def test_only_the_same_scheme_host_and_port_are_asked_again_with_the_key(
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


async def answered(status: int, body: object) -> HttpResponse:
    return HttpResponse(status, {}, json.dumps(body).encode(), 0)


@pytest.mark.parametrize("url", ["../" * 30_000, "/?" + "a" * 70_000])
async def test_an_address_of_a_book_s_length_is_none(url: str, tmp_path: Path) -> None:
    with RawServer(answer(json.dumps({"data": [{"url": url}]}).encode())) as server:
        settings = replace(
            settings_of(tmp_path), credentials={"openai": Credentials(SecretStr("k" * 20), server.url, "the test")}
        )
        with pytest.raises(InvalidResponseError):
            await generate(settings, OPENAI)
    assert len(server.requests) == 1


async def test_no_more_than_ten_urls_are_fetched_and_all_of_them_within_one_deadline(
    tmp_path: Path, respx_mock: respx.MockRouter
) -> None:
    urls = [{"url": f"https://pictures.example/{i}.png"} for i in range(40)]
    respx_mock.post(URL).mock(return_value=httpx.Response(200, json={"data": urls}))
    fetched = respx_mock.get(host="pictures.example").mock(return_value=httpx.Response(404))
    clock = Clock()
    with pytest.raises(NetworkError, match="HTTP 404"):
        await generate(settings_of(tmp_path), OPENAI, clock=clock, n=2)
    assert len({str(call.request.url) for call in fetched.calls}) == 10
    assert sum(clock.waits) <= 30


async def test_the_images_that_an_answer_names_by_url_share_what_it_may_take(
    tmp_path: Path, respx_mock: respx.MockRouter
) -> None:
    image = encoded(noisy((640, 640)), "PNG")
    most = 1_000_000
    assert 2 * len(image) < most < 3 * len(image)
    urls = [{"url": f"https://pictures.example/{i}.png"} for i in range(3)]
    respx_mock.post(URL).mock(return_value=httpx.Response(200, json={"data": urls}))
    respx_mock.get(host="pictures.example").mock(
        side_effect=lambda request: httpx.Response(200, content=image + request.url.path.encode())
    )
    result = await generate(settings_of(tmp_path, max_response_bytes=most), OPENAI, n=3)
    assert len(result.images) == 2
    assert [type(error) for error in result.errors] == [InvalidResponseError]


async def test_what_was_fetched_is_handed_over_when_the_wait_for_the_rest_is_cancelled(
    tmp_path: Path, respx_mock: respx.MockRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = "https://pictures.example/1.png", "https://pictures.example/2.png"
    respx_mock.post(URL).mock(return_value=httpx.Response(200, json={"data": [{"url": first}, {"url": second}]}))
    respx_mock.get(first).mock(return_value=httpx.Response(200, content=base64.b64decode(PNG_1X1)))
    is_there = anyio.Event()
    seen: list[Progress] = []
    with anyio.CancelScope() as scope:

        async def never(_: httpx.Request) -> httpx.Response:
            await is_there.wait()
            scope.cancel()
            await anyio.sleep_forever()
            raise AssertionError

        respx_mock.get(second).mock(side_effect=never)
        async with Service(settings_of(tmp_path)) as service:
            fetch = service._transport.fetch

            async def fetch_and_tell(url: str, *more: Any) -> Any:
                response = await fetch(url, *more)
                is_there.set()
                return response

            monkeypatch.setattr(service._transport, "fetch", fetch_and_tell)
            await service.generate(GenerationRequest(model=OPENAI, prompt="a fox", n=2), seen.append)
    assert scope.cancelled_caught
    assert [type(event) for event in seen] == [Sending, Received]
    assert isinstance(seen[1], Received)
    assert [image.data for image in seen[1].images] == [base64.b64decode(PNG_1X1)]


@pytest.mark.parametrize("is_thought_alone", [False, True])
async def test_an_image_that_a_stream_has_given_is_handed_over_though_the_request_is_cancelled(
    is_thought_alone: bool, sandbox_url: str, tmp_path: Path
) -> None:
    part = {"inlineData": {"mimeType": "image/png", "data": PNG_1X1}}

    class NeverDone(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            if not is_thought_alone:
                yield b"data: %b\n\n" % candidate(part)
            yield b"data: %b\n\n" % candidate({**part, "thought": True}, finishReason="STOP")
            await anyio.sleep_forever()

    answer = httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=NeverDone())
    seen: list[Progress] = []
    with anyio.CancelScope() as scope:

        def cancel_at_the_preview(event: Progress) -> None:
            seen.append(event)
            if isinstance(event, Preview):
                scope.cancel()

        with respx.mock:
            respx.post(url__regex=r".*:streamGenerateContent").mock(return_value=answer)
            async with Service(settings_of(tmp_path)) as service:
                request = GenerationRequest(model=GEMINI, prompt="a red fox", previews=1)
                await service.generate(request, cancel_at_the_preview)
    assert scope.cancelled_caught
    assert [type(event) for event in seen] == [Sending, Preview, Received]


async def test_what_has_arrived_is_handed_over_though_the_request_is_cancelled(
    sandbox_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Progress] = []
    with anyio.CancelScope() as scope:
        async with Service(settings_of(tmp_path)) as service:
            look = image_checks.arrived_images

            def cancel_and_look(*arguments: Any) -> Any:
                anyio.from_thread.run_sync(scope.cancel)
                return look(*arguments)

            monkeypatch.setattr(image_checks, "arrived_images", cancel_and_look)
            request = GenerationRequest(
                model=OPENAI, prompt="a fox", init_image=png_file(PHOTO, "photo.png"), mask=marked_box()
            )
            await service.generate(request, seen.append)
    assert scope.cancelled_caught
    assert [type(event) for event in seen] == [Sending, Received]


@pytest.mark.parametrize(
    ("model", "body", "media_type", "previews"),
    [
        (OPENAI, b'{"data": [{"b64_json": "%b"}]}' % PNG_1X1.encode(), "application/json", 0),
        (OPENAI, b'{"data": [{"b64_json": "%b"}]}' % PNG_1X1.encode(), "application/json", 1),
        (OPENAI, b'data: {"type": ".completed", "b64_json": "%b"}\n' % PNG_1X1.encode(), "text/event-stream", 1),
    ],
)
async def test_what_came_whole_is_handed_over_though_the_request_is_cancelled_before_its_transfer_ends(
    model: str, body: bytes, media_type: str, previews: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces, seen = response_body.body_chunks, list[Progress]()
    with anyio.fail_after(30), anyio.CancelScope() as scope:

        async def cancelled_at_the_end(*given: Any) -> AsyncIterator[bytes]:
            came = 0
            async for piece in pieces(*given):
                yield piece
                came += len(piece)
                if came == len(body):
                    scope.cancel()

        monkeypatch.setattr(client, "body_chunks", cancelled_at_the_end)
        monkeypatch.setattr(event_stream, "body_chunks", cancelled_at_the_end)
        with RawServer(chunked(body, content_type=media_type), HOLD) as server:
            await generate(relay(settings_of(tmp_path), server.url), model, seen=seen, previews=previews)
    assert scope.cancelled_caught
    assert [type(event) for event in seen] == [Sending, Received]


async def test_a_cancellation_gives_no_half_of_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same where what came only ends like JSON."""
    body = b'{"data": [{"b64_json": "%b"}, {}' % PNG_1X1.encode()
    feed, seen = BodyReader.feed, list[Progress]()
    with anyio.fail_after(30), anyio.CancelScope() as scope:

        def cancelled(self: BodyReader, piece: bytes) -> None:
            feed(self, piece)
            scope.cancel()

        monkeypatch.setattr(BodyReader, "feed", cancelled)
        with RawServer(chunked(body), HOLD) as server:
            await generate(relay(settings_of(tmp_path), server.url), OPENAI, seen=seen)
    assert scope.cancelled_caught
    assert [type(event) for event in seen] == [Sending]


@pytest.mark.parametrize("previews", [0, 1])
async def test_an_answer_that_takes_long_to_read_is_handed_over_though_the_request_is_cancelled(
    previews: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some servers escape letters of base64, which is read in a thread then."""
    body = json.dumps({**ANSWER, "rest": "x" * (1 << 17)}).replace(PNG_1X1, f"\\u0069{PNG_1X1[1:]}").encode()
    parse, seen = OpenAIImagesAdapter.parse, list[Progress]()
    with anyio.fail_after(30), anyio.CancelScope() as scope:

        def cancel_and_parse(*arguments: Any) -> Any:
            anyio.from_thread.run_sync(scope.cancel)
            return parse(*arguments)

        monkeypatch.setattr(OpenAIImagesAdapter, "parse", cancel_and_parse)
        with RawServer(answer(body)) as server:
            await generate(relay(settings_of(tmp_path), server.url), OPENAI, seen=seen, previews=previews)
    assert scope.cancelled_caught
    assert [type(event) for event in seen] == [Sending, Received]


async def test_a_fetched_image_that_came_whole_counts_though_its_transfer_did_not_end(tmp_path: Path) -> None:
    image = base64.b64decode(PNG_1X1)

    def script(request: RawReceived) -> list[Step]:
        if request.method == "POST":
            return [answer(b'{"data": [{"url": "/1.png"}]}')]
        return [answer(image, content_length=len(image) + 2)]

    with anyio.fail_after(30), RawServer(script=script) as server:
        result = await generate(relay(settings_of(tmp_path), server.url), OPENAI, clock=Clock())
    assert [image.data for image in result.images] == [image]
    assert [request.method for request in server.requests] == ["POST", "GET"]


async def test_half_a_fetched_image_is_asked_for_again(tmp_path: Path) -> None:
    image = base64.b64decode(PNG_1X1)
    halves = [answer(image[:-9], content_length=len(image)), answer(image)]

    def script(request: RawReceived) -> list[Step]:
        return [answer(b'{"data": [{"url": "/1.png"}]}')] if request.method == "POST" else [halves.pop(0)]

    with anyio.fail_after(30), RawServer(script=script) as server:
        result = await generate(relay(settings_of(tmp_path), server.url), OPENAI, clock=Clock())
    assert [image.data for image in result.images] == [image]


@pytest.mark.parametrize(("missing", "seen_then"), [(0, [Sending, Received]), (9, [Sending])])
async def test_a_fetched_image_that_came_whole_is_handed_over_though_the_request_is_cancelled_before_its_transfer_ends(
    missing: int, seen_then: list[type], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = base64.b64decode(PNG_1X1)
    pieces, seen = response_body.body_chunks, list[Progress]()
    said = image[: len(image) - missing]
    with anyio.fail_after(30), anyio.CancelScope() as scope:

        async def cancelled_at_the_end(*given: Any) -> AsyncIterator[bytes]:
            async for piece in pieces(*given):
                yield piece
                if piece == said:
                    scope.cancel()

        def script(request: RawReceived) -> list[Step]:
            if request.method == "POST":
                return [answer(b'{"data": [{"url": "/1.png"}]}')]
            return [answer(said, content_length=len(image) + 2), HOLD]

        monkeypatch.setattr(client, "body_chunks", cancelled_at_the_end)
        monkeypatch.setattr(event_stream, "body_chunks", cancelled_at_the_end)
        with RawServer(script=script) as server:
            await generate(relay(settings_of(tmp_path), server.url), OPENAI, seen=seen)
    assert scope.cancelled_caught
    assert [type(event) for event in seen] == seen_then


# More pictures than were asked for


@MODELS
@pytest.mark.parametrize(("form", "told"), [("twice", 0), ("small_first", 1)])
async def test_of_more_pictures_than_asked_for_each_counts_once_and_the_asked_size_first(
    model: str, form: str, told: int, sandbox_url: str, order: Order, tmp_path: Path
) -> None:
    order(model, "several_images", form=form)
    result = await generate(settings_of(tmp_path), model, size=Size(1024, 1024))
    (image,) = result.images
    assert image.size == Size(1024, 1024)
    assert image.cost_usd == result.cost_usd
    assert [notice.code for notice in result.notices].count("more_images") == told
    assert result.errors == ()


async def test_of_several_sizes_the_named_one_that_was_asked_for_counts_also_without_a_ratio(tmp_path: Path) -> None:
    parts = [
        {"inlineData": {"mimeType": "image/png", "data": base64.b64encode(file.data).decode()}}
        for file in (png_file(Image.new("RGB", (edge, edge)), "") for edge in (1024, 2048, 4096))
    ]
    with RawServer(answer(candidate(*parts, finishReason="STOP"))) as server:
        result = await generate(relay(settings_of(tmp_path), server.url), GEMINI, image_size="2K")
    assert [image.size for image in result.images] == [Size(2048, 2048)]


async def test_of_three_thousand_pictures_for_one_that_was_asked_for_one_is_handed_over(
    tmp_path: Path, respx_mock: respx.MockRouter
) -> None:
    files = [png_file(Image.new("L", (2, 1), number), "x").data for number in range(256)]
    data = [{"b64_json": base64.b64encode(files[number % 256]).decode()} for number in range(3000)]
    respx_mock.post(URL).mock(return_value=httpx.Response(200, json={"data": data}))
    result = await generate(settings_of(tmp_path), OPENAI)
    assert [image.data for image in result.images] == files[:1]
    (notice,) = result.notices
    assert (notice.code, "256" in notice.message) == ("more_images", True)


async def test_a_picture_too_many_makes_up_for_one_that_cannot_be_read(
    tmp_path: Path, respx_mock: respx.MockRouter
) -> None:
    good = [base64.b64encode(png_file(Image.new("L", (2, 1), n), "x").data).decode() for n in range(2)]
    data = [{"b64_json": text} for text in ("!", *good)]
    respx_mock.post(URL).mock(return_value=httpx.Response(200, json={"data": data}))
    result = await generate(settings_of(tmp_path), OPENAI, n=2)
    assert (len(result.images), result.errors) == (2, ())


# Slots, holds and the state of a service


async def test_a_call_that_waits_gives_its_slot_back(sandbox_url: str, order: Order, tmp_path: Path) -> None:
    order(OPENAI, "rate_limited", form="retry-after-ms", seconds=5)
    waits, is_over = anyio.Event(), anyio.Event()

    async def sleep(_: float) -> None:
        waits.set()
        await is_over.wait()

    seen: list[Progress] = []
    async with Service(settings_of(tmp_path, concurrency=1), sleep=sleep) as service:
        with anyio.fail_after(30):
            async with anyio.create_task_group() as group:
                group.start_soon(service.generate, GenerationRequest(model=OPENAI, prompt="a fox"), seen.append)
                await waits.wait()
                await service.generate(GenerationRequest(model="openai/gpt-image-2", prompt="a fox"))
                # The hold is over as well, for this test's sake.
                service._attempts._holds.clear()
                is_over.set()
    assert [type(event) for event in seen] == [Sending, Retrying, Sending, Received]


async def test_a_model_is_left_alone_for_two_minutes_at_most_and_then_the_next_call_may_find_out(
    sandbox_url: str, order: Order, tmp_path: Path
) -> None:
    order(OPENAI, "rate_limited", seconds=86400)
    clock = Clock()
    request = GenerationRequest(model=OPENAI, prompt="a red fox")
    async with Service(settings_of(tmp_path), clock=clock, sleep=clock.sleep) as service:
        for passed in (0, 119):
            clock.now += passed
            with pytest.raises(RateLimitedError) as caught:
                await service.generate(request)
            assert caught.value.retry_after == 86400 - passed
        assert len(received_calls(sandbox_url)) == 1
        clock.now += 2
        assert len((await service.generate(request)).images) == 1
    assert clock.waits == []


async def test_a_wait_that_is_asked_for_after_a_longer_one_is_over_holds_the_model_too(
    sandbox_url: str, tmp_path: Path
) -> None:
    clock = Clock()
    async with Service(settings_of(tmp_path), clock=clock, sleep=clock.sleep) as service:
        service._attempts.hold(OPENAI, RateLimitedError("The first.", status=429, retry_after=86400))
        clock.now += 121
        service._attempts.hold(OPENAI, RateLimitedError("The second.", status=429, retry_after=10))
        await service.generate(GenerationRequest(model=OPENAI, prompt="a red fox"))
    assert clock.waits == [10]


class OddError(BaseException):
    """What no library expects."""


@pytest.mark.parametrize("raised", [KeyboardInterrupt(), SystemExit(3), OddError(), ValueError("no"), GeneratorExit()])
@pytest.mark.parametrize("at", [Sending, Preview, Received])
async def test_whatever_on_progress_raises_reaches_its_caller_as_it_is_and_the_slots_are_free(
    raised: BaseException, at: type[Progress], sandbox_url: str, tmp_path: Path
) -> None:
    def fail(event: Progress) -> None:
        if isinstance(event, at):
            raise raised

    async with Service(settings_of(tmp_path, concurrency=1)) as service:
        request = GenerationRequest(model=OPENAI, prompt="a fox", n=3, previews=1)
        with pytest.raises(BaseException) as caught:  # noqa: PT011 - which one is asserted below
            await service.generate(request, fail)
        assert caught.value is raised
        assert len((await service.generate(replace(request, n=1))).images) == 1


async def test_a_service_that_is_closed_says_so(tmp_path: Path) -> None:
    async with Service(settings_of(tmp_path), sandbox=True) as service:
        pass
    for use in (
        lambda: service.generate(GenerationRequest(model=OPENAI, prompt="a fox")),
        lambda: service.check_connection("openai"),
        service.__aenter__,
    ):
        with pytest.raises(ServiceStateError) as caught:
            await use()
        assert caught.value.code == "service_state"


async def test_a_service_that_is_closed_under_a_call_says_so(sandbox_url: str, order: Order, tmp_path: Path) -> None:
    order(OPENAI, "rate_limited", form="retry-after-ms", seconds=5)
    clock = Clock()

    async def sleep(seconds: float) -> None:
        await clock.sleep(seconds)
        await service.aclose()

    service = Service(settings_of(tmp_path), clock=clock, sleep=sleep)
    with pytest.raises(ServiceStateError):
        await service.generate(GenerationRequest(model=OPENAI, prompt="a fox"))


async def test_a_service_cannot_be_entered_twice(tmp_path: Path) -> None:
    async with Service(settings_of(tmp_path), sandbox=True) as service:
        with pytest.raises(ServiceStateError):
            await service.__aenter__()
        await service.generate(GenerationRequest(model=OPENAI, prompt="a fox"))


def test_a_service_belongs_to_one_event_loop(tmp_path: Path) -> None:
    service = Service(settings_of(tmp_path), sandbox=True)
    request = GenerationRequest(model=OPENAI, prompt="a fox")
    assert anyio.run(service.generate, request).images
    with pytest.raises(ServiceStateError):
        anyio.run(service.generate, request)


async def test_a_picture_at_an_https_address_is_fetched_without_the_key(
    tmp_path: Path, respx_mock: respx.MockRouter
) -> None:
    url = "https://pictures.example/1.png"
    respx_mock.post(URL).mock(return_value=httpx.Response(200, json={"data": [{"url": url}, {"b64_json": "!"}]}))
    fetched = respx_mock.get(url).mock(return_value=httpx.Response(200, content=base64.b64decode(PNG_1X1)))
    result = await generate(settings_of(tmp_path), OPENAI, n=2)
    assert "authorization" not in fetched.calls[0].request.headers
    assert len(result.images) == 1
    assert [type(error) for error in result.errors] == [InvalidResponseError]


async def test_as_many_calls_as_allowed_are_in_flight(tmp_path: Path, respx_mock: respx.MockRouter) -> None:
    in_flight, most = 0, 0

    async def answer(_: httpx.Request) -> httpx.Response:
        nonlocal in_flight, most
        in_flight += 1
        most = max(most, in_flight)
        await anyio.sleep(0.05)
        in_flight -= 1
        part = {"inlineData": {"mimeType": "image/png", "data": PNG_1X1}}
        return httpx.Response(200, json={"candidates": [{"content": {"parts": [part]}, "finishReason": "STOP"}]})

    respx_mock.post(host="generativelanguage.googleapis.com").mock(side_effect=answer)
    result = await generate(settings_of(tmp_path, concurrency=3), GEMINI, n=10)
    assert len(result.images) == 10
    assert most == 3
    assert result.usage is None
    assert result.cost_usd is None


async def test_fewer_pictures_than_asked_for_are_a_partial_success(
    tmp_path: Path, respx_mock: respx.MockRouter
) -> None:
    respx_mock.post(URL).mock(return_value=httpx.Response(200, json=ANSWER))
    result = await generate(settings_of(tmp_path), OPENAI, n=3)
    assert len(result.images) == 1
    assert [type(error) for error in result.errors] == [InvalidResponseError]
    assert result.errors[0].provider == "openai"


async def test_a_proxy_is_honoured(sandbox_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sandbox plays a proxy: it answers 404 for an address that nobody else would answer for."""
    monkeypatch.setenv("HTTP_PROXY", sandbox_url)
    monkeypatch.setenv("INVOKEAI_EXTERNAL_OPENAI_BASE_URL", "http://10.255.255.1/v1")
    with pytest.raises(RejectedRequestError) as caught:
        await generate(settings_of(tmp_path), OPENAI)
    assert caught.value.status == 404


async def test_this_machine_is_never_reached_by_a_proxy(
    sandbox_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    assert len((await generate(settings_of(tmp_path), OPENAI)).images) == 1


async def test_a_proxy_that_quotes_the_key_does_not_bring_it_into_pictures_or_errors(
    canary: str, tmp_path: Path, respx_mock: respx.MockRouter
) -> None:
    quoting = {
        **ANSWER,
        "data": [{"b64_json": PNG_1X1, "revised_prompt": f"a fox for {canary}"}],
    }
    respx_mock.post(URL).mock(
        side_effect=[
            httpx.Response(200, json=quoting, headers={"x-request-id": f"req-{canary}"}),
            httpx.Response(400, json={"error": {"message": f"no such project for {canary}"}}),
        ]
    )
    result = await generate(settings_of(tmp_path), OPENAI)
    assert canary not in repr(result) + repr(result.images[0].metadata)
    assert result.images[0].revised_prompt == "a fox for [key]"
    with pytest.raises(RejectedRequestError, match=r"\[key\]"):
        await generate(settings_of(tmp_path), OPENAI)


async def test_fetching_a_finished_picture_is_tried_again(tmp_path: Path, respx_mock: respx.MockRouter) -> None:
    url = "https://pictures.example/1.png"
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


async def test_a_lost_picture_among_others_is_told_with_its_provider(
    tmp_path: Path, respx_mock: respx.MockRouter
) -> None:
    answer = {"data": [{"b64_json": PNG_1X1}, {"b64_json": "!"}]}
    respx_mock.post(URL).mock(return_value=httpx.Response(200, json=answer, headers={"x-request-id": "req_1"}))
    result = await generate(settings_of(tmp_path), OPENAI, n=2)
    (error,) = result.errors
    assert (error.provider, error.model, error.status, error.request_id) == (*OPENAI.split("/"), 200, "req_1")


async def test_a_picture_records_its_own_notices_alone(sandbox_url: str, order: Order, tmp_path: Path) -> None:
    order(GEMINI, "other_size", width=640, height=480)
    result = await generate(settings_of(tmp_path), GEMINI, n=2, size=Size(1024, 1024))
    codes = sorted([n["code"] for n in image.metadata["external"]["notices"]] for image in result.images)  # type: ignore[index]
    assert codes == [["sandbox"], ["sandbox", "size_received"]]


async def test_a_picture_that_is_too_large_names_the_setting(sandbox_url: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidResponseError, match="1024x1024") as caught:
        await generate(settings_of(tmp_path, max_image_pixels=1_000_000), OPENAI, size=Size(1024, 1024))
    assert caught.value.remedy is not None
    assert (caught.value.remedy.action, caught.value.remedy.setting) == ("change_setting", "max_image_pixels")


class Broken(httpx.AsyncByteStream):
    """A body that begins and then fails."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b'{"data": ['
        raise self._error


async def test_an_error_whose_body_breaks_off_is_still_told_by_its_status(
    tmp_path: Path, respx_mock: respx.MockRouter
) -> None:
    cut_short = httpx.Response(429, headers={"retry-after-ms": "10"}, stream=Broken(httpx.ReadError("gone")))
    route = respx_mock.post(URL).mock(side_effect=[cut_short, httpx.Response(200, json=ANSWER)])
    assert len((await generate(settings_of(tmp_path), OPENAI)).images) == 1
    assert route.call_count == 2


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (httpx.ReadError, NetworkError),
        (httpx.ReadTimeout, TimedOutError),
        (httpx.DecodingError, InvalidResponseError),
    ],
)
async def test_an_answer_that_breaks_off_keeps_its_request_id(
    error: type[httpx.RequestError], kind: type[ProviderError], tmp_path: Path, respx_mock: respx.MockRouter
) -> None:
    answer = httpx.Response(200, headers={"x-request-id": "req_7"}, stream=Broken(error("gone")))
    route = respx_mock.post(URL).mock(return_value=answer)
    with pytest.raises(kind) as caught:
        await generate(settings_of(tmp_path), OPENAI)
    assert (caught.value.status, caught.value.request_id, route.call_count) == (200, "req_7", 1)
    assert caught.value.may_be_billed


@MODELS
async def test_a_refused_key_names_where_it_came_from(
    model: str, sandbox_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = f"INVOKEAI_EXTERNAL_{model.partition('/')[0].upper()}_API_KEY"
    monkeypatch.setenv(variable, "sk-wrong-1234567890")
    with pytest.raises(AuthenticationError) as caught:
        await generate(settings_of(tmp_path), model)
    assert caught.value.remedy is not None
    assert caught.value.remedy.source == variable


async def test_a_call_that_fails_is_told_as_it_happens(sandbox_url: str, order: Order, tmp_path: Path) -> None:
    order(GEMINI, "refusal_text")
    seen: list[Progress] = []
    await generate(settings_of(tmp_path), GEMINI, n=2, seen=seen)
    assert [type(event) for event in seen].count(Failed) == 1


async def test_what_the_model_cannot_do_is_told_with_the_model(tmp_path: Path) -> None:
    with pytest.raises(CapabilityError) as caught:
        await generate(settings_of(tmp_path), GEMINI, options={"background": "transparent"})
    assert (caught.value.provider, caught.value.model) == tuple(GEMINI.split("/"))


# The connection test


@pytest.mark.parametrize("provider", PROVIDER_IDS)
async def test_a_connection_test_asks_for_the_list_of_models_and_no_more(
    provider: str, sandbox_url: str, tmp_path: Path
) -> None:
    async with Service(settings_of(tmp_path)) as service:
        check = await service.check_connection(provider)
        active = [m.id for m in service.registry.models(provider) if m.lifecycle.status == "active"]
    assert set(active) <= set(check.listed)
    assert check.missing == ()
    (call,) = received_calls(sandbox_url)
    assert call["method"] == "GET"
    assert call["path"].endswith("/models")


@pytest.mark.parametrize("provider", PROVIDER_IDS)
async def test_a_connection_test_tells_a_key_that_is_refused(provider: str, sandbox_url: str, tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    credentials = replace(settings.credentials[provider], api_key=SecretStr("invalid-key"), source="a test")
    settings = replace(settings, credentials={**settings.credentials, provider: credentials})
    async with Service(settings) as service:
        with pytest.raises(AuthenticationError) as caught:
            await service.check_connection(provider)
    assert caught.value.provider == provider
    assert caught.value.remedy is not None
    assert caught.value.remedy.source == "a test"
    assert "invalid-key" not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ({"status_code": 404}, RejectedRequestError),
        ({"status_code": 403}, AuthenticationError),
        ({"status_code": 503}, UnavailableError),
        ({"status_code": 200, "text": "<html>"}, InvalidResponseError),
        ({"status_code": 200, "json": {}}, InvalidResponseError),
    ],
)
@pytest.mark.parametrize("provider", PROVIDER_IDS)
@respx.mock
async def test_a_connection_test_tells_what_came_in_place_of_a_list(
    provider: str, answer: dict[str, Any], kind: type[ProviderError], tmp_path: Path
) -> None:
    respx.get(path__regex="/models$").respond(**answer)
    async with Service(settings_of(tmp_path)) as service:
        with pytest.raises(kind) as caught:
            await service.check_connection(provider)
    assert type(caught.value) is kind
    assert "billed" not in str(caught.value)


@respx.mock
async def test_a_connection_test_names_models_that_are_not_listed(tmp_path: Path) -> None:
    respx.get(path__regex="/models$").respond(json={"data": [{"id": "gpt-image-2"}, {"id": "dall-e-3"}, "?", {}]})
    async with Service(settings_of(tmp_path)) as service:
        check = await service.check_connection("openai")
        retired = {m.id for m in service.registry.models("openai") if m.lifecycle.status == "retired"}
    assert check.listed == ("gpt-image-2", "dall-e-3")
    assert "gpt-image-2.5-flare" in check.missing
    assert retired.isdisjoint(check.missing)


@pytest.mark.parametrize(
    "failure", [httpx.ConnectError("refused"), httpx.ReadTimeout("slow"), httpx.ReadError("cut"), TimeoutError()]
)
@respx.mock
async def test_a_connection_test_that_meets_nobody_says_nothing_of_money(failure: Exception, tmp_path: Path) -> None:
    respx.get(path__regex="/models$").mock(side_effect=failure)
    async with Service(settings_of(tmp_path)) as service:
        with pytest.raises(NetworkError) as caught:
            await service.check_connection("gemini")
    assert not caught.value.may_be_billed
    assert "billed" not in str(caught.value)


# Previews


def previews_in(seen: list[Progress]) -> list[Preview]:
    return [event for event in seen if isinstance(event, Preview)]


@MODELS
async def test_previews_show_the_picture_as_it_forms_and_are_no_results(
    model: str, sandbox_url: str, tmp_path: Path
) -> None:
    seen: list[Progress] = []
    result = await generate(settings_of(tmp_path), model, seen=seen, previews=3)
    previews = previews_in(seen)
    count = 3 if model == OPENAI else None
    assert [(p.call, p.calls, p.index, p.count) for p in previews] == [
        (1, 1, i, count) for i in range(1, 4 if model == OPENAI else 2)
    ]
    assert all(opened(p.data).format is None and p.mime_type == "image/png" for p in previews)
    assert [type(event) for event in seen] == [Sending, *[Preview] * len(previews), Received]
    (image,) = result.images
    assert image.data not in [p.data for p in previews]
    assert len(received_calls(sandbox_url)) == 1
    assert not [notice for notice in result.notices if notice.code == "option_dropped"]
    assert result.cost_usd is not None
    assert "preview" not in str(image.metadata)


async def test_a_streamed_gemini_picture_is_the_one_that_comes_without_a_stream(
    sandbox_url: str, tmp_path: Path
) -> None:
    settings = settings_of(tmp_path)
    streamed = await generate(settings, GEMINI, seed=7, previews=1)
    at_once = await generate(settings, GEMINI, seed=7)
    assert streamed.images[0].data == at_once.images[0].data
    assert streamed.usage == at_once.usage


@MODELS
async def test_a_preview_is_shown_as_soon_as_it_is_there(
    model: str, sandbox_url: str, order: Order, tmp_path: Path
) -> None:
    order(model, "slow_stream", seconds=0.3)
    seen: list[tuple[type[Progress], float]] = []
    async with Service(settings_of(tmp_path)) as service:
        request = GenerationRequest(model=model, prompt="a red fox", previews=1)
        await service.generate(request, lambda event: seen.append((type(event), anyio.current_time())))
    times = dict(seen)
    assert list(times) == [Sending, Preview, Received]
    assert times[Received] - times[Preview] > 0.25


async def test_each_partial_image_of_openai_is_paid_for(sandbox_url: str, tmp_path: Path) -> None:
    tokens = []
    for previews in (0, 2):
        result = await generate(settings_of(tmp_path), OPENAI, size=Size(1024, 1024), previews=previews)
        assert result.usage is not None
        assert result.usage.output_image_tokens is not None
        tokens.append(result.usage.output_image_tokens)
    assert tokens[1] - tokens[0] == 200


async def test_several_pictures_with_previews_are_a_call_each(sandbox_url: str, tmp_path: Path) -> None:
    seen: list[Progress] = []
    result = await generate(settings_of(tmp_path), OPENAI, seen=seen, n=2, previews=1)
    assert len(result.images) == len(received_calls(sandbox_url)) == 2
    assert sorted((p.call, p.calls, p.index) for p in previews_in(seen)) == [(1, 2, 1), (2, 2, 1)]


async def test_previews_of_an_edit_are_streamed_and_the_mask_still_holds(sandbox_url: str, tmp_path: Path) -> None:
    seen: list[Progress] = []
    asked: dict[str, Any] = {"init_image": png_file(PHOTO, "photo.png"), "mask": marked_box(), "previews": 2}
    (image,) = (await generate(settings_of(tmp_path), OPENAI, seen=seen, **asked)).images
    assert len(previews_in(seen)) == 2
    assert with_hole(opened(image.data)) == with_hole(PHOTO)


@MODELS
@pytest.mark.parametrize("fault", ["stream_refused", "stream_ignored"])
async def test_a_server_without_streams_gives_its_picture_all_the_same(
    model: str, fault: str, sandbox_url: str, order: Order, tmp_path: Path
) -> None:
    order(model, fault)
    seen: list[Progress] = []
    async with Service(settings_of(tmp_path)) as service:
        request = GenerationRequest(model=model, prompt="a red fox", previews=2)
        for expected_calls in (2, 3) if fault == "stream_refused" else (1, 2):
            result = await service.generate(request, seen.append)
            assert len(result.images) == 1
            assert len(received_calls(sandbox_url)) == expected_calls
            assert [notice.code for notice in result.notices].count("option_dropped") == 1
    assert previews_in(seen) == []
    assert Failed not in [type(event) for event in seen]


async def test_a_refusal_for_another_reason_is_told_and_streams_are_asked_for_again(
    sandbox_url: str, tmp_path: Path
) -> None:
    seen: list[Progress] = []
    async with Service(settings_of(tmp_path)) as service:
        with pytest.raises(ProviderError, match=r"\bgemini-9\b"):
            await service.generate(GenerationRequest(model="gemini/gemini-9", prompt="a red fox", previews=1))
        await service.generate(GenerationRequest(model=GEMINI, prompt="a red fox", previews=1), seen.append)
    assert len(previews_in(seen)) == 1


@pytest.mark.parametrize("fault", ["truncated_body", "truncated_json"])
async def test_an_image_counts_whatever_becomes_of_the_events_behind_it(
    fault: str, sandbox_url: str, order: Order, tmp_path: Path
) -> None:
    order(GEMINI, fault)
    result = await generate(settings_of(tmp_path), GEMINI, previews=2)
    assert len(result.images) == 1
    assert "answer_cut_short" in [notice.code for notice in result.notices]
    assert "answer_cut_short" in [n["code"] for n in result.images[0].metadata["external"]["notices"]]  # type: ignore[index]
    assert len(received_calls(sandbox_url)) == 1


@pytest.mark.parametrize(
    ("model", "fault", "params", "kind", "facts"),
    [
        (OPENAI, "stream_ends_early", {}, InvalidResponseError, []),
        (GEMINI, "stream_ends_early", {}, InvalidResponseError, []),
        (OPENAI, "no_image", {}, InvalidResponseError, []),
        (OPENAI, "truncated_body", {}, NetworkError, []),
        (OPENAI, "truncated_json", {}, InvalidResponseError, []),
        (OPENAI, "stream_error", {}, UnavailableError, []),
        (OPENAI, "stream_error", {"code": "rate_limit_exceeded"}, RateLimitedError, []),
        (OPENAI, "stream_error", {"code": "moderation_blocked"}, ContentBlockedError, []),
        (GEMINI, "stream_error", {}, UnavailableError, ["HTTP 503"]),
        (GEMINI, "stream_error", {"status": 429}, RateLimitedError, []),
        (OPENAI, "bad_base64", {}, InvalidResponseError, []),
        (GEMINI, "not_an_image", {}, InvalidResponseError, []),
        (GEMINI, "blocked_prompt", {}, ContentBlockedError, ["PROHIBITED_CONTENT"]),
        (OPENAI, "moderation", {"violation": "stream"}, ContentBlockedError, []),
        (OPENAI, "organization_not_verified", {}, QuotaError, []),
        (GEMINI, "refusal_text", {"text": "I cannot draw that."}, ContentBlockedError, ["I cannot draw that."]),
    ],
)
async def test_a_fault_in_a_stream_is_told_and_nothing_is_sent_again(
    model: str,
    fault: str,
    params: dict[str, Any],
    kind: type[ProviderError],
    facts: list[str],
    sandbox_url: str,
    order: Order,
    tmp_path: Path,
) -> None:
    order(model, fault, **params)
    with pytest.raises(kind) as caught:
        await generate(settings_of(tmp_path), model, previews=2)
    assert type(caught.value) is kind
    assert [fact for fact in facts if fact not in str(caught.value)] == []
    assert (caught.value.provider, caught.value.model) == tuple(model.split("/"))
    assert len(received_calls(sandbox_url)) == 1


@MODELS
async def test_what_happens_before_a_stream_begins_is_tried_again(
    model: str, sandbox_url: str, order: Order, tmp_path: Path
) -> None:
    order(model, "rate_limited", seconds=0.02)
    seen: list[Progress] = []
    result = await generate(settings_of(tmp_path), model, seen=seen, previews=1)
    assert len(result.images) == 1
    assert [type(event) for event in seen] == [Sending, Retrying, Sending, Preview, Received]


async def test_a_stream_that_is_too_large_is_given_up(sandbox_url: str, tmp_path: Path) -> None:
    """Each event would be small enough; the limit is for all that comes."""
    event = b'data: {"type": "image_generation.partial_image", "b64_json": "' + b"A" * 400_000 + b'"}\n\n'
    answer = httpx.Response(200, headers={"content-type": "text/event-stream"}, content=event * 3)
    with respx.mock:
        route = respx.post(url__regex=r".*/images/generations").mock(return_value=answer)
        with pytest.raises(InvalidResponseError, match="1,000,000"):
            await generate(settings_of(tmp_path, max_response_bytes=1_000_000), OPENAI, previews=3)
    assert route.call_count == 1


async def test_a_preview_that_is_no_picture_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sandbox_url: str
) -> None:
    from invokeai_external.sandbox import openai as sandbox_openai

    monkeypatch.setattr(sandbox_openai, "_previews", lambda *_: [b"no picture", png_file(PHOTO, "x").data])
    seen: list[Progress] = []
    async with Service(settings_of(tmp_path), sandbox=True) as service:
        await service.generate(GenerationRequest(model=OPENAI, prompt="a red fox", previews=2), seen.append)
    assert [(p.index, p.count) for p in previews_in(seen)] == [(1, 2)]


@pytest.mark.parametrize("end", ["\r\n\r\ndata: [DONE]\r\n\r\n", "\r\n\r\n", "\r\n"])
async def test_keep_alives_and_events_in_pieces_make_a_stream(end: str, sandbox_url: str, tmp_path: Path) -> None:
    file = base64.b64encode(png_file(PHOTO, "x").data).decode()
    stream = (
        ": keep-alive\r\n\r\n"
        f'event: image_generation.partial_image\r\ndata: {{"type": "image_generation.partial_image",\r\n'
        f'data: "b64_json": "{file}"}}\r\n\r\n'
        f'data: {{"type": "image_generation.completed", "b64_json": "{file}"}}{end}'
    ).encode()

    class InPieces(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            for i in range(0, len(stream), 1000):
                yield stream[i : i + 1000]

    answer = httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=InPieces())
    seen: list[Progress] = []
    with respx.mock:
        respx.post(url__regex=r".*/images/generations").mock(return_value=answer)
        result = await generate(settings_of(tmp_path), OPENAI, seen=seen, previews=1)
    assert len(previews_in(seen)) == len(result.images) == 1


@pytest.mark.parametrize("error", [httpx.ReadError, httpx.ReadTimeout])
async def test_a_picture_that_came_before_the_connection_was_lost_is_kept(
    error: type[httpx.TransportError], sandbox_url: str, tmp_path: Path
) -> None:
    file = base64.b64encode(png_file(PHOTO, "x").data).decode()

    class LostAtTheEnd(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield f'data: {{"type": "image_generation.completed", "b64_json": "{file}"}}\n\n'.encode()
            raise error("gone")

    answer = httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=LostAtTheEnd())
    with respx.mock:
        route = respx.post(url__regex=r".*/images/generations").mock(return_value=answer)
        result = await generate(settings_of(tmp_path), OPENAI, previews=1)
    assert len(result.images) == route.call_count == 1


async def test_a_stream_for_which_no_connection_could_be_made_is_tried_again(
    sandbox_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.random", lambda: 1.0)
    file = base64.b64encode(png_file(PHOTO, "x").data).decode()
    event = f'data: {{"type": "image_generation.completed", "b64_json": "{file}"}}\n\n'
    answer = httpx.Response(200, headers={"content-type": "text/event-stream"}, content=event.encode())
    seen: list[Progress] = []
    with respx.mock:
        route = respx.post(url__regex=r".*/images/generations").mock(side_effect=[httpx.ConnectError("no"), answer])
        await generate(settings_of(tmp_path), OPENAI, seen=seen, previews=1)
    assert route.call_count == 2
    assert [type(event) for event in seen] == [Sending, Retrying, Sending, Received]


async def test_cancelling_in_the_middle_of_a_stream_ends_it(sandbox_url: str, tmp_path: Path) -> None:
    file = base64.b64encode(png_file(PHOTO, "x").data).decode()
    closed = anyio.Event()

    class NeverDone(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield f'data: {{"type": "image_generation.partial_image", "b64_json": "{file}"}}\n\n'.encode()
            await anyio.sleep_forever()

        async def aclose(self) -> None:
            closed.set()

    answer = httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=NeverDone())
    with respx.mock:
        respx.post(url__regex=r".*/images/generations").mock(return_value=answer)
        async with Service(settings_of(tmp_path)) as service, anyio.create_task_group() as group:
            seen: list[Progress] = []

            def stop_at_the_preview(event: Progress) -> None:
                seen.append(event)
                if isinstance(event, Preview):
                    group.cancel_scope.cancel()

            request = GenerationRequest(model=OPENAI, prompt="a red fox", previews=1)
            group.start_soon(service.generate, request, stop_at_the_preview)
    assert [type(event) for event in seen] == [Sending, Preview]
    assert closed.is_set()


# What relays leave out, and what they never end


def relay(settings: Settings, url: str) -> Settings:
    """The settings with both providers' addresses replaced by that of a server."""
    credentials = {name: Credentials(SecretStr("sk-test"), f"{url}/v1", "a test") for name in PROVIDER_IDS}
    return replace(settings, credentials=credentials)


def candidate(*parts: object, **more: object) -> bytes:
    """An event of Gemini's stream, or its answer."""
    more = {name: value for name, value in more.items() if value is not None}
    usage = more.pop("usage", None)
    body = {"candidates": [{"content": {"parts": list(parts)}, **more}]}
    return json.dumps({**body, **({"usageMetadata": usage} if usage else {})}).encode()


GEMINI_IMAGE = {"inlineData": {"mimeType": "image/png", "data": PNG_1X1}}
GEMINI_USAGE = {
    "promptTokenCount": 5,
    "candidatesTokenCount": 1120,
    "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1120}],
}
COMPLETED = json.dumps({"type": "image_generation.completed", "b64_json": PNG_1X1}).encode()


async def relayed(tmp_path: Path, model: str, *said: Step, previews: int = 0) -> GenerationResult:
    with anyio.fail_after(30), RawServer(*said) as server:
        result = await generate(relay(settings_of(tmp_path), server.url), model, previews=previews)
        assert len(server.requests) == 1
    assert [image.data for image in result.images] == [base64.b64decode(PNG_1X1)]
    return result


def is_cut_short(result: GenerationResult) -> bool:
    return "answer_cut_short" in [notice.code for notice in result.notices]


@pytest.mark.parametrize("ends", [(), (RESET,), (chunk(b""),), (chunk(b'data: {"candi'),), (chunk(b"data: {}{}\n\n"),)])
async def test_an_image_that_came_whole_counts_though_its_stream_broke_off(
    ends: tuple[Step, ...], tmp_path: Path
) -> None:
    """Also where the stream says nothing of its end, or something that cannot be read comes behind the image."""
    result = await relayed(tmp_path, GEMINI, events(candidate(GEMINI_IMAGE)), *ends, previews=1)
    assert is_cut_short(result)
    assert result.cost_usd is None


async def test_a_stream_that_broke_off_before_its_image_is_lost(tmp_path: Path) -> None:
    server = RawServer(events(candidate({"text": "Here it "}), candidate({"text": "is"})))
    with server, pytest.raises(NetworkError) as caught:
        await generate(relay(settings_of(tmp_path), server.url), GEMINI, previews=1)
    assert caught.value.may_be_billed


@pytest.mark.parametrize(
    ("model", "body"), [(OPENAI, json.dumps(ANSWER).encode()), (GEMINI, candidate(GEMINI_IMAGE, finishReason="STOP"))]
)
async def test_json_that_came_whole_counts_though_its_transfer_did_not_end(
    model: str, body: bytes, tmp_path: Path
) -> None:
    for said in (chunked(body), answer(body, content_length=len(body) + 2)):
        result = await relayed(tmp_path, model, said)
        assert is_cut_short(result)
        assert "answer_cut_short" in [n["code"] for n in result.images[0].metadata["external"]["notices"]]  # type: ignore[index]
    assert not is_cut_short(await relayed(tmp_path, model, answer(body)))


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (OPENAI, [COMPLETED]),
        (OPENAI, [COMPLETED, b"[DONE]"]),
        (GEMINI, [candidate(GEMINI_IMAGE, finishReason="STOP", usage=GEMINI_USAGE)]),
        (GEMINI, [candidate(GEMINI_IMAGE, usage=GEMINI_USAGE), candidate(finishReason="STOP")]),
        (GEMINI, [candidate(GEMINI_IMAGE), candidate(finishReason="STOP"), candidate(usage=GEMINI_USAGE)]),
        (GEMINI, [candidate(GEMINI_IMAGE, finishReason="STOP"), b"[DONE]"]),
    ],
)
async def test_a_stream_is_done_with_its_image_though_the_connection_stays_open(
    model: str, said: list[bytes], tmp_path: Path
) -> None:
    result = await relayed(tmp_path, model, events(*said), HOLD, previews=1)
    assert not is_cut_short(result)
    if b"usageMetadata" in b"".join(said):
        assert result.cost_usd is not None


async def test_tokens_that_never_come_are_not_waited_for_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls_module, "_USAGE_WAIT_S", 0.2)
    said = events(candidate(GEMINI_IMAGE), candidate(finishReason="STOP"))
    result = await relayed(tmp_path, GEMINI, said, HOLD, previews=1)
    assert (is_cut_short(result), result.cost_usd) == (False, None)


async def test_a_gateway_that_says_in_every_event_that_it_is_done_is_heard_to_the_end(tmp_path: Path) -> None:
    words = [candidate({"text": word}, finishReason="STOP", usage=GEMINI_USAGE) for word in ("Here ", "it is")]
    said = chunk(b"data: %b\n\n" % candidate(GEMINI_IMAGE, finishReason="STOP", usage=GEMINI_USAGE))
    assert not is_cut_short(await relayed(tmp_path, GEMINI, events(*words), 0.3, said, HOLD, previews=1))


@MODELS
async def test_signs_of_life_lose_no_image(model: str, tmp_path: Path) -> None:
    image = COMPLETED if model == OPENAI else candidate(GEMINI_IMAGE, finishReason="STOP", usage=GEMINI_USAGE)
    said = events(b"", b"keep-alive", b"ping", image, b"", b"keep-alive")
    await relayed(tmp_path, model, said, chunk(b": ping\n\n"), HOLD, previews=1)


async def test_large_requests_are_made_off_the_event_loop_one_at_a_time(
    sandbox_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = GeminiAdapter.build
    threads: list[int] = []
    at_work = most = 0

    def counted(self: GeminiAdapter, call: Call, base_url: str) -> HttpRequest:
        nonlocal at_work, most
        threads.append(threading.get_ident())
        at_work += 1
        most = max(most, at_work)
        time.sleep(0.01)
        at_work -= 1
        return build(self, call, base_url)

    monkeypatch.setattr(GeminiAdapter, "build", counted)
    result = await generate(settings_of(tmp_path), GEMINI, n=4, references=(png_file(PHOTO, "photo.png"),))
    assert len(result.images) == len(threads) == 4
    assert threading.get_ident() not in threads
    assert most == 1
