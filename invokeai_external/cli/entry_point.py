"""Runs the command line: its exit code, and how Ctrl-C, SIGTERM and SIGHUP end it."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from types import FrameType
from typing import NoReturn

import typer

from ..errors import InvalidRequestError
from . import lazy
from .app import app
from .exit_codes import INTERRUPTED
from .help_layout import fit_help, narrow_width
from .streams import guarded

__all__ = ["main", "program"]

_OPEN_FILES = 64
"""How many files a run may have open at once: connections, images, modules. Every system allows more by default."""

_LIKE_CTRL_C = ("SIGTERM", "SIGHUP")
"""The signals that end a run as Ctrl-C does; the second, of a closed terminal, does not exist on Windows."""


def program() -> NoReturn:
    """Run the command line and end the process."""
    code = main()
    if code == INTERRUPTED:
        _exit_at_once(code)
    sys.exit(code)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit code. What you can fix is reported without a traceback."""
    arguments = sys.argv[1:] if arguments is None else arguments
    with guarded(), _signals_like_ctrl_c():
        try:
            _check_open_files()
            fit_help(_command())
            code = _command()(arguments, standalone_mode=False, prog_name=app.info.name, terminal_width=narrow_width())
            sys.stdout.flush()
        except (typer.Abort, KeyboardInterrupt):
            code = INTERRUPTED
        except Exception as error:
            return lazy.report.failure(
                error, as_json="--json" in arguments, root=_root_in(arguments), command=_command_in(arguments)
            )
    return code if isinstance(code, int) else 0


@cache
def _command() -> Callable[..., object]:
    """The commands with their options; a program that calls ``main`` often does not make them each time."""
    return typer.main.get_command(app)


def _command_in(arguments: list[str]) -> str:
    """The command with its subcommands, also of a command line that could not be read as a whole."""
    found, command = [str(app.info.name)], _command()
    for name in arguments:
        if subcommand := getattr(command, "commands", {}).get(name):
            found.append(name)
            command = subcommand
    return " ".join(found)


def _root_in(arguments: list[str]) -> Path | None:
    """What was given with ``--root``, also on a command line that could not be read as a whole."""
    for name, value in zip(arguments, [*arguments[1:], None], strict=True):
        if name == "--":
            break
        if name == "--root" and value is not None:
            return Path(value)
        if name.startswith("--root="):
            return Path(name.removeprefix("--root="))
    return None


def _check_open_files() -> None:
    """Raise InvalidRequestError if too few files can be opened: an image would be paid for and could not be saved."""
    opened: list[int] = []
    try:
        while len(opened) < _OPEN_FILES:
            opened += os.pipe()
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE):
            raise
        raise InvalidRequestError(
            f"This program needs up to {_OPEN_FILES} open files; the system allows only {len(opened)} more.",
            remedy="Raise the limit (ulimit -n 256), or close other programs.",
        ) from None
    finally:
        for handle in opened:
            os.close(handle)


@contextmanager
def _signals_like_ctrl_c() -> Iterator[None]:
    """While the block runs, SIGTERM and SIGHUP do what Ctrl-C does, unless somebody has set another handler."""
    is_main = threading.current_thread() is threading.main_thread()
    numbers = [getattr(signal, name) for name in _LIKE_CTRL_C if hasattr(signal, name)] if is_main else []

    def stop(_: int, frame: FrameType | None) -> None:
        # While an event loop runs, the handler of SIGINT cancels its main task.
        on_ctrl_c = signal.getsignal(signal.SIGINT)
        if not callable(on_ctrl_c):
            raise KeyboardInterrupt
        on_ctrl_c(signal.SIGINT, frame)

    with ExitStack() as stack:
        for number in numbers:
            # With nohup, SIGHUP is ignored.
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, stop)
                stack.callback(signal.signal, number, signal.SIG_DFL)
        yield


def _exit_at_once(code: int) -> NoReturn:
    """End the process without waiting for its threads: one may still decode an image, which nothing can stop."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, AttributeError):
            stream.flush()
    os._exit(code)
