"""Reads a call of OpenAI's image API as strictly as the service does.

The parameters are those of the official SDK's types (openai 3.54: ``ImageGenerateParams``, ``ImageEditParams``), the
limits those of the catalogue. Every doubt ends in a ``Refusal`` with the service's own status, code and wording.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from PIL import Image

from ..providers.schema import ChoiceOption, ModelConfig
from ..sizing import FlexibleSizing, Size, SizeRequest
from .codec import UnreadableImageError, decode
from .errors import Refusal, openai_error
from .models import find_model

__all__ = ["ImageCall", "Upload", "is_gpt_image", "read_edit", "read_generation", "refuse_retired"]

_SHARED = {
    "background",
    "complexity",
    "frame_count",
    "frame_duration_ms",
    "model",
    "n",
    "output_compression",
    "output_format",
    "partial_images",
    "prompt",
    "quality",
    "safety_identifier",
    "size",
    "stream",
    "svg",
    "user",
}
_GENERATION = _SHARED | {"moderation"}
_EDIT = _SHARED | {"image", "mask", "input_fidelity", "markup"}
_DALLE = {"model", "n", "prompt", "response_format", "size", "user"}
_DALLE_EDIT = _DALLE | {"image", "mask"}

_INTEGERS = ("n", "output_compression", "partial_images", "frame_count", "frame_duration_ms")
_TEXTS = (
    "background",
    "complexity",
    "input_fidelity",
    "model",
    "moderation",
    "output_format",
    "prompt",
    "quality",
    "response_format",
    "safety_identifier",
    "size",
    "style",
    "user",
)
_COMPLEXITY = ("low", "medium", "high")
_GATED_FORMATS = ("gif", "svg")
_UPLOADABLE = ("image/jpeg", "image/png", "image/webp")


@dataclass(frozen=True, slots=True)
class Upload:
    """One file of a multipart body."""

    field: str
    filename: str
    content_type: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageCall:
    """A call that the service would carry out.

    Attributes:
        config: The model's capabilities.
        model: The model's name as it was sent.
        prompt: What to paint.
        n: How many pictures.
        size: Their pixels, chosen already where ``auto`` was asked for.
        quality: Chosen already where ``auto`` was asked for.
        transparent: True for a see-through background.
        output_format: ``png``, ``jpeg`` or ``webp``.
        output_compression: 0 to 100, where 100 is the best.
        previews: How many partial pictures to stream before the whole one; None for an answer in one piece.
        wants_url: True if the picture is to be answered as a URL (DALL·E alone).
        safety_identifier: The caller's name for its user; None if it gave none.
        images: The pictures to edit and to look at.
        mask: Where to edit the first one: mode L, 255 = change.
        markup: Marks laid over the first picture, mode RGBA.
        seed: Made from the whole call, as the service takes none: the same call gives the same picture.
    """

    config: ModelConfig
    model: str
    prompt: str
    n: int
    size: Size
    quality: str
    transparent: bool
    output_format: str
    output_compression: int
    previews: int | None
    wants_url: bool
    safety_identifier: str | None
    images: tuple[Image.Image, ...] = ()
    mask: Image.Image | None = None
    markup: Image.Image | None = None
    seed: int = 0


def is_gpt_image(model: str) -> bool:
    """Whether a model id belongs to the GPT image family; by prefix, because dated snapshots exist."""
    return model.startswith(("gpt-image-", "chatgpt-image-"))


def refuse_retired(model: str, config: ModelConfig | None, *, serves: Callable[[ModelConfig], bool]) -> ModelConfig:
    """The model's config; raises the 404 of a model that is unknown or no longer served."""
    if config is None:
        raise openai_error(
            404, f"The model '{model}' does not exist or you do not have access to it.", code="model_not_found"
        )
    if not serves(config):
        raise openai_error(
            404,
            f"The model '{model}' has been deprecated, learn more here: https://platform.openai.com/docs/deprecations",
            code="model_not_found",
        )
    return config


def read_generation(body: object, *, serves: Callable[[ModelConfig], bool]) -> ImageCall:
    """Read the JSON body of ``/images/generations``; raises Refusal."""
    if not isinstance(body, dict):
        raise openai_error(400, "We could not parse the JSON body of your request. Expected a JSON object.")
    return _read(body, (), editing=False, serves=serves)


def read_edit(
    fields: Mapping[str, str], uploads: Sequence[Upload], *, serves: Callable[[ModelConfig], bool]
) -> ImageCall:
    """Read the multipart body of ``/images/edits``, whose numbers are text; raises Refusal."""
    values: dict[str, object] = dict(fields)
    for name in _INTEGERS:
        text = fields.get(name, "")
        if text.removeprefix("-").isdecimal():
            values[name] = int(text)
    if "stream" in fields:
        values["stream"] = {"true": True, "false": False}.get(fields["stream"].lower(), fields["stream"])
    return _read(values, uploads, editing=True, serves=serves)


