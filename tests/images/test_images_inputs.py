"""What is sent: the same pixels, nothing else, and no more bytes than the limit."""

from __future__ import annotations

import io
import random
import struct
import warnings
from contextlib import nullcontext
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from invokeai_external.images import inputs
from invokeai_external.images.errors import ImageError
from invokeai_external.images.inputs import PreparedImage, prepare_input, size_of
from invokeai_external.images.inspect import inspect_image
from invokeai_external.images.pixels import decoded, encoded_png, pixels_at_cost
from invokeai_external.sizing import Size

from ..support import samples
from ..support.samples import XMP, chunks, encoded, kinds, painted, png_of, riff_chunks, with_chunks
from .raising import image_error

ROOM = 1 << 24
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SHOWN_CHUNKS = [
    (b"gAMA", struct.pack(">I", 45455)),
    (b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)),
    (b"sRGB", b"\0"),
    (b"sBIT", b"\x08\x08\x08"),
    (b"cICP", b"\x01\x0d\0\x01"),
    (b"bKGD", bytes(6)),
    (b"pHYs", struct.pack(">IIB", 2835, 2835, 1)),
]


def pixels(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        return image.convert("RGBA").tobytes()


@given(samples.pngs())
def test_png_is_stripped_and_not_encoded_again(data: bytes) -> None:
    prepared = prepare_input(data, max_bytes=ROOM)
    assert (prepared.mime_type, prepared.size, prepared.downscaled) == ("image/png", size_of(data), False)
    if samples.shown(data)[0] == "I;16":
        return
    shown = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
    assert chunks(prepared.data) == [chunk for chunk in chunks(data) if chunk[0] in shown]
    assert samples.shown(prepared.data) == samples.shown(data)


def test_png_keeps_the_chunks_that_show() -> None:
    plain = png_of("RGB", (5, 4), icc_profile=SRGB)
    private = [
        (b"tIME", bytes(7)),
        (b"eXIf", samples.exif()[6:]),
        (b"caBX", b"who"),
        (b"sPLT", b"x"),
        (b"tEXt", b"a\0b"),
    ]
    dressed = with_chunks(with_chunks(plain, *SHOWN_CHUNKS, *private), *private, before=b"IEND")
    assert chunks(prepare_input(dressed + b"film", max_bytes=ROOM).data) == chunks(with_chunks(plain, *SHOWN_CHUNKS))


def test_animated_png_becomes_its_still_image() -> None:
    data = samples.animation("PNG")
    prepared = prepare_input(data, max_bytes=ROOM)
    assert kinds(prepared.data) == [b"IHDR", b"IDAT", b"IEND"]
    assert pixels(prepared.data) == painted("RGB", (9, 7), 1).convert("RGBA").tobytes()


@given(samples.jpegs())
def test_jpeg_is_stripped_and_not_encoded_again(data: bytes) -> None:
    prepared = prepare_input(data, max_bytes=ROOM)
    assert (prepared.mime_type, prepared.size, prepared.downscaled) == ("image/jpeg", size_of(data), False)
    assert not any(secret in prepared.data for secret in (b"Exif", b"Camera", b"somebody", b"hello"))
    if samples.shown(data)[0] == "CMYK":
        assert samples.shown(prepared.data)[0] == "RGB"
    else:
        assert samples.jpeg_frame(prepared.data) == samples.jpeg_frame(data)
        assert samples.shown(prepared.data) == samples.shown(data)


def test_jpeg_keeps_the_segments_that_show() -> None:
    options: dict[str, Any] = {"icc_profile": SRGB, "dpi": (72, 72), "quality": 90}
    plain = encoded(painted("RGB", (30, 20)), "JPEG", **options)
    dressed = encoded(painted("RGB", (30, 20)), "JPEG", **options, exif=samples.exif(), xmp=XMP, comment=b"hello")
    jfif_end = 4 + struct.unpack_from(">H", plain, 4)[0]
    private = b"".join(
        b"\xff" + bytes((marker,)) + struct.pack(">H", 2 + len(body)) + body
        for marker, body in [
            (0xE0, b"JFXX\0thumbnail"),
            (0xE2, b"MPF\0index"),
            (0xE3, b"depth"),
            (0xED, b"Photoshop 3.0\0"),
            (0xEF, b"own"),
        ]
    )
    data = dressed[:jfif_end] + private + dressed[jfif_end:] + b"\xff\xd8second\xff\xd9MotionPhoto_Data"
    assert prepare_input(data, max_bytes=ROOM).data == plain


def test_jpeg_keeps_adobes_colour_transform() -> None:
    data = encoded(painted("RGB", (8, 8)), "JPEG", keep_rgb=True)
    assert b"\xff\xee\0\x0eAdobe" in data
    assert prepare_input(data, max_bytes=ROOM).data == data


@given(samples.webps())
def test_webp_is_stripped_and_not_encoded_again(data: bytes) -> None:
    prepared = prepare_input(data, max_bytes=ROOM)
    assert (prepared.mime_type, prepared.size, prepared.downscaled) == ("image/webp", size_of(data), False)
    parts = riff_chunks(prepared.data)
    kept = [chunk for chunk in riff_chunks(data) if chunk[0] not in (b"EXIF", b"XMP ")]
    assert parts[-1] == kept[-1]
    assert [kind for kind, _ in parts] == [kind for kind, _ in kept]
    assert parts[0][0] != b"VP8X" or not parts[0][1][0] & 0x0C
    assert samples.shown(prepared.data) == samples.shown(data)


def test_webp_loses_unknown_chunks_and_keeps_its_profile() -> None:
    plain = riff_chunks(encoded(painted("RGBA", (30, 20)), "WEBP", icc_profile=SRGB))
    data = samples.riff([*plain, (b"abcd", b"odd")]) + b"film"
    assert riff_chunks(prepare_input(data, max_bytes=ROOM).data) == plain


def test_animated_webp_becomes_its_first_image() -> None:
    data = encoded(painted("RGB", (9, 7)), "WEBP", lossless=True)
    frames = encoded(
        painted("RGB", (9, 7)), "WEBP", save_all=True, append_images=[painted("RGB", (9, 7), 99)], lossless=True
    )
    prepared = prepare_input(frames, max_bytes=ROOM)
    assert (prepared.mime_type, prepared.size) == ("image/png", Size(9, 7))
    assert pixels(prepared.data) == pixels(data)


def turned(kind: str, orientation: int) -> bytes:
    image = painted("RGB", (24, 16)).resize((48, 32))
    if kind == "TIFF":
        return encoded(image, "TIFF", tiffinfo={0x0112: orientation})
    if kind == "PNG":
        return with_chunks(encoded(image, "PNG"), (b"eXIf", samples.exif(orientation)[6:]))
    return encoded(image, kind, exif=samples.exif(orientation), **({"quality": 95} if kind == "JPEG" else {}))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", *samples.AVIF])
@pytest.mark.parametrize("orientation", range(9))
def test_images_are_turned_upright(kind: str, orientation: int) -> None:
    data = turned(kind, orientation)
    with Image.open(io.BytesIO(data)) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    prepared = prepare_input(data, max_bytes=ROOM)
    assert size_of(data) == prepared.size == Size(*upright.size)
    assert (prepared.size == Size(32, 48)) == (orientation >= 5)
    assert prepared.mime_type == {"JPEG": "image/jpeg", "WEBP": f"image/{'webp' if orientation < 2 else 'png'}"}.get(
        kind, "image/png"
    )
    with Image.open(io.BytesIO(prepared.data)) as result:
        assert result.getexif().get(0x0112) is None
        if kind == "JPEG":
            differences = (abs(a - b) for a, b in zip(result.tobytes(), upright.tobytes(), strict=True))
            assert sum(differences) / len(upright.tobytes()) < 4
        else:
            assert result.convert("RGB").tobytes() == upright.tobytes()
    assert b"Camera" not in prepared.data


def test_a_turned_image_keeps_only_its_profile() -> None:
    for kind in ("JPEG", "PNG"):
        data = encoded(
            painted("RGB", (9, 8)), kind, icc_profile=SRGB, exif=samples.exif(6), comment=b"hello", dpi=(9, 9)
        )
        prepared = prepare_input(data, max_bytes=ROOM)
        info = samples.info(prepared.data)
        assert info.pop("icc_profile") == SRGB
        assert set(info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        ("GIF", "P"),
        ("BMP", "RGB"),
        ("BMP", "L"),
        ("TIFF", "RGB"),
        ("TIFF", "RGBA"),
        ("TIFF", "1"),
        ("TIFF", "LA"),
        ("ICO", "RGBA"),
        ("PPM", "RGB"),
        ("TGA", "RGBA"),
        ("JPEG2000", "RGB"),
    ],
)
def test_other_formats_become_png(kind: str, mode: str) -> None:
    image = painted(mode, (16, 9))
    data = encoded(image, kind, **({"sizes": [(16, 9)]} if kind == "ICO" else {}))
    prepared = prepare_input(data, max_bytes=ROOM)
    assert (prepared.mime_type, prepared.size, prepared.downscaled) == ("image/png", Size(16, 9), False)
    assert size_of(data) == Size(16, 9)
    expected = "RGBA" if mode in ("RGBA", "LA") else "RGB"
    assert samples.shown(prepared.data) == (expected, (16, 9), image.convert("RGBA").tobytes())


