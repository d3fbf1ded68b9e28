"""Estimates what images and calls will cost. An unknown cost is None, never zero."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..providers.schema import ModelConfig, Prices
from ..providers.sizings import FlexibleSizing
from ..sizing import DEFAULT_EDGE, Size, SizeChoice
from .prices import MILLION
from .tables import entries, possible_sizes, qualities_of
from .tokens import Basis, TokenCount, image_tokens, input_image_tokens, prompt_tokens, weakest

__all__ = [
    "Estimate",
    "EstimatePart",
    "ImagePrice",
    "ListedPrice",
    "PartName",
    "PriceRange",
    "Tier",
    "cheapest_quality",
    "estimate_call",
    "estimate_sum",
    "image_price",
    "listed_prices",
    "price_range",
    "prices_of_tier",
    "text_price",
    "usual_choice",
    "whole_price",
]

Tier = Literal["standard", "batch", "flex"]
"""How fast, and how dear, a call is: at once; within a day; when there is room."""


@dataclass(frozen=True, slots=True)
class ImagePrice:
    """The price of one image, or of a part of a call, in USD.

    Attributes:
        usd: What it usually costs; None if that depends on what the model chooses, or is unknown.
        at_most_usd: The most that it costs; None if that is unknown.
        basis: How well the two are known: ``exact``, ``table``, ``bounded`` or ``unknown``.
    """

    usd: float | None
    at_most_usd: float | None
    basis: Basis

    def times(self, n: int) -> ImagePrice:
        """The price of ``n`` of it."""
        return ImagePrice(_times(self.usd, n), _times(self.at_most_usd, n), self.basis)


_UNKNOWN = ImagePrice(None, None, "unknown")
_NOTHING = ImagePrice(0.0, 0.0, "exact")


def prices_of_tier(prices: Prices, tier: Tier) -> Prices | None:
    """The prices of a service tier; None if the provider lists no such prices."""
    if tier == "standard":
        return prices
    if (share := _share_of_tier(prices, tier)) is None:
        return None
    by_token = ("text_in", "image_in", "text_out", "image_out", "cached_text_in", "cached_image_in")
    names = (*by_token, "per_megapixel", "per_input_image")
    reduced: dict[str, object] = {name: _times(getattr(prices, name), share) for name in names}
    reduced["per_image"] = {name: _times(usd, share) for name, usd in prices.per_image.items()}
    return prices.model_copy(update={**reduced, "batch": None, "flex": None})


def _share_of_tier(prices: Prices, tier: Tier) -> float | None:
    """The share of the standard prices that a service tier costs; None if the provider lists no such prices."""
    return {"standard": 1.0, "batch": prices.batch, "flex": prices.flex}[tier]


def image_price(
    model: ModelConfig, size: SizeChoice, quality: str | None = None, *, tier: Tier = "standard"
) -> ImagePrice:
    """What one finished image costs, without what is sent and without the text that is billed with it.

    Args:
        model: The model, with the prices of the day.
        size: The size that is sent; an empty one if the model chooses it, then up to its dearest size.
        quality: The quality that is sent; None or ``auto`` if the model chooses it, then up to its dearest quality.
        tier: The service tier.
    """
    quality = None if quality in (None, "", "auto") else quality
    prices, share = prices_of_tier(model.prices, tier), _share_of_tier(model.prices, tier)
    if prices is None or share is None:
        return _UNKNOWN
    if prices.is_by_image:
        return _by_image(model, size, quality, prices)
    if model.image_prices:
        found = [_times(usd, share) for usd in entries(model.image_prices, model, size, quality)]
        return _any_of(found, "table")
    return _price(image_tokens(model, size, quality), prices.image_out)


def usual_choice(model: ModelConfig, size: SizeChoice, quality: str | None) -> tuple[SizeChoice, str | None]:
    """A size and a quality with what the model usually chooses in the place of what is left to it, as far as known."""
    usual = model.usual_choice
    if size == SizeChoice() and usual.size and model.sizing.allows(usual.size):
        size = SizeChoice(usual.size)
    if quality in (None, "", "auto"):
        quality = usual.quality if usual.quality in qualities_of(model) else None
    return size, quality


def _by_image(model: ModelConfig, size: SizeChoice, quality: str | None, prices: Prices) -> ImagePrice:
    """What an image costs by its size and quality, its area, and its tokens if they have a price too."""
    parts = []
    if prices.per_image:
        parts.append(_any_of(entries(prices.per_image, model, size, quality), "exact"))
    if prices.per_megapixel is not None:
        parts.append(_by_area(model, size, prices.per_megapixel))
    if prices.bills("image_out"):
        parts.append(_price(image_tokens(model, size, quality), prices.image_out))
    return _sum(parts)


def _by_area(model: ModelConfig, size: SizeChoice, usd_per_megapixel: float) -> ImagePrice:
    if size.size is None and isinstance(model.sizing, FlexibleSizing):
        return ImagePrice(None, _times(usd_per_megapixel, model.sizing.max_pixels / MILLION), "bounded")
    sizes = (choice.size for choice in possible_sizes(model, size))
    return _any_of([_times(usd_per_megapixel, each.pixels / MILLION) if each else None for each in sizes], "exact")


def _any_of(prices: Sequence[float | None], basis: Basis) -> ImagePrice:
    """The price of an image that has one of these; only a bound if they differ."""
    found = {price for price in prices if price is not None}
    if not found or None in prices:
        return _UNKNOWN
    most = max(found)
    return ImagePrice(most, most, basis) if len(found) == 1 else ImagePrice(None, most, "bounded")


def _one_or_more(usd: float, n: int) -> ImagePrice:
    return ImagePrice(usd, usd, "exact") if n == 1 or not usd else ImagePrice(None, _times(usd, n), "bounded")


def text_price(model: ModelConfig, *, tier: Tier = "standard") -> ImagePrice | None:
    """The price of the text and the thoughts that are billed with an image: nothing, up to ``max_text_tokens``.

    None for a model that bills no text.
    """
    if not model.max_text_tokens or not model.prices.bills("text_out"):
        return None
    prices = prices_of_tier(model.prices, tier)
    return _price(TokenCount(0, model.max_text_tokens, "bounded"), prices.text_out if prices else None)


PartName = Literal["images", "text", "input_images", "prompt", "previews", "web_search"]


@dataclass(frozen=True, slots=True)
class EstimatePart:
    """What a part of a call or of several costs.

    Attributes:
        name: Which part: the finished images, the text and the thoughts that are billed with them, the input images
            with the mask, the prompt, the previews, web searches.
        price: Its price.
    """

    name: PartName
    price: ImagePrice


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a call or several will cost.

    Attributes:
        parts: What costs something.
    """

    parts: tuple[EstimatePart, ...]

    @property
    def total(self) -> ImagePrice:
        """The whole price. The prompt does not weaken the basis: it is always estimated, up to a bound."""
        total = _sum(tuple(part.price for part in self.parts))
        if total.basis == "unknown":
            return total
        return ImagePrice(
            total.usd, total.at_most_usd, weakest(*(part.price.basis for part in self.parts if part.name != "prompt"))
        )

    @property
    def expected_usd(self) -> float | None:
        """What to expect: what is usual, and for what is sent its bound if nothing else is known of it.

        None if the usual price of the images is unknown, or the most that another part costs.
        """
        if self.part("images").usd is None:
            return None
        prices = [part.price.usd if part.price.usd is not None else part.price.at_most_usd for part in self.parts]
        known = [price for price in prices if price is not None]
        return _times(sum(known), 1) if len(known) == len(prices) else None

    def part(self, name: PartName) -> ImagePrice:
        """The price of a part; nothing if there is no such part."""
        return next((part.price for part in self.parts if part.name == name), _NOTHING)


