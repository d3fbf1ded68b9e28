"""Describes how an image was made, as metadata: everything as it was sent and received."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..adapters.base import Answer
from ..planning.input_images import CallImage
from ..planning.plan import Call
from ..providers.schema import ModelConfig
from ..result import Notice
from ..sizing import Size
from ..version import VERSION

if TYPE_CHECKING:
    from ..images.inspect import ImageInfo

__all__ = ["describe", "model_identity", "seed_of"]


def model_identity(model: ModelConfig) -> dict[str, str]:
    """A model as Invoke describes it; Invoke inserts its own ``key``."""
    identity = f"external:{model.provider}:{model.id}"
    return {
        "key": identity,
        "hash": identity,
        "name": model.name,
        "base": "external",
        "type": "external_image_generator",
    }


def seed_of(call: Call, answer: Answer) -> int | None:
    """The seed of an image: the one that was used, if the response names it for a single image, or the one sent."""
    return call.seed if answer.seed is None or call.n > 1 else answer.seed


def describe(
    call: Call,
    answer: Answer,
    image: ImageInfo,
    *,
    written_prompt: str | None = None,
    revised_prompt: str | None,
    cost_usd: float | None,
    notices: Sequence[Notice],
    received_at: float,
    composited: Size | None = None,
) -> dict[str, Any]:
    """The metadata of one image of a call.

    Args:
        call: What was sent.
        answer: What the provider sent back.
        image: The image that arrived.
        written_prompt: The prompt as the user wrote it, if it may differ from what was sent.
        revised_prompt: The prompt as the provider rewrote it.
        cost_usd: The image's share of the cost of the call.
        notices: What was changed or not sent.
        received_at: When it arrived, in seconds since the epoch.
        composited: The size of the finished image, if what arrived was merged into the image to edit.
    """
    # Recall restores what was written.
    prompt = call.prompt if written_prompt is None else written_prompt
    size = composited or call.size.size or image.size
    recalled = {
        "generation_mode": call.mode,
        "positive_prompt": prompt,
        "seed": seed_of(call, answer),
        "width": size.width,
        "height": size.height,
        "image_size": call.size.image_size,
        "model": model_identity(call.model),
        **{f"{call.model.provider}_{name}": value for name, value in call.options.items()},
    }
    external = {
        # First, where viewers of metadata begin.
        "notices": [asdict(notice) for notice in notices],
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
        "prompt_sent": call.prompt if call.prompt != prompt else None,
        "revised_prompt": revised_prompt,
        "text": answer.text,
        "init_image": _file(call.init_image),
        "mask": _file(call.mask),
        "markup": _file(call.markup),
        "mask_sentence": call.mask_sentence,
        "composited": True if composited else None,
        "references": [_file(reference) for reference in call.references],
        "searches": list(answer.searches),
        "sources": [_present(asdict(source)) for source in answer.sources],
        "usage": asdict(answer.usage) if answer.usage else None,
        "cost_usd": cost_usd,
        "cost_from": None if cost_usd is None else "prices" if answer.cost_usd is None else "provider",
    }
    return {"external": _present(external), **_present(recalled)}


def _file(image: CallImage | None) -> dict[str, str] | None:
    if image is None:
        return None
    marks = {"marks": image.marks} if image.marks else {}
    return {"name": image.name, "sha256": image.sha256, **marks}


def _present(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that have a value."""
    return {name: value for name, value in fields.items() if value is not None and value != [] and value != {}}
