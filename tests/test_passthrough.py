"""An image object that saves the file that it was read from, byte for byte except for texts, until it is edited."""

from __future__ import annotations

import gc
import io
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from PIL import Image, ImageCms, ImageDraw
from PIL.PngImagePlugin import PngInfo

from invokeai_external.images.errors import ImageError
from invokeai_external.images.text_chunks import embed_text, read_text
from invokeai_external.invoke.gallery.passthrough import PassthroughImage
from invokeai_external.sizing import Size

from .support import samples
from .support.samples import chunks, encoded, painted, png_of, shown

TEXTS = {"invokeai_metadata": '{"prompt": "Ä wörd, 猫 and 😀"}', "invokeai_graph": "{}"}
SIZE = (13, 9)
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def info_with(texts: dict[str, str]) -> PngInfo:
    info = PngInfo()
    for keyword, text in texts.items():
        info.add_text(keyword, text)
    return info


def saved(image: Image.Image, **options: Any) -> bytes:
    """Do what Invoke does: make a thumbnail, replace ``info`` by its own texts, and save."""
    image.convert("RGBA").thumbnail((8, 8))
    info: dict[Any, Any] = dict(TEXTS)
    image.info = info
    return encoded(image, "PNG", **{"pnginfo": info_with(TEXTS), "compress_level": 1, **options})


def pixel_data(data: bytes) -> list[bytes]:
    return [body for kind, body in chunks(data) if kind == b"IDAT"]


def others(data: bytes) -> list[tuple[bytes, bytes]]:
    """The chunks except the texts that the tests write."""
    return [(kind, body) for kind, body in chunks(data) if body.partition(b"\0")[0].decode("latin-1") not in TEXTS]


class TestUnedited:
    @given(samples.pngs())
    def test_every_byte_but_the_texts_is_kept(self, data: bytes) -> None:
        result = saved(PassthroughImage.from_file(data))
        assert others(result) == others(data)
        assert read_text(result) == read_text(data) | TEXTS
        assert shown(result) == shown(data)

    @given(samples.pngs())
    def test_saving_a_saved_file_again_duplicates_no_text(self, data: bytes) -> None:
        once = saved(PassthroughImage.from_file(data))
        assert saved(PassthroughImage.from_file(once)) == once

    @pytest.mark.parametrize("mode", samples.PNG_MODES)
    def test_its_pixels_are_what_pillow_reads(self, mode: str) -> None:
        data = png_of(mode, SIZE)
        with Image.open(io.BytesIO(data)) as plain:
            image = PassthroughImage.from_file(data)
            assert (image.mode, image.size, image.tobytes()) == (plain.mode, plain.size, plain.tobytes())
            assert image.convert("RGBA").tobytes() == plain.convert("RGBA").tobytes()

    def test_sixteen_bit_colour_stays_although_pillow_reads_eight(self) -> None:
        parts = dict(chunks(png_of("RGB", (1, 1))))
        header = bytearray(parts[b"IHDR"])
        header[8] = 16
        data = samples.png([(b"IHDR", bytes(header)), (b"IDAT", zlib.compress(b"\0\1\2\3\4\5\6")), (b"IEND", b"")])
        assert others(saved(PassthroughImage.from_file(data))) == chunks(data)

    def test_a_dropped_keyword_is_not_written(self) -> None:
        data = embed_text(png_of("RGB", SIZE), {"invokeai_workflow": "another run's", "Title": "its own"})
        result = saved(PassthroughImage.from_file(data, dropped=["invokeai_workflow"]))
        assert read_text(result) == {"Title": "its own", **TEXTS}

    def test_it_saves_to_a_path(self, tmp_path: Path) -> None:
        data = png_of("RGBA", SIZE)
        for path in (tmp_path / "one.png", str(tmp_path / "two.png")):
            PassthroughImage.from_file(data).save(path, "png")
            assert Path(path).read_bytes() == data

    def test_the_first_successful_save_releases_the_bytes(self, tmp_path: Path) -> None:
        data = bytes(bytearray(png_of("RGB", SIZE)))
        image = PassthroughImage.from_file(data)
        with pytest.raises(FileNotFoundError):
            image.save(tmp_path / "no-such-folder" / "x.png", "PNG")
        assert any(data is held for held in _reached(image))
        assert saved(image)
        assert not any(isinstance(held, bytes) and data in held for held in _reached(image))

    def test_after_a_save_it_behaves_like_the_opened_file(self) -> None:
        image = PassthroughImage.from_file(png_of("P+tRNS", SIZE))
        file = saved(image)
        with Image.open(io.BytesIO(file)) as opened:
            assert image.convert("RGBA").tobytes() == opened.convert("RGBA").tobytes()
            assert image.info == opened.info
        image.putpixel((0, 0), 1)
        assert image.getpixel((0, 0)) == 1

    def test_an_animation_shows_its_first_frame_and_keeps_all(self) -> None:
        data = samples.animation("PNG")
        image = PassthroughImage.from_file(data)
        assert image.size == (9, 7)
        assert others(saved(image)) == chunks(data)


