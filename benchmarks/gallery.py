"""How long is it from the provider's last byte to the picture's entry in Invoke's gallery?"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from .invokes import BUILT_IN, PLUGIN, Invoke, Timed, batch_of, both, send_to
from .measuring import Part, Table, interleaved, median
from .provider import last_byte_at, make_answers, served

__all__ = ["TITLE", "measure"]

TITLE = "One picture, from the last byte to Invoke's gallery"

_SIZES = ("1K", "4K")

_SECONDS = 1
"""So that what Invoke and the plugin do at the beginning of a run is over when the answer comes, as it is in life."""

_TEXT = f"""\
A run of the Generate tab in a real Invoke, warm: from the moment when the provider has sent its last byte to the event
that tells every open page of the picture's entry. The provider takes {_SECONDS} second. Both Invokes stand side by side
and take turns; medians. In Invoke's environment there is no `pybase64`, so pydantic decodes."""


def measure(rounds: int, told: Callable[[str], None]) -> Part:
    told(TITLE)
    rows = []
    with tempfile.TemporaryDirectory() as name, both() as invokes:
        bytes_of = make_answers(Path(name))
        with served(Path(name)) as address:
            for size in _SIZES:
                told(size)
                for invoke in invokes.values():
                    send_to(invoke, f"{address}/{size}/{_SECONDS}")
                peers = {name: partial(_one, invoke, address) for name, invoke in invokes.items()}
                interleaved(1, peers)
                times = {name: median(each) for name, each in interleaved(rounds, peers, told).items()}
                rows.append(
                    [
                        f"{size}, a PNG of {bytes_of[size] / 1e6:.1f} MB",
                        *(f"{1e3 * times[name]:.0f} ms" for name in (PLUGIN, BUILT_IN)),
                        f"{times[BUILT_IN] / times[PLUGIN]:.1f}",
                    ]
                )
    return Part(TITLE, _TEXT, [Table("", ["", "The plugin", "The built-in", "Times faster"], rows)])


def _one(invoke: Invoke, address: str) -> float:
    with Timed(invoke) as page:
        [number] = batch_of(invoke, 1)
        page.ended(number)
        came = max(at for at, event, heard in page.times if event == "invocation_complete" and _is_picture(heard))
    # Let it come to rest.
    time.sleep(0.5)
    return came - last_byte_at(address)


def _is_picture(heard: dict[str, dict[str, str]]) -> bool:
    return heard["result"]["type"] == "image_collection_output"
