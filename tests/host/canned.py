"""A provider that responds to every call for images with a given file, and stores the files that it was sent."""

from __future__ import annotations

import base64

from fastapi import FastAPI, Request
from starlette.datastructures import UploadFile


class Canned:
    """The part of OpenAI's API that is needed for one image; serve ``app`` under ``/openai``.

    Attributes:
        image: The file of every response.
        sent: The files of the last edit, in the order of the form.
    """

    def __init__(self) -> None:
        self.image = b""
        self.sent: list[bytes] = []
        self.calls = 0
        self.app = FastAPI()
        self.app.add_api_route("/openai/v1/models", self._models, methods=["GET"])
        for path in ("generations", "edits"):
            self.app.add_api_route(f"/openai/v1/images/{path}", self._images, methods=["POST"])

    async def _models(self) -> dict[str, object]:
        return {"object": "list", "data": []}

    async def _images(self, request: Request) -> dict[str, object]:
        async with request.form() as form:
            self.sent = [await file.read() for _, file in form.multi_items() if isinstance(file, UploadFile)]
        self.calls += 1
        return {"created": 1, "data": [{"b64_json": base64.b64encode(self.image).decode("ascii")}]}
