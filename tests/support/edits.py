"""One edit, composited into its original."""

from __future__ import annotations

from invokeai_external.images.compositing import Canvas, Decoded
from invokeai_external.images.painted_masks import mask_pixels
from invokeai_external.images.pixels import decoded

__all__ = ["composite"]


def composite(original: bytes, result: bytes, mask: bytes, *, feather: int) -> bytes:
    """What ``Canvas`` makes of three files; the mask is in the internal form."""
    return Canvas(Decoded(decoded(original), mask_pixels(mask, "white")), feather=feather).with_edit(result)
