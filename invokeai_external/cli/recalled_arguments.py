"""Builds the command line that generates an image with the same settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..untrusted_number import number
from ..untrusted_text import NAME, TEXT, printable
from .option_flags import flag_of

__all__ = ["recall_command"]


def recall_command(metadata: Mapping[str, Any]) -> list[str]:
    """The command line that asks for an image with the same settings; files have the names that they were given with.

    Anybody may have written the metadata: the command has only flags of ``generate`` for the settings of an image, only
    plain texts and numbers, no control characters, and nothing that would be read as another flag. An option without a
    flag follows ``-o``.
    """
    external = _mapping(metadata.get("external"))
    prompt = printable(_text(metadata.get("positive_prompt")) or "")
    # A prompt that looks like an option goes last, after the -- that ends the options.
    looks_like_option = prompt.startswith("-")
    command = ["invokeai-external", "generate", *([] if looks_like_option else [prompt])]

    def add(flag: str, value: object, *, most: int = NAME) -> None:
        if (plain := _plain(value, most=most)) is not None:
            # After an equals sign it is a value, whatever it begins with.
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
        add("--mask-color", _mask_color(metadata))
    add("--markup", _name(external.get("markup")))
    references = external.get("references")
    for reference in references if isinstance(references, list) else []:
        add("--ref", _name(reference))
    for name, value in _mapping(external.get("options")).items():
        if flag := flag_of(name):
            add(flag, value, most=TEXT)
        elif _OPTION_NAME.fullmatch(name) and (plain := _plain(value, most=TEXT)) is not None:
            command.extend(["-o", f"{name}={plain}"])
    notices = external.get("notices")
    if any(_mapping(notice).get("code") == "sandbox" for notice in (notices if isinstance(notices, list) else ())):
        command.append("--sandbox")
    return [*command, "--", prompt] if looks_like_option else command


_LARGEST_NUMBER = 1 << 63

_COLOR = re.compile(r"[a-z]{1,30}|#[0-9a-fA-F]{3,8}")
"""The name of a colour, or its value."""


_OPTION_NAME = re.compile(r"[A-Za-z][\w.-]{0,99}", re.ASCII)
"""The name of an option in a user's own models."""


def _plain(value: object, *, most: int = NAME) -> str | None:
    """A value for a command line: one line of text, or a number, of sensible size; None for anything else."""
    if number(value, -_LARGEST_NUMBER, _LARGEST_NUMBER) is not None:
        return str(value)
    text = _text(value)
    if not text or len(text) > most or "\n" in text or "\t" in text or printable(text) != text:
        return None
    return text


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _mask_color(metadata: Mapping[str, Any]) -> str | None:
    """The colour that marked what to change in the mask, None for white; version 0.1 did not record it."""
    marks = _mapping(_mapping(metadata.get("external")).get("mask")).get("marks")
    if marks is not None:
        return marks if isinstance(marks, str) and _COLOR.fullmatch(marks) and marks != "white" else None
    # Invoke replaces our key by the one of its record, and black marks in its masks.
    key = _text(_mapping(metadata.get("model")).get("key"))
    return None if key is None or key.startswith("external:") else "black"


def _name(file: object) -> str | None:
    """A file's name without its folder: we never write a folder, and another one could name a private file."""
    name = _text(_mapping(file).get("name"))
    return name and re.split(r"[/\\]", name)[-1]