def _read(
    values: Mapping[str, object], uploads: Sequence[Upload], *, editing: bool, serves: Callable[[ModelConfig], bool]
) -> ImageCall:
    # A null is a value left out, as the SDK's types say.
    given = {name: value for name, value in values.items() if value is not None}
    _check_types(given)
    model = _text(given, "model")
    if not model:
        raise _missing("model")
    config = refuse_retired(model, find_model("openai", model), serves=serves)
    _check_names(given, uploads, config, editing=editing)
    prompt = _prompt(given, config)
    quality = _choice(given, config, "quality", default="auto")
    _choice(given, config, "moderation", default="auto")
    _choice(given, config, "style", default="vivid")
    _check_input_fidelity(given, config, model)
    _check_complexity(given)
    previews = _previews(given)
    output_format, compression, transparent = _output(given, config)
    first_image, images, mask, markup = _pictures(uploads, config, editing=editing)
    return ImageCall(
        config=config,
        model=model,
        prompt=prompt,
        n=_integer(given, "n", 1, config.max_images_per_call, default=1),
        size=_size(given, config, first_image),
        quality=("medium" if quality == "auto" else quality),
        transparent=transparent,
        output_format=output_format,
        output_compression=compression,
        previews=previews,
        wants_url=not is_gpt_image(model) and given.get("response_format", "url") == "url",
        safety_identifier=_text(given, "safety_identifier") or _text(given, "user") or None,
        images=images,
        mask=mask,
        markup=markup,
        seed=_seed(given, uploads),
    )


def _check_types(given: Mapping[str, object]) -> None:
    for name, value in given.items():
        if name in _TEXTS and not isinstance(value, str):
            raise _wrong_type(name, "a string", value)
        if name in _INTEGERS and (not isinstance(value, int) or isinstance(value, bool)):
            raise _wrong_type(name, "an integer", value)
        if name == "stream" and not isinstance(value, bool):
            raise _wrong_type(name, "a boolean", value)
        if name == "svg" and not isinstance(value, dict):
            raise _wrong_type(name, "an object", value)


