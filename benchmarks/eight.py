"""How long do eight pictures from Gemini take, which makes one a call, at two seconds each?"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from .measuring import Part, Table, interleaved, median
from .processes import Peer
from .provider import make_answers, served

__all__ = ["TITLE", "measure"]

TITLE = "Eight pictures from Gemini"

_COUNT = 8
_SECONDS = 2
_TEXT = f"""\
Gemini makes one picture a call. The provider takes {_SECONDS} seconds for each of 1K. The plugin is asked for {_COUNT}
and makes its calls side by side; the built-in takes one at a time, so its steps are gone through {_COUNT} times."""


def measure(rounds: int, told: Callable[[str], None]) -> Part:
    told(TITLE)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        make_answers(Path(name))
        address = stack.enter_context(served(Path(name)))
        peers = {}
        for peer in ("the plugin", "the built-in's steps"):
            own = stack.enter_context(tempfile.TemporaryDirectory())
            arguments = (peer, "gemini", f"{address}/1K/{_SECONDS}", str(_COUNT), own)
            peers[peer] = stack.enter_context(Peer("peers", *arguments))
        costs = interleaved(rounds, {peer: process.work for peer, process in peers.items()})
    wall = {peer: median(cost.wall_s for cost in each) for peer, each in costs.items()}
    rows = [[peer, f"{wall[peer]:.2f} s", f"{wall[peer] / wall['the plugin']:.1f}"] for peer in wall]
    return Part(TITLE, _TEXT, [Table("", ["", "Time", "Times the plugin"], rows)])
