"""Removes prompt weights: Invoke's templates and prompts contain ``sketch+++`` or ``(concept art)1.2``.

Invoke's own models understand them (the syntax of compel). A provider's model reads them as text.
"""

from __future__ import annotations

import re

from ..result import Notice

__all__ = ["prompt_to_send", "without_weights"]

_GROUP = re.compile(r"(?<!\\)\(([^()]*)(?<!\\)\)(?:\+++|-++|\d++(?:\.\d++)?+)(?![\w+-]|\.\d)")
"""Words in brackets and their weight: ``(words)++``, ``(words)-``, ``(words)1.2``."""

_WORD = re.compile(r"([^\W\d_]{3})(?:\++(?=[\s,.;:!?)\]\"']|$)|-+(?=[,.;:!?)\]]|$))")
"""The end of a word and its weight: ``sketch+++``, ``colour-,``. Not ``C++``, ``A+``, ``18+`` and ``pre- and``."""

_MOST_DEPTH = 8
"""How many brackets around brackets are removed."""


def prompt_to_send(prompt: str, *, strips_weights: bool) -> tuple[str, tuple[Notice, ...]]:
    """A prompt as it is sent, and a notice if it has weights.

    Args:
        prompt: The prompt as it was written.
        strips_weights: Whether it is sent without them.
    """
    without = without_weights(prompt)
    if without == prompt:
        return prompt, ()
    if strips_weights:
        return without, (_STRIPPED,)
    return prompt, (_SENT,)


def without_weights(prompt: str) -> str:
    """A prompt without its weights."""
    text = prompt
    for _ in range(_MOST_DEPTH):
        plain = _GROUP.sub(r"\1", text)
        if plain == text:
            break
        text = plain
    return _WORD.sub(r"\1", text)


_STRIPPED = Notice("prompt_weights", "The weights in the prompt, such as word++ or (words)1.2, were not sent.")

_SENT = Notice(
    "prompt_weights_sent",
    "The weights in the prompt, such as word++ or (words)1.2, were sent, and the model reads them as text. "
    "strip_prompt_weights: true in invokeai_external.yaml leaves them out.",
)
