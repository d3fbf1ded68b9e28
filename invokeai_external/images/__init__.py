"""Picture files as bytes in, bytes out: inspected, with text written in, made ready to send, masked, edits laid in.

Nothing here touches the disk or the network, and nothing but ``ImageError`` comes out of a bad file. PNG, JPEG and
WebP are taken apart at the level of their chunks and segments, so that pixels stay as they were encoded. Pillow takes
a while to load, so the names load when they are first used (PEP 562):

errors      ``ImageError``
png         the chunks of a PNG
jpeg        the segments of a JPEG
webp        the chunks of a WebP
exif        the two tags of an EXIF block that matter here
containers  which of the three a file is
pixels      decoding with Pillow, for those who need pixels
inspect     is a picture whole, and what is it
embed       text in and out
inputs      a picture as it may be sent
masks       what to change, in the forms that providers want
compositing an edit laid into its original
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .compositing import composite
    from .embed import embed_text, parts_with_text, parts_with_text_chunks, read_text
    from .errors import ImageError, TooManyPixelsError
    from .inputs import PreparedImage, prepare_input, size_of
    from .inspect import ImageInfo, inspect_image, is_signed
    from .masks import alpha_mask, from_square, mask_from_black, mask_from_file, square_mask, square_rgba, white_mask
    from .pixels import as_encoded, glance, verify_pixels

__all__ = [
    "ImageError",
    "ImageInfo",
    "PreparedImage",
    "TooManyPixelsError",
    "alpha_mask",
    "as_encoded",
    "composite",
    "embed_text",
    "from_square",
    "glance",
    "inspect_image",
    "is_signed",
    "mask_from_black",
    "mask_from_file",
    "parts_with_text",
    "parts_with_text_chunks",
    "prepare_input",
    "read_text",
    "size_of",
    "square_mask",
    "square_rgba",
    "verify_pixels",
    "white_mask",
]

_HOMES = {
    "compositing": ("composite",),
    "embed": (
        "embed_text",
        "parts_with_text",
        "parts_with_text_chunks",
        "read_text",
    ),
    "errors": (
        "ImageError",
        "TooManyPixelsError",
    ),
    "inputs": (
        "PreparedImage",
        "prepare_input",
        "size_of",
    ),
    "inspect": (
        "ImageInfo",
        "inspect_image",
        "is_signed",
    ),
    "masks": (
        "alpha_mask",
        "from_square",
        "mask_from_black",
        "mask_from_file",
        "square_mask",
        "square_rgba",
        "white_mask",
    ),
    "pixels": (
        "as_encoded",
        "glance",
        "verify_pixels",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
