"""``recall``: prints how an image was made, as a command line or as JSON."""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...errors import InvalidRequestError
from ...images import metadata_files
from ...images.errors import ImageError
from ...images.gif_and_svg import is_gif, is_svg
from ...regular_files import read_regular_file
from ...untrusted_text import printable
from .. import report
from ..image_files import LARGEST_IMAGE, LARGEST_SIDECAR, read_sidecar, sidecar_of
from ..recalled_arguments import recall_command
from ..remedies import command_line

__all__ = ["run"]

_MOST_SIDECARS = 10_000
_MOST_OF_THEM = 500_000_000
"""How many ``*.json`` files of a folder are searched, and how many bytes of them."""


def run(path: Path, *, as_json: bool) -> None:
    """Print how an image was made; raises InvalidRequestError if it has no metadata."""
    found = _settings_of(path)
    if as_json:
        report.print_json(found)
        return
    prompt = found.get("positive_prompt")
    if not isinstance(prompt, str) or not prompt or not isinstance(found.get("external"), dict):
        raise InvalidRequestError(
            f"{path} was not made with invokeai_external or Invoke's external models, so there is no command for it.",
            remedy=f"To see its metadata, run: {command_line('recall', '--json', str(path))}",
        )
    print(shlex.join(recall_command(found)))
    if printable(prompt) != prompt:
        report.say(
            "Note: The prompt contains control characters, which were not printed; to see them, run: "
            f"{command_line('recall', '--json', str(path))}"
        )


def _settings_of(path: Path) -> dict[str, Any]:
    """The settings of an image: from the sidecar with its name, from its file, or from any sidecar in its folder."""
    if path.is_dir():
        raise InvalidRequestError(f"{path} is a folder.", remedy="Specify one image in it.")
    try:
        data = read_regular_file(path, LARGEST_IMAGE)
    except OSError as error:
        raise InvalidRequestError(
            f"{path} cannot be read: {error.strerror or 'no such file'}.", remedy="Check the path of the image."
        ) from None
    sha256 = hashlib.sha256(data).hexdigest()
    named = read_sidecar(sidecar_of(path))
    if named and named.sha256 == sha256:
        return _metadata_of(named, sidecar_of(path))
    unreadable: ImageError | None = None
    try:
        found = metadata_files.read(data)
    except ImageError as error:
        # It may still have a sidecar: GIF and SVG files always do.
        found, unreadable = None, error
    if found is not None:
        return found
    for other in _sidecars_of(path.parent, sha256):
        held = read_sidecar(other)
        if held and held.sha256 == sha256:
            return _metadata_of(held, other)
    if unreadable and unreadable.code == "wrong_format":
        if not (is_gif(data) or is_svg(data)):
            raise InvalidRequestError(f"{path} is not a PNG, JPEG, WebP, GIF or SVG image.", remedy=_USE_AN_IMAGE)
        raise InvalidRequestError(
            f"There is no metadata beside {path}.",
            remedy=f"That of a GIF or SVG is in a file beside it: put {sidecar_of(path).name} there.",
        )
    if unreadable:
        raise InvalidRequestError(f"{path}: {unreadable}", remedy="Use a PNG, JPEG or WebP file.")
    if named:
        raise InvalidRequestError(
            f"The metadata in {sidecar_of(path)} is not that of {path}: the image was changed since.",
            remedy="To see it, open the first file, which is JSON.",
        )
    raise InvalidRequestError(
        f"{path} does not contain the metadata that says how it was made.",
        remedy=_USE_AN_IMAGE,
    )


_USE_AN_IMAGE = "Use an image made by this program or by Invoke, with its NAME.EXT.json beside it if there is one."


def _metadata_of(sidecar: metadata_files.Sidecar, path: Path) -> dict[str, Any]:
    if sidecar.is_newer:
        report.say(f"Note: {path} was written by a later version of this program and may contain more than is shown.")
    return sidecar.metadata


def _sidecars_of(folder: Path, sha256: str) -> Iterator[Path]:
    """The ``*.json`` files of a folder that contain this hash."""
    wanted = sha256.encode("ascii")
    count = size = 0
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.endswith(".json") or not entry.is_file(follow_symlinks=False):
                continue
            count, size = count + 1, size + entry.stat(follow_symlinks=False).st_size
            if count > _MOST_SIDECARS or size > _MOST_OF_THEM:
                return
            path = Path(entry.path)
            with suppress(OSError):
                if wanted in read_regular_file(path, LARGEST_SIDECAR):
                    yield path
