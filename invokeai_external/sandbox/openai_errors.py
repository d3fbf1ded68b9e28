"""OpenAI's errors for a parameter that is missing or not valid."""

from __future__ import annotations

from collections.abc import Sequence

from .errors import Refusal, openai_error

__all__ = ["duplicate_parameter", "missing_parameter", "unsupported_mime_type", "unsupported_value", "wrong_type"]


def missing_parameter(name: str) -> Refusal:
    return openai_error(400, f"Missing required parameter: '{name}'.", param=name, code="missing_required_parameter")


def wrong_type(name: str, expected: str, value: object) -> Refusal:
    kinds = {bool: "a boolean", int: "an integer", float: "a decimal", str: "a string", list: "an array"}
    got = kinds.get(type(value), "an object")
    message = f"Invalid type for '{name}': expected {expected}, but got {got} instead."
    return openai_error(400, message, param=name, code="invalid_type")


def unsupported_value(name: str, value: str, supported: Sequence[str]) -> Refusal:
    quoted = [f"'{choice}'" for choice in supported]
    listed = quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])}, and {quoted[-1]}"
    message = f"Invalid value: '{value}'. Supported values are: {listed}."
    return openai_error(400, message, param=name, code="invalid_value")


def unsupported_mime_type(name: str, mime_type: str, supported: Sequence[str]) -> Refusal:
    listed = ", ".join(f"'{kind}'" for kind in supported)
    message = f"Invalid file '{name}': unsupported mimetype ('{mime_type}'). Supported file formats are {listed}."
    return openai_error(400, message, param=name, code="unsupported_file_mimetype")


def duplicate_parameter(name: str) -> Refusal:
    message = (
        f"Duplicate parameter: '{name}'. You provided multiple values for this parameter, whereas only one is allowed. "
        f"If you are trying to provide a list of values, use the array syntax instead e.g. '{name}[]=<value>'."
    )
    return openai_error(400, message, param=name, code="duplicate_parameter")
