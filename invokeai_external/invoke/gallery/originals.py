"""Stores signed images as received, since Invoke writes its metadata into its own copy and breaks the signature.

Each is a file below ``invokeai_external_originals`` in Invoke's root, named by its hash. For each gallery image that
was saved from it, a small JSON file beside it links the two. Only such a link leads to an original, never the metadata
of an image, because anyone can upload an image with any metadata.
"""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ...images.formats.containers import EXTENSIONS, is_signed
from ...metadata_keys import with_notice
from ...regular_files import temporary_file
from ...result import GeneratedImage, Notice
from ...root_folder import ORIGINALS_FOLDER

__all__ = ["Original", "Originals"]

_FORMAT = 1
_HASH = re.compile(r"[0-9a-f]{64}")
_IMAGE_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,200}", re.ASCII)
"""Invoke names an image by a UUID and an extension."""

_NOT_VALID = "The Content Credentials are not valid in Invoke's copy, because Invoke writes its own metadata into it. "


@dataclass(frozen=True)
class Original:
    """The file of a signed image as received."""

    path: Path
    mime_type: str


class Originals:
    """The folder of originals; may be used from any thread.

    Args:
        root: Invoke's root folder.
        is_enabled: True to store new originals. Those that are stored already can be read either way.
    """

    def __init__(self, root: Path, *, is_enabled: bool) -> None:
        self._folder = root / ORIGINALS_FOLDER
        self._is_enabled = is_enabled

    def store(self, image: GeneratedImage) -> GeneratedImage:
        """Store an image's file if it is signed, before Invoke saves its copy.

        Returns:
            The image with a notice in its metadata that says where the original is. A failure is reported in that
            notice too and raises nothing, because the image itself must still be saved.
        """
        if not is_signed(image.data):
            return image
        if not self._is_enabled:
            return _with_notice(image, "Set keep_originals: true in invokeai_external.yaml to keep signed originals.")
        sha256 = hashlib.sha256(image.data).hexdigest()
        try:
            self._write(f"{sha256}.{EXTENSIONS[image.mime_type]}", image.data)
        except OSError as error:
            return _with_notice(image, f"The signed original could not be saved: {error.strerror}.")
        noted = _with_notice(image, "Get the signed original from /api/v1/external/originals/ plus the image's name.")
        external = noted.metadata["external"]
        assert isinstance(external, dict)
        original = {"sha256": sha256, "mime_type": image.mime_type}
        return replace(noted, metadata={**noted.metadata, "external": {**external, "original": original}})

    def link(self, name: str, image: GeneratedImage) -> None:
        """Link the gallery image of this name to the original that ``store`` wrote for ``image``."""
        external = image.metadata.get("external")
        original = external.get("original") if isinstance(external, dict) else None
        if original:
            self._write_link(name, original["sha256"], original["mime_type"])

    def link_copy(self, name: str, copy: str) -> None:
        """Link the gallery image ``copy`` to the original of the gallery image ``name``."""
        if original := self.find(name):
            self._write_link(copy, original.path.stem, original.mime_type)

    def find(self, name: str) -> Original | None:
        """The original of a gallery image; None if it is not stored, or was deleted."""
        if not _IMAGE_NAME.fullmatch(name):
            return None
        try:
            link = json.loads((self._folder / f"{name}.json").read_bytes())
            sha256, mime_type = link["sha256"], link["mime_type"]
            is_hash = _HASH.fullmatch(sha256) is not None
            path = self._folder / f"{sha256}.{EXTENSIONS[mime_type]}"
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            return None
        return Original(path, mime_type) if is_hash and path.is_file() else None

    def _write_link(self, name: str, sha256: str, mime_type: str) -> None:
        link = {"format": _FORMAT, "sha256": sha256, "mime_type": mime_type}
        with suppress(OSError):
            self._write(f"{name}.json", json.dumps(link).encode())

    def _write(self, name: str, data: bytes) -> None:
        """Write a file in one step that only its owner can read. An existing one has the same content."""
        path = self._folder / name
        if path.exists():
            return
        self._folder.mkdir(mode=0o700, exist_ok=True)
        with temporary_file(self._folder, [data], prefix=".unfinished-") as temporary:
            temporary.replace(path)


def _with_notice(image: GeneratedImage, more: str) -> GeneratedImage:
    return replace(image, metadata=with_notice(image.metadata, Notice("credentials_ended", _NOT_VALID + more)))
