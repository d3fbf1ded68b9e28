"""Image files to give to others: what shows, and no word of how it was made."""

from __future__ import annotations

from dataclasses import dataclass

from ..metadata_keys import INVOKE_KEYWORDS
from .errors import ImageError
from .formats.containers import Container, parse
from .formats.png import Png
from .gif_and_svg import is_gif, is_svg
from .inputs import prepare_input

__all__ = ["ToShare", "to_share"]

_ANY_SIZE = 1 << 62


@dataclass(frozen=True, slots=True)
class ToShare:
    """A file to give to others.

    Attributes:
        data: Its bytes.
        mime_type: Its type.
        lost_credentials: True if its Content Credentials, which were not valid any more, had to be removed.
    """

    data: bytes
    mime_type: str
    lost_credentials: bool = False


def to_share(data: bytes) -> ToShare:
    """The image without metadata: no prompt, cost, names of input images, EXIF, XMP or texts; its pixels stay.

    A GIF, and a file with Content Credentials, is returned as it is. If this program or Invoke has written into it
    since, that is taken out: of a PNG so that it is again the file that was signed, of others with the credentials.

    Raises:
        ImageError: The file is broken, or in a format into which others may have written anything.
    """
    container = parse(data)
    if container is None:
        if is_gif(data):
            # It is as the provider sent it.
            return ToShare(data, "image/gif")
        more = " An SVG is a text, and the provider may have written the prompt into it." if is_svg(data) else ""
        raise ImageError(f"Only PNG, JPEG, WebP and GIF files can be shared.{more}", "wrong_format")
    if container.is_signed and not _is_written_into(container):
        return ToShare(data, container.mime_type)
    if container.is_signed and isinstance(container, Png):
        return ToShare(b"".join(container.parts_with_text_chunks((), INVOKE_KEYWORDS)), container.mime_type)
    stripped = container.stripped() if container.orientation == 1 else None
    if stripped is not None:
        return ToShare(stripped, container.mime_type, container.is_signed)
    upright = prepare_input(data, max_bytes=_ANY_SIZE)
    return ToShare(upright.data, upright.mime_type, container.is_signed)


def _is_written_into(container: Container) -> bool:
    return not container.texts().keys().isdisjoint(INVOKE_KEYWORDS)
