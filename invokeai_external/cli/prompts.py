"""Where a prompt comes from: the command line, a file or standard input; a file's name is not taken for a prompt."""

from __future__ import annotations

import sys
from pathlib import Path

from ..errors import InvalidRequestError
from .report import UsageError

__all__ = ["prompt_of"]

_STDIN = "-"

_MOST_BYTES = 1_000_000
"""No model takes a prompt that is nearly as long; more is another file by mistake."""


def prompt_of(argument: str | None, file: Path | None) -> str:
    """The prompt of a command line.

    Args:
        argument: The argument; ``-`` for standard input.
        file: The file that holds it; ``-`` for standard input.

    Raises:
        UsageError: There is no prompt, or two, or the argument names a file that exists.
        InvalidRequestError: The file cannot be read, or is not text.
    """
    if argument is not None and file is not None:
        raise UsageError("There are two prompts: an argument and --prompt-file.", remedy="Give one of them.")
    if file is not None:
        return _read_stdin() if str(file) == _STDIN else _read_file(file)
    if argument is None:
        raise UsageError("There is no prompt.", remedy="Give it as an argument, with --prompt-file, or as - on a pipe.")
    if argument == _STDIN:
        return _read_stdin()
    _refuse_file(argument)
    return argument


def _refuse_file(argument: str) -> None:
    """Raise UsageError for ``@p.txt``, and for what is left of ``--ref a.jpg b.png``, where such a file exists."""
    name = argument.removeprefix("@")
    try:
        is_file = Path(name).is_file()
    except (OSError, ValueError):
        # A prompt may be longer than a path can be.
        return
    if not is_file:
        return
    if name != argument:
        what, then = "", f"To use what is in it, write --prompt-file {name}; to send"
    else:
        what = "If it is an image, repeat the option: --ref A --ref B. "
        then = f"If the prompt is in it, write --prompt-file {name}. To send"
    raise UsageError(
        f"{argument} is the name of a file, not a prompt.",
        remedy=f"{what}{then} these letters as the prompt, write - and pipe them in.",
    )


def _read_file(path: Path) -> str:
    try:
        # It may well be a pipe, as of <(command), so it is read before its size is known.
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise InvalidRequestError(
            f"{path} cannot be read: {error.strerror or 'no such file'}.", remedy="Check the path of --prompt-file."
        ) from None
    return _text(data, str(path))


def _read_stdin() -> str:
    try:
        # Without a standard input there is no object for it.
        data = sys.stdin.buffer.read(_MOST_BYTES + 1) if sys.stdin else b""
    except OSError as error:
        raise InvalidRequestError(f"Standard input cannot be read: {error.strerror}.", remedy="Pipe a text.") from None
    return _text(data, "Standard input")


def _text(data: bytes, name: str) -> str:
    """The text of a file, without the line ends at its end."""
    if len(data) > _MOST_BYTES:
        raise InvalidRequestError(f"{name} has more than {_MOST_BYTES:,} bytes.", remedy="Give a file with a prompt.")
    try:
        return data.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        raise InvalidRequestError(f"{name} is not UTF-8 text.", remedy="Save the prompt as UTF-8 text.") from None
