"""Removes prompt weights: Invoke's templates and prompts contain ``sketch+++`` or ``(concept art)1.2``.

Invoke's own models understand them (the syntax of compel). A provider's model reads them as text.
"""

from __future__ import annotations

import re

from ..result import Notice

__all__ = ["without_weights"]

_GROUP = re.compile(r"(?<!\\)\(([^()]*)(?<!\\)\)(?:\++|-+|\d+(?:\.\d+)?)(?![\w+])")
"""Words in brackets and their weight: ``(words)++``, ``(words)-``, ``(words)1.2``."""

_WORD = re.compile(r"([^\W\d_]{3})(?:\++(?=[\s,.;:!?)\]\"']|$)|-+(?=[,.;:!?)\]]|$))")
"""The end of a word and its weight: ``sketch+++``, ``colour-,``. Not ``C++``, ``A+``, ``18+`` and ``pre- and``."""

_MOST_DEPTH = 8
"""How many brackets around brackets are removed."""


def without_weights(prompt: str) -> tuple[str, tuple[Notice, ...]]:
    """A prompt without its weights, and a notice if there were any."""
    text = prompt
    for _ in range(_MOST_DEPTH):
        plain = _GROUP.sub(r"\1", text)
        if plain == text:
            break
        text = plain
    text = _WORD.sub(r"\1", text)
    if text == prompt:
        return prompt, ()
    return text, (Notice("prompt_weights", "The weights in the prompt, such as word++ or (words)1.2, were not sent."),)
