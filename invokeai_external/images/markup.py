"""Prepares drawings on a transparent ground, which lie over the image to edit and say what to do."""

from __future__ import annotations

from PIL import Image

from ..sizing import Size
from .errors import ImageError
from .pixels import decoded, png_of_at_most

__all__ = ["markup_png"]


def markup_png(data: bytes, image_size: Size, sent_size: Size, *, max_bytes: int) -> bytes:
    """Drawings as an RGBA PNG without metadata, at the size of the image that is sent.

    Args:
        data: The file, in any format that Pillow reads.
        image_size: The size of the user's image, upright.
        sent_size: The size at which that image is sent.
        max_bytes: The limit in bytes.

    Raises:
        ImageError: It cannot be read, has another size than the image, has no transparent pixel or no drawing, or does
            not fit.
    """
    image = decoded(data).image
    size = Size(*image.size)
    if size != image_size:
        raise ImageError(
            f"The markup has {size} pixels and the image to edit {image_size}.",
            "wrong_markup",
            remedy="Save the markup at the size of the image.",
        )
    darkest, brightest = image.getchannel("A").getextrema() if image.mode == "RGBA" else (255, 255)
    if darkest == 255:
        raise ImageError(
            "The markup has no transparent pixel, so it would cover the image.",
            "wrong_markup",
            remedy="Draw on a transparent layer.",
        )
    if brightest == 0:
        raise ImageError(
            "The markup is completely transparent, so it says nothing.", "wrong_markup", remedy="Draw on it."
        )
    if size != sent_size:
        image = image.resize((sent_size.width, sent_size.height), Image.Resampling.LANCZOS)
    encoded = png_of_at_most(max_bytes, image)
    if encoded is None:
        raise ImageError(
            f"The markup does not fit into {max_bytes:,} bytes.",
            "too_many_bytes",
            remedy="Draw with fewer details.",
        )
    return encoded
