"""The words in a picture of the sandbox: the badge, the prompt, the model and the size, and thumbnails."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont, ImageOps

if TYPE_CHECKING:
    from .drawing import Scene

__all__ = ["Lettering"]

_MOST_LINES = 3
_MOST_THUMBNAILS = 6
_PANEL = (12, 14, 24, 178)
_SOLID_PANEL = (12, 14, 24, 255)
_INK = (255, 255, 255, 255)
_QUIET_INK = (255, 255, 255, 190)
_BADGE_TEXT = "SANDBOX"
_BADGE_INK = (20, 22, 34, 255)
_BADGE = (255, 255, 255, 235)

# Pillow's own font has ASCII and little else; these are common in prompts and have no decomposition in Unicode.
_PLAIN = str.maketrans(
    "\u2014\u2013\u2011\u2212\u2019\u2018\u00d7\u00df\u00f8\u00d8\u0142\u0141\u0111\u0110\u00e6\u00c6\u0153\u0152",
    "----''xsoOlLdDaAoO",
)


@lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)


def drawable(prompt: str) -> str:
    """The prompt in letters that Pillow's own font has: accents go, other scripts become an ellipsis."""
    folded = unicodedata.normalize("NFKD", prompt[:600].translate(_PLAIN))
    letters = []
    for letter in folded:
        if unicodedata.combining(letter):
            continue
        if letter.isspace() or (letter.isascii() and letter.isprintable()) or letter in "“”":
            letters.append(" " if letter.isspace() else letter)
        elif letters[-1:] != ["…"]:
            letters.append("…")
    text = " ".join("".join(letters).split())
    return text if any(letter.isalnum() for letter in text) else f"(a prompt of {len(prompt)} characters)"


