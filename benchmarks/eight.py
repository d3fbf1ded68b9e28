"""How long do eight images from Gemini take, which makes one a call, at two seconds each?"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from .measuring import Part, Table, interleaved, median
from .processes import Peer
from .provider import make_responses, served

__all__ = ["TITLE", "measure"]

TITLE = "Eight images from Gemini"

_COUNT = 8
_SECONDS = 2
_TEXT = f"""\
Gemini makes one image per request. The provider takes {_SECONDS} seconds for each image of 1K. The plugin gets one
request for {_COUNT} images and sends its requests in parallel; the built-in models make one image at a time, so their
steps run {_COUNT} times."""


def measure(rounds: int, report: Callable[[str], None]) -> Part:
    report(TITLE)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        make_responses(Path(name))
        url = stack.enter_context(served(Path(name)))
        peers = {}
        for peer in ("the plugin", "the built-in models' steps"):
            own = stack.enter_context(tempfile.TemporaryDirectory())
            arguments = (peer, "gemini", f"{url}/1K/{_SECONDS}", str(_COUNT), own)
            peers[peer] = stack.enter_context(Peer("peers", *arguments))
        costs = interleaved(rounds, {peer: process.work for peer, process in peers.items()})
    wall = {peer: median(cost.wall_s for cost in each) for peer, each in costs.items()}
    rows = [[peer, f"{wall[peer]:.2f} s", f"{wall[peer] / wall['the plugin']:.1f}"] for peer in wall]
    return Part(TITLE, _TEXT, [Table("", ["", "Time", "Relative to the plugin"], rows)])
