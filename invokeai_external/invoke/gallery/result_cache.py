"""A cache on disk for results that are paid for but that no node has fetched. An equal request gets them.

Each entry is a folder below ``invokeai_external_kept`` in Invoke's root: the images as files, ``result.json`` with
everything else about them, and ``destination.json`` with their owner and board. An entry is written under a temporary
name and then renamed, so a partial one is never seen. An image is never deleted before a run or the gallery has it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from ... import errors
from ...errors import ProviderError
from ...metadata_keys import with_notice
from ...request import GenerationRequest, InputImage
from ...result import GeneratedImage, GenerationResult, Notice, Usage
from ...root_folder import KEPT_FOLDER
from ...sizing import Size
from ..queue_items import ItemId
from ..remedies import in_invoke

__all__ = [
    "MAX_AGE_S",
    "Destination",
    "Handover",
    "KeptImages",
    "ResultCache",
    "fingerprint",
    "with_cache_notice",
    "with_notice_on_images",
]

MAX_AGE_S = 24 * 60 * 60.0
"""How long a result waits for an equal request; after that it goes into the gallery."""

_FORMAT = 1
_RESULT_FILE = "result.json"
_DESTINATION_FILE = "destination.json"
_PARTIAL = ".unfinished-"
_IMAGE_FILE = "picture-"
_ERROR_CLASSES: Mapping[str, type[ProviderError]] = {
    code: error
    for error in (getattr(errors, name) for name in errors.__all__)
    if isinstance(error, type) and issubclass(error, ProviderError) and error is not ProviderError
    # An earlier version stored the former code.
    for code in (error.former_code, error.code)
    if code
}


@dataclass(frozen=True)
class Destination:
    """Where a run's images belong if its node does not fetch them.

    Attributes:
        user: The id of the user who owns them.
        board: The id of the board; None for no board.
        item: The queue item that requested them; None if it is not known.
        size: The size in pixels to save them at, which is that of the edited image; None to save them as received.
        panel: The metadata that Invoke's page sent; the image's own metadata takes precedence.
        recalled: The fields that Invoke's page recalls an image by; they take precedence over both.
    """

    user: str
    board: str | None = None
    item: ItemId | None = None
    size: Size | None = None
    panel: Mapping[str, Any] = field(default_factory=dict)
    recalled: Mapping[str, Any] = field(default_factory=dict)

    def metadata(self, own: Mapping[str, Any]) -> dict[str, Any]:
        """The metadata of an image in the gallery; ``own`` is the metadata that it arrived with."""
        # What concerns the image itself is first, where Invoke's page begins.
        first = {name: own[name] for name in ("external",) if name in own}
        return {**first, **self.panel, **own, **self.recalled}


@dataclass(frozen=True, slots=True)
class KeptImages:
    """Images of one run that wait for an equal request.

    Attributes:
        destination: Where they belong.
        images: How many they are.
        until: When they may go into the gallery, in seconds since the epoch.
    """

    destination: Destination
    images: int
    until: float


@dataclass(slots=True)
class Handover:
    """The images of one run on their way to the gallery.

    Attributes:
        entry: Where they are in the cache meanwhile; None if they are only in memory.
        is_done: True once each of them is in the gallery or in a file elsewhere, so that the entry can go.
    """

    entry: Path | None
    is_done: bool = False


def fingerprint(user: str, where: str, request: GenerationRequest) -> str:
    """A name for a request that is equal for all requests that may share one result, whatever previews they ask for.

    Args:
        user: The id of the user, so that nobody gets what another user paid for.
        where: The provider's base URL, so that a sandbox image never passes for a real one.
        request: The request.

    Returns:
        A SHA-256 in hexadecimal.
    """
    # A setting decides how many previews there are, and it may change between a request and its turn.
    request = replace(request, previews=0)
    content = {entry.name: _as_json(getattr(request, entry.name)) for entry in fields(request)}
    if request.markup is None:
        # What was kept before there was a markup is still found.
        del content["markup"]
    text = json.dumps([user, where, content], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def with_cache_notice(result: GenerationResult) -> GenerationResult:
    """A result for a run that did not request it, with a notice that says so, in the images' metadata too."""
    notice = Notice(
        "kept_result", "Made and paid for by an earlier run that ended before it could use it. No new request was sent."
    )
    return with_notice_on_images(result, notice)


