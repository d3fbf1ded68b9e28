"""The recall metadata in image files: written, and read back.

They stand in the image's file, or beside it in a *sidecar*, a JSON file that names the image by its hash: a file that
carries Content Credentials (C2PA) is signed to the last byte, and one more chunk turns them invalid.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from ..metadata import KEYWORD
from ..request import MetadataMode
from ..result import Notice
from .embed import parts_with_text, read_text
from .errors import ImageError
from .formats.containers import is_signed

__all__ = ["Placed", "Sidecar", "embed", "no_metadata", "parts_with", "place", "read", "read_sidecar"]


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
        with suppress(ImageError):
            return parts_with_text(data, {KEYWORD: _dumps(text)})
    return parts_with_text(data, {KEYWORD: _dumps(_shortened(metadata, _PROMPTS_IN_EXIF[-1]))})


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
    signed = is_signed(data)
    try:
        if mode == "sidecar" or (mode == "auto" and signed):
            return Placed([data], _sidecar(data, metadata), _beside(data) if mode == "auto" else None)
        try:
            return Placed(parts_with(data, metadata), None, _CREDENTIALS_ENDED if signed else None)
        except ImageError:
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
    metadata = _loads(read_text(data).get(KEYWORD, ""))
    return metadata if isinstance(metadata, dict) else None


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
