"""Finds the adapter of a provider."""

from __future__ import annotations

from functools import cache

from ..providers.schema import ProviderConfig
from .base import Adapter

__all__ = ["adapter_of"]


@cache
def adapter_of(provider: ProviderConfig) -> Adapter:
    """The adapter for a provider's wire format. Its module is imported on first use."""
    match provider.adapter:
        case "gemini":
            from .gemini import GeminiAdapter

            return GeminiAdapter(provider)
        case "openai_images":
            from .openai_images import OpenAIImagesAdapter

            return OpenAIImagesAdapter(provider)
