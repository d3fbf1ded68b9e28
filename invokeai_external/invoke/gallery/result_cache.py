"""Results that were paid for and that no node has fetched: kept on disk, for who asks for the same.

Each is a folder below ``invokeai_external_kept`` in Invoke's root: the pictures as files, ``result.json`` with what
else is known of them, and ``destination.json`` with whose they are. It is written under another name and then renamed,
so that there is never half of one. No image is ever removed before it is in the hands of a run or in the gallery.
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
from ...metadata import with_notice
from ...request import GenerationRequest, InputImage
from ...result import GeneratedImage, GenerationResult, Notice, Usage
from ...root_files import KEPT_FOLDER
from ...sizing import Size
from ..look_ahead.sent_items import Item

__all__ = ["KEEP_S", "Destination", "KeptResults", "fingerprint", "told_as_kept", "with_notice_on_images"]

KEEP_S = 24 * 60 * 60.0
"""How long a result waits for who asks for the same; after that it goes into the gallery."""

_FORMAT = 1
_RESULT_FILE = "result.json"
_DESTINATION_FILE = "destination.json"
_UNFINISHED = ".unfinished-"
_KINDS: Mapping[str, type[ProviderError]] = {
    kind.code: kind
    for kind in (getattr(errors, name) for name in errors.__all__)
    if issubclass(kind, ProviderError) and kind is not ProviderError
}


@dataclass(frozen=True)
class Destination:
    """Where the images of a run belong that its node does not fetch.

    Attributes:
        user: The id of the user whose they are.
        board: The id of the board; None for none.
        item: The queue item that asked for them; None if that is not known.
        size: The size in pixels that they are saved at, that of the image that was edited; None as they came.
        panel: What Invoke's page gave as metadata; what the image's own say wins.
        recalled: What Invoke's page recalls an image by; wins over both.
    """

    user: str
    board: str | None = None
    item: Item | None = None
    size: Size | None = None
    panel: Mapping[str, Any] = field(default_factory=dict)
    recalled: Mapping[str, Any] = field(default_factory=dict)

    def metadata(self, own: Mapping[str, Any]) -> dict[str, Any]:
        """What an image has as metadata in the gallery; ``own`` is what it brings."""
        return {**self.panel, **own, **self.recalled}


def fingerprint(user: str, where: str, request: GenerationRequest) -> str:
    """Names a request by all that it asks for, who asks, and whom: equal for those that may share one result.

    Args:
        user: The id of the user; nobody gets what another has paid for.
        where: The address of the provider, so that no picture of a sandbox passes for a real one.
        request: The request.

    Returns:
        A SHA-256 in hexadecimal.
    """
    asked = {entry.name: _plain(getattr(request, entry.name)) for entry in fields(request)}
    text = json.dumps([user, where, asked], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def told_as_kept(result: GenerationResult) -> GenerationResult:
    """A result that is handed to another run than its own: it says so, in its notices and in its pictures' metadata."""
    notice = Notice("kept_result", "It was made and paid for earlier, for a run that was ended; nothing was sent now.")
    return with_notice_on_images(result, notice)


def with_notice_on_images(result: GenerationResult, notice: Notice) -> GenerationResult:
    """A result with one more notice, which its images' metadata have as well."""
    images = tuple(replace(image, metadata=with_notice(image.metadata, notice)) for image in result.images)
    return replace(result, images=images, notices=(*result.notices, notice))


def _plain(value: object) -> object:
    """A field of a request as JSON has it; a picture is its name, which the metadata hold, and its hash."""
    if isinstance(value, InputImage):
        return [value.name, value.sha256]
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return dict(value)
    return value if isinstance(value, str | int | float | None) else str(value)


