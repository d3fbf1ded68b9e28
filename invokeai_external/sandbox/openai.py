"""OpenAI's image API under ``/openai/v1``: generations, edits and the list of models."""

from __future__ import annotations

import datetime
import hashlib
import json
import time
from collections.abc import Sequence

import anyio.to_thread
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from PIL import Image

from ..providers.schema import ModelConfig
from ..sizing import Size
from .call_log import Outcome, without_files
from .codec import decode, encode, mime_type_of, several
from .drawing import Scene, render
from .errors import openai_error, request_id
from .faults import Fault
from .keys import is_refused
from .meter import Tokens, metered
from .models import is_gpt_image
from .openai_faults import error_event, raise_fault_error, refuse_stream
from .openai_form import Form, read_form
from .openai_formats import as_gif, as_svg, sheet_of
from .openai_request import ImageCall, read_edit, read_edit_body, read_generation, refuse_retired
from .openai_tokens import count_openai_tokens
from .responses import Event, apply_wire_fault, base64_text, deliver, deliver_events, has_unreadable_images
from .state import StoredFile, state_of

__all__ = ["router"]

router = APIRouter(prefix="/openai")

_PREVIEWS_IN_TIME = {"low": 2, "medium": 2}
"""The most partial images that come before the finished one, by quality. That fewer may come than requested is from
recorded traffic; which requests that are is a guess."""

_FIRST_BLOCKS = 64
"""How many blocks the longer edge of the first partial image has; each next one has twice as many."""


@router.post("/v1/images/generations")
async def generate(request: Request) -> Response:
    """Images from a prompt; JSON in, ``ImagesResponse`` out."""
    state = state_of(request)
    raw = await request.body()
    content_type = _content_type(request)
    body = _json_or_none(raw)
    state.calls.record(request, json=body)
    _check_key(request)
    fault = _next_fault(request)
    if content_type != "application/json":
        raise _unsupported_content_type(content_type, "application/json")
    if body is None:
        raise _broken_json()
    call = read_generation(body, models=state.models, gated=_has_gated_formats(request))
    return await _respond(request, call, fault)


@router.post("/v1/images/edits")
async def edit(request: Request) -> Response:
    """Images from a prompt, images and a mask; multipart or JSON in, ``ImagesResponse`` out."""
    state = state_of(request)
    content_type = _content_type(request)
    if content_type == "application/json":
        body = _json_or_none(await request.body())
        state.calls.record(request, json=without_files(body, "image_url", str.encode))
        _check_key(request)
        fault = _next_fault(request)
        if body is None:
            raise _broken_json()
        call = read_edit_body(body, models=state.models, gated=_has_gated_formats(request))
        return await _respond(request, call, fault)
    is_form = content_type == "multipart/form-data"
    form = await read_form(request) if is_form else Form({}, [])
    state.calls.record(request, fields=form.described())
    _check_key(request)
    fault = _next_fault(request)
    if not is_form:
        raise _unsupported_content_type(content_type, "multipart/form-data")
    if form.error:
        raise openai_error(400, f"We could not parse the multipart body of your request: {form.error}")
    call = read_edit(form, models=state.models, gated=_has_gated_formats(request))
    return await _respond(request, call, fault)


@router.get("/v1/models")
async def list_models(request: Request) -> Response:
    """All models that are served."""
    state = state_of(request)
    state.calls.record(request)
    _check_key(request)
    models = state.models.listed("openai")
    data = [_model_card(name, config) for name, config in models.items()]
    return JSONResponse({"object": "list", "data": data}, headers={"x-request-id": request_id()})


@router.get("/v1/models/{model}")
async def get_model(request: Request, model: str) -> Response:
    """A model; 404 if it is unknown or retired."""
    state = state_of(request)
    state.calls.record(request)
    _check_key(request)
    config = refuse_retired(model, state.models.find("openai", model), models=state.models)
    return JSONResponse(_model_card(model, config), headers={"x-request-id": request_id()})


@router.get("/files/{name}")
async def get_file(request: Request, name: str) -> Response:
    """An image that a response linked to; as with the real service, such a URL needs no key, except with a fault."""
    file = state_of(request).files.get(name)
    if file is None:
        raise openai_error(404, "The file does not exist, or no longer.", code="not_found")
    if file.needs_key:
        _check_key(request)
    return Response(file.data, media_type=file.mime_type)


def _next_fault(request: Request) -> Fault | None:
    """Take the next fault and raise its error."""
    fault = state_of(request).faults.take("openai")
    raise_fault_error(fault)
    return fault


