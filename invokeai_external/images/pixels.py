"""Decodes images with Pillow, for code that needs pixels: eight bits, RGB or RGBA, upright."""

from __future__ import annotations

import hashlib
import io
import logging
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, cast

from PIL import IcnsImagePlugin, Image, ImageCms, ImageFile, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from ..sizing import Size
from . import png_bands
from .decoding_limits import MAX_PIXELS, MOST_AT_COST, MOST_AT_GREAT_COST, MOST_OF_JPEG_2000
from .errors import ImageError, TooManyPixelsError, too_little_memory, truncated, unreadable
from .formats import exif, png
from .formats.containers import Container, parse
from .formats.jpeg import Jpeg
from .formats.others import JPEG_2000_STARTS
from .formats.png import Png
from .formats.unsupported import unsupported_format

__all__ = [
    "MAX_EDITED_PIXELS",
    "Pixels",
    "as_encoded",
    "check_pixels",
    "decoded",
    "decoded_mask",
    "encoded_png",
    "open_other_format",
    "pixels_at_cost",
    "png_of_at_most",
    "rgb_thumbnail",
    "sample",
    "upright",
    "verify",
    "verify_pixels",
]

MAX_EDITED_PIXELS = 36_000_000
"""The most pixels of a mask, of an image to edit with one, and of its edit: compositing takes four times its memory,
and seconds. No model makes half as many."""

_MOST_OF_OTHERS = {"AVIF": MOST_AT_GREAT_COST, "JPEG2000": MOST_OF_JPEG_2000}
"""How many pixels are decoded, by Pillow's name of the format; of its others ``MOST_AT_COST``."""

_MOST_IN_ONE_GO = 4_000_000
"""The most pixels that Pillow writes as PNG at level 1: it takes half a second at most."""

_IN_ICONS = (png.SIGNATURE, *JPEG_2000_STARTS)
"""How PNG and JPEG 2000 begin, which an ICNS icon may hold at any size, whatever its own header says."""

_REFUSED_FORMATS = frozenset({"EPS"})
"""Pillow reads an EPS file by running it as a program in Ghostscript."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The operation that undoes each EXIF orientation (EXIF 2.3, 4.6.4)."""


class Pixels(NamedTuple):
    """``image`` is RGB or RGBA, upright; ``profile`` is the ICC profile of its pixels, None for sRGB."""

    image: Image.Image
    profile: bytes | None


def check_pixels(size: Size, most: int = MAX_PIXELS) -> None:
    """Raise ImageError if an image of that size has more than ``most`` pixels."""
    if size.pixels > most:
        raise TooManyPixelsError(f"The image has {size} pixels; the limit is {most:,} pixels.", size)


def pixels_at_cost(data: bytes) -> float:
    """The pixels of an image, each counted as many times as decoding it takes longer than in an 8-bit PNG.

    Raises:
        ImageError: It cannot be read or has too many pixels.
    """
    container = parse(data)
    if container is not None:
        return container.size.pixels * MAX_PIXELS / container.most_pixels
    with open_other_format(data) as image:
        return Size(*image.size).pixels * MAX_PIXELS / _most_of(image)


def upright(size: Size, orientation: int) -> Size:
    """The size of an image after its EXIF orientation is applied."""
    return Size(size.height, size.width) if orientation >= 5 else size


def decoded(data: bytes, *, least: Size | None = None) -> Pixels:
    """The pixels of an image, or of the first image of an animation.

    Args:
        data: The file, in any format that Pillow reads.
        least: Enough pixels for the caller: a JPEG with twice as many in each direction, or more, is decoded at a half,
            a quarter or an eighth of its size, which takes less time and memory.

    Raises:
        ImageError: It cannot be read or has too many pixels.
    """
    with _opened(data) as (image, orientation), unreadable_on_failure():
        if least is not None:
            needed = upright(least, orientation)
            image.draft(None, (needed.width, needed.height))
        image.load()
        pixels, profile = _as_rgb(image)
        return Pixels(_turned(pixels, orientation), profile)


