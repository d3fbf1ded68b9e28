"""The pictures of the sandbox: small invented landscapes, drawn from the prompt and the seed.

The same scene always gives the same pixels. Shapes are composed at about one megapixel and scaled up, text is set at
full size, so that a picture of 16 megapixels takes about a second.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from ..sizing import Size
from .lettering import Lettering

__all__ = ["Scene", "render"]

Colour = tuple[int, int, int]
Canvas = Image.Image

_COMPOSED_PIXELS = 1_100_000
"""The area in pixels at which shapes are drawn; larger pictures are scaled up from it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What to draw.

    Attributes:
        prompt: The caption, and with the seed the source of every shape and colour.
        seed: Any whole number.
        size: The pixels of the picture.
        label: The model's id, set small.
        transparent: True for a see-through background (mode RGBA) behind an opaque subject.
        references: Pictures to show as thumbnails.
        base: The picture to change; None to start from nothing.
        mask: Where to change it: mode L, 255 = change; needs ``base``. Elsewhere every pixel stays.
        sloppy: True to change every other pixel a little as well, as models do that take a mask for guidance.
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
class _Palette:
    """Sky from the zenith to the horizon, the light in it, and the nearest land."""

    zenith: Colour
    sky: Colour
    horizon: Colour
    light: Colour
    near: Colour
    stars: bool = False


def _palette(zenith: str, sky: str, horizon: str, light: str, near: str, *, stars: bool = False) -> _Palette:
    def colour(text: str) -> Colour:
        return (int(text[0:2], 16), int(text[2:4], 16), int(text[4:6], 16))

    return _Palette(colour(zenith), colour(sky), colour(horizon), colour(light), colour(near), stars)


_PALETTES = (
    _palette("2b2d5b", "8a5390", "f4a582", "ffe9c4", "1c1836"),
    _palette("5aa9cf", "b4dfe5", "fdf1d8", "fffaf0", "1c4a57"),
    _palette("d9705f", "f2a97c", "fbe2b4", "fff6dc", "5c2437"),
    _palette("0a0f2c", "1b2a5c", "51719f", "f6f1dd", "050817", stars=True),
    _palette("8cc7a8", "cfe8d3", "f8f5e2", "fffdf0", "14362c"),
    _palette("54376a", "c1667f", "f9b896", "ffecdc", "2a1736"),
    _palette("0d4470", "3684b8", "c2e3f7", "ffffff", "0a2240"),
    _palette("171428", "6b2a4d", "ef7c3d", "ffdc7c", "100b18", stars=True),
    _palette("23877f", "83b58c", "f5ebce", "fffdf5", "173038"),
    _palette("6f72c9", "a9b6ea", "fbe2ee", "fffafc", "2d2a57"),
)


def render(scene: Scene) -> Image.Image:
    """Draw a scene at exactly its size.

    Gives mode RGBA for a transparent scene or a base with alpha, else RGB. With a mask, the pixels where it is 0 are
    those of the base (scaled to the size if it has another), unless the scene is a sloppy one.
    """
    if scene.base is None:
        return _from_nothing(scene)
    base = scene.base.convert("RGBA" if scene.base.has_transparency_data else "RGB")
    return _restyled(scene, base) if scene.mask is None else _repainted(scene, base, scene.mask)


def _from_nothing(scene: Scene) -> Image.Image:
    palette = _palette_of(scene)
    picture = _medallion(scene, palette) if scene.transparent else _landscape(scene, scene.size, palette)
    Lettering(picture).caption(scene)
    return picture


def _restyled(scene: Scene, base: Image.Image) -> Image.Image:
    """The base in the colours of a palette, as if painted over: its shapes stay, its look changes."""
    palette = _palette_of(scene)
    fitted = ImageOps.fit(base, (scene.size.width, scene.size.height), Image.Resampling.BICUBIC)
    flat = Image.new("RGB", fitted.size, palette.horizon)
    flat.paste(fitted, mask=fitted.getchannel("A") if fitted.mode == "RGBA" else None)
    tones = ImageOps.autocontrast(flat.convert("L"), cutoff=1)
    tinted = ImageOps.colorize(tones, palette.near, palette.light, mid=palette.sky)
    painted = ImageOps.posterize(flat.filter(ImageFilter.BoxBlur(math.sqrt(scene.size.pixels) / 600)), 4)
    picture = ImageEnhance.Contrast(Image.blend(painted, tinted, 0.62)).enhance(1.08)
    if scene.transparent:
        picture.putalpha(_rounded(picture.size, 0.5))
    Lettering(picture).caption(scene)
    return picture


