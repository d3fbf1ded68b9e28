"""OpenRouter's list of image models, as third parties recorded it in October 2026, and a server that speaks its API.

Each model has one feature that others do not: qualities, tiers of resolution, a price by megapixel, and so on. The
texts of the models are shortened.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from invokeai_external.adapters.openrouter_models import model_fields

from .samples import png_of
from .servers import LocalServer

__all__ = ["ENDPOINTS", "OpenRouterServer", "discovered", "endpoint", "enum", "listed", "span"]


def enum(*values: str) -> dict[str, Any]:
    return {"type": "enum", "values": list(values)}


def span(low: int, high: int) -> dict[str, Any]:
    return {"type": "range", "min": low, "max": high}


def price(billable: str, unit: str, usd: float, variant: str | None = None) -> dict[str, Any]:
    return {"billable": billable, "unit": unit, "cost_usd": usd, **({"variant": variant} if variant else {})}


def endpoint(
    slug: str, parameters: Mapping[str, Any], *prices: Mapping[str, Any], streams: bool = False
) -> dict[str, Any]:
    return {
        "provider_name": slug.title(),
        "provider_slug": slug,
        "provider_tag": slug,
        "supported_parameters": dict(parameters),
        "allowed_passthrough_parameters": [],
        "supports_streaming": streams,
        "pricing": list(prices),
    }


_SEED = {"type": "boolean"}
_TEN_RATIOS = ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")

# Recorded, but for the second endpoint of gemini-3-pro-image, whose tiers the same source reports, and for the
# prices of krea-2-medium, which a third party's test has.
ENDPOINTS: dict[str, list[dict[str, Any]]] = {
    "openai/gpt-image-2": [
        endpoint(
            "openai",
            {
                "aspect_ratio": enum("1:1", "3:2", "2:3", "4:3", "3:4", "16:9", "9:16", "21:9", "auto"),
                "quality": enum("auto", "low", "medium", "high"),
                "background": enum("auto", "opaque"),
                "n": span(1, 10),
                "input_references": span(0, 16),
                "output_compression": span(0, 100),
            },
            price("input_image", "token", 8e-06),
            price("input_text", "token", 5e-06),
            price("output_image", "token", 3e-05),
            streams=True,
        )
    ],
    "google/gemini-3-pro-image": [
        endpoint(
            "google-ai-studio/global",
            {
                "resolution": enum("1K", "2K", "4K"),
                "aspect_ratio": enum(*_TEN_RATIOS),
                "n": span(1, 1),
                "input_references": span(0, 14),
            },
            price("input_image", "token", 2e-06),
            price("output_image", "token", 0.00012),
        ),
        endpoint(
            "google-vertex/global",
            {
                "resolution": enum("1K", "2K"),
                "aspect_ratio": enum(*_TEN_RATIOS),
                "n": span(1, 1),
                "input_references": span(0, 14),
            },
            price("output_image", "token", 0.00012),
        ),
    ],
    "bytedance-seed/seedream-4.5": [
        endpoint(
            "seed",
            {
                "resolution": enum("1K", "2K", "4K"),
                "aspect_ratio": enum("1:1", "1:2", "2:1", "9:19.5", "16:9", "21:9", "auto"),
                "n": span(1, 10),
                "input_references": span(0, 14),
                "seed": _SEED,
            },
            price("output_image", "image", 0.04),
            price("input_image", "image", 0),
        )
    ],
    "black-forest-labs/flux.2-klein-4b": [
        endpoint(
            "black-forest-labs",
            {
                "aspect_ratio": enum("1:1", "4:3", "3:4", "3:2", "2:3", "16:9", "9:16", "21:9", "auto"),
                "output_format": enum("png", "jpeg"),
                "n": span(1, 1),
                "input_references": span(0, 4),
                "seed": _SEED,
            },
            price("output_image", "megapixel", 0.014),
        )
    ],
    "krea/krea-2-medium": [
        endpoint(
            "krea",
            {
                "resolution": enum("1K", "2K"),
                "aspect_ratio": enum("1:1", "4:3", "3:2", "16:9", "4:5", "2:3", "9:16"),
                "input_references": span(0, 1),
                "seed": _SEED,
            },
            price("input_image", "image", 0.003),
            price("output_image", "image", 0.04, "2k"),
            price("output_image", "image", 0.03, "1k"),
        )
    ],
    "recraft/recraft-v4.1-vector": [
        endpoint(
            "recraft",
            {
                "aspect_ratio": enum("1:1", "4:3", "3:4", "16:9", "9:16", "auto"),
                "output_format": enum("svg"),
                "n": span(1, 6),
                "input_references": span(0, 1),
            },
            price("output_image", "image", 0.08),
        )
    ],
    "inclusionai/ming-image-0.1-design-layer": [
        endpoint(
            "novita",
            {
                "output_format": enum("png", "webp"),
                "n": span(1, 1),
                "input_references": span(1, 1),
                "size": {"type": "boolean"},
            },
            price("input_image", "token", 0),
            price("output_image", "token", 0),
        )
    ],
    "meta/muse-image": [endpoint("meta", {})],
}
"""The endpoints of each model."""


def listed(model_id: str, endpoints: list[dict[str, Any]], created: int = 1_790_000_000) -> dict[str, Any]:
    """A model in the list: with what any of its endpoints supports."""
    parameters: dict[str, Any] = {}
    for each in endpoints:
        for name, descriptor in each["supported_parameters"].items():
            parameters.setdefault(name, descriptor)
    return {
        "id": model_id,
        "name": f"Maker: {model_id.partition('/')[2]}",
        "description": f"{model_id} makes images.",
        "created": created,
        "architecture": {"input_modalities": ["text", "image"], "output_modalities": ["image"]},
        "supported_parameters": parameters,
        "supports_streaming": any(each["supports_streaming"] for each in endpoints),
        "endpoints": f"/api/v1/images/models/{model_id}/endpoints",
    }


def discovered() -> dict[str, dict[str, Any]]:
    """What becomes of the models: raw fields by id."""
    pages = {name: {"id": name, "endpoints": found} for name, found in ENDPOINTS.items()}
    fields = {name: model_fields(listed(name, ENDPOINTS[name]), page) for name, page in pages.items()}
    return {name: each for name, each in fields.items() if each}


class OpenRouterServer(LocalServer):
    """Speaks OpenRouter's API as far as images go.

    Attributes:
        requests: The method, the path, the key and the JSON of each request.
        responses: What to respond to the next images, first in first out; then one image.
        endpoints: The models and their endpoints, as it lists them.
        is_down: True to respond with HTTP 503 to whoever asks for the models.
    """

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, str | None, Any]] = []
        self.responses: list[Response] = []
        self.endpoints = dict(ENDPOINTS)
        self.is_down = False
        routes = [Route("/{path:path}", self._answer, methods=["GET", "POST"])]
        super().__init__(Starlette(routes=routes))

    @property
    def base_url(self) -> str:
        return f"{self.url}/api/v1"

    @property
    def keys(self) -> set[str | None]:
        """The keys that arrived."""
        return {key for _, _, key, _ in self.requests}

    def paths(self, method: str) -> list[str]:
        return [path for used, path, _, _ in self.requests if used == method]

    async def _answer(self, request: Request) -> Response:
        key = request.headers.get("authorization")
        body = await request.json() if request.method == "POST" else {}
        path = request.url.path.removeprefix("/api/v1")
        self.requests.append((request.method, path, key.removeprefix("Bearer ") if key else None, body))
        if self.is_down and request.method == "GET":
            return JSONResponse({"error": {"code": 503, "message": "Down for maintenance"}}, 503)
        if request.method == "POST":
            return self.responses.pop(0) if self.responses else image_response(body)
        if path == "/images/models":
            # The newest last, so that the order is seen to be ours.
            models = [listed(name, found, at) for at, (name, found) in enumerate(self.endpoints.items(), 1_790_000_000)]
            return JSONResponse({"data": models})
        if path == "/key":
            valid = key == "Bearer sk-or-v1-valid"
            return JSONResponse({"data": {}}) if valid else error_response(401, "User not found.")
        model_id = path.removeprefix("/images/models/").removesuffix("/endpoints")
        if found := self.endpoints.get(model_id):
            return JSONResponse({"id": model_id, "endpoints": found})
        return error_response(404, f'No image model found for "{model_id}"')


def image_response(body: Mapping[str, Any]) -> Response:
    image = {"b64_json": base64.b64encode(png_of("RGB", (64, 64))).decode(), "media_type": "image/png"}
    usage = {"prompt_tokens": 12, "completion_tokens": 1120, "total_tokens": 1132, "cost": 0.1344}
    return JSONResponse(
        {"created": 1_790_000_000, "data": [image] * int(body.get("n", 1)), "usage": usage},
        headers={"x-generation-id": "gen-TEST123"},
    )


def error_response(
    status: int, message: str, headers: Mapping[str, str] | None = None, **metadata: object
) -> JSONResponse:
    error = {"code": status, "message": message, **({"metadata": metadata} if metadata else {})}
    return JSONResponse({"error": error, "user_id": "user_2abc"}, status, dict(headers or {}))
