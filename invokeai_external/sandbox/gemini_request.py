"""Reads a ``generateContent`` request as strictly as the Gemini API does.

The limits come from the catalogue, the wording from the service. Every violation raises a ``Refusal``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PIL import Image

from ..providers.schema import ChoiceOption, ModelConfig
from ..providers.sizings import PresetSizing
from ..sizing import AspectRatio, Size, SizeRequest
from .codec import UnreadableImageError, decode
from .errors import Refusal, gemini_error
from .gemini_schema import read_names, snake_case
from .gemini_tools import check_safety_settings, read_searches
from .models import ServedModels

__all__ = ["MAX_TEMPERATURE", "ContentCall", "decode_base64", "read_call", "served_config", "signs_thoughts"]

MAX_TEMPERATURE = 1
"""That of the image models in the list of models (recorded traffic)."""

_OPEN_SIZE = Size(1408, 768)
"""What Gemini 3 makes at 1K without a ratio and an image (recorded traffic)."""

_INT32 = range(-(2**31), 2**31)
_IMAGE_TYPES = ("image/png", "image/jpeg", "image/webp", "image/heic", "image/heif")
_MODALITIES = ("MODALITY_UNSPECIFIED", "TEXT", "IMAGE", "AUDIO", "VIDEO")
_THINKING_LEVELS = ("THINKING_LEVEL_UNSPECIFIED", "MINIMAL", "LOW", "MEDIUM", "HIGH", "XHIGH")


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentCall:
    """A valid request.

    Attributes:
        config: The model's capabilities.
        model: The model's name as it was sent.
        prompt: The text of the last turn.
        turns_text: The text of all turns, which decides the input tokens.
        images: The images of the last turn, in order; without any, the newest image of the model.
        mask: Where to change the first image (mode L, 255 = change), if the text mentions a mask and the second image
            looks like one, which is then not among the images.
        image_count: The number of images in all turns.
        size: The size of the image to make.
        image_size: The size's name; None for a model without named sizes.
        gives_text: True if the response should contain text.
        gives_image: True if it should contain an image.
        include_thoughts: True if it should contain thoughts.
        seed: As sent, or derived from the whole request.
        searches: The searches that it may use, of ``webSearch`` and ``imageSearch``.
    """

    config: ModelConfig
    model: str
    prompt: str
    turns_text: str
    images: tuple[Image.Image, ...]
    mask: Image.Image | None
    image_count: int
    size: Size
    image_size: str | None
    gives_text: bool
    gives_image: bool
    include_thoughts: bool
    seed: int
    searches: tuple[str, ...] = ()

    @property
    def thinks(self) -> bool:
        return self.config.previews


def served_config(model: str, version: str, *, models: ServedModels) -> ModelConfig:
    """The model's config; raises 404 if the model is unknown or no longer served."""
    config = models.find("gemini", model)
    if config is None:
        raise gemini_error(
            404,
            f"models/{model} is not found for API version {version}, or is not supported for generateContent. Call "
            "ListModels to see the list of available models and their supported methods.",
        )
    if not models.serves(config):
        raise gemini_error(
            404,
            f"This model models/{model} is no longer available. Please update your code to use a newer model for the "
            "latest features and improvements.",
        )
    return config


def signs_thoughts(config: ModelConfig) -> bool:
    """True if a model signs its images and requires the signature in later turns: all from 3 on."""
    return not config.id.startswith("gemini-2")


def read_call(body: object, config: ModelConfig, model: str, version: str) -> ContentCall:
    """Read the body of a request to a version of the API; raises Refusal."""
    call = read_names(body, version)
    settings = _message(call.get("generationConfig"))
    _check_candidate_count(settings)
    modalities = _modalities(settings)
    include_thoughts = _thinking(_message(settings.get("thinkingConfig")), config)
    _check_temperature(settings)
    seed = _integer(settings, "seed")
    check_safety_settings(_items(call.get("safetySettings")))
    searches = read_searches(_items(call.get("tools")), config.id)
    turns = [_message(turn) for turn in _items(call.get("contents"))]
    if not turns:
        raise gemini_error(400, "* GenerateContentRequest.contents: contents is not specified\n")
    read_turns = [_turn(turn, i, config) for i, turn in enumerate(turns)]
    all_images = [image for turn in read_turns for image in turn.images]
    _check_images(all_images, config)
    last = next((turn for turn in reversed(read_turns) if turn.role == "user"), None)
    if last is None:
        raise gemini_error(400, "Please ensure that multiturn requests have a user turn.")
    images = [image for image, _ in last.images]
    if not images:
        images = [image for turn in read_turns if turn.role == "model" for image, _ in turn.images][-1:]
    mask = images.pop(1) if _has_mask(last.text, images) else None
    turns_text = "\n".join(turn.text for turn in read_turns)
    _check_length(turns_text, config)
    size, image_size = _size(_message(settings.get("imageConfig")), config, images[0] if images else None)
    return ContentCall(
        config=config,
        model=model,
        prompt=last.text or "(an image without text)",
        turns_text=turns_text,
        images=tuple(images),
        mask=mask,
        image_count=len(all_images),
        size=size,
        image_size=image_size,
        gives_text="TEXT" in modalities,
        gives_image="IMAGE" in modalities,
        include_thoughts=include_thoughts,
        seed=_seed_from(call) if seed is None else seed,
        searches=searches,
    )


