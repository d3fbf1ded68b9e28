"""Reads the inputs of a node: its gallery images and its mask."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..errors import InvalidRequestError
from ..images.errors import ImageError
from ..images.inputs import size_of
from ..images.painted_masks import mask_from_black
from ..request import InputImage
from ..sizing import Size

if TYPE_CHECKING:
    from invokeai.app.invocations.fields import ImageField
    from invokeai.app.services.shared.invocation_context import InvocationContext

__all__ = ["input_size", "read_image", "read_mask", "readable", "recallable_reference"]


_REMEDIES: Mapping[str, str] = {
    "empty_mask": "Draw in black where the image is to change, move the rectangle into the image, or remove the mask.",
    "coloured_mask": "Use a mask that is black where the image is to change, and white elsewhere.",
}
"""What to do about a mask, in Invoke's terms."""


def read_image(context: InvocationContext, field: ImageField, role: str) -> InputImage:
    """Read the file of a gallery image. It is not decoded, so nothing is encoded twice and alpha stays.

    Args:
        context: The node's context.
        field: The image.
        role: What the image is for, such as *mask*, for the message of an error.

    Raises:
        InvalidRequestError: The image cannot be used.
    """
    with readable(field, role):
        path = context.images.get_path(field.image_name)
        return InputImage(path.read_bytes(), field.image_name)


@contextmanager
def readable(field: ImageField, role: str) -> Iterator[None]:
    """Turn what Invoke raises in this block into an InvalidRequestError that names the image and what it is for."""
    try:
        yield
    except PermissionError:
        # With several users (6.14.2).
        raise InvalidRequestError(
            f"The {role} {field.image_name} belongs to another user.", remedy="Choose another image."
        ) from None
    # Invoke raises various errors.
    except Exception:
        raise InvalidRequestError(
            f"The {role} {field.image_name} is no longer in the gallery.", remedy="Choose another image."
        ) from None


def read_mask(context: InvocationContext, field: ImageField) -> InputImage:
    """Read a mask of Invoke, in which black is changed, and convert it to our own form, in which 255 is changed.

    On the Canvas, a mask over the whole image is an ordinary wish.
    """
    image = read_image(context, field, "mask")
    with _naming(image, "mask"):
        data = mask_from_black(image.data, may_be_whole=True)
    return InputImage(data, field.image_name, marks="black", original_sha256=image.sha256)


def input_size(image: InputImage, role: str) -> Size:
    """The size of an image in pixels; raises InvalidRequestError if it cannot be read."""
    with _naming(image, role):
        return size_of(image.data)


def recallable_reference(context: InvocationContext, field: ImageField) -> dict[str, Any]:
    """A reference image in the form that Invoke's page recalls (6.14.2), of a type that needs no model beside it."""
    size = context.images.get_dto(field.image_name)
    image = {"image_name": field.image_name, "width": size.width, "height": size.height}
    config = {"type": "flux2_reference_image", "image": {"original": {"image": image}}}
    return {"id": f"reference_image:{field.image_name}", "isEnabled": True, "config": config}


@contextmanager
def _naming(image: InputImage, role: str) -> Iterator[None]:
    """Turn an image error into a request error that names the image, unless only one image can be meant."""
    try:
        yield
    except ImageError as error:
        if known := _REMEDIES.get(error.code):
            # A mask of the Canvas or of a rectangle has a file name that nobody has seen.
            raise InvalidRequestError(str(error), remedy=known) from None
        remedy = error.remedy or "Choose another image."
        raise InvalidRequestError(f"The {role} {image.name}: {error}", remedy=remedy) from None
