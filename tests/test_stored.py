"""An image that is saved as the file it came in: byte for byte but for the texts, until somebody changes it."""

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

from invokeai_external.images.embed import embed_text, read_text
from invokeai_external.images.errors import ImageError
from invokeai_external.invoke.gallery.passthrough import StoredImage
from invokeai_external.sizing import Size

from .images import pictures
from .images.pictures import chunks, encoded, painted, png_of, shown

TEXTS = {"invokeai_metadata": '{"prompt": "Ä wörd, 猫 and 😀"}', "invokeai_graph": "{}"}
SIZE = (13, 9)
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def info_with(texts: dict[str, str]) -> PngInfo:
    info = PngInfo()
    for keyword, text in texts.items():
        info.add_text(keyword, text)
    return info


def saved(image: Image.Image, **options: Any) -> bytes:
    """What Invoke does: it makes a thumbnail, puts its own texts in the place of ``info``, and saves."""
    image.convert("RGBA").thumbnail((8, 8))
    info: dict[Any, Any] = dict(TEXTS)
    image.info = info
    return encoded(image, "PNG", **{"pnginfo": info_with(TEXTS), "compress_level": 1, **options})


def pixel_data(data: bytes) -> list[bytes]:
    return [body for kind, body in chunks(data) if kind == b"IDAT"]


def others(data: bytes) -> list[tuple[bytes, bytes]]:
    """The chunks without the texts that the tests write."""
    return [(kind, body) for kind, body in chunks(data) if body.partition(b"\0")[0].decode("latin-1") not in TEXTS]


class TestUntouched:
    @given(pictures.pngs())
    def test_every_byte_but_the_texts_is_what_came(self, data: bytes) -> None:
        result = saved(StoredImage.of_file(data))
        assert others(result) == others(data)
        assert read_text(result) == read_text(data) | TEXTS
        assert shown(result) == shown(data)

    @given(pictures.pngs())
    def test_saved_again_from_its_file_no_text_is_there_twice(self, data: bytes) -> None:
        once = saved(StoredImage.of_file(data))
        assert saved(StoredImage.of_file(once)) == once

    @pytest.mark.parametrize("mode", pictures.PNG_MODES)
    def test_it_is_what_pillow_reads(self, mode: str) -> None:
        data = png_of(mode, SIZE)
        with Image.open(io.BytesIO(data)) as plain:
            kept = StoredImage.of_file(data)
            assert (kept.mode, kept.size, kept.tobytes()) == (plain.mode, plain.size, plain.tobytes())
            assert kept.convert("RGBA").tobytes() == plain.convert("RGBA").tobytes()

    def test_sixteen_bits_of_colour_stay_of_which_pillow_reads_eight(self) -> None:
        parts = dict(chunks(png_of("RGB", (1, 1))))
        header = bytearray(parts[b"IHDR"])
        header[8] = 16
        data = pictures.png([(b"IHDR", bytes(header)), (b"IDAT", zlib.compress(b"\0\1\2\3\4\5\6")), (b"IEND", b"")])
        assert others(saved(StoredImage.of_file(data))) == chunks(data)

    def test_a_text_that_is_to_go_goes(self) -> None:
        data = embed_text(png_of("RGB", SIZE), {"invokeai_workflow": "another run's", "Title": "its own"})
        result = saved(StoredImage.of_file(data, dropped=["invokeai_workflow"]))
        assert read_text(result) == {"Title": "its own", **TEXTS}

    def test_a_path_is_written_as_well(self, tmp_path: Path) -> None:
        data = png_of("RGBA", SIZE)
        for path in (tmp_path / "one.png", str(tmp_path / "two.png")):
            StoredImage.of_file(data).save(path, "png")
            assert Path(path).read_bytes() == data

    def test_the_bytes_are_let_go_with_the_first_save_and_not_with_one_that_failed(self, tmp_path: Path) -> None:
        data = bytes(bytearray(png_of("RGB", SIZE)))
        image = StoredImage.of_file(data)
        with pytest.raises(OSError, match="no-such-folder"):
            image.save(tmp_path / "no-such-folder" / "x.png", "PNG")
        assert any(data is held for held in _reached(image))
        assert saved(image)
        assert not any(isinstance(held, bytes) and data in held for held in _reached(image))

    def test_after_that_it_is_as_if_opened_from_the_file(self) -> None:
        image = StoredImage.of_file(png_of("P+tRNS", SIZE))
        file = saved(image)
        with Image.open(io.BytesIO(file)) as opened:
            assert image.convert("RGBA").tobytes() == opened.convert("RGBA").tobytes()
            assert image.info == opened.info
        image.putpixel((0, 0), 1)
        assert image.getpixel((0, 0)) == 1

    def test_the_first_picture_of_an_animation_is_shown_and_all_are_kept(self) -> None:
        data = pictures.animation("PNG")
        image = StoredImage.of_file(data)
        assert image.size == (9, 7)
        assert others(saved(image)) == chunks(data)


