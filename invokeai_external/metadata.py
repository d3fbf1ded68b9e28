"""The recall metadata: what made a picture, written into its file, and read back. The one place that knows the keys.

The top-level keys are those that Invoke recalls (``positive_prompt``, ``seed``, ``width``, ``model``, ...), so that a
picture dropped on its gallery recalls there. What Invoke has no key for stands under ``external``. Everything is what
was sent and received, never what was merely asked for, and never a key.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from . import images
from .models import ModelConfig
from .planner import Call, CallImage
from .providers.base import Answer
from .request import Notice
from .sizing import Size
from .version import VERSION

if TYPE_CHECKING:
    from .images import ImageInfo

__all__ = ["KEYWORD", "describe", "embed", "model_identity", "parts_with", "read", "recall_command", "with_notice"]

KEYWORD = "invokeai_metadata"
"""The PNG text chunk in which Invoke looks for metadata."""

_PROMPTS_IN_EXIF = (4000, 1000)
"""Characters of a prompt to try to fit into the 64 KiB of a JPEG's EXIF, where one takes up to 14 bytes."""


def model_identity(model: ModelConfig) -> dict[str, str]:
    """A model in the form in which Invoke writes it; Invoke itself puts its own ``key`` in."""
    identity = f"external:{model.provider}:{model.id}"
    return {
        "key": identity,
        "hash": identity,
        "name": model.name,
        "base": "external",
        "type": "external_image_generator",
    }


def describe(
    call: Call,
    answer: Answer,
    image: ImageInfo,
    *,
    revised_prompt: str | None,
    cost_usd: float | None,
    notices: Sequence[Notice],
    received_at: float,
    composited: Size | None = None,
) -> dict[str, Any]:
    """The metadata of one picture of a call.

    Args:
        call: What was sent.
        answer: What came back.
        image: The picture that arrived.
        revised_prompt: The prompt as the provider rewrote it.
        cost_usd: The picture's share of the call's cost.
        notices: What was changed or left out.
        received_at: When it arrived, in seconds since the epoch.
        composited: The pixels of the finished picture, if what arrived was laid into the one to edit.
    """
    size = composited or call.size.size or image.size
    recalled = {
        "generation_mode": call.mode,
        "positive_prompt": call.prompt,
        "seed": call.seed,
        "width": size.width,
        "height": size.height,
        "image_size": call.size.image_size,
        "model": model_identity(call.model),
        **{f"{call.model.provider}_{name}": value for name, value in call.options.items()},
    }
    external = {
        "generator": f"invokeai_external {VERSION}",
        "created": datetime.datetime.fromtimestamp(received_at, datetime.UTC).isoformat(timespec="seconds"),
        "provider": call.model.provider,
        "model": call.model.id,
        "model_version": answer.model_version,
        "request_id": answer.request_id,
        "size": str(call.size.size) if call.size.size else None,
        "aspect_ratio": call.size.aspect_ratio,
        "options": dict(call.options),
        "received": {"width": image.size.width, "height": image.size.height, "mime_type": image.mime_type},
        "images_in_call": len(answer.images),
        "revised_prompt": revised_prompt,
        "text": answer.text,
        "init_image": _file(call.init_image),
        "mask": _file(call.mask),
        "mask_sentence": call.mask_sentence,
        "composited": True if composited else None,
        "references": [_file(reference) for reference in call.references],
        "usage": asdict(answer.usage) if answer.usage else None,
        "cost_usd": cost_usd,
        "notices": [asdict(notice) for notice in notices],
    }
    return {**_present(recalled), "external": _present(external)}


def with_notice(metadata: Mapping[str, Any], notice: Notice) -> dict[str, Any]:
    """The metadata with one more notice."""
    external = metadata.get("external", {})
    return {**metadata, "external": {**external, "notices": [*external.get("notices", []), asdict(notice)]}}


def embed(data: bytes, metadata: Mapping[str, Any]) -> bytes:
    """A PNG, JPEG or WebP with metadata in it, as one; raises what ``parts_with`` raises."""
    return b"".join(parts_with(data, metadata))


def parts_with(data: bytes, metadata: Mapping[str, Any]) -> list[bytes | memoryview]:
    """A PNG, JPEG or WebP with metadata in it and its image data untouched, in parts to be written in this order.

    Raises:
        ImageError: The file is none of these.
    """
    # Only EXIF has a limit, and only a prompt can be as long as that.
    for text in (metadata, *(_shortened(metadata, characters) for characters in _PROMPTS_IN_EXIF[:-1])):
        with suppress(images.ImageError):
            return images.parts_with_text(data, {KEYWORD: _dumps(text)})
    return images.parts_with_text(data, {KEYWORD: _dumps(_shortened(metadata, _PROMPTS_IN_EXIF[-1]))})


def read(data: bytes) -> dict[str, Any] | None:
    """The metadata of a picture file, None if it has none.

    Raises:
        ImageError: The file is no PNG, JPEG or WebP, or is broken.
    """
    text = images.read_text(data).get(KEYWORD)
    try:
        metadata = json.loads(text) if text else None
    except ValueError:
        return None
    return metadata if isinstance(metadata, dict) else None


def recall_command(metadata: Mapping[str, Any]) -> list[str]:
    """The command line that asks for a picture with the same settings; pictures are named as they were given."""
    external = metadata.get("external")
    external = external if isinstance(external, Mapping) else {}
    prompt = str(metadata.get("positive_prompt", ""))
    # A prompt that looks like an option stands at the end, behind the sign that no more options follow.
    looks_like_option = prompt.startswith("-")
    command = ["invokeai-external", "generate", *([] if looks_like_option else [prompt])]

    def add(flag: str, value: object) -> None:
        if value is not None:
            command.extend([flag, str(value)])

    if external.get("provider") and external.get("model"):
        add("--model", f"{external['provider']}/{external['model']}")
    if external.get("aspect_ratio"):
        add("--aspect-ratio", external["aspect_ratio"])
        add("--image-size", metadata.get("image_size"))
    elif external.get("size"):
        add("--size", external["size"])
    else:
        add("--image-size", metadata.get("image_size"))
    add("--seed", metadata.get("seed"))
    add("--init", _name(external.get("init_image")))
    add("--mask", _name(external.get("mask")))
    references = external.get("references")
    for reference in references if isinstance(references, list) else []:
        add("--ref", _name(reference))
    options = external.get("options")
    for name, value in (options if isinstance(options, Mapping) else {}).items():
        add(f"--{name.replace('_', '-')}", value)
    return [*command, "--", prompt] if looks_like_option else command


def _file(image: CallImage | None) -> dict[str, str] | None:
    return {"name": image.name, "sha256": image.sha256} if image else None


def _name(file: object) -> object:
    return file.get("name") if isinstance(file, Mapping) else None


def _present(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that hold something."""
    return {name: value for name, value in fields.items() if value is not None and value != [] and value != {}}


def _shortened(metadata: Mapping[str, Any], characters: int) -> dict[str, Any]:
    prompt = str(metadata.get("positive_prompt", ""))
    external = {
        name: value for name, value in metadata.get("external", {}).items() if name not in ("text", "revised_prompt")
    }
    return {
        **metadata,
        "positive_prompt": prompt[:characters],
        "external": {**external, "prompt_shortened_from": len(prompt)},
    }


def _dumps(metadata: Mapping[str, Any]) -> str:
    # ASCII alone, so that every reader of text chunks and EXIF gets the same text.
    return json.dumps(metadata, ensure_ascii=True, allow_nan=False)