def with_notice_on_images(result: GenerationResult, notice: Notice) -> GenerationResult:
    """A result with one more notice, which is added to its images' metadata too."""
    images = tuple(replace(image, metadata=with_notice(image.metadata, notice)) for image in result.images)
    return replace(result, images=images, notices=(*result.notices, notice))


def _as_json(value: object) -> object:
    """A field of a request as JSON; an image becomes its name, which is part of the metadata, and its hash."""
    if isinstance(value, InputImage):
        return [value.name, hashlib.sha256(value.data).hexdigest()]
    if isinstance(value, tuple):
        return [_as_json(item) for item in value]
    if isinstance(value, Mapping):
        return dict(value)
    return value if isinstance(value, str | int | float | None) else str(value)


class ResultCache:
    """The cache's folder. At most one run at a time has an entry. May be used from any thread.

    Args:
        root: Invoke's root folder.
        clock: Seconds since the epoch.
    """

    def __init__(self, root: Path, clock: Callable[[], float] = time.time) -> None:
        self._folder = root / KEPT_FOLDER
        self._clock = clock
        self._lock = threading.Lock()
        self._acquired: set[Path] = set()
        self._delete_partial()

    def store(self, name: str, result: GenerationResult, destination: Destination | None = None) -> Path:
        """Write a result under the fingerprint of its request. The caller has the entry until it releases it.

        Raises:
            OSError: It could not be written; no partial entry is left.
        """
        self._folder.mkdir(mode=0o700, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=self._folder))
        try:
            for place, image in enumerate(result.images):
                _write(partial / _image_file(place, image.mime_type), image.data)
            _write(partial / _RESULT_FILE, json.dumps(_result_as_json(result)).encode())
            if destination:
                _write(partial / _DESTINATION_FILE, json.dumps(_destination_as_json(destination)).encode())
            with self._lock:
                entry = self._free_path(name)
                partial.rename(entry)
                self._acquired.add(entry)
        except OSError:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        return entry

    def acquire(self, name: str) -> Path | None:
        """Take the oldest free entry of this name, so that nobody else can; None if there is no free entry."""
        with self._lock:
            for entry in sorted(self._folder.glob(f"{name}-*")):
                if entry not in self._acquired:
                    self._acquired.add(entry)
                    return entry
        return None

    def acquire_expired(
        self, is_wanted: Callable[[Destination | None], bool]
    ) -> Iterator[tuple[Path, Destination | None]]:
        """Take the free entries that nobody requested within a day, one at a time.

        A generator, so that the entries not reached yet stay free: a request that comes in the meantime must find its
        result, or it would be paid for again.

        Args:
            is_wanted: Called with the destination of an entry; True leaves the entry where it is.
        """
        oldest = self._clock() - MAX_AGE_S
        for entry in sorted(self._folder.glob("*")):
            if entry.name.startswith(_PARTIAL) or _modified_at(entry) > oldest:
                continue
            if is_wanted(destination := self.destination(entry)):
                continue
            with self._lock:
                # A run may have taken and removed it in the meantime.
                if entry in self._acquired or not entry.exists():
                    continue
                self._acquired.add(entry)
            yield entry, destination

    def waiting(self) -> Iterator[KeptImages]:
        """What waits for a request of a known owner, and that no run has."""
        for entry in sorted(self._folder.glob("*")):
            if entry.name.startswith(_PARTIAL) or (destination := self.destination(entry)) is None:
                continue
            with self._lock:
                is_free = entry not in self._acquired
            if is_free and (count := sum(1 for _ in entry.glob(f"{_IMAGE_FILE}*"))):
                yield KeptImages(destination, count, _modified_at(entry) + MAX_AGE_S)

    def read(self, entry: Path) -> GenerationResult | None:
        """The result of an entry; None if it is damaged or was written by a newer version."""
        try:
            return _read(entry)
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            return None

    def destination(self, entry: Path) -> Destination | None:
        """The destination of an entry; None if it was not recorded, as in version 0.1."""
        try:
            stored = json.loads((entry / _DESTINATION_FILE).read_text(encoding="utf-8"))
            _check_format(stored)
            item, size = stored.pop("item"), stored.pop("size")
            return Destination(**stored, item=ItemId(*item) if item else None, size=Size(**size) if size else None)
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            return None

    def release(self, entry: Path) -> None:
        """Free an entry for the next equal request."""
        with self._lock:
            self._acquired.discard(entry)

    def remove(self, entry: Path) -> None:
        """Delete an entry whose images are in the gallery."""
        shutil.rmtree(entry, ignore_errors=True)
        self.release(entry)

    def _free_path(self, name: str) -> Path:
        return next(
            place for number in range(1_000_000) if not (place := self._folder / f"{name}-{number:06}").exists()
        )

    def _delete_partial(self) -> None:
        """Delete the partial entries of an earlier Invoke that contain no image."""
        for entry in self._folder.glob(f"{_PARTIAL}*") if self._folder.is_dir() else ():
            with suppress(OSError):
                entry.rmdir()