def _check_names(given: Mapping[str, object], uploads: Sequence[Upload], config: ModelConfig, *, editing: bool) -> None:
    if is_gpt_image(config.id):
        known = _EDIT if editing else _GENERATION
    else:
        known = (_DALLE_EDIT if editing else _DALLE) | set(config.options)
    for name in [*given, *(upload.field for upload in uploads)]:
        if name.removesuffix("[]") not in known:
            raise openai_error(400, f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")


def _prompt(given: Mapping[str, object], config: ModelConfig) -> str:
    if "prompt" not in given:
        raise _missing("prompt")
    prompt = _text(given, "prompt")
    if not prompt.strip():
        raise openai_error(
            400,
            "Invalid 'prompt': empty string. Expected a string with minimum length 1, but got an empty string instead.",
            param="prompt",
            code="empty_string",
        )
    most = config.max_prompt_characters
    if most and len(prompt) > most:
        raise openai_error(
            400,
            f"Invalid 'prompt': string too long. Expected a string with maximum length {most}, but got a string with "
            f"length {len(prompt)} instead.",
            param="prompt",
            code="string_above_max_length",
        )
    return prompt


def _choice(given: Mapping[str, object], config: ModelConfig, name: str, *, default: str) -> str:
    """A text parameter, checked against the model's values where the catalogue has them."""
    value = _text(given, name) or default
    option = config.options.get(name)
    if name in given and isinstance(option, ChoiceOption) and value not in option.values:
        raise _unsupported_value(name, value, option.values)
    return value


def _check_input_fidelity(given: Mapping[str, object], config: ModelConfig, model: str) -> None:
    if "input_fidelity" in given and "input_fidelity" not in config.options:
        raise openai_error(
            400,
            f"The model '{model}' does not support the 'input_fidelity' parameter.",
            kind="image_generation_user_error",
            param="input_fidelity",
            code="invalid_input_fidelity_model",
        )
    _choice(given, config, "input_fidelity", default="low")


def _check_complexity(given: Mapping[str, object]) -> None:
    if "complexity" in given and given["complexity"] not in _COMPLEXITY:
        raise _unsupported_value("complexity", _text(given, "complexity"), _COMPLEXITY)


def _previews(given: Mapping[str, object]) -> int | None:
    """How many partial pictures to stream; None without a stream."""
    count = _integer(given, "partial_images", 0, 3, default=0)
    if given.get("stream"):
        if given.get("n", 1) != 1:
            # What the service does is not known; no event says which of several pictures it belongs to.
            raise openai_error(400, "The sandbox streams one picture a call.", param="n", code="invalid_value")
        return count
    if count:
        raise openai_error(
            400,
            "'partial_images' is only supported when 'stream' is true.",
            param="partial_images",
            code="unsupported_parameter",
        )
    return None


def _output(given: Mapping[str, object], config: ModelConfig) -> tuple[str, int, bool]:
    """The format, the compression and whether the background is see-through."""
    output_format = _text(given, "output_format") or "png"
    if output_format in _GATED_FORMATS:
        raise openai_error(
            400,
            f"Your project does not have access to the '{output_format}' output format preview.",
            param="output_format",
            code="invalid_value",
        )
    _choice(given, config, "output_format", default="png")
    for name, needed in (("frame_count", "gif"), ("frame_duration_ms", "gif"), ("svg", "svg")):
        if name in given:
            raise openai_error(
                400, f"'{name}' is only supported with output_format={needed}.", param=name, code="invalid_value"
            )
    compression = _integer(given, "output_compression", 0, 100, default=100)
    if "output_compression" in given and output_format == "png":
        raise openai_error(
            400,
            "Output compression is not supported for PNG output format.",
            kind="image_generation_user_error",
            param="output_compression",
            code="invalid_png_output_compression",
        )
    transparent = _choice(given, config, "background", default="auto") == "transparent"
    if transparent and output_format == "jpeg":
        raise openai_error(
            400,
            "Transparent background is not supported for JPEG output format.",
            kind="image_generation_user_error",
            param="background",
            code="invalid_transparent_background",
        )
    return output_format, compression, transparent


def _size(given: Mapping[str, object], config: ModelConfig, first_image: Image.Image | None) -> Size:
    text = _text(given, "size") or "auto"
    takes_auto = is_gpt_image(config.id)
    if text == "auto" and (takes_auto or "size" not in given):
        return _automatic_size(config, first_image)
    supported = [str(choice.size) for choice in config.sizing.presets()] + (["auto"] if takes_auto else [])
    try:
        size = Size.parse(text)
    except ValueError:
        raise _unsupported_value("size", text, supported) from None
    # The service reads sizes letter by letter: no spaces, no other sign between the numbers.
    if text != str(size):
        raise _unsupported_value("size", text, supported)
    if config.sizing.allows(size):
        return size
    if isinstance(config.sizing, FlexibleSizing):
        raise openai_error(
            400,
            f"Invalid size '{text}'. {_broken_rule(size, config.sizing)}",
            kind="image_generation_user_error",
            param="size",
            code="invalid_value",
        )
    raise _unsupported_value("size", text, supported)


def _automatic_size(config: ModelConfig, first_image: Image.Image | None) -> Size:
    """The service's own choice: a square, or the shape of the first picture."""
    ratio = first_image.width / first_image.height if first_image else 1.0
    chosen = config.sizing.choose(SizeRequest(image_size="1K", natural_ratio=ratio)).size
    assert chosen is not None  # None is the answer to an open request alone
    return chosen


def _broken_rule(size: Size, rule: FlexibleSizing) -> str:
    if size.width % rule.multiple_of or size.height % rule.multiple_of:
        return f"Width and height must both be divisible by {rule.multiple_of}."
    if max(size.width, size.height) > rule.max_edge:
        return f"The longest edge must be at most {rule.max_edge} pixels."
    if size.pixels < rule.min_pixels:
        return f"The total number of pixels must be at least {rule.min_pixels}."
    if size.pixels > rule.max_pixels:
        return f"The total number of pixels must be at most {rule.max_pixels}."
    return f"The aspect ratio must be between {rule.min_ratio} and {rule.max_ratio}."


def _pictures(
    uploads: Sequence[Upload], config: ModelConfig, *, editing: bool
) -> tuple[Image.Image | None, tuple[Image.Image, ...], Image.Image | None, Image.Image | None]:
    """The first picture, all pictures, the mask and the markup."""
    if not editing:
        return None, (), None, None
    sent = [upload for upload in uploads if upload.field in ("image", "image[]")]
    if not sent:
        raise _missing("image")
    _check_count(sent, config)
    images = tuple(_picture(upload, _indexed(upload, i), config) for i, upload in enumerate(sent))
    overlays = {}
    for name in ("mask", "markup"):
        matching = [upload for upload in uploads if upload.field == name]
        if len(matching) > 1:
            raise _duplicate(name)
        if matching:
            overlays[name] = _overlay(matching[0], images[0], config.input_images.max_mask_bytes)
    mask, markup = overlays.get("mask"), overlays.get("markup")
    if markup and mask:
        raise openai_error(400, "'markup' cannot be combined with 'mask'.", param="markup", code="invalid_value")
    if markup and not config.id.startswith("gpt-image-2.5"):
        raise openai_error(
            400, f"The model '{config.id}' does not support 'markup'.", param="markup", code="invalid_value"
        )
    # Transparent means change here, and 255 means change in a scene.
    change = mask.getchannel("A").point([255 - value for value in range(256)]) if mask else None
    return images[0], images, change, markup


def _check_count(sent: Sequence[Upload], config: ModelConfig) -> None:
    if sum(upload.field == "image" for upload in sent) > 1:
        raise _duplicate("image")
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


def _picture(upload: Upload, name: str, config: ModelConfig) -> Image.Image:
    limits = config.input_images
    supported = ("image/png",) if limits.square_rgba else _UPLOADABLE
    if upload.content_type not in supported:
        raise _unsupported_mimetype(name, upload.content_type, supported)
    _check_bytes(upload, name, limits.max_bytes)
    picture = _decoded(upload, name)
    if limits.square_rgba and (picture.width != picture.height or picture.mode not in ("RGBA", "LA", "L")):
        raise openai_error(400, "Uploaded image must be a square PNG with an alpha channel.", param=name)
    return picture


def _overlay(upload: Upload, first: Image.Image, most_bytes: int) -> Image.Image:
    """A mask or a markup: a PNG with alpha, of the first picture's size; mode RGBA."""
    name = upload.field
    _check_bytes(upload, name, most_bytes)
    picture = _decoded(upload, name)
    if picture.info["mime_type"] != "image/png":
        raise _unsupported_mimetype(name, str(picture.info["mime_type"]), ("image/png",))
    if not picture.has_transparency_data:
        raise openai_error(
            400,
            f"Invalid {name} image format - {name} image missing alpha channel",
            kind="image_generation_user_error",
            param=name,
            code=f"invalid_{name}_image_format",
        )
    if picture.size != first.size:
        raise openai_error(
            400,
            f"Invalid {name} image format - {name} size does not match image size",
            kind="image_generation_user_error",
            param=name,
            code=f"invalid_{name}_image_format",
        )
    return picture.convert("RGBA")


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


def _seed(given: Mapping[str, object], uploads: Sequence[Upload]) -> int:
    """A number of 32 bits that stands for everything that was sent."""
    digest = hashlib.sha256(json.dumps(given, sort_keys=True, default=str).encode())
    for upload in uploads:
        digest.update(upload.field.encode() + hashlib.sha256(upload.data).digest())
    return int.from_bytes(digest.digest()[:4], "big")


def _text(given: Mapping[str, object], name: str) -> str:
    value = given.get(name, "")
    return value if isinstance(value, str) else ""


def _integer(given: Mapping[str, object], name: str, least: int, most: int, *, default: int) -> int:
    value = given.get(name, default)
    assert isinstance(value, int)  # _check_types has seen to it
    if value < least:
        raise openai_error(
            400,
            f"Invalid '{name}': integer below minimum value. Expected a value >= {least}, but got {value} instead.",
            param=name,
            code="integer_below_min_value",
        )
    if value > most:
        raise openai_error(
            400,
            f"Invalid '{name}': integer above maximum value. Expected a value <= {most}, but got {value} instead.",
            param=name,
            code="integer_above_max_value",
        )
    return value


def _missing(name: str) -> Refusal:
    return openai_error(400, f"Missing required parameter: '{name}'.", param=name, code="missing_required_parameter")


def _wrong_type(name: str, expected: str, value: object) -> Refusal:
    kinds = {bool: "a boolean", int: "an integer", float: "a decimal", str: "a string", list: "an array"}
    got = kinds.get(type(value), "an object")
    message = f"Invalid type for '{name}': expected {expected}, but got {got} instead."
    return openai_error(400, message, param=name, code="invalid_type")


def _unsupported_value(name: str, value: str, supported: Sequence[str]) -> Refusal:
    quoted = [f"'{choice}'" for choice in supported]
    listed = quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])}, and {quoted[-1]}"
    message = f"Invalid value: '{value}'. Supported values are: {listed}."
    return openai_error(400, message, param=name, code="invalid_value")


def _unsupported_mimetype(name: str, mime_type: str, supported: Sequence[str]) -> Refusal:
    listed = ", ".join(f"'{kind}'" for kind in supported)
    message = f"Invalid file '{name}': unsupported mimetype ('{mime_type}'). Supported file formats are {listed}."
    return openai_error(400, message, param=name, code="unsupported_file_mimetype")


def _duplicate(name: str) -> Refusal:
    message = (
        f"Duplicate parameter: '{name}'. You provided multiple values for this parameter, whereas only one is allowed. "
        f"If you are trying to provide a list of values, use the array syntax instead e.g. '{name}[]=<value>'."
    )
    return openai_error(400, message, param=name, code="duplicate_parameter")
