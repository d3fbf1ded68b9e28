"""Reads and writes the image files of the sandbox."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image, ImageOps

__all__ = ["MIME_TYPES", "UnreadableImageError", "decode", "encode", "mime_type_of", "several"]

MIME_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
"""The formats that both services return."""

_READABLE = ("PNG", "JPEG", "WEBP")


class UnreadableImageError(ValueError):
    """A file that is not a readable PNG, JPEG or WebP."""


def decode(data: bytes) -> Image.Image:
    """Read an image and turn it upright by its EXIF data; its ``info["mime_type"]`` is the type of the file.

    Raises UnreadableImageError.
    """
    try:
        with Image.open(io.BytesIO(data), formats=_READABLE) as opened:
            mime_type = MIME_TYPES[str(opened.format).lower()]
            image = ImageOps.exif_transpose(opened)
            image.load()
    # Pillow raises SyntaxError for some broken PNG files, and its warning is an exception where warnings are errors.
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadableImageError("not a readable PNG, JPEG or WebP image") from error
    image.info["mime_type"] = mime_type
    return image


def mime_type_of(data: bytes) -> str:
    """The type of a file by its first bytes; PNG if it is neither JPEG nor WebP."""
    if data.startswith(b"\xff\xd8"):
        return "image/jpeg"
    return "image/webp" if data.startswith(b"RIFF") else "image/png"


def encode(image: Image.Image, file_format: str, quality: int = 95) -> bytes:
    """Encode an image as ``png``, ``jpeg`` or ``webp``; ``quality`` is 0 to 100 and is ignored for PNG."""
    buffer = io.BytesIO()
    if file_format == "png":
        # A low level, because the sandbox should be fast and its files do not leave this machine.
        image.save(buffer, "PNG", compress_level=1)
    elif file_format == "webp":
        image.save(buffer, "WEBP", quality=quality, method=0)
    else:
        _flat(image).save(buffer, "JPEG", quality=max(1, min(quality, 95)))
    return buffer.getvalue()


def _flat(image: Image.Image) -> Image.Image:
    """The image on white, as JPEG has no alpha."""
    if image.mode == "RGB":
        return image
    layered = image.convert("RGBA")
    ground = Image.new("RGBA", layered.size, "white")
    return Image.alpha_composite(ground, layered).convert("RGB")


def several(files: Sequence[bytes], form: str, file_format: str) -> list[bytes]:
    """More images than requested: ``twice`` repeats the first one at the end, ``small_first`` puts it at half its size
    before all others."""
    if form == "twice":
        return [*files, files[0]]
    image = decode(files[0])
    return [encode(image.resize((image.width // 2, image.height // 2)), file_format), *files]