def estimate_call(
    model: ModelConfig,
    *,
    size: SizeChoice,
    quality: str | None = None,
    n: int = 1,
    prompt: str = "",
    input_sizes: Sequence[Size] = (),
    mask_size: Size | None = None,
    high_fidelity: bool = False,
    previews: int = 0,
    web_search: bool = False,
    tier: Tier = "standard",
) -> Estimate:
    """What a call will cost.

    Args:
        model: The model, with the prices of the day.
        size: The size that is sent.
        quality: The quality that is sent; None if the model chooses it.
        n: How many images the call makes. The prompt and the input images are billed with each.
        prompt: The prompt.
        input_sizes: The sizes in pixels of the input images, as they are sent.
        mask_size: The size of the mask or the markup; None without one. It counts as one more input image.
        high_fidelity: True if the option ``input_fidelity`` is ``high``.
        previews: How many previews of each image are asked for; fewer may come.
        web_search: True if the model may search the web, as often as it likes.
        tier: The service tier.
    """
    prices = prices_of_tier(model.prices, tier)
    parts = [EstimatePart("images", image_price(model, size, quality, tier=tier).times(n))]
    if text := text_price(model, tier=tier):
        parts.append(EstimatePart("text", text.times(n)))
    sent = [input_image_tokens(model, each, high_fidelity=high_fidelity) for each in input_sizes]
    if mask_size:
        mask = input_image_tokens(model, mask_size)
        # Not every service bills a mask.
        sent.append(TokenCount(0, mask.at_most, mask.basis if mask.basis == "unknown" else "bounded"))
    if sent and model.prices.bills("image_in"):
        price = _sum(tuple(_price(count, prices.image_in if prices else None) for count in sent))
        parts.append(EstimatePart("input_images", price.times(n)))
    if input_sizes and model.prices.per_input_image is not None:
        usd = _times(prices.per_input_image if prices else None, len(input_sizes))
        # With several images in one response, whether each of them is billed with its input is not published.
        parts.append(EstimatePart("input_images", _UNKNOWN if usd is None else _one_or_more(usd, n)))
    if prompt and model.prices.bills("text_in"):
        price = _price(prompt_tokens(prompt), prices.text_in if prices else None)
        parts.append(EstimatePart("prompt", price.times(n)))
    if previews and model.preview_tokens and model.prices.bills("image_out"):
        tokens = previews * model.preview_tokens
        price = _price(TokenCount(tokens, tokens, "bounded"), prices.image_out if prices else None)
        parts.append(EstimatePart("previews", price.times(n)))
    if web_search:
        # How many queries a model sends is not known before, nor how many of them are free.
        parts.append(EstimatePart("web_search", _UNKNOWN))
    return Estimate(tuple(parts))


