"""Checks the images of a response and composites edits: the part of the service that needs Pillow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ..adapters.base import Answer, AnswerImage
from ..errors import InvalidResponseError, ProviderError
from ..images.as_received import NAMES, inspect_as_received
from ..images.compositing import Canvas
from ..images.errors import ImageError, too_little_memory
from ..images.gif_and_svg import inspect_gif, inspect_svg, is_gif, is_svg
from ..images.inspect import ImageInfo, inspect_image
from ..images.pixels import verify_pixels
from ..images.provider_masks import from_square
from ..planning.plan import MAX_IMAGES, Call
from ..result import Notice
from ..settings.settings import Limits
from ..sizing import Size
from .image_urls import IF_DAMAGED, Content

__all__ = ["ArrivedImage", "FinishedImage", "Finisher", "arrived_images", "type_of"]


_MOST_CHECKED = 2 * MAX_IMAGES

_TOO_MUCH = frozenset({"too_little_memory", "too_many_parts", "too_many_pixels"})

_KEPT = _TOO_MUCH | {"unreadable", "wrong_format"}
"""What may be wrong with an image that is kept all the same."""


@dataclass(frozen=True, slots=True)
class ArrivedImage:
    """An image of a response, its bytes, and what they are; ``kept`` says why it could not be checked."""

    image: AnswerImage
    data: bytes = field(repr=False)
    info: ImageInfo
    kept: Notice | None = None


@dataclass(frozen=True, slots=True)
class FinishedImage:
    """An image as it is handed over; ``composited`` if it was laid into the image to edit, ``kept`` says why it was not
    checked or not composited.
    """

    data: bytes = field(repr=False)
    mime_type: str
    size: Size
    composited: bool
    kept: Notice | None = None


def type_of(data: bytes, max_pixels: int) -> str | None:
    """The MIME type of an image; None if the data are not a whole one."""
    try:
        return _info(data, max_pixels, None).mime_type
    except ImageError:
        return None


def arrived_images(
    call: Call, answer: Answer, contents: Sequence[Content], limits: Limits
) -> tuple[list[ArrivedImage], list[ProviderError]]:
    """The images of a response that are complete, and the errors of the others.

    If there are more than were asked for, copies count only as far as they are needed, and only the first 20 are
    checked, which takes time.
    """
    arrived, errors = [], list[ProviderError]()
    received = list(zip(answer.images, contents, strict=True))
    # One of too many images may be needed in place of a broken one, so all are checked first.
    is_decoded_later = call.original is not None
    if sum(isinstance(content, bytes) for content in contents) > call.n:
        is_decoded_later = False
        received = _different_first(received, call.n)[:_MOST_CHECKED]
    for image, content in received:
        if isinstance(content, ProviderError):
            errors.append(content)
        elif content is not None:
            try:
                arrived.append(ArrivedImage(image, content, *_inspected(call, content, limits, is_decoded_later)))
            except ProviderError as error:
                errors.append(error)
    return arrived, errors


def _different_first(received: Sequence[tuple[AnswerImage, Content]], n: int) -> list[tuple[AnswerImage, Content]]:
    """The different images in their order, then those that did not arrive, then copies up to ``n`` images."""
    firsts, failed, copies, seen = [], [], [], set[bytes]()
    for one in received:
        content = one[1]
        if not isinstance(content, bytes):
            failed.append(one)
        elif content in seen:
            copies.append(one)
        else:
            seen.add(content)
            firsts.append(one)
    return [*firsts, *failed, *copies[: max(0, n - len(firsts))]]


class Finisher:
    """Finishes the images of a request; makes its canvas once, when the first edit arrives.

    Args:
        limits: The user's.
    """

    def __init__(self, limits: Limits) -> None:
        self._feather = limits.mask_feather_px
        self._canvas: Canvas | None = None

    def finish(self, call: Call, arrived: ArrivedImage) -> FinishedImage:
        """The image as it arrived; with a mask, laid into the image to edit: providers treat a mask as guidance.

        Raises:
            InvalidResponseError: The image is damaged.
        """
        as_it_is = FinishedImage(
            arrived.data, arrived.info.mime_type, arrived.info.size, composited=False, kept=arrived.kept
        )
        if call.original is None:
            return as_it_is
        data, size = arrived.data, call.original.size
        try:
            if call.model.input_images.square_rgba:
                data = from_square(data, size)
            # All calls of a request have the same.
            self._canvas = self._canvas or Canvas(call.original.decoded(), feather=self._feather)
            made = self._canvas.with_edit(data)
        except (ImageError, MemoryError) as error:
            problem = error if isinstance(error, ImageError) else too_little_memory()
            if arrived.kept:
                return as_it_is
            if problem.code in _TOO_MUCH:
                return replace(as_it_is, kept=_kept_notice(arrived.info, problem))
            raise _broken(problem) from None
        return FinishedImage(made, "image/png", size, composited=True)


def _info(data: bytes, max_pixels: int, expected: Size | None) -> ImageInfo:
    if is_gif(data):
        return inspect_gif(data, max_pixels=max_pixels)
    # A PNG may hold any text, but begins with its signature.
    if not data.startswith((b"\x89", b"\xff", b"RIFF")) and is_svg(data):
        return inspect_svg(data, expected=expected)
    return inspect_image(data, max_pixels=max_pixels)


def _inspected(call: Call, data: bytes, limits: Limits, is_decoded_later: bool) -> tuple[ImageInfo, Notice | None]:
    """What an image is, and a notice if it is only kept: it was paid for, so it is not lost because of its format."""
    try:
        if call.keeps_file:
            return _info(data, limits.max_image_pixels, call.size.size), None
        info = inspect_image(data, max_pixels=limits.max_image_pixels, is_decoded_later=is_decoded_later)
        if limits.verify_images and not is_decoded_later:
            verify_pixels(data)
        return info, None
    except ImageError as error:
        if error.code not in _KEPT:
            raise _broken(error) from None
        try:
            is_too_much = error.code in _TOO_MUCH
            info = inspect_as_received(data, expected=call.size.size, is_too_much=is_too_much)
        except ImageError as damage:
            raise _broken(error if damage.code == "unreadable" else damage) from None
        if error.code not in _TOO_MUCH and info.mime_type not in NAMES:
            raise _broken(error) from None
        return info, _kept_notice(info, error)


def _kept_notice(info: ImageInfo, error: ImageError) -> Notice:
    is_too_much = error.code in _TOO_MUCH
    why = str(error) if is_too_much else f"The provider sent {NAMES[info.mime_type]} file, not PNG, JPEG or WebP."
    return Notice("kept_as_received", f"{why} It is saved as it was received, and may not be complete.")


def _broken(error: ImageError) -> InvalidResponseError:
    return InvalidResponseError(f"An image arrived damaged: {error}", remedy=IF_DAMAGED)
