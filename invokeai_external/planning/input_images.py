"""Prepares the input images of a request within the limits of a model.

Pure, but slow: pixels are decoded, so callers run the planner in a thread. What needs Pillow is imported
where it is used, since Pillow takes a while to load.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING

from ..errors import CapabilityError, InvalidRequestError
from ..images.errors import ImageError
from ..providers.schema import InputImageLimits, ModelConfig
from ..request import GenerationRequest, InputImage
from ..result import Notice
from ..sizing import DEFAULT_EDGE, Size, SizeChoice

if TYPE_CHECKING:
    from ..images.compositing import Decoded, Original
    from ..images.inputs import PreparedImage

__all__ = ["CallImage", "CallImages", "natural_ratio", "prepare_images"]


_SAME_RATIO = 0.02
"""How far the ratio of a mask may be from that of its image: Invoke's Canvas rounds sizes to multiples of 8."""


_MOST_TOGETHER = 400_000_000
"""How many pixels of an 8-bit PNG decoding all images of a request may take as long as: four times the most of one. Ten
photos of 24 million pixels have fewer, and of 12 million in any format but JPEG 2000."""


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
        original: With a mask: the user's image and mask, to composite the edits into.
    """

    init_image: CallImage | None = None
    mask: CallImage | None = None
    references: tuple[CallImage, ...] = ()
    markup: CallImage | None = None
    original: Original | None = field(default=None, repr=False)


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
    """The images of a request as the model accepts them, and notices of what to know about them.

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
    _check_together([image for image in (*given, request.mask, request.markup) if image])
    original, pixels, notices = None, None, list[Notice]()
    if request.init_image and request.mask:
        original, pixels, marked = _original(request.init_image, request.mask)
        notices.append(marked)
    if limits.square_rgba:
        square, about_it = _square_images(given[0], request.mask, pixels, model, size)
        return replace(square, original=original), [*notices, *about_it]
    prepared, ready_mask = _prepared(given, request.mask, pixels, limits)
    notices += [
        Notice("image_downscaled", f"{image.name} was scaled down to {ready.size} for {model.name}.")
        for image, ready in zip(given, prepared, strict=True)
        if ready.downscaled
    ]
    sent = tuple(_call_image(image, ready.data, ready.mime_type) for image, ready in zip(given, prepared, strict=True))
    if request.init_image:
        markup = _prepared_markup(request.markup, request.init_image, prepared[0].size, limits)
        images = CallImages(init_image=sent[0], mask=ready_mask, references=sent[1:], markup=markup, original=original)
        return images, notices
    return CallImages(references=sent), notices


def _check_together(images: Sequence[InputImage]) -> None:
    """Refuse images that take too long to decode together, before any of them is decoded."""
    from ..images.pixels import pixels_at_cost

    total = 0.0
    for image in images:
        with _naming(image):
            total += pixels_at_cost(image.data)
    if total > _MOST_TOGETHER:
        raise InvalidRequestError(
            "The input images have too many pixels together.",
            remedy="Use fewer images, or scale them down: no model sees more than 4096x4096 pixels of one.",
        )


def _original(image: InputImage, mask: InputImage) -> tuple[Original, Decoded, Notice]:
    """An image and its mask, both decoded, and a notice of how much is marked."""
    from ..images.compositing import Decoded, Original
    from ..images.inputs import size_of
    from ..images.painted_masks import mask_pixels, share
    from ..images.pixels import MAX_EDITED_PIXELS, check_pixels, decoded

    if mask.sha256 == image.sha256 and not _has_alpha(image):
        raise InvalidRequestError(
            f"The mask {mask.name} is the image itself.",
            remedy="Use a mask in which the part to change is white and the rest black, or that part is transparent.",
        )
    with _naming(image):
        shown = size_of(image.data)
        check_pixels(shown, MAX_EDITED_PIXELS)
        # Otherwise the result could not be composited into it, after it was paid for.
        pixels = decoded(image.data)
    with _naming(mask):
        marked_size = size_of(mask.data)
        check_pixels(marked_size, MAX_EDITED_PIXELS)
    # Before the mask is decoded.
    if not _fits(marked_size, shown):
        raise InvalidRequestError(
            f"The mask {mask.name} is {marked_size} and {image.name} is {shown}: their ratios differ.",
            remedy=f"Use a mask of {shown}, or of the same ratio.",
        )
    with _naming(mask):
        color = mask.marks or "white"
        marks = mask_pixels(mask.data, color)
    part = share(marks)
    marked = f"The mask marks {_percent(part)} of the image{'; the rest does not change' if part < 1 else ''}."
    both = Decoded(pixels, marks)
    return Original(image.data, mask.data, color, both), both, Notice("mask_area", marked)


def _has_alpha(image: InputImage) -> bool:
    from ..images.formats.containers import parse

    with _naming(image):
        container = parse(image.data)
    return container is None or container.has_alpha


def _fits(mask: Size, image: Size) -> bool:
    """True if a mask has the ratio of its image, but for the rounding to whole pixels or to multiples of 8."""
    return abs(mask.ratio / image.ratio - 1) <= max(_SAME_RATIO, 1 / mask.width + 1 / mask.height)