class Lettering:
    """Sets words on one picture, in place, at the picture's own resolution.

    All measures follow from ``unit``, a twenty-eighth of the shorter edge, so that a caption looks the same at every
    size.
    """

    def __init__(self, picture: Image.Image) -> None:
        self._picture = picture
        width, height = picture.size
        # A very wide or tall picture gets somewhat larger letters, or nobody could read them in a preview.
        stretch = max(width, height) / min(width, height)
        self._unit = max(5.0, min(width, height) / 28 * min(1.5, stretch**0.2))
        self._badge_font = _font(max(8, round(self._unit * 0.86)))

    def caption(self, scene: Scene) -> None:
        """The badge at the top, the prompt with the model and the size at the bottom, thumbnails above them."""
        self._badge(min(self._unit * 1.1, self._picture.width * 0.1), min(self._unit * 1.1, self._picture.height * 0.1))
        unit, (width, height) = self._unit, self._picture.size
        font, small = _font(round(unit * 1.12)), _font(max(8, round(unit * 0.68)))
        margin, pad = unit * 1.1, unit * 0.85
        room = min(width - 2 * margin, unit * 44) - 2 * pad
        lines = _wrapped(drawable(scene.prompt), font, room)
        facts = _cut(f"{scene.label}   {scene.size}", small, room)
        line_height, fact_height = unit * 1.5, unit * 0.95
        panel_height = pad * 1.6 + line_height * len(lines) + fact_height
        widest = max(font.getlength(line) for line in lines)
        panel_width = max(widest, small.getlength(facts)) + 2 * pad
        # Over a picture that may have a caption already, the panel covers all of it.
        panel = _SOLID_PANEL if scene.base else _PANEL
        if scene.base or panel_width > room * 0.72:
            panel_width = room + 2 * pad
        left, top = margin, height - margin - panel_height
        self._plate((left, top, left + panel_width, top + panel_height), unit * 0.6, panel)
        y = top + pad * 0.75
        for line in lines:
            self._text((left + pad, y + line_height * 0.42), line, font, _INK)
            y += line_height
        self._text((left + pad, y + fact_height * 0.55), facts, small, _QUIET_INK)
        self._thumbnails(scene, margin, top)

    def badge_in_the_middle(self) -> None:
        """The word SANDBOX alone, where it shows through a mask of any shape most surely."""
        wide, tall = self._badge_size()
        self._badge((self._picture.width - wide) / 2, (self._picture.height - tall) / 2)

    def _badge(self, left: float, top: float) -> None:
        wide, tall = self._badge_size()
        self._plate((left, top, left + wide, top + tall), tall / 2, _BADGE)
        self._text((left + self._unit * 0.75, top + tall / 2), _BADGE_TEXT, self._badge_font, _BADGE_INK)

    def _badge_size(self) -> tuple[float, float]:
        return self._badge_font.getlength(_BADGE_TEXT) + self._unit * 1.5, self._unit * 1.75

    def _thumbnails(self, scene: Scene, margin: float, bottom: float) -> None:
        """A strip of the references above the caption; more than fit are counted in the last place."""
        unit, (width, _) = self._unit, self._picture.size
        edge, gap = round(unit * 3.4), round(unit * 0.45)
        places = max(1, min(_MOST_THUMBNAILS, int((width - 2 * margin + gap) // (edge + gap))))
        top = round(bottom - gap * 1.4 - edge)
        shown = scene.references[:places]
        for i, reference in enumerate(shown):
            left = round(margin + i * (edge + gap))
            frame = (left - unit * 0.1, top - unit * 0.1, left + edge + unit * 0.1, top + edge + unit * 0.1)
            self._plate(frame, unit * 0.35, _BADGE)
            thumbnail = ImageOps.fit(reference.convert("RGBA"), (edge, edge), Image.Resampling.BICUBIC)
            self._picture.paste(thumbnail.convert("RGB"), (left, top), thumbnail.getchannel("A"))
            if i == places - 1 and len(scene.references) > places:
                self._plate((left, top, left + edge, top + edge), unit * 0.3, _PANEL)
                more, font = f"+{len(scene.references) - places + 1}", _font(round(unit * 1.1))
                self._text((left + (edge - font.getlength(more)) / 2, top + edge / 2), more, font, _INK)

    def _plate(self, box: tuple[float, float, float, float], radius: float, colour: tuple[int, int, int, int]) -> None:
        """A rounded rectangle; opaque where the picture has alpha, so that words stay readable on any background."""
        left, top, right, bottom = (round(value) for value in box)
        wide, tall = max(1, right - left), max(1, bottom - top)
        shape = Image.new("L", (2 * wide, 2 * tall), 0)
        ImageDraw.Draw(shape).rounded_rectangle((0, 0, 2 * wide - 1, 2 * tall - 1), radius=radius * 2, fill=255)
        shape = shape.reduce(2)
        if self._picture.mode == "RGBA":
            plate = Image.new("RGBA", shape.size, (*colour[:3], 0))
            plate.putalpha(shape)
            self._picture.alpha_composite(plate, (max(0, left), max(0, top)))
        else:
            self._picture.paste(colour[:3], (left, top), shape.point([v * colour[3] // 255 for v in range(256)]))

    def _text(
        self,
        place: tuple[float, float],
        text: str,
        font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
        ink: tuple[int, int, int, int],
    ) -> None:
        """One line of text, its vertical middle at ``place``."""
        solid = tuple(round(channel * ink[3] / 255) for channel in ink[:3])
        fill = (*solid, 255) if self._picture.mode == "RGBA" else solid
        ImageDraw.Draw(self._picture).text(place, text, font=font, fill=fill, anchor="lm")


def _cut(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, room: float) -> str:
    """The text, ended with an ellipsis if it is wider than ``room`` pixels."""
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(text + "…") > room:
        text = text[:-1]
    return text.rstrip() + "…"


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, room: float) -> list[str]:
    """Break text into at most three lines of at most ``room`` pixels; what is left over becomes an ellipsis."""
    lines: list[str] = []
    words = text.split()
    while words and len(lines) < _MOST_LINES:
        line = words.pop(0)
        while words and font.getlength(f"{line} {words[0]}") <= room:
            line = f"{line} {words.pop(0)}"
        lines.append(line)
    if words:
        lines[-1] = f"{lines[-1]} {' '.join(words[:8])}"
        return [_cut(line, font, room) for line in lines[:-1]] + [_cut(lines[-1] + "…", font, room)]
    return [_cut(line, font, room) for line in lines]
