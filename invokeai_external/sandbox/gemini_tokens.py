"""How many tokens Google's Gemini image models count.

Source: Google's price pages and recorded traffic; where these are silent, guesses that are marked as such.
"""

from __future__ import annotations

from .meter import Tokens

__all__ = [
    "count_gemini_tokens",
    "count_hidden_text",
    "count_thoughts",
    "input_image_tokens",
    "output_image_tokens",
]

_PRO = {"1K": 1120, "2K": 1120, "4K": 2000}
_FLASH = {"512": 747, "1K": 1120, "2K": 1680, "4K": 2520}

_OUTPUT = {
    "gemini-nano-banana-2.1": {"1K": 1120, "2K": 1680, "4K": 3780},
    "gemini-3-pro-image": _PRO,
    "gemini-3-pro-image-preview": _PRO,
    "gemini-3.1-flash-lite-image": {"1K": 1120},
    "gemini-3.1-flash-image": _FLASH,
    "gemini-3.1-flash-image-preview": _FLASH,
}
"""The tokens of a finished image by its size."""

_OUTPUT_OF_25 = 1290

_INPUT = {"gemini-2.5-flash-image": 258, "gemini-3-pro-image": 560, "gemini-3-pro-image-preview": 560}
"""The tokens of an input image in Google's documentation."""

_INPUT_OTHERWISE = 1120
"""That of gemini-3.1-flash-lite-image in recorded traffic; a guess for the others."""


def output_image_tokens(model_id: str, image_size: str | None) -> int:
    """The tokens of a finished image."""
    return _OUTPUT[model_id][image_size or "1K"] if model_id in _OUTPUT else _OUTPUT_OF_25


def input_image_tokens(model_id: str) -> int:
    """The tokens of an input image of any size."""
    return _INPUT.get(model_id, _INPUT_OTHERWISE)


def count_thoughts(seed: int) -> int:
    """The tokens of the thoughts of a model that thinks, 200 to 799: a guess."""
    return 200 + seed % 600


def count_hidden_text(seed: int) -> int:
    """The tokens of a response that are neither its image nor its words, and that cost as much as text, 0 to 299.

    That there are such tokens is from recorded traffic, how many is a guess.
    """
    return seed % 300


def count_gemini_tokens(
    model_id: str,
    *,
    text_in: int,
    images_in: int,
    text_out: int,
    thoughts: int,
    image_size: str | None,
    has_image: bool,
) -> Tokens:
    """The tokens of a request for one image and of its response."""
    return Tokens(
        text_in=text_in,
        image_in=images_in * input_image_tokens(model_id),
        text_out=text_out,
        thoughts=thoughts,
        image_out=output_image_tokens(model_id, image_size) if has_image else 0,
    )
