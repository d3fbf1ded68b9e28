"""The image that Invoke is given to save: its file is the one that came, not encoded again."""

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

from ...images.embed import parts_with_text_chunks
from ...images.errors import ImageError
from ...images.pixels import as_encoded
from ...sizing import Size

__all__ = ["StoredImage"]

_LOOK = ("icc_profile", "transparency")
"""What Pillow keeps beside the pixels, in ``info``, and that changes how they look."""

_OPTIONS = frozenset({"pnginfo", "compress_level", "compress_type", "optimize"})
"""The options of Pillow's PNG writer that do not change what the picture shows."""


class StoredImage(Image.Image):
    """An image whose ``save`` as PNG writes the PNG that it was read from, with the texts that are to go in.

    The compressed pixels stay byte for byte, and so do all other chunks but texts of the same keywords. Pillow's own
    encoder does the work after any edit, for other formats and options, and where there is no PNG to write. While
    nothing was edited, ICC profile and transparent colour are written even if ``info`` was emptied before, which Invoke
    does.

    It is decoded in a thread of its own while Invoke writes the picture's record and, in 6.13.0, its file; whoever
    needs pixels waits for it, and gets the error if they cannot be decoded.

    With the first save the file's bytes are let go: Invoke keeps the objects of the last ten.
    """

    def __init__(self, image: Image.Image, file: bytes = b"", dropped: Iterable[str] = ()) -> None:
        """Take over an image, which is not to be used any more.

        Args:
            image: The pixels, which may still have to be decoded.
            file: The file that shows them, if there is one.
            dropped: Keywords whose texts in the file are not written again.
        """
        super().__init__()
        self._mode, self._size, self.palette, self.info = image.mode, image.size, image.palette, dict(image.info)
        self._look: dict[Any, Any] = {name: value for name, value in image.info.items() if name in _LOOK}
        # Pillow copies what cannot be written to before it changes a pixel, so that an edit shows as another object.
        self.readonly = 1
        self._read_as = (self.mode, self.palette)
        self._read_im: object = None
        self._decoded: Future[Image.Image] | None = Future()
        self._file, self._dropped = file, tuple(dropped)
        threading.Thread(target=_decode, args=(image, self._decoded), name="invokeai_external decoder").start()

    @classmethod
    def of_file(cls, file: bytes, *, dropped: Iterable[str] = ()) -> StoredImage:
        """A PNG, JPEG or WebP file; raises ImageError if it is none, or is not whole."""
        return cls(as_encoded(file), file, dropped)

    def load(self) -> Any:
        """As Pillow's, which calls it before it touches a pixel."""
        if self._decoded:
            self.im = self._read_im = self._decoded.result().im
            self._decoded = None
        return super().load()

    def as_large_as(self, size: Size | None) -> StoredImage:
        """This one, or if it has another size in pixels, another one that there is no file of; None changes nothing."""
        if size is None or self.size == (size.width, size.height):
            return self
        return StoredImage(self.resize((size.width, size.height), Image.Resampling.LANCZOS))

    def frombytes(self, *arguments: Any, **options: Any) -> None:
        """As Pillow's, which alone would change pixels in place that cannot be written to."""
        self._ensure_mutable()
        super().frombytes(*arguments, **options)

    def save(self, fp: Any, format: str | None = None, **params: Any) -> None:
        """As Pillow's; see the class."""
        spliced = None
        if self._is_as_read():
            self.info = {**self._look, **self.info}
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

    def _is_as_read(self) -> bool:
        mode, palette = self._read_as
        return self.mode == mode and self.palette is palette and (self._decoded is not None or self.im is self._read_im)

    def _spliced(self, format: str | None, params: dict[str, Any]) -> list[bytes | memoryview] | None:
        """The parts of the file with the texts; None if it is for Pillow to encode."""
        if not self._file or format is None or format.upper() != "PNG" or not params.keys() <= _OPTIONS:
            return None
        info = params.get("pnginfo") or PngInfo()
        # It may be in another format, or something else than texts is to go in.
        with suppress(ImageError):
            return parts_with_text_chunks(
                self._file, [(kind, body) for kind, body, *_ in info.chunks], dropped=self._dropped
            )
        return None


def _decode(image: Image.Image, decoded: Future[Image.Image]) -> None:
    try:
        image.load()
        decoded.set_result(image)
    # Whatever Pillow's plugins raise over a broken file, it is for who needs the pixels.
    except BaseException as error:
        decoded.set_exception(error)