async def _respond(request: Request, call: ImageCall, fault: Fault | None) -> Response:
    if call.previews is not None:
        refuse_stream(fault)
    tokens = _count(call)
    Outcome.of(request.scope).meter(metered(call.config.id, tokens))
    await apply_wire_fault(fault, request)
    files = await anyio.to_thread.run_sync(_paint, call, fault)
    output_format = _format_of(call, fault)
    data: list[dict[str, object]] = []
    for file in files if not (fault and fault.name == "no_image") else ():
        if call.wants_url or (fault and fault.name == "url_result"):
            data.append({"url": _url(request, file, mime_type_of(file), fault)})
        else:
            data.append({"b64_json": base64_text(file, fault)})
    usage = _usage(tokens)
    sent = [] if has_unreadable_images(fault) else files
    if call.previews is not None and not (fault and fault.name == "stream_ignored"):
        previews = await anyio.to_thread.run_sync(_previews, files[0], _previews_in_time(call), output_format)
        events = _events(call, previews, data, usage, sent, fault)
        return deliver_events(events, fault, {"x-request-id": request_id()})
    body: dict[str, object] = {"created": int(time.time())}
    if is_gpt_image(call.model):
        body |= {
            **_description(call, fault),
            "data": [_named(item) for item in data],
            "usage": usage,
        }
        if call.safety_identifier:
            body["safety_identifier"] = call.safety_identifier
    else:
        revised = {"revised_prompt": call.prompt} if call.config.id == "dall-e-3" else {}
        body["data"] = [{**revised, **item} for item in data]
    return deliver(body, fault, {"x-request-id": request_id()}, sent)


def _url(request: Request, file: bytes, mime_type: str, fault: Fault | None) -> str:
    """The URL of an image, in the form of the fault."""
    url_fault = fault if fault and fault.name == "url_result" else None
    if url_fault and url_fault.text("form") == "data":
        return f"data:{mime_type};base64,{base64_text(file, None)}"
    misses = int(url_fault.number("misses")) if url_fault else 0
    needs_key = url_fault is not None and url_fault.text("key") == "required"
    name = state_of(request).files.put(StoredFile(file, mime_type, misses, needs_key))
    url = request.url_for("get_file", name=name)
    return url.path if url_fault and url_fault.text("form") == "relative" else str(url)


def _events(
    call: ImageCall,
    previews: Sequence[bytes],
    data: Sequence[dict[str, object]],
    usage: dict[str, object],
    sent: Sequence[bytes],
    fault: Fault | None,
) -> list[Event]:
    """The partial images, and the finished one with its usage, which ends the stream: there is no ``[DONE]``."""
    kind = "image_edit" if call.inputs.images else "image_generation"
    common: dict[str, object] = {"created_at": int(time.time()), **_description(call, fault)}
    shown: list[dict[str, object]] = [
        {"type": f"{kind}.partial_image", "b64_json": base64_text(file, None), "partial_image_index": i, **common}
        for i, file in enumerate(previews)
    ]
    if call.safety_identifier:
        common["safety_identifier"] = call.safety_identifier
    finished = [{"type": f"{kind}.completed", **image, **common, "usage": usage} for image in data]
    if fault and fault.name == "stream_error":
        finished = [error_event(fault)]
    elif fault and fault.name == "stream_ends_early":
        finished = []
    numbered = [{**body, "sequence_number": number} for number, body in enumerate([*shown, *finished])]
    images = () if fault and fault.name == "stream_error" else sent
    place = len(shown)
    return [_event(body, images[i - place : i - place + 1] if i >= place else ()) for i, body in enumerate(numbered)]


def _event(body: dict[str, object], images: Sequence[bytes] = ()) -> Event:
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return Event(f"event: {body['type']}\ndata: {text}\n\n".encode(), tuple(images))


def _previews_in_time(call: ImageCall) -> int:
    """How many of the requested partial images come."""
    return min(call.previews or 0, _PREVIEWS_IN_TIME.get(call.quality, 3))


def _previews(file: bytes, count: int, output_format: str) -> list[bytes]:
    """The finished image as it may have looked before: at its size, in large blocks first, then in smaller ones."""
    whole = decode(file)
    previews = []
    for i in range(count):
        coarse = whole.copy()
        coarse.thumbnail((_FIRST_BLOCKS << i, _FIRST_BLOCKS << i))
        previews.append(encode(coarse.resize(whole.size), output_format))
    return previews


def _description(call: ImageCall, fault: Fault | None) -> dict[str, object]:
    """The fields of a response that describe its images."""
    return {
        "background": "transparent" if call.transparent else "opaque",
        "output_format": _format_of(call, fault),
        "quality": call.quality,
        "size": str(_size_of(call, fault)),
    }