def whole_price(model: ModelConfig, size: SizeChoice, quality: str | None = None, *, previews: int = 0) -> ImagePrice:
    """What one image costs with the text and the previews that are billed with it, without what is sent.

    ``usd`` is what to expect, with what the model usually chooses of what is left to it; ``at_most_usd`` is the most.
    """
    total = estimate_call(model, size=size, quality=quality, previews=previews).total
    usual_size, usual_quality = usual_choice(model, size, quality)
    usual = estimate_call(model, size=usual_size, quality=usual_quality, previews=previews).expected_usd
    return ImagePrice(usual, total.at_most_usd, total.basis)


def estimate_sum(estimates: Sequence[Estimate]) -> Estimate:
    """What several calls will cost together."""
    names = dict.fromkeys(part.name for estimate in estimates for part in estimate.parts)
    return Estimate(
        tuple(EstimatePart(name, _sum(tuple(estimate.part(name) for estimate in estimates))) for name in names)
    )


@dataclass(frozen=True, slots=True)
class ListedPrice:
    """The price of one image of a size that a model offers.

    Attributes:
        size: The size.
        quality: The quality; None for a model without qualities.
        price: The price.
    """

    size: SizeChoice
    quality: str | None
    price: ImagePrice


def listed_prices(model: ModelConfig, *, tier: Tier = "standard") -> tuple[ListedPrice, ...]:
    """The price of one image at each size that a model offers and at each of its qualities."""
    return tuple(
        ListedPrice(size, quality, image_price(model, size, quality, tier=tier))
        for size in model.sizing.presets()
        for quality in qualities_of(model)
    )


def cheapest_quality(model: ModelConfig, size: SizeChoice) -> ListedPrice | None:
    """The quality at which an image of a size costs least; None for a model without qualities or without prices."""
    prices = [
        ListedPrice(size, quality, image_price(model, size, quality)) for quality in qualities_of(model) if quality
    ]
    known = [entry for entry in prices if entry.price.at_most_usd is not None]
    return min(known, key=lambda entry: entry.price.at_most_usd or 0.0, default=None)


@dataclass(frozen=True, slots=True)
class PriceRange:
    """What one image costs at the sizes and qualities that a model offers, in USD.

    Attributes:
        low_usd: The least, at the cheapest size and quality.
        high_usd: The most, at the dearest.
        basis: How well the prices are known.
    """

    low_usd: float
    high_usd: float
    basis: Basis


def price_range(model: ModelConfig, *, usual_sizes: bool = False) -> PriceRange | None:
    """The range of the prices of one image, from those that are known; None if all are unknown.

    Args:
        model: The model, with the prices of the day.
        usual_sizes: True for the sizes of half a megapixel to two, which every provider makes if you do not name a
            size; if there are such.
    """
    listed = listed_prices(model) or (ListedPrice(SizeChoice(), None, image_price(model, SizeChoice())),)
    usual = [entry for entry in listed if usual_sizes and entry.size.size and _is_usual(entry.size.size)]
    known = [entry.price for entry in usual or listed if entry.price.at_most_usd is not None]
    if not known:
        return None
    low = min(price.usd if price.usd is not None else price.at_most_usd or 0.0 for price in known)
    high = max(price.at_most_usd or 0.0 for price in known)
    return PriceRange(low, high, weakest(*(price.basis for price in known)))


def _is_usual(size: Size) -> bool:
    return abs(math.log2(size.pixels / DEFAULT_EDGE**2)) <= 1


def _price(tokens: TokenCount, usd_per_million: float | None) -> ImagePrice:
    if tokens.at_most == 0:
        return _NOTHING
    if usd_per_million is None or tokens.basis == "unknown":
        return _UNKNOWN
    usd, at_most = (_times(count, usd_per_million) for count in (tokens.usual, tokens.at_most))
    return ImagePrice(_times(usd, 1 / MILLION), _times(at_most, 1 / MILLION), tokens.basis)


def _sum(prices: Sequence[ImagePrice]) -> ImagePrice:
    usual = [price.usd for price in prices if price.usd is not None]
    at_most = [price.at_most_usd for price in prices if price.at_most_usd is not None]
    return ImagePrice(
        _times(sum(usual), 1) if len(usual) == len(prices) else None,
        _times(sum(at_most), 1) if len(at_most) == len(prices) else None,
        weakest(*(price.basis for price in prices)),
    )


def _times(value: float | None, factor: float) -> float | None:
    """A product without what binary fractions add to it."""
    return None if value is None else round(value * factor, 12)
