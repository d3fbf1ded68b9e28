"""Looks into the bodies of requests, and makes responses that are nearly right."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from typing import Any

from PIL import Image

from ..providers.schema import ModelConfig
from ..transport.messages import Base64, HttpRequest

__all__ = ["as_number", "broken", "files_of", "png_of", "scalars", "values_of_options"]


_OTHER_VALUES: tuple[Any, ...] = (None, 1, "text", [], {}, True)


def broken(body: bytes) -> Iterable[bytes]:
    """The bodies that are like a good one in which one field, at any depth, has a value of another type."""
    try:
        document = json.loads(body)
    except ValueError:
        return
    for path in _paths(document):
        for value in _OTHER_VALUES:
            yield json.dumps(_with(document, path, value)).encode()


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterable[tuple[Any, ...]]:
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, below in entries:
        yield (*path, step)
        yield from _paths(below, (*path, step))


def _with(value: Any, path: Sequence[Any], new: object) -> Any:
    if not path:
        return new
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = _with(value[path[0]], path[1:], new)
    return copy


def scalars(request: HttpRequest) -> Iterable[object]:
    """All texts and numbers in the body of a request."""
    pending: list[object] = [request.json, dict(request.form)]
    while pending:
        value = pending.pop()
        if isinstance(value, Mapping):
            pending.extend(value.values())
        elif isinstance(value, list | tuple):
            pending.extend(value)
        elif value is not None:
            yield value


def as_number(value: object) -> object:
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def files_of(request: HttpRequest) -> Iterable[bytes]:
    """The files in the body of a request, in their order."""
    yield from (part.data for part in request.files)
    yield from _files_in(request.json)


def _files_in(value: object) -> Iterable[bytes]:
    if isinstance(value, Base64):
        yield value.data
    below = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    for found in below:
        yield from _files_in(found)


def values_of_options(model: ModelConfig) -> dict[str, Any]:
    """A value for each option of a model that is not its default."""
    values: dict[str, Any] = {}
    for name, option in model.options.items():
        if listed := getattr(option, "values", None):
            values[name] = next(value for value in reversed(listed) if value not in getattr(option, "experimental", ()))
        elif (least := getattr(option, "minimum", None)) is not None:
            values[name] = least
        else:
            values[name] = "ink"
    return values


def png_of(colour: str, mode: str = "RGB") -> bytes:
    image = Image.new(mode, (64, 64), colour)
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
