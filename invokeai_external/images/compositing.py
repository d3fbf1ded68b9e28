"""Composites an edit into its original: outside the mask, every pixel stays the same to the bit."""

from __future__ import annotations

import io
import weakref
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import NamedTuple

from PIL import Image, ImageChops, ImageCms, ImageFilter

from ..sizing import Size
from .inputs import size_of
from .painted_masks import mask_pixels
from .pixels import MAX_EDITED_PIXELS, Pixels, check_pixels, decoded
from .png_bands import Box, Written, bands_of, png_of_written, written
from .provider_masks import stretched

__all__ = ["Canvas", "Decoded", "Original"]

_STEPS = 4
"""The feather is computed in about so many steps on a smaller mask, and interpolated between them."""

_MARKED = [255 * (value > 0) for value in range(256)]
_WHOLLY_MARKED = [255 * (value == 255) for value in range(256)]


_LARGE = 8_000_000
"""An image with more pixels takes five bytes for each while it stays decoded, with its mask: up to 180 MB."""

_ONE_LARGE = SimpleQueue[None]()
"""Of all large images in flight, the one that has what is in here stays decoded. The others are decoded again, which
takes a second each. Garbage collection may give it back at any moment, even while the same thread takes it: no
semaphore allows that."""
_ONE_LARGE.put(None)


class Decoded(NamedTuple):
    """An image to edit, and where: ``mask`` is L, 255 = change, of any size."""

    pixels: Pixels
    mask: Image.Image


class Original:
    """An image to edit and its mask for as long as a request runs: as files, and decoded unless too many are large.

    Args:
        image: The image, in any format that Pillow reads.
        mask: The mask.
        color: What marks in it what to change; see ``painted_masks.mask_pixels``.
        decoded: Both, decoded.
    """

    def __init__(self, image: bytes, mask: bytes, color: str, decoded: Decoded) -> None:
        self.size = Size(*decoded.pixels.image.size)
        self._image, self._mask, self._color = image, mask, color
        self._kept: Decoded | None = decoded
        self._give_back: Callable[[], object] = lambda: None
        if self.is_large:
            try:
                _ONE_LARGE.get_nowait()
            except Empty:
                self._kept = None
            else:
                self._give_back = weakref.finalize(self, _ONE_LARGE.put, None)

    @property
    def is_large(self) -> bool:
        """True if compositing it takes hundreds of megabytes."""
        return self.size.pixels > _LARGE

    def decoded(self) -> Decoded:
        """The pixels of both; raises ImageError if there is too little memory."""
        return self._kept or Decoded(decoded(self._image), mask_pixels(self._mask, self._color))

    def forget(self) -> None:
        """Keep the pixels no longer."""
        self._kept = None
        self._give_back()


class Canvas:
    """An original, made ready once for all of its edits.

    Args:
        original: The image and its mask, which is stretched to the image's size.
        feather: Over how many pixels an edit fades in, inward from the mask's edge; 0 for a hard edge. Parts of the
            mask that are too thin for that fade in faster, so that they change too.
    """

    def __init__(self, original: Decoded, *, feather: int) -> None:
        self._base, self._profile = original.pixels
        marked = stretched(original.mask, self._base.size)
        box = marked.getbbox() or (0, 0, 1, 1)
        # Only the part around the mask is computed, with a margin that includes its edges.
        margin = feather + 1
        self._box = (
            max(0, box[0] - margin),
            max(0, box[1] - margin),
            min(self._base.width, box[2] + margin),
            min(self._base.height, box[3] + margin),
        )
        self._marked = marked.crop(self._box)
        self._weight = _feathered(self._marked, feather)
        self._outside: dict[tuple[str, Box], Written] = {}

    def with_edit(self, result: bytes) -> bytes:
        """Composite the edit that a provider returned into the original.

        Where the mask is 0, every pixel is the original's as decoded: eight bits, upright, with its alpha. Where the
        mask is 255 and far enough from its edge, every pixel is the result's. Between, the two are mixed.

        Args:
            result: The provider's image; stretched to the original's size and converted to the original's colour
                profile.

        Returns:
            A PNG with the original's size and profile. It is RGBA if the original is, or if any pixel of the result
            inside the mask is not opaque (a hole that was requested stays a hole); else RGB.

        Raises:
            ImageError: The result cannot be read, or has more pixels than an image to edit.
        """
        check_pixels(size_of(result), MAX_EDITED_PIXELS)
        base = self._base
        # Twice the size is enough to scale from.
        edit = _in_profile(decoded(result, least=Size(2 * base.width, 2 * base.height)), self._profile)
        if edit.mode == "RGBA" and edit.getchannel("A").getextrema()[0] == 255:
            edit = edit.convert("RGB")
        edit = _scaled(edit, base.size, self._box)
        if edit.mode == "RGBA" and not self._shows_through(edit):
            edit = edit.convert("RGB")
        mode = "RGBA" if "RGBA" in (base.mode, edit.mode) else "RGB"
        bands = (self._written(box, mode, edit) for box in bands_of(base.size))
        return png_of_written(base.size, mode, bands, self._profile)

    def _shows_through(self, edit: Image.Image) -> bool:
        """True if any pixel that the mask marks is not opaque; ``edit`` is the box around the mask."""
        return any(edit.getchannel("A").histogram(self._marked.point(_MARKED))[:255])

    def _written(self, box: Box, mode: str, edit: Image.Image) -> Written:
        """A part of the file of a result; above and below the mask, it is the same in all of them."""
        known = self._outside.get((mode, box))
        if known:
            return known
        part = written(mode, self._band(box, edit).convert(mode), is_first=box[1] < 0)
        if box[3] <= self._box[1] or self._box[3] <= box[1]:
            self._outside[mode, box] = part
        return part

    def _band(self, band: Box, edit: Image.Image) -> Image.Image:
        """A part of the result; ``edit`` is the box around the mask."""
        base = self._base.crop(band)
        left, top, right, bottom = self._box
        box = (left, max(top, band[1]), right, min(bottom, band[3]))
        if box[1] >= box[3]:
            return base
        rows = (0, box[1] - top, right - left, box[3] - top)
        weight, part = self._weight.crop(rows), edit.crop(rows)
        if "RGBA" in (base.mode, part.mode):
            base, part = base.convert("RGBA"), part.convert("RGBA")
        inside = (left, box[1] - band[1])
        original = base.crop((*inside, right, box[3] - band[1]))
        base.paste(_mixed(original, part, weight), inside)
        return base