class KeptResults:
    """The folder of kept results. Each result is held by at most one run at a time; may be used from any thread.

    Args:
        root: Invoke's root folder.
        clock: Seconds since the epoch.
    """

    def __init__(self, root: Path, clock: Callable[[], float] = time.time) -> None:
        self._folder = root / KEPT_FOLDER
        self._clock = clock
        self._lock = threading.Lock()
        self._held: set[Path] = set()
        self._clean_up()

    def keep(self, name: str, result: GenerationResult, destination: Destination | None = None) -> Path:
        """Write a result down under the fingerprint of its request; whoever does holds it.

        Raises:
            OSError: It could not be written; nothing is left of it.
        """
        self._folder.mkdir(mode=0o700, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=self._folder))
        try:
            for place, image in enumerate(result.images):
                _write(unfinished / _image_file(place, image.mime_type), image.data)
            _write(unfinished / _RESULT_FILE, json.dumps(_written(result)).encode())
            if destination:
                _write(unfinished / _DESTINATION_FILE, json.dumps({"format": _FORMAT, **asdict(destination)}).encode())
            with self._lock:
                entry = self._free_place(name)
                unfinished.rename(entry)
                self._held.add(entry)
        except OSError:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        return entry

    def hold(self, name: str) -> Path | None:
        """Take hold of a kept result that nobody holds, the oldest first; None if there is none."""
        with self._lock:
            for entry in sorted(self._folder.glob(f"{name}-*")):
                if entry not in self._held:
                    self._held.add(entry)
                    return entry
        return None

    def hold_old(self, is_wanted: Callable[[Destination | None], bool]) -> Iterator[tuple[Path, Destination | None]]:
        """Take hold of what nobody holds and nobody has asked for within a day, and that is not wanted where it is.

        One after the other: who asks for one of the others meanwhile must find it, or would pay again.

        Args:
            is_wanted: Given where the images of a result belong; True leaves it alone.
        """
        oldest = self._clock() - KEEP_S
        for entry in sorted(self._folder.glob("*")):
            if entry.name.startswith(_UNFINISHED) or _written_at(entry) > oldest:
                continue
            if is_wanted(destination := self.destination(entry)):
                continue
            with self._lock:
                # Whoever held it may have taken it away.
                if entry in self._held or not entry.exists():
                    continue
                self._held.add(entry)
            yield entry, destination

    def read(self, entry: Path) -> GenerationResult | None:
        """A result that is held; None if it cannot be read: something is broken, or a newer version wrote it."""
        try:
            return _read(entry)
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            return None

    def destination(self, entry: Path) -> Destination | None:
        """Where the images of a result belong; None if that was not written down, as by 0.1."""
        try:
            held = json.loads((entry / _DESTINATION_FILE).read_text(encoding="utf-8"))
            _check_format(held)
            item, size = held.pop("item"), held.pop("size")
            return Destination(**held, item=Item(*item) if item else None, size=Size(**size) if size else None)
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            return None

    def release(self, entry: Path) -> None:
        """Leave a result to whoever asks next."""
        with self._lock:
            self._held.discard(entry)

    def discard(self, entry: Path) -> None:
        """Remove a result, which was handed over."""
        shutil.rmtree(entry, ignore_errors=True)
        self.release(entry)

    def _free_place(self, name: str) -> Path:
        return next(
            place for number in range(1_000_000) if not (place := self._folder / f"{name}-{number:06}").exists()
        )

    def _clean_up(self) -> None:
        """Remove what an earlier Invoke began to write, as long as there is no image in it."""
        for entry in self._folder.glob(f"{_UNFINISHED}*") if self._folder.is_dir() else ():
            with suppress(OSError):
                entry.rmdir()


def _write(path: Path, data: bytes) -> None:
    """A new file that only its owner can read."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)


def _check_format(held: dict[str, Any]) -> None:
    """Take the format's number out; raises ValueError if it is that of a newer version."""
    if held.pop("format", _FORMAT) != _FORMAT:
        raise ValueError


def _image_file(place: int, mime_type: str) -> str:
    return f"picture-{place + 1}.{mime_type.removeprefix('image/')}"


def _written_at(entry: Path) -> float:
    with suppress(OSError):
        return entry.stat().st_mtime
    return 0.0


def _written(result: GenerationResult) -> dict[str, Any]:
    """A result as JSON has it, without the bytes of its pictures."""
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
        "errors": [{"code": error.code, "message": error.message, "hint": error.hint} for error in result.errors],
        "elapsed_s": result.elapsed_s,
    }


def _read(entry: Path) -> GenerationResult:
    held = json.loads((entry / _RESULT_FILE).read_text(encoding="utf-8"))
    _check_format(held)
    images = tuple(
        GeneratedImage(
            **{
                **image,
                "size": Size(**image["size"]),
                "data": (entry / _image_file(place, image["mime_type"])).read_bytes(),
            }
        )
        for place, image in enumerate(held["images"])
    )
    return GenerationResult(
        **{
            **held,
            "images": images,
            "notices": tuple(Notice(**notice) for notice in held["notices"]),
            "usage": Usage(**held["usage"]) if held["usage"] else None,
            "request_ids": tuple(held["request_ids"]),
            "errors": tuple(_error(**error) for error in held["errors"]),
        }
    )


def _error(code: str, message: str, hint: str | None) -> ProviderError:
    return _KINDS.get(code, ProviderError)(message, remedy=hint)
