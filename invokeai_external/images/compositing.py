"""Composites an edit into its original: outside the mask, every pixel stays the same to the bit."""

from __future__ import annotations

import io

from PIL import Image, ImageChops, ImageCms, ImageFilter

from .pixels import Pixels, decoded, encoded_png
from .provider_masks import stretched

__all__ = ["composite"]

_STEPS = 4
"""The feather is computed in about so many steps on a smaller mask, and interpolated between them."""

_BAND_PIXELS = 4_000_000
"""How many pixels are mixed at a time."""

_MARKED = [255 * (value > 0) for value in range(256)]
_WHOLLY_MARKED = [255 * (value == 255) for value in range(256)]


def composite(original: bytes, result: bytes, mask: bytes, *, feather: int) -> bytes:
    """Composite the edit that a provider returned into the original image.

    Where the mask is 0, every pixel is the original's as decoded: eight bits, upright, with its alpha. Where the mask
    is 255 and far enough from its edge, every pixel is the result's. Between, the two are mixed.

    Args:
        original: The image that was edited, in any format that Pillow reads.
        result: The provider's image; stretched to the original's size and converted to the original's colour profile.
        mask: The internal form (L, 255 = change); stretched to the original's size.
        feather: Over how many pixels the edit fades in, inward from the mask's edge; 0 for a hard edge. Parts of the
            mask that are too thin for that fade in faster, so that they change too.

    Returns:
        A PNG with the original's size and profile. It is RGBA if the original is, or if any pixel of the result inside
        the mask is not opaque (a hole that was requested stays a hole); else RGB.

    Raises:
        ImageError: One of the three cannot be read.
    """
    base, profile = decoded(original)
    marked = stretched(decoded(mask).image.convert("L"), base.size)
    box = marked.getbbox()
    if box is None:
        return encoded_png(base, profile)
    edit = _in_profile(decoded(result), profile)
    if edit.size != base.size:
        edit = edit.resize(base.size, Image.Resampling.LANCZOS)
    if base.mode == "RGBA" or _is_transparent(edit, marked):
        base, edit = base.convert("RGBA"), edit.convert("RGBA")
    else:
        edit = edit.convert("RGB")
    # Only the part around the mask is computed, with a margin that includes its edges.
    margin = feather + 1
    left, top, right, bottom = box
    box = (
        max(0, left - margin),
        max(0, top - margin),
        min(base.width, right + margin),
        min(base.height, bottom + margin),
    )
    weight = _feathered(marked.crop(box), feather)
    # In bands, since mixing takes several copies.
    rows = max(1, _BAND_PIXELS // weight.width)
    for start in range(0, weight.height, rows):
        part = weight.crop((0, start, weight.width, min(weight.height, start + rows)))
        band = (box[0], box[1] + start, box[2], box[1] + start + part.height)
        base.paste(_mixed(base.crop(band), edit.crop(band), part), band)
    return encoded_png(base, profile)


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


def _is_transparent(edit: Image.Image, mask: Image.Image) -> bool:
    """True if any pixel that the mask marks is not opaque."""
    return edit.mode == "RGBA" and any(edit.getchannel("A").histogram(mask.point(_MARKED))[:255])


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
        # A mean over 3x3 is 255 only where all nine are; at the edge of the image, Pillow repeats the last pixels.
        inside = inside.filter(ImageFilter.BoxBlur(1)).point(_WHOLLY_MARKED)
    # Where nothing deeper is near, the deepest level counts as fully inside.
    for deepest, layer in enumerate(layers, start=1):
        near = layer.filter(ImageFilter.BoxBlur(levels)).point(_MARKED)
        ramp.paste(depth.point(_ramp(deepest, step, feather)), mask=near)
    # Coarse steps show, so they are smoothed; but only near the deepest level, since thin parts would be washed out.
    ramp.paste(ramp.filter(ImageFilter.BoxBlur(1 - 1 / step)), mask=near)
    smooth = ramp.resize(mask.size, Image.Resampling.BILINEAR, box=(0, 0, mask.width / step, mask.height / step))
    return ImageChops.multiply(mask, smooth)


def _ramp(deepest: int, step: int, feather: int) -> list[int]:
    """The weight by depth, counted in steps from 1, with full weight at the deepest one."""
    shares = [min(1.0, max(0.0, (depth - 0.5) * step / feather)) for depth in range(256)]
    return [round(255 * min(1.0, share / shares[deepest])) for share in shares]
