"""Reads masks as people paint them into the internal form: a PNG of mode L, 255 = change, 0 = keep, else partly."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from PIL import Image, ImageChops, ImageColor

from ..misspellings import or_nearest
from ..untrusted_text import quoted
from .errors import ImageError
from .formats.containers import parse
from .pixels import as_encoded, decoded_mask, encoded_png

__all__ = ["check_color", "mask_from_black", "mask_from_color", "mask_from_file", "mask_pixels", "share"]

_KEPT, _CHANGED = 16, 239
"""Up to the first, a value counts as 0; from the second on, as 255. A JPEG of black and white areas has such values
around their edges at the usual qualities, and each would change a pixel outside the area. A feathered mask loses the
faintest sixteenth of its fade at either end, which is hard to see."""

_SNAPPED = [0 if value <= _KEPT else 255 if value >= _CHANGED else value for value in range(256)]

_MOST_CHROMA = 64
"""How far the channels of a grey pixel may differ; the noise of a JPEG stays far below."""

_TOLERANCE = 48
"""How far each channel of a pixel may be from the colour that marks: enough for the noise of a JPEG, and less than the
distance between the colours that people call by different names."""

_NAMES = ("red", "orange", "yellow", "lime", "green", "cyan", "blue", "purple", "magenta", "pink", "brown")
"""The names to suggest for a colour."""

_BAND = 1_000_000
"""How many pixels of a mask are looked at together."""

_ALL_NAMES = ("white", "black", *_NAMES, "gray", "grey")

_NEARLY_ALL = 0.9
"""The share of the coloured pixels that one colour must have to be suggested; a photo has many colours."""


def mask_from_file(data: bytes) -> bytes:
    """The internal form of a painted mask, in any format that Pillow reads.

    With an alpha channel or a transparent colour, transparent pixels mark what to change; otherwise white ones do.

    Raises:
        ImageError: It cannot be read, is coloured, or marks nothing or everything; the error says how to mark.
    """
    return encoded_png(_from_file(data))


def _from_file(data: bytes) -> Image.Image:
    image = decoded_mask(data)
    if image.mode == "RGBA":
        mask = ImageChops.invert(image.getchannel("A"))
        nothing = ImageError(
            "The mask has an alpha channel, but no pixel is transparent, so it marks nothing.",
            "empty_mask",
            remedy="Make the part to change transparent, or save the mask without alpha and paint that part white.",
        )
    else:
        _check_grey(image)
        mask = image.convert("L")
        nothing = ImageError(
            "The mask is completely black, so it marks nothing.",
            "empty_mask",
            remedy="Paint the part to change white.",
        )
    return _finished(mask, nothing)


def mask_from_black(data: bytes, *, may_be_whole: bool = False) -> bytes:
    """The internal form of a mask in which black marks what to change, such as Invoke's; its alpha does not count.

    Args:
        data: The file, in any format that Pillow reads.
        may_be_whole: Accept a mask that is completely black.

    Raises:
        ImageError: It cannot be read, is coloured or completely white, or, unless that is accepted, completely black.
    """
    return encoded_png(_from_black(data, may_be_whole=may_be_whole))


def _from_black(data: bytes, *, may_be_whole: bool) -> Image.Image:
    image = decoded_mask(data)
    _check_grey(image)
    nothing = ImageError(
        "The mask is completely white, so it marks nothing.",
        "empty_mask",
        remedy="Paint the part to change black.",
    )
    return _finished(ImageChops.invert(image.convert("L")), nothing, may_be_whole=may_be_whole)


def mask_from_color(data: bytes, color: str) -> bytes:
    """The internal form of a mask in which one colour marks what to change; transparent pixels do not count.

    Args:
        data: The file, in any format that Pillow reads.
        color: ``white`` or ``black``, as ``mask_from_file`` and ``mask_from_black`` read them, or else a name or
            ``#rrggbb``, as ``PIL.ImageColor`` reads them: a pixel has it if no channel differs by more than 48.

    Raises:
        ImageError: It cannot be read, there is no such colour, or no pixel or every pixel has it.
    """
    return encoded_png(_from_color(data, color))


def mask_pixels(data: bytes, color: str) -> Image.Image:
    """The pixels of a mask in the internal form, those of any other as ``mask_from_color`` reads them; mode L.

    Raises:
        ImageError: As ``mask_from_color``; a mask in the internal form may mark nothing or everything.
    """
    return decoded_mask(data).convert("L") if _in_internal_form(data) else _from_color(data, color)


def _from_color(data: bytes, color: str) -> Image.Image:
    if color == "white":
        return _from_file(data)
    if color == "black":
        return _from_black(data, may_be_whole=False)
    wanted = check_color(color)
    image = decoded_mask(data)
    mask = Image.new("L", image.size)
    for top, band in _bands(image):
        far = _largest(ImageChops.difference(band, Image.new("RGB", band.size, wanted)))
        mask.paste(far.point([255 * (value <= _TOLERANCE) for value in range(256)]), (0, top))
    if image.mode == "RGBA":
        mask = ImageChops.darker(mask, image.getchannel("A").point([255 * (value > 127) for value in range(256)]))
    other = _main_color(image)
    return _finished(
        mask,
        ImageError(
            f"No pixel of the mask has the colour {color}, so it marks nothing.",
            "empty_mask",
            remedy=f"Name the colour that marks the part to change{f', such as {other}' if other else ''}.",
        ),
    )


def check_color(color: str) -> tuple[int, ...]:
    """The red, green and blue of a colour as ``PIL.ImageColor`` reads it; raises ImageError if there is no such."""
    try:
        return ImageColor.getrgb(color)[:3]
    except (ValueError, TypeError):
        raise ImageError(
            f"{quoted(color)} is not a valid colour.",
            "unknown_color",
            remedy=f"{or_nearest(str(color), _ALL_NAMES)}Use a name such as red, or a value such as #ff0000.",
        ) from None


def _in_internal_form(data: bytes) -> bool:
    """True for a PNG of mode L without a transparent colour; raises ImageError if the file is broken."""
    container = parse(data)
    if container is None or container.mime_type != "image/png" or container.has_alpha:
        return False
    return as_encoded(data).mode == "L"


def share(mask: Image.Image) -> float:
    """The share of the pixels that a mask of mode L marks wholly or partly, 0 to 1."""
    return 1 - mask.histogram()[0] / (mask.width * mask.height)


def _finished(mask: Image.Image, nothing: ImageError, *, may_be_whole: bool = False) -> Image.Image:
    """The mask without noise; raises ``nothing`` if it marks nothing."""
    mask = mask.point(_SNAPPED)
    least, most = mask.getextrema()
    if most == 0:
        raise nothing
    if least == 255 and not may_be_whole:
        raise ImageError(
            "The mask marks the whole image.",
            "whole_mask",
            remedy="Mark only the part to change, or send no mask to change the whole image.",
        )
    return mask


def _check_grey(image: Image.Image) -> None:
    """Raise ImageError if a mask of black and white has colours."""
    if image.mode == "L" or not any(any(_chroma(band).histogram()[_MOST_CHROMA + 1 :]) for _, band in _bands(image)):
        return
    color = _main_color(image)
    if color is None:
        raise ImageError(
            "The mask has many colours, like a photo or the image itself.",
            "coloured_mask",
            remedy="If you painted over the part to change in one colour, such as red, add --mask-color red. Otherwise "
            "paint that part white and the rest black, or make it transparent.",
        )
    raise ImageError(
        f"The mask is coloured ({color}), so it is not clear what it marks.",
        "coloured_mask",
        remedy=f"To change what is {color}, add --mask-color {shlex.quote(color)}. Otherwise paint the part to change "
        "white and the rest black.",
    )


def _bands(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """The image in RGB, a few rows at a time, each with its top: the copies of the whole would take gigabytes."""
    rows = max(1, _BAND // image.width)
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height))).convert("RGB")


def _chroma(rgb: Image.Image) -> Image.Image:
    """The difference of the largest and the smallest channel of each pixel."""
    red, green, blue = rgb.split()
    least = ImageChops.darker(ImageChops.darker(red, green), blue)
    return ImageChops.subtract(_largest(rgb), least)


def _largest(rgb: Image.Image) -> Image.Image:
    red, green, blue = rgb.split()
    return ImageChops.lighter(ImageChops.lighter(red, green), blue)


def _main_color(image: Image.Image) -> str | None:
    """The colour of nearly all coloured pixels, by name or as ``#rrggbb``; None if there is not exactly one."""
    scale = min(1, 512 / max(image.size))
    edges = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    small = image.resize(edges, Image.Resampling.NEAREST).convert("RGB")
    coloured = _chroma(small).point([255 * (value > _MOST_CHROMA) for value in range(256)])
    count = coloured.histogram()[255]
    if not count:
        return None
    # The median of each channel is the colour itself if most coloured pixels have it.
    median = tuple(_median(channel.histogram(coloured)) for channel in small.split())
    name = next((name for name in _NAMES if _is_near(ImageColor.getrgb(name), median)), None)
    far = _largest(ImageChops.difference(small, Image.new("RGB", small.size, median)))
    near = sum(far.histogram(coloured)[: _TOLERANCE + 1])
    if near < _NEARLY_ALL * count:
        return None
    return name or "#{:02x}{:02x}{:02x}".format(*median)


def _is_near(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return all(abs(a - b) <= _TOLERANCE // 2 for a, b in zip(one, other, strict=True))


def _median(histogram: list[int]) -> int:
    half, seen = sum(histogram) / 2, 0
    for value, count in enumerate(histogram):
        seen += count
        if seen >= half:
            return value
    raise AssertionError("an empty histogram")
