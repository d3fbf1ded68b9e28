"""The fields of a Gemini request that come from the options of a call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..planning.plan import Call

__all__ = ["generation_config", "less_strict", "safety_settings", "tools"]

_SEARCHES: Mapping[str, Mapping[str, Any]] = {
    # Without types it is a web search, which every version of the API and every gateway understands.
    "web": {},
    "image": {"searchTypes": {"webSearch": {}, "imageSearch": {}}},
}

_CATEGORIES = ("HARASSMENT", "HATE_SPEECH", "SEXUALLY_EXPLICIT", "DANGEROUS_CONTENT")
"""The categories of harm whose threshold can be set, as far as the API still uses them."""


def generation_config(call: Call) -> dict[str, Any]:
    """The ``generationConfig`` of a request."""
    # With TEXT, the model explains a refusal.
    config: dict[str, Any] = {"responseModalities": ["TEXT", "IMAGE"]}
    if call.seed is not None:
        config["seed"] = call.seed
    if "temperature" in call.options:
        config["temperature"] = call.options["temperature"]
    image_config = {"aspectRatio": call.size.aspect_ratio, "imageSize": call.size.image_size}
    if any(image_config.values()):
        config["imageConfig"] = {name: value for name, value in image_config.items() if value}
    if "thinking_level" in call.options:
        config["thinkingConfig"] = {"thinkingLevel": str(call.options["thinking_level"]).upper()}
    if call.previews:
        config.setdefault("thinkingConfig", {})["includeThoughts"] = True
    return config


def less_strict(call: Call) -> str | None:
    """A second sentence of a remedy if the call can have a less strict threshold."""
    can_change = "safety" in call.model.options and call.options.get("safety") not in ("block_none", "off")
    return "The option safety=block_none is less strict." if can_change else None


def safety_settings(call: Call) -> dict[str, Any]:
    """The field of a request with one threshold for each category; empty for the provider's own thresholds."""
    if "safety" not in call.options:
        return {}
    threshold = str(call.options["safety"]).upper()
    return {"safetySettings": [{"category": f"HARM_CATEGORY_{name}", "threshold": threshold} for name in _CATEGORIES]}


def tools(call: Call) -> dict[str, Any]:
    """The field of a request that allows the searches of a call; empty without a search."""
    kind = call.options.get("web_search")
    return {} if kind is None else {"tools": [{"googleSearch": dict(_SEARCHES[str(kind)])}]}