@dataclass(frozen=True, slots=True)
class _Turn:
    """A turn: its role, its text, and each image with the length of its file."""

    role: str
    text: str
    images: tuple[tuple[Image.Image, int], ...]


def _turn(turn: Mapping[str, object], index: int, config: ModelConfig) -> _Turn:
    role = turn.get("role") or "user"
    if role not in ("user", "model"):
        raise gemini_error(400, "Please use a valid role: user, model.")
    parts = [_message(part) for part in _items(turn.get("parts"))]
    place = f"GenerateContentRequest.contents[{index}]"
    if not parts:
        raise gemini_error(400, f"* {place}.parts: contents.parts must not be empty.\n")
    texts: list[str] = []
    images: list[tuple[Image.Image, int]] = []
    for i, part in enumerate(parts):
        if part.get("fileData"):
            uri = str(_message(part["fileData"]).get("fileUri", ""))
            raise gemini_error(403, f"You do not have permission to access the File {uri} or it may not exist.")
        if part.get("thought"):
            continue
        if part.get("inlineData"):
            if role == "model" and signs_thoughts(config) and not part.get("thoughtSignature"):
                raise gemini_error(
                    400,
                    f"Image part is missing a thought_signature in content position {index + 1}, part position "
                    f"{i + 1}.",
                )
            images.append(_inline_image(_message(part["inlineData"]), f"contents[{index}].parts[{i}].inline_data"))
            continue
        text = part.get("text")
        if text is not None and not isinstance(text, str):
            raise gemini_error(
                400, f"Invalid value at 'contents[{index}].parts[{i}].text' (TYPE_STRING), {json.dumps(text)}"
            )
        if not text:
            raise gemini_error(
                400,
                f"* {place}.parts[{i}].data: required oneof field 'data' must have one initialized field\n",
            )
        texts.append(text)
    return _Turn(str(role), " ".join(texts), tuple(images))


def _has_mask(text: str, images: Sequence[Image.Image]) -> bool:
    """True if the second image is the mask of the first: the text mentions a mask, and it is grey and of equal size."""
    return (
        re.search(r"\bmask\b", text, re.IGNORECASE) is not None
        and len(images) > 1
        and images[1].mode == "L"
        and images[1].size == images[0].size
    )


def _inline_image(blob: Mapping[str, object], path: str) -> tuple[Image.Image, int]:
    data, mime_type = blob.get("data"), blob.get("mimeType")
    content = decode_base64(data) if isinstance(data, str) else None
    if content is None:
        shown = json.dumps(data if isinstance(data, str) else str(data))[:40]
        raise gemini_error(400, f"Invalid value at '{path}.data' (TYPE_BYTES), Base64 decoding failed for {shown}")
    if mime_type not in _IMAGE_TYPES:
        raise gemini_error(400, f"Unsupported MIME type: {mime_type}")
    try:
        return decode(content), len(content)
    except UnreadableImageError:
        raise gemini_error(
            400, "Unable to process input image. Please retry or report in https://ai.google.dev/gemini-api/docs"
        ) from None


def decode_base64(text: str) -> bytes | None:
    """Base64 in either alphabet, padded or not, as in JSON of protocol buffers; None if it is not valid."""
    standard = text.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True) or None
    except binascii.Error:
        return None


def _check_candidate_count(settings: Mapping[str, object]) -> None:
    count = _integer(settings, "candidateCount")
    if count is not None and count > 1:
        raise gemini_error(400, "Multiple candidates is not enabled for this model")
    if count is not None and count < 1:
        raise gemini_error(400, "* GenerateContentRequest.generation_config.candidate_count: must be at least 1\n")


def _modalities(settings: Mapping[str, object]) -> tuple[str, ...]:
    given = tuple(str(item).upper() for item in _items(settings.get("responseModalities")))
    for i, modality in enumerate(given):
        if modality not in _MODALITIES:
            raise _bad_enum(f"generation_config.response_modalities[{i}]", "GenerationConfig.Modality", modality)
        if modality in ("AUDIO", "VIDEO"):
            raise gemini_error(
                400,
                f"The requested combination of response modalities ({', '.join(given)}) is not supported by the model.",
            )
    return given or ("TEXT", "IMAGE")


def _thinking(thinking: Mapping[str, object], config: ModelConfig) -> bool:
    """Whether to include thoughts."""
    option = config.options.get("thinking_level")
    level = thinking.get("thinkingLevel")
    if level is not None:
        name = str(level).upper()
        if name not in _THINKING_LEVELS:
            raise _bad_enum(
                "generation_config.thinking_config.thinking_level", "ThinkingConfig.ThinkingLevel", str(level)
            )
        if option is None:
            raise gemini_error(400, "Thinking level is not supported for this model.")
        if isinstance(option, ChoiceOption) and name.lower() not in option.values:
            raise gemini_error(
                400,
                f"Thinking level {name} is not supported for this model. Please retry with other thinking level.",
            )
    if _integer(thinking, "thinkingBudget", "generation_config.thinking_config") is not None and option is None:
        raise gemini_error(400, "Thinking budget is not supported for this model.")
    wanted = thinking.get("includeThoughts", False)
    if not isinstance(wanted, bool):
        raise gemini_error(
            400,
            f"Invalid value at 'generation_config.thinking_config.include_thoughts' (TYPE_BOOL), {json.dumps(wanted)}",
        )
    return wanted


