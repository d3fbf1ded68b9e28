"""The first step of the command line: while its modules load, Ctrl-C ends it without a word."""

from __future__ import annotations

import os
import signal

from .exit_codes import INTERRUPTED

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import NoReturn

__all__ = ["program"]


def program() -> NoReturn:
    """Load the command line and run it; the entry point of ``invokeai-external`` and ``python -m``."""
    # An exception may become another one inside a module that is being loaded. Nothing is in progress yet.
    is_usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_usual:
        signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    from .entry_point import program as run

    try:
        if is_usual:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        run()
    except KeyboardInterrupt:
        os._exit(INTERRUPTED)
