"""``undelivered``: lists the paid images in a root that are not in Invoke's gallery."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ...errors import InvalidRequestError
from ...images import metadata_files
from ...images.errors import ImageError
from ...images.outlines import outline
from ...regular_files import read_regular_file
from ...root_folder import KEPT_FOLDER, RESCUED_FOLDER
from ...untrusted_number import number
from ...untrusted_text import NAME, fit_to_show
from .. import report
from ..common import open_root
from ..image_files import LARGEST_SIDECAR, read_sidecar, sidecar_of
from ..remedies import command_line

__all__ = ["UndeliveredImage", "run", "undelivered_images"]

_MOST_USD = 1_000_000
"""No image costs more."""

_SUFFIXES = {".png", ".jpeg", ".jpg", ".webp"}


@dataclass(frozen=True)
class UndeliveredImage:
    """An image that was paid for and is not in the gallery.

    Attributes:
        path: Its file.
        provider: The provider's id from its metadata; None if they cannot be read.
        model: The model id that was sent.
        created: When it was made, ISO 8601 in UTC; when the file was written if that is not known.
        cost_usd: Its cost; None if unknown.
        bytes: The size of the file.
    """

    path: str
    provider: str | None
    model: str | None
    created: str
    cost_usd: float | None
    bytes: int


def undelivered_images(root: Path) -> list[UndeliveredImage]:
    """The images in the folders of a root for what could not be delivered, oldest first."""
    return sorted((_described(path) for path in _files(root)), key=lambda image: (image.created, image.path))


def run(root: Path | None, *, as_json: bool) -> None:
    """Print the list; nothing is changed."""
    root = open_root(root).absolute()
    remedy = f"Specify the root folder of Invoke: {command_line('undelivered')} --root INVOKE_ROOT"
    if not root.is_dir():
        raise InvalidRequestError(f"There is no folder {root}.", remedy=remedy)
    found = undelivered_images(root)
    if not found and not (root / "invokeai.yaml").is_file():
        # Most likely the images are elsewhere.
        raise InvalidRequestError(f"{root} is not an Invoke root: it has no invokeai.yaml.", remedy=remedy)
    if as_json:
        report.print_json({"images": [asdict(image) for image in found]})
        return
    for image in found:
        cost = "cost unknown" if image.cost_usd is None else f"${image.cost_usd:.4f}"
        line = f"{image.path}  {image.model or 'unknown model'}  {image.created[:16].replace('T', ' ')}  {cost}"
        report.show(" ".join(line.splitlines()))
    if found:
        count = "1 image is" if len(found) == 1 else f"{len(found)} images are"
        report.say(
            f"{count} not in Invoke's gallery. The next run with the same "
            f"request uses those in {KEPT_FOLDER}; after a day, Invoke adds them to its gallery, at its next start at "
            "the latest. To delete an image, delete its file or folder."
        )
    else:
        report.say(f"No undelivered images in {root}.")


def _files(root: Path) -> Iterator[Path]:
    for pattern in (f"{KEPT_FOLDER}/*/*", f"{RESCUED_FOLDER}/*", f"{RESCUED_FOLDER}/*/*"):
        for path in root.glob(pattern):
            if path.suffix.lower() in _SUFFIXES and path.is_file() and not path.is_symlink():
                yield path


def _described(path: Path) -> UndeliveredImage:
    file = path.stat()
    found = _settings(path)
    external = found.get("external")
    known: dict[str, Any] = external if isinstance(external, dict) else {}
    created = known.get("created")
    written = datetime.fromtimestamp(file.st_mtime, UTC).isoformat(timespec="seconds")
    return UndeliveredImage(
        path=str(path),
        provider=_text(known.get("provider")),
        model=_text(known.get("model")),
        created=_text(created) or written,
        cost_usd=number(known.get("cost_usd"), 0, _MOST_USD),
        bytes=file.st_size,
    )


def _settings(path: Path) -> dict[str, Any]:
    """The metadata of an image: in its file, or in a file beside it if the image is cached or signed."""
    try:
        result = path.with_name("result.json")
        if result.is_file():
            held = json.loads(read_regular_file(result, LARGEST_SIDECAR))
            found = held["images"][int(path.stem.rpartition("-")[2]) - 1]["metadata"]
        elif sidecar_of(path).is_file():
            sidecar = read_sidecar(sidecar_of(path))
            found = sidecar.metadata if sidecar else None
        else:
            with path.open("rb") as file:
                found = metadata_files.read(outline(file))
    # The files may hold anything.
    except (OSError, ValueError, LookupError, TypeError, RecursionError, ImageError):
        found = None
    return found if isinstance(found, dict) else {}


def _text(value: object) -> str | None:
    return fit_to_show(value, NAME) or None