def _scaled(image: Image.Image, size: tuple[int, int], box: Box | None = None) -> Image.Image:
    """An image at another size, or a part of it at that size."""
    left, top, right, bottom = box or (0, 0, *size)
    if image.size == size:
        return image.crop((left, top, right, bottom))
    across, down = image.width / size[0], image.height / size[1]
    source = (left * across, top * down, min(image.width, right * across), min(image.height, bottom * down))
    # Of a much larger image, most of the work is averaging; the gap leaves enough for the filter to be as good.
    return image.resize((right - left, bottom - top), Image.Resampling.LANCZOS, source, reducing_gap=3)


def _in_profile(pixels: Pixels, profile: bytes | None) -> Image.Image:
    """The image converted to another profile; None is sRGB. Unchanged if one of the two profiles is not usable."""
    image = pixels.image
    if pixels.profile == profile:
        return image
    try:
        colours = ImageCms.profileToProfile(image.convert("RGB"), _opened(pixels.profile), _opened(profile))
    except (ImageCms.PyCMSError, OSError):
        return image
    assert colours is not None
    if image.mode == "RGBA":
        colours.putalpha(image.getchannel("A"))
    return colours


def _opened(profile: bytes | None) -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(io.BytesIO(profile) if profile else ImageCms.createProfile("sRGB"))


def _mixed(base: Image.Image, edit: Image.Image, weight: Image.Image) -> Image.Image:
    """``edit`` where the weight is 255, ``base`` where it is 0, both to the bit, and a mixture between."""
    if base.mode == "RGB":
        return Image.composite(edit, base, weight)
    # Premultiplied alpha keeps transparent pixels from adding their colour. It rounds, so the exact ends are restored.
    mixture = Image.composite(edit.convert("RGBa"), base.convert("RGBa"), weight).convert("RGBA")
    mixture.paste(edit, mask=weight.point(_WHOLLY_MARKED))
    mixture.paste(base, mask=weight.point([255 * (value == 0) for value in range(256)]))
    return mixture


def _feathered(mask: Image.Image, feather: int) -> Image.Image:
    """The mask, fading in over so many pixels from each of its edges; the edge of the image does not count as one."""
    if feather == 0:
        return mask
    step = -(-feather // _STEPS)
    levels = -(-feather // step)
    inside = mask.point(_MARKED).reduce(step).point(_MARKED)
    depth = Image.new("L", inside.size)
    ramp = Image.new("L", inside.size)
    layers = []
    for level in range(1, levels + 2):
        depth.paste(level, mask=inside)
        layers.append(inside)
        inside = _shrunk(inside)
    # Where nothing deeper is near, the deepest level counts as fully inside.
    for deepest, layer in enumerate(layers, start=1):
        near = layer.filter(ImageFilter.BoxBlur(levels)).point(_MARKED)
        ramp.paste(depth.point(_ramp(deepest, step, feather)), mask=near)
    # Coarse steps show, so they are smoothed; but only near the deepest level, since thin parts would be washed out.
    ramp.paste(ramp.filter(ImageFilter.BoxBlur(1 - 1 / step)), mask=near)
    smooth = ramp.resize(mask.size, Image.Resampling.BILINEAR, box=(0, 0, mask.width / step, mask.height / step))
    return ImageChops.multiply(mask, smooth)


def _shrunk(area: Image.Image) -> Image.Image:
    """An area of 0 and 255 without the pixels at its edges, corners included; the edge of the image is not one."""
    outside = ImageChops.invert(area)
    for left, top in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        beside = outside.crop((left, top, left + area.width, top + area.height))
        outside = ImageChops.lighter(outside, beside)
    return ImageChops.invert(outside)


def _ramp(deepest: int, step: int, feather: int) -> list[int]:
    """The weight by depth, counted in steps from 1, with full weight at the deepest one."""
    shares = [min(1.0, max(0.0, (depth - 0.5) * step / feather)) for depth in range(256)]
    return [round(255 * min(1.0, share / shares[deepest])) for share in shares]
