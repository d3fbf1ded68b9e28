"""The command line that asks for an image with the same settings."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..providers import catalog

if TYPE_CHECKING:
    pass

__all__ = ["printable", "recall_command"]


def recall_command(metadata: Mapping[str, Any]) -> list[str]:
    """The command line that asks for a picture with the same settings; pictures are named as they were given.

    The metadata may be anybody's: only options that ``generate`` knows for the provider are in it, only plain texts and
    numbers, no control character, and nothing that would count as another option.
    """
    external = _mapping(metadata.get("external"))
    prompt = printable(_text(metadata.get("positive_prompt")) or "")
    # A prompt that looks like an option stands at the end, behind the sign that no more options follow.
    looks_like_option = prompt.startswith("-")
    command = ["invokeai-external", "generate", *([] if looks_like_option else [prompt])]

    def add(flag: str, value: object) -> None:
        if (plain := _plain(value)) is not None:
            # Behind an equals sign it is a value, whatever it begins with.
            command.extend([f"{flag}={plain}"] if plain.startswith("-") else [flag, plain])

    provider, model = _plain(external.get("provider")), _plain(external.get("model"))
    if provider and model:
        add("--model", f"{provider}/{model}")
    if external.get("aspect_ratio"):
        add("--aspect-ratio", external["aspect_ratio"])
        add("--image-size", metadata.get("image_size"))
    elif external.get("size"):
        add("--size", external["size"])
    else:
        add("--image-size", metadata.get("image_size"))
    add("--seed", metadata.get("seed"))
    add("--init", _name(external.get("init_image")))
    if mask := _plain(_name(external.get("mask"))):
        add("--mask", mask)
        add("--mask-color", "black" if _marks_in_black(metadata) else None)
    references = external.get("references")
    for reference in references if isinstance(references, list) else []:
        add("--ref", _name(reference))
    known = _options_of(provider)
    for name, value in _mapping(external.get("options")).items():
        add(f"--{name.replace('_', '-')}", value if name in known else None)
    notices = external.get("notices")
    if any(_mapping(notice).get("code") == "sandbox" for notice in (notices if isinstance(notices, list) else ())):
        command.append("--sandbox")
    return [*command, "--", prompt] if looks_like_option else command


def printable(text: str) -> str:
    """A text of anybody's as a terminal may show it: without control codes, reversed writing and hidden letters.

    Line ends and tabs stay, and the joiners, which emoji and many scripts are written with.
    """
    kept = "\n\t\u200c\u200d"
    return "".join(char for char in text if char in kept or unicodedata.category(char) not in _NOT_SHOWN)


_NOT_SHOWN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode's general categories of control and format characters, halves of characters, and separators of lines."""


_LONGEST_VALUE = 255
"""Characters. The longest values are the names of files."""


_LARGEST_NUMBER = 1 << 63


def _plain(value: object) -> str | None:
    """A value for a command line: one line of text, or a number, of sensible size; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return str(value) if abs(value) < _LARGEST_NUMBER else None
    text = _text(value)
    if not text or len(text) > _LONGEST_VALUE or "\n" in text or "\t" in text or printable(text) != text:
        return None
    return text


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _options_of(provider: str | None) -> set[str]:
    """The names of the options that a provider's models have."""
    return {
        name
        for page in catalog.pages()
        for config in page.configs()
        if config.provider == provider
        for name in config.options
    }


def _marks_in_black(metadata: Mapping[str, Any]) -> bool:
    """True if black marked in the mask what to change, as in Invoke's; it was not said in images of version 0.1."""
    marks = _mapping(_mapping(metadata.get("external")).get("mask")).get("marks")
    if marks is not None:
        return bool(marks == "black")
    # Invoke puts the key of its own record in the place of ours.
    key = _text(_mapping(metadata.get("model")).get("key"))
    return key is not None and not key.startswith("external:")


def _name(file: object) -> str | None:
    """A file's name without its folder: a folder in it was never ours, and could be that of a private file."""
    name = _text(_mapping(file).get("name"))
    return name and re.split(r"[/\\]", name)[-1]
