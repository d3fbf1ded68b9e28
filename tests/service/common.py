"""Helpers of the service tests: settings, requests, and responses to send back."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from pydantic import SecretStr

from invokeai_external.progress import Progress
from invokeai_external.request import GenerationRequest, InputImage
from invokeai_external.result import GenerationResult
from invokeai_external.service.service import Service
from invokeai_external.settings.settings import Credentials, Settings, load_settings

from ..support.clock import Clock
from ..support.providers import IN_INVOKE

OPENAI = "openai/gpt-image-2.5-flare"


GEMINI = "gemini/gemini-nano-banana-2.1"


MODELS = pytest.mark.parametrize("model", [OPENAI, GEMINI])


Order = Callable[..., None]


USUAL_TYPE = {OPENAI: "image/png", GEMINI: "image/jpeg"}
"""The type of the images that each model sends if no other one is requested."""


def settings_of(tmp_path: Path, **limits: float | str) -> Settings:
    lines = "".join(f"  {name}: {value}\n" for name, value in limits.items())
    (tmp_path / "invokeai_external.yaml").write_text(f"settings:\n{lines}")
    return load_settings(tmp_path)


async def generate(
    settings: Settings, model: str, *, seen: list[Progress] | None = None, clock: Clock | None = None, **request: Any
) -> GenerationResult:
    """Make images with a new service, without waiting between retries."""
    clock = clock or Clock()
    async with Service(settings, clock=clock, sleep=clock.sleep) as service:
        on_progress = seen.append if seen is not None else lambda _: None
        return await service.generate(GenerationRequest(model=model, prompt="a red fox", **request), on_progress)


def received_calls(sandbox_url: str) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = httpx.get(f"{sandbox_url}/sandbox/requests").json()["requests"]
    return calls


PHOTO = Image.merge("RGB", [Image.linear_gradient("L").rotate(turn).resize((900, 600)) for turn in (0, 90, 180)])


MARKED = (300, 200, 500, 400)


def png_file(image: Image.Image, name: str) -> InputImage:
    file = io.BytesIO()
    image.save(file, "PNG")
    return InputImage(file.getvalue(), name)


def marked_box() -> InputImage:
    mask = Image.new("L", PHOTO.size)
    mask.paste(255, MARKED)
    return png_file(mask, "mask.png")


def with_hole(image: Image.Image) -> bytes:
    """The pixels of a image that the box does not mark."""
    image = image.copy()
    image.paste((0, 0, 0), MARKED)
    return image.tobytes()


def opened(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as image:
        return image.copy()


def one_pixel() -> bytes:
    file = io.BytesIO()
    Image.new("RGBA", (1, 1)).save(file, "PNG")
    return file.getvalue()


PNG_1X1 = base64.b64encode(one_pixel()).decode()


ANSWER = {"created": 1, "data": [{"b64_json": PNG_1X1}]}


URL = "https://api.openai.com/v1/images/generations"


class Broken(httpx.AsyncByteStream):
    """A body that begins and then fails."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b'{"data": ['
        raise self._error


def relay(settings: Settings, url: str) -> Settings:
    """The settings with both providers' base URLs replaced by that of a server."""
    credentials = {name: Credentials(SecretStr("sk-test"), f"{url}/v1", "a test") for name in IN_INVOKE}
    return replace(settings, credentials=credentials)


def candidate(*parts: object, **more: object) -> bytes:
    """An event of Gemini's stream, or a whole response."""
    more = {name: value for name, value in more.items() if value is not None}
    usage = more.pop("usage", None)
    body = {"candidates": [{"content": {"parts": list(parts)}, **more}]}
    return json.dumps({**body, **({"usageMetadata": usage} if usage else {})}).encode()
