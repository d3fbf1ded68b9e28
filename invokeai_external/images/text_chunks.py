"""Writes text into image files and reads it back, without re-encoding pixels."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from .errors import ImageError
from .formats.containers import Container, parse
from .formats.png import Png

__all__ = ["container_of", "embed_text", "parts_with_text", "parts_with_text_chunks", "read_text"]

_KEYWORD = re.compile(r"(?! )(?!.*  )[\x20-\x7e\xa1-\xff]{1,79}(?<! )")
"""A keyword as PNG has it (third edition, 11.3.3.1): printable Latin-1, no space at either end, no two in a row."""


def embed_text(data: bytes, texts: Mapping[str, str]) -> bytes:
    """The file with texts added, in one piece; raises like ``container_of`` and ``parts_with_text``."""
    return b"".join(parts_with_text(container_of(data), texts)) if texts else data


def parts_with_text(container: Container, texts: Mapping[str, str]) -> list[bytes | memoryview]:
    """The file with texts added; its compressed pixels stay the same, byte for byte.

    Returns parts to write one after the other. Those of the file are views of it, not copies.

    A PNG gets ``tEXt`` chunks, or ``iTXt`` for a text that is not ASCII; Pillow shows both in ``Image.info``. JPEG and
    WebP get a JSON object with all texts as the EXIF user comment, and keep their other EXIF tags. Existing texts with
    the same keyword are replaced, others stay.

    Args:
        container: The file.
        texts: Text by keyword, which is 1 to 79 characters of Latin-1.

    Raises:
        ImageError: A keyword or text cannot be stored, or the texts and other EXIF tags of a JPEG exceed 64 KB
            together.
    """
    for keyword, text in texts.items():
        if _KEYWORD.fullmatch(keyword) is None:
            raise ImageError(
                f"{keyword!r} is not a valid keyword: use 1 to 79 printable Latin-1 characters.", "invalid_text"
            )
        if "\0" in text:
            raise ImageError(f"The text {keyword} contains a NUL character, which cannot be stored.", "invalid_text")
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise ImageError(
                f"The text {keyword} contains an unpaired surrogate, which cannot be stored.", "invalid_text"
            ) from None
    return container.parts_with_texts(texts)


def parts_with_text_chunks(
    png: bytes, chunks: Sequence[tuple[bytes, bytes]], *, dropped: Iterable[str] = ()
) -> list[bytes | memoryview]:
    """The PNG with finished text chunks added; everything else stays the same, byte for byte.

    Returns parts to write, as ``parts_with_text`` does.

    Args:
        png: A PNG file; only its outline is checked here.
        chunks: The type of each chunk (``tEXt``, ``zTXt``, ``iTXt``) and its body, which starts with the keyword. They
            replace the file's texts with the same keywords.
        dropped: Keywords of texts to remove from the file.

    Raises:
        ImageError: The file is not a PNG or is truncated, or a chunk is not a text chunk.
    """
    container = container_of(png)
    if not isinstance(container, Png):
        raise ImageError("The file is not a PNG.", "wrong_format")
    return container.parts_with_text_chunks(chunks, dropped)


def read_text(data: bytes) -> dict[str, str]:
    """The texts in a file by keyword: those that ``embed_text`` wrote, and in a PNG all others too.

    Ignores texts that cannot be read, and compressed texts beyond the first 16 MB.

    Raises:
        ImageError: The file is truncated, or is not a PNG, JPEG or WebP.
    """
    return container_of(data).texts()


def container_of(data: bytes) -> Container:
    """The parts of a PNG, JPEG or WebP file, of which only the outline is checked; raises ImageError for other data."""
    container = parse(data)
    if container is None:
        raise ImageError("Only PNG, JPEG and WebP files can store text.", "wrong_format")
    return container
