"""``spend import``: adds the images that were made before the spending record to it, from their metadata."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from ...errors import InvalidRequestError
from ...images import metadata_files
from ...images.errors import ImageError
from ...regular_files import read_regular_file
from ...spending.amounts import shown_usd, usd
from ...spending.imported import EarlierImage, earlier_image
from ...spending.record import SpendingRecord
from .. import report
from ..common import settings
from ..image_files import LARGEST_IMAGE, read_sidecar, sidecar_of
from ..spending import make_folder_of, record_file

__all__ = ["run"]

_SUFFIXES = {".png", ".jpeg", ".jpg", ".webp", ".gif", ".svg"}

_AT_ONCE = 2_000
"""How many images are added in one transaction, which other programs wait for."""


def run(paths: Sequence[Path], *, as_json: bool, root: Path | None) -> None:
    """Add the images to the record and print how many they are; images that are in it already are skipped."""
    current = settings(root)
    path = record_file(current)
    missing = [named for named in paths if not named.exists()]
    if missing:
        raise InvalidRequestError(f"There is no file or folder {missing[0]}.", remedy="Check the path.")
    make_folder_of(path, root)
    counts: Counter[str] = Counter()
    cost = 0
    found = _earlier(_files(paths), counts, with_prompt=current.limits.record_prompts)
    with closing(SpendingRecord(path)) as record:
        # All are read before the first is added, so that no other program waits for a disk.
        for some in iter(lambda: list(itertools.islice(found, _AT_ONCE)), []):
            added = record.add_earlier(some)
            counts["imported"] += len(added)
            counts["known"] += len(some) - len(added)
            counts["unknown_cost"] += sum(image.call.end.cost is None for image in added)
            cost += sum(image.call.end.cost or 0 for image in added)
    names = ("imported", "known", "unknown_cost", "from_sandbox", "without_metadata")
    if as_json:
        report.print_json({**{name: counts[name] for name in names}, "cost_usd": usd(cost), "record": str(path)})
        return
    report.show(f"Imported into {path}: {_images(counts['imported'])}, {shown_usd(cost)}. They count against no limit.")
    remarks = {
        "unknown_cost": "whose cost is not in their metadata",
        "known": "that were in the record already: not imported again",
        "from_sandbox": "of the sandbox, which cost nothing: not imported",
        "without_metadata": "without the metadata that says how they were made: not imported",
    }
    for name, what in remarks.items():
        if counts[name]:
            report.show(f"{_images(counts[name])} {what}.")


def _images(number: int) -> str:
    return "1 image" if number == 1 else f"{number} images"


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    """The files that are named, and the images in the folders that are, in a fixed order."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        for folder, folders, names in os.walk(path):
            folders.sort()
            yield from (Path(folder, name) for name in sorted(names) if Path(name).suffix.lower() in _SUFFIXES)


def _earlier(files: Iterable[Path], counts: Counter[str], *, with_prompt: bool) -> Iterator[EarlierImage]:
    for path in files:
        try:
            data, written_at = read_regular_file(path, LARGEST_IMAGE), path.stat().st_mtime
        except OSError as error:
            report.say(f"Note: {path} cannot be read: {error.strerror}.")
            continue
        image = _earlier_image(path, data, written_at, with_prompt=with_prompt)
        if image is None:
            counts["without_metadata"] += 1
        elif image.call.sandbox:
            counts["from_sandbox"] += 1
        else:
            yield image


def _earlier_image(path: Path, data: bytes, written_at: float, *, with_prompt: bool) -> EarlierImage | None:
    """An image by its metadata, which is beside it if it is signed, else in its file; None without any."""
    beside, inside = read_sidecar(sidecar_of(path)), _metadata(data)
    if not (beside or inside):
        return None
    sha256 = hashlib.sha256(data).hexdigest()
    metadata = beside.metadata if beside and beside.sha256 == sha256 else inside
    return earlier_image(metadata, sha256, written_at, with_prompt=with_prompt)


def _metadata(data: bytes) -> dict[str, Any]:
    try:
        return metadata_files.read(data) or {}
    except ImageError:
        return {}
