"""``share``: copies images without what says how they were made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...errors import InvalidRequestError
from ...images.errors import ImageError
from ...images.formats.containers import EXTENSIONS
from ...images.sharing import ToShare, to_share
from ...regular_files import read_regular_file
from .. import report
from ..image_files import LARGEST_IMAGE, CopyFolder

__all__ = ["run"]


def run(files: Sequence[Path], out: Path) -> None:
    """Copy the images and print the paths of the copies, in the order of the files."""
    folder = CopyFolder(out)
    for file in files:
        copy = _read(file)
        if copy.lost_credentials:
            report.say(
                f"Note: The Content Credentials of {file} were not valid any more, because metadata was written into "
                "the file. The copy has no credentials.",
                indent=6,
            )
        # The name of the original has the beginning of the prompt.
        print(folder.save(f"image.{EXTENSIONS[copy.mime_type]}", copy.data))


def _read(file: Path) -> ToShare:
    try:
        return to_share(read_regular_file(file, LARGEST_IMAGE))
    except OSError as error:
        raise InvalidRequestError(
            f"{file} cannot be read: {error.strerror or 'no such file'}.", remedy="Check the path of the image."
        ) from None
    except ImageError as error:
        raise InvalidRequestError(f"{file}: {error}", remedy="Use an image of one of these formats.") from None
