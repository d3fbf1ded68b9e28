"""The browser suite: a headless Chromium on the real page of a real Invoke; ``page`` says how to write a test.

If no Chromium is found, the suite is one skipped test and a line in the summary. ``INVOKEAI_EXTERNAL_SCREENSHOTS`` is
the folder for the screenshots; without it they are discarded.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error, sync_playwright

from ..environment import VERSION
from ..invoke import Invoke
from .chromium import FLAGS, MISSING, chromium_of
from .page import VIEWPORT, InvokePage

# Before the tests change it.
_ENVIRON = dict(os.environ)
_HERE = Path(__file__).parent

OpenPage = Callable[[Invoke], InvokePage]


def _reason_to_skip() -> str | None:
    version = _ENVIRON.get("INVOKE_VERSION") or VERSION
    if version != VERSION:
        return f"The browser suite is skipped: it knows the page of Invoke {VERSION}, not of {version}."
    return None if chromium_of(_ENVIRON) else MISSING


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    reason = _reason_to_skip()
    ours = [item for item in items if item.path.is_relative_to(_HERE)]
    if reason is None or not ours:
        return
    # One skipped test is enough.
    ours[0].add_marker(pytest.mark.skip(reason=reason))
    config.hook.pytest_deselected(items=ours[1:])
    items[:] = [item for item in items if item not in ours[1:]]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if reason := _reason_to_skip():
        terminalreporter.write_line(reason, yellow=True, bold=True)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser for the module only: while Playwright runs, no other event loop can run in the same thread."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_of(_ENVIRON), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def open_page(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> OpenPage:
    """Opens the page of a running Invoke, in a fresh profile."""
    named = _ENVIRON.get("INVOKEAI_EXTERNAL_SCREENSHOTS")
    pictures = Path(named).absolute() if named else tmp_path_factory.mktemp("screenshots")

    def open_page(invoke: Invoke) -> InvokePage:
        width, height = VIEWPORT
        context = chromium.new_context(
            viewport={"width": width, "height": height},
            locale="en-US",
            timezone_id="UTC",
            color_scheme="dark",
            reduced_motion="reduce",
        )
        page = InvokePage(context.new_page(), invoke, pictures)
        page.open()
        page.close_news()
        return page

    return open_page


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Report how every open page looked when a test failed, and what its console said."""
    report = yield
    if report.failed:
        for page in (value for value in getattr(item, "funcargs", {}).values() if isinstance(value, InvokePage)):
            report.sections.append(("the page", _look_of(page)))
    return report


def _look_of(page: InvokePage) -> str:
    folder = Path(tempfile.mkdtemp(prefix="invoke-page-"))
    try:
        page.raw.screenshot(path=folder / "page.png")
    except Error as error:
        return f"No screenshot: {error}"
    return "\n".join([f"As it looked: {folder / 'page.png'}", "Its console:", *(page.errors or ["nothing"])])
