"""How long does a batch take in a real Invoke, whose queue runs one item at a time?"""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from .invokes import BUILT_IN, PLUGIN, Invoke, Timed, batch_of, both, send_to
from .measuring import Part, Table, interleaved, median
from .provider import make_responses, served

__all__ = ["TITLE", "measure"]

TITLE = "A batch in Invoke"

_COUNTS = (1, 2, 4, 8, 16)
_SECONDS = 5
_PLOT = "batches.png"
_WIDE = "the plugin, `concurrency: 16`"

_TEXT = f"""\
The batch counter of the Generate tab in a real Invoke: from the request that queues a batch to the end of its last
image. The provider takes {_SECONDS} seconds for each image, or 0, which leaves Invoke's own time. The settings are the
defaults (8 requests to a provider at once), except where the table says otherwise. The Invokes run side by side and
take turns; the figures are medians. *Time per item* is that of a batch of 16 without provider time, divided by 16.

![Time against the size of the batch: the built-in models' line climbs, the plugin's stays flat](images/{_PLOT})"""


def measure(rounds: int, report: Callable[[str], None]) -> Part:
    report(TITLE)
    with tempfile.TemporaryDirectory() as name, both(wide=_WIDE) as invokes:
        make_responses(Path(name))
        with served(Path(name)) as url:
            own = _times(rounds, invokes, f"{url}/1K/0", report)
            waited = _times(rounds, invokes, f"{url}/1K/{_SECONDS}", report)
    tables = [
        _table(f"Provider time {_SECONDS} s", waited),
        _table("Provider time 0: Invoke's own time", own),
        Table(
            "Time per item, provider time 0",
            ["", "Time"],
            [[name, f"{1e3 * times[16] / 16:.0f} ms"] for name, times in own.items()],
        ),
    ]
    return Part(TITLE, _TEXT, tables, {_PLOT: _plot(waited)})


def _times(
    rounds: int, invokes: Mapping[str, Invoke], url: str, report: Callable[[str], None]
) -> dict[str, dict[int, float]]:
    """The median seconds of each Invoke for each size of the batch."""
    found: dict[str, dict[int, float]] = {name: {} for name in invokes}
    for invoke in invokes.values():
        send_to(invoke, url)
    peers = {name: partial(_batch, invoke, 1) for name, invoke in invokes.items()}
    interleaved(1, peers)
    for count in _COUNTS:
        report(f"{count} at {url.rpartition('/')[2]} s")
        peers = {name: partial(_batch, invoke, count) for name, invoke in invokes.items()}
        for name, each in interleaved(rounds, peers, report).items():
            found[name][count] = median(each)
    return found


def _batch(invoke: Invoke, count: int) -> float:
    with Timed(invoke) as page:
        started = time.time()
        numbers = batch_of(invoke, count)
        return max(page.ended(number) for number in numbers) - started


def _table(title: str, times: Mapping[str, Mapping[int, float]]) -> Table:
    rows = [
        [
            str(count),
            *(f"{each[count]:.2f} s" for each in times.values()),
            f"{times[BUILT_IN][count] / times[PLUGIN][count]:.1f}",
        ]
        for count in _COUNTS
    ]
    return Table(title, ["Images", *(name[0].upper() + name[1:] for name in times), "Times faster"], rows)


def _plot(times: Mapping[str, Mapping[int, float]]) -> bytes:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    for name, each in times.items():
        axes.plot(list(each), list(each.values()), marker="o", label=name.replace("`", ""))
    axes.set_xlabel("images in the batch")
    axes.set_ylabel("seconds until the last one")
    axes.set_xticks(_COUNTS)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()