def test_animated_gif_becomes_its_first_image() -> None:
    data = samples.animation("GIF", "P")
    assert pixels(prepare_input(data, max_bytes=ROOM).data) == painted("P", (9, 7), 1).convert("RGBA").tobytes()


def test_transparent_gif_keeps_its_transparency() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    data = encoded(image, "GIF", transparency=0)
    assert samples.shown(prepare_input(data, max_bytes=ROOM).data)[2][3::4] == b"\0\xff"


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_keeps_its_shades(kind: str) -> None:
    """Pillow itself makes every value above 255 white."""
    image = Image.frombytes("I;16", (4, 1), struct.pack("<4H", 0, 300, 32768, 65535))
    prepared = prepare_input(encoded(image, kind), max_bytes=ROOM)
    assert samples.shown(prepared.data) == ("RGB", (4, 1), b"".join(bytes((v, v, v, 255)) for v in (0, 1, 128, 255)))


@pytest.mark.parametrize(
    ("mode", "values", "expected"),
    [
        ("I", struct.pack("=3i", -5, 100, 255), (0, 100, 255)),
        ("I", struct.pack("=3i", 0, 32768, 65535), (0, 128, 255)),
        ("I", struct.pack("=3i", 0, 500_000, 1_000_000), (0, 128, 255)),
        ("F", struct.pack("=3f", 0, 0.25, 1), (0, 64, 255)),
        ("F", struct.pack("=3f", 0, 64, 200), (0, 64, 200)),
    ],
)
def test_integers_and_floats_become_shades(mode: str, values: bytes, expected: tuple[int, ...]) -> None:
    data = encoded(Image.frombytes(mode, (3, 1), values), "TIFF")
    assert samples.shown(prepare_input(data, max_bytes=ROOM).data)[2][::4] == bytes(expected)


