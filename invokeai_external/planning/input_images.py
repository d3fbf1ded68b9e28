"""The input images of a request, made ready to send within the limits of a model.

Pure, but slow: pixels are decoded, so hosts call the planner in a thread. What decodes them is imported where it is
used, since Pillow takes a while to load and most requests have no input images.
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
    """A picture as it is sent: without private data, upright, within the model's limits.

    Attributes:
        data: The bytes to send.
        mime_type: What they are.
        name: The name of the file that it came from.
        sha256: The hash of the file that it came from.
        marks: As in ``InputImage``.
    """

    data: bytes = field(repr=False)
    mime_type: str
    name: str
    sha256: str
    marks: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallImages:
    """The images that each call sends: the one to edit, its mask, and the references."""

    init_image: CallImage | None = None
    mask: CallImage | None = None
    references: tuple[CallImage, ...] = ()


def natural_ratio(request: GenerationRequest) -> float | None:
    if request.init_image is None:
        return None
    from ..images.inputs import size_of

    with _naming(request.init_image):
        return size_of(request.init_image.data).ratio


def prepare_images(request: GenerationRequest, model: ModelConfig, size: SizeChoice) -> tuple[CallImages, list[Notice]]:
    given = [*([request.init_image] if request.init_image else []), *request.references]
    limits = model.input_images
    if not given:
        return CallImages(), []
    mask_counts = request.mask is not None and limits.mask_format == "white"
    if len(given) + mask_counts > limits.max_count:
        raise CapabilityError(
            f"{len(given) + mask_counts} pictures were given{', the mask among them' if mask_counts else ''}; "
            f"{model.name} takes at most {limits.max_count}.",
            remedy="Give fewer pictures.",
        )
    if request.init_image and request.mask:
        from ..images.pixels import verify_pixels

        # What came back could not be laid into it otherwise, and would have been paid for.
        with _naming(request.init_image):
            verify_pixels(request.init_image.data)
    if limits.square_rgba:
        return _square_images(given[0], request, model, size)
    prepared, mask = _prepared(given, request.mask, limits)
    notices = [
        Notice("image_downscaled", f"{image.name} is too large for {model.name}; {ready.size} is sent.")
        for image, ready in zip(given, prepared, strict=True)
        if ready.downscaled
    ]
    sent = tuple(_call_image(image, ready.data, ready.mime_type) for image, ready in zip(given, prepared, strict=True))
    if request.init_image:
        return CallImages(init_image=sent[0], mask=mask, references=sent[1:]), notices
    return CallImages(references=sent), notices


def _prepared(
    given: Sequence[InputImage], mask: InputImage | None, limits: InputImageLimits
) -> tuple[list[PreparedImage], CallImage | None]:
    """The pictures as they may be sent and the mask of the first, each and all together within the model's limits."""
    from ..images.inputs import prepare_input

    total = limits.max_total_bytes
    most_for_mask = limits.max_mask_bytes if total is None else min(limits.max_mask_bytes, total // 4)

    def prepare(image: InputImage, max_bytes: int) -> PreparedImage:
        with _naming(image):
            return prepare_input(image.data, max_bytes=max_bytes)

    prepared = [prepare(image, limits.max_bytes) for image in given]
    ready_mask = _prepared_mask(mask, prepared[0].size, most_for_mask, limits)
    sizes = [len(ready.data) for ready in prepared]
    if total is None or sum(sizes) + (len(ready_mask.data) if ready_mask else 0) <= total:
        return prepared, ready_mask
    share = _share(sizes, total - most_for_mask if ready_mask else total)
    smaller = [
        ready if len(ready.data) <= share else prepare(image, share)
        for image, ready in zip(given, prepared, strict=True)
    ]
    return smaller, _prepared_mask(mask, smaller[0].size, most_for_mask, limits)


def _prepared_mask(mask: InputImage | None, size: Size, max_bytes: int, limits: InputImageLimits) -> CallImage | None:
    """The mask at the size of the picture that is sent, in the form that the model takes."""
    if mask is None:
        return None
    from ..images.masks import alpha_mask, white_mask

    convert = white_mask if limits.mask_format == "white" else alpha_mask
    with _naming(mask):
        return _call_image(mask, convert(mask.data, size, max_bytes=max_bytes), "image/png")


def _share(sizes: Sequence[int], total: int) -> int:
    """The most bytes each file may have so that all stay within a total, which they exceed: what small files leave over
    goes to the large ones."""
    left, largest_first = total, sorted(sizes, reverse=True)
    while largest_first[-1] <= left // len(largest_first):
        left -= largest_first.pop()
    return left // len(largest_first)


def _square_images(
    image: InputImage, request: GenerationRequest, model: ModelConfig, size: SizeChoice
) -> tuple[CallImages, list[Notice]]:
    """DALL·E 2's form: a square PNG with alpha, and the mask laid out in the same way."""
    from ..images.inputs import size_of
    from ..images.masks import alpha_mask, square_mask, square_rgba

    edge = size.size.width if size.size else DEFAULT_EDGE
    limits = model.input_images
    with _naming(image):
        square = _call_image(image, square_rgba(image.data, edge=edge, max_bytes=limits.max_bytes), "image/png")
        shown = size_of(image.data)
    notices = []
    if max(shown.width, shown.height) > edge:
        notices.append(Notice("image_downscaled", f"{image.name} is sent within a square of {edge}x{edge}."))
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
    """Turn an error of the picture into one of the request that names its file."""
    try:
        yield
    except ImageError as error:
        raise InvalidRequestError(f"{image.name}: {error}", remedy="Give another file.") from None
