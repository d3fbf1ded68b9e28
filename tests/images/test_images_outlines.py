"""The outline of an image file: the same texts, and next to nothing of the pixels."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from invokeai_external.images.outlines import outline
from invokeai_external.images.text_chunks import embed_text, read_text

TEXTS = {"invokeai_metadata": "a fox \u2603 " * 300}


def file(kind: str, size: tuple[int, int] = (800, 600), **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise(size, 50).convert("RGB").save(buffer, kind, **options)
    return buffer.getvalue()


FILES = {
    "png": file("png"),
    "jpeg": file("jpeg"),
    "progressive jpeg": file("jpeg", progressive=True),
    "webp": file("webp"),
    "lossless webp": file("webp", lossless=True),
    "webp with a profile": file("webp", icc_profile=bytes(3001)),
}


@pytest.mark.parametrize("kind", FILES)
def test_it_has_the_texts_and_not_the_pixels(kind: str) -> None:
    data = embed_text(FILES[kind], TEXTS)
    found = outline(io.BytesIO(data))
    assert read_text(found) == read_text(data) == TEXTS
    assert len(found) < 20_000 < len(data)


@pytest.mark.parametrize("kind", FILES)
def test_a_file_may_end_anywhere(kind: str) -> None:
    data = embed_text(file(kind.split()[-1] if "profile" not in kind else "webp", (8, 8)), {"a": "b"})
    for end in range(len(data)):
        assert isinstance(outline(io.BytesIO(data[:end])), bytes)


@pytest.mark.parametrize("data", [b"", b"GIF89a" + bytes(100), bytes(1000)])
def test_another_file_has_no_outline(data: bytes) -> None:
    assert outline(io.BytesIO(data)) == b""
