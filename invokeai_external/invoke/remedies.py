"""What to do about an error, in the terms of Invoke's web page, and in the few lines that it shows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

from ..errors import BudgetExceededError, ExternalError, ProviderError, Remedy, RemedyAction
from ..providers import catalog
from ..root_folder import KEYS_FILE, USER_FILE

__all__ = ["PAGE", "errors_in_invoke", "in_invoke", "limit_name", "shown_text", "text_in_invoke"]

_Error = TypeVar("_Error", bound=ExternalError)

_PAGE = "Invoke's External Providers page"

PAGE = "/external"
"""The path of the page with the limits, from the path of Invoke itself: which host a user sees is not known."""

_KEYS, _SETTINGS = (f"{file} in Invoke's root folder" for file in (KEYS_FILE, USER_FILE))
"""The files for the providers that Invoke does not know."""

_MOST_CHARACTERS = 200
"""What fits in the four lines of a toast and of the queue, with the name of the error's class (6.14.2)."""


_ADMINISTRATORS: frozenset[RemedyAction] = frozenset(
    {"set_key", "replace_key", "pair_key", "fix_base_url", "raise_limit"}
)
"""What only an administrator can do, where Invoke has several users."""

_CHOICES = {"--quality": "Quality {}", "--size": "size {}", "-n": "num images {}"}
"""A cheaper choice, by the flag of the command line."""


def in_invoke(error: _Error, *, has_options: bool = True, is_admin: bool = True) -> _Error:
    """The same error with a remedy in the terms of Invoke.

    Args:
        error: The error.
        has_options: True if the user can set each option of the model: in a workflow, but not in Invoke's tabs.
        is_admin: True if the user can change keys and limits.
    """
    if error.remedy is None:
        return error
    text = text_in_invoke(error.remedy)
    if not is_admin and error.remedy.action in _ADMINISTRATORS:
        text = f"Ask an administrator to {text[0].lower()}{text[1:]}"
    elif not is_admin and error.remedy.action == "check_model":
        text = "Choose another model."
    if error.remedy.action == "raise_limit":
        text = _with_other_ways(text, error)
    if error.remedy.option and not has_options:
        text = text.replace(error.remedy.option, "").strip()
    return error.replace(remedy=replace(error.remedy, text=text, action="advice"))


@contextmanager
def errors_in_invoke() -> Iterator[None]:
    """Raise the errors of this block with remedies in the terms of Invoke."""
    try:
        yield
    except ExternalError as error:
        raise in_invoke(error) from None


def shown_text(error: ExternalError) -> str:
    """What a toast and the queue show of an error.

    An error of a provider may quote a text of any length, at its end, and one about a limit has many facts. So what to
    do comes first, and the end is cut.
    """
    if not isinstance(error, ProviderError | BudgetExceededError):
        return str(error)
    remedy = error.hint or ""
    if remedy:
        # A remedy may end with a URL, and a full stop would become a part of it. Invoke's page shows no line breaks.
        remedy += " " if remedy.endswith(".") else " · "
    room = _MOST_CHARACTERS - len(f"{type(error).__name__}: {remedy}")
    message = error.message
    if len(message) > room:
        message = f"{message[: max(0, room - 1)].rpartition(' ')[0].rstrip(' .,:;')}…"
    return f"{remedy}{message}"


def text_in_invoke(remedy: Remedy) -> str:
    """What a remedy asks for, in the terms of Invoke.

    Invoke reads its environment when it starts, and a variable overrides its settings page.
    """
    known = {provider.id for provider in catalog.providers() if provider.in_invoke}
    provider = None if remedy.provider in known else remedy.provider
    entry = f"external_{provider}_api_key"
    match remedy.action:
        case "advice" | "change_setting":
            return remedy.text
        case "set_key" | "replace_key" if remedy.source_is_variable:
            return f"Set {remedy.source} to a valid key in Invoke's environment, then restart Invoke."
        case "set_key" | "replace_key":
            verb = "Set" if remedy.action == "set_key" else "Replace"
            return f"{verb} {entry} in {_KEYS}." if provider else f"{verb} the key on {_PAGE}."
        case "pair_key":
            place = f"in {_KEYS}" if provider else f"on {_PAGE}"
            return f"Set the key and the base URL together {place}, or set both in Invoke's environment."
        case "fix_base_url" if remedy.source_is_variable:
            return f"Correct or remove {remedy.source} in Invoke's environment, then restart Invoke."
        case "fix_base_url" if provider:
            example = f", such as {remedy.url}" if remedy.url else ""
            return f"Set the base_url of {provider} in {_SETTINGS}{example}."
        case "fix_base_url":
            return f"Enter a base URL such as {remedy.url} on {_PAGE}, or leave it empty."
        case "list_models":
            return "Choose another model."
        case "check_model":
            place = f"of {provider} in {_SETTINGS}" if provider else f"on {_PAGE}"
            return f"Choose another model, or check the base URL {place}."
        case "raise_limit":
            return f"Raise {_limit(remedy.setting or '')}."
        case "set_field":
            return "Use the node's own field for it."


def limit_name(setting: str) -> str:
    """What the page calls a limit: ``total.day`` is *Everybody together, a day*. One without a field there keeps its
    name.
    """
    section, _, rest = setting.partition(".")
    who, _, period = rest.rpartition(".")
    match section:
        case "max_per_image":
            return "One image, at most"
        case "total":
            return f"Everybody together, a {period}"
        case "users":
            return f"{'Each user, if not set below' if who == 'default' else who}, a {period}"
        case _:
            return setting


def _limit(setting: str) -> str:
    """A limit and where to raise it."""
    name = limit_name(setting)
    return f"{setting} in {_SETTINGS}" if name == setting else f'"{name}" on Invoke\'s page {PAGE}'


def _with_other_ways(text: str, error: ExternalError) -> str:
    """What to do about a limit: what everybody can do comes first."""
    if not isinstance(error, BudgetExceededError):
        return text
    or_that = f"Or {text[0].lower()}{text[1:]}"
    settled_usd = error.used_usd - error.unconfirmed_usd
    if error.unconfirmed_usd and settled_usd + (error.could_cost_usd or 0.0) <= error.limit_usd:
        return f"Settle the runs that may have been charged, on Invoke's page {PAGE}. {or_that}"
    if error.cheaper is None:
        return f"{text} Or choose a cheaper image."
    parts = error.cheaper.split()
    choices = [_CHOICES[flag].format(value) for flag, value in zip(parts[::2], parts[1::2], strict=True)]
    choice = ", ".join(choices)
    return f"{choice[0].upper()}{choice[1:]} would fit. {or_that}"
