"""Reads a request to OpenAI's image API as strictly as the service does.

The parameters are those of the official SDK's types (openai 3.54: ``ImageGenerateParams``, ``ImageEditParams``), the
limits those of the catalogue. Every violation raises a ``Refusal`` with the service's status, code and wording.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ..providers.schema import ChoiceOption, ModelConfig
from ..sizing import Size
from .errors import openai_error
from .models import ServedModels, gpt_image_version, is_gpt_image
from .openai_errors import missing_parameter, unsupported_value, wrong_type
from .openai_form import Form, Upload
from .openai_formats import GATED_FORMATS, check_format, sheet_of
from .openai_input_images import NO_INPUT_IMAGES, InputImages, read_input_images
from .openai_json_edit import read_json_edit
from .openai_size import read_size

__all__ = ["ImageCall", "read_edit", "read_edit_body", "read_generation", "refuse_retired"]

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
_QUALITIES = ("low", "medium", "high", "xhigh", "max", "auto")
"""Those of all GPT Image models, in the order in which the service lists them."""

_COMPLEXITY = ("low", "medium", "high")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageCall:
    """A valid request.

    Attributes:
        config: The model's capabilities.
        model: The model's name as it was sent.
        prompt: The prompt.
        n: How many images.
        size: Their size, already chosen if the request says ``auto``.
        quality: Their quality, already chosen if the request says ``auto``.
        transparent: True for a transparent background.
        output_format: ``png``, ``jpeg`` or ``webp``; with access also ``gif`` or ``svg``.
        output_compression: 0 to 100, where 100 is the best.
        previews: How many partial images to stream before the finished one; None for a response in one piece.
        wants_url: True if the response should contain a URL instead of the image (only DALL·E).
        safety_identifier: The caller's name for its user; None if it is not given.
        inputs: The images to edit and for reference.
        frames: How many frames a GIF has.
        frame_duration_ms: How long each is shown, in milliseconds.
        seed: Derived from the whole request, as the service has no such parameter. The same request gives the same
            image.
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
    inputs: InputImages = NO_INPUT_IMAGES
    frames: int = 9
    frame_duration_ms: int = 200
    seed: int = 0


def _served(model: str, *, models: ServedModels) -> ModelConfig:
    """The config of a model that makes images; raises Refusal if it is unknown, or has ended (recorded traffic)."""
    config = models.find("openai", model)
    if config and not models.serves(config):
        raise openai_error(
            400,
            f"The model '{model}' does not exist.",
            kind="image_generation_user_error",
            param="model",
            code="invalid_value",
        )
    return refuse_retired(model, config, models=models)


def refuse_retired(model: str, config: ModelConfig | None, *, models: ServedModels) -> ModelConfig:
    """The model's config; raises 404 if the model is unknown or no longer served."""
    if config is None:
        raise openai_error(
            404, f"The model '{model}' does not exist or you do not have access to it.", code="model_not_found"
        )
    if not models.serves(config):
        raise openai_error(
            404,
            f"The model '{model}' has been deprecated, learn more here: https://platform.openai.com/docs/deprecations",
            code="model_not_found",
        )
    return config


def read_generation(body: object, *, models: ServedModels, gated: bool = False) -> ImageCall:
    """Read the JSON body of ``/images/generations``; raises Refusal."""
    if not isinstance(body, dict):
        raise openai_error(400, "We could not parse the JSON body of your request. Expected a JSON object.")
    return _read(body, (), known=_GENERATION, editing=False, models=models, gated=gated)


def read_edit(form: Form, *, models: ServedModels, gated: bool = False) -> ImageCall:
    """Read the form of ``/images/edits``, whose numbers are text; raises Refusal."""
    values: dict[str, object] = dict(form.fields)
    for name in _INTEGERS:
        text = form.fields.get(name, "")
        if text.removeprefix("-").isdecimal():
            values[name] = int(text)
    if "stream" in form.fields:
        stream = form.fields["stream"]
        values["stream"] = {"true": True, "false": False}.get(stream.lower(), stream)
    return _read(values, form.uploads, known=_EDIT, editing=True, models=models, gated=gated)


def read_edit_body(body: object, *, models: ServedModels, gated: bool = False) -> ImageCall:
    """Read the JSON body of ``/images/edits``; raises Refusal."""
    if not isinstance(body, dict):
        raise openai_error(400, "We could not parse the JSON body of your request. Expected a JSON object.")
    values, uploads = read_json_edit(body)
    return _read(values, uploads, known=_EDIT | {"moderation"}, editing=True, models=models, gated=gated)


