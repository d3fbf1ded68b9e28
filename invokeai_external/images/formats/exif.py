"""Reads and writes two tags of an EXIF block: the orientation, and the user comment, which holds our texts.

An EXIF block is a TIFF file without pixels (EXIF 2.3, section 4.5): a header, tables of 12-byte entries ("IFDs"), and
values that the entries point to by offset. When Pillow rewrites a block, the thumbnail is lost and maker notes, which
contain offsets too, break. So nothing is moved here: new tables are appended to the block.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["orientation", "read_texts", "with_texts"]

_ORIENTATION = 0x0112
_EXIF_IFD = 0x8769
_USER_COMMENT = 0x9286

_SHORT, _LONG, _UNDEFINED = 3, 4, 7

_ASCII = b"ASCII\0\0\0"
"""The character code before the text of a user comment (EXIF 2.3, table 9)."""

_NEW_BLOCK = (
    struct.pack("<2sHI", b"II", 42, 8)
    + struct.pack("<HHHIII", 1, _EXIF_IFD, _LONG, 1, 26, 0)
    + struct.pack("<HHHI4sI", 1, 0x9000, _UNDEFINED, 4, b"0230", 0)
)
"""The smallest EXIF block: a table that points to an Exif table, which says that it is EXIF 2.3."""


_MOST_TEXT = 1 << 24
"""The largest user comment that is parsed, in bytes: JSON takes up to thirty times its length in memory."""


@dataclass(frozen=True, slots=True)
class _Table:
    """A table of a block: ``entries`` are its raw entries by tag, ``next`` is the raw offset of the next table."""

    start: int
    end: int
    entries: dict[int, bytes]
    next: bytes

    def packed(self, order: str, tag: int, kind: int, count: int, value: int) -> bytes:
        """The table with one entry added, in ascending order of the tags as TIFF 6.0 requires."""
        entries = {**self.entries, tag: struct.pack(order + "HHII", tag, kind, count, value)}
        packed = b"".join(entries[tag] for tag in sorted(entries))
        return struct.pack(order + "H", len(entries)) + packed + self.next


_NO_TABLE = _Table(0, 0, {}, bytes(4))


def orientation(block: bytes) -> int:
    """How to turn the image upright, 1 to 8 (EXIF 2.3, 4.6.4); 1, which means as it is, if the tag is missing."""
    try:
        block, order, root = _open(block)
        kind, value = struct.unpack(order + "2xH4xH2x", root.entries[_ORIENTATION])
    except (struct.error, KeyError):
        return 1
    return value if kind == _SHORT and 1 <= value <= 8 else 1


def read_texts(block: bytes) -> dict[str, str]:
    """The texts by keyword that ``with_texts`` wrote; empty if there are no texts or the block is broken."""
    try:
        block, order, root = _open(block)
        start, end = _comment(order, _exif_table(block, order, root))
    except (struct.error, KeyError):
        return {}
    if end - start > _MOST_TEXT:
        return {}
    comment = block[start:end]
    if not comment.startswith(_ASCII):
        return {}
    try:
        texts = json.loads(comment[len(_ASCII) :])
    except (ValueError, RecursionError):
        return {}
    if not isinstance(texts, dict):
        return {}
    return {keyword: text for keyword, text in texts.items() if isinstance(text, str)}


def with_texts(block: bytes, texts: Mapping[str, str]) -> bytes:
    """The block with these texts in its user comment; its texts with other keywords stay.

    A user comment with any other content is replaced, and so is a block that is empty or broken.
    """
    merged = json.dumps({**read_texts(block), **texts}, ensure_ascii=True, separators=(",", ":"))
    comment = _ASCII + merged.encode("ascii")
    try:
        return _with_comment(block, comment)
    except struct.error:
        return _with_comment(_NEW_BLOCK, comment)


def _with_comment(block: bytes, comment: bytes) -> bytes:
    block, order, root = _open(block)
    try:
        exif = _exif_table(block, order, root)
    except (struct.error, KeyError):
        exif = _NO_TABLE
    if exif.start == root.end and _is_last(block, order, exif):
        # Our own tables are replaced, or the block would grow each time.
        block = block[: root.start]
    block += bytes(len(block) % 2)  # tables start at even offsets (TIFF 6.0)
    start = len(block)
    exif_at = start + len(root.packed(order, _EXIF_IFD, _LONG, 1, 0))
    comment_at = exif_at + len(exif.packed(order, _USER_COMMENT, _UNDEFINED, len(comment), 0))
    return b"".join(
        (
            block[:4],
            struct.pack(order + "I", start),
            block[8:],
            root.packed(order, _EXIF_IFD, _LONG, 1, exif_at),
            exif.packed(order, _USER_COMMENT, _UNDEFINED, len(comment), comment_at),
            comment,
        )
    )


def _is_last(block: bytes, order: str, exif: _Table) -> bool:
    """True if nothing follows the table but its own comment."""
    if _USER_COMMENT not in exif.entries:
        return exif.end == len(block)
    return _comment(order, exif) == (exif.end, len(block))


def _open(block: bytes) -> tuple[bytes, str, _Table]:
    """The block without its prefix, its byte order for ``struct``, and its first table; raises struct.error."""
    block = block.removeprefix(b"Exif\0\0")  # WebP files should not have this prefix, yet many do
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None:
        raise struct.error("no TIFF header")
    return block, order, _table(block, order, *struct.unpack_from(order + "I", block, 4))


def _table(block: bytes, order: str, start: int) -> _Table:
    (count,) = struct.unpack_from(order + "H", block, start)
    end = start + 2 + 12 * count + 4
    if end > len(block):
        raise struct.error("a truncated table")
    raw = [block[at : at + 12] for at in range(start + 2, end - 4, 12)]
    return _Table(start, end, {struct.unpack_from(order + "H", entry)[0]: entry for entry in raw}, block[end - 4 : end])


def _exif_table(block: bytes, order: str, root: _Table) -> _Table:
    return _table(block, order, *struct.unpack_from(order + "I", root.entries[_EXIF_IFD], 8))


def _comment(order: str, exif: _Table) -> tuple[int, int]:
    """The start and the end of the user comment."""
    count, start = struct.unpack_from(order + "II", exif.entries[_USER_COMMENT], 4)
    return start, start + count
