"""``recall``: what made a picture, as a command line or as JSON."""

from __future__ import annotations

import shlex
from pathlib import Path

from .. import images, metadata
from ..errors import InvalidRequestError
from . import report
from .files import read_picture

__all__ = ["run"]


def run(path: Path, *, as_json: bool) -> None:
    """Print the settings of a picture; raises InvalidRequestError if it holds none."""
    try:
        found = metadata.read(read_picture(path).data)
    except images.ImageError as error:
        raise InvalidRequestError(f"{path}: {error}", hint="Give a PNG, JPEG or WebP file.") from None
    if found is None:
        raise InvalidRequestError(
            f"{path} holds no settings.", hint="Only pictures made by this program or by Invoke hold them."
        )
    if as_json:
        report.print_json(found)
    elif not found.get("positive_prompt") or not isinstance(found.get("external"), dict):
        raise InvalidRequestError(
            f"{path} was not made by an external model, so no command makes it again.",
            hint="--json shows the settings that it holds.",
        )
    else:
        print(shlex.join(metadata.recall_command(found)))
