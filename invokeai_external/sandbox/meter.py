"""The sandbox's meter: what each request would have cost at the service, in tokens and in USD.

Its prices are its own and not those of the catalogue, and its tokens come from its own rules (``openai_tokens.py``,
``gemini_tokens.py``): estimates and budgets can be held against it. Source: the price pages of OpenAI and Google as of
2026-11-29; those of the flare models are from third parties.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

__all__ = ["Tokens", "cost_usd", "metered", "text_tokens"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """The tokens of a request and its response; each is counted in one field only.

    Attributes:
        text_in: Of the prompt.
        image_in: Of input images.
        text_out: Of a response, of everything that is neither an image nor a thought.
        thoughts: Of thoughts, at the price of text.
        image_out: Of finished images.
        previews: Of partial images, at the price of images.
    """

    text_in: int = 0
    image_in: int = 0
    text_out: int = 0
    thoughts: int = 0
    image_out: int = 0
    previews: int = 0


@dataclass(frozen=True, slots=True)
class _Prices:
    """USD per million tokens; ``text_out`` is None for a model that has no text in its responses."""

    text_in: float
    image_in: float
    text_out: float | None
    image_out: float


_GPT_IMAGE_2 = _Prices(5, 8, None, 30)
_FLASH_IMAGE = _Prices(0.5, 0.5, 3, 60)
_PRO_IMAGE = _Prices(2, 2, 12, 120)

_PRICES = {
    "gpt-image-2.6-sunburst": _GPT_IMAGE_2,
    "gpt-image-2.6-flare": _GPT_IMAGE_2,
    "gpt-image-2.5-sunburst": _GPT_IMAGE_2,
    "gpt-image-2.5-flare": _GPT_IMAGE_2,
    "gpt-image-2": _GPT_IMAGE_2,
    "gpt-image-1.5": _Prices(5, 8, 10, 32),
    "gpt-image-1-mini": _Prices(2, 2.5, None, 8),
    "gpt-image-1": _Prices(5, 10, None, 40),
    "gemini-nano-banana-2.1": _Prices(1.5, 1.5, 7.5, 30),
    "gemini-3-pro-image": _PRO_IMAGE,
    "gemini-3-pro-image-preview": _PRO_IMAGE,
    "gemini-3.1-flash-lite-image": _Prices(0.25, 0.25, 1.5, 30),
    "gemini-3.1-flash-image": _FLASH_IMAGE,
    "gemini-3.1-flash-image-preview": _FLASH_IMAGE,
    "gemini-2.5-flash-image": _Prices(0.3, 0.3, 2.5, 30),
}
"""By the model's id. DALL·E is not here: it has no price per token."""


_SEARCH = 0.014
"""USD for a search of Google's (third party; above a free allowance, which is not counted here)."""


def cost_usd(model_id: str, tokens: Tokens, searches: int = 0) -> float | None:
    """What these tokens and searches cost in USD; None if a price is not known."""
    prices = _PRICES.get(model_id)
    text_out = tokens.text_out + tokens.thoughts
    if prices is None or (text_out and prices.text_out is None):
        return None
    millionths = (
        tokens.text_in * prices.text_in
        + tokens.image_in * prices.image_in
        + text_out * (prices.text_out or 0)
        + (tokens.image_out + tokens.previews) * prices.image_out
    )
    return round(millionths / 1_000_000 + searches * _SEARCH, 9)


def metered(model_id: str, tokens: Tokens, searches: int = 0) -> dict[str, object]:
    """What the log of requests shows of a request: its cost in USD, its tokens and how often it searched."""
    return {"usd": cost_usd(model_id, tokens, searches), "tokens": asdict(tokens), "searches": searches}


def text_tokens(text: str) -> int:
    """About one token for four bytes of a text, and at least one; no figure is published."""
    return max(1, -(-len(text.encode(errors="replace")) // 4))
