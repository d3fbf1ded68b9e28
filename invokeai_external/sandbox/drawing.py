"""Draws the sandbox's images: hills under a sun, in colours and shapes that come from the prompt and the seed.

The same scene always gives the same pixels.
"""

from __future__ import annotations

import colorsys
import math
import random
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFilter, ImageOps

from ..sizing import Size
from .lettering import draw_badge, draw_caption

__all__ = ["Scene", "render"]

_DRAWN_PIXELS = 4 * 1024 * 1024
"""Shapes are drawn at twice the size, which smooths their edges, or at this many pixels if those are fewer."""

_COLUMN = Image.linear_gradient("L").crop((0, 0, 1, 256))
"""From black to white, downwards."""

_HILLS = 5
_GOLDEN_RATIO = 0.618034
"""The step of the hue from one seed to the next: neighbours differ most, and no hue comes twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What to draw.

    Attributes:
        prompt: The caption, and with the seed the source of every shape and colour.
        seed: Any whole number.
        size: The size of the image in pixels.
        label: The model's id, for the caption.
        transparent: True for a transparent background (mode RGBA) around an opaque oval.
        references: Images to show as thumbnails.
        base: The image to edit; None to start from nothing.
        mask: Where to edit it: mode L, 255 = change; needs ``base``. Elsewhere every pixel stays.
        sloppy: True to change every other pixel a little too, as models do that use a mask only for guidance.
    """

    prompt: str
    seed: int
    size: Size
    label: str
    transparent: bool = False
    references: tuple[Image.Image, ...] = ()
    base: Image.Image | None = None
    mask: Image.Image | None = None
    sloppy: bool = False


@dataclass(frozen=True, slots=True)
class _Colours:
    sky: str
    horizon: str
    land: str


def render(scene: Scene) -> Image.Image:
    """Draw a scene at exactly its size.

    Returns mode RGBA for a transparent scene or a base with alpha, else RGB. With a mask, the pixels where it is 0 are
    those of the base (scaled if it has another size), unless the scene is a sloppy one.
    """
    size = (scene.size.width, scene.size.height)
    if scene.base is None:
        image = _landscape(scene, size, _colours_of(scene))
    else:
        base = scene.base.convert("RGBA" if scene.base.has_transparency_data else "RGB")
        if scene.mask is not None:
            return _repainted(scene, base, scene.mask)
        image = _tinted(ImageOps.fit(base, size), _colours_of(scene))
    if scene.transparent:
        image.putalpha(_oval(size))
    draw_caption(image, scene.prompt, f"{scene.label}   {scene.size}", scene.references)
    return image


def _tinted(base: Image.Image, colours: _Colours) -> Image.Image:
    """The base in the scene's colours: its shapes stay, its look changes."""
    flat = Image.new("RGB", base.size, colours.horizon)
    flat.paste(base, mask=base.getchannel("A") if base.mode == "RGBA" else None)
    tint = ImageOps.colorize(flat.convert("L"), colours.land, colours.horizon, mid=colours.sky)
    return Image.blend(flat, tint, 0.7)


def _repainted(scene: Scene, base: Image.Image, mask: Image.Image) -> Image.Image:
    """The base, with a new landscape where the mask says so."""
    size = (scene.size.width, scene.size.height)
    base = base.resize(size, Image.Resampling.BICUBIC)
    mask = mask.convert("L").resize(size, Image.Resampling.BICUBIC)
    box = mask.getbbox()
    if box is None:
        return base
    image = _smudged(base) if scene.sloppy else base.copy()
    patch = _landscape(scene, (box[2] - box[0], box[3] - box[1]), _contrasting_colours(base))
    draw_badge(patch)
    image.paste(patch.convert(base.mode), box[:2], mask.crop(box))
    return image


def _smudged(image: Image.Image) -> Image.Image:
    """The image a little softer and greyer; its alpha stays."""
    soft = image.convert("RGB").filter(ImageFilter.BoxBlur(1))
    smudged = Image.blend(soft, Image.new("RGB", image.size, "grey"), 0.06)
    if image.mode == "RGBA":
        smudged.putalpha(image.getchannel("A"))
    return smudged


def _colours_of(scene: Scene) -> _Colours:
    return _colours(random.Random(scene.prompt).random() + scene.seed * _GOLDEN_RATIO)


def _contrasting_colours(base: Image.Image) -> _Colours:
    """Colours opposite to those of the base, so that an edit shows."""
    mean = base.convert("RGB").resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
    assert isinstance(mean, tuple)
    hue, _, _ = colorsys.rgb_to_hsv(*(channel / 255 for channel in mean[:3]))
    return _colours(hue + 0.5)


def _colours(hue: float) -> _Colours:
    """Three colours around a hue, 0 to 1; whole numbers are the same hue."""
    degrees = round(hue * 360)
    return _Colours(
        f"hsv({degrees % 360}, 55%, 70%)", f"hsv({(degrees + 40) % 360}, 30%, 98%)", f"hsv({degrees % 360}, 65%, 22%)"
    )


def _landscape(scene: Scene, size: tuple[int, int], colours: _Colours) -> Image.Image:
    """Hills under a sun, mode RGB."""
    # A text is hashed with SHA-512 by the standard library: the same everywhere, and far apart for similar prompts.
    chance = random.Random(f"{scene.seed}\n{scene.prompt}")
    scale = min(2.0, math.sqrt(_DRAWN_PIXELS / (size[0] * size[1])))
    width, height = (max(1, round(edge * scale)) for edge in size)
    sky = ImageOps.colorize(_COLUMN, colours.sky, colours.horizon)
    # One column and then the others like it: a tenth of the time that the whole takes.
    image = sky.resize((1, height), Image.Resampling.BILINEAR).resize((width, height), Image.Resampling.NEAREST)
    pen = ImageDraw.Draw(image)
    x, y, radius = chance.uniform(0.2, 0.8) * width, chance.uniform(0.15, 0.35) * height, min(width, height) / 11
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill="white")
    shades = ImageOps.colorize(_COLUMN, colours.horizon, colours.land)
    for i in range(_HILLS):
        waves = [(0.08 / k, k * chance.uniform(0.6, 1.2), chance.uniform(0, math.tau)) for k in (1, 2, 3)]
        line = [
            (
                step / 240,
                0.45 + 0.13 * i + sum(a * math.sin(math.tau * f * step / 240 + phase) for a, f, phase in waves),
            )
            for step in range(241)
        ]
        shade = shades.getpixel((0, 255 * (i + 2) // (_HILLS + 1)))
        pen.polygon([(0, height), *((x * width, y * height) for x, y in line), (width, height)], fill=shade)
    if scale == 2:
        return image.reduce(2)
    return image.resize(size, Image.Resampling.BOX if scale > 1 else Image.Resampling.BICUBIC)


def _oval(size: tuple[int, int]) -> Image.Image:
    """A white oval on black, mode L."""
    edge = 1024
    image = Image.new("L", (edge, edge), 0)
    ImageDraw.Draw(image).ellipse((edge * 0.07, edge * 0.07, edge * 0.93, edge * 0.93), fill=255)
    return image.resize(size, Image.Resampling.BICUBIC)
