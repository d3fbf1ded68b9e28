"""What the metadata of a gallery image says of its cost, its model and its notices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...pricing.prices import MAX_USD
from ...untrusted_number import number
from ...untrusted_text import NAME, fit_to_show

__all__ = ["ImageFacts", "image_facts"]


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """An image, as its metadata describes it.

    Attributes:
        cost_usd: What it cost in USD; None if its metadata does not say.
        model: The model that made it, as ``provider/model``; empty if its metadata does not say.
        notices: What was changed or not sent.
    """

    cost_usd: float | None = None
    model: str = ""
    notices: tuple[str, ...] = ()


def image_facts(metadata: Mapping[str, Any]) -> ImageFacts:
    """The facts in the metadata of an image, which may hold anything: anyone can upload an image with any metadata."""
    external = metadata.get("external")
    if not isinstance(external, Mapping):
        return ImageFacts()
    provider, model = (fit_to_show(external.get(name), NAME) for name in ("provider", "model"))
    notices = external.get("notices")
    messages = [
        fit_to_show(notice.get("message"))
        for notice in (notices if isinstance(notices, list) else ())
        if isinstance(notice, Mapping)
    ]
    return ImageFacts(
        number(external.get("cost_usd"), 0, MAX_USD),
        f"{provider}/{model}" if provider and model else "",
        tuple(message for message in messages if message),
    )
