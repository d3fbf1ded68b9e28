"""Text in and out of picture files, without a pixel being encoded again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from .errors import ImageError
from .formats.containers import Container, taken_apart
from .formats.png import Png

__all__ = ["embed_text", "parts_with_text", "parts_with_text_chunks", "read_text"]

_KEYWORD = re.compile(r"(?! )(?!.*  )[\x20-\x7e\xa1-\xff]{1,79}(?<! )")
"""A keyword as PNG has it (third edition, 11.3.3.1): printable Latin-1, no space at either end, no two in a row."""


def embed_text(data: bytes, texts: Mapping[str, str]) -> bytes:
    """The file of ``parts_with_text`` as one; raises what it raises."""
    return b"".join(parts_with_text(data, texts)) if texts else data


def parts_with_text(data: bytes, texts: Mapping[str, str]) -> list[bytes | memoryview]:
    """The file with texts in it, its compressed pixels byte for byte as they were.

    It comes in parts to be written one behind the other: those that were there are views of ``data``, not copies.

    A PNG gets ``tEXt`` chunks, or ``iTXt`` where a text is not ASCII: Pillow shows either in ``Image.info``. JPEG and
    WebP get a JSON object of all texts as EXIF user comment; their other EXIF tags stay. Texts that are there under
    other keywords stay, those under the same are replaced.

    Args:
        data: A PNG, JPEG or WebP file; only its outline is checked here.
        texts: Text by keyword, which is 1 to 79 characters of Latin-1.

    Raises:
        ImageError: The file is cut off or in another format, a keyword or text cannot be stored, or, for JPEG, all
            texts and other EXIF tags together exceed 64 KB.
    """
    container = _container(data)
    for keyword, text in texts.items():
        if _KEYWORD.fullmatch(keyword) is None:
            raise ImageError(f"{keyword!r} cannot be the keyword of a text: it takes 1 to 79 printable characters.")
        if "\0" in text:
            raise ImageError(f"The text {keyword} holds a NUL character, which cannot be stored.")
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise ImageError(f"The text {keyword} holds half a character, which cannot be stored.") from None
    return container.parts_with_texts(texts) if texts else [data]


def parts_with_text_chunks(
    png: bytes, chunks: Sequence[tuple[bytes, bytes]], *, dropped: Iterable[str] = ()
) -> list[bytes | memoryview]:
    """The PNG with text chunks in it as somebody else has made them, everything else byte for byte as it was.

    In parts like ``parts_with_text``.

    Args:
        png: A PNG file; only its outline is checked here.
        chunks: The kind of each (``tEXt``, ``zTXt``, ``iTXt``) and its body, the keyword first. They replace the file's
            own texts with their keywords.
        dropped: Keywords whose texts in the file go without another in their place.

    Raises:
        ImageError: The file is no PNG or cut off, or a chunk is no text.
    """
    container = _container(png)
    if not isinstance(container, Png):
        raise ImageError("This is no PNG.")
    return container.parts_with_text_chunks(chunks, dropped)


def read_text(data: bytes) -> dict[str, str]:
    """The texts in a file by keyword: those that ``embed_text`` wrote, and for a PNG all others too.

    Texts that cannot be read are left out, and so are compressed ones beyond the first 16 MB of them.

    Raises:
        ImageError: The file is cut off or no PNG, JPEG or WebP.
    """
    return _container(data).texts()


def _container(data: bytes) -> Container:
    container = taken_apart(data)
    if container is None:
        raise ImageError("Text can be kept in PNG, JPEG and WebP files only.")
    return container
