"""The first step of the command line: how it ends while its modules load, which they do until its end."""

from __future__ import annotations

import gc
import os
import signal
import sys
import time

from .exit_codes import INTERRUPTED, WRONG_USAGE

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
    # Loading makes many objects that stay. To look for garbage among them takes a tenth of the time until it runs.
    gc.set_threshold(50_000)
    from .entry_point import program as run

    try:
        if is_usual:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        run()
    except KeyboardInterrupt:
        os._exit(INTERRUPTED)
    except OverflowError:
        # Python's own modules ask for the time when they are loaded.
        if _clock_can_be_read():
            raise
        # What prints errors otherwise cannot be loaded.
        if sys.stderr is not None:
            print(
                "Error: The clock of this computer is too far in the future. Set it to the right time.", file=sys.stderr
            )
        sys.exit(WRONG_USAGE)


def _clock_can_be_read() -> bool:
    """False in the year 2262 and later, whose nanoseconds Python cannot count."""
    try:
        time.time()
    except OverflowError:
        return False
    return True
