"""A provider that Invoke does not know, a small server with OpenAI's API; and the one that carries its models."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
from fastapi import FastAPI, HTTPException, Request, Response
from PIL import Image
from starlette.datastructures import UploadFile

from ..support.guard import CANARY
from ..support.servers import LocalServer

KEY = f"{CANARY}-acme"
"""The key of this provider only."""

PLAIN, GPT = "alibabacloud/acme/acme-image-1", "openai/acme/gpt"
"""Its models as Invoke knows them: one without options, one with those of GPT Image."""


ALIBABA_KEY = f"{CANARY}-alibaba"
"""The key of the carrier, which has models in Invoke too."""


class Acme:
    """Makes images of 1024 x 1024 pixels; its edits have another color. The carrier's server is below ``/alibaba``.

    Attributes:
        seconds: How long a call for images takes, unless the client closes the connection.
        calls: The fields of each call for images.
        keys: What each call was authorized with.
        in_flight: How many calls have no response yet.
        most: The most calls that were in flight together.
        alibaba: The calls that the carrier received.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.calls: list[dict[str, Any]] = []
        self.keys: set[str] = set()
        self.in_flight = 0
        self.most = 0
        self.app = FastAPI()
        for path in ("generations", "edits"):
            self.app.add_api_route(f"/v1/images/{path}", self._images, methods=["POST"])
        path = "/alibaba/api/v1/services/aigc/multimodal-generation/generation"
        self.app.add_api_route(path, self._alibaba, methods=["POST"])
        self.app.add_api_route("/alibaba/image.png", lambda: Response(_image("teal"), media_type="image/png"))
        self.alibaba: list[dict[str, Any]] = []

    def clear(self) -> None:
        """Forget what was received."""
        self.seconds, self.calls, self.most, self.alibaba = 0.0, [], 0, []

    async def _images(self, request: Request) -> dict[str, Any]:
        if "json" in request.headers["content-type"]:
            fields: dict[str, Any] = await request.json()
        else:
            async with request.form() as form:
                fields = {
                    name: value.filename if isinstance(value, UploadFile) else value
                    for name, value in form.multi_items()
                }
        self.calls.append(fields)
        self.keys.add(request.headers["authorization"])
        if request.headers["authorization"] != f"Bearer {KEY}":
            raise HTTPException(401)
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        try:
            with anyio.move_on_after(self.seconds):
                while not await request.is_disconnected():
                    await anyio.sleep(0.1)
        finally:
            self.in_flight -= 1
        image = _image("maroon" if "image" in fields else "teal")
        return {"created": 1, "data": [{"b64_json": base64.b64encode(image).decode()}]}

    async def _alibaba(self, request: Request) -> dict[str, Any]:
        self.alibaba.append(await request.json())
        assert request.headers["authorization"] == f"Bearer {ALIBABA_KEY}"
        content = [{"image": f"{request.base_url}alibaba/image.png"}]
        return {"request_id": "1", "output": {"choices": [{"message": {"content": content}}]}}


@contextmanager
def serving() -> Iterator[tuple[Acme, str]]:
    """The provider and the URL of its server, while that runs."""
    provider = Acme()
    with LocalServer(provider.app) as local:
        yield provider, local.url


def _image(color: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (1024, 1024), color).save(file, "PNG")
    return file.getvalue()


def configure(root: Path, url: str, settings: str = "") -> None:
    """Write its settings and its key into a root folder."""
    (root / "invokeai_external.yaml").write_text(
        f"""{settings}
providers:
  acme: {{adapter: openai_images, name: Acme Gateway, base_url: {url}/v1, limits: {{concurrency: 2}}}}
models:
  acme/acme-image-1:
    name: Acme Image
    modes: [txt2img, img2img, inpaint]
    input_images: {{max_count: 4}}
    sizing: {{kind: fixed, sizes: [1024x1024, 1536x1024]}}
    prices: {{per_image: 0.02}}
  acme/gpt: {{extends: openai/gpt-image-2, name: Acme GPT}}
""",
        encoding="utf-8",
    )
    set_key(root)


def set_key(root: Path) -> None:
    (root / "invokeai_external_keys.yaml").write_text(f"external_acme_api_key: {KEY}\n", encoding="utf-8")


def remove_key(root: Path) -> None:
    (root / "invokeai_external_keys.yaml").unlink()
