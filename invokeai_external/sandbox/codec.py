"""Image files in and out of the sandbox."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image, ImageOps

__all__ = ["MIME_TYPES", "UnreadableImageError", "decode", "encode", "mime_type_of", "several"]

MIME_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
"""The formats that both services write."""

_READABLE = ("PNG", "JPEG", "WEBP")


class UnreadableImageError(ValueError):
    """A file that is no PNG, JPEG or WebP image, or a broken one."""


def decode(data: bytes) -> Image.Image:
    """Read an image, turned upright as its EXIF data say; its ``info["mime_type"]`` says what the file is.

    Raises UnreadableImageError.
    """
    try:
        with Image.open(io.BytesIO(data), formats=_READABLE) as opened:
            mime_type = MIME_TYPES[str(opened.format).lower()]
            picture = ImageOps.exif_transpose(opened)
            picture.load()
    # Pillow raises SyntaxError for some broken PNG files, and warns of bombs by an exception where warnings are errors.
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadableImageError("not a readable PNG, JPEG or WebP image") from error
    picture.info["mime_type"] = mime_type
    return picture


def mime_type_of(data: bytes) -> str:
    """What a file is by its first bytes; a PNG if it is none of the three."""
    if data.startswith(b"\xff\xd8"):
        return "image/jpeg"
    return "image/webp" if data.startswith(b"RIFF") else "image/png"


def encode(picture: Image.Image, file_format: str, quality: int = 95) -> bytes:
    """Write an image as ``png``, ``jpeg`` or ``webp``; ``quality`` is 0 to 100 and has no meaning for PNG."""
    buffer = io.BytesIO()
    if file_format == "png":
        # The level is low because the sandbox is meant to be quick, and its files live on this machine.
        picture.save(buffer, "PNG", compress_level=1)
    elif file_format == "webp":
        picture.save(buffer, "WEBP", quality=quality, method=0)
    else:
        _flat(picture).save(buffer, "JPEG", quality=max(1, min(quality, 95)))
    return buffer.getvalue()


def _flat(picture: Image.Image) -> Image.Image:
    """The image on white, as JPEG knows no alpha."""
    if picture.mode == "RGB":
        return picture
    layered = picture.convert("RGBA")
    ground = Image.new("RGBA", layered.size, "white")
    return Image.alpha_composite(ground, layered).convert("RGB")


def several(files: Sequence[bytes], form: str, file_format: str) -> list[bytes]:
    """More images than were asked for: ``twice`` with the first one again at the end, ``small_first`` with it at half
    its size before all."""
    if form == "twice":
        return [*files, files[0]]
    picture = decode(files[0])
    return [encode(picture.resize((picture.width // 2, picture.height // 2)), file_format), *files]
