"""Only complete images pass."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, JpegImagePlugin

from invokeai_external.images.errors import ImageError
from invokeai_external.images.inputs import prepare_input, size_of
from invokeai_external.images.inspect import ImageInfo, inspect_image
from invokeai_external.images.painted_masks import mask_from_file, mask_pixels
from invokeai_external.images.pixels import decoded
from invokeai_external.images.provider_masks import alpha_mask, square_mask, square_rgba
from invokeai_external.images.text_chunks import embed_text, read_text
from invokeai_external.sizing import Size

from ..support import samples
from ..support.samples import chunks, encoded, painted, png, png_of
from .raising import image_error

MOST = 1600
EVERY_BYTE = settings(deadline=None, max_examples=20)


@pytest.mark.parametrize("mode", samples.PNG_MODES)
@pytest.mark.parametrize("size", [(1, 1), (31, 7), (40, 40)])
def test_png(mode: str, size: tuple[int, int]) -> None:
    has_alpha = mode in ("LA", "RGBA") or "tRNS" in mode
    assert inspect_image(png_of(mode, size), max_pixels=MOST) == ImageInfo("image/png", Size(*size), has_alpha)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg(mode: str) -> None:
    info = inspect_image(encoded(painted(mode, (31, 7)), "JPEG"), max_pixels=MOST)
    assert info == ImageInfo("image/jpeg", Size(31, 7), False)


@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("exif", [b"", samples.exif(6)])
def test_webp(mode: str, lossless: bool, exif: bytes) -> None:
    data = encoded(painted(mode, (31, 7)), "WEBP", lossless=lossless, exif=exif)
    assert inspect_image(data, max_pixels=MOST) == ImageInfo("image/webp", Size(31, 7), mode == "RGBA")


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_animation(kind: str) -> None:
    assert inspect_image(samples.animation(kind), max_pixels=MOST).size == Size(9, 7)


@EVERY_BYTE
@given(samples.pngs() | samples.jpegs() | samples.webps())
def test_a_file_that_is_truncated_anywhere_is_refused(data: bytes) -> None:
    inspect_image(data, max_pixels=MOST)
    for end in range(len(data)):
        if data.startswith(b"\x89") or (data.startswith(b"\xff\xd8") and end >= len(data) - 20):
            # The end may be missing, and what shows no pixel: texts after them, parts of blocks beyond the edges.
            with suppress(ImageError):
                inspect_image(data[:end], max_pixels=MOST)
                assert decoded(data[:end]).image.tobytes() == decoded(data).image.tobytes()
        else:
            with pytest.raises(ImageError):
                inspect_image(data[:end], max_pixels=MOST)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 1}])
@pytest.mark.parametrize("missing", [1, 2])
def test_a_jpeg_without_its_end_marker_is_complete(options: dict[str, Any], missing: int) -> None:
    data = encoded(samples.noisy((64, 48)), "JPEG", **options)
    assert inspect_image(data[:-missing], max_pixels=10_000).size == Size(64, 48)
    prepared = prepare_input(data[:-missing], max_bytes=10**6)
    assert decoded(prepared.data).image.tobytes() == decoded(data).image.tobytes()
    assert prepared.data.endswith(b"\xff\xd9")
    described = embed_text(data[:-missing], {"k": "v"})
    assert read_text(described) == {"k": "v"}
    assert described.endswith(b"\xff\xd9")


@pytest.mark.parametrize("missing", [1, 4, 5, 11, 12])
def test_a_png_without_its_end_chunk_is_complete(missing: int) -> None:
    data = encoded(samples.noisy((64, 48)), "PNG")
    assert inspect_image(data[:-missing], max_pixels=10_000).size == Size(64, 48)
    prepared = prepare_input(data[:-missing], max_bytes=10**6)
    assert decoded(prepared.data).image.tobytes() == decoded(data).image.tobytes()
    assert prepared.data == prepare_input(data, max_bytes=10**6).data
    assert embed_text(data[:-missing], {"k": "v"}) == embed_text(data, {"k": "v"})


def test_a_png_that_ends_with_a_whole_chunk_of_a_part_of_its_pixels_is_truncated() -> None:
    parts = chunks(png_of("RGB", (64, 48)))
    ((place, pixels),) = [(place, body) for place, (kind, body) in enumerate(parts) if kind == b"IDAT"]
    half = len(pixels) // 2
    data = samples.png([*parts[:place], (b"IDAT", pixels[:half]), (b"IDAT", pixels[half:]), (b"IEND", b"")])
    assert inspect_image(data[:-12], max_pixels=10_000).size == Size(64, 48)
    with image_error("truncated"):
        inspect_image(data[: -12 - 12 - (len(pixels) - half)], max_pixels=10_000)


def test_a_png_with_a_profile_of_two_megabytes_is_used_without_it() -> None:
    data = png_of("RGB", (16, 9))
    header, *rest = chunks(data)
    large = samples.png([header, (b"iCCP", b"p\0\0" + zlib.compress(bytes(2 << 20))), *rest])
    assert decoded(large).image.tobytes() == decoded(data).image.tobytes()
    assert decoded(large).profile is None
    assert prepare_input(large, max_bytes=10**6).data == prepare_input(data, max_bytes=10**6).data


@pytest.mark.parametrize(("options", "most"), [({}, 2), ({"restart_marker_rows": 8}, 3)])
def test_a_large_jpeg_without_its_end_marker_is_probed_a_few_times_and_once(
    options: dict[str, Any], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encoded(samples.noisy((2000, 1200)), "JPEG", **options)[:-2]
    decodings = []
    tobytes = JpegImagePlugin.JpegImageFile.tobytes

    def counted(image: JpegImagePlugin.JpegImageFile) -> bytes:
        decodings.append(image.size)
        return tobytes(image)

    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "tobytes", counted)
    for _ in range(3):
        assert inspect_image(data, max_pixels=MOST * 10_000).size == Size(2000, 1200)
    assert decodings == [(2000, 1200)] * most
    for lacking in (1, 3, 30, 3000, len(data) // 2):
        with image_error("truncated"):
            inspect_image(data[:-lacking], max_pixels=MOST * 10_000)


def test_a_progressive_jpeg_without_its_last_scans_is_truncated() -> None:
    data = encoded(samples.noisy((64, 48)), "JPEG", progressive=True)
    scans = [place for place in range(len(data)) if data[place : place + 2] == b"\xff\xda"]
    assert len(scans) > 4
    for place in scans[1:]:
        # Tables may stand before a scan.
        for table in (place, data.rindex(b"\xff\xc4", 0, place)):
            with image_error("truncated"):
                inspect_image(data[:table], max_pixels=10_000)


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0heic", "HEIC"),
        (b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- a fox -->\n<svg xmlns="http://www.w3.org/2000/svg">', "SVG"),
        (b"  <svg width='9'>", "SVG"),
        (b"%PDF-1.7\n", "PDF"),
    ],
)
def test_a_format_that_cannot_be_read_is_named_with_what_to_do(start: bytes, name: str) -> None:
    functions: list[Callable[[bytes], object]] = [
        size_of,
        lambda data: prepare_input(data, max_bytes=99),
        mask_from_file,
    ]
    for function in functions:
        with pytest.raises(ImageError) as caught:
            function(start + bytes(99))
        assert name in str(caught.value)
        assert caught.value.remedy


@pytest.mark.slow
@settings(deadline=None)
@given(samples.pngs(), st.data())
def test_a_flipped_bit_in_a_png_is_noticed(data: bytes, choice: st.DataObject) -> None:
    flipped = bytearray(data)
    flipped[choice.draw(st.integers(0, len(data) - 1))] ^= 1 << choice.draw(st.integers(0, 7))
    with pytest.raises(ImageError):
        inspect_image(bytes(flipped), max_pixels=1 << 62)


def test_bytes_after_the_end_are_ignored() -> None:
    for data in (png_of("RGB", (3, 3)), *(encoded(painted("RGB", (3, 3)), kind) for kind in ("JPEG", "WEBP"))):
        assert inspect_image(data + b"film", max_pixels=MOST) == inspect_image(data, max_pixels=MOST)


def header(width: int = 2, height: int = 2, depth: int = 8, colour: int = 2, rest: bytes = bytes(3)) -> bytes:
    return struct.pack(">IIBB", width, height, depth, colour) + rest


PIXELS = (b"IDAT", zlib.compress(bytes(14)))
END = (b"IEND", b"")


@pytest.mark.parametrize(
    "parts",
    [
        [PIXELS, END],
        [(b"IHDR", bytes(12)), PIXELS, END],
        [(b"IHDR", header(width=0)), PIXELS, END],
        [(b"IHDR", header(height=1 << 31)), PIXELS, END],
        [(b"IHDR", header(depth=4)), PIXELS, END],
        [(b"IHDR", header(colour=5)), PIXELS, END],
        [(b"IHDR", header(rest=b"\1\0\0")), PIXELS, END],
        [(b"IHDR", header(rest=b"\0\1\0")), PIXELS, END],
        [(b"IHDR", header(rest=b"\0\0\2")), PIXELS, END],
        [(b"IHDR", header()), END],
        [(b"IHDR", header()), (b"IHDR", header(60000, 60000)), PIXELS, END],
        [(b"IHDR", header()), PIXELS, (b"tEXt", b"k\0"), PIXELS, END],
        [(b"IHDR", header(colour=3)), PIXELS, END],
        [(b"IHDR", header()), (b"CgBI", bytes(4)), PIXELS, END],
        [(b"IHDR", header(1000, 1000)), PIXELS, END],
        [(b"IHDR", header()), (b"IDAT", b""), END],
        [(b"IHDR", header()), (b"1234", b""), PIXELS, END],
    ],
)
def test_an_invalid_png(parts: list[tuple[bytes, bytes]]) -> None:
    assert inspect_image(png([(b"IHDR", header()), PIXELS, END]), max_pixels=MOST).size == Size(2, 2)
    with image_error("damaged", "unreadable"):
        inspect_image(png(parts), max_pixels=1 << 62)
    with pytest.raises(ImageError):
        mask_from_file(png(parts))


VP8 = samples.riff_chunks(encoded(painted("RGB", (8, 8)), "WEBP"))[0][1]
VP8L = samples.riff_chunks(encoded(painted("RGB", (8, 8)), "WEBP", lossless=True))[0][1]
JPEG_8X8 = encoded(painted("RGB", (8, 8)), "JPEG")


@pytest.mark.parametrize(
    ("most", "of_parts"),
    [
        (65_000, lambda count: png([(b"IHDR", header()), *[(b"abCd", b"")] * count, PIXELS, END])),
        (9_900, lambda count: JPEG_8X8[:2] + b"\xff\xfe\0\2" * count + JPEG_8X8[2:]),
        (98, lambda count: JPEG_8X8[:-2] + b"\xff\xda\0\x06\1\1\0\0\x3f\0" * count + JPEG_8X8[-2:]),
        (9_900, lambda count: samples.riff([(b"VP8 ", VP8), *[(b"abcd", b"")] * count])),
    ],
    ids=["PNG chunks", "JPEG segments", "JPEG scans", "WebP chunks"],
)
def test_the_parts_of_a_file_are_counted(most: int, of_parts: Callable[[int], bytes]) -> None:
    """A part of four bytes takes hundreds in memory, and a scan a pass over all pixels."""
    assert size_of(of_parts(most)).pixels > 0
    with image_error("too_many_parts"):
        size_of(of_parts(most + most // 10))


def test_the_more_pixels_a_jpeg_has_the_fewer_scans_may_pass_over_them() -> None:
    def scanned(scans: int) -> bytes:
        at = JPEG_8X8.index(b"\xff\xc0") + 5
        large = JPEG_8X8[:at] + struct.pack(">HH", 7000, 7000) + JPEG_8X8[at + 4 :]
        return large[:-2] + b"\xff\xda\0\x06\1\1\0\0\x3f\0" * (scans - 1) + large[-2:]

    assert size_of(scanned(18)) == Size(7000, 7000)
    with image_error("too_many_parts"):
        size_of(scanned(30))


def test_a_jpeg_of_50_million_pixels_may_have_the_18_scans_that_libjpeg_writes_in_cmyk() -> None:
    data = encoded(Image.new("CMYK", (64, 64), (10, 200, 30, 5)), "JPEG", progressive=True)
    assert data.count(b"\xff\xda") == 18
    at = data.index(b"\xff\xc2") + 5
    large = data[:at] + struct.pack(">HH", 7000, 7000) + data[at + 4 :]
    assert size_of(large) == Size(7000, 7000)


def test_interlaced_png() -> None:
    # Adam7 with 1x1 pixels has a single pass.
    assert inspect_image(png([(b"IHDR", header(1, 1, rest=b"\0\0\1")), PIXELS, END]), max_pixels=1).size == Size(1, 1)


def jpeg_with(segment: bytes) -> bytes:
    data = encoded(painted("RGB", (8, 8)), "JPEG")
    return data[:2] + segment + data[2:]


@pytest.mark.parametrize(
    "data",
    [
        jpeg_with(b"\xff\xd8"),
        jpeg_with(b"\xff\xfe\0\x01"),
        jpeg_with(b"\xff\xc0\0\x0b\x08\xea\x60\xea\x60\x01\1\x11\0"),
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8\xff\xc0\0\x04\0\0\xff\xd9",
        b"\xff\xd8\xff\xc0\0\x0b\x08\0\0\0\x05\x01\1\x11\0\xff\xd9",
        b"\xff\xd8\xff\xc0\0\x0b\x08\0\x05\0\x05\x01\1\x11\0\xff\xd9",
    ],
)
def test_an_invalid_jpeg(data: bytes) -> None:
    with image_error("damaged", "unreadable"):
        inspect_image(data, max_pixels=MOST)


def test_a_jpeg_may_have_bytes_between_its_segments() -> None:
    data = jpeg_with(b"\xff\xff\xff\xfe\0\x03!junk")
    assert inspect_image(data, max_pixels=MOST).size == Size(8, 8)


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [(b"VP8X", bytes(10))],
        [(b"VP8X", bytes(9)), (b"VP8 ", VP8)],
        [(b"VP8 ", VP8[:3] + b"xyz" + VP8[6:])],
        [(b"VP8 ", VP8[:6] + bytes(4) + VP8[10:])],
        [(b"VP8L", b"x" + VP8L[1:])],
        [(b"EXIF", b"x"), (b"VP8 ", VP8)],
        [(b"VP8 ", VP8[:12])],
    ],
)
def test_an_invalid_webp(parts: list[tuple[bytes, bytes]]) -> None:
    with image_error("unreadable"):
        inspect_image(samples.riff(parts), max_pixels=MOST)


def test_a_webp_whose_chunks_do_not_fill_it() -> None:
    data = samples.riff([(b"VP8 ", VP8)])
    longer = data[:4] + struct.pack("<I", len(data) - 8 + 4) + data[8:] + b"tail"
    with image_error("truncated"):
        inspect_image(longer, max_pixels=MOST)
    shorter = data[:4] + struct.pack("<I", len(data) - 8 - 2) + data[8:]
    with image_error("truncated"):
        inspect_image(shorter, max_pixels=MOST)


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "ICO"])
def test_other_formats_are_named(kind: str) -> None:
    with image_error("wrong_format", facts=(kind,)):
        inspect_image(encoded(painted("L", (16, 16)), kind), max_pixels=MOST)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_size_is_checked_before_anything_else(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(painted("RGB", (16, 10)), kind)
    assert inspect_image(data, max_pixels=160).size == Size(16, 10)
    monkeypatch.setattr(zlib, "crc32", None)
    monkeypatch.setattr(Image.Image, "load", None)
    with image_error(
        "too_many_pixels",
        facts=("16x10", "159"),
    ):
        inspect_image(data, max_pixels=159)


def test_truncated_images_are_refused_whatever_pillow_is_set_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other code in the same process may have set Pillow to accept truncated images."""
    monkeypatch.setattr("PIL.ImageFile.LOAD_TRUNCATED_IMAGES", True)
    for kind in ("PNG", "JPEG", "WEBP"):
        with image_error("truncated"):
            inspect_image(encoded(painted("RGB", (16, 10)), kind)[:-20], max_pixels=MOST)


