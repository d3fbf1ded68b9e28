"""Writes recall metadata into image files or beside them, and reads it back.

A file with Content Credentials (C2PA) is signed to the last byte, so one more chunk makes its signature invalid. Its
metadata goes into a *sidecar*: a JSON file beside the image, which names the image by its hash.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ..metadata_keys import KEYWORD
from ..request import MetadataMode
from ..result import Notice
from .errors import ImageError
from .formats.containers import Container
from .text_chunks import container_of, parts_with_text, read_text

__all__ = ["Placed", "Sidecar", "embed", "no_metadata", "place", "read", "read_sidecar"]


_PROMPTS_IN_EXIF = (4000, 1000)
"""How many characters of a prompt to try in the 64 KiB of a JPEG's EXIF, where each takes up to 14 bytes."""


_SIDECAR_FORMAT = 1

_DEEPEST = 100
"""How deep the metadata in a file may be nested; what this module writes is four deep."""


_LONGEST = 1 << 24
"""How long the metadata in a file may be, in characters; JSON takes up to thirty times its length in memory."""


@dataclass(frozen=True, slots=True)
class Placed:
    """An image and its metadata, ready to be written to disk.

    Attributes:
        parts: The image file, in parts to write in this order.
        sidecar: The content of ``NAME.EXT.json`` beside it; None for no such file.
        notice: What the user should know about it.
    """

    parts: list[bytes | memoryview]
    sidecar: bytes | None = None
    notice: Notice | None = None


@dataclass(frozen=True, slots=True)
class Sidecar:
    """The content of a sidecar.

    Attributes:
        sha256: The hash of the image file, in hexadecimal.
        metadata: The metadata of that image.
        is_newer: True if a newer version of this program wrote it, in a format that may mean more.
    """

    sha256: str
    metadata: dict[str, Any]
    is_newer: bool


def embed(data: bytes, metadata: Mapping[str, Any]) -> bytes:
    """A PNG, JPEG or WebP with metadata in it and the same encoded pixels; raises ImageError for other data.

    This makes Content Credentials in the file invalid; ``place`` does not change such a file.
    """
    return b"".join(_parts_with(container_of(data), metadata))


def _parts_with(container: Container, metadata: Mapping[str, Any]) -> list[bytes | memoryview]:
    # Only EXIF has a limit, and only the prompt can be that long.
    for text in (metadata, *(_shortened(metadata, characters) for characters in _PROMPTS_IN_EXIF[:-1])):
        with suppress(ImageError):
            return parts_with_text(container, {KEYWORD: _dumps(text)})
    return parts_with_text(container, {KEYWORD: _dumps(_shortened(metadata, _PROMPTS_IN_EXIF[-1]))})


def place(data: bytes, metadata: Mapping[str, Any], mode: MetadataMode = "auto") -> Placed:
    """Decide where the metadata of an image goes, and return what to write.

    Args:
        data: A PNG, JPEG or WebP, as it was received.
        metadata: The metadata.
        mode: ``embed`` writes it into the file, ``sidecar`` beside it, ``none`` nowhere. ``auto`` embeds it, unless
            that would make the file's Content Credentials invalid or the file has no room.
    """
    if mode == "none":
        return Placed([data])
    try:
        try:
            container = container_of(data)
            if mode == "sidecar" or (mode == "auto" and container.is_signed):
                return Placed([data], _sidecar(data, metadata), _beside(data) if mode == "auto" else None)
            return Placed(_parts_with(container, metadata), None, _CREDENTIALS_ENDED if container.is_signed else None)
        except ImageError:
            if mode == "embed":
                raise
            return Placed([data], _sidecar(data, metadata))
    # An image is never lost because of its metadata, whatever a provider put into it.
    except ValueError as error:
        return Placed([data], None, no_metadata(str(error)))


def no_metadata(why: str) -> Notice:
    """The notice for an image whose settings cannot be written; ``why`` completes its sentence."""
    return Notice("no_metadata", f"An image was saved without its metadata: {why}")


_CREDENTIALS_ENDED = Notice(
    "credentials_ended",
    "The image's Content Credentials are no longer valid, because its metadata was written into the file. To "
    "keep them valid, use --metadata auto, or metadata: auto in invokeai_external.yaml.",
)


def _beside(data: bytes) -> Notice:
    """The notice that the settings are not in the file; Invoke's gallery reads them only from PNG files."""
    what = "The image carries Content Credentials, so its file is unchanged and its metadata is in NAME.EXT.json."
    recalls_there = data.startswith(b"\x89PNG")
    more = (
        " Invoke's gallery cannot recall it; to write it into the file, use --metadata embed, or metadata: embed in "
        "invokeai_external.yaml."
    )
    return Notice("settings_beside", what + (more if recalls_there else ""))


def _sidecar(data: bytes, metadata: Mapping[str, Any]) -> bytes:
    content = {"format": _SIDECAR_FORMAT, "sha256": hashlib.sha256(data).hexdigest(), "metadata": metadata}
    return (json.dumps(content, ensure_ascii=True, allow_nan=False, indent=2) + "\n").encode("ascii")


def read_sidecar(data: bytes) -> Sidecar | None:
    """Read a sidecar; None if the file is not one."""
    content = _loads(data)
    if not isinstance(content, dict):
        return None
    version, sha256, metadata = content.get("format"), content.get("sha256"), content.get("metadata")
    if not isinstance(version, int) or not isinstance(sha256, str) or not isinstance(metadata, dict):
        return None
    return Sidecar(sha256, metadata, version > _SIDECAR_FORMAT)


def read(data: bytes) -> dict[str, Any] | None:
    """The metadata in an image file; None if there is no readable metadata.

    Raises:
        ImageError: The file is not a PNG, JPEG or WebP, or is broken.
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
    """The value of untrusted JSON, without infinite numbers; None if the text is not JSON, too long or too deep."""
    if len(text) > _LONGEST:
        return None
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
    # Only ASCII, so that every reader of text chunks and EXIF gets the same text.
    return json.dumps(metadata, ensure_ascii=True, allow_nan=False)
