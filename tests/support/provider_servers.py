"""Servers of providers whose API differs from OpenAI's and Google's own in path, query or header.

Each accepts exactly what its provider accepts, and keeps what it received: also of the requests that it refused.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from PIL import Image
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .samples import encoded
from .servers import LocalServer

__all__ = ["BLOCKED", "LoggedServer", "ProviderServer", "Received"]

BLOCKED = "something forbidden"
"""A prompt with this in it is refused because of its content."""


@dataclass(frozen=True)
class Received:
    """A request as a server received it.

    Attributes:
        path: Its path, as it was encoded.
        query: What is behind the path.
        headers: Its headers.
        body: Its JSON, or the texts of its form.
        files: The names of the files of its form.
    """

    path: str
    query: str
    headers: Mapping[str, str] = field(repr=False)
    body: Mapping[str, Any]
    files: tuple[str, ...] = ()


class LoggedServer(LocalServer):
    """Serves an application, and keeps the headers of all requests.

    Attributes:
        texts: The URL and the headers of each request, as one text.
    """

    def __init__(self, app: Any) -> None:
        self.texts: list[str] = []

        async def logged(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                headers = b"\n".join(b": ".join(header) for header in scope["headers"])
                self.texts.append(f"{scope['path']}?{scope['query_string'].decode()}\n{headers.decode()}")
            await app(scope, receive, send)

        super().__init__(logged)


class ProviderServer(LoggedServer):
    """One provider.

    Args:
        paths: The paths of its endpoints, as regular expressions.
        header: The header that holds the key.
        key: What that header must hold.
        query: The query that every URL must have.
        models: The models that it lists; None if it has no list.
        more: Further headers of its responses.
        refused: The status and the body of its response to a prompt that is blocked.
    """

    def __init__(
        self,
        *,
        paths: tuple[str, ...],
        header: str,
        key: str,
        query: str = "",
        models: tuple[str, ...] | None = None,
        more: Mapping[str, str] | None = None,
        refused: tuple[int, Any],
    ) -> None:
        self.received: list[Received] = []
        self._paths, self._header, self._key, self._query = paths, header, key, query
        self._models, self._more, self._refused = models, dict(more or {}), refused
        super().__init__(Starlette(routes=[Route("/{path:path}", self._respond, methods=["GET", "POST"])]))

    async def _respond(self, request: Request) -> Response:
        body, files = await _read(request)
        path = request.scope["raw_path"].decode()
        self.received.append(Received(path, request.url.query, dict(request.headers), body, files))
        if request.headers.get(self._header) != self._key:
            return JSONResponse({"error": {"code": "401", "message": "Access denied: the key is not valid."}}, 401)
        if request.url.query != self._query:
            return JSONResponse({"error": {"code": "404", "message": "Resource not found"}}, 404)
        if request.method == "GET" and self._models is not None and path.endswith("/models"):
            return JSONResponse({"data": [{"id": model} for model in self._models]})
        if request.method == "GET" and self._models is not None and path.endswith("/v1/key"):
            return JSONResponse({"data": {"label": "the key of the test", "limit": None}})
        if request.method != "POST" or not any(re.fullmatch(known, path) for known in self._paths):
            return JSONResponse({"error": {"code": "404", "message": "Resource not found"}}, 404)
        if BLOCKED in str(body):
            status, refusal = self._refused
            return JSONResponse(refusal, status)
        kinds = {":generateContent": _google, "/v1/images": _openrouter}
        body = next((made for end, made in kinds.items() if path.endswith(end)), _openai)()
        return JSONResponse(body, headers=self._more)


async def _read(request: Request) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    if request.method == "GET":
        return {}, ()
    if not request.headers["content-type"].startswith("multipart/"):
        return await request.json(), ()
    async with request.form() as form:
        texts = {name: value for name, value in form.multi_items() if not isinstance(value, UploadFile)}
        return texts, tuple(name for name, value in form.multi_items() if isinstance(value, UploadFile))


_IMAGE = base64.b64encode(encoded(Image.new("RGB", (1024, 1024), "teal"), "PNG")).decode()


def _openai() -> dict[str, Any]:
    details = {"text_tokens": 8, "image_tokens": 0}
    usage = {"input_tokens": 8, "input_tokens_details": details, "output_tokens": 196, "total_tokens": 204}
    return {"created": 1, "data": [{"b64_json": _IMAGE}], "usage": usage}


def _openrouter() -> dict[str, Any]:
    usage = {"prompt_tokens": 8, "completion_tokens": 196, "total_tokens": 204, "cost": 0.04}
    return {"created": 1, "data": [{"b64_json": _IMAGE, "media_type": "image/png"}], "usage": usage}


def _google() -> dict[str, Any]:
    part = {"inlineData": {"mimeType": "image/png", "data": _IMAGE}}
    return {
        "candidates": [{"content": {"role": "model", "parts": [part]}, "finishReason": "STOP"}],
        "usageMetadata": {
            "promptTokenCount": 8,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 8}],
            "candidatesTokenCount": 1290,
            "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1290}],
            "totalTokenCount": 1298,
        },
    }