def huge(kind: str) -> bytes:
    """A small file whose header says about 60000x60000 pixels; nothing else is wrong with it."""
    data = encoded(painted("P" if kind == "GIF" else "RGB", (16, 16)), kind.split()[0])
    edge = 60000
    if kind == "PNG":
        return png([(b"IHDR", header(edge, edge)), *chunks(data)[1:]])
    if kind == "JPEG":
        at = data.index(b"\xff\xc0") + 5
        return data[:at] + struct.pack(">HH", edge, edge) + data[at + 4 :]
    if kind == "WEBP":
        return samples.riff([(b"VP8X", bytes(4) + struct.pack("<HBHB", edge, 0, edge, 0)), *samples.riff_chunks(data)])
    if kind == "GIF":
        return data[:6] + struct.pack("<HH", edge, edge) + data[10:]
    if kind == "BMP":
        return data[:18] + struct.pack("<ii", edge, edge) + data[26:]
    if kind == "TIFF":
        for tag in (256, 257):
            at = data.index(struct.pack("<HHII", tag, 4, 1, 16))
            data = data[:at] + struct.pack("<HHII", tag, 4, 1, edge) + data[at + 12 :]
        return data
    (at,) = struct.unpack_from("<I", data, 18)
    frames = {
        "ICO": png([(b"IHDR", header(edge, edge)), *chunks(data[at:])[1:]]),
        "ICO of bitmaps": struct.pack("<IiiHH", 40, edge, -edge, 1, 24) + bytes(24),
        "ICO of old bitmaps": struct.pack("<IHHHH", 12, edge, edge, 1, 24) + bytes(24),
    }
    return data[:at] + frames[kind]