def _paint(call: ImageCall, fault: Fault | None) -> list[bytes]:
    """All images of a request, as files."""
    if fault and fault.name == "served_file":
        return [fault.file("file")] * call.n
    base = call.inputs.images[0] if call.inputs.images else None
    if base is not None and call.inputs.markup is not None:
        marked = base.convert("RGBA")
        marked.alpha_composite(call.inputs.markup)
        base = marked
    files = []
    for i in range(call.n):
        scene = Scene(
            prompt=call.prompt,
            seed=call.seed + i,
            size=_size_of(call, fault),
            label=call.model,
            transparent=call.transparent,
            references=call.inputs.images[1:],
            base=base,
            mask=call.inputs.mask,
            sloppy=fault is not None and fault.name == "sloppy_mask",
        )
        files.append(_encoded(render(scene), call, fault))
    if fault and fault.name == "several_images":
        return several(files, fault.text("form"), _format_of(call, fault))
    return files


def _encoded(image: Image.Image, call: ImageCall, fault: Fault | None) -> bytes:
    file_format = _format_of(call, fault)
    if file_format == "gif":
        return as_gif(image, call.frames, call.frame_duration_ms)
    if file_format == "svg":
        return as_svg(image, call.prompt)
    return encode(image, file_format, call.output_compression)


def _size_of(call: ImageCall, fault: Fault | None) -> Size:
    if fault and fault.name == "other_size":
        return Size(int(fault.number("width")), int(fault.number("height")))
    return call.size


def _format_of(call: ImageCall, fault: Fault | None) -> str:
    return "jpeg" if fault and fault.name == "jpeg_answer" else call.output_format


def _count(call: ImageCall) -> Tokens:
    inputs = call.inputs
    sizes = [image.size for image in (*inputs.images, inputs.mask, inputs.markup) if image is not None]
    return count_openai_tokens(
        call.config.id,
        prompt=call.prompt,
        input_sizes=sizes,
        quality=call.quality,
        size=sheet_of(call.size, call.frames) if call.output_format == "gif" else call.size,
        n=call.n,
        previews=_previews_in_time(call),
        seed=call.seed,
    )


def _usage(tokens: Tokens) -> dict[str, object]:
    incoming, images = tokens.text_in + tokens.image_in, tokens.image_out + tokens.previews
    outgoing = images + tokens.text_out
    return {
        "input_tokens": incoming,
        "input_tokens_details": {"image_tokens": tokens.image_in, "text_tokens": tokens.text_in},
        "output_tokens": outgoing,
        "output_tokens_details": {"image_tokens": images, "text_tokens": tokens.text_out},
        "total_tokens": incoming + outgoing,
    }


def _named(item: dict[str, object]) -> dict[str, object]:
    """An image of a response in one piece with its name (recorded traffic since 2026-09); not so a gateway's URL."""
    text = item.get("b64_json")
    if not isinstance(text, str):
        return item
    return {**item, "generation_id": f"gen_sandbox_{hashlib.sha256(text.encode()).hexdigest()[:24]}"}


def _model_card(name: str, config: ModelConfig) -> dict[str, object]:
    lifecycle = config.lifecycle
    since = lifecycle.since or datetime.date(2025, 1, 1)
    created = datetime.datetime.combine(since, datetime.time(), datetime.UTC)
    card: dict[str, object] = {
        "id": name,
        "object": "model",
        "created": int(created.timestamp()),
        "owned_by": "system",
    }
    if lifecycle.shutdown:
        card["shutdown_date"] = lifecycle.shutdown.isoformat()
    return card


def _has_gated_formats(request: Request) -> bool:
    """True for a key of a project that may make GIF and SVG files: here one with the word ``preview`` in it."""
    return "preview" in request.headers.get("authorization", "").lower()


def _check_key(request: Request) -> None:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    key = key.strip()
    if scheme.lower() != "bearer" or not key:
        raise openai_error(
            401,
            "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer "
            "auth (i.e. Authorization: Bearer YOUR_KEY). You can obtain an API key from "
            "https://platform.openai.com/account/api-keys.",
            code="invalid_api_key",
        )
    if is_refused(key):
        # The service shows both ends of the key like this, so its messages must be redacted.
        shown = f"{key[:4]}{'*' * (len(key) - 8)}{key[-4:]}" if len(key) > 12 else "*" * len(key)
        raise openai_error(
            401,
            f"Incorrect API key provided: {shown}. You can find your API key at "
            "https://platform.openai.com/account/api-keys.",
            code="invalid_api_key",
        )


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _unsupported_content_type(content_type: str, expected: str) -> Exception:
    return openai_error(
        400,
        f"Unsupported content type: '{content_type}'. This API method only accepts '{expected}' requests, but you "
        f"specified the header 'Content-Type: {content_type}'. Please try again with a supported content type.",
        code="unsupported_content_type",
    )


def _broken_json() -> Exception:
    return openai_error(
        400,
        "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP library "
        "correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON.)",
    )


def _json_or_none(raw: bytes) -> object:
    try:
        return json.loads(raw)
    except ValueError:
        return None