def _read(
    values: Mapping[str, object],
    uploads: Sequence[Upload],
    *,
    known: Collection[str],
    editing: bool,
    models: ServedModels,
    gated: bool,
) -> ImageCall:
    # A null means that the parameter is not given, as the SDK's types say.
    given = {name: value for name, value in values.items() if value is not None}
    _check_types(given)
    model = _text(given, "model")
    if not model:
        raise missing_parameter("model")
    config = _served(model, models=models)
    _check_names(given, uploads, config, known, editing=editing)
    prompt = _prompt(given, config)
    quality = _quality(given, config, model)
    _choice(given, config, "moderation", default="auto")
    _choice(given, config, "style", default="vivid")
    _check_input_fidelity(given, config, model)
    _check_complexity(given, config)
    previews = _previews(given)
    output_format, compression, transparent = _output(given, config, gated=gated)
    inputs = read_input_images(uploads, config) if editing else NO_INPUT_IMAGES
    check_format(given, output_format, is_edit_with_mask=inputs.mask is not None)
    frames = _integer(given, "frame_count", 2, 16, default=9)
    size = read_size(given, config, inputs.images)
    if output_format == "gif":
        sheet_of(size, frames)
    return ImageCall(
        config=config,
        model=model,
        prompt=prompt,
        n=_integer(given, "n", 1, config.max_images_per_call, default=1),
        size=size,
        quality=("medium" if quality == "auto" else quality),
        transparent=transparent,
        output_format=output_format,
        output_compression=compression,
        previews=previews,
        wants_url=not is_gpt_image(model) and given.get("response_format", "url") == "url",
        safety_identifier=_text(given, "safety_identifier") or _text(given, "user") or None,
        inputs=inputs,
        frames=frames,
        frame_duration_ms=_integer(given, "frame_duration_ms", 1, 655_350, default=200),
        seed=_seed(given, uploads),
    )


def _check_types(given: Mapping[str, object]) -> None:
    for name, value in given.items():
        if name in _TEXTS and not isinstance(value, str):
            raise wrong_type(name, "a string", value)
        if name in _INTEGERS and (not isinstance(value, int) or isinstance(value, bool)):
            raise wrong_type(name, "an integer", value)
        if name == "stream" and not isinstance(value, bool):
            raise wrong_type(name, "a boolean", value)
        if name == "svg" and not isinstance(value, dict):
            raise wrong_type(name, "an object", value)


def _check_names(
    given: Mapping[str, object],
    uploads: Sequence[Upload],
    config: ModelConfig,
    known: Collection[str],
    *,
    editing: bool,
) -> None:
    if not is_gpt_image(config.id):
        known = (_DALLE_EDIT if editing else _DALLE) | set(config.options)
    for name in [*given, *(upload.field for upload in uploads)]:
        if name.removesuffix("[]") not in known:
            raise openai_error(400, f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")


def _prompt(given: Mapping[str, object], config: ModelConfig) -> str:
    if "prompt" not in given:
        raise missing_parameter("prompt")
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


def _quality(given: Mapping[str, object], config: ModelConfig, model: str) -> str:
    value = _text(given, "quality")
    option = config.options.get("quality")
    if is_gpt_image(config.id) and value and isinstance(option, ChoiceOption) and value not in option.values:
        # The service has one sentence for the quality of another model, and another one for any other text.
        if value not in _QUALITIES:
            raise unsupported_value("quality", value, _QUALITIES)
        raise openai_error(
            400, f"The model '{model}' does not support quality '{value}'.", param="quality", code="invalid_value"
        )
    return _choice(given, config, "quality", default="auto")


def _choice(given: Mapping[str, object], config: ModelConfig, name: str, *, default: str) -> str:
    """A text parameter, checked against the model's values if the catalogue has them."""
    value = _text(given, name) or default
    option = config.options.get(name)
    if name in given and isinstance(option, ChoiceOption) and value not in option.values:
        raise unsupported_value(name, value, option.values)
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


def _check_complexity(given: Mapping[str, object], config: ModelConfig) -> None:
    if "complexity" not in given:
        return
    if gpt_image_version(config.id) < 2.6:
        raise openai_error(
            400,
            f"The model '{config.id}' does not support the 'complexity' parameter.",
            param="complexity",
            code="unsupported_parameter",
        )
    if given["complexity"] not in _COMPLEXITY:
        raise unsupported_value("complexity", _text(given, "complexity"), _COMPLEXITY)


def _previews(given: Mapping[str, object]) -> int | None:
    """How many partial images to stream; None without a stream."""
    count = _integer(given, "partial_images", 0, 3, default=0)
    if given.get("stream"):
        if given.get("n", 1) != 1:
            # What the service does is unknown: no event says which of several images it belongs to.
            raise openai_error(400, "The sandbox streams one image per request.", param="n", code="invalid_value")
        return count
    if count:
        raise openai_error(
            400,
            "'partial_images' is only supported when 'stream' is true.",
            param="partial_images",
            code="unsupported_parameter",
        )
    return None


def _output(given: Mapping[str, object], config: ModelConfig, *, gated: bool) -> tuple[str, int, bool]:
    """The format, the compression and whether the background is transparent."""
    output_format = _text(given, "output_format") or "png"
    if output_format in GATED_FORMATS and not (gated and gpt_image_version(config.id) >= 2.5):
        raise openai_error(
            400,
            f"Your project does not have access to the '{output_format}' output format preview.",
            param="output_format",
            code="invalid_value",
        )
    if output_format not in GATED_FORMATS:
        _choice(given, config, "output_format", default="png")
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


def _seed(given: Mapping[str, object], uploads: Sequence[Upload]) -> int:
    """A number of 32 bits, derived from the whole request."""
    digest = hashlib.sha256(json.dumps(given, sort_keys=True, default=str).encode())
    for upload in uploads:
        digest.update(upload.field.encode() + hashlib.sha256(upload.data).digest())
    return int.from_bytes(digest.digest()[:4], "big")


def _text(given: Mapping[str, object], name: str) -> str:
    value = given.get(name, "")
    return value if isinstance(value, str) else ""


def _integer(given: Mapping[str, object], name: str, least: int, most: int, *, default: int) -> int:
    value = given.get(name, default)
    assert isinstance(value, int)  # _check_types checks it
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
