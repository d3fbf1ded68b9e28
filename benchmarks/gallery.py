"""How long does it take from the provider's last byte to the entry in Invoke's gallery?"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from .invokes import BUILT_IN, PLUGIN, Invoke, Timed, batch_of, both, send_to
from .measuring import Part, Table, interleaved, median
from .provider import last_byte_at, make_responses, served

__all__ = ["TITLE", "measure"]

TITLE = "One image, from the last byte to Invoke's gallery"

_SIZES = ("1K", "4K")

_SECONDS = 1
"""Long enough that Invoke and the plugin have finished their work at the start of a run, as with real providers."""

_TEXT = f"""\
A run of the Generate tab in a real Invoke, after a first one: from the provider's last byte to the event that
announces the new image to every open page. The provider takes {_SECONDS} second. Both Invokes run side by side and take
turns; the figures are medians. Invoke's environment has no `pybase64`, so pydantic decodes."""


def measure(rounds: int, report: Callable[[str], None]) -> Part:
    report(TITLE)
    rows = []
    with tempfile.TemporaryDirectory() as name, both() as invokes:
        bytes_of = make_responses(Path(name))
        with served(Path(name)) as url:
            for size in _SIZES:
                report(size)
                for invoke in invokes.values():
                    send_to(invoke, f"{url}/{size}/{_SECONDS}")
                peers = {name: partial(_one, invoke, url) for name, invoke in invokes.items()}
                interleaved(1, peers)
                times = {name: median(each) for name, each in interleaved(rounds, peers, report).items()}
                rows.append(
                    [
                        f"{size}, a PNG of {bytes_of[size] / 1e6:.1f} MB",
                        *(f"{1e3 * times[name]:.0f} ms" for name in (PLUGIN, BUILT_IN)),
                        f"{times[BUILT_IN] / times[PLUGIN]:.1f}",
                    ]
                )
    return Part(TITLE, _TEXT, [Table("", ["", "Plugin", "Built-in", "Times faster"], rows)])


def _one(invoke: Invoke, url: str) -> float:
    with Timed(invoke) as page:
        [number] = batch_of(invoke, 1)
        page.ended(number)
        announced = max(at for at, event, heard in page.times if event == "invocation_complete" and _is_image(heard))
    # Let it become idle.
    time.sleep(0.5)
    return announced - last_byte_at(url)


def _is_image(heard: dict[str, dict[str, str]]) -> bool:
    return heard["result"]["type"] == "image_collection_output"
