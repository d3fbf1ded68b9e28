"""An edit laid into its original: changed inside the mask, and outside of it not by a single bit."""

from __future__ import annotations

import io

from PIL import Image, ImageChops, ImageCms, ImageFilter

from .masks import stretched
from .pixels import Pixels, decoded, encoded_png

__all__ = ["composite"]

_STEPS = 4
"""The feather is worked out in about so many steps, on a mask made smaller to match; between them it is smooth."""

_QUICK = 1
"""zlib's level: 2048x2048 pixels take a quarter of a second, at Pillow's own 6 five times that for as many bytes."""

_MARKED = [255 * (value > 0) for value in range(256)]
_WHOLLY_MARKED = [255 * (value == 255) for value in range(256)]


def composite(original: bytes, result: bytes, mask: bytes, *, feather: int) -> bytes:
    """Lay the edit that a provider made into the picture that it was made of.

    Where the mask is 0, every pixel is that of the original as it is decoded: eight bits, upright, with its alpha.
    Where it is 255 and deep enough inside, it is the result's; between, it is mixed.

    Args:
        original: The picture that was edited, in any format that Pillow reads.
        result: What came; stretched to the original's size, its colours brought into the original's profile.
        mask: The inside form (L, 255 = change); stretched to the original's size.
        feather: How many pixels the edit takes to fade in, inward from the mask's edge; 0 for a hard edge. Parts of
            the mask that are too thin for that fade in faster, so that they are changed as well.

    Returns:
        A PNG of the original's size and with its profile. It is RGBA if the original is or if the result is see-through
        anywhere inside the mask (a hole that was asked for stays a hole), else RGB.

    Raises:
        ImageError: One of them cannot be read.
    """
    base, profile = decoded(original)
    marked = stretched(decoded(mask).image.convert("L"), base.size)
    box = marked.getbbox()
    if box is None:
        return encoded_png(base, profile, compress_level=_QUICK)
    edit = _in_profile(decoded(result), profile)
    if edit.size != base.size:
        edit = edit.resize(base.size, Image.Resampling.LANCZOS)
    if base.mode == "RGBA" or _is_see_through(edit, marked):
        base, edit = base.convert("RGBA"), edit.convert("RGBA")
    else:
        edit = edit.convert("RGB")
    # The work is done around the mask alone, with so much more that its edges show.
    more = feather + 1
    left, top, right, bottom = box
    box = (max(0, left - more), max(0, top - more), min(base.width, right + more), min(base.height, bottom + more))
    weight = _feathered(marked.crop(box), feather)
    base.paste(_mixed(base.crop(box), edit.crop(box), weight), box)
    return encoded_png(base, profile, compress_level=_QUICK)


def _in_profile(picture: Pixels, profile: bytes | None) -> Image.Image:
    """The picture's colours as numbers of another profile; None is sRGB. Unchanged if a profile does not work."""
    image = picture.image
    if picture.profile == profile:
        return image
    try:
        colours = ImageCms.profileToProfile(image.convert("RGB"), _opened(picture.profile), _opened(profile))
    except (ImageCms.PyCMSError, OSError):
        return image
    assert colours is not None
    if image.mode == "RGBA":
        colours.putalpha(image.getchannel("A"))
    return colours


def _opened(profile: bytes | None) -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(io.BytesIO(profile) if profile else ImageCms.createProfile("sRGB"))


def _is_see_through(edit: Image.Image, mask: Image.Image) -> bool:
    """True if any pixel that the mask marks is not opaque."""
    return edit.mode == "RGBA" and any(edit.getchannel("A").histogram(mask.point(_MARKED))[:255])


def _mixed(base: Image.Image, edit: Image.Image, weight: Image.Image) -> Image.Image:
    """``edit`` where the weight is 255, ``base`` where it is 0, both to the bit, and a mixture between."""
    if base.mode == "RGB":
        return Image.composite(edit, base, weight)
    # Mixed with alpha multiplied in, so that what is see-through lends no colour. That rounds: the ends are put back.
    mixture = Image.composite(edit.convert("RGBa"), base.convert("RGBa"), weight).convert("RGBA")
    mixture.paste(edit, mask=weight.point(_WHOLLY_MARKED))
    mixture.paste(base, mask=weight.point([255 * (value == 0) for value in range(256)]))
    return mixture


def _feathered(mask: Image.Image, feather: int) -> Image.Image:
    """The mask, fading in over so many pixels from each of its edges; the picture's own edge is none."""
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
        # A mean over 3x3 is 255 only where all nine are; at the picture's edge Pillow repeats the last pixels.
        inside = inside.filter(ImageFilter.BoxBlur(1)).point(_WHOLLY_MARKED)
    # Where nothing deeper is near, the deepest there is counts as deep enough.
    for deepest, layer in enumerate(layers, start=1):
        near = layer.filter(ImageFilter.BoxBlur(levels)).point(_MARKED)
        ramp.paste(depth.point(_ramp(deepest, step, feather)), mask=near)
    # The coarser the steps, the more they show; thin parts, which smoothing would wash out, are none of the last ones.
    ramp.paste(ramp.filter(ImageFilter.BoxBlur(1 - 1 / step)), mask=near)
    smooth = ramp.resize(mask.size, Image.Resampling.BILINEAR, box=(0, 0, mask.width / step, mask.height / step))
    return ImageChops.multiply(mask, smooth)


def _ramp(deepest: int, step: int, feather: int) -> list[int]:
    """The weight by depth, in steps from 1 on, where the deepest one has all of it."""
    shares = [min(1.0, max(0.0, (depth - 0.5) * step / feather)) for depth in range(256)]
    return [round(255 * min(1.0, share / shares[deepest])) for share in shares]
