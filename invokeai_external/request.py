"""What a request contains. Plain values, the same for every host and every provider."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from .errors import InvalidRequestError
from .sizing import AspectRatio, Size

__all__ = [
    "MAX_PREVIEWS",
    "MOST_INPUT_BYTES",
    "GenerationRequest",
    "InputImage",
    "MetadataMode",
    "OptionValue",
    "check_input_bytes",
]

OptionValue = str | float
"""The value of an option: text, or a number where the option has one."""

MetadataMode = Literal["auto", "embed", "sidecar", "none"]
"""Where the metadata of an image is written: see ``images.metadata_files.place``."""

MOST_INPUT_BYTES = 256_000_000
"""How many bytes all images of a request may have together: they are in memory while it is made. No provider accepts a
fifth of it, and an uncompressed image of 64 million pixels has as many."""

MAX_PREVIEWS = 3
"""The most previews of one image, for every model: OpenAI's own limit for ``partial_images``."""


@dataclass(frozen=True, slots=True)
class InputImage:
    """An image file to send.

    Attributes:
        data: The bytes of the file, in any format that Pillow reads; for a mask a PNG of mode L, 255 = change, or else
            a file as ``read_mask`` reads it.
        name: The name of the file without its folder, for messages and for the metadata.
        marks: Of a mask: the colour that marks what to change in the original file; None for white or transparent.
        original_sha256: The SHA-256 of the original file, if ``data`` was made from it.
    """

    data: bytes = field(repr=False)
    name: str
    marks: str | None = None
    original_sha256: str | None = None
    _digests: list[str] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.data, bytes):
            raise _wrong("data", "the bytes of a file", self.data, remedy="Read a file with read_image(path).")

    @property
    def sha256(self) -> str:
        """The SHA-256 of the original file, in hexadecimal. It is computed once: 200 MB take a tenth of a second."""
        if self.original_sha256:
            return self.original_sha256
        if not self._digests:
            self._digests.append(hashlib.sha256(self.data).hexdigest())
        return self._digests[0]


@dataclass(frozen=True, slots=True, init=False)
class GenerationRequest:
    """What you want. The planner decides what of it a model supports.

    A size or a ratio may also be text (``"1536x864"``, ``"16:9"``) or two numbers, and an input image the bytes of its
    file.

    Attributes:
        model: ``provider/model-id``, or a known id or alias without a provider; None for the newest model of a provider
            that has a key.
        prompt: The description of the image, sent unchanged.
        n: How many images, 1 to 10.
        size: The exact size in pixels; cannot be combined with the next two.
        aspect_ratio: The ratio of width to height, such as 16:9.
        image_size: A named size: ``512``, ``1K``, ``2K``, ``4K``.
        seed: May make an image repeatable, on models that support seeds; the first image has ``seed``, the next
            ``seed + 1``, and so on.
        init_image: The image to edit.
        mask: Where to edit it; ``read_mask`` reads one from any image file.
        references: Reference images.
        markup: A PNG with drawings on a transparent ground that say what to do, as large as the image to edit.
        options: Values by the name of the option; ``auto`` and empty are the provider's default.
        previews: How many previews of each image to show while it is made, 0 to 3. OpenAI bills for them.

    Raises:
        InvalidRequestError: A value has the wrong type, or a text is not a valid size or ratio.
    """

    prompt: str
    model: str | None
    n: int
    size: Size | None
    aspect_ratio: AspectRatio | None
    image_size: str | None
    seed: int | None
    init_image: InputImage | None
    mask: InputImage | None
    references: tuple[InputImage, ...]
    options: Mapping[str, OptionValue]
    previews: int
    markup: InputImage | None

    def __init__(
        self,
        *,
        prompt: str,
        model: str | None = None,
        n: int = 1,
        size: Size | str | tuple[int, int] | None = None,
        aspect_ratio: AspectRatio | str | tuple[int, int] | None = None,
        image_size: str | None = None,
        seed: int | None = None,
        init_image: InputImage | bytes | None = None,
        mask: InputImage | None = None,
        references: Iterable[InputImage | bytes] = (),
        options: Mapping[str, OptionValue] | None = None,
        previews: int = 0,
        markup: InputImage | bytes | None = None,
    ) -> None:
        values = {
            "prompt": _checked("prompt", prompt, str),
            "model": _checked("model", model, str, optional=True),
            "n": _checked("n", n, int),
            "size": _parsed("size", size, Size),
            "aspect_ratio": _parsed("aspect_ratio", aspect_ratio, AspectRatio),
            "image_size": _checked("image_size", image_size, str, optional=True),
            "seed": _checked("seed", seed, int, optional=True),
            "init_image": None if init_image is None else _image("init_image", init_image),
            "mask": _checked("mask", mask, InputImage, optional=True),
            "references": _images(references),
            "options": _options(options or {}),
            "previews": _checked("previews", previews, int),
            "markup": None if markup is None else _image("markup", markup),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        images = (self.init_image, self.mask, self.markup, *self.references)
        check_input_bytes(sum(len(image.data) for image in images if image))


def check_input_bytes(total: int) -> None:
    """Raise InvalidRequestError if the images of a request have more bytes together than is accepted."""
    if total > MOST_INPUT_BYTES:
        raise InvalidRequestError(
            f"The images have {total:,} bytes together; at most {MOST_INPUT_BYTES:,} are accepted.",
            remedy="Use fewer images, or save them as smaller files, such as JPEGs.",
        )


_NAMES = {str: "text", int: "a whole number", InputImage: "an InputImage"}


def _checked(name: str, value: object, kind: type, *, optional: bool = False) -> object:
    is_right = isinstance(value, kind) and not isinstance(value, bool)
    if not is_right and not (optional and value is None):
        raise _wrong(name, _NAMES[kind], value)
    return value


def _parsed(name: str, value: object, kind: type[Size] | type[AspectRatio]) -> object:
    if value is None or isinstance(value, kind):
        return value
    try:
        if isinstance(value, str):
            return kind.parse(value)
        if isinstance(value, tuple | list) and len(value) == 2 and all(type(number) is int for number in value):
            # By its text, so that the same numbers are valid.
            return kind.parse(f"{value[0]}x{value[1]}" if kind is Size else f"{value[0]}:{value[1]}")
    except InvalidRequestError as error:
        raise InvalidRequestError(f"{name}: {error}") from None
    raise _wrong(name, f"{kind.__name__}, text or two numbers", value)


def _images(values: object) -> tuple[InputImage, ...]:
    if not isinstance(values, Iterable) or isinstance(values, str | bytes | Mapping):
        raise _wrong("references", "a list of images", values)
    return tuple(_image("references", value) for value in values)


def _image(name: str, value: object) -> InputImage:
    if isinstance(value, InputImage):
        return value
    if isinstance(value, bytes):
        return InputImage(value, "image")
    raise _wrong(name, "an InputImage or the bytes of a file", value, remedy="Read a file with read_image(path).")


def _options(values: object) -> Mapping[str, OptionValue]:
    if not isinstance(values, Mapping):
        raise _wrong("options", "a mapping of names to values", values)
    for name, value in values.items():
        _checked("options: a name", name, str)
        if not isinstance(value, str | float | int):
            raise _wrong(f"options: {name}", "text or a number", value)
    return values


def _wrong(name: str, wanted: str, value: object, remedy: str | None = None) -> InvalidRequestError:
    return InvalidRequestError(f"{name} must be {wanted}, not {type(value).__name__}.", remedy=remedy)
