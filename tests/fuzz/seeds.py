"""Good answers, files and settings, of which the fuzzer makes bad ones."""

from __future__ import annotations

import base64
import io
from functools import cache
from typing import Any

from PIL import Image, PngImagePlugin

__all__ = ["BAD_ANSWERS", "METADATA", "SETTINGS_FILES", "gemini_answers", "image_files", "openai_answers"]


@cache
def image_files() -> tuple[bytes, ...]:
    """Small images of all formats that are taken apart, and of some that only Pillow reads; masks among them."""
    ramp = Image.linear_gradient("L").resize((24, 16))
    colours = Image.merge("RGB", (ramp, ramp.rotate(180), ramp))
    seen_through = colours.copy()
    seen_through.putalpha(ramp)
    texts = PngImagePlugin.PngInfo()
    texts.add_text("invokeai_metadata", '{"positive_prompt": "a red fox", "external": {}}')
    texts.add_text("Title", "packed", zip=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    files: list[tuple[Image.Image, dict[str, Any]]] = [
        (colours, {"format": "PNG", "pnginfo": texts}),
        (seen_through, {"format": "PNG"}),
        (colours.convert("P"), {"format": "PNG"}),
        (ramp, {"format": "PNG"}),
        (colours, {"format": "JPEG", "exif": exif}),
        (colours, {"format": "JPEG", "progressive": True}),
        (colours.convert("CMYK"), {"format": "JPEG"}),
        (seen_through, {"format": "WEBP", "lossless": True, "exif": exif}),
        (colours, {"format": "WEBP"}),
        (colours, {"format": "GIF"}),
        (colours, {"format": "BMP"}),
        (seen_through, {"format": "TIFF"}),
    ]
    return tuple(_saved(image, **options) for image, options in files)


def _saved(image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, **options)
    return file.getvalue()


def _base64(place: int) -> str:
    return base64.b64encode(image_files()[place]).decode()


@cache
def openai_answers() -> tuple[Any, ...]:
    """Bodies of OpenAI's Images API: with data, with a URL, several, with usage."""
    usage = {
        "input_tokens": 12,
        "input_tokens_details": {"text_tokens": 12, "image_tokens": 0},
        "output_tokens": 1100,
        "output_tokens_details": {"text_tokens": 44, "image_tokens": 1056},
        "total_tokens": 1112,
    }
    one = {"b64_json": _base64(0), "revised_prompt": "a red fox", "generation_id": "gen-1"}
    return (
        {"created": 1, "data": [one], "usage": usage, "size": "1024x1024", "output_format": "png"},
        {"created": 1, "data": [one, {"b64_json": _base64(4)}, {"b64_json": _base64(7)}], "usage": usage},
        {"created": 1, "data": [{"url": f"data:image/png;base64,{_base64(1)}"}]},
        {"created": 1, "data": [{"url": "/files/image.png"}]},
    )


@cache
def gemini_answers() -> tuple[Any, ...]:
    """Bodies of Gemini's generateContent: an image with and without words, thoughts, several, snake case."""
    usage = {
        "promptTokenCount": 9,
        "candidatesTokenCount": 1150,
        "totalTokenCount": 1159,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 9}],
        "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1120}],
        "thoughtsTokenCount": 5,
    }

    def answer(*parts: Any, **more: Any) -> Any:
        candidate = {"content": {"role": "model", "parts": list(parts)}, "finishReason": "STOP", "index": 0}
        return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "m", "responseId": "r", **more}

    def image(place: int, **more: Any) -> Any:
        return {"inlineData": {"mimeType": "image/png", "data": _base64(place)}, **more}

    return (
        answer({"text": "Here it is."}, image(0)),
        answer({"text": "Let me see.", "thought": True}, image(4, thought=True), image(0, thoughtSignature="c2ln")),
        answer(image(0), image(0), image(1)),
        answer({"inline_data": {"mime_type": "image/jpeg", "data": _base64(4)}}),
        {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT", "blockReasonMessage": "no"}, "usageMetadata": usage},
    )


BAD_ANSWERS: tuple[Any, ...] = (
    {
        "error": {
            "message": "Slow down, try again in 5s",
            "type": "requests",
            "param": None,
            "code": "rate_limit_exceeded",
        }
    },
    {"error": {"message": "no", "code": "moderation_blocked", "moderation_details": {"moderation_stage": "output"}}},
    {"error": "some words"},
    {"detail": [{"loc": ["body"], "msg": "field required"}]},
    {"message": "Unauthorized"},
    {"errors": [{"message": "x"}]},
    [{"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}],
    {
        "error": {
            "code": 429,
            "message": "You exceeded your current quota, limit: 0",
            "status": "RESOURCE_EXHAUSTED",
            "details": [
                {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": "PerDay"}]},
                {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "20.75s"},
                {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "metadata": {"quota_limit_value": "0"}},
            ],
        }
    },
)

METADATA: tuple[Any, ...] = (
    {
        "generation_mode": "inpaint",
        "positive_prompt": "a red fox",
        "seed": 7,
        "width": 1024,
        "height": 1024,
        "image_size": "1K",
        "model": {"key": "external:openai:gpt-image-2", "hash": "h", "name": "n", "base": "external", "type": "t"},
        "openai_quality": "high",
        "external": {
            "generator": "invokeai_external 0.1.0",
            "provider": "openai",
            "model": "gpt-image-2",
            "size": "1024x1024",
            "aspect_ratio": "1:1",
            "options": {"quality": "high", "background": "transparent"},
            "received": {"width": 1024, "height": 1024, "mime_type": "image/png"},
            "init_image": {"name": "base.png", "sha256": "0" * 64},
            "mask": {"name": "mask.png", "sha256": "0" * 64},
            "references": [{"name": "ref.png", "sha256": "0" * 64}],
            "usage": {"input_text_tokens": 1},
            "cost_usd": 0.01,
            "notices": [{"code": "sandbox", "message": "x"}],
        },
    },
    {"positive_prompt": "-n", "external": {"provider": "gemini", "model": "gemini-3-pro-image", "options": {}}},
    {"positive_prompt": "made by something else", "model": {"key": "abc"}},
)

SETTINGS_FILES: tuple[bytes, ...] = (
    b"settings:\n  concurrency: 2\n  max_wait_s: 300\nsandbox: false\n",
    b"models:\n  openai/gpt-image-2.6-flare:\n    prices: {image_out: 24}\n    image_tokens: {low 1024x1024: 272}\n",
    b"models:\n  gemini/gemini-4-image:\n    name: G\n    input_images: {max_count: 20}\n    options:\n"
    b"      thinking_level: {values: [low, medium]}\n    lifecycle: {status: deprecated, shutdown: 2027-01-31}\n",
    b"models: &m\n  openai/x: {sizing: {kind: fixed, sizes: [1024x1024]}}\nsettings: {previews: 2}\n",
    b"# keys\nexternal_gemini_api_key: AIzaSyD-false\nexternal_openai_api_key: 'sk-false-key'\n"
    b"external_openai_base_url: https://images.example.org/v1\n",
)
