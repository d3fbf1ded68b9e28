"""Finds the adapter of a provider."""

from __future__ import annotations

from functools import cache

from ..providers.schema import ProviderConfig
from .base import Adapter

__all__ = ["adapter_of"]


@cache
def adapter_of(provider: ProviderConfig) -> Adapter:
    """The adapter that speaks a provider's wire format; its module loads when it is first used."""
    match provider.adapter:
        case "gemini":
            from .gemini import GeminiAdapter

            return GeminiAdapter(provider)
        case "openai_images":
            from .openai_images import OpenAIImagesAdapter

            return OpenAIImagesAdapter(provider)
