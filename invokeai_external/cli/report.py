"""Reports results and errors: to people on standard error, to programs as JSON on standard output."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import typer

from ..errors import BudgetExceededError, ExternalError, RequestError
from ..misspellings import or_nearest
from ..result import Notice
from ..transport.redaction import redacted
from ..untrusted_text import ID, printable, quoted
from .exit_codes import PROVIDER_FAILED, WRONG_USAGE
from .remedies import PROGRAM, with_root
from .streams import OutputError, UnreadOutputError, mute
from .terminal import fitted, width_of

__all__ = ["UsageError", "error_object", "failure", "notices", "print_json", "say", "say_error", "show"]


def say(text: str, indent: int = 2) -> None:
    """Print a line on standard error, whatever is quoted in it. If that cannot be written, nothing stops.

    On a terminal it is broken between words; ``indent`` is for the lines after the first.
    """
    # Without a standard error, print would use standard output.
    if sys.stderr is not None:
        try:
            print(fitted(printable(text), width_of(sys.stderr), indent), file=sys.stderr, flush=True)
        except OSError:
            mute(sys.stderr)


def show(text: str, indent: int = 2) -> None:
    """Print a line of a result on standard output, broken like those of ``say``."""
    print(fitted(printable(text), width_of(sys.stdout), indent))


def print_json(value: Mapping[str, Any] | list[Any]) -> None:
    """Print JSON that any terminal can show: control characters and half characters are escaped.

    Everything beyond ASCII is escaped if the encoding of the output lacks any of it.
    """
    # In JSON, only strings hold characters beyond ASCII.
    text = _NOT_ASCII.sub(_escaped_if_unseen, json.dumps(value, ensure_ascii=False, indent=2))
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, indent=2)
    print(text)


_NOT_ASCII = re.compile(r"[^\x00-\x7e]")


def _escaped_if_unseen(found: re.Match[str]) -> str:
    return found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1]


def notices(all_notices: Iterable[Notice]) -> None:
    for notice in all_notices:
        say(f"Note: {notice.message}", indent=6)


def error_object(error: ExternalError) -> dict[str, Any]:
    """An error as an object of the JSON output; ``former_code`` is there only if the code has changed.

    A limit that was exceeded adds its facts.
    """
    former = {"former_code": error.former_code} if error.former_code else {}
    return {
        "code": error.code,
        **former,
        "message": error.message,
        "hint": error.hint,
        "provider": error.provider,
        "status": error.status,
        "request_id": error.request_id,
        **({name: getattr(error, name) for name in _FACTS} if isinstance(error, BudgetExceededError) else {}),
    }


_FACTS = (
    "limit",
    "limit_usd",
    "used_usd",
    "unconfirmed_usd",
    "in_progress_usd",
    "could_cost_usd",
    "resets_at",
    "cheaper",
)
"""The facts about a limit that was exceeded."""


def failure(error: Exception, *, as_json: bool, root: Path | None = None, command: str = PROGRAM) -> int:
    """Report a failure and return its exit code; raise an error again if it is a defect of this program.

    Args:
        error: What was raised.
        as_json: Print it as JSON.
        root: What was given with ``--root``.
        command: The command with its subcommands, whose help an error may name.
    """
    # A key may have been written in any place of the command.
    known = redacted(with_root(_as_known(error, command), root), key="")
    code = WRONG_USAGE if isinstance(known, RequestError) else PROVIDER_FAILED
    if as_json and not isinstance(known, OutputError):
        with suppress(OutputError):
            print_json({"error": error_object(known)})
            sys.stdout.flush()
            return code
    if not isinstance(known, UnreadOutputError):
        say_error(known)
    return code


def say_error(error: ExternalError) -> None:
    """Print an error on standard error, and on the next line what to do about it."""
    say(f"Error: {error.message}", indent=7)
    if error.hint:
        say(f"       {error.hint}", indent=7)


def _as_known(error: Exception, command: str) -> ExternalError:
    if isinstance(error, ExternalError):
        return error
    if isinstance(error, typer.TyperException):
        return _usage_error(error, command)
    # For a thread that the system refuses, Python has no special type.
    if isinstance(error, MemoryError) or str(error) == "can't start new thread":
        return ExternalError("The memory of this computer does not suffice.", remedy="Close other programs.")
    raise error


def _usage_error(error: typer.TyperException, command: str) -> UsageError:
    context = getattr(error, "ctx", None)
    command = context.command_path if context else command
    remedy = f"See: {command} --help"
    # It may list the values of a choice line by line.
    message = _LONG_QUOTE.sub(lambda quote: quoted(quote[1]), " ".join(error.format_message().split()))
    message = message.replace("is not a valid int.", "is not a whole number.").replace("valid float", "number")
    if (missing := re.search(r"No such command '(.+)'", message)) and command == f"{PROGRAM} models":
        remedy = f"To see what is known of one model, run: {shlex.join([*command.split(), 'show', missing[1]])}"
    if extra := re.search(r"unexpected extra arguments?(?:\(s\))? \((.*)\)", message):
        message = f"There are too many arguments: {extra[1]}."
        remedy = _TOO_MANY_ARGUMENTS.get(command.removeprefix(f"{PROGRAM} "), remedy)
        if command.removeprefix(f"{PROGRAM} ") in _OF_A_ROOT:
            remedy = f"Write the root folder after --root: {shlex.join([*command.split(), '--root', extra[1]])}"
    if wrong := re.search(r"'([^']+)' is not one of (.+)", message):
        remedy = or_nearest(wrong[1], re.findall("'([^']+)'", wrong[2])) + remedy
    if wrong := re.search(r"option: (\S+) \(Possible options: (.+)\)", message):
        message = f"{message.partition(' (')[0]}."
        remedy = or_nearest(wrong[1], wrong[2].split(", ")) + remedy
    return UsageError(message, remedy=remedy)


_LONG_QUOTE = re.compile(rf"'([^']{{{ID},}})'")
"""What Typer repeats of a command line, at any length."""

_TOO_MANY_ARGUMENTS = {
    "generate": "Put the prompt in quotes, and repeat --ref for each reference image.",
    "keys set": "Write no key into a command, which is kept in your shell's history: leave it out, and paste it when "
    "you are asked.",
}
"""What to do about arguments that a command does not have."""

_OF_A_ROOT = ("doctor", "install", "undelivered")
"""The commands whose only argument would be a root folder."""


class UsageError(RequestError):
    """The command line is not valid."""

    code = "usage"
