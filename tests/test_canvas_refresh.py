"""When Invoke's page is told to read its list of the Canvas' items again, with a clock that the tests turn."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count

import pytest

from invokeai_external.invoke.page.canvas_refresh import CanvasItem, CanvasRefresh

SESSION = "canvas:1"


class Page:
    """An event loop's timers without its time, and what the page was told when."""

    def __init__(self) -> None:
        self.now = 0.0
        self.told: list[tuple[float, CanvasItem]] = []
        self._numbers = count()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self.refresh = CanvasRefresh(lambda item: self.told.append((self.now, item)), self._later)

    def _later(self, seconds: float, callback: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (self.now + seconds, next(self._numbers), callback))

    def wait(self, until: float) -> None:
        while self._timers and self._timers[0][0] <= until:
            self.now, _, callback = heapq.heappop(self._timers)
            callback()
        self.now = until

    @property
    def times(self) -> list[float]:
        return [at for at, _ in self.told]


@pytest.fixture
def page() -> Page:
    return Page()


def item(user: str = "system", destination: str = SESSION, batch: str = "batch") -> CanvasItem:
    return CanvasItem("default", batch, "canvas", destination, user)


def test_the_page_is_told_half_a_second_after_an_end_and_once_more(page: Page) -> None:
    page.refresh.ended(item())
    page.wait(0.1)
    page.refresh.read(SESSION)
    page.wait(100)
    assert page.told == [(0.5, item()), (2.5, item())]


def test_it_is_told_on_until_it_has_read_the_list(page: Page) -> None:
    page.refresh.ended(item())
    page.wait(6)
    assert page.times == [0.5, 2.5, 5.0]
    page.refresh.read(SESSION)
    page.wait(100)
    assert page.times == [0.5, 2.5, 5.0]


def test_where_no_page_reads_the_list_it_ends(page: Page) -> None:
    page.refresh.ended(item())
    page.refresh.read("canvas:2")
    page.refresh.read(None)
    page.wait(1000)
    assert page.times == [0.5, 2.5, 5.0, 10.0, 20.0]


def test_what_was_read_before_the_end_does_not_count(page: Page) -> None:
    page.refresh.ended(item())
    page.refresh.read(SESSION)
    page.wait(1)
    page.refresh.ended(item(batch="next"))
    page.wait(100)
    assert page.told[0] == (0.5, item())
    assert page.told[1:] == [(1 + after, item(batch="next")) for after in (0.5, 2.5, 5.0, 10.0, 20.0)]


def test_a_batch_whose_items_end_one_upon_the_other_is_told_after_its_last(page: Page) -> None:
    for number in range(6):
        page.wait(0.25 * number)
        page.refresh.ended(item())
    page.refresh.read(SESSION)
    page.wait(100)
    assert page.times == [1.75, 3.75]


def test_each_user_and_each_session_is_told_for_itself(page: Page) -> None:
    others = [item(), item(user="ada"), item(destination="canvas:2")]
    for each in others:
        page.refresh.ended(each)
        page.refresh.read(each.destination)
    page.wait(100)
    assert page.told == [(at, each) for at in (0.5, 2.5) for each in others]


def test_nothing_is_told_after_it_is_closed(page: Page) -> None:
    page.refresh.ended(item())
    page.wait(0.6)
    page.refresh.close()
    page.refresh.ended(item())
    page.wait(100)
    assert page.times == [0.5]
