"""How many tokens a request would use: plausible, but not exact where no figure is published."""

from __future__ import annotations

import math

from ..providers.schema import ModelConfig
from ..sizing import Size

__all__ = [
    "gemini_image_tokens",
    "gemini_input_image_tokens",
    "openai_input_image_tokens",
    "openai_output_image_tokens",
    "text_tokens",
]

_TOKENS_PER_MEGAPIXEL = {"low": 260, "medium": 1007, "high": 3967, "xhigh": 5950, "max": 7934}
"""The published tokens of gpt-image-1 at 1024x1024 (272, 1056, 4160) by area; the two highest are guesses."""


def text_tokens(text: str) -> int:
    """About one token for four characters, and at least one."""
    return max(1, math.ceil(len(text) / 4))


def openai_output_image_tokens(config: ModelConfig, quality: str, size: Size) -> int:
    """The tokens of one finished image."""
    published = config.image_tokens.get(f"{quality} {size}")
    if published is not None:
        return published
    return round(_TOKENS_PER_MEGAPIXEL.get(quality, 1007) * size.pixels / 1_000_000)


def openai_input_image_tokens(size: tuple[int, int]) -> int:
    """The tokens of an input image: OpenAI's tiles of 512 pixels, with the shorter edge scaled to 512.

    65 and 129 are the figures that OpenAI published for gpt-image-1 at low fidelity.
    """
    width, height = size
    shrink = min(1.0, 512 / min(width, height))
    tiles = math.ceil(width * shrink / 512) * math.ceil(height * shrink / 512)
    return 65 + 129 * tiles


def gemini_image_tokens(config: ModelConfig, image_size: str | None) -> int:
    """The tokens of a finished image; most models need 1120 for an image of 1K."""
    return config.image_tokens.get(image_size or "any", config.image_tokens.get("any", 1120))


def gemini_input_image_tokens(config: ModelConfig) -> int:
    """The tokens of an input image: 258 up to 2.5 in Google's documentation, 560 since then by third parties."""
    return 258 if config.id.startswith("gemini-2") else 560
