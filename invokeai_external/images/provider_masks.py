"""Converts masks from the internal form (``painted_masks``) into those that providers expect."""

from __future__ import annotations

from PIL import Image, ImageChops

from ..sizing import Size
from .errors import ImageError
from .pixels import decoded, encoded_png, png_of_at_most

__all__ = [
    "alpha_mask",
    "from_square",
    "square_mask",
    "square_rgba",
    "stretched",
    "white_mask",
]


def alpha_mask(mask: Image.Image, size: Size, *, max_bytes: int) -> bytes:
    """A mask in OpenAI's form: a black RGBA PNG with alpha 0 where the image is to be changed.

    Args:
        mask: The pixels of the internal form.
        size: The size of the image that it is for; the mask is stretched to it. A mask with only 0 and 255 stays so.
        max_bytes: The limit in bytes. A larger mask loses its partly marked pixels: each is marked fully or not at all.

    Raises:
        ImageError: The mask does not fit.
    """
    return _fitting(mask, size, max_bytes, is_alpha=True)


def white_mask(mask: Image.Image, size: Size, *, max_bytes: int) -> bytes:
    """A mask as an image for the model to look at: a grey PNG of mode L, white where the image is to be changed.

    The arguments and errors are those of ``alpha_mask``.
    """
    return _fitting(mask, size, max_bytes, is_alpha=False)


def square_rgba(data: bytes, *, edge: int, max_bytes: int) -> bytes:
    """An image in DALL·E 2's form: centred in a transparent square RGBA PNG, as large as fits, with its ratio.

    Args:
        data: The file, in any format that Pillow reads.
        edge: The square's edge in pixels.
        max_bytes: The limit in bytes.

    Raises:
        ImageError: It cannot be read or does not fit.
    """
    image = decoded(data).image.convert("RGBA")
    left, top, inner = _contained(Size(*image.size), edge)
    square = Image.new("RGBA", (edge, edge))
    square.paste(image.resize(inner, Image.Resampling.LANCZOS), (left, top))
    encoded = png_of_at_most(max_bytes, square)
    if encoded is None:
        raise ImageError(
            f"As a square PNG of {edge}x{edge}, the image does not fit into {max_bytes:,} bytes.", "too_many_bytes"
        )
    return encoded


def square_mask(mask: Image.Image, image_size: Size, *, edge: int) -> Image.Image:
    """The pixels of the mask that belongs to ``square_rgba``: everything around the image is marked.

    Args:
        mask: The pixels of the internal form.
        image_size: The size of the image that it is for, upright.
        edge: The square's edge in pixels.
    """
    left, top, inner = _contained(image_size, edge)
    square = Image.new("L", (edge, edge), 255)
    square.paste(stretched(mask, inner), (left, top))
    return square


def from_square(data: bytes, image_size: Size) -> bytes:
    """The image inside a square that ``square_rgba`` made and a provider edited, as PNG.

    Args:
        data: The square, with any edge; an image of another ratio counts as a stretched square.
        image_size: The size of the original image, upright; its ratio decides what part of the square to return.

    Raises:
        ImageError: The square cannot be read.
    """
    image, profile = decoded(data)
    # Of an image that is not square, the same part of each side: a square of its longer side could be a billion pixels.
    left, _, (width, _) = _contained(image_size, image.width)
    _, top, (_, height) = _contained(image_size, image.height)
    return encoded_png(image.crop((left, top, left + width, top + height)), profile)


def _contained(size: Size, edge: int) -> tuple[int, int, tuple[int, int]]:
    """Left, top, and (width, height) of an image that is centred in a square."""
    scale = edge / max(size.width, size.height)
    width, height = max(1, round(size.width * scale)), max(1, round(size.height * scale))
    return (edge - width) // 2, (edge - height) // 2, (width, height)


def stretched(mask: Image.Image, size: tuple[int, int]) -> Image.Image:
    """A mask of mode L at another size; one with only 0 and 255 stays so."""
    if mask.size == size:
        return mask
    if sum(mask.histogram()[1:255]):
        return mask.resize(size, Image.Resampling.BILINEAR)
    # A hard mask stays hard: BOX repeats pixels or averages them, and every pixel that a mark touches is marked.
    return mask.resize(size, Image.Resampling.BOX).point([255 * (value > 0) for value in range(256)])


def _fitting(mask: Image.Image, size: Size, max_bytes: int, *, is_alpha: bool) -> bytes:
    """A mask, stretched and in the provider's form, as PNG; without its greys if it has too many bytes with them."""

    def encode(area: Image.Image) -> bytes | None:
        return png_of_at_most(max_bytes, ImageChops.invert(area) if is_alpha else area, is_alpha=is_alpha)

    soft = stretched(mask, (size.width, size.height))
    encoded = encode(soft)
    if encoded is None and any(soft.histogram()[1:255]):
        half = _brightest(soft) / 2
        encoded = encode(soft.point([255 * (value > half) for value in range(256)]))
    if encoded is None:
        raise ImageError(
            f"The mask does not fit into {max_bytes:,} bytes.",
            "too_many_bytes",
            remedy="Paint it with fewer details.",
        )
    return encoded


def _brightest(mask: Image.Image) -> int:
    return max(value for value, count in enumerate(mask.histogram()) if count)
