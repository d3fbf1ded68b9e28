"""Writes on the sandbox's images: the badge, the prompt, the model and the size, and thumbnails."""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont, ImageOps

__all__ = ["draw_badge", "draw_caption", "drawable"]

_BADGE = "SANDBOX"
_MAX_LINES = 3
"""How many lines of the prompt are shown."""

_DARK, _LIGHT, _QUIET = (20, 22, 34), (255, 255, 255), (190, 192, 200)

_PLAIN = str.maketrans(
    "\u2014\u2013\u2011\u2212\u2019\u2018\u201c\u201d\u00d7\u00df\u00f8\u00d8\u0142\u0141\u0111\u0110",
    "----''\"\"xsoOlLdD",
)
"""Letters that are common in prompts and have no decomposition in Unicode."""


def draw_caption(image: Image.Image, prompt: str, facts: str, references: Sequence[Image.Image]) -> None:
    """Draw the badge at the top, the prompt and the facts in a bar at the bottom, and thumbnails above it."""
    unit, font = _unit(image), _font(round(_unit(image)))
    draw_badge(image, left=unit, top=unit)
    columns = max(4, int((image.width - 2 * unit) / font.getlength("n")))
    lines = textwrap.wrap(drawable(prompt), columns, max_lines=_MAX_LINES, placeholder="…")
    facts_at = len(lines)
    lines += textwrap.wrap(facts, columns)
    top = round(image.height - unit * (1.4 * len(lines) + 1))
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, top, image.width, image.height), fill=_DARK)
    for i, line in enumerate(lines):
        ink = _LIGHT if i < facts_at else _QUIET
        pen.text((unit, top + unit * (1.2 + 1.4 * i)), line, font=font, fill=ink, anchor="lm")
    _draw_thumbnails(image, references, bottom=top - unit)


def draw_badge(image: Image.Image, *, left: float | None = None, top: float | None = None) -> None:
    """Draw the word SANDBOX in the middle, or at another place in pixels."""
    unit = _unit(image)
    font = _font(round(unit))
    width, height = font.getlength(_BADGE) + unit, unit * 1.7
    left = (image.width - width) / 2 if left is None else left
    top = (image.height - height) / 2 if top is None else top
    pen = ImageDraw.Draw(image)
    pen.rounded_rectangle((left, top, left + width, top + height), radius=unit / 3, fill=_DARK)
    pen.text((left + unit / 2, top + height / 2), _BADGE, font=font, fill=_LIGHT, anchor="lm")


def _draw_thumbnails(image: Image.Image, references: Sequence[Image.Image], *, bottom: float) -> None:
    """A row of all references, each as large as fits."""
    if not references:
        return
    unit = _unit(image)
    place = min(unit * 4.5, (image.width - 2 * unit) / len(references))
    edge = max(1, round(place * 0.9))
    for i, reference in enumerate(references):
        thumbnail = ImageOps.expand(ImageOps.fit(reference.convert("RGB"), (edge, edge)), max(1, edge // 30), _LIGHT)
        image.paste(thumbnail, (round(unit + i * place), round(bottom - edge)))


def drawable(prompt: str) -> str:
    """The prompt in letters that Pillow's own font has: accents go, other scripts become an ellipsis."""
    folded = unicodedata.normalize("NFKD", prompt[:600].translate(_PLAIN))
    spaced = " ".join("".join(letter for letter in folded if not unicodedata.combining(letter)).split())
    text = re.sub(r"[^ -~]+", "…", spaced)
    return text if re.search(r"[A-Za-z0-9]", text) else f"(a prompt of {len(prompt)} characters)"


def _unit(image: Image.Image) -> float:
    """The height of the letters in pixels, from which all other measures follow."""
    return max(8.0, min(image.size) / 26)


@lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)
