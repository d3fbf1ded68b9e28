"""Text is read back as it was written, and no byte of the pixels changes."""

from __future__ import annotations

import io
import json
import struct
import zlib

import pytest
from hypothesis import given
from PIL import ExifTags, Image

from invokeai_external.images.inputs import prepare_input
from invokeai_external.images.inspect import inspect_image
from invokeai_external.images.text_chunks import embed_text, read_text

from ..support import samples
from ..support.samples import EXIF_IFD, GPS_IFD, MAKER_NOTE, USER_COMMENT, XMP, chunks, encoded, painted, riff_chunks
from .raising import image_error

TEXTS = {"invokeai_metadata": '{"prompt": "Ä wörd, 猫 and 😀"}', "Title": "plain"}
TEXT_KINDS = (b"tEXt", b"zTXt", b"iTXt")


def keyword_of(chunk: tuple[bytes, bytes]) -> str | None:
    kind, body = chunk
    return body.split(b"\0")[0].decode("latin-1") if kind in TEXT_KINDS else None


def user_comment(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        comment = image.getexif().get_ifd(EXIF_IFD)[USER_COMMENT]
    assert isinstance(comment, bytes)
    return comment


class TestPng:
    @given(samples.pngs(), samples.text_maps)
    def test_texts_are_read_back(self, data: bytes, texts: dict[str, str]) -> None:
        result = embed_text(data, texts)
        assert read_text(result) == read_text(data) | texts
        found = samples.info(result)
        assert {keyword: found[keyword] for keyword in texts} == texts

    @given(samples.pngs(), samples.text_maps)
    def test_every_other_chunk_stays(self, data: bytes, texts: dict[str, str]) -> None:
        result = embed_text(data, texts)
        others_before = [chunk for chunk in chunks(data) if keyword_of(chunk) not in texts]
        assert [chunk for chunk in chunks(result) if keyword_of(chunk) not in texts] == others_before
        assert samples.shown(result) == samples.shown(data)
        assert inspect_image(result, max_pixels=1600) == inspect_image(data, max_pixels=1600)
        first = samples.kinds(result).index(b"IDAT")
        assert {keyword_of(chunk) for chunk in chunks(result)[first - len(texts) : first]} >= set(texts)

    @given(samples.pngs(), samples.text_maps)
    def test_embedding_twice_is_embedding_once(self, data: bytes, texts: dict[str, str]) -> None:
        once = embed_text(data, texts)
        assert embed_text(once, texts) == once

    @given(samples.pngs(), samples.text_maps)
    def test_preparing_an_input_removes_all_texts(self, data: bytes, texts: dict[str, str]) -> None:
        assert read_text(prepare_input(embed_text(data, texts), max_bytes=1 << 20).data) == {}

    def test_animation_keeps_its_frames(self) -> None:
        data = samples.animation("PNG")
        result = embed_text(data, TEXTS)
        assert [c for c in chunks(result) if keyword_of(c) is None] == chunks(data)
        with Image.open(io.BytesIO(result)) as image:
            assert getattr(image, "n_frames", 1) == 3
            assert image.info["invokeai_metadata"] == TEXTS["invokeai_metadata"]

    def test_bytes_after_the_end_stay(self) -> None:
        data = samples.png_of("RGB", (3, 3))
        assert embed_text(data + b"trailer", TEXTS) == embed_text(data, TEXTS) + b"trailer"

    def test_without_texts_nothing_changes(self) -> None:
        data = samples.png_of("RGB", (3, 3))
        assert embed_text(data, {}) is data

    def test_ascii_goes_into_the_simplest_chunk(self) -> None:
        data = embed_text(samples.png_of("L", (1, 1)), {"a": "ascii", "b": "é"})
        assert [kind for kind in samples.kinds(data) if kind in TEXT_KINDS] == [b"tEXt", b"iTXt"]

    @pytest.mark.parametrize(
        "chunk",
        [
            (b"zTXt", b"k\0\0" + zlib.compress(b"text")[:-3]),
            (b"zTXt", b"k\0\0not zlib"),
            (b"zTXt", b"k\0\0" + zlib.compress(bytes((1 << 24) + 1))),
            (b"iTXt", b"k\0\0\0\0\0\xff\xfe"),
        ],
    )
    def test_texts_that_cannot_be_read_are_ignored(self, chunk: tuple[bytes, bytes]) -> None:
        data = samples.with_chunks(samples.png_of("L", (2, 2)), chunk, (b"tEXt", b"good\0text"))
        assert read_text(data) == {"good": "text"}

    def test_compressed_texts_share_one_limit(self) -> None:
        half = zlib.compress(bytes(1 << 23))
        added = [(b"zTXt", b"%d\0\0" % i + half) for i in range(3)]
        last = (b"zTXt", b"last\0\0" + zlib.compress(b"!!"))
        data = samples.with_chunks(samples.png_of("L", (2, 2)), *added, last, (b"tEXt", b"good\0text"))
        assert list(read_text(data)) == ["0", "1", "good"]


class TestJpeg:
    @given(samples.jpegs(), samples.text_maps.filter(bool))
    def test_texts_are_read_back(self, data: bytes, texts: dict[str, str]) -> None:
        result = embed_text(data, texts)
        assert read_text(result) == texts
        assert json.loads(user_comment(result).removeprefix(b"ASCII\0\0\0")) == texts

    @given(samples.jpegs(), samples.text_maps)
    def test_the_frame_stays(self, data: bytes, texts: dict[str, str]) -> None:
        result = embed_text(data, texts)
        assert samples.jpeg_frame(result) == samples.jpeg_frame(data)
        assert samples.shown(result) == samples.shown(data)
        assert embed_text(result, texts) == result

    def test_other_tags_stay(self) -> None:
        data = encoded(painted("RGB", (20, 10)), "JPEG", exif=samples.exif(6), xmp=XMP, comment=b"hello")
        result = embed_text(embed_text(data, {"one": "1", "two": "x"}), {"two": "2"})
        assert read_text(result) == {"one": "1", "two": "2"}
        with Image.open(io.BytesIO(result)) as image:
            tags = image.getexif()
            assert (tags[0x0112], tags[0x010F]) == (6, "Camera maker")
            assert tags.get_ifd(GPS_IFD)[2] == (48.0, 51.0, 29.0)
            assert tags.get_ifd(EXIF_IFD)[MAKER_NOTE] == b"notes of the maker"
            assert (image.info["xmp"], image.info["comment"]) == (XMP, b"hello")

    def test_thumbnail_and_big_endian_tags_stay(self) -> None:
        # IFD0 with an orientation and a link to IFD1, which contains a thumbnail after all tables.
        thumbnail = b"\xff\xd8thumbnail\xff\xd9"
        block = struct.pack(">2sHI", b"MM", 42, 8) + struct.pack(">HHHIHHI", 1, 0x0112, 3, 1, 3, 0, 26)
        block += struct.pack(">HHHIIHHIII", 2, 0x0201, 4, 1, 56, 0x0202, 4, 1, len(thumbnail), 0) + thumbnail
        data = encoded(painted("RGB", (20, 10)), "JPEG", exif=b"Exif\0\0" + block)
        result = embed_text(data, TEXTS)
        assert embed_text(result, TEXTS) == result
        assert read_text(result) == TEXTS
        with Image.open(io.BytesIO(result)) as image:
            tags = image.getexif()
            assert tags[0x0112] == 3
            first = tags.get_ifd(ExifTags.IFD.IFD1)
            assert image.info["exif"][6:][first[0x0201] :][: first[0x0202]] == thumbnail

    def test_follows_the_jfif_header_and_replaces_exif_anywhere(self) -> None:
        segment = b"\xff\xe1" + struct.pack(">H", 8 + len(samples.exif()) - 6) + samples.exif()
        plain = encoded(painted("L", (8, 8)), "JPEG")
        jfif_end = 4 + struct.unpack_from(">H", plain, 4)[0]
        late = plain[:jfif_end] + b"\xff\xfe\0\x04hi" + segment + plain[jfif_end:]
        result = embed_text(late, TEXTS)
        assert result[:jfif_end] == plain[:jfif_end]
        assert result[jfif_end:].startswith(b"\xff\xe1")
        assert result.count(b"Exif\0\0") == 1
        assert result.endswith(b"\xff\xfe\0\x04hi" + plain[jfif_end:])

    @pytest.mark.parametrize(
        "block",
        [
            b"rubbish",
            b"II*\0",
            b"II*\0\xff\xff\xff\xff",
            b"II*\0\x08\0\0\0\xff\xff",
            b"MM\0*\0\0\0\x08\0\x01\x87\x69\0\x04\0\0\0\x01\xff\xff\xff\xff\0\0\0\0",
        ],
    )
    def test_broken_exif_is_replaced(self, block: bytes) -> None:
        plain = encoded(painted("L", (8, 8)), "JPEG")
        data = plain[:2] + b"\xff\xe1" + struct.pack(">H", 8 + len(block)) + b"Exif\0\0" + block + plain[2:]
        assert read_text(data) == {}
        result = embed_text(data, TEXTS)
        assert read_text(result) == TEXTS
        assert embed_text(result, TEXTS) == result
        assert user_comment(result).startswith(b"ASCII\0\0\0{")

    @pytest.mark.parametrize(
        "comment",
        [
            b"ASCII\0\0\0a comment",
            b"UNICODE\0\0a",
            b"ASCII\0\0\0[1]",
            b"ASCII\0\0\0" + b"[" * 9999,
            b'ASCII\0\0\0{"a":1}',
        ],
    )
    def test_other_comments_are_not_texts(self, comment: bytes) -> None:
        block = Image.Exif()
        block[EXIF_IFD] = {USER_COMMENT: comment}
        data = encoded(painted("L", (8, 8)), "JPEG", exif=block.tobytes())
        assert read_text(data) == {}
        assert read_text(embed_text(data, TEXTS)) == TEXTS

    def test_too_long(self) -> None:
        data = encoded(painted("L", (8, 8)), "JPEG")
        fits = {"k": "x" * (65527 - 8 - 18 - 30 - len('ASCII???{"k":""}'))}
        assert read_text(embed_text(data, fits)) == fits
        with image_error(
            "too_many_bytes",
            facts=("65,528", "65,527"),
        ):
            embed_text(data, {"k": fits["k"] + "x"})

    def test_bytes_after_the_end_stay(self) -> None:
        data = encoded(painted("RGB", (8, 8)), "JPEG")
        assert embed_text(data + b"\xff\xd8film", TEXTS) == embed_text(data, TEXTS) + b"\xff\xd8film"


class TestWebP:
    @given(samples.webps(), samples.text_maps.filter(bool))
    def test_texts_are_read_back(self, data: bytes, texts: dict[str, str]) -> None:
        result = embed_text(data, texts)
        assert read_text(result) == texts
        assert json.loads(user_comment(result).removeprefix(b"ASCII\0\0\0")) == texts
        assert embed_text(result, texts) == result

    @given(samples.webps(), samples.text_maps.filter(bool))
    def test_the_pixels_and_the_order_stay(self, data: bytes, texts: dict[str, str]) -> None:
        result = embed_text(data, texts)
        others = (b"VP8X", b"EXIF")
        others_before = [chunk for chunk in riff_chunks(data) if chunk[0] not in others]
        assert [chunk for chunk in riff_chunks(result) if chunk[0] not in others] == others_before
        order = [b"VP8X", b"ICCP", b"ANIM", b"ALPH", b"VP8 ", b"VP8L", b"EXIF", b"XMP "]
        places = [order.index(kind) for kind, _ in riff_chunks(result)]
        assert places == sorted(places)
        assert samples.shown(result) == samples.shown(data)
        assert inspect_image(result, max_pixels=1600) == inspect_image(data, max_pixels=1600)

    @pytest.mark.parametrize("lossless", [True, False])
    @pytest.mark.parametrize("mode", ["RGB", "RGBA"])
    def test_a_simple_file_becomes_an_extended_one(self, mode: str, lossless: bool) -> None:
        data = encoded(painted(mode, (33, 20)), "WEBP", lossless=lossless)
        kind, content = riff_chunks(embed_text(data, TEXTS))[0]
        assert kind == b"VP8X"
        assert content == bytes((0x18 if mode == "RGBA" else 0x08, 0, 0, 0, 32, 0, 0, 19, 0, 0))

    def test_animation_keeps_its_frames(self) -> None:
        data = samples.animation("WEBP")
        result = embed_text(data, TEXTS)
        assert [c for c in riff_chunks(result) if c[0] != b"EXIF"][1:] == riff_chunks(data)[1:]
        assert riff_chunks(result)[-1][0] == b"EXIF"
        assert read_text(result) == TEXTS

    def test_texts_may_be_long_and_trailers_stay(self) -> None:
        data = encoded(painted("RGB", (8, 8)), "WEBP")
        long = {"k": "x" * 100_000}
        result = embed_text(data + b"trailer", long)
        assert result.endswith(b"trailer")
        assert read_text(result) == long

    def test_the_prefix_that_some_writers_put_before_exif(self) -> None:
        parts = riff_chunks(encoded(painted("RGB", (8, 8)), "WEBP", exif=samples.exif(8)))
        parts = [(kind, b"Exif\0\0" + body if kind == b"EXIF" else body) for kind, body in parts]
        result = embed_text(samples.riff(parts), TEXTS)
        with Image.open(io.BytesIO(result)) as image:
            assert image.getexif()[0x0112] == 8
        assert read_text(result) == TEXTS


@pytest.mark.parametrize("keyword", ["", "x" * 80, " a", "a ", "a  b", "a\0b", "a\nb", "猫", "\xa0"])
def test_invalid_keywords(keyword: str) -> None:
    with image_error("invalid_text"):
        embed_text(samples.png_of("L", (1, 1)), {keyword: "text"})


@pytest.mark.parametrize("text", ["a\0b", "\ud83d"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_invalid_texts(text: str, kind: str) -> None:
    with image_error("invalid_text"):
        embed_text(encoded(painted("RGB", (3, 3)), kind), {"k": text})


@pytest.mark.parametrize("data", [b"", b"text", encoded(painted("P", (3, 3)), "GIF")])
def test_other_formats_cannot_store_text(data: bytes) -> None:
    with image_error("wrong_format"):
        embed_text(data, TEXTS)
    with image_error("wrong_format"):
        read_text(data)
