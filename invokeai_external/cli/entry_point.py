"""Runs the command line: its exit code, and how Ctrl-C and SIGTERM end it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

import typer

from . import lazy
from .app import app
from .exit_codes import INTERRUPTED
from .streams import guarded

__all__ = ["main", "program"]


def program() -> NoReturn:
    """Run the command line and end the process; the entry point of ``invokeai-external`` and ``python -m``."""
    code = main()
    if code == INTERRUPTED:
        _exit_at_once(code)
    sys.exit(code)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit code. What you can fix is reported without a traceback."""
    arguments = sys.argv[1:] if arguments is None else arguments
    with guarded(), _sigterm_like_ctrl_c():
        try:
            code = app(arguments, standalone_mode=False, prog_name=app.info.name)
            sys.stdout.flush()
        except (typer.Abort, KeyboardInterrupt):
            code = INTERRUPTED
        except Exception as error:
            return lazy.report.failure(error, as_json="--json" in arguments, root=_root_in(arguments))
    return code if isinstance(code, int) else 0


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


@contextmanager
def _sigterm_like_ctrl_c() -> Iterator[None]:
    """While the block runs, SIGTERM does what Ctrl-C does, unless somebody has set another handler."""
    is_ours = (
        threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    )
    if not is_ours:
        yield
        return

    def stop(_: int, frame: FrameType | None) -> None:
        # While an event loop runs, the handler of SIGINT cancels its main task.
        on_ctrl_c = signal.getsignal(signal.SIGINT)
        if not callable(on_ctrl_c):
            raise KeyboardInterrupt
        on_ctrl_c(signal.SIGINT, frame)

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _exit_at_once(code: int) -> NoReturn:
    """End the process without waiting for its threads: one may still decode an image, which nothing can stop."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, AttributeError):
            stream.flush()
    os._exit(code)