def decoded_mask(data: bytes) -> Image.Image:
    """The pixels of a mask, upright: L if the file is black and white or 8-bit grey without alpha, or else RGB or RGBA.

    Raises:
        ImageError: It cannot be read or has more pixels than an image to edit.
    """
    with _opened(data, MAX_EDITED_PIXELS) as (image, orientation), unreadable_on_failure():
        image.load()
        if image.mode in ("1", "L") and not image.has_transparency_data:
            return _turned(image.convert("L"), orientation)
        return _turned(_as_rgb(image).image, orientation)


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)


def as_encoded(data: bytes) -> ImageFile.ImageFile:
    """A PNG, JPEG or WebP, opened by Pillow in its encoded mode: not decoded, not converted, not turned.

    Of an animation, it is the first image.

    Raises:
        ImageError: It is in another format, truncated or damaged, or has too many pixels.
    """
    container = parse(data)
    if container is None:
        raise unreadable()
    check_pixels(container.size)
    with unreadable_on_failure():
        return _opened_by_pillow(container)


def rgb_thumbnail(data: bytes, *, longest_px: int) -> Image.Image:
    """A small image for display: RGB, on white where it is transparent.

    Args:
        data: The file, in any format that Pillow reads.
        longest_px: The limit for the longer side; a larger image is scaled down.

    Raises:
        ImageError: It cannot be read or has too many pixels.
    """
    image = decoded(data).image
    image.thumbnail((longest_px, longest_px))
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def verify(container: Container) -> None:
    """Check that the pixels are complete: those of a PNG by its checksums, those of JPEG and WebP by decoding them.

    Raises:
        ImageError: They are not.
    """
    if isinstance(container, Png):
        container.verify()
    else:
        with unreadable_on_failure(), _opened_by_pillow(container) as image:
            image.load()


def verify_pixels(data: bytes) -> None:
    """Raise ImageError if the pixels cannot be decoded, which can be so even if the checksums of a PNG are right."""
    decoded(data)


def encoded_png(image: Image.Image, profile: bytes | None = None, *, compress_level: int = 1) -> bytes:
    """The image as PNG; ``compress_level`` is zlib's.

    Level 1 looks for runs of equal bytes only: after PNG's filters, photos become as small as at level 6, in a fifth of
    the time, and drawings and soft masks up to twice as large. Level 9 takes up to ten times as long as level 6, to
    make them a tenth smaller: nothing here uses it.
    """
    if compress_level == 1 and image.width * image.height > _MOST_IN_ONE_GO:
        return png_bands.png_of_bands(image.size, image.mode, _bands(image), profile)
    strategy = zlib.Z_RLE if compress_level == 1 else zlib.Z_DEFAULT_STRATEGY
    file = io.BytesIO()
    image.save(file, "PNG", icc_profile=profile, compress_level=compress_level, compress_type=strategy)
    return file.getvalue()


def png_of_at_most(max_bytes: int, image: Image.Image, *, is_alpha: bool = False) -> bytes | None:
    """The image as PNG, at level 1, or at level 6 where that may help; None if it has more bytes.

    Args:
        max_bytes: The limit.
        image: The image.
        is_alpha: The PNG is RGBA with black pixels, and the image, of mode L, is their alpha.
    """
    is_large = image.width * image.height > _MOST_IN_ONE_GO
    if is_large:
        mode = "A" if is_alpha else image.mode
        encoded = png_bands.png_of_at_most(2 * max_bytes, image.size, mode, _bands(image))
    else:
        encoded = encoded_png(_black(image) if is_alpha else image)
    if encoded and max_bytes < len(encoded) <= 2 * max_bytes:
        strips = sample(image)
        # The sample of a large image is rarely a tenth off.
        hopeful = 1.1 * max_bytes * strips.height / image.height
        is_hopeless = is_large and len(_at_level_6(strips, is_alpha=is_alpha)) > hopeful
        encoded = None if is_hopeless else _at_level_6(image, is_alpha=is_alpha)
    return encoded if encoded and len(encoded) <= max_bytes else None