def test_cmyk_is_converted_by_its_profile() -> None:
    image = Image.new("CMYK", (8, 8), (255, 255, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 4, 8))
    for kind, mime_type in (("JPEG", "image/jpeg"), ("TIFF", "image/png")):
        prepared = prepare_input(encoded(image, kind, icc_profile=samples.cmyk_profile()), max_bytes=ROOM)
        assert prepared.mime_type == mime_type
        assert "icc_profile" not in samples.info(prepared.data)
        with Image.open(io.BytesIO(prepared.data)) as result:
            assert result.mode == "RGB"
            black, white = result.getpixel((0, 4)), result.getpixel((7, 4))
        assert isinstance(black, tuple)
        assert isinstance(white, tuple)
        assert max(black) < 10
        assert min(white) > 245  # in this profile the coloured inks do not show


@pytest.mark.parametrize("profile", [b"", b"rubbish", bytes(16) + b"CMYK" + bytes(200), SRGB])
def test_cmyk_without_a_usable_profile(profile: bytes) -> None:
    image = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    prepared = prepare_input(encoded(image, "TIFF", icc_profile=profile), max_bytes=ROOM)
    assert samples.shown(prepared.data) == ("RGB", (8, 8), b"\0\xff\xff\xff" * 64)
    assert "icc_profile" not in samples.info(prepared.data)


def test_lab_becomes_rgb() -> None:
    data = encoded(Image.new("LAB", (2, 2), (255, 128, 128)), "TIFF")
    mode, _, values = samples.shown(prepare_input(data, max_bytes=ROOM).data)
    assert mode == "RGB"
    assert min(values) > 245


