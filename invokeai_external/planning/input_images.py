"""Prepares the input images of a request within the limits of a model.

Pure, but slow: pixels are decoded, so callers run the planner in a thread. What needs Pillow is imported
where it is used, since Pillow takes a while to load.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..errors import CapabilityError, InvalidRequestError
from ..images.errors import ImageError
from ..providers.schema import InputImageLimits, ModelConfig
from ..request import GenerationRequest, InputImage
from ..result import Notice
from ..sizing import DEFAULT_EDGE, Size, SizeChoice

if TYPE_CHECKING:
    from ..images.inputs import PreparedImage

__all__ = ["CallImage", "CallImages", "natural_ratio", "prepare_images"]


@dataclass(frozen=True, slots=True)
class CallImage:
    """An image as it is sent: without private data, upright, within the model's limits.

    Attributes:
        data: The bytes of the file to send.
        mime_type: Its type.
        name: The name of the original file.
        sha256: The SHA-256 of the original file, in hexadecimal.
        marks: As in ``InputImage``.
    """

    data: bytes = field(repr=False)
    mime_type: str
    name: str
    sha256: str
    marks: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallImages:
    """The images that each call of a request sends.

    Attributes:
        init_image: The image to edit.
        mask: Where to edit it.
        references: The reference images.
        markup: The drawings on the image to edit.
    """

    init_image: CallImage | None = None
    mask: CallImage | None = None
    references: tuple[CallImage, ...] = ()
    markup: CallImage | None = None


def natural_ratio(request: GenerationRequest) -> float | None:
    """The ratio of width to height of the image to edit; None if there is no such image.

    Raises:
        InvalidRequestError: The file is not an image.
    """
    if request.init_image is None:
        return None
    from ..images.inputs import size_of

    with _naming(request.init_image):
        return size_of(request.init_image.data).ratio


def prepare_images(request: GenerationRequest, model: ModelConfig, size: SizeChoice) -> tuple[CallImages, list[Notice]]:
    """The images of a request as the model accepts them, and notices of those that were scaled down.

    Raises:
        CapabilityError: There are more images than the model supports.
        InvalidRequestError: A file is not an image, or cannot be made small enough.
    """
    given = [*([request.init_image] if request.init_image else []), *request.references]
    limits = model.input_images
    if not given:
        return CallImages(), []
    mask_counts = request.mask is not None and limits.mask_format == "white"
    if len(given) + mask_counts > limits.max_count:
        raise CapabilityError(
            f"{model.name} supports at most {limits.max_count} input images; the request has {len(given) + mask_counts}"
            f"{' with the mask' if mask_counts else ''}.",
            remedy="Use fewer images.",
        )
    if request.init_image and request.mask:
        from ..images.pixels import verify_pixels

        # Otherwise the result could not be composited into it, after it was paid for.
        with _naming(request.init_image):
            verify_pixels(request.init_image.data)
    if limits.square_rgba:
        return _square_images(given[0], request, model, size)
    prepared, mask = _prepared(given, request.mask, limits)
    notices = [
        Notice("image_downscaled", f"{image.name} is too large for {model.name}; it was scaled down to {ready.size}.")
        for image, ready in zip(given, prepared, strict=True)
        if ready.downscaled
    ]
    sent = tuple(_call_image(image, ready.data, ready.mime_type) for image, ready in zip(given, prepared, strict=True))
    if request.init_image:
        markup = _prepared_markup(request.markup, request.init_image, prepared[0].size, limits)
        return CallImages(init_image=sent[0], mask=mask, references=sent[1:], markup=markup), notices
    return CallImages(references=sent), notices


def _prepared(
    given: Sequence[InputImage], mask: InputImage | None, limits: InputImageLimits
) -> tuple[list[PreparedImage], CallImage | None]:
    """The images and the mask of the first, each of them and all together within the model's limits."""
    from ..images.inputs import prepare_input

    total = limits.max_total_bytes
    mask_bytes = limits.max_mask_bytes if total is None else min(limits.max_mask_bytes, total // 4)

    def prepare(image: InputImage, max_bytes: int) -> PreparedImage:
        with _naming(image):
            return prepare_input(image.data, max_bytes=max_bytes)

    prepared = [prepare(image, limits.max_bytes) for image in given]
    ready_mask = _prepared_mask(mask, prepared[0].size, mask_bytes, limits)
    sizes = [len(ready.data) for ready in prepared]
    if total is None or sum(sizes) + (len(ready_mask.data) if ready_mask else 0) <= total:
        return prepared, ready_mask
    share = _share(sizes, total - mask_bytes if ready_mask else total)
    smaller = [
        ready if len(ready.data) <= share else prepare(image, share)
        for image, ready in zip(given, prepared, strict=True)
    ]
    return smaller, _prepared_mask(mask, smaller[0].size, mask_bytes, limits)


def _prepared_mask(mask: InputImage | None, size: Size, max_bytes: int, limits: InputImageLimits) -> CallImage | None:
    """The mask at the size of the image that is sent, in the model's ``mask_format``."""
    if mask is None:
        return None
    from ..images.masks import alpha_mask, white_mask

    convert = white_mask if limits.mask_format == "white" else alpha_mask
    with _naming(mask):
        return _call_image(mask, convert(mask.data, size, max_bytes=max_bytes), "image/png")


def _prepared_markup(
    markup: InputImage | None, init_image: InputImage, size: Size, limits: InputImageLimits
) -> CallImage | None:
    """The markup at the size of the image that is sent; it must have that of the user's image."""
    if markup is None:
        return None
    from ..images.inputs import size_of
    from ..images.markup import markup_png

    with _naming(init_image):
        shown = size_of(init_image.data)
    with _naming(markup):
        return _call_image(markup, markup_png(markup.data, shown, size, max_bytes=limits.max_mask_bytes), "image/png")


def _share(sizes: Sequence[int], total: int) -> int:
    """The most bytes for each file so that all files fit into a total, which they exceed now: what small files do not
    use is left to the large ones."""
    left, largest_first = total, sorted(sizes, reverse=True)
    while largest_first[-1] <= left // len(largest_first):
        left -= largest_first.pop()
    return left // len(largest_first)


def _square_images(
    image: InputImage, request: GenerationRequest, model: ModelConfig, size: SizeChoice
) -> tuple[CallImages, list[Notice]]:
    """As DALL·E 2 needs them: the image as a square PNG with alpha, and its mask in the same layout."""
    from ..images.inputs import size_of
    from ..images.masks import alpha_mask, square_mask, square_rgba

    edge = size.size.width if size.size else DEFAULT_EDGE
    limits = model.input_images
    with _naming(image):
        square = _call_image(image, square_rgba(image.data, edge=edge, max_bytes=limits.max_bytes), "image/png")
        shown = size_of(image.data)
    notices = []
    if max(shown.width, shown.height) > edge:
        notices.append(Notice("image_downscaled", f"{image.name} was scaled down to fit a square of {edge}x{edge}."))
    if request.mask is None:
        return CallImages(init_image=square), notices
    with _naming(request.mask):
        inside = square_mask(request.mask.data, shown, edge=edge)
        alpha = alpha_mask(inside, Size(edge, edge), max_bytes=limits.max_mask_bytes)
    return CallImages(init_image=square, mask=_call_image(request.mask, alpha, "image/png")), notices


def _call_image(source: InputImage, data: bytes, mime_type: str) -> CallImage:
    return CallImage(data, mime_type, source.name, source.sha256, source.marks)


@contextmanager
def _naming(image: InputImage) -> Iterator[None]:
    """Raise an error of the image as an error of the request that names the file."""
    try:
        yield
    except ImageError as error:
        raise InvalidRequestError(f"{image.name}: {error}", remedy="Use another file.") from None