def _repainted(scene: Scene, base: Image.Image, mask: Image.Image) -> Image.Image:
    """The base, with a new landscape where the mask says so, and nothing else touched if all is exact."""
    size = (scene.size.width, scene.size.height)
    if base.size != size:
        base = base.resize(size, Image.Resampling.BICUBIC)
    mask = mask.convert("L")
    if mask.size != size:
        mask = mask.resize(size, Image.Resampling.BICUBIC)
    box = mask.getbbox()
    if box is None:
        return base
    if scene.sloppy:
        base = _smudged(base)
    width, height = box[2] - box[0], box[3] - box[1]
    patch = _landscape(scene, Size(width, height), _contrasting_palette(scene, base)).convert(base.mode)
    Lettering(patch).badge_in_the_middle()
    picture = base.copy()
    picture.paste(patch, box[:2], mask.crop(box))
    return picture


def _palette_of(scene: Scene) -> _Palette:
    """The colours of a scene. Neighbouring seeds never share them, so that the pictures of one call look different."""
    first = random.Random(scene.prompt).randrange(len(_PALETTES))
    return _PALETTES[(first + scene.seed) % len(_PALETTES)]


def _contrasting_palette(scene: Scene, base: Image.Image) -> _Palette:
    """Of four palettes the one that differs most from the base, or a change might go unnoticed."""
    mean = base.convert("RGB").resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
    assert isinstance(mean, tuple)
    offered = [_palette_of(dataclasses.replace(scene, seed=scene.seed + i)) for i in range(4)]
    return max(offered, key=lambda palette: math.dist(palette.sky, mean))


def _chance(scene: Scene) -> random.Random:
    # A text seed is hashed with SHA-512 by the standard library: the same everywhere, and far apart for near prompts.
    return random.Random(f"{scene.seed}\n{scene.prompt}")


def _composed_size(size: Size) -> tuple[int, int]:
    shrink = min(1.0, math.sqrt(_COMPOSED_PIXELS / size.pixels))
    return max(1, round(size.width * shrink)), max(1, round(size.height * shrink))


def _landscape(scene: Scene, size: Size, palette: _Palette) -> Image.Image:
    """A landscape without words, mode RGB."""
    chance = _chance(scene)
    motif = chance.choice((_hills, _mountains, _sea, _planets))
    canvas = _sky(_composed_size(size), palette)
    if palette.stars:
        _stars(canvas, palette, chance)
    motif(canvas, palette, chance)
    if canvas.size == (size.width, size.height):
        return canvas
    return canvas.resize((size.width, size.height), Image.Resampling.BICUBIC)


