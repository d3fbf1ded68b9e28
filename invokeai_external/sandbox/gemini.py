"""The Gemini API under ``/gemini/{v1|v1beta}``: ``generateContent`` and the list of models."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

import anyio.to_thread
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from ..providers.schema import ModelConfig
from ..sizing import Size
from .call_log import Outcome, hide_key_in_query, without_files
from .codec import MIME_TYPES, encode, mime_type_of, several
from .drawing import Scene, render
from .errors import gemini_error
from .faults import Fault
from .gemini_faults import error_chunk, fault_body, raise_fault_error
from .gemini_request import MAX_TEMPERATURE, ContentCall, decode_base64, read_call, served_config, signs_thoughts
from .gemini_schema import snake_case, with_snake_case_names
from .gemini_tokens import count_gemini_tokens, count_hidden_text, count_thoughts
from .gemini_tools import grounding_metadata
from .keys import is_refused
from .meter import Tokens, metered, text_tokens
from .responses import Event, apply_wire_fault, base64_text, deliver, deliver_events, has_unreadable_images
from .state import state_of

__all__ = ["router"]

router = APIRouter(prefix="/gemini")

_VERSIONS = ("v1", "v1beta")
_TEXT = "Here is the image you asked for."
_DESCRIPTION = "A quiet landscape with layered hills under a soft gradient of light."
_THOUGHT = "**Composing the scene**\n\nI am sketching the light and the layers first, then the details."
_THOUGHT_EDGE = 256
_SPEAKS_ONCE_IN = 4
"""How often a model adds text to its image: not always, in recorded traffic; how often is a guess."""

_PAGE_SIZE = 50
"""How many models a page lists by default (recorded traffic)."""


@router.post("/{version}/models/{model}:generateContent")
async def generate_content(request: Request, version: str, model: str) -> Response:
    """An image with text; JSON in, ``GenerateContentResponse`` out."""
    whole, fault = await _response_body(request, version, model)
    return deliver(_named(whole, fault), fault, images=_images(whole, fault))


@router.post("/{version}/models/{model}:streamGenerateContent")
async def stream_generate_content(request: Request, version: str, model: str) -> Response:
    """The same in chunks: as events with ``?alt=sse``, else as a list in one piece."""
    as_events = parse_qs(request.scope["query_string"].decode("latin-1")).get("alt") == ["sse"]
    whole, fault = await _response_body(request, version, model, is_stream=True)
    if fault and fault.name == "stream_ignored":
        return deliver(whole, fault, images=_images(whole, fault))
    chunks = _chunks(whole, fault)
    if not as_events:
        sent = [image for chunk in chunks for image in _images(chunk, fault)]
        return deliver([_named(chunk, fault) for chunk in chunks], fault, images=sent)
    events = [Event(_event(_named(chunk, fault)), _images(chunk, fault)) for chunk in chunks]
    if fault and fault.name == "stream_error":
        # An error comes as bare JSON behind the events (recorded traffic).
        events[-1] = Event(json.dumps(chunks[-1], indent=2).encode())
    return deliver_events(events, fault)


async def _response_body(
    request: Request, version: str, model: str, *, is_stream: bool = False
) -> tuple[dict[str, Any], Fault | None]:
    """The response to a request in one piece, and the fault that applies to it."""
    state = state_of(request)
    query_key = _take_query_key(request)
    raw = await request.body()
    try:
        body, broken = json.loads(raw), ""
    except ValueError as error:
        body, broken = None, str(error)
    state.calls.record(request, json=without_files(body, "data", lambda encoded: decode_base64(encoded) or b""))
    _check_version(request, version)
    _check_key(request, query_key)
    fault = state.faults.take("gemini")
    raise_fault_error(fault)
    if is_stream and fault and fault.name == "stream_refused":
        raise gemini_error(404, f"The requested URL {request.url.path.removeprefix('/gemini')} was not found.")
    if broken:
        raise gemini_error(400, f"Invalid JSON payload received. {broken}")
    config = served_config(model, version, models=state.models)
    call = read_call(body, config, model, version)
    answer = fault_body(fault)
    tokens = _count(call, answer, fault)
    Outcome.of(request.scope).meter(metered(config.id, tokens, 0 if answer else len(call.searches)))
    await apply_wire_fault(fault, request)
    if answer is None:
        drawing = await anyio.to_thread.run_sync(_draw, call, fault) if call.gives_image else None
        answer = {"candidates": [{**_candidate(call, drawing, fault), **_grounding(call)}]}
    whole = {
        **answer,
        "usageMetadata": _usage(tokens),
        "modelVersion": model,
        "responseId": secrets.token_urlsafe(16),
    }
    return whole, fault


def _images(body: dict[str, Any], fault: Fault | None) -> tuple[bytes, ...]:
    """The finished images of a response or a chunk; those of thoughts only with the fault ``thought_only``."""
    thoughts = fault is not None and fault.name == "thought_only"
    parts = [part for candidate in body.get("candidates", ()) for part in candidate["content"].get("parts", ())]
    files = [decode_base64(part["inlineData"]["data"]) for part in parts if _is_finished(part, thoughts=thoughts)]
    return () if has_unreadable_images(fault) else tuple(file for file in files if file)


def _is_finished(part: dict[str, Any], *, thoughts: bool) -> bool:
    return "inlineData" in part and (thoughts or not part.get("thought"))


def _named(body: dict[str, Any], fault: Fault | None) -> Any:
    return with_snake_case_names(body) if fault and fault.name == "snake_case" else body


def _chunks(whole: dict[str, Any], fault: Fault | None) -> list[dict[str, Any]]:
    """A response in chunks: its parts one by one, text in two halves, and at last the finish reason and the usage."""
    candidates = whole.get("candidates", [])
    common = {name: whole[name] for name in ("modelVersion", "responseId")}
    chunks = [
        {"candidates": [{"content": {"parts": [piece], "role": "model"}, "index": 0}], **common}
        for candidate in candidates
        for part in candidate["content"].get("parts", ())
        for piece in _pieces(part)
    ]
    if fault and fault.name == "stream_ends_early":
        return [chunk for chunk in chunks if chunk["candidates"][0]["content"]["parts"][0].get("thought")]
    if fault and fault.name == "stream_error":
        thoughts = [chunk for chunk in chunks if chunk["candidates"][0]["content"]["parts"][0].get("thought")]
        return [*thoughts, error_chunk(fault)]
    last = {**whole, "candidates": [{**candidate, "content": {"role": "model"}} for candidate in candidates]}
    return [*chunks, last if candidates else whole]


def _pieces(part: dict[str, Any]) -> list[dict[str, Any]]:
    """Text in two halves, as while the model writes; any other part as it is."""
    text = part.get("text", "")
    half = len(text) // 2
    return [{**part, "text": text[:half]}, {**part, "text": text[half:]}] if half else [part]


def _event(chunk: object) -> bytes:
    return b"data: " + json.dumps(chunk, ensure_ascii=False, separators=(",", ":")).encode() + b"\r\n\r\n"


@router.get("/{version}/models")
async def list_models(request: Request, version: str) -> Response:
    """The models that are served, by pages: ``pageSize`` of them after ``pageToken``."""
    state = state_of(request)
    query_key = _take_query_key(request)
    state.calls.record(request)
    _check_version(request, version)
    _check_key(request, query_key)
    cards = [_model_card(name, config) for name, config in state.models.listed("gemini").items()]
    start, count = (_page_number(request, name) for name in ("pageToken", "pageSize"))
    end = start + (count or _PAGE_SIZE)
    page: dict[str, object] = {"models": cards[start:end]}
    return JSONResponse(page | ({"nextPageToken": str(end)} if end < len(cards) else {}))


def _page_number(request: Request, name: str) -> int:
    text = request.query_params.get(name) or "0"
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise gemini_error(400, f"Invalid value at '{snake_case(name)}', {json.dumps(text)}")
    return int(text)


@router.get("/{version}/models/{model}")
async def get_model(request: Request, version: str, model: str) -> Response:
    """A model; 404 if it is unknown or retired."""
    state = state_of(request)
    query_key = _take_query_key(request)
    state.calls.record(request)
    _check_version(request, version)
    _check_key(request, query_key)
    return JSONResponse(_model_card(model, served_config(model, version, models=state.models)))


@dataclass(frozen=True, slots=True)
class _Drawing:
    """The image of a response, or several with a fault, and the small image of its thoughts."""

    files: tuple[bytes, ...]
    mime_type: str
    thought: bytes | None


def _draw(call: ContentCall, fault: Fault | None) -> _Drawing:
    if fault and fault.name == "served_file":
        file = fault.file("file")
        return _Drawing((file,), mime_type_of(file), None)
    size = call.size
    if fault and fault.name == "other_size":
        size = Size(int(fault.number("width")), int(fault.number("height")))
    # Gemini has no field for the image to edit: a single image, with or without a mask, counts as that, several count
    # as references.
    is_edit = call.mask is not None or len(call.images) == 1
    scene = Scene(
        prompt=call.prompt,
        seed=call.seed,
        size=size,
        label=call.model,
        references=() if is_edit else call.images,
        base=call.images[0] if is_edit else None,
        mask=call.mask,
        sloppy=fault is not None and fault.name == "sloppy_mask",
    )
    image = render(scene)
    # Gemini 3 responds with JPEG, 2.5 with PNG (recorded traffic).
    jpeg = signs_thoughts(call.config) or (fault is not None and fault.name == "jpeg_answer")
    file_format = "jpeg" if jpeg else "png"
    thought = None
    if call.thinks and call.include_thoughts:
        sketch = image.copy()
        sketch.thumbnail((_THOUGHT_EDGE, _THOUGHT_EDGE))
        thought = encode(sketch, file_format)
    files = [encode(image, file_format)]
    if fault and fault.name == "several_images":
        files = several(files, fault.text("form"), file_format)
    return _Drawing(tuple(files), MIME_TYPES[file_format], thought)


def _candidate(call: ContentCall, drawing: _Drawing | None, fault: Fault | None) -> dict[str, object]:
    parts: list[dict[str, object]] = []
    if call.thinks and call.include_thoughts:
        parts.append({"text": _THOUGHT, "thought": True})
    if drawing and drawing.thought:
        sketch = {"mimeType": drawing.mime_type, "data": base64.b64encode(drawing.thought).decode()}
        parts.append({"inlineData": sketch, "thought": True})
    if words := _words(call, fault):
        parts.append({"text": words})
    if drawing is None:
        return {"content": {"parts": parts, "role": "model"}, "finishReason": "STOP", "index": 0}
    for file in drawing.files:
        image: dict[str, object] = {"inlineData": {"mimeType": drawing.mime_type, "data": base64_text(file, fault)}}
        if signs_thoughts(call.config):
            image["thoughtSignature"] = base64.b64encode(hashlib.sha256(file).digest() * 2).decode()
        if fault and fault.name == "thought_only":
            image["thought"] = True
        parts.append(image)
    return {"content": {"parts": parts, "role": "model"}, "finishReason": "STOP", "index": 0}


def _grounding(call: ContentCall) -> dict[str, object]:
    """The sources of a response, if the request allows a search."""
    return {"groundingMetadata": grounding_metadata(call.searches, call.prompt)} if call.searches else {}


def _words(call: ContentCall, fault: Fault | None) -> str | None:
    """The text of a response, if it has any."""
    if not call.gives_text or (fault and fault.name == "thought_only"):
        return None
    if not call.gives_image:
        return _DESCRIPTION
    return _TEXT if call.seed % _SPEAKS_ONCE_IN == 0 else None


def _count(call: ContentCall, answer: Mapping[str, Any] | None, fault: Fault | None) -> Tokens:
    """The tokens of a request and its response; ``answer`` is that of a fault. A blocked prompt has only input."""
    has_image = answer is None and call.gives_image
    if answer is None:
        words = [_words(call, fault)]
    else:
        parts = [part for one in answer.get("candidates", ()) for part in one["content"].get("parts", ())]
        words = [part.get("text") for part in parts]
    is_blocked = answer is not None and "candidates" not in answer
    hidden = count_hidden_text(call.seed) if has_image and call.gives_text and call.thinks else 0
    return count_gemini_tokens(
        call.config.id,
        text_in=text_tokens(call.turns_text),
        images_in=call.image_count,
        text_out=hidden + sum(text_tokens(text) for text in words if text),
        thoughts=count_thoughts(call.seed) if call.thinks and not is_blocked else 0,
        image_size=call.image_size,
        has_image=has_image,
    )


def _usage(tokens: Tokens) -> dict[str, object]:
    counts = {
        "promptTokenCount": tokens.text_in + tokens.image_in,
        "candidatesTokenCount": tokens.image_out + tokens.text_out,
    }
    total = sum(counts.values()) + tokens.thoughts
    # As in all JSON of protocol buffers, a zero is omitted.
    usage: dict[str, object] = {name: count for name, count in counts.items() if count}
    usage |= {"totalTokenCount": total, "promptTokensDetails": _details(TEXT=tokens.text_in, IMAGE=tokens.image_in)}
    if tokens.image_out:
        usage["candidatesTokensDetails"] = _details(IMAGE=tokens.image_out)
    if tokens.thoughts:
        usage["thoughtsTokenCount"] = tokens.thoughts
    return usage


def _details(**counts: int) -> list[dict[str, object]]:
    return [{"modality": modality, "tokenCount": count} for modality, count in counts.items() if count]


def _model_card(name: str, config: ModelConfig) -> dict[str, object]:
    card: dict[str, object] = {
        "name": f"models/{name}",
        "version": "001",
        "displayName": config.name,
        "description": config.name,
        "inputTokenLimit": (config.max_prompt_characters or 131072) // 4,
        "outputTokenLimit": 32768,
        "supportedGenerationMethods": ["generateContent", "countTokens", "batchGenerateContent"],
        "temperature": 1,
        "topP": 0.95,
        "topK": 64,
        "maxTemperature": MAX_TEMPERATURE,
    }
    if config.previews:
        card["thinking"] = True
    return card


def _check_version(request: Request, version: str) -> None:
    if version not in _VERSIONS:
        raise gemini_error(404, f"The requested API version {version} was not found; use {' or '.join(_VERSIONS)}.")


def _take_query_key(request: Request) -> bool:
    """Whether the URL contained a key; removes it, so that no log contains it."""
    has_key = bool(parse_qs(request.scope["query_string"].decode("latin-1")).get("key"))
    hide_key_in_query(request)
    return has_key


def _check_key(request: Request, query_key: bool) -> None:
    if query_key:
        # The real API accepts it, and every log on the way contains it: here it is an error to be found.
        raise gemini_error(
            400,
            "The API key is in the URL (?key=), where logs and proxies can read it. Send it in the header "
            "x-goog-api-key instead.",
        )
    key = request.headers.get("x-goog-api-key", "").strip()
    if not key:
        raise gemini_error(
            403,
            "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or "
            "other form of API consumer identity to call this API.",
        )
    if is_refused(key):
        message = "API key not valid. Please pass a valid API key."
        raise gemini_error(
            400,
            message,
            details=[
                {
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": "API_KEY_INVALID",
                    "domain": "googleapis.com",
                    "metadata": {"service": "generativelanguage.googleapis.com"},
                },
                {"@type": "type.googleapis.com/google.rpc.LocalizedMessage", "locale": "en-US", "message": message},
            ],
        )