def test_a_grey_profile_is_removed_from_rgb() -> None:
    grey = SRGB[:16] + b"GRAY" + SRGB[20:]
    for profile, kept in ((SRGB, SRGB), (grey, None)):
        data = encoded(painted("RGB", (4, 4)), "TIFF", icc_profile=profile)
        assert samples.info(prepare_input(data, max_bytes=ROOM).data).get("icc_profile") == kept


def noise(mode: str, kind: str, size: tuple[int, int] = (120, 60)) -> bytes:
    image = samples.noisy(size).convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.linear_gradient("L").resize(size))
    return encoded(image, kind, **({"lossless": True} if kind == "WEBP" else {}))


@settings(deadline=None, max_examples=30)
@given(st.sampled_from([("RGB", "PNG"), ("RGBA", "PNG"), ("RGB", "JPEG"), ("RGBA", "WEBP"), ("RGB", "BMP")]), st.data())
def test_large_images_are_scaled_down(mode_and_kind: tuple[str, str], choice: st.DataObject) -> None:
    data = noise(*mode_and_kind)
    most = choice.draw(st.integers(1200, 4000))
    prepared = prepare_input(data, max_bytes=most)
    assert len(prepared.data) <= most
    assert prepared.downscaled
    assert prepared.mime_type == ("image/jpeg" if mode_and_kind[1] == "JPEG" else "image/png")
    info = inspect_image(prepared.data, max_pixels=7200)
    assert (info.size, info.has_alpha) == (prepared.size, mode_and_kind[0] == "RGBA")
    assert prepared.size.width == pytest.approx(2 * prepared.size.height, abs=2)
    assert len(prepared.data) > most / 3


