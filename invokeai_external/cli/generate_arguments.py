"""What to make, as the arguments of ``generate`` say it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import InvalidRequestError
from ..request import MOST_INPUT_BYTES, GenerationRequest, InputImage, OptionValue, check_input_bytes
from ..service.library_files import read_image, read_mask
from ..sizing import AspectRatio, Size
from .given_options import options_of
from .prompts import prompt_of

__all__ = ["Arguments", "request_of"]

_MASK_COLOR = "white"
"""The default of ``--mask-color``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """The arguments of ``generate`` that say what to make, as given on the command line."""

    out: Path
    prompt: str | None = None
    prompt_file: Path | None = None
    model: str | None = None
    n: int = 1
    size: str | None = None
    aspect_ratio: str | None = None
    image_size: str | None = None
    seed: int | None = None
    references: tuple[Path, ...] = ()
    init: Path | None = None
    mask: Path | None = None
    mask_color: str = _MASK_COLOR
    markup: Path | None = None
    flags: Mapping[str, OptionValue] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    previews: Path | None = None


def request_of(arguments: Arguments) -> GenerationRequest:
    """The request of a command line; raises InvalidRequestError for what cannot be read."""
    if arguments.model is not None and not arguments.model.strip():
        # The default model may cost more than the one that an unset variable was to name.
        raise InvalidRequestError(
            "--model is empty.", remedy="Write a model after it, or leave --model out to use the default model."
        )
    _check_init(arguments)
    if arguments.mask is None and arguments.mask_color != _MASK_COLOR:
        # Without its mask, the whole image would be edited, and paid for.
        raise InvalidRequestError(
            "--mask-color says how to read a mask, but there is no mask.", remedy="Add --mask FILE."
        )
    if arguments.mask and arguments.init:
        _check_mask(arguments.mask, arguments.init)
    _check_sizes(arguments)
    return GenerationRequest(
        prompt=prompt_of(arguments.prompt, arguments.prompt_file),
        model=arguments.model,
        n=arguments.n,
        size=_parsed("--size", Size.parse, arguments.size),
        aspect_ratio=_parsed("--aspect-ratio", AspectRatio.parse, arguments.aspect_ratio),
        image_size=_parsed("--image-size", str, arguments.image_size),
        seed=arguments.seed,
        init_image=read_image(arguments.init) if arguments.init else None,
        mask=_mask(arguments.mask, arguments.mask_color) if arguments.mask else None,
        references=tuple(read_image(path) for path in arguments.references),
        markup=read_image(arguments.markup) if arguments.markup else None,
        options=options_of(arguments.flags, arguments.options),
    )


def _check_sizes(arguments: Arguments) -> None:
    """Refuse images that are too large together before they are read; one that cannot be read is left to that."""
    paths = [arguments.init, arguments.mask, arguments.markup, *arguments.references]
    sizes = []
    for path in paths:
        with suppress(OSError, ValueError):
            sizes.append(path.stat().st_size if path else 0)
    if max(sizes, default=0) <= MOST_INPUT_BYTES:
        check_input_bytes(sum(sizes))


def _check_init(arguments: Arguments) -> None:
    """Raise InvalidRequestError for what belongs to an image to edit, if there is no such image."""
    for what, path in (("mask", arguments.mask), ("markup", arguments.markup)):
        if path and not arguments.init:
            raise InvalidRequestError(
                f"There is a {what} but no image to edit.", remedy=f"Add --init FILE, the image of the {what}."
            )


def _check_mask(mask: Path, init: Path) -> None:
    """Raise InvalidRequestError if the image to edit was given as its own mask."""
    with suppress(OSError, ValueError):
        if mask.samefile(init):
            raise InvalidRequestError(
                "The mask is the image to edit itself.",
                remedy="Copy it, paint over the part to change in one colour, such as red, and add --mask COPY "
                "--mask-color red. Or make that part transparent in the copy.",
            )


def _mask(path: Path, color: str) -> InputImage:
    from ..images.errors import ImageError
    from ..images.painted_masks import check_color

    try:
        check_color(color)
    except ImageError as error:
        raise InvalidRequestError(f"--mask-color: {error}", remedy=error.remedy) from None
    return read_mask(path, marks=color)


def _parsed(flag: str, parse: Callable[[str], Any], text: str | None) -> Any:
    """The value of a size option; None if it is missing, empty or ``auto``, which is OpenAI's word."""
    try:
        return None if text is None or text.strip().lower() in ("", "auto") else parse(text)
    except InvalidRequestError as error:
        raise InvalidRequestError(f"{flag}: {error.message}", remedy=error.remedy) from None
