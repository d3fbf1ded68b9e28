"""Prepares an image to be sent: in a format that every provider accepts, upright, small enough, without metadata."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, field

from PIL import Image

from ..sizing import Size
from .errors import ImageError
from .formats import exif
from .formats.containers import MimeType, parse
from .pixels import Pixels, check_pixels, decoded, encoded_png, open_other_format, sample, upright, verify

__all__ = ["PreparedImage", "prepare_input", "size_of"]


_SLOW_PIXELS = 4_000_000
"""Encoding a PNG with more pixels than this takes more than a second, a JPEG a tenth of that."""

_MOST_SEEN = 4096 * 4096
"""An image that must be encoded again is scaled down to this many pixels: no model makes more, and OpenAI's see 1,536
patches of 32x32 (developers.openai.com, images and vision). More takes longer to encode and to send."""

_ENOUGH = 0.8
"""A JPEG to be scaled down is decoded at a half, a quarter or an eighth of its size if that is at least this share of
the size to try first: that one is hopeful, and decoding the whole takes seconds."""


@dataclass(frozen=True, slots=True)
class PreparedImage:
    """An image that is ready to be sent.

    Attributes:
        data: The file's bytes.
        mime_type: ``image/png``, ``image/jpeg`` or ``image/webp``.
        size: Its pixels.
        downscaled: True if it has fewer pixels than the original.
    """

    data: bytes = field(repr=False)
    mime_type: MimeType
    size: Size
    downscaled: bool


def prepare_input(data: bytes, *, max_bytes: int, pixels: Pixels | None = None) -> PreparedImage:
    """Prepare an image to be sent.

    A PNG, JPEG or WebP keeps its encoded pixels and loses everything that does not show: EXIF with places and dates,
    XMP, texts, comments, thumbnails, more images. It is encoded again only if it must be turned upright, is an
    animation (only its first image is used), has CMYK or 16-bit grey pixels, or is too large; every other format that
    Pillow reads is, too. A JPEG, and anything opaque with more than four million pixels, becomes a JPEG with quality
    95, anything else a PNG, RGB or RGBA, of at most 4096x4096 pixels in any ratio. An ICC profile stays, unless the
    colours had to be converted; then they are sRGB.

    Args:
        data: The file, in any format that Pillow reads, up to 100 million pixels.
        max_bytes: The limit in bytes. A larger image is scaled down in steps, with its ratio and its alpha.
        pixels: Its pixels, if they were decoded before.

    Raises:
        ImageError: It cannot be read, is truncated, has too many pixels, or exceeds the limit at any size.
    """
    container = parse(data)
    if container is not None:
        check_pixels(container.size)
        as_it_is = container.is_plain and container.orientation == 1
        if as_it_is and len(stripped := container.stripped()) <= max_bytes:
            if pixels is None:
                verify(container)
            return PreparedImage(stripped, container.mime_type, container.size, False)
    original = size_of(data)
    is_large = original.pixels > _SLOW_PIXELS
    is_jpeg = container is not None and container.mime_type == "image/jpeg"
    scale = min(1.0, math.sqrt(_MOST_SEEN / original.pixels))
    if is_jpeg and is_large:
        # In the same format, the file's length shows how far to scale down.
        scale = min(scale, math.sqrt(1.2 * max_bytes / len(data)))
    pixels = pixels or decoded(data, least=_scaled(original, _ENOUGH * scale) if scale < 1 else None)
    mime_type: MimeType = "image/jpeg" if is_jpeg or (is_large and pixels.image.mode == "RGB") else "image/png"
    scale = min(1.0, scale * original.width / pixels.image.width)
    smaller, encoded = _fitting(pixels, mime_type, max_bytes, scale)
    return PreparedImage(encoded, mime_type, smaller, smaller.pixels < original.pixels)


def size_of(data: bytes) -> Size:
    """The size in pixels at which an image is shown, upright; read from the file's header.

    Raises:
        ImageError: It cannot be read, is truncated or has too many pixels.
    """
    container = parse(data)
    if container is not None:
        check_pixels(container.size)
        return upright(container.size, container.orientation)
    with open_other_format(data) as image:
        return upright(Size(*image.size), exif.orientation(image.info.get("exif", b"")))


def _fitting(pixels: Pixels, mime_type: MimeType, max_bytes: int, scale: float) -> tuple[Size, bytes]:
    """The image, encoded at the largest size that fits into ``max_bytes``, starting from a scale."""
    image = pixels.image
    original = Size(*image.size)
    if _scaled(original, scale).pixels > _SLOW_PIXELS:
        strips = sample(image)
        # Twice, since fewer pixels compress worse.
        for _ in range(2):
            at_scale = _resized(strips, _scaled(Size(*strips.size), scale))
            encoded = _encoded(at_scale, pixels.profile, mime_type, is_large=True)
            expected = len(encoded) * image.height / strips.height
            if (factor := 0.98 * math.sqrt(max_bytes / expected)) >= 1:
                break
            scale *= factor
    while True:
        size = _scaled(original, scale)
        encoded = _encoded(_resized(image, size), pixels.profile, mime_type, is_large=size.pixels > _SLOW_PIXELS)
        if len(encoded) <= max_bytes:
            return size, encoded
        if size.pixels == 1:
            raise ImageError(f"The image does not fit into {max_bytes:,} bytes at any size.", "too_many_bytes")
        # The number of bytes goes with the area, or falls a little slower, because fewer pixels compress worse.
        scale *= min(0.9, 0.95 * math.sqrt(max_bytes / len(encoded)))


def _scaled(size: Size, scale: float) -> Size:
    return Size(max(1, round(size.width * scale)), max(1, round(size.height * scale)))


def _resized(image: Image.Image, size: Size) -> Image.Image:
    if image.size == (size.width, size.height):
        return image
    # Of a large image, Lanczos takes twice as long, and providers scale it down further.
    is_large = image.width * image.height > _SLOW_PIXELS
    method = Image.Resampling.HAMMING if is_large else Image.Resampling.LANCZOS
    return image.resize((size.width, size.height), method, reducing_gap=3)


def _encoded(image: Image.Image, profile: bytes | None, mime_type: MimeType, *, is_large: bool) -> bytes:
    """The image, or a sample of it as the whole is encoded."""
    if mime_type == "image/jpeg":
        return _encoded_jpeg(image, profile)
    return encoded_png(image, profile, compress_level=1 if is_large else 6)


def _encoded_jpeg(image: Image.Image, profile: bytes | None) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=95, subsampling="4:4:4", icc_profile=profile)
    return file.getvalue()
