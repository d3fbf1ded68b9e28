"""How many tokens OpenAI's GPT Image models count.

Source: the prices per image that OpenAI publishes, recorded traffic, and where these are silent third parties.
"""

from __future__ import annotations

import math

from ..sizing import Size
from .meter import Tokens, text_tokens

__all__ = ["count_openai_tokens", "input_image_tokens", "output_image_tokens"]

_PREVIEW = 100
"""The tokens of a partial image (recorded traffic)."""

_CELLS = {
    "gpt-image-2": {"low": 16, "medium": 48, "high": 96},
    "gpt-image-2.5": {"low": 16, "medium": 24, "high": 48, "xhigh": 64, "max": 96},
}
"""How many cells the longer edge of an image has, by quality. Exact: the published prices follow from it."""

_TABLE_OF_1 = {
    "low": (272, 408, 400),
    "medium": (1056, 1584, 1568),
    "high": (4160, 6240, 6208),
}
"""The published tokens of gpt-image-1 for a square, a portrait and a landscape. They also give the prices of 1.5."""

_TABLE_OF_MINI = {"low": (625, 750, 750), "medium": (1375, 1875, 1875), "high": (4500, 6500, 6500)}
"""The tokens that give the prices per image on the page of mini; those of a portrait and a landscape by third parties.
"""

_TEXT_OF_15 = range(122, 336)
"""The text tokens that gpt-image-1.5 counts with each image (recorded traffic)."""

_PATCH = 32
_MOST_PATCHES = 1536


def count_openai_tokens(
    model_id: str,
    *,
    prompt: str,
    input_sizes: list[tuple[int, int]],
    quality: str,
    size: Size,
    n: int,
    previews: int,
    seed: int,
) -> Tokens:
    """The tokens of a request for ``n`` images; ``input_sizes`` include the mask.

    The input is counted once for each image (recorded traffic).
    """
    if not _family(model_id):
        return Tokens()
    is_15 = _family(model_id) == "gpt-image-1.5"
    return Tokens(
        text_in=n * text_tokens(prompt),
        image_in=n * sum(input_image_tokens(model_id, width, height) for width, height in input_sizes),
        text_out=sum(_TEXT_OF_15[(seed + i) % len(_TEXT_OF_15)] for i in range(n)) if is_15 else 0,
        image_out=n * output_image_tokens(model_id, quality, size),
        previews=previews * _PREVIEW,
    )


def output_image_tokens(model_id: str, quality: str, size: Size) -> int:
    """The tokens of a finished image.

    GPT Image 2 and 2.5 are exact. For 2.6, third parties report 3 to 4.2 times the tokens of 2.5 at low and medium
    quality, and about the same for the rest: here it is the most of both, 4.2 and 1.02 times.
    """
    family = _family(model_id)
    if family in ("gpt-image-1", "gpt-image-1.5"):
        return _TABLE_OF_1[quality][_shape(size)]
    if family == "gpt-image-1-mini":
        return _TABLE_OF_MINI[quality][_shape(size)]
    if family == "gpt-image-2.6":
        like_25 = _by_cells(_CELLS["gpt-image-2.5"][quality], size)
        return math.ceil(like_25 * 42 / 10) if quality in ("low", "medium") else like_25 * 102 // 100
    return _by_cells(_CELLS.get(family, _CELLS["gpt-image-2.5"])[quality], size)


def input_image_tokens(model_id: str, width: int, height: int) -> int:
    """The tokens of an input image.

    From GPT Image 2 on, patches of 32 pixels, at most 1536 of them; a small image is first enlarged towards 1024
    pixels, at most twice (third party, confirmed by recorded traffic for 128x128). Before, tiles of 512 pixels, with
    the shorter edge scaled down to 512: 194 tokens for 1024x1024 (recorded traffic).
    """
    if _family(model_id) in ("gpt-image-1", "gpt-image-1.5", "gpt-image-1-mini"):
        shrink = min(1.0, 512 / min(width, height))
        return 65 + 129 * math.ceil(width * shrink / 512) * math.ceil(height * shrink / 512)
    enlarge = max(1.0, min(2.0, 1024 / max(width, height)))
    patches = math.ceil(width * enlarge / _PATCH) * math.ceil(height * enlarge / _PATCH)
    return min(patches, _MOST_PATCHES)


def _by_cells(cells: int, size: Size) -> int:
    long, short = max(size.width, size.height), min(size.width, size.height)
    # Whole numbers only: floor(cells * short / long + 1/2) rows, and the result rounded up.
    rows = (2 * cells * short + long) // (2 * long)
    return -(-cells * rows * (2_000_000 + size.pixels) // 4_000_000)


def _shape(size: Size) -> int:
    if size.width == size.height:
        return 0
    return 1 if size.width < size.height else 2


def _family(model_id: str) -> str:
    """``gpt-image-2.6`` for ``gpt-image-2.6-flare``; empty for DALL·E, which counts no tokens."""
    return model_id.removesuffix("-sunburst").removesuffix("-flare") if model_id.startswith("gpt-image-") else ""