def _check_temperature(settings: Mapping[str, object]) -> None:
    value = settings.get("temperature")
    if value is None:
        return
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise gemini_error(400, f"Invalid value at 'generation_config.temperature' (TYPE_FLOAT), {json.dumps(value)}")
    if not 0 <= value <= MAX_TEMPERATURE:
        raise gemini_error(
            400,
            f"Unable to submit request because it has a temperature value of {value} but the supported range is from "
            f"0 (inclusive) to {MAX_TEMPERATURE:.1f} (inclusive). Update the value and try again.",
        )


def _check_images(images: Sequence[tuple[Image.Image, int]], config: ModelConfig) -> None:
    limits = config.input_images
    if len(images) > limits.max_count:
        raise gemini_error(
            400,
            f"Please use fewer than {limits.max_count + 1} images in your request to models/{config.id}",
        )
    sizes = [size for _, size in images]
    if any(size > limits.max_bytes for size in sizes) or sum(sizes) > (limits.max_total_bytes or sum(sizes)):
        raise gemini_error(
            400, f"Request payload size exceeds the limit: {limits.max_total_bytes or limits.max_bytes} bytes."
        )


def _check_length(text: str, config: ModelConfig) -> None:
    most = config.max_prompt_characters
    if most and len(text) > most:
        raise gemini_error(
            400,
            f"The input token count ({len(text) // 4}) exceeds the maximum number of tokens allowed ({most // 4}).",
        )


def _size(
    image_config: Mapping[str, object], config: ModelConfig, first_image: Image.Image | None
) -> tuple[Size, str | None]:
    sizing = config.sizing
    assert isinstance(sizing, PresetSizing)  # the only kind for Gemini in the catalogue
    ratio, image_size = image_config.get("aspectRatio"), image_config.get("imageSize")
    if ratio is not None and ratio not in sizing.ratios:
        raise _not_offered("aspect_ratio", ratio, tuple(sizing.ratios))
    if image_size is not None and not sizing.image_sizes:
        raise gemini_error(400, "Image size is not supported for this model.")
    if image_size is not None and image_size not in sizing.image_sizes:
        raise _not_offered("image_size", image_size, tuple(sizing.image_sizes))
    named = str(image_size) if image_size else ("1K" if sizing.image_sizes else None)
    if ratio is None and first_image is None and signs_thoughts(config):
        scale = sizing.image_sizes[named] if named else 1
        return Size(round(_OPEN_SIZE.width * scale), round(_OPEN_SIZE.height * scale)), named
    wanted = AspectRatio.parse(str(ratio)) if ratio else AspectRatio(1, 1)
    if ratio is None and first_image:
        # Without a ratio the model uses the ratio of its first input image.
        nearest = sizing.choose(SizeRequest(size=Size(first_image.width, first_image.height))).aspect_ratio
        wanted = AspectRatio.parse(str(nearest))
    chosen = sizing.choose(SizeRequest(aspect_ratio=wanted, image_size=named)).size
    assert chosen is not None  # a ratio was given
    return chosen, named


def _not_offered(name: str, value: object, offered: Sequence[str]) -> Refusal:
    return gemini_error(
        400,
        f"* GenerateContentRequest.generation_config.image_config.{name}: {json.dumps(value)} is not supported for "
        f"this model. Supported values are: {', '.join(offered)}.\n",
    )


def _bad_enum(path: str, kind: str, value: str) -> Refusal:
    return gemini_error(
        400,
        f"Invalid value at '{path}' (type.googleapis.com/google.ai.generativelanguage.v1beta.{kind}), "
        f"{json.dumps(value)}",
    )


def _integer(message: Mapping[str, object], name: str, owner: str = "generation_config") -> int | None:
    """A field of 32 bits; None if it is missing. JSON of protocol buffers may have whole numbers as text."""
    value = message.get(name)
    if value is None:
        return None
    is_whole = isinstance(value, float) and value.is_integer()
    is_text = isinstance(value, str) and value.removeprefix("-").isdecimal()
    if is_whole or is_text or (isinstance(value, int) and not isinstance(value, bool)):
        assert isinstance(value, int | float | str)
        number = int(value)
        if number in _INT32:
            return number
    raise gemini_error(400, f"Invalid value at '{owner}.{snake_case(name)}' (TYPE_INT32), {json.dumps(value)}")


def _seed_from(call: Mapping[str, object]) -> int:
    """A number of 31 bits, derived from the whole request."""
    digest = hashlib.sha256(json.dumps(call, sort_keys=True).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def _message(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _items(value: object) -> list[object]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
