"""Reads what a Gemini model searched the web for, and what it found: the ``groundingMetadata`` of a response."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..untrusted_text import fit_to_show
from .base import Source
from .fields import get, mapping, mappings, text_of

__all__ = ["searches_of", "sources_of"]

_MOST = 50
"""How many queries and sources of a response are kept; a real response has a few."""

_LONGEST_URL = 2000
"""In characters. Google's links, which forward to the page, have a few hundred."""


def searches_of(candidates: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The queries of all searches, in order."""
    lists = [
        get(found, name) for found in map(_grounding, candidates) for name in ("webSearchQueries", "imageSearchQueries")
    ]
    queries = [fit_to_show(query) for queries in lists if isinstance(queries, list) for query in queries[:_MOST]]
    return tuple(query for query in queries if query)[:_MOST]


def sources_of(candidates: Sequence[Mapping[str, Any]]) -> tuple[Source, ...]:
    """The pages that the searches found, each once."""
    found: dict[str, Source] = {}
    for candidate in candidates:
        for chunk in mappings(get(_grounding(candidate), "groundingChunks"))[:_MOST]:
            web, image = mapping(get(chunk, "web")), mapping(get(chunk, "image"))
            url = text_of(get(web, "uri")) or text_of(get(image, "sourceUri")) or ""
            title = fit_to_show(get(web, "title") or get(image, "title")) or None
            # It is shown as a link, so nothing that would run or hide something.
            if len(url) <= _LONGEST_URL and url.startswith(("https://", "http://")) and _is_plain(url):
                found.setdefault(url, Source(url, title))
    return tuple(found.values())[:_MOST]


def _grounding(candidate: Mapping[str, Any]) -> Mapping[str, Any]:
    return mapping(get(candidate, "groundingMetadata"))


def _is_plain(url: str) -> bool:
    return url.isascii() and url.isprintable() and " " not in url
