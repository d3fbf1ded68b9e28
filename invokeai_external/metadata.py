"""The recall metadata: what made a picture, written into its file, and read back. The one place that knows the keys.

The top-level keys are those that Invoke recalls (``positive_prompt``, ``seed``, ``width``, ``model``, ...), so that a
picture dropped on its gallery recalls there. What Invoke has no key for stands under ``external``. Everything is what
was sent and received, never what was merely asked for, and never a key.

They stand in the image's file, or beside it in a *sidecar*, a JSON file that names the image by its hash: a file that
carries Content Credentials (C2PA) is signed to the last byte, and one more chunk turns them invalid.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

from . import catalog, images
from .models import ModelConfig
from .planner import Call, CallImage
from .providers.base import Answer
from .request import MetadataMode, Notice
from .sizing import Size
from .version import VERSION

if TYPE_CHECKING:
    from .images import ImageInfo

__all__ = [
    "KEYWORD",
    "Placed",
    "Sidecar",
    "describe",
    "embed",
    "model_identity",
    "no_metadata",
    "parts_with",
    "place",
    "printable",
    "read",
    "read_sidecar",
    "recall_command",
    "with_notice",
]

KEYWORD = "invokeai_metadata"
"""The PNG text chunk in which Invoke looks for metadata."""

_PROMPTS_IN_EXIF = (4000, 1000)
"""Characters of a prompt to try to fit into the 64 KiB of a JPEG's EXIF, where one takes up to 14 bytes."""


_SIDECAR_FORMAT = 1

_DEEPEST = 100
"""How deep the settings in a file may be nested; those that are written here are so four deep."""


class Placed(NamedTuple):
    """An image and its settings, as they are to be written.

    Attributes:
        parts: The image's file, in parts to be written in this order.
        sidecar: What to write into ``NAME.EXT.json`` beside it; None if there is nothing to write there.
        notice: What the user should know of it.
    """

    parts: list[bytes | memoryview]
    sidecar: bytes | None = None
    notice: Notice | None = None


class Sidecar(NamedTuple):
    """The settings that stand beside an image.

    Attributes:
        sha256: The hash of the image's file, in hexadecimal.
        metadata: The settings.
        is_newer: True if a later version of this program wrote them, which may mean more by them.
    """

    sha256: str
    metadata: dict[str, Any]
    is_newer: bool


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
    """A PNG, JPEG or WebP with metadata in it, as one; raises what ``parts_with`` raises.

    Content Credentials in the file are not valid any more then: ``place`` leaves such a file as it is.
    """
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


def place(data: bytes, metadata: Mapping[str, Any], mode: MetadataMode = "auto") -> Placed:
    """Where the metadata of an image go, and what is to be written for it.

    Args:
        data: A PNG, JPEG or WebP, as it arrived.
        metadata: What made it.
        mode: ``embed`` writes them into the file, ``sidecar`` beside it, ``none`` nowhere. ``auto`` embeds unless that
            would end the file's Content Credentials or the file has no room.
    """
    if mode == "none":
        return Placed([data])
    is_signed = images.is_signed(data)
    try:
        if mode == "sidecar" or (mode == "auto" and is_signed):
            return Placed([data], _sidecar(data, metadata), _beside(data) if mode == "auto" else None)
        try:
            return Placed(parts_with(data, metadata), None, _CREDENTIALS_ENDED if is_signed else None)
        except images.ImageError:
            if mode == "embed":
                raise
            return Placed([data], _sidecar(data, metadata))
    # An image is never lost for its settings, whatever a provider may have put into them.
    except ValueError as error:
        return Placed([data], None, no_metadata(str(error)))


def no_metadata(why: str) -> Notice:
    """What to say of an image whose settings could not be written; ``why`` is the end of a sentence."""
    return Notice("no_metadata", f"An image was saved without its settings: {why}")


_CREDENTIALS_ENDED = Notice(
    "credentials_ended",
    "The Content Credentials of the image are no longer valid, since its settings were written into its file; "
    "metadata: auto keeps them.",
)


def _beside(data: bytes) -> Notice:
    """Why the settings are not in the file. Of the three formats, Invoke's gallery reads settings in PNGs alone."""
    what = "The image carries Content Credentials: its file stays as it is, and its settings are in NAME.EXT.json."
    recalls_there = data.startswith(b"\x89PNG")
    more = " Invoke's gallery recalls nothing from it; metadata: embed writes the settings into the file instead."
    return Notice("settings_beside", what + (more if recalls_there else ""))


def _sidecar(data: bytes, metadata: Mapping[str, Any]) -> bytes:
    told = {"format": _SIDECAR_FORMAT, "sha256": hashlib.sha256(data).hexdigest(), "metadata": metadata}
    return (json.dumps(told, ensure_ascii=True, allow_nan=False, indent=2) + "\n").encode("ascii")


def read_sidecar(data: bytes) -> Sidecar | None:
    """The settings in a sidecar; None if the file is none, or cannot be read."""
    told = _loads(data)
    if not isinstance(told, dict):
        return None
    version, sha256, metadata = told.get("format"), told.get("sha256"), told.get("metadata")
    if not isinstance(version, int) or not isinstance(sha256, str) or not isinstance(metadata, dict):
        return None
    return Sidecar(sha256, metadata, version > _SIDECAR_FORMAT)


