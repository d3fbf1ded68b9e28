"""Names formats that people take for images that can be sent, though Pillow cannot read them."""

from __future__ import annotations

from ..errors import ImageError

__all__ = ["HEIF_BRANDS", "unsupported_format"]

HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
"""The brands of a file of the High Efficiency Image File Format (ISO 23008-12, annex B)."""


def unsupported_format(data: bytes) -> ImageError | None:
    """The error for a file that is HEIC, SVG or PDF, with what to do; None for any other."""
    if data[4:8] == b"ftyp" and data[8:12] in HEIF_BRANDS:
        return _error("a HEIC photo", "Save it as JPEG or PNG.")
    start = data[:4096].removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"<") and b"<svg" in start:
        return _error("an SVG drawing", "Export it as PNG, at the size that you need.")
    if data.startswith(b"%PDF-"):
        return _error("a PDF document", "Export the page as PNG.")
    return None


def _error(what: str, remedy: str) -> ImageError:
    return ImageError(f"The file is {what}, which is not supported.", "wrong_format", remedy=remedy)