def _write(path: Path, data: bytes) -> None:
    """Create a file that only its owner can read."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)


def _check_format(stored: dict[str, Any]) -> None:
    """Remove the format number; raises ValueError if a newer version wrote it."""
    if stored.pop("format", _FORMAT) != _FORMAT:
        raise ValueError


def _image_file(place: int, mime_type: str) -> str:
    return f"{_IMAGE_FILE}{place + 1}.{mime_type.removeprefix('image/')}"


def _modified_at(entry: Path) -> float:
    with suppress(OSError):
        return entry.stat().st_mtime
    return 0.0


def _result_as_json(result: GenerationResult) -> dict[str, Any]:
    """A result as JSON, without the bytes of its images."""
    return {
        "format": _FORMAT,
        "provider": result.provider,
        "model": result.model,
        "images": [
            {
                "mime_type": image.mime_type,
                "size": asdict(image.size),
                "metadata": dict(image.metadata),
                "seed": image.seed,
                "cost_usd": image.cost_usd,
                "revised_prompt": image.revised_prompt,
            }
            for image in result.images
        ],
        "notices": [asdict(notice) for notice in result.notices],
        "usage": asdict(result.usage) if result.usage else None,
        "cost_usd": result.cost_usd,
        "request_ids": list(result.request_ids),
        "errors": [
            {"code": error.code, "message": error.message, "hint": in_invoke(error, has_options=False).hint}
            for error in result.errors
        ],
        "elapsed_s": result.elapsed_s,
    }


def _destination_as_json(destination: Destination) -> dict[str, Any]:
    item = destination.item
    return {"format": _FORMAT, **asdict(destination), "item": [item.number, item.batch] if item else None}


def _read(entry: Path) -> GenerationResult:
    stored = json.loads((entry / _RESULT_FILE).read_text(encoding="utf-8"))
    _check_format(stored)
    images = tuple(
        GeneratedImage(
            **{
                **image,
                "size": Size(**image["size"]),
                "data": (entry / _image_file(place, image["mime_type"])).read_bytes(),
            }
        )
        for place, image in enumerate(stored["images"])
    )
    return GenerationResult(
        **{
            **stored,
            "images": images,
            "notices": tuple(Notice(**notice) for notice in stored["notices"]),
            "usage": Usage(**stored["usage"]) if stored["usage"] else None,
            "request_ids": tuple(stored["request_ids"]),
            "errors": tuple(_error(**error) for error in stored["errors"]),
        }
    )


def _error(code: str, message: str, hint: str | None) -> ProviderError:
    return _ERROR_CLASSES.get(code, ProviderError)(message, remedy=hint)
