"""The options that have a flag in ``generate``, with its type and help: ``make docs`` writes it from the YAML files.

It imports nothing, for ``--help``.
"""

from __future__ import annotations

__all__ = ["FLAGS"]

# fmt: off
FLAGS: dict[str, tuple[type[str] | type[int] | type[float], str]] = {
    "temperature": (float, "Gemini: 0 to 1."),
    "thinking_level": (str, "Gemini: minimal, medium or high."),
    "safety": (
        str,
        "Gemini: from when on harmful content is blocked: block_low_and_above, block_medium_and_above, block_only_high,"
        " block_none or off."
    ),
    "web_search": (
        str,
        "Gemini: off, web, which lets the model search the web first, or image, for images as well. Google bills each "
        "search query."
    ),
    "quality": (
        str,
        "OpenAI: auto, low, medium or high; from GPT Image 2.5 also xhigh and max; DALL·E 3: standard or hd."
    ),
    "background": (str, "OpenAI: auto, opaque or transparent."),
    "input_fidelity": (str, "OpenAI, GPT Image 1.5 and older, with input images: low or high."),
    "moderation": (str, "OpenAI: auto or low, which is less strict."),
    "output_format": (str, "OpenAI: png, jpeg or webp; gif and svg are experimental."),
    "output_compression": (int, "OpenAI, jpeg and webp: 0 to 100; 100, the default, is the best quality."),
    "frame_count": (int, "OpenAI, gif: 2 to 16 frames.  [default: 9]"),
    "frame_duration_ms": (int, "OpenAI, gif: how long each frame is shown, in milliseconds.  [default: 200]"),
    "complexity": (
        str,
        "OpenAI, GPT Image 2.6: how much the model plans first: low, medium or high.  [default: high]"
    ),
    "style": (str, "DALL·E 3: vivid or natural."),
}