@pytest.mark.parametrize("kind", ["BMP", "JPEG", "PNG"])
def test_what_must_be_encoded_again_has_no_more_pixels_than_a_model_sees(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = noise("RGB", kind)
    monkeypatch.setattr("invokeai_external.images.inputs._MOST_SEEN", 800)
    as_it_is = prepare_input(data, max_bytes=1_000_000)
    assert as_it_is.downscaled == (kind == "BMP")
    prepared = prepare_input(data, max_bytes=len(data) - 1)
    assert (prepared.size, prepared.downscaled) == (Size(40, 20), True)


def test_an_image_that_fits_when_packed_better_keeps_its_size() -> None:
    data = encoded(Image.new("RGB", (100, 100)), "PNG", compress_level=0)
    prepared = prepare_input(data, max_bytes=len(data) // 2)
    assert (prepared.size, prepared.downscaled) == (Size(100, 100), False)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_an_image_that_fits_at_no_size(kind: str) -> None:
    with image_error("too_many_bytes", facts=("20",)):
        prepare_input(encoded(painted("L", (30, 20)), kind), max_bytes=20)


def test_an_image_that_cannot_be_read() -> None:
    for data in (b"", b"text", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"):
        for function in (lambda data: prepare_input(data, max_bytes=ROOM), size_of):
            with image_error("unreadable"):
                function(data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"])
def test_an_image_that_is_truncated(kind: str) -> None:
    data = encoded(painted("P" if kind == "GIF" else "RGB", (40, 40)), kind)
    with pytest.raises(ImageError):
        prepare_input(data[: len(data) // 2], max_bytes=ROOM)


def test_large_images_pass_without_pillows_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Warnings are errors in these tests, and Pillow warns about 40x40 pixels here."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    for kind in ("PNG", "JPEG", "WEBP"):
        data = encoded(painted("RGB", (40, 40)), kind, exif=samples.exif(3))
        assert prepare_input(data, max_bytes=ROOM).size == size_of(data) == Size(40, 40)
    with image_error("too_many_pixels"):
        size_of(encoded(painted("RGB", (50, 50)), "BMP"))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert size_of(encoded(painted("RGB", (40, 40)), "BMP")) == Size(40, 40)


def test_the_bytes_are_not_in_the_representation() -> None:
    assert repr(PreparedImage(b"secret", "image/png", Size(1, 2), False)) == (
        "PreparedImage(mime_type='image/png', size=Size(width=1, height=2), downscaled=False)"
    )


def jpeg_2000(edge: int) -> bytes:
    """A small file whose header says that size; nothing else is wrong with it."""
    return encoded(Image.new("RGB", (16, 16)), "JPEG2000").replace(
        struct.pack(">II", 16, 16), struct.pack(">II", edge, edge)
    )


@pytest.mark.parametrize(("edge", "codes"), [(2828, ()), (2829, ("too_many_pixels",))])
def test_jpeg_2000_has_fewer_pixels_than_other_formats(edge: int, codes: tuple[Any, ...]) -> None:
    large = jpeg_2000(edge)
    inside = b"ic10" + struct.pack(">I", 8 + len(large)) + large
    for data in (large, b"icns" + struct.pack(">I", 8 + len(inside)) + inside):
        with image_error(*codes) if codes else nullcontext():
            assert size_of(data).pixels


@pytest.mark.parametrize(
    ("kind", "mode", "saved", "limit"),
    [
        ("JPEG", "RGB", {"progressive": True}, "formats.jpeg.MOST_AT_COST"),
        ("PNG", "I;16", {}, "formats.png.MOST_AT_COST"),
        ("WEBP", "RGB", {}, "formats.webp.MOST_AT_GREAT_COST"),
        ("BMP", "RGB", {}, "pixels.MOST_AT_COST"),
    ],
)
def test_an_image_that_takes_longer_to_decode_may_have_fewer_pixels(
    kind: str, mode: str, saved: dict[str, Any], limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encoded(Image.new(mode, (4, 4)), kind, **saved)
    assert decoded(data).image.size == (4, 4)
    assert pixels_at_cost(data) > 16 == pixels_at_cost(png_of("RGB", (4, 4)))
    monkeypatch.setattr(f"invokeai_external.images.{limit}", 15)
    with image_error("too_many_pixels", facts=("4x4", "15")):
        decoded(data)
    assert decoded(encoded(Image.new("RGB", (4, 4)), "JPEG")).image.size == (4, 4)


def test_the_warnings_of_pillow_are_dropped_while_it_reads_and_the_filters_are_as_before() -> None:
    tags = b"".join(struct.pack("<HHII", 40_000 + tag, 3, 1, 0) for tag in range(9))
    image = encoded(Image.new("L", (2, 2)), "TIFF")
    (start,) = struct.unpack_from("<I", image, 4)
    (count,) = struct.unpack_from("<H", image, start)
    own = image[start + 2 : start + 2 + 12 * count]
    # The directory says that it has more tags than the file.
    directory = struct.pack("<H", count + 100) + own + tags
    data = image[:4] + struct.pack("<I", len(image)) + image[8:] + directory
    before = list(warnings.filters)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert Image.open(io.BytesIO(data)).size == (2, 2)
        assert seen
        seen.clear()
        assert size_of(data) == Size(2, 2)
        assert decoded(data).image.size == (2, 2)
    assert seen == []
    assert list(warnings.filters) == before


@pytest.mark.parametrize(("mode", "mime_type"), [("RGB", "image/jpeg"), ("RGBA", "image/png")])
def test_a_large_image_that_is_encoded_again_is_a_jpeg_unless_it_has_alpha(mode: str, mime_type: str) -> None:
    """As PNG, it takes ten times the time, and often does not fit without being scaled down."""
    file = io.BytesIO()
    Image.radial_gradient("L").resize((2100, 2000)).convert(mode).save(file, "TIFF")
    prepared = prepare_input(file.getvalue(), max_bytes=10_000_000)
    assert (prepared.mime_type, prepared.size, prepared.downscaled) == (mime_type, Size(2100, 2000), False)


def test_a_large_image_that_must_be_smaller_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise in grey with alpha, of which a small image is compressed far better than a large one."""
    whole = []

    def encode(image: Image.Image, *args: Any, **options: Any) -> bytes:
        whole.extend([image.size] if image.height > 1000 else [])
        return encoded_png(image, *args, **options)

    monkeypatch.setattr(inputs, "encoded_png", encode)
    size, limit = (3400, 3200), 20_000_000
    grey, alpha = (Image.frombytes("L", size, random.Random(seed).randbytes(size[0] * size[1])) for seed in (1, 2))
    prepared = prepare_input(encoded(Image.merge("LA", (grey, alpha)), "PNG", compress_level=1), max_bytes=limit)
    assert whole == [(prepared.size.width, prepared.size.height)]
    assert len(prepared.data) <= limit
