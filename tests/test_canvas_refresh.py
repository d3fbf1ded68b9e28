"""When Invoke's page is notified to reload its list of Canvas items, with a clock that the tests control."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count

import pytest

from invokeai_external.invoke.page.canvas_refresh import CanvasItem, CanvasRefresh

SESSION = "canvas:1"


class Page:
    """The timers of an event loop with a fake clock, and the notifications with their times."""

    def __init__(self) -> None:
        self.now = 0.0
        self.notified: list[tuple[float, CanvasItem]] = []
        self._numbers = count()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self.refresh = CanvasRefresh(lambda item: self.notified.append((self.now, item)), self._later)

    def _later(self, seconds: float, callback: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (self.now + seconds, next(self._numbers), callback))

    def wait(self, until: float) -> None:
        while self._timers and self._timers[0][0] <= until:
            self.now, _, callback = heapq.heappop(self._timers)
            callback()
        self.now = until

    @property
    def times(self) -> list[float]:
        return [at for at, _ in self.notified]


@pytest.fixture
def page() -> Page:
    return Page()


def item(user: str = "system", destination: str = SESSION, batch: str = "batch") -> CanvasItem:
    return CanvasItem(queue="default", batch=batch, origin="canvas", destination=destination, user=user)


def test_the_page_is_notified_after_half_a_second_and_once_more(page: Page) -> None:
    page.refresh.item_ended(item())
    page.wait(0.1)
    page.refresh.list_requested(SESSION)
    page.wait(100)
    assert page.notified == [(0.5, item()), (2.5, item())]


def test_notifications_go_on_until_the_list_is_requested(page: Page) -> None:
    page.refresh.item_ended(item())
    page.wait(6)
    assert page.times == [0.5, 2.5, 5.0]
    page.refresh.list_requested(SESSION)
    page.wait(100)
    assert page.times == [0.5, 2.5, 5.0]


def test_notifications_end_if_nobody_requests_the_list(page: Page) -> None:
    page.refresh.item_ended(item())
    page.refresh.list_requested("canvas:2")
    page.refresh.list_requested(None)
    page.wait(1000)
    assert page.times == [0.5, 2.5, 5.0, 10.0, 20.0]


def test_a_request_before_the_end_does_not_count(page: Page) -> None:
    page.refresh.item_ended(item())
    page.refresh.list_requested(SESSION)
    page.wait(1)
    page.refresh.item_ended(item(batch="next"))
    page.wait(100)
    assert page.notified[0] == (0.5, item())
    assert page.notified[1:] == [(1 + after, item(batch="next")) for after in (0.5, 2.5, 5.0, 10.0, 20.0)]


def test_a_batch_with_ends_in_quick_succession_is_notified_after_its_last(page: Page) -> None:
    for number in range(6):
        page.wait(0.25 * number)
        page.refresh.item_ended(item())
    page.refresh.list_requested(SESSION)
    page.wait(100)
    assert page.times == [1.75, 3.75]


def test_each_user_and_each_session_is_notified_separately(page: Page) -> None:
    others = [item(), item(user="ada"), item(destination="canvas:2")]
    for each in others:
        page.refresh.item_ended(each)
        page.refresh.list_requested(each.destination)
    page.wait(100)
    assert page.notified == [(at, each) for at in (0.5, 2.5) for each in others]


def test_nothing_is_sent_after_close(page: Page) -> None:
    page.refresh.item_ended(item())
    page.wait(0.6)
    page.refresh.close()
    page.refresh.item_ended(item())
    page.wait(100)
    assert page.times == [0.5]
