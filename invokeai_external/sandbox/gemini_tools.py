"""Reads the tools and safety settings of a ``generateContent`` request, and says what a search found.

The names are those of the official SDK's types (google-genai 3.6). Which models search: Google's guides and third
parties; what the API says to the others was not recorded.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import quote_plus

from .errors import Refusal, gemini_error, gemini_unknown_names

__all__ = ["check_safety_settings", "grounding_metadata", "read_searches"]

_CATEGORIES = (
    "HARM_CATEGORY_HARASSMENT",
    "HARM_CATEGORY_HATE_SPEECH",
    "HARM_CATEGORY_SEXUALLY_EXPLICIT",
    "HARM_CATEGORY_DANGEROUS_CONTENT",
    "HARM_CATEGORY_CIVIC_INTEGRITY",
)
_THRESHOLDS = ("BLOCK_LOW_AND_ABOVE", "BLOCK_MEDIUM_AND_ABOVE", "BLOCK_ONLY_HIGH", "BLOCK_NONE", "OFF")

_OTHER_TOOLS = ("functionDeclarations", "codeExecution", "urlContext", "googleMaps", "fileSearch", "computerUse")
"""Tools of the API that the image models do not have."""

_IMAGE_SEARCH = ("gemini-nano-banana-2.1", "gemini-3.1-flash-image", "gemini-3.1-flash-image-preview")
_WEB_SEARCH = (*_IMAGE_SEARCH, "gemini-3-pro-image", "gemini-3-pro-image-preview")

_SEARCH_TYPES = {
    "webSearch": "webSearch",
    "web_search": "webSearch",
    "imageSearch": "imageSearch",
    "image_search": "imageSearch",
}
"""In JSON of protocol buffers, a name may be in either case."""


def check_safety_settings(settings: Sequence[object]) -> None:
    """Check ``safetySettings``; raises Refusal."""
    seen = set()
    for place, setting in enumerate(settings):
        path = f"safety_settings[{place}]"
        if not isinstance(setting, dict):
            raise gemini_error(400, f"Invalid value at '{path}': a message was expected.")
        for name in setting:
            if name not in ("category", "threshold"):
                raise gemini_unknown_names([(str(name), path)])
        category, threshold = setting.get("category"), setting.get("threshold")
        if category not in _CATEGORIES:
            raise _bad_enum(f"{path}.category", "HarmCategory", category)
        if threshold not in _THRESHOLDS:
            raise _bad_enum(f"{path}.threshold", "SafetySetting.HarmBlockThreshold", threshold)
        if category in seen:
            raise gemini_error(
                400, f"* GenerateContentRequest.{path}: element predicate failed: duplicate category {category}\n"
            )
        seen.add(category)


def read_searches(tools: Sequence[object], model: str) -> tuple[str, ...]:
    """The searches that the tools of a request allow: ``webSearch``, ``imageSearch``; raises Refusal."""
    searches: list[str] = []
    for place, tool in enumerate(tools):
        if not isinstance(tool, dict) or not tool:
            raise gemini_error(400, f"Invalid value at 'tools[{place}]': a tool was expected.")
        for name, value in tool.items():
            kind = {"google_search": "googleSearch"}.get(name, name)
            if kind in _OTHER_TOOLS:
                raise gemini_error(400, f"Tool {kind} is not supported for this model.")
            if kind != "googleSearch":
                raise gemini_unknown_names([(str(name), f"tools[{place}]")])
            searches += _search_types(value, place)
    if searches and model not in _WEB_SEARCH:
        raise gemini_error(400, "Search Grounding is not supported.")
    if "imageSearch" in searches and model not in _IMAGE_SEARCH:
        raise gemini_error(400, "Image search is not supported for this model.")
    return tuple(dict.fromkeys(searches))


def _search_types(value: object, place: int) -> list[str]:
    """The kinds of search of one ``googleSearch``; without any, a web search."""
    path = f"tools[{place}].google_search"
    if not isinstance(value, dict):
        raise gemini_error(400, f"Invalid value at '{path}': a message was expected.")
    types = value.get("searchTypes", value.get("search_types"))
    if types is None:
        return ["webSearch"]
    if not isinstance(types, dict):
        raise gemini_error(400, f"Invalid value at '{path}.search_types': a message was expected.")
    for name in types:
        if name not in _SEARCH_TYPES:
            raise gemini_unknown_names([(str(name), f"{path}.search_types")])
    return [_SEARCH_TYPES[name] for name in types] or ["webSearch"]


def grounding_metadata(searches: Sequence[str], prompt: str) -> dict[str, object]:
    """What the searches of a response found: pages and images on ``example.com``, always the same for a prompt."""
    query = " ".join(prompt.split())[:80]
    found: dict[str, object] = {}
    chunks: list[dict[str, object]] = []
    if "webSearch" in searches:
        found["webSearchQueries"] = [query]
        chunks += [
            {"web": {"uri": f"https://example.com/{place}?q={quote_plus(query)}", "title": f"About {query} ({place})"}}
            for place in (1, 2)
        ]
    if "imageSearch" in searches:
        found["imageSearchQueries"] = [query]
        page = f"https://example.com/images?q={quote_plus(query)}"
        image = {"sourceUri": page, "imageUri": f"{page}&format=png", "title": query, "domain": "example.com"}
        chunks.append({"image": image})
    found["groundingChunks"] = chunks
    found["searchEntryPoint"] = {"renderedContent": f"<div>Google Search: {len(query)} characters</div>"}
    return found


def _bad_enum(path: str, kind: str, value: object) -> Refusal:
    return gemini_error(
        400,
        f"Invalid value at '{path}' (type.googleapis.com/google.ai.generativelanguage.v1beta.{kind}), "
        f"{json.dumps(value)}",
    )
