"""The progress line: one thread reports progress and others draw."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import pytest

from invokeai_external.progress import Preview, Sending
from invokeai_external.service.progress_text import ProgressLine


@pytest.fixture
def _impatient_threads() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_impatient_threads")
def test_a_line_can_be_drawn_while_another_thread_reports_progress() -> None:
    line, is_over = ProgressLine(), threading.Event()

    def tell() -> None:
        for number in range(5000):
            line.on_progress(Preview(number, 5000, 1, None, b"", "image/png"))
        is_over.set()

    teller = threading.Thread(target=tell)
    teller.start()
    while not is_over.is_set():
        line.newest_preview()
    teller.join()
    newest = line.newest_preview()
    assert newest is not None
    assert newest.index == 1


def test_the_newest_preview_is_that_of_a_running_call() -> None:
    now = iter(range(10))
    line = ProgressLine(clock=lambda: next(now))
    assert line.newest_preview() is None
    shown = [Preview(call, 2, 1, 3, b"", "image/png") for call in (1, 2)]
    for preview in shown:
        line.on_progress(preview)
    assert line.newest_preview() is shown[1]
    line.on_progress(Sending(2, 2, 2))
    assert line.newest_preview() is shown[0]