def _reached(image: PassthroughImage) -> list[object]:
    """Everything that an image references, except types and modules."""
    found: list[object] = []
    # Not the dictionary itself: from Python 3.13 on, the object references the values and the dictionary does not.
    left: list[object] = [*vars(image).values()]
    while left:
        held = left.pop()
        if not isinstance(held, type) and not any(held is known for known in found):
            found.append(held)
            if isinstance(held, dict | list | tuple) or type(held).__module__.startswith("invokeai_external"):
                left += gc.get_referents(held)
    return found


EDITS: dict[str, tuple[str, Callable[[Image.Image], object]]] = {
    "paste": ("RGB", lambda image: image.paste((1, 2, 3), (0, 0, 4, 4))),
    "putpixel": ("I;16", lambda image: image.putpixel((2, 2), 12345)),
    "putdata": ("L", lambda image: image.putdata(list(range(SIZE[0] * SIZE[1])))),
    "putalpha": ("RGB", lambda image: image.putalpha(77)),
    "putpalette": ("P", lambda image: image.putpalette([7, 8, 9] * 256)),
    "alpha_composite": ("RGBA", lambda image: image.alpha_composite(Image.new("RGBA", (5, 5), (1, 2, 3, 200)))),
    "draw": ("RGB", lambda image: ImageDraw.Draw(image).line((0, 0, 9, 9), fill=(1, 2, 3))),
    "thumbnail": ("RGB", lambda image: image.thumbnail((5, 5))),
    "frombytes": ("L", lambda image: image.frombytes(bytes(SIZE[0] * SIZE[1]))),
}


class TestEdited:
    @pytest.mark.parametrize("name", EDITS)
    def test_an_edit_is_saved(self, name: str) -> None:
        mode, edit = EDITS[name]
        data = png_of(mode, SIZE)
        image = PassthroughImage.from_file(data)
        edit(image)
        with Image.open(io.BytesIO(data)) as plain:
            plain.load()
            edit(plain)
            assert shown(saved(image)) == shown(saved(plain))
        assert shown(data) != shown(encoded(image, "PNG"))

    @pytest.mark.parametrize("edit", [lambda i: i.rotate(90), lambda i: i.convert("L"), lambda i: i.copy()])
    def test_a_derived_image_is_a_plain_pillow_image(self, edit: Callable[[Image.Image], Image.Image]) -> None:
        assert not isinstance(edit(PassthroughImage.from_file(png_of("RGB", SIZE))), PassthroughImage)

    @pytest.mark.parametrize(
        "options", [{"transparency": (1, 2, 3)}, {"bits": 4}, {"pnginfo": "own"}, {"save_all": True}]
    )
    def test_pillow_encodes_with_other_options(self, options: dict[str, Any]) -> None:
        if options.get("pnginfo"):
            options = {"pnginfo": PngInfo()}
            options["pnginfo"].add(b"prVt", b"mine")
        parts = chunks(png_of("P" if "bits" in options else "RGB", SIZE))
        at = [kind for kind, _ in parts].index(b"IDAT")
        # An encoder would write the pixels as one chunk.
        data = samples.png([*parts[:at], (b"IDAT", parts[at][1][:9]), (b"IDAT", parts[at][1][9:]), *parts[at + 1 :]])
        assert len(pixel_data(saved(PassthroughImage.from_file(data)))) == 2
        assert len(pixel_data(saved(PassthroughImage.from_file(data), **options))) == 1

    def test_pillow_encodes_another_format(self) -> None:
        data = encoded(PassthroughImage.from_file(png_of("RGB", SIZE)), "WEBP", lossless=True)
        assert shown(data) == ("RGB", SIZE, shown(png_of("RGB", SIZE))[2])

    @pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
    def test_another_source_format_is_encoded_with_its_profile(self, kind: str) -> None:
        data = encoded(painted("RGB", SIZE), kind, icc_profile=PROFILE)
        result = saved(PassthroughImage.from_file(data))
        assert shown(result)[2] == shown(data)[2]
        assert samples.info(result)["icc_profile"] == PROFILE
        assert read_text(result) == TEXTS

    def test_a_resized_copy_keeps_the_profile(self) -> None:
        image = PassthroughImage.from_file(png_of("RGB", SIZE, icc_profile=PROFILE))
        result = saved(image.resized_to(Size(20, 10)))
        assert shown(result)[1] == (20, 10)
        assert samples.info(result)["icc_profile"] == PROFILE

    def test_broken_pixels_raise_when_they_are_needed(self) -> None:
        parts = [(kind, b"no zlib" if kind == b"IDAT" else body) for kind, body in chunks(png_of("RGB", SIZE))]
        image = PassthroughImage.from_file(samples.png(parts))
        assert image.size == SIZE
        for _ in range(2):
            with pytest.raises(OSError, match="broken"):
                saved(image)

    @pytest.mark.parametrize("data", [b"", b"GIF89a", png_of("RGB", SIZE)[:-20]])
    def test_an_unreadable_file_raises(self, data: bytes) -> None:
        with pytest.raises(ImageError):
            PassthroughImage.from_file(data)
