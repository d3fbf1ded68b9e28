"""Reads the prompt from the command line, a file or standard input; refuses a file name given as the prompt."""

from __future__ import annotations

import os
import select
import shlex
import stat
from pathlib import Path

from ..errors import InvalidRequestError
from .report import UsageError
from .streams import read_input

__all__ = ["prompt_of"]

_STDIN = "-"

_MOST_BYTES = 1_000_000
"""No model supports a prompt of nearly that length; a longer file was given by mistake."""

_OPEN_FILES = (Path("/dev"), Path("/dev/fd"), Path("/proc/self/fd"))
"""Where systems have the files that are open already: /dev/stdin, and /dev/fd/63 for <(command). Such a pipe has a
writer, which the user has started, and is waited for like standard input. A named pipe elsewhere need not have one."""

_WRITER_S = 5.0
"""How long a named pipe may take until somebody writes into it."""


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
        raise UsageError("There are two prompts: an argument and --prompt-file.", remedy="Remove one of them.")
    if file is not None:
        return _of_stdin() if str(file) == _STDIN else _read_file(file)
    if argument is None:
        raise UsageError(
            "There is no prompt.", remedy="Give it as an argument, with --prompt-file FILE, or pipe it in and write -."
        )
    if argument == _STDIN:
        return _of_stdin()
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
    is_image = "If it is an image, repeat the option: --ref A --ref B. " if name == argument else ""
    raise UsageError(
        f"{argument} is the name of a file, not a prompt.",
        remedy=f"{is_image}To read the prompt from the file, write --prompt-file {shlex.quote(name)}. To send its name "
        "as the prompt, write - and pipe the name in.",
    )


def _read_file(path: Path) -> str:
    try:
        # Nobody may ever open a named pipe to write into it: do not wait for that.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(handle, "rb") as file:
            if stat.S_ISFIFO(os.fstat(handle).st_mode):
                is_waited_for = path.parent in _OPEN_FILES
                if not is_waited_for and not select.select([handle], [], [], _WRITER_S)[0]:
                    raise InvalidRequestError(
                        f"Nobody has written to the pipe {path} for {_WRITER_S:g} s.",
                        remedy="Write --prompt-file -, and pipe the prompt in.",
                    )
                os.set_blocking(handle, True)
            # It may be a pipe, as from <(command), so read it before its size is known.
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise InvalidRequestError(
            f"{path} cannot be read: {error.strerror or 'no such file'}.", remedy="Check the path after --prompt-file."
        ) from None
    return _text(data, str(path))


def _of_stdin() -> str:
    return _text(read_input(_MOST_BYTES + 1), "Standard input")


def _text(data: bytes, name: str) -> str:
    """The text of a file, without line breaks at its end."""
    if len(data) > _MOST_BYTES:
        raise InvalidRequestError(
            f"{name} has more than {_MOST_BYTES:,} bytes.", remedy="Check that it is the file with the prompt."
        )
    try:
        return data.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        raise InvalidRequestError(
            f"{name} is not UTF-8 text.", remedy="Save the prompt as UTF-8 and try again."
        ) from None
