"""Computes the tokens of images and texts before anything is sent, by the rules and tables that the catalogue names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..providers.schema import ImageTokenRule, ModelConfig
from ..providers.sizings import FlexibleSizing
from ..sizing import Size, SizeChoice
from .tables import entry, possible_sizes, qualities_of

__all__ = ["Basis", "TokenCount", "image_tokens", "input_image_tokens", "prompt_tokens", "weakest"]

Basis = Literal["exact", "table", "bounded", "unknown"]
"""How well a number is known: by an exact rule; from a table of the provider; only up to a bound; not at all."""

_ORDER: tuple[Basis, ...] = ("exact", "table", "bounded", "unknown")

_PATCH = 32
"""The edge in pixels of a patch of an input image."""

_SCALED_TO = 1024
"""The edge in pixels towards which small input images are scaled up, at most twice as large, before they are cut."""

_MAX_PATCHES = 1536
"""The most patches of one input image."""

_TILE = 512
"""The edge in pixels of a tile, and the shorter edge of an input image before it is cut into tiles."""

_ADDED_TEXT_TOKENS = 100
"""More than any service has been seen to add to a prompt: OpenAI adds 32 to one with an image (third party)."""


def weakest(*bases: Basis) -> Basis:
    """How well a sum is known whose parts are known so well."""
    return max(bases, key=_ORDER.index, default="exact")


@dataclass(frozen=True, slots=True)
class TokenCount:
    """A number of tokens.

    Attributes:
        usual: What the model usually uses; None if that depends on what it chooses, or is unknown.
        at_most: The most that it uses; None if that is unknown.
        basis: How well the two are known.
    """

    usual: int | None
    at_most: int | None
    basis: Basis


_UNKNOWN = TokenCount(None, None, "unknown")
_AT_MOST_ALL_PATCHES = TokenCount(_MAX_PATCHES, _MAX_PATCHES, "bounded")


def image_tokens(model: ModelConfig, size: SizeChoice, quality: str | None) -> TokenCount:
    """The output tokens of one finished image.

    Args:
        model: The model.
        size: The size that is sent. If the model chooses it, the tokens are bounded by those of its dearest size.
        quality: The quality that is sent; None if the model chooses it, then bounded by its dearest quality.
    """
    qualities = (quality,) if quality else qualities_of(model)
    counts = [_of_quality(model, size, one) for one in qualities]
    if len(set(counts)) == 1:
        return counts[0]
    at_most = [count.at_most for count in counts if count.at_most is not None]
    return TokenCount(None, max(at_most), "bounded") if len(at_most) == len(counts) else _UNKNOWN


def _of_quality(model: ModelConfig, size: SizeChoice, quality: str | None) -> TokenCount:
    if (tokens := entry(model.image_tokens, model, size, quality)) is not None:
        return TokenCount(tokens, tokens, "table")
    if size.size:
        return _by_rule(model.image_token_rule, quality, size.size)
    counts = [_of_quality(model, each, quality) for each in _sizes(model, size)]
    at_most = [count.at_most for count in counts if count.at_most is not None]
    return TokenCount(None, max(at_most), "bounded") if counts and len(at_most) == len(counts) else _UNKNOWN


def _sizes(model: ModelConfig, size: SizeChoice) -> Sequence[SizeChoice]:
    """Sizes among which is the one with the most tokens that a model can choose."""
    if isinstance(model.sizing, FlexibleSizing):
        # With the same area, a square has the most tokens.
        edge = math.isqrt(model.sizing.max_pixels - 1) + 1
        return (SizeChoice(Size(edge, edge)),)
    return [choice for choice in possible_sizes(model, size) if choice.size]


def _by_rule(rule: ImageTokenRule | None, quality: str | None, size: Size) -> TokenCount:
    if rule is None or quality is None or quality not in rule.quality:
        return _UNKNOWN
    tokens = _gpt_image_2(rule.quality[quality], size)
    usual = math.ceil(tokens * rule.usual.get(quality, 1))
    at_most = math.ceil(tokens * rule.at_most.get(quality, 1))
    return TokenCount(usual, at_most, "exact" if usual == at_most == tokens else "bounded")


def _gpt_image_2(longer: int, size: Size) -> int:
    """The tokens of GPT Image 2 and 2.5, without rounding errors; third party, matches 64 published prices."""
    short, long = sorted((size.width, size.height))
    # floor(longer * short / long + 0.5)
    shorter = (2 * longer * short + long) // (2 * long)
    return -(-longer * shorter * (2_000_000 + size.pixels) // 4_000_000)


def input_image_tokens(model: ModelConfig, size: Size, *, high_fidelity: bool = False) -> TokenCount:
    """The tokens of one input image of a size in pixels, as it is sent.

    Args:
        model: The model.
        size: The size in pixels.
        high_fidelity: True if the option ``input_fidelity`` is ``high``.
    """
    known = model.input_image_tokens
    if known is None:
        return _UNKNOWN
    if known.rule == "fixed":
        return (
            TokenCount(known.tokens, known.tokens, "table")
            if known.exact
            else TokenCount(None, known.tokens, "bounded")
        )
    if known.rule == "patches":
        patches = _patches(size)
        # Larger images are scaled down, to at most so many patches.
        return TokenCount(patches, patches, "table") if patches < _MAX_PATCHES else _AT_MOST_ALL_PATCHES
    tokens = known.tokens + known.per_tile * _tiles(size)
    if high_fidelity:
        return TokenCount(None, tokens + known.high_fidelity, "bounded")
    # Images that are nearly square have been billed as squares.
    return TokenCount(tokens, tokens, "table" if size.width == size.height else "bounded")


def _patches(size: Size) -> int:
    scale = min(2.0, max(1.0, _SCALED_TO / max(size.width, size.height)))
    patches = math.ceil(size.width * scale / _PATCH) * math.ceil(size.height * scale / _PATCH)
    return min(patches, _MAX_PATCHES)


def _tiles(size: Size) -> int:
    scale = min(1.0, _TILE / min(size.width, size.height))
    return math.ceil(size.width * scale / _TILE) * math.ceil(size.height * scale / _TILE)


def prompt_tokens(text: str) -> TokenCount:
    """The tokens of a text: usually one for four characters, and never more than the bytes of its UTF-8."""
    size = len(text.encode("utf-8", "replace"))
    return TokenCount(math.ceil(len(text) / 4), size + _ADDED_TEXT_TOKENS, "bounded")
