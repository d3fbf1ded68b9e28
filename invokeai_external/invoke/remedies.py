"""What to do about an error, in the terms of Invoke's web page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

from ..errors import ExternalError, Remedy

__all__ = ["errors_in_invoke", "in_invoke", "text_in_invoke"]

_Error = TypeVar("_Error", bound=ExternalError)

_PAGE = "Invoke's External Providers page"


def in_invoke(error: _Error) -> _Error:
    """The same error with a remedy in the terms of Invoke."""
    if error.remedy is None:
        return error
    return error.replace(remedy=replace(error.remedy, text=text_in_invoke(error.remedy), action="advice"))


@contextmanager
def errors_in_invoke() -> Iterator[None]:
    """Raise the errors of this block with remedies in the terms of Invoke."""
    try:
        yield
    except ExternalError as error:
        raise in_invoke(error) from None


def text_in_invoke(remedy: Remedy) -> str:
    """What a remedy asks for, in the terms of Invoke.

    Invoke reads its environment and the settings file when it starts, and a variable overrides its settings page.
    """
    match remedy.action:
        case "advice":
            return remedy.text
        case "set_key":
            if remedy.source_is_variable:
                return f"Set {remedy.source} to a valid key in Invoke's environment, then restart Invoke."
            return f"Set the key on {_PAGE}."
        case "pair_key":
            return f"Set the key and the base URL together on {_PAGE}, or set both in Invoke's environment."
        case "fix_base_url":
            if remedy.source_is_variable:
                return f"Correct or remove {remedy.source} in Invoke's environment, then restart Invoke."
            return f"On {_PAGE}, enter a base URL such as {remedy.url}, or leave it empty."
        case "list_models":
            return "Choose another model."
        case "check_model":
            return f"Choose another model, or check the base URL on {_PAGE}."
        case "change_setting":
            return f"{remedy.text} Restart Invoke after you change it."