def _medallion(scene: Scene, palette: _Palette) -> Image.Image:
    """A round landscape on nothing, mode RGBA."""
    size = (scene.size.width, scene.size.height)
    edge = max(1, round(min(size) * 0.86))
    corner = ((size[0] - edge) // 2, (size[1] - edge) // 2)
    # Colour and outline are laid down apart: mixed with the empty ground, the edge would get a dark rim.
    picture = Image.new("RGBA", size, (*palette.horizon, 0))
    picture.paste(_landscape(scene, Size(edge, edge), palette), corner)
    outline = Image.new("L", size, 0)
    outline.paste(_rounded((edge, edge), 0.5), corner)
    picture.putalpha(outline)
    return picture


def _smudged(picture: Image.Image) -> Image.Image:
    """The picture a little softer and greyer; its alpha stays."""
    soft = picture.convert("RGB").filter(ImageFilter.BoxBlur(1))
    smudged = Image.blend(soft, Image.new("RGB", picture.size, "grey"), 0.06)
    if picture.mode == "RGBA":
        smudged.putalpha(picture.getchannel("A"))
    return smudged


def _rounded(size: tuple[int, int], share: float) -> Image.Image:
    """A white rounded rectangle on black, mode L; ``share`` of the shorter edge is its radius."""
    width, height = size
    scale = 2 if width * height < 6_000_000 else 1
    shape = Image.new("L", (width * scale, height * scale), 0)
    box = (0, 0, width * scale - 1, height * scale - 1)
    ImageDraw.Draw(shape).rounded_rectangle(box, radius=min(width, height) * scale * share, fill=255)
    return shape.reduce(scale) if scale > 1 else shape


def _mix(a: Colour, b: Colour, share: float) -> Colour:
    """``a`` with a share (0 to 1) of ``b``."""
    return (
        round(a[0] + (b[0] - a[0]) * share),
        round(a[1] + (b[1] - a[1]) * share),
        round(a[2] + (b[2] - a[2]) * share),
    )


def _sky(size: tuple[int, int], palette: _Palette) -> Canvas:
    ramp = Image.linear_gradient("L").resize((1, size[1]), Image.Resampling.BICUBIC)
    column = ImageOps.colorize(ramp, palette.zenith, palette.horizon, mid=palette.sky, midpoint=110)
    return column.resize(size)


def _stars(canvas: Canvas, palette: _Palette, chance: random.Random) -> None:
    pen = ImageDraw.Draw(canvas)
    width, height = canvas.size
    for _ in range(110):
        # The square of the height keeps most stars near the zenith, where the sky is dark.
        x, y = chance.random() * width, chance.random() ** 2 * height * 0.6
        size = chance.choice((0.0007, 0.0012, 0.002)) * math.sqrt(width * height)
        tint = _mix(palette.sky, palette.light, chance.uniform(0.35, 1.0) * (1 - y / height))
        pen.ellipse((x - size, y - size, x + size, y + size), fill=tint)


def _glow(canvas: Canvas, palette: _Palette, x: float, y: float, radius: float) -> None:
    """A sun or a moon, with the light around it; the place and the radius in pixels of the canvas."""
    halo_edge = max(2, round(radius * 9))
    halo = ImageChops.invert(Image.radial_gradient("L")).resize((halo_edge, halo_edge), Image.Resampling.BICUBIC)
    # The gradient is about 76 at the middle of each edge: what lies below that is cut, or the halo would be square.
    strength = halo.point([round(max(0.0, (value - 76) / 179) ** 1.9 * 190) for value in range(256)])
    canvas.paste(palette.light, (round(x - halo_edge / 2), round(y - halo_edge / 2)), strength)
    disc_edge = max(2, round(radius * 2))
    disc = _rounded((disc_edge, disc_edge), 0.5)
    canvas.paste(palette.light, (round(x - disc_edge / 2), round(y - disc_edge / 2)), disc)


def _ridge(canvas: Canvas, heights: Callable[[float], float], colour: Colour, mist: Colour) -> None:
    """Fill the land under a line, lighter towards its foot.

    Args:
        canvas: Drawn on in place.
        heights: The line's distance from the top as a share of the height, for a share of the width.
        colour: At the crest.
        mist: What the foot fades into.
    """
    width, height = canvas.size
    steps = min(width, 360)
    line = [(2 * width * i / steps, 2 * height * heights(i / steps)) for i in range(steps + 1)]
    # Twice as large and reduced: smooth edges from a drawing routine that has none.
    land = Image.new("L", (2 * width, 2 * height), 0)
    ImageDraw.Draw(land).polygon([(0, 2 * height), *line, (2 * width, 2 * height)], fill=255)
    land = land.reduce(2)
    # Kept inside the picture: in a narrow one the whole line may lie below the bottom edge.
    top = min(height - 1, max(0, math.floor(min(y for _, y in line) / 2)))
    ramp = Image.linear_gradient("L").resize((1, height - top), Image.Resampling.BICUBIC)
    paint = ImageOps.colorize(ramp, colour, _mix(colour, mist, 0.45)).resize((width, height - top))
    canvas.paste(paint, (0, top), land.crop((0, top, width, height)))


def _waves(chance: random.Random, base: float, amplitude: float, aspect: float) -> Callable[[float], float]:
    """A rolling line; wider pictures get more waves rather than longer ones."""
    parts = [
        (amplitude / (k + 1), chance.uniform(0.6, 1.2) * (k + 1) * max(0.6, aspect), chance.uniform(0, math.tau))
        for k in range(4)
    ]
    return lambda x: base + sum(a * math.sin(math.tau * f * x + phase) for a, f, phase in parts) * 0.5


def _crags(chance: random.Random, base: float, amplitude: float, aspect: float) -> Callable[[float], float]:
    """A jagged line, by halving: each middle is moved at random, by less and less."""
    points = [chance.uniform(-0.3, 0.3) for _ in range(max(3, round(3 * aspect) + 1))]
    reach = 0.62
    while len(points) < 200:
        doubled = [points[0]]
        for left, right in itertools.pairwise(points):
            doubled += [(left + right) / 2 + chance.uniform(-reach, reach), right]
        points, reach = doubled, reach * 0.52
    last = len(points) - 1

    def height(x: float) -> float:
        place = x * last
        left = min(int(place), last - 1)
        return base + amplitude * (points[left] + (points[left + 1] - points[left]) * (place - left))

    return height


def _hills(canvas: Canvas, palette: _Palette, chance: random.Random) -> None:
    width, height = canvas.size
    aspect = width / height
    _glow(canvas, palette, chance.uniform(0.2, 0.8) * width, chance.uniform(0.2, 0.36) * height, _sun_radius(canvas))
    layers = 5
    for i in range(layers):
        depth = i / (layers - 1)
        line = _waves(chance, 0.44 + 0.13 * i, 0.075 + 0.02 * depth, aspect)
        colour = _mix(_mix(palette.sky, palette.horizon, 0.35), palette.near, 0.18 + 0.82 * depth)
        _ridge(canvas, line, colour, palette.horizon)
        if i in (2, 3):
            _trees(canvas, line, _mix(colour, palette.near, 0.55), chance, 0.018 + 0.016 * (i - 2))


def _trees(canvas: Canvas, line: Callable[[float], float], colour: Colour, chance: random.Random, size: float) -> None:
    """Firs in small woods along a line; ``size`` is their height as a share of the geometric mean edge."""
    pen = ImageDraw.Draw(canvas)
    width, height = canvas.size
    unit = size * math.sqrt(width * height)
    for _ in range(max(2, round(4 * width / height))):
        middle, spread = chance.random(), chance.uniform(0.02, 0.07) * height / width
        for _ in range(chance.randint(5, 11)):
            x = chance.gauss(middle, spread)
            foot, tall = line(x) * height + unit * 0.3, unit * chance.uniform(0.8, 1.5)
            for tier in range(3):
                y, half = foot - tall * (0.25 + 0.25 * tier), tall * (0.24 - 0.06 * tier)
                left, right = x * width - half, x * width + half
                pen.polygon([(left, y), (right, y), (x * width, y - tall * 0.42)], fill=colour)


def _mountains(canvas: Canvas, palette: _Palette, chance: random.Random) -> None:
    width, height = canvas.size
    aspect = width / height
    _glow(canvas, palette, chance.uniform(0.2, 0.8) * width, chance.uniform(0.16, 0.3) * height, _sun_radius(canvas))
    layers = 4
    for i in range(layers):
        depth = i / (layers - 1)
        line = _crags(chance, 0.42 + 0.14 * i, 0.24 - 0.04 * i, aspect)
        colour = _mix(_mix(palette.sky, palette.horizon, 0.2), palette.near, 0.22 + 0.7 * depth)
        _ridge(canvas, line, colour, palette.horizon)
    _ridge(canvas, _waves(chance, 0.9, 0.04, aspect), palette.near, palette.near)


def _sea(canvas: Canvas, palette: _Palette, chance: random.Random) -> None:
    width, height = canvas.size
    aspect = width / height
    x, radius = chance.uniform(0.25, 0.75) * width, _sun_radius(canvas) * 1.5
    waterline = 0.6
    _glow(canvas, palette, x, (waterline - 0.08) * height, radius)
    _ridge(canvas, lambda _: waterline, _mix(palette.sky, palette.near, 0.35), palette.near)
    pen = ImageDraw.Draw(canvas)
    unit = math.sqrt(width * height)
    for i in range(26):
        # Glints on the water: further down they lie further apart, grow longer and lose light.
        down = (i / 26) ** 1.35
        y = (waterline + 0.012 + down * 0.38) * height
        half = radius * (0.95 - 0.35 * down) * chance.uniform(0.35, 1.0)
        middle = x + chance.uniform(-0.25, 0.25) * radius
        thick = max(1.0, unit * (0.0016 + 0.004 * down))
        tint = _mix(palette.light, palette.near, 0.2 + 0.45 * down)
        pen.rounded_rectangle((middle - half, y, middle + half, y + thick), radius=thick / 2, fill=tint)
    for i in range(2):
        shore = _crags(chance, waterline + 0.01, 0.09 - 0.03 * i, aspect)
        side = chance.choice((-1.0, 1.0))
        _headland(canvas, shore, side, _mix(palette.sky, palette.near, 0.45 + 0.3 * i), waterline)
    _sail(canvas, chance.uniform(0.15, 0.85) * width, (waterline + 0.07) * height, unit * 0.055, palette)
    _ridge(canvas, _waves(chance, 0.97, 0.03, aspect), palette.near, palette.near)


def _headland(canvas: Canvas, shore: Callable[[float], float], side: float, colour: Colour, waterline: float) -> None:
    """Land that comes in from the left (-1) or the right (1) and sinks into the water before the middle."""

    def line(x: float) -> float:
        inland = max(0.0, (side * (x - 0.5)) * 2 - 0.25)
        return min(waterline + 0.004, waterline + 0.02 - inland * 0.22 + (shore(x) - waterline) * min(1.0, inland * 2))

    width, height = canvas.size
    points = [(width * i / 240, height * line(i / 240)) for i in range(241)]
    foot = height * (waterline + 0.004)
    ImageDraw.Draw(canvas).polygon([(0, foot), *points, (width, foot)], fill=colour)


def _sail(canvas: Canvas, x: float, y: float, size: float, palette: _Palette) -> None:
    """A boat with two sails; ``size`` is the height of its mast in pixels, ``x`` and ``y`` the place of its deck."""
    pen = ImageDraw.Draw(canvas)

    def fill(colour: Colour, *corners: tuple[float, float]) -> None:
        pen.polygon([(x + size * across, y + size * down) for across, down in corners], fill=colour)

    fill(palette.light, (-0.04, -1.0), (-0.04, -0.12), (-0.5, -0.12))
    fill(_mix(palette.light, palette.horizon, 0.6), (0.04, -0.85), (0.04, -0.12), (0.4, -0.12))
    fill(palette.near, (-0.55, -0.07), (0.5, -0.07), (0.3, 0.1), (-0.38, 0.1))


def _planets(canvas: Canvas, palette: _Palette, chance: random.Random) -> None:
    """Great soft discs over dunes."""
    width, height = canvas.size
    edge = min(width, height)
    thirds = chance.sample((0.2, 0.5, 0.8), 3)
    for i in range(3):
        radius = edge * (0.29 - 0.1 * i) * chance.uniform(0.85, 1.1)
        x, y = (thirds[i] + chance.uniform(-0.1, 0.1)) * width, chance.uniform(0.2, 0.48) * height
        _planet(canvas, x, y, radius, _mix(palette.sky, palette.light, 0.25 + 0.25 * i), palette)
    for i in range(4):
        line = _waves(chance, 0.62 + 0.1 * i, 0.06, width / height)
        colour = _mix(_mix(palette.horizon, palette.sky, 0.4), palette.near, 0.1 + 0.3 * i)
        _ridge(canvas, line, colour, palette.light if i < 2 else palette.near)


def _planet(canvas: Canvas, x: float, y: float, radius: float, colour: Colour, palette: _Palette) -> None:
    edge = max(2, round(radius * 2))
    corner = (round(x - radius), round(y - radius))
    shade = Image.linear_gradient("L").rotate(35, Image.Resampling.BICUBIC, fillcolor=128).resize((edge, edge))
    paint = ImageOps.colorize(shade, _mix(colour, palette.light, 0.45), _mix(colour, palette.zenith, 0.55))
    canvas.paste(paint, corner, _rounded((edge, edge), 0.5))


def _sun_radius(canvas: Canvas) -> float:
    return 0.052 * math.sqrt(min(canvas.size) * math.sqrt(canvas.size[0] * canvas.size[1]))
