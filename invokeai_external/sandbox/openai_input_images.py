"""Reads the images, the mask and the markup of an edit as strictly as OpenAI's image API does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from ..providers.schema import ModelConfig
from .codec import UnreadableImageError, decode
from .errors import openai_error
from .models import gpt_image_version
from .openai_errors import duplicate_parameter, missing_parameter, unsupported_mime_type
from .openai_form import Upload

__all__ = ["NO_INPUT_IMAGES", "InputImages", "read_input_images"]

_UPLOADABLE = ("image/jpeg", "image/png", "image/webp")


@dataclass(frozen=True, slots=True)
class InputImages:
    """The images of a call.

    Attributes:
        images: The one to edit, then those for reference.
        mask: Where to edit the first one: mode L, 255 = change.
        markup: Marks drawn over the first one, mode RGBA.
    """

    images: tuple[Image.Image, ...] = ()
    mask: Image.Image | None = None
    markup: Image.Image | None = None


NO_INPUT_IMAGES = InputImages()


def read_input_images(uploads: Sequence[Upload], config: ModelConfig) -> InputImages:
    """The images of an edit; raises Refusal."""
    sent = [upload for upload in uploads if upload.field in ("image", "image[]")]
    if not sent:
        raise missing_parameter("image")
    _check_count(sent, config)
    images = tuple(_image(upload, _indexed(upload, i), config) for i, upload in enumerate(sent))
    overlays = {}
    for name in ("mask", "markup"):
        matching = [upload for upload in uploads if upload.field == name]
        if len(matching) > 1:
            raise duplicate_parameter(name)
        if matching:
            overlays[name] = _overlay(matching[0], images[0], config.input_images.max_mask_bytes)
    mask, markup = overlays.get("mask"), overlays.get("markup")
    if markup and mask:
        raise openai_error(400, "'markup' cannot be combined with 'mask'.", param="markup", code="invalid_value")
    if markup and gpt_image_version(config.id) < 2.5:
        raise openai_error(
            400, f"The model '{config.id}' does not support 'markup'.", param="markup", code="invalid_value"
        )
    # Here transparent means change; in a scene 255 does.
    change = mask.getchannel("A").point([255 - value for value in range(256)]) if mask else None
    return InputImages(images, change, markup)


def _check_count(sent: Sequence[Upload], config: ModelConfig) -> None:
    if sum(upload.field == "image" for upload in sent) > 1:
        raise duplicate_parameter("image")
    most = config.input_images.max_count
    if len(sent) > most:
        raise openai_error(
            400,
            f"Invalid 'image': array too long. Expected an array with maximum length {most}, but got an array with "
            f"length {len(sent)} instead.",
            param="image",
            code="array_above_max_length",
        )


def _indexed(upload: Upload, index: int) -> str:
    return "image" if upload.field == "image" else f"image[{index}]"


def _image(upload: Upload, name: str, config: ModelConfig) -> Image.Image:
    limits = config.input_images
    supported = ("image/png",) if limits.square_rgba else _UPLOADABLE
    if upload.content_type is not None and upload.content_type not in supported:
        raise unsupported_mime_type(name, upload.content_type, supported)
    _check_bytes(upload, name, limits.max_bytes)
    image = _decoded(upload, name)
    if limits.square_rgba and (image.width != image.height or image.mode not in ("RGBA", "LA", "L")):
        raise openai_error(400, "Uploaded image must be a square PNG with an alpha channel.", param=name)
    return image


def _overlay(upload: Upload, first: Image.Image, most_bytes: int) -> Image.Image:
    """A mask or a markup: a PNG with alpha and of the first image's size, as mode RGBA."""
    name = upload.field
    _check_bytes(upload, name, most_bytes)
    image = _decoded(upload, name)
    if image.info["mime_type"] != "image/png":
        raise unsupported_mime_type(name, str(image.info["mime_type"]), ("image/png",))
    if not image.has_transparency_data:
        raise openai_error(
            400,
            f"Invalid {name} image format - {name} image missing alpha channel",
            kind="image_generation_user_error",
            param=name,
            code=f"invalid_{name}_image_format",
        )
    if image.size != first.size:
        raise openai_error(
            400,
            f"Invalid {name} image format - {name} size does not match image size",
            kind="image_generation_user_error",
            param=name,
            code=f"invalid_{name}_image_format",
        )
    return image.convert("RGBA")


def _check_bytes(upload: Upload, name: str, most: int) -> None:
    if len(upload.data) > most:
        raise openai_error(
            400,
            f"Invalid file '{name}': file too large. Expected at most {most // 1_000_000} MB.",
            param=name,
            code="file_too_large",
        )


def _decoded(upload: Upload, name: str) -> Image.Image:
    try:
        return decode(upload.data)
    except UnreadableImageError:
        raise openai_error(
            400,
            f"Invalid image file or mode for '{name}', please check your image file.",
            kind="image_generation_user_error",
            param=name,
            code="invalid_image_file",
        ) from None
