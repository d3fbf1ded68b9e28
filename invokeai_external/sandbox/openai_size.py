"""Reads the size of a request as strictly as OpenAI's image API does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PIL import Image

from ..providers.schema import ModelConfig
from ..providers.sizings import FlexibleSizing
from ..sizing import Size, SizeRequest
from .errors import openai_error
from .models import is_gpt_image
from .openai_errors import unsupported_value

__all__ = ["read_size"]


def read_size(given: Mapping[str, object], config: ModelConfig, images: Sequence[Image.Image]) -> Size:
    """The size of the images to make, already chosen if the request says ``auto``; raises Refusal."""
    text = str(given.get("size") or "auto")
    takes_auto = is_gpt_image(config.id)
    if text == "auto" and (takes_auto or "size" not in given):
        return _automatic_size(config, images)
    supported = [str(choice.size) for choice in config.sizing.presets()] + (["auto"] if takes_auto else [])
    try:
        size = Size.parse(text)
    except ValueError:
        raise unsupported_value("size", text, supported) from None
    # The service accepts only this spelling: no spaces, no other character between the numbers.
    if text != str(size):
        raise unsupported_value("size", text, supported)
    if config.sizing.allows(size):
        return size
    if isinstance(config.sizing, FlexibleSizing):
        raise openai_error(
            400,
            f"Invalid size '{text}'. {_broken_rule(size, config.sizing)}",
            kind="image_generation_user_error",
            param="size",
            code="invalid_value",
        )
    raise unsupported_value("size", text, supported)


def _automatic_size(config: ModelConfig, images: Sequence[Image.Image]) -> Size:
    """The service's own choice: a square, or the shape of the first input image."""
    ratio = images[0].width / images[0].height if images else 1.0
    chosen = config.sizing.choose(SizeRequest(image_size="1K", natural_ratio=ratio)).size
    assert chosen is not None  # None is only possible without a ratio and a size
    return chosen


def _broken_rule(size: Size, rule: FlexibleSizing) -> str:
    if size.width % rule.multiple_of or size.height % rule.multiple_of:
        return f"Width and height must both be divisible by {rule.multiple_of}."
    if max(size.width, size.height) > rule.max_edge:
        return f"The longest edge must be at most {rule.max_edge} pixels."
    if size.pixels < rule.min_pixels:
        return f"The total number of pixels must be at least {rule.min_pixels}."
    if size.pixels > rule.max_pixels:
        return f"The total number of pixels must be at most {rule.max_pixels}."
    return f"The aspect ratio must be between {rule.min_ratio} and {rule.max_ratio}."