@pytest.mark.parametrize(
    "kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "ICO", "ICO of bitmaps", "ICO of old bitmaps"]
)
def test_bombs_are_refused_by_their_headers(kind: str) -> None:
    data = huge(kind)
    for function in (
        lambda: inspect_image(data, max_pixels=10**8),
        lambda: size_of(data),
        lambda: prepare_input(data, max_bytes=10**8),
        lambda: mask_from_file(data),
        lambda: square_rgba(data, edge=8, max_bytes=10**8),
    ):
        with image_error("too_many_pixels"):
            function()


ALL_FUNCTIONS: tuple[Callable[[bytes], object], ...] = (
    lambda data: inspect_image(data, max_pixels=10**6),
    lambda data: embed_text(data, {"k": "ü"}),
    lambda data: read_text(data),
    lambda data: size_of(data),
    lambda data: prepare_input(data, max_bytes=3000),
    lambda data: mask_from_file(data),
    lambda data: alpha_mask(mask_pixels(data, "white"), Size(5, 4), max_bytes=1000),
    lambda data: square_rgba(data, edge=8, max_bytes=10**6),
    lambda data: square_mask(mask_pixels(data, "red"), Size(4, 5), edge=8),
)


def attempt_all(data: bytes) -> None:
    for function in ALL_FUNCTIONS:
        with suppress(ImageError):
            function(data)


others = st.sampled_from(["GIF", "BMP", "TIFF", "ICO", "PPM", "TGA", *samples.AVIF]).map(
    lambda kind: encoded(painted("RGB", (16, 9)), kind)
)


@settings(deadline=None, max_examples=200)
@given(
    st.sampled_from(
        [b"", samples.PNG_SIGNATURE, b"\xff\xd8\xff", b"RIFF\x20\0\0\0WEBPVP8X", b"GIF89a", b"BM", b"II*\0"]
    ),
    st.binary(max_size=200),
)
def test_random_bytes_raise_only_image_errors(start: bytes, rest: bytes) -> None:
    attempt_all(start + rest)


@pytest.mark.slow
@settings(deadline=None, max_examples=200)
@given(samples.pngs() | samples.jpegs() | samples.webps() | others, st.data())
def test_damage_raises_only_image_errors(data: bytes, choice: st.DataObject) -> None:
    damaged = bytearray(data)
    for _ in range(choice.draw(st.integers(1, 3))):
        at = choice.draw(st.integers(0, len(data) - 1))
        damaged[at : at + choice.draw(st.integers(0, 4))] = choice.draw(st.binary(max_size=4))
    attempt_all(bytes(damaged))
