"""The files of signed images as they arrived. Invoke writes its own texts into its copy, which ends what was signed.

Each is a file below ``invokeai_external_originals`` in Invoke's root, named by its hash. For each image of the gallery
that was saved from it, a small file beside it says so. Only such a file leads to an original, never the metadata of an
image: anybody may upload one with metadata of their own.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ...images.formats.containers import is_signed
from ...metadata import with_notice
from ...result import GeneratedImage, Notice
from ...root_files import ORIGINALS_FOLDER

__all__ = ["Original", "Originals"]

_FORMAT = 1
_EXTENSIONS = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}
_HASH = re.compile(r"[0-9a-f]{64}")
_IMAGE_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,200}", re.ASCII)
"""Invoke's names are a UUID and an extension."""

_ENDED = "Its Content Credentials are not valid in Invoke's copy, into which Invoke writes its own texts; "


class Original(NamedTuple):
    """A signed image as it arrived."""

    path: Path
    mime_type: str


class Originals:
    """The folder of originals; may be used from any thread.

    Args:
        root: Invoke's root folder.
        is_kept: True to keep what comes; what was kept before can be read all the same.
    """

    def __init__(self, root: Path, *, is_kept: bool) -> None:
        self._folder = root / ORIGINALS_FOLDER
        self._is_kept = is_kept

    def keep(self, image: GeneratedImage) -> GeneratedImage:
        """Keep an image's file if it is signed, before Invoke saves it; its metadata then say what became of it.

        A failure is told there, and is no error: the image itself must not suffer.
        """
        if not is_signed(image.data):
            return image
        if not self._is_kept:
            return _told(image, "keep_originals: true in invokeai_external.yaml keeps the signed originals.")
        sha256 = hashlib.sha256(image.data).hexdigest()
        try:
            self._write(f"{sha256}.{_EXTENSIONS[image.mime_type]}", image.data)
        except OSError as error:
            return _told(image, f"the signed original could not be kept: {error.strerror}.")
        told = _told(image, "the signed original is at /api/v1/external/originals/ and the image's name.")
        external = told.metadata["external"]
        assert isinstance(external, dict)
        original = {"sha256": sha256, "mime_type": image.mime_type}
        return replace(told, metadata={**told.metadata, "external": {**external, "original": original}})

    def saved(self, name: str, image: GeneratedImage) -> None:
        """Note that ``keep``'s image is in the gallery under this name."""
        external = image.metadata.get("external")
        original = external.get("original") if isinstance(external, dict) else None
        if original:
            self._note(name, original["sha256"], original["mime_type"])

    def copied(self, name: str, copy: str) -> None:
        """Note that one more image of the gallery was saved from the same original."""
        if original := self.find(name):
            self._note(copy, original.path.stem, original.mime_type)

    def find(self, name: str) -> Original | None:
        """The original of an image of the gallery; None if there is none, or no longer."""
        if not _IMAGE_NAME.fullmatch(name):
            return None
        try:
            noted = json.loads((self._folder / f"{name}.json").read_bytes())
            sha256, mime_type = noted["sha256"], noted["mime_type"]
            is_hash = _HASH.fullmatch(sha256) is not None
            path = self._folder / f"{sha256}.{_EXTENSIONS[mime_type]}"
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            return None
        return Original(path, mime_type) if is_hash and path.is_file() else None

    def _note(self, name: str, sha256: str, mime_type: str) -> None:
        noted = {"format": _FORMAT, "sha256": sha256, "mime_type": mime_type}
        with suppress(OSError):
            self._write(f"{name}.json", json.dumps(noted).encode())

    def _write(self, name: str, data: bytes) -> None:
        """Write a file in one step, readable by its owner alone; one that is there has the same content."""
        path = self._folder / name
        if path.exists():
            return
        self._folder.mkdir(mode=0o700, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=self._folder, prefix=".unfinished-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def _told(image: GeneratedImage, more: str) -> GeneratedImage:
    return replace(image, metadata=with_notice(image.metadata, Notice("credentials_ended", _ENDED + more)))
