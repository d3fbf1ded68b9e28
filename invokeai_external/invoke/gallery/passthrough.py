"""The image object that Invoke saves. It writes the file as received and does not encode it again."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ...images.errors import ImageError
from ...images.formats.containers import parse
from ...images.pixels import as_encoded, decoded
from ...images.text_chunks import parts_with_text_chunks
from ...sizing import Size

__all__ = ["PassthroughImage"]

_APPEARANCE = ("icc_profile", "transparency")
"""The entries of Pillow's ``info`` that change how the pixels look."""

_OPTIONS = frozenset({"pnginfo", "compress_level", "compress_type", "optimize"})
"""The options of Pillow's PNG writer that do not change how the image looks."""


class PassthroughImage(Image.Image):
    """An image whose ``save`` as PNG writes the PNG file that it was read from, plus the text chunks to add.

    The compressed pixels and all other chunks stay byte for byte, except for texts with the same keywords. Pillow
    encodes the image after any edit, for other formats and options, and if it was not read from a PNG. As long as it is
    not edited, the ICC profile and the transparent colour are written even if ``info`` was emptied, which Invoke does.

    A thread decodes it while Invoke writes the image's record and, in 6.13.0, its file. Code that needs pixels waits
    for that thread, and gets its error if they cannot be decoded.

    The first save releases the file's bytes, because Invoke caches the last ten image objects.
    """

    def __init__(self, image: Image.Image, file: bytes = b"", dropped: Iterable[str] = ()) -> None:
        """Take over an image, which must not be used any more.

        Args:
            image: The pixels, decoded or not.
            file: The file that they come from, if there is one.
            dropped: Keywords whose texts in the file are not written.
        """
        super().__init__()
        self._mode, self._size, self.palette, self.info = image.mode, image.size, image.palette, dict(image.info)
        self._appearance: dict[Any, Any] = {name: value for name, value in image.info.items() if name in _APPEARANCE}
        # Pillow copies a read-only image before it changes a pixel, so an edit is visible as a different object.
        self.readonly = 1
        self._read_as = (self.mode, self.palette)
        self._read_im: object = None
        self._decoded: Future[Image.Image] | None = Future()
        self._file, self._dropped = file, tuple(dropped)
        threading.Thread(target=_decode, args=(image, self._decoded), name="invokeai_external decoder").start()

    @classmethod
    def from_file(cls, file: bytes, *, dropped: Iterable[str] = ()) -> PassthroughImage:
        """Read an image file; raises ImageError if Pillow cannot read it.

        One in a format other than PNG, JPEG and WebP is decoded at once, and Pillow encodes it.
        """
        if parse(file) is not None:
            return cls(as_encoded(file), file, dropped)
        image, profile = decoded(file)
        if profile:
            image.info["icc_profile"] = profile
        return cls(image)

    def load(self) -> Any:
        """Like Pillow's, which calls it before it touches a pixel."""
        if self._decoded:
            self.im = self._read_im = self._decoded.result().im
            self._decoded = None
        return super().load()

    def resized_to(self, size: Size | None) -> PassthroughImage:
        """This image, or a resized copy if its size differs. With None it stays as it is."""
        if size is None or self.size == (size.width, size.height):
            return self
        return PassthroughImage(self.resize((size.width, size.height), Image.Resampling.LANCZOS))

    def frombytes(self, *arguments: Any, **options: Any) -> None:
        """Like Pillow's, which would change even the pixels of a read-only image in place."""
        self._ensure_mutable()
        super().frombytes(*arguments, **options)

    def save(self, fp: Any, format: str | None = None, **params: Any) -> None:
        """Like Pillow's; see the class."""
        spliced = None
        if self._is_unedited():
            self.info = {**self._appearance, **self.info}
            spliced = self._spliced(format, params)
        if spliced is None:
            super().save(fp, format, **params)
        elif isinstance(fp, str | bytes | os.PathLike):
            with Path(os.fsdecode(fp)).open("wb") as file:
                file.writelines(spliced)
        else:
            fp.writelines(spliced)
        self._file = b""
        self.readonly = 0

    def _is_unedited(self) -> bool:
        mode, palette = self._read_as
        return self.mode == mode and self.palette is palette and (self._decoded is not None or self.im is self._read_im)

    def _spliced(self, format: str | None, params: dict[str, Any]) -> list[bytes | memoryview] | None:
        """The parts of the file with the texts added; None if Pillow must encode it."""
        if not self._file or format is None or format.upper() != "PNG" or not params.keys() <= _OPTIONS:
            return None
        info = params.get("pnginfo") or PngInfo()
        # The file may have another format, or ``pnginfo`` may contain more than texts.
        with suppress(ImageError):
            return parts_with_text_chunks(
                self._file, [(kind, body) for kind, body, *_ in info.chunks], dropped=self._dropped
            )
        return None


def _decode(image: Image.Image, decoded: Future[Image.Image]) -> None:
    try:
        image.load()
        decoded.set_result(image)
    # Whatever Pillow's plugins raise for a damaged file: the code that needs the pixels gets it.
    except BaseException as error:
        decoded.set_exception(error)
