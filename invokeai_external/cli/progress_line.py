"""The progress line on a terminal, redrawn while time passes; without a terminal, nothing is shown."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.text import Text

from ..progress import Progress
from ..service.progress_text import ProgressLine

__all__ = ["live_line"]


class _Drawn:
    """What rich draws: the line as it is now."""

    def __init__(self, line: ProgressLine) -> None:
        self._line = line

    def __rich__(self) -> Text:
        return Text(self._line.text(), style="cyan")


@contextmanager
def live_line(images: int) -> Iterator[Callable[[Progress], None]]:
    """Show a live line on standard error while the block runs, if that is a terminal; yields its progress callback.

    ``images`` is how many images were asked for.
    """
    if sys.stderr is None or not sys.stderr.isatty():
        yield lambda _: None
        return
    line = ProgressLine(images)
    with Live(_Drawn(line), console=Console(stderr=True), refresh_per_second=4, transient=True):
        yield line.on_progress