def _reached(image: StoredImage) -> list[object]:
    """All that hangs on an image, but types and modules."""
    found: list[object] = []
    left: list[object] = [vars(image)]
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


class TestTouched:
    @pytest.mark.parametrize("name", EDITS)
    def test_an_edit_is_what_is_saved(self, name: str) -> None:
        mode, edit = EDITS[name]
        data = png_of(mode, SIZE)
        image = StoredImage.of_file(data)
        edit(image)
        with Image.open(io.BytesIO(data)) as plain:
            plain.load()
            edit(plain)
            assert shown(saved(image)) == shown(saved(plain))
        assert shown(data) != shown(encoded(image, "PNG"))

    @pytest.mark.parametrize("edit", [lambda i: i.rotate(90), lambda i: i.convert("L"), lambda i: i.copy()])
    def test_what_is_made_of_it_is_an_image_like_any_other(self, edit: Callable[[Image.Image], Image.Image]) -> None:
        assert not isinstance(edit(StoredImage.of_file(png_of("RGB", SIZE))), StoredImage)

    @pytest.mark.parametrize(
        "options", [{"transparency": (1, 2, 3)}, {"bits": 4}, {"pnginfo": "own"}, {"save_all": True}]
    )
    def test_with_other_options_pillow_encodes(self, options: dict[str, Any]) -> None:
        if options.get("pnginfo"):
            options = {"pnginfo": PngInfo()}
            options["pnginfo"].add(b"prVt", b"mine")
        parts = chunks(png_of("P" if "bits" in options else "RGB", SIZE))
        at = [kind for kind, _ in parts].index(b"IDAT")
        # An encoder would make one chunk of its pixels.
        data = pictures.png([*parts[:at], (b"IDAT", parts[at][1][:9]), (b"IDAT", parts[at][1][9:]), *parts[at + 1 :]])
        assert len(pixel_data(saved(StoredImage.of_file(data)))) == 2
        assert len(pixel_data(saved(StoredImage.of_file(data), **options))) == 1

    def test_another_format_is_pillow_s(self) -> None:
        data = encoded(StoredImage.of_file(png_of("RGB", SIZE)), "WEBP", lossless=True)
        assert shown(data) == ("RGB", SIZE, shown(png_of("RGB", SIZE))[2])

    @pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
    def test_what_came_in_another_format_is_encoded_with_its_profile(self, kind: str) -> None:
        data = encoded(painted("RGB", SIZE), kind, icc_profile=PROFILE)
        result = saved(StoredImage.of_file(data))
        assert shown(result)[2] == shown(data)[2]
        assert pictures.info(result)["icc_profile"] == PROFILE
        assert read_text(result) == TEXTS

    def test_what_it_was_resized_to_keeps_the_profile(self) -> None:
        image = StoredImage.of_file(png_of("RGB", SIZE, icc_profile=PROFILE))
        result = saved(image.as_large_as(Size(20, 10)))
        assert shown(result)[1] == (20, 10)
        assert pictures.info(result)["icc_profile"] == PROFILE

    def test_pixels_that_are_broken_raise_when_they_are_needed(self) -> None:
        parts = [(kind, b"no zlib" if kind == b"IDAT" else body) for kind, body in chunks(png_of("RGB", SIZE))]
        image = StoredImage.of_file(pictures.png(parts))
        assert image.size == SIZE
        for _ in range(2):
            with pytest.raises(OSError, match="broken"):
                saved(image)

    @pytest.mark.parametrize("data", [b"", b"GIF89a", png_of("RGB", SIZE)[:-20]])
    def test_what_cannot_be_read_raises(self, data: bytes) -> None:
        with pytest.raises(ImageError):
            StoredImage.of_file(data)
