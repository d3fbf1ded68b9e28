"""How long does a cancelled request hold Invoke's queue?"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from .invokes import BUILT_IN, PLUGIN, Invoke, Timed, batch_of, both, send_to
from .measuring import Part, Table, interleaved, median
from .provider import make_responses, served

__all__ = ["TITLE", "measure"]

TITLE = "Cancelling in Invoke"

_SECONDS = 10
_BEFORE_S = 2.0
_TEXT = f"""\
The provider takes {_SECONDS} seconds for an image. Two runs are queued; the first is cancelled after {_BEFORE_S:g}
seconds. The time is from then to the start of the second one, as a median."""


def measure(rounds: int, report: Callable[[str], None]) -> Part:
    report(TITLE)
    with tempfile.TemporaryDirectory() as name, both() as invokes:
        make_responses(Path(name))
        with served(Path(name)) as url:
            for invoke in invokes.values():
                send_to(invoke, f"{url}/1K/{_SECONDS}")
            peers = {name: partial(_cancelled, invoke) for name, invoke in invokes.items()}
            times = {name: median(each) for name, each in interleaved(rounds, peers, report).items()}
    rows = [[name, f"{times[name]:.2f} s", f"{times[name] / times[PLUGIN]:.0f}"] for name in (PLUGIN, BUILT_IN)]
    return Part(TITLE, _TEXT, [Table("", ["", "Until the next run starts", "Relative to the plugin"], rows)])


def _cancelled(invoke: Invoke) -> float:
    with Timed(invoke) as page:
        first, second = batch_of(invoke, 2)
        page.first("queue_item_status_changed", item_id=first, status="in_progress")
        time.sleep(_BEFORE_S)
        started = time.time()
        invoke.cancel(first)
        begun = page.first("queue_item_status_changed", item_id=second, status="in_progress")
        page.ended(second)
    return begun - started
