"""Checks the two kinds of image files that are kept byte for byte as a provider sent them: GIF and SVG.

Nothing is written into them. A GIF is decoded to check it. An SVG is text that a program draws, so only its frame is
checked; it is never parsed as XML, whose entities can expand without end.
"""

from __future__ import annotations

import io
import re

from PIL import GifImagePlugin

from ..sizing import Size
from .errors import ImageError, truncated, unreadable
from .formats.others import GIF_STARTS
from .inspect import ImageInfo
from .pixels import check_pixels, unreadable_on_failure

__all__ = ["inspect_gif", "inspect_svg", "is_gif", "is_svg"]

_TRAILER = b"\x3b"

_MOST_FRAMES = 256
"""More frames are not decoded; OpenAI makes at most 16."""

_HEAD = 1 << 16
"""In how many bytes the root element of an SVG must begin and end."""

_ROOT = re.compile(rb"<svg(?=[\s>/])[^>]*>", re.IGNORECASE)
_CLOSED = re.compile(rb"</svg\s*>\Z", re.IGNORECASE)
_MOST_COMMENTS = 8
"""How many comments may be after the root element."""

_LARGEST_EDGE = 100_000


def is_gif(data: bytes) -> bool:
    """True if a file begins like a GIF."""
    return data.startswith(GIF_STARTS)


def is_svg(data: bytes) -> bool:
    """True if a file has the root element of an SVG."""
    return _ROOT.search(data[:_HEAD]) is not None


def inspect_gif(data: bytes, *, max_pixels: int) -> ImageInfo:
    """Check that a GIF is complete, and return its size and alpha.

    Args:
        data: The file.
        max_pixels: The most pixels that its frames may have together.

    Raises:
        ImageError: It is truncated, damaged or too large.
    """
    if not is_gif(data) or len(data) < 13:
        raise unreadable()
    size = Size(max(1, int.from_bytes(data[6:8], "little")), max(1, int.from_bytes(data[8:10], "little")))
    check_pixels(size, max_pixels)
    if not data.rstrip(b"\0").endswith(_TRAILER):
        raise truncated()
    has_alpha = False
    with unreadable_on_failure(), GifImagePlugin.GifImageFile(io.BytesIO(data)) as image:
        # Limited before it is decoded: a frame of a few bytes may fill the whole size.
        most = min(_MOST_FRAMES, max(1, max_pixels // size.pixels))
        for place in range(most):
            try:
                image.seek(place)
            except EOFError:
                break
            image.load()
            has_alpha = has_alpha or image.has_transparency_data
    return ImageInfo("image/gif", size, has_alpha)


def inspect_svg(data: bytes, *, expected: Size | None) -> ImageInfo:
    """Check that an SVG is whole text with a root element, and return its size, as far as it says one.

    Args:
        data: The file.
        expected: The size for a file that does not say one.

    Raises:
        ImageError: It is not text, has no root element, or ends before it.
    """
    root = _ROOT.search(data[:_HEAD])
    if root is None or b"\0" in data:
        raise unreadable()
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        raise ImageError("The SVG file is not UTF-8 text.", "damaged") from None
    end = _without_comments(data[root.start() :].rstrip())
    if not _CLOSED.search(end[-_HEAD:]) and not (root[0].endswith(b"/>") and end == root[0]):
        raise truncated()
    return ImageInfo("image/svg+xml", _size_of(root[0]) or expected or Size(1, 1), has_alpha=True)


def _without_comments(data: bytes) -> bytes:
    """A text without the comments at its end."""
    for _ in range(_MOST_COMMENTS):
        start = data.rfind(b"<!--") if data.endswith(b"-->") else -1
        if start < 0:
            break
        data = data[:start].rstrip()
    return data


def _size_of(root: bytes) -> Size | None:
    """The size of a root element: width and height in pixels, or those of its view box; None without either."""
    edges = [_number(found[1]) if (found := _attribute(root, name)) else None for name in (b"width", b"height")]
    if None in edges and (box := _attribute(root, b"viewBox")):
        edges = [_number(edge) for edge in re.split(rb"[\s,]+", box[1].strip())[2:4]]
    known = [edge for edge in edges if edge]
    return Size(known[0], known[1]) if len(known) == 2 else None


def _attribute(root: bytes, name: bytes) -> re.Match[bytes] | None:
    return re.search(rb"\s" + name + rb"\s*=\s*[\"']([^\"']*)[\"']", root, re.IGNORECASE)


def _number(text: bytes) -> int | None:
    """A number of pixels, rounded; None for any other unit, and for a number that no image has."""
    found = re.fullmatch(rb"(\d{1,6}(?:\.\d{1,9})?)(?:px)?", text.strip())
    number = round(float(found[1])) if found else 0
    return number if 1 <= number <= _LARGEST_EDGE else None