def _percent(share: float) -> str:
    """A share in percent, which is 0% or 100% only if it is exactly that."""
    percent = 100 * share
    if 0 < percent < 0.1:
        return "less than 0.1%"
    if 99.9 < percent < 100:
        return "more than 99.9%"
    return f"{percent:.1f}%" if percent < 10 or 99 < percent < 100 else f"{percent:.0f}%"


def _prepared(
    given: Sequence[InputImage], mask: InputImage | None, original: Decoded | None, limits: InputImageLimits
) -> tuple[list[PreparedImage], CallImage | None]:
    """The images and the mask of the first, each of them and all together within the model's limits.

    ``original`` are the first image and the mask, decoded.
    """
    from ..images.inputs import prepare_input

    total = limits.max_total_bytes
    mask_bytes = limits.max_mask_bytes if total is None else min(limits.max_mask_bytes, total // 4)

    @cache
    def prepare(place: int, max_bytes: int) -> PreparedImage:
        image = given[place]
        # The image to edit may be a reference, too.
        first = next(number for number, earlier in enumerate(given) if earlier.data == image.data)
        if first < place:
            return prepare(first, max_bytes)
        with _naming(image):
            pixels = original.pixels if original and place == 0 else None
            return prepare_input(image.data, max_bytes=max_bytes, pixels=pixels)

    # As far as the lengths of the files show: to prepare a large image again takes seconds.
    first = limits.max_bytes
    if total is not None:
        first = min(first, _share([min(len(image.data), first) for image in given], total))
    prepared = [prepare(place, first) for place in range(len(given))]
    ready_mask = _prepared_mask(mask, original, prepared[0].size, mask_bytes, limits)
    if total is None:
        return prepared, ready_mask
    # What was scaled down can use what the others leave.
    wanted = [limits.max_bytes if ready.downscaled else len(ready.data) for ready in prepared]
    share = min(limits.max_bytes, _share(wanted, total - mask_bytes if ready_mask else total))
    sent = sum(len(ready.data) for ready in prepared) + (len(ready_mask.data) if ready_mask else 0)
    if sent <= total and share <= first:
        return prepared, ready_mask
    fitted = [
        prepare(place, share) if len(ready.data) > share or (ready.downscaled and share > first) else ready
        for place, ready in enumerate(prepared)
    ]
    return fitted, _prepared_mask(mask, original, fitted[0].size, mask_bytes, limits)


def _prepared_mask(
    mask: InputImage | None, original: Decoded | None, size: Size, max_bytes: int, limits: InputImageLimits
) -> CallImage | None:
    """The mask at the size of the image that is sent, in the model's ``mask_format``."""
    if mask is None or original is None:
        return None
    from ..images.provider_masks import alpha_mask, white_mask

    convert = white_mask if limits.mask_format == "white" else alpha_mask
    with _naming(mask):
        data = convert(original.mask, size, max_bytes=max_bytes)
    return _call_image(mask, data, "image/png")


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
    """The most bytes for each file so that all files fit into a total: what small files do not use is left to the large
    ones. If all fit as they are, it is the total."""
    left, largest_first = total, sorted(sizes, reverse=True)
    while largest_first and largest_first[-1] <= left // len(largest_first):
        left -= largest_first.pop()
    return left // len(largest_first) if largest_first else total


def _square_images(
    image: InputImage, mask: InputImage | None, original: Decoded | None, model: ModelConfig, size: SizeChoice
) -> tuple[CallImages, list[Notice]]:
    """As DALL·E 2 needs them: the image as a square PNG with alpha, and its mask in the same layout."""
    from ..images.inputs import size_of
    from ..images.provider_masks import alpha_mask, square_mask, square_rgba

    edge = size.size.width if size.size else DEFAULT_EDGE
    limits = model.input_images
    with _naming(image):
        square = _call_image(image, square_rgba(image.data, edge=edge, max_bytes=limits.max_bytes), "image/png")
        shown = size_of(image.data)
    notices = []
    if max(shown.width, shown.height) > edge:
        notices.append(Notice("image_downscaled", f"{image.name} was scaled down to fit a square of {edge}x{edge}."))
    if mask is None or original is None:
        return CallImages(init_image=square), notices
    with _naming(mask):
        inside = square_mask(original.mask, shown, edge=edge)
        alpha = alpha_mask(inside, Size(edge, edge), max_bytes=limits.max_mask_bytes)
    return CallImages(init_image=square, mask=_call_image(mask, alpha, "image/png")), notices


def _call_image(source: InputImage, data: bytes, mime_type: str) -> CallImage:
    return CallImage(data, mime_type, source.name, source.sha256, source.marks)


@contextmanager
def _naming(image: InputImage) -> Iterator[None]:
    """Raise an error of the image as an error of the request that names the file."""
    try:
        yield
    except ImageError as error:
        raise InvalidRequestError(f"{image.name}: {error}", remedy=error.remedy or "Use another file.") from None
