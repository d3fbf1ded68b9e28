"""How results and failures are told: for people on standard error, for programs as JSON on standard output."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import typer

from ..errors import ExternalError, RequestError
from ..request import Notice

__all__ = ["PROVIDER_FAILED", "WRONG_USAGE", "error_object", "failure", "notices", "print_json", "say"]

PROVIDER_FAILED = 1
WRONG_USAGE = 2


def say(text: str) -> None:
    """Tell people something beside the result."""
    typer.echo(text, err=True)


def print_json(value: Mapping[str, Any] | list[Any]) -> None:
    """Print JSON whose texts a terminal can show: what it would act on, and half characters, are escaped."""
    # Beyond ASCII there is nothing in JSON but what texts hold.
    typer.echo(_NOT_ASCII.sub(_escaped_if_unseen, json.dumps(value, ensure_ascii=False, indent=2)))


_NOT_ASCII = re.compile(r"[^\x00-\x7e]")


def _escaped_if_unseen(found: re.Match[str]) -> str:
    return found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1]


def notices(all_notices: Iterable[Notice]) -> None:
    for notice in all_notices:
        say(f"Note: {notice.message}")


def error_object(error: ExternalError) -> dict[str, Any]:
    """An error as the JSON output has it."""
    return {
        "code": error.code,
        "message": error.message,
        "hint": error.hint,
        "provider": error.provider,
        "status": error.status,
        "request_id": error.request_id,
    }


def failure(error: Exception, *, as_json: bool) -> int:
    """Tell of a failure and return its exit code; an error that is this program's own is raised again."""
    known = _as_known(error)
    if as_json:
        print_json({"error": error_object(known)})
    else:
        say(f"Error: {known.message}")
        if known.hint:
            say(f"       {known.hint}")
    return WRONG_USAGE if isinstance(known, RequestError) else PROVIDER_FAILED


def _as_known(error: Exception) -> ExternalError:
    if isinstance(error, ExternalError):
        return error
    if isinstance(error, typer.TyperException):
        return _Usage(error.format_message(), hint="See --help.")
    if isinstance(error, BrokenPipeError):
        sys.exit(PROVIDER_FAILED)
    raise error


class _Usage(RequestError):
    """A command line that cannot be understood."""

    code = "usage"
