"""The official SDKs as clients of the sandbox: only the base URL differs, and they must not notice."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from PIL import Image

openai = pytest.importorskip("openai")
genai = pytest.importorskip("google.genai")
from google.genai import errors, types  # noqa: E402 - only after the check that it is installed

pytestmark = pytest.mark.slow

GPT = "gpt-image-2.6-sunburst"
BANANA = "gemini-nano-banana-2.1"


@pytest.fixture
def openai_client(sandbox_url: str) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{sandbox_url}/openai/v1", api_key="sk-test", max_retries=0) as client:
        yield client


@pytest.fixture(params=["v1", "v1beta", None])
def gemini_client(sandbox_url: str, request: pytest.FixtureRequest) -> Iterator[Any]:
    with gemini_sdk(sandbox_url, request.param) as client:
        yield client


def gemini_sdk(sandbox_url: str, version: str | None) -> Any:
    options = {"base_url": f"{sandbox_url}/gemini"} | ({"api_version": version} if version else {})
    return genai.Client(api_key="test", http_options=options)


def opened(b64: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(b64)))


class TestOpenAI:
    def test_generate(self, openai_client: Any) -> None:
        response = openai_client.images.generate(
            model=GPT, prompt="a lighthouse", n=2, size="1536x864", quality="max", background="opaque"
        )
        first, second = (opened(image.b64_json) for image in response.data)
        assert first.size == second.size == (1536, 864)
        assert first.tobytes() != second.tobytes()
        assert (response.quality, response.size, response.output_format, response.background) == (
            "max",
            "1536x864",
            "png",
            "opaque",
        )
        assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens
        assert response._request_id.startswith("req_sandbox_")
        assert response.model_extra == {}
        # The SDK's types do not have this field of the service yet.
        assert [set(image.model_extra) for image in response.data] == [{"generation_id"}] * 2

    def test_every_parameter_of_the_sdk(self, openai_client: Any) -> None:
        response = openai_client.images.generate(
            model="gpt-image-2.6-flare",
            prompt="a lighthouse",
            background="transparent",
            complexity="high",
            moderation="low",
            n=1,
            output_compression=80,
            output_format="webp",
            partial_images=0,
            quality="xhigh",
            safety_identifier="user-1",
            size="auto",
            stream=False,
            user="user-2",
        )
        image = opened(response.data[0].b64_json)
        assert (image.format, image.mode, image.size) == ("WEBP", "RGBA", (1024, 1024))
        assert response.safety_identifier == "user-1"

    def test_a_stream_with_partial_images(self, openai_client: Any) -> None:
        *partial, completed = openai_client.images.generate(
            model=GPT,
            prompt="a lighthouse",
            size="1536x864",
            stream=True,
            partial_images=3,
            quality="high",
            user="user-2",
        )
        assert [type(event).__name__ for event in partial] == ["ImageGenPartialImageEvent"] * 3
        assert [event.partial_image_index for event in partial] == [0, 1, 2]
        assert type(completed).__name__ == "ImageGenCompletedEvent"
        images = [opened(event.b64_json) for event in (*partial, completed)]
        assert {image.size for image in images} == {(1536, 864)}
        assert len({image.tobytes() for image in images}) == 4
        usage = completed.usage
        assert usage.total_tokens == usage.input_tokens + usage.output_tokens
        assert completed.safety_identifier == "user-2"
        for event in (*partial, completed):
            assert (event.size, event.output_format, event.background) == ("1536x864", "png", "opaque")
            # The SDK's types do not have the number that the service sends.
            assert set(event.model_extra) == {"sequence_number"}

    def test_a_stream_of_an_edit(self, openai_client: Any, photo_png: bytes) -> None:
        partial, completed = openai_client.images.edit(
            model=GPT, prompt="at night", image=("photo.png", photo_png, "image/png"), stream=True, partial_images=1
        )
        assert (type(partial).__name__, type(completed).__name__) == (
            "ImageEditPartialImageEvent",
            "ImageEditCompletedEvent",
        )
        assert opened(completed.b64_json).size == (1248, 832)

    def test_a_stream_without_partial_images(self, openai_client: Any) -> None:
        (completed,) = openai_client.images.generate(model=GPT, prompt="a lighthouse", stream=True)
        assert completed.type == "image_generation.completed"

    @pytest.mark.parametrize(
        ("fault", "error"),
        [("stream_error", "APIError"), ("truncated_body", "APIConnectionError"), ("stream_refused", "BadRequestError")],
    )
    def test_faults_of_a_stream(
        self, openai_client: Any, queue_fault: Callable[..., None], fault: str, error: str
    ) -> None:
        queue_fault("openai", fault)
        seen: list[str] = []

        def read() -> None:
            for event in openai_client.images.generate(model=GPT, prompt="x", stream=True, partial_images=2):
                seen.append(event.type)

        with pytest.raises(getattr(openai, error)) as caught:
            read()
        assert type(caught.value) is getattr(openai, error)
        assert seen == ([] if fault == "stream_refused" else ["image_generation.partial_image"] * 2)

    def test_a_stream_that_ends_early(self, openai_client: Any, queue_fault: Callable[..., None]) -> None:
        queue_fault("openai", "stream_ends_early")
        events = openai_client.images.generate(model=GPT, prompt="x", stream=True, partial_images=2)
        assert [event.type for event in events] == ["image_generation.partial_image"] * 2

    def test_an_async_stream(self, sandbox_url: str) -> None:
        async def generate() -> list[str]:
            async with openai.AsyncOpenAI(base_url=f"{sandbox_url}/openai/v1", api_key="sk-test") as client:
                stream = await client.images.generate(model=GPT, prompt="x", stream=True, partial_images=1)
                return [event.type async for event in stream]

        assert asyncio.run(generate()) == ["image_generation.partial_image", "image_generation.completed"]

    def test_edit_with_one_image(self, openai_client: Any, photo_png: bytes) -> None:
        response = openai_client.images.edit(model=GPT, prompt="at night", image=("photo.png", photo_png, "image/png"))
        assert opened(response.data[0].b64_json).size == (1248, 832)

    def test_edit_with_several_images_and_a_mask(
        self, openai_client: Any, photo: Image.Image, photo_png: bytes, mask_png: bytes
    ) -> None:
        response = openai_client.images.edit(
            model="gpt-image-1.5",
            prompt="a hat",
            image=[(f"{i}.png", photo_png, "image/png") for i in range(16)],
            mask=("mask.png", mask_png, "image/png"),
            input_fidelity="high",
            size="1536x1024",
            n=1,
        )
        image = opened(response.data[0].b64_json)
        outside = (0, 0, 400, 1024)
        assert image.size == (1536, 1024)
        assert image.crop(outside) == photo.resize((1536, 1024), Image.Resampling.BICUBIC).crop(outside)
        assert response.usage.input_tokens_details.image_tokens > 16 * 65

    def test_models(self, openai_client: Any) -> None:
        names = [model.id for model in openai_client.models.list()]
        assert GPT in names
        assert "dall-e-3" not in names
        assert openai_client.models.retrieve("gpt-image-1.5").shutdown_date == "2026-12-01"

    @pytest.mark.parametrize(
        ("fault", "params", "error", "code"),
        [
            ("rate_limited", {"form": "none"}, "RateLimitError", "rate_limit_exceeded"),
            ("quota", {}, "RateLimitError", "insufficient_quota"),
            ("quota", {"status": 400, "code": "billing_hard_limit_reached"}, "BadRequestError", None),
            ("moderation", {}, "BadRequestError", "moderation_blocked"),
            ("organization_not_verified", {}, "PermissionDeniedError", None),
            ("server_error", {"status": 409}, "ConflictError", None),
            ("server_error", {"status": 503}, "InternalServerError", None),
            ("server_error", {"status": 502, "body": "html"}, "InternalServerError", None),
            ("dropped_connection", {}, "APIConnectionError", None),
            ("truncated_body", {}, "APIConnectionError", None),
        ],
    )
    def test_errors(
        self,
        openai_client: Any,
        queue_fault: Callable[..., None],
        fault: str,
        params: Any,
        error: str,
        code: str | None,
    ) -> None:
        queue_fault("openai", fault, **params)
        with pytest.raises(getattr(openai, error)) as caught:
            openai_client.images.generate(model=GPT, prompt="a lighthouse")
        assert type(caught.value) is getattr(openai, error)
        assert code in (None, caught.value.code)

    @pytest.mark.parametrize("form", ["retry-after-ms", "retry-after-seconds", "x-should-retry-true", "none"])
    def test_retries_of_the_sdk(self, openai_client: Any, queue_fault: Callable[..., None], form: str) -> None:
        queue_fault("openai", "rate_limited", form=form, seconds=0.01)
        assert openai_client.with_options(max_retries=1).images.generate(model=GPT, prompt="a lighthouse").data

    def test_no_retry_if_the_service_says_so(self, openai_client: Any, queue_fault: Callable[..., None]) -> None:
        queue_fault("openai", "rate_limited", form="x-should-retry-false")
        with pytest.raises(openai.RateLimitError):
            openai_client.with_options(max_retries=3).images.generate(model=GPT, prompt="a lighthouse")

    def test_wrong_key(self, openai_client: Any) -> None:
        with pytest.raises(openai.AuthenticationError) as caught:
            openai_client.with_options(api_key="a-wrong-key").models.list()
        assert caught.value.code == "invalid_api_key"

    def test_unknown_model(self, openai_client: Any) -> None:
        with pytest.raises(openai.NotFoundError) as caught:
            openai_client.images.generate(model="gpt-image-99", prompt="a lighthouse")
        assert caught.value.code == "model_not_found"
        assert caught.value.request_id

    def test_unknown_parameter(self, openai_client: Any) -> None:
        with pytest.raises(openai.BadRequestError) as caught:
            openai_client.images.generate(model=GPT, prompt="a lighthouse", extra_body={"seed": 1})
        assert (caught.value.code, caught.value.param) == ("unknown_parameter", "seed")

    def test_async(self, sandbox_url: str) -> None:
        async def generate() -> Any:
            async with openai.AsyncOpenAI(base_url=f"{sandbox_url}/openai/v1", api_key="sk-test") as client:
                return await client.images.generate(model=GPT, prompt="a lighthouse")

        assert asyncio.run(generate()).data


class TestGemini:
    @pytest.mark.parametrize("version", ["v1beta", None])
    def test_generate(self, sandbox_url: str, version: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
        # Since 3.0 the SDK's default is v1, unless this variable says otherwise.
        monkeypatch.setenv("GOOGLE_GENAI_API_VERSION", "beta")
        gemini_client = gemini_sdk(sandbox_url, version)
        response = gemini_client.models.generate_content(
            model=BANANA,
            contents="a lighthouse",
            config=types.GenerateContentConfig(
                response_modalities=["TEXT", "IMAGE"],
                image_config=types.ImageConfig(aspect_ratio="16:9", image_size="1K"),
                thinking_config=types.ThinkingConfig(thinking_level=types.ThinkingLevel.HIGH, include_thoughts=True),
                seed=8,
                temperature=0.5,
            ),
        )
        thoughts = [part for part in response.parts if part.thought]
        image = next(part for part in response.parts if part.inline_data and not part.thought)
        assert [bool(part.text) for part in thoughts] == [True, False]
        assert image.thought_signature
        assert Image.open(io.BytesIO(image.inline_data.data)).size == (1376, 768)
        assert response.text
        assert response.candidates[0].finish_reason == types.FinishReason.STOP
        usage = response.usage_metadata
        assert usage.candidates_tokens_details[0].modality == types.MediaModality.IMAGE
        assert usage.candidates_tokens_details[0].token_count == 1120
        assert usage.total_token_count == (
            usage.prompt_token_count + usage.candidates_token_count + usage.thoughts_token_count
        )
        assert (response.model_version, bool(response.response_id)) == (BANANA, True)

    def test_v1_has_no_modalities(self, sandbox_url: str) -> None:
        config = types.GenerateContentConfig(response_modalities=["TEXT", "IMAGE"])
        with gemini_sdk(sandbox_url, "v1") as client, pytest.raises(errors.ClientError, match="responseModalities"):
            client.models.generate_content(model=BANANA, contents="a lighthouse", config=config)

    def test_a_stream(self, gemini_client: Any) -> None:
        chunks = list(
            gemini_client.models.generate_content_stream(
                model=BANANA,
                contents="a lighthouse",
                config=types.GenerateContentConfig(thinking_config=types.ThinkingConfig(include_thoughts=True), seed=8),
            )
        )
        parts = [part for chunk in chunks for part in chunk.parts or ()]
        kinds = [("thought " if part.thought else "") + ("image" if part.inline_data else "words") for part in parts]
        assert kinds == ["thought words", "thought words", "thought image", "words", "words", "image"]
        whole = gemini_client.models.generate_content(
            model=BANANA,
            contents="a lighthouse",
            config=types.GenerateContentConfig(thinking_config=types.ThinkingConfig(include_thoughts=True), seed=8),
        )
        assert parts[-1].inline_data.data == whole.parts[-1].inline_data.data
        assert "".join(part.text for part in parts[3:5]) == whole.text
        assert [chunk.candidates[0].finish_reason for chunk in chunks[:-1]] == [None] * 6
        assert chunks[-1].candidates[0].finish_reason == types.FinishReason.STOP
        assert chunks[-1].usage_metadata == whole.usage_metadata
        assert len({chunk.response_id for chunk in chunks}) == 1

    def test_a_stream_that_ends_with_an_error(self, gemini_client: Any, queue_fault: Callable[..., None]) -> None:
        queue_fault("gemini", "stream_error", status=503)
        with pytest.raises(errors.APIError) as caught:
            list(gemini_client.models.generate_content_stream(model=BANANA, contents="a lighthouse"))
        assert (caught.value.code, caught.value.status) == (503, "UNAVAILABLE")

    def test_a_refused_stream(self, gemini_client: Any, queue_fault: Callable[..., None]) -> None:
        queue_fault("gemini", "stream_refused")
        with pytest.raises(errors.ClientError) as caught:
            list(gemini_client.models.generate_content_stream(model=BANANA, contents="a lighthouse"))
        assert caught.value.code == 404

    def test_a_blocked_prompt_of_a_stream(self, gemini_client: Any, queue_fault: Callable[..., None]) -> None:
        queue_fault("gemini", "blocked_prompt", reason="SAFETY")
        (chunk,) = gemini_client.models.generate_content_stream(model=BANANA, contents="a lighthouse")
        assert chunk.prompt_feedback.block_reason == types.BlockedReason.SAFETY

    def test_input_images(self, gemini_client: Any, photo: Image.Image, photo_png: bytes) -> None:
        # The SDK sends bytes in the URL-safe alphabet.
        response = gemini_client.models.generate_content(
            model=BANANA,
            contents=["merge these", photo, types.Part.from_bytes(data=photo_png, mime_type="image/png")],
        )
        image = next(part for part in response.parts if part.inline_data)
        assert image.as_image()
        assert {detail.modality for detail in response.usage_metadata.prompt_tokens_details} == {
            types.MediaModality.TEXT,
            types.MediaModality.IMAGE,
        }

    def test_a_chat_continues(self, gemini_client: Any) -> None:
        chat = gemini_client.chats.create(model=BANANA)
        chat.send_message("a lighthouse")
        assert any(part.inline_data for part in chat.send_message("now at night").parts)

    def test_models(self, gemini_client: Any) -> None:
        models = {model.name: model for model in gemini_client.models.list()}
        assert "generateContent" in models[f"models/{BANANA}"].supported_actions
        assert gemini_client.models.get(model="gemini-2.5-flash-image").display_name == "Gemini 2.5 Flash Image"

    @pytest.mark.parametrize(
        ("fault", "params", "error", "code", "status"),
        [
            ("rate_limited", {"form": "retry-info", "delay": "900ms"}, "ClientError", 429, "RESOURCE_EXHAUSTED"),
            ("quota", {"limit": "zero"}, "ClientError", 429, "RESOURCE_EXHAUSTED"),
            ("server_error", {"status": 503}, "ServerError", 503, "UNAVAILABLE"),
            ("wrapped_error", {"status": 500}, "ServerError", 500, "INTERNAL"),
        ],
    )
    def test_errors(
        self,
        gemini_client: Any,
        queue_fault: Callable[..., None],
        fault: str,
        params: Any,
        error: str,
        code: int,
        status: str,
    ) -> None:
        queue_fault("gemini", fault, **params)
        with pytest.raises(getattr(errors, error)) as caught:
            gemini_client.models.generate_content(model=BANANA, contents="a lighthouse")
        assert (caught.value.code, caught.value.status) == (code, status)

    def test_blocked_prompt(self, gemini_client: Any, queue_fault: Callable[..., None]) -> None:
        queue_fault("gemini", "blocked_prompt", reason="SAFETY")
        response = gemini_client.models.generate_content(model=BANANA, contents="a lighthouse")
        assert response.candidates is None
        assert response.prompt_feedback.block_reason == types.BlockedReason.SAFETY

    def test_finish_reason(self, gemini_client: Any, queue_fault: Callable[..., None]) -> None:
        queue_fault("gemini", "finish_reason", reason="NO_IMAGE")
        response = gemini_client.models.generate_content(model=BANANA, contents="a lighthouse")
        assert response.candidates[0].finish_reason == types.FinishReason.NO_IMAGE

    def test_unknown_model(self, gemini_client: Any) -> None:
        with pytest.raises(errors.ClientError) as caught:
            gemini_client.models.generate_content(model="gemini-9", contents="a lighthouse")
        assert (caught.value.code, caught.value.status) == (404, "NOT_FOUND")

    def test_wrong_key(self, sandbox_url: str) -> None:
        with (
            genai.Client(api_key="a-wrong-key", http_options={"base_url": f"{sandbox_url}/gemini"}) as client,
            pytest.raises(errors.ClientError, match="API key not valid"),
        ):
            client.models.generate_content(model=BANANA, contents="a lighthouse")

    def test_async(self, gemini_client: Any) -> None:
        async def generate() -> Any:
            response = await gemini_client.aio.models.generate_content(model=BANANA, contents="a lighthouse")
            await gemini_client.aio.aclose()
            return response

        assert asyncio.run(generate()).parts
