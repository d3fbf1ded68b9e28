"""How much longer does Invoke take to start with the plugin?"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from .invokes import BUILT_IN, PLUGIN, Invoke, new_invoke
from .measuring import Part, Table, interleaved, median

__all__ = ["TITLE", "measure"]

TITLE = "Invoke's start"

_TEXT = """\
From the command to Invoke's first HTTP response, in roots that were started before, so that nothing is compiled or
created again. The two take turns; the figures are medians."""


def measure(rounds: int, report: Callable[[str], None]) -> Part:
    report(TITLE)
    with ExitStack() as stack:
        invokes = {name: stack.enter_context(new_invoke(name)) for name in (PLUGIN, BUILT_IN)}
        peers = {name: partial(_started, invoke) for name, invoke in invokes.items()}
        interleaved(1, peers)
        times = {name: median(each) for name, each in interleaved(rounds, peers, report).items()}
    rows = [[name, f"{times[name]:.1f} s", f"{times[name] / times[BUILT_IN]:.2f}"] for name in (PLUGIN, BUILT_IN)]
    return Part(TITLE, _TEXT, [Table("", ["", "Time", "Relative to built-in"], rows)])


def _started(invoke: Invoke) -> float:
    before = time.time()
    invoke.start()
    took = time.time() - before
    invoke.kill()
    return took