def _at_level_6(image: Image.Image, *, is_alpha: bool) -> bytes:
    return encoded_png(_black(image) if is_alpha else image, compress_level=6)


def sample(image: Image.Image) -> Image.Image:
    """A sixteenth of an image, in strips from all over it: encoding the whole in vain would take seconds."""
    count = 8
    rows = max(1, image.height // (16 * count))
    strips = Image.new(image.mode, (image.width, rows * count))
    for place in range(count):
        top = (2 * place + 1) * image.height // (2 * count)
        strips.paste(image.crop((0, top, image.width, top + rows)), (0, place * rows))
    return strips


def _black(alpha: Image.Image) -> Image.Image:
    """Black pixels with this alpha."""
    image = Image.new("RGBA", alpha.size)
    image.putalpha(alpha)
    return image


def _bands(image: Image.Image) -> Iterator[Image.Image]:
    return (image.crop(box) for box in png_bands.bands_of(image.size))


@contextmanager
def _opened(data: bytes, most: int = MAX_PIXELS) -> Iterator[tuple[ImageFile.ImageFile, int]]:
    """The opened file, of at most ``most`` pixels, and its EXIF orientation."""
    container = parse(data)
    if container is None:
        with open_other_format(data) as image:
            check_pixels(Size(*image.size), most)
            yield image, exif.orientation(image.info.get("exif", b""))
    else:
        check_pixels(container.size, most)
        with unreadable_on_failure(), _opened_by_pillow(container) as image:
            assert image.fp
            # Pillow keeps the file of an image that is decoded: of a large one, a hundred megabytes.
            with image.fp:
                yield image, container.orientation


class _Warnings:
    """Drops Pillow's warnings. Filters are those of the whole process, so that only the last thread takes them back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._filters = warnings.catch_warnings()

    @contextmanager
    def dropped(self) -> Iterator[None]:
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\.")
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    self._filters.__exit__(None, None, None)


_WARNINGS = _Warnings()

# Pillow logs what is odd in a file, which Python prints in programs without logging; an ImageError says what matters.
logging.getLogger("PIL").addHandler(logging.NullHandler())


@contextmanager
def unreadable_on_failure(data: bytes = b"") -> Iterator[None]:
    """Turn every exception of Pillow into an ``ImageError``, which names the format of ``data`` if that is known.

    Its warnings, which would go to standard error, are dropped.

    Pillow documents no set of exceptions: its plugins raise SyntaxError, struct.error, zlib.error, KeyError,
    OverflowError and more, each for another kind of broken file.
    """
    try:
        with _WARNINGS.dropped():
            yield
    except ImageError:
        raise
    except Image.DecompressionBombError:
        raise TooManyPixelsError("The image has too many pixels.") from None
    except MemoryError:
        raise too_little_memory() from None
    except Exception:
        raise unsupported_format(data) or unreadable() from None


_PLUGINS: dict[str, type[ImageFile.ImageFile]] = {
    "image/png": PngImagePlugin.PngImageFile,
    "image/jpeg": JpegImagePlugin.JpegImageFile,
    "image/webp": WebPImagePlugin.WebPImageFile,
}


def _opened_by_pillow(container: Container) -> ImageFile.ImageFile:
    """The image, opened but not decoded, without the rest of its file.

    With the rest, Pillow would warn about broken EXIF and mistake a PNG text with the keyword ``gamma`` for a chunk.

    Raises:
        ImageError: A PNG or a JPEG is not complete; Pillow would decode missing pixels as black or grey.
    """
    check_pixels(container.size, container.most_pixels)
    if isinstance(container, Png):
        container.verify()
    if isinstance(container, Jpeg) and not container.has_end:
        _check_without_end(container)
    return _PLUGINS[container.mime_type](io.BytesIO(container.stripped()))


_MIGHT_FOLLOW = (b"", *(bytes(step * place % 251 for place in range(1, 97)) for step in (53, 97, 183, 239)))
"""Different bits, without a marker: decoded in place of bits that are missing, they give different pixels."""


_PROBED_OFTEN = 2_000_000
"""Up to how many pixels all of these are tried: each is one more time of decoding."""

_complete = dict[bytes, None]()
"""The hashes of the last JPEG files without end marker that were found to be complete: each is opened several times."""

_MOST_REMEMBERED = 64


def _check_without_end(jpeg: Jpeg) -> None:
    """Raise ImageError if a JPEG without its end marker lacks pixels: if they depend on what might have followed."""
    file = hashlib.sha256(jpeg.stripped()).digest()
    if file in _complete:
        return
    probes = list(_MIGHT_FOLLOW if jpeg.size.pixels <= _PROBED_OFTEN else (b"", _MIGHT_FOLLOW[-1]))
    if jpeg.has_restarts:
        probes += [jpeg.next_restart + bits for bits in probes if bits]
    seen = set()
    for more in probes:
        with JpegImagePlugin.JpegImageFile(io.BytesIO(jpeg.stripped(more))) as image:
            seen.add(hashlib.sha256(image.tobytes()).digest())
        if len(seen) > 1:
            raise truncated()
    if len(_complete) >= _MOST_REMEMBERED:
        _complete.clear()
    _complete[file] = None


@contextmanager
def open_other_format(data: bytes) -> Iterator[ImageFile.ImageFile]:
    """A file in a format other than PNG, JPEG and WebP, opened but not decoded."""
    with unreadable_on_failure(data), Image.open(io.BytesIO(data)) as image:
        if image.format in _REFUSED_FORMATS:
            raise unreadable()
        check_pixels(Size(*image.size), _most_of(image))
        if isinstance(image, IcnsImagePlugin.IcnsImageFile):
            _check_icon(image, data)
        yield image


def _most_of(image: ImageFile.ImageFile) -> int:
    return _MOST_OF_OTHERS.get(image.format or "", MOST_AT_COST)


def _check_icon(image: IcnsImagePlugin.IcnsImageFile, data: bytes) -> None:
    """Raise ImageError if an image in an ICNS icon cannot be read or has too many pixels."""
    known = {kind for kinds in image.icns.SIZES.values() for kind, _ in kinds}
    for kind in known & image.icns.dct.keys():
        start, length = image.icns.dct[kind]
        inside = data[start : start + length]
        if inside.startswith(_IN_ICONS):
            with open_other_format(inside):
                pass


def _as_rgb(image: Image.Image) -> Pixels:
    profile = image.info.get("icc_profile") or b""
    space = profile[16:20]  # the profile header's colour space (ICC.1, section 7.2)
    if image.mode in ("CMYK", "LAB"):
        image, space = _as_srgb(image, profile if space == b"CMYK" else b""), b""
    elif image.mode[0] in "IF":
        image = _as_grey(image)
    mode = "RGBA" if image.has_transparency_data else "RGB"
    if image.mode != mode:
        image = image.convert(mode)
    image.info = {}  # or Pillow writes comments and more from here into its files
    return Pixels(image, profile if space == b"RGB " else None)


def _as_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """A CMYK or Lab image in sRGB: CMYK by its profile, or by Pillow's simple formula if there is no usable profile."""
    if image.mode == "CMYK" and not profile:
        return image.convert("RGB")
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile)) if profile else ImageCms.createProfile("LAB")
        return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), image.mode, "RGB").apply(image)
    except (ImageCms.PyCMSError, OSError):
        return image.convert("RGB")


def _as_grey(image: Image.Image) -> Image.Image:
    """An image of integers or floats as 8-bit grey; Pillow would clip every value above 255.

    The value of white is known only for 16 bits. For others it is the first of 1, 255 and 65535 that is not below the
    largest value, or else that value.
    """
    numbers = image if image.mode == "F" else image.convert("I").convert("F")
    _, largest = cast(tuple[float, float], numbers.getextrema())
    white = 65535 if ";16" in image.mode else next((w for w in (1, 255, 65535) if largest <= w), largest)
    grey = numbers.point(lambda value: value * (255 / white) + 0.5).convert("L")
    grey.info = {}
    return grey