def read(data: bytes) -> dict[str, Any] | None:
    """The metadata of a picture file, None if it has none that can be read.

    Raises:
        ImageError: The file is no PNG, JPEG or WebP, or is broken.
    """
    metadata = _loads(images.read_text(data).get(KEYWORD, ""))
    return metadata if isinstance(metadata, dict) else None


def recall_command(metadata: Mapping[str, Any]) -> list[str]:
    """The command line that asks for a picture with the same settings; pictures are named as they were given.

    The metadata may be anybody's: only options that ``generate`` knows for the provider are in it, only plain texts and
    numbers, no control character, and nothing that would count as another option.
    """
    external = _mapping(metadata.get("external"))
    prompt = printable(_text(metadata.get("positive_prompt")) or "")
    # A prompt that looks like an option stands at the end, behind the sign that no more options follow.
    looks_like_option = prompt.startswith("-")
    command = ["invokeai-external", "generate", *([] if looks_like_option else [prompt])]

    def add(flag: str, value: object) -> None:
        if (plain := _plain(value)) is not None:
            # Behind an equals sign it is a value, whatever it begins with.
            command.extend([f"{flag}={plain}"] if plain.startswith("-") else [flag, plain])

    provider, model = _plain(external.get("provider")), _plain(external.get("model"))
    if provider and model:
        add("--model", f"{provider}/{model}")
    if external.get("aspect_ratio"):
        add("--aspect-ratio", external["aspect_ratio"])
        add("--image-size", metadata.get("image_size"))
    elif external.get("size"):
        add("--size", external["size"])
    else:
        add("--image-size", metadata.get("image_size"))
    add("--seed", metadata.get("seed"))
    add("--init", _name(external.get("init_image")))
    if mask := _plain(_name(external.get("mask"))):
        add("--mask", mask)
        add("--mask-color", "black" if _marks_in_black(metadata) else None)
    references = external.get("references")
    for reference in references if isinstance(references, list) else []:
        add("--ref", _name(reference))
    known = _options_of(provider)
    for name, value in _mapping(external.get("options")).items():
        add(f"--{name.replace('_', '-')}", value if name in known else None)
    notices = external.get("notices")
    if any(_mapping(notice).get("code") == "sandbox" for notice in (notices if isinstance(notices, list) else ())):
        command.append("--sandbox")
    return [*command, "--", prompt] if looks_like_option else command


def printable(text: str) -> str:
    """A text of anybody's as a terminal may show it: without control codes, reversed writing and hidden letters.

    Line ends and tabs stay, and the joiners, which emoji and many scripts are written with.
    """
    kept = "\n\t\u200c\u200d"
    return "".join(char for char in text if char in kept or unicodedata.category(char) not in _NOT_SHOWN)


_NOT_SHOWN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode's general categories of control and format characters, halves of characters, and separators of lines."""

_LONGEST_VALUE = 255
"""Characters. The longest values are the names of files."""

_LARGEST_NUMBER = 1 << 63


def _plain(value: object) -> str | None:
    """A value for a command line: one line of text, or a number, of sensible size; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return str(value) if abs(value) < _LARGEST_NUMBER else None
    text = _text(value)
    if not text or len(text) > _LONGEST_VALUE or "\n" in text or "\t" in text or printable(text) != text:
        return None
    return text


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _options_of(provider: str | None) -> set[str]:
    """The names of the options that a provider's models have."""
    return {
        name
        for page in catalog.pages()
        for config in page.configs()
        if config.provider == provider
        for name in config.options
    }


def _marks_in_black(metadata: Mapping[str, Any]) -> bool:
    """True if black marked in the mask what to change, as in Invoke's; it was not said in images of version 0.1."""
    marks = _mapping(_mapping(metadata.get("external")).get("mask")).get("marks")
    if marks is not None:
        return bool(marks == "black")
    # Invoke puts the key of its own record in the place of ours.
    key = _text(_mapping(metadata.get("model")).get("key"))
    return key is not None and not key.startswith("external:")


def _file(image: CallImage | None) -> dict[str, str] | None:
    if image is None:
        return None
    marks = {"marks": image.marks} if image.marks else {}
    return {"name": image.name, "sha256": image.sha256, **marks}


def _name(file: object) -> str | None:
    """A file's name without its folder: a folder in it was never ours, and could be that of a private file."""
    name = _text(_mapping(file).get("name"))
    return name and re.split(r"[/\\]", name)[-1]


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


def _loads(text: str | bytes) -> object:
    """What a JSON text of anybody's holds; None if it is none, or is nested too deep. No number in it is infinite."""
    try:
        value: object = json.loads(text, parse_float=_finite, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return None
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return value
    return None


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _dumps(metadata: Mapping[str, Any]) -> str:
    # ASCII alone, so that every reader of text chunks and EXIF gets the same text.
    return json.dumps(metadata, ensure_ascii=True, allow_nan=False)
