"""The files of the page. They contain nothing about anybody, so everybody gets them; what they show is asked for."""

from __future__ import annotations

from pathlib import Path

__all__ = ["HEADERS", "TYPES", "file_of"]

_FOLDER = Path(__file__).parent / "static"

TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}

HEADERS = {
    # Only files and routes of this Invoke, no script or style in the page itself, and no page around it.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    # After an update, the files of both versions would be mixed.
    "Cache-Control": "no-cache",
}


def file_of(name: str) -> tuple[bytes, str] | None:
    """The content and the media type of a file of the page; None if there is no such file."""
    names = {path.name: path for path in _FOLDER.iterdir()}
    path = names.get(name)
    media_type = TYPES.get(name.rpartition(".")[2])
    return (path.read_bytes(), f"{media_type}; charset=utf-8") if path and media_type else None
