"""The output formats GIF and SVG of OpenAI's image API, which need access that not every project has.

The rules are those of the official SDK's types (openai 3.57); how many frames fit is as third parties report.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from xml.sax.saxutils import quoteattr

from PIL import Image, ImageChops

from ..sizing import Size
from .errors import Refusal, openai_error

__all__ = ["GATED_FORMATS", "as_gif", "as_svg", "check_format", "sheet_of"]

GATED_FORMATS = ("gif", "svg")

_SHEET_EDGE = 3840
"""All frames lie on one sheet, whose edge has the limit of an image."""

_SVG_BLOCKS = 24
"""How many rectangles the longer edge of an SVG has."""


def check_format(given: Mapping[str, object], output_format: str, *, is_edit_with_mask: bool) -> None:
    """Check what goes together with a format; raises Refusal."""
    if output_format in GATED_FORMATS:
        for name in ("stream", "partial_images", "output_compression"):
            if given.get(name) or (name == "output_compression" and name in given):
                raise _not_with(name, output_format)
    if output_format == "gif" and is_edit_with_mask:
        raise _not_with("mask", "gif")
    if output_format == "svg" and given.get("n", 1) != 1:
        raise openai_error(400, "'n' must be 1 with output_format=svg.", param="n", code="invalid_value")
    for name, needed in (("frame_count", "gif"), ("frame_duration_ms", "gif"), ("svg", "svg")):
        if name in given and output_format != needed:
            raise openai_error(
                400, f"'{name}' is only supported with output_format={needed}.", param=name, code="invalid_value"
            )
    if "svg" in given:
        raise openai_error(
            400, "SVG model selection is not enabled for your project.", param="svg", code="unsupported_parameter"
        )


def sheet_of(size: Size, frames: int) -> Size:
    """The sheet on which all frames lie, which is what is billed; raises Refusal if it is too large."""
    columns = math.ceil(math.sqrt(frames))
    sheet = Size(columns * size.width, math.ceil(frames / columns) * size.height)
    if max(sheet.width, sheet.height) > _SHEET_EDGE:
        raise openai_error(
            400,
            f"Invalid size '{size}': {frames} frames of this size do not fit. Choose a smaller size or fewer frames.",
            param="size",
            code="invalid_value",
        )
    return sheet


def as_gif(image: Image.Image, frames: int, frame_duration_ms: int) -> bytes:
    """An animation in which an image moves sideways, once around."""
    flat = image.convert("RGB")
    moved = [ImageChops.offset(flat, round(flat.width * place / frames), 0) for place in range(frames)]
    first, *others = [frame.quantize(64, dither=Image.Dither.NONE) for frame in moved]
    file = io.BytesIO()
    first.save(file, "GIF", save_all=True, append_images=others, duration=frame_duration_ms, loop=0)
    return file.getvalue()


def as_svg(image: Image.Image, prompt: str) -> bytes:
    """An image as coloured rectangles, with the prompt as its description."""
    small = image.convert("RGB")
    small.thumbnail((_SVG_BLOCKS, _SVG_BLOCKS))
    width, height = image.size
    across, down = width / small.width, height / small.height
    rectangles = "".join(
        f'<rect x="{x * across:g}" y="{y * down:g}" width="{across:g}" height="{down:g}" '
        f'fill="#{"".join(f"{band:02x}" for band in _pixel(small, x, y))}"/>'
        for y in range(small.height)
        for x in range(small.width)
    )
    label = quoteattr("".join(char for char in prompt if char.isprintable()))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img" aria-label={label}>{rectangles}</svg>'
    ).encode()


def _pixel(image: Image.Image, x: int, y: int) -> tuple[int, ...]:
    pixel = image.getpixel((x, y))
    assert isinstance(pixel, tuple)  # the image is RGB
    return pixel


def _not_with(name: str, output_format: str) -> Refusal:
    return openai_error(
        400, f"'{name}' is not supported with output_format={output_format}.", param=name, code="invalid_value"
    )
