"""Image files for the tests, and functions to look into them that share no code with the package."""

from __future__ import annotations

import io
import random
import struct
import zlib
from typing import Any

from hypothesis import strategies as st
from PIL import Image

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_MODES = ("1", "L", "LA", "P", "P+tRNS", "L+tRNS", "RGB", "RGB+tRNS", "RGBA", "I;16")
Image.init()
AVIF = ["AVIF"] if "AVIF" in Image.SAVE else []  # Pillow has it from 11.3 on
MAKER_NOTE, USER_COMMENT, EXIF_IFD, GPS_IFD, ORIENTATION = 0x927C, 0x9286, 0x8769, 0x8825, 0x0112

sizes = st.tuples(st.integers(1, 40), st.integers(1, 40))
keywords = st.sampled_from(["invokeai_metadata", "invokeai_graph", "Title", "a b", "é"]) | st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_categories=["Cc", "Zs"]), min_size=1, max_size=79
)
values = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=300)
text_maps = st.dictionaries(keywords, values, max_size=3)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def painted(mode: str, size: tuple[int, int], seed: int = 0) -> Image.Image:
    """An image in which almost every pixel is different."""
    channels = {"RGB": 3, "RGBA": 4, "LA": 2, "CMYK": 4, "I;16": 2, "LAB": 3}.get(mode, 1)
    length = size[0] * size[1] * channels
    noise = bytes((i * 37 + i * i * (seed + 11) // 7 + seed) % 256 for i in range(length))
    if mode == "1":
        return Image.frombytes("L", size, noise).convert("1")
    image = Image.frombytes(mode, size, noise)
    if mode == "P":
        image.putpalette([(i * 5) % 256 for i in range(768)])
    return image


def noisy(size: tuple[int, int]) -> Image.Image:
    """Grey noise, which compresses badly; always the same, unlike ``Image.effect_noise``."""
    return Image.frombytes("L", size, random.Random(0).randbytes(size[0] * size[1]))


def shown(data: bytes) -> tuple[str, tuple[int, int], bytes]:
    """What Pillow decodes: mode, size and pixels of the first image, as RGBA so that transparency counts."""
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        # Pillow takes a text with the keyword transparency for the chunk.
        image.info = {name: value for name, value in image.info.items() if not isinstance(value, str)}
        pixels = image.tobytes() if image.mode == "I;16" else image.convert("RGBA").tobytes()
        return image.mode, image.size, pixels


def info(data: bytes) -> dict[Any, Any]:
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return image.info


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """The type and the content of each chunk of a PNG."""
    found = []
    position = 8
    while position < len(data):
        (length,) = struct.unpack_from(">I", data, position)
        found.append((data[position + 4 : position + 8], data[position + 8 : position + 8 + length]))
        position += 12 + length
    return found


def png(parts: list[tuple[bytes, bytes]]) -> bytes:
    return PNG_SIGNATURE + b"".join(chunk(kind, body) for kind, body in parts)


def kinds(data: bytes) -> list[bytes]:
    return [kind for kind, _ in chunks(data)]


def png_of(mode: str, size: tuple[int, int], seed: int = 0, **options: Any) -> bytes:
    base, _, transparency = mode.partition("+")
    if transparency:
        options["transparency"] = {"P": bytes(range(256)), "L": 7, "RGB": (1, 2, 3)}[base]
    return encoded(painted(base, size, seed), "PNG", **options)


def with_chunks(data: bytes, *added: tuple[bytes, bytes], before: bytes = b"IDAT") -> bytes:
    """A PNG with chunks inserted before the first chunk of a type."""
    parts = chunks(data)
    at = [kind for kind, _ in parts].index(before)
    return png(parts[:at] + list(added) + parts[at:])


@st.composite
def text_chunks(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A valid text chunk of any of the three types."""
    keyword = draw(keywords).encode("latin-1")
    text = draw(values)
    latin = text.encode("latin-1", "replace")
    return draw(
        st.sampled_from(
            [
                (b"tEXt", keyword + b"\0" + latin),
                (b"zTXt", keyword + b"\0\0" + zlib.compress(latin)),
                (b"iTXt", keyword + b"\0\0\0en\0k\0" + text.encode()),
                (b"iTXt", keyword + b"\0\1\0\0\0" + zlib.compress(text.encode())),
            ]
        )
    )


@st.composite
def pngs(draw: st.DrawFn) -> bytes:
    """A PNG of any mode with texts before and after its pixels, other chunks, and its pixels in several chunks."""
    parts = chunks(png_of(draw(st.sampled_from(PNG_MODES)), draw(sizes), draw(st.integers(0, 255))))
    at = [kind for kind, _ in parts].index(b"IDAT")
    stream = b"".join(body for kind, body in parts if kind == b"IDAT")
    cuts = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=4)))
    pixels = [(b"IDAT", stream[a:b]) for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    others = st.lists(text_chunks() | st.just((b"tIME", bytes(7))) | st.just((b"prVt", b"mine")), max_size=3)
    return png([*parts[:at], *draw(others), *pixels, *draw(others), (b"IEND", b"")])


def exif(orientation: int = 1) -> bytes:
    """An EXIF block as a phone writes it, with a place and a date."""
    block = Image.Exif()
    block[ORIENTATION] = orientation
    block[0x010F] = "Camera maker"
    block[EXIF_IFD] = {0x9003: "2026:01:02 03:04:05", MAKER_NOTE: b"notes of the maker"}
    block[GPS_IFD] = {1: "N", 2: (48.0, 51.0, 29.0)}
    return block.tobytes()


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">somebody</x:xmpmeta>'


@st.composite
def jpegs(draw: st.DrawFn) -> bytes:
    mode = draw(st.sampled_from(["L", "RGB", "CMYK"]))
    options: dict[str, Any] = {"progressive": draw(st.booleans()), "quality": draw(st.integers(20, 100))}
    options |= draw(
        st.sampled_from([{}, {"exif": exif()}, {"xmp": XMP}, {"comment": b"hello"}, {"restart_marker_rows": 1}])
    )
    return encoded(painted(mode, draw(sizes), draw(st.integers(0, 255))), "JPEG", **options)


@st.composite
def webps(draw: st.DrawFn) -> bytes:
    mode = draw(st.sampled_from(["RGB", "RGBA"]))
    options: dict[str, Any] = {"lossless": draw(st.booleans()), "method": 0}
    options |= draw(st.sampled_from([{}, {"exif": exif()}, {"xmp": XMP}, {"exif": exif(), "xmp": XMP}]))
    return encoded(painted(mode, draw(sizes), draw(st.integers(0, 255))), "WEBP", **options)


def jpeg_frame(data: bytes) -> bytes:
    """A JPEG from its quantisation tables on, which Pillow writes after all metadata."""
    return data[data.rindex(b"\xff\xdb\x00C\x00") :]


def riff_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    found = []
    position = 12
    while position < len(data):
        kind, size = struct.unpack_from("<4sI", data, position)
        found.append((kind, data[position + 8 : position + 8 + size]))
        position += 8 + size + size % 2
    return found


def riff(parts: list[tuple[bytes, bytes]]) -> bytes:
    body = b"WEBP" + b"".join(
        struct.pack("<4sI", kind, len(content)) + content + bytes(len(content) % 2) for kind, content in parts
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


def animation(kind: str, mode: str = "RGB", size: tuple[int, int] = (9, 7)) -> bytes:
    frames = [painted(mode, size, seed) for seed in (1, 90, 200)]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=100)


def cmyk_profile() -> bytes:
    """An ICC profile for CMYK in which only black counts: paper without black ink is white, whatever its colour."""
    lightness = bytes(v for i in range(16) for v in (0 if i & 1 else 255, 128, 128))
    straight = bytes(range(256))
    table = (
        b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + struct.pack(">9i", *(65536 if i % 4 == 0 else 0 for i in range(9)))
    )
    table += straight * 4 + lightness + straight * 3
    table += bytes(-len(table) % 4)
    tags = struct.pack(">I4sII", 1, b"A2B0", 144, len(table))
    header = struct.pack(">I4sI4s4s4s", 144 + len(table), bytes(4), 0x02400000, b"prtr", b"CMYK", b"Lab ")
    header += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + bytes(28)
    header += struct.pack(">3I", 0xF6D6, 0x10000, 0xD32D)
    return header.ljust(128, b"\0") + tags + table
