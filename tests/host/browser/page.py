"""Invoke's own web page as a person uses it: one method for each action, named as on the page.

A test module has its own Invoke and opens its page once for all of its tests, in a fresh profile::

    @pytest.fixture(scope="module")
    def page(new_invoke: NewInvoke, open_page: OpenPage) -> InvokePage:
        invoke = new_invoke(keys=PROVIDERS)
        invoke.start()
        return open_page(invoke)

    def test_an_image_is_made(page: InvokePage, sandbox: Sandbox) -> None:
        page.open_tab("Generate")
        page.choose_model("GPT Image 2")
        page.write_prompt("a red fox in snow")
        name = page.generate()
        page.screenshot("generate-result")

For anything without a method, use Playwright on ``page.raw``. Every method waits for what it needs and never sleeps.
Selectors are roles and labels of the stock page (6.14.2), then its test ids, then its data attributes.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from playwright.sync_api import ConsoleMessage, Error, Locator, Page, expect

from ..invoke import Invoke

VIEWPORT = (1440, 900)
PATIENCE_S = 20.0
"""How long to wait for anything on the page."""

_LOADING_S = 60.0

# The middle of the bottom edge does not react to the mouse.
_NOWHERE = (VIEWPORT[0] / 2, VIEWPORT[1] - 1)
_LARGEST_SCREENSHOT = 200_000

Found = TypeVar("Found")


class InvokePage:
    """The page of one Invoke, open in a tab of a browser.

    Args:
        raw: Playwright's page, which is still empty.
        invoke: Whose page it is.
        screenshots: The folder for screenshots.

    Attributes:
        errors: The errors of the page's console and scripts, oldest first, except for failed requests to the internet
            and for failed runs.
    """

    def __init__(self, raw: Page, invoke: Invoke, screenshots: Path) -> None:
        self.raw = raw
        self.errors: list[str] = []
        self._invoke = invoke
        self._screenshots = screenshots
        raw.set_default_timeout(PATIENCE_S * 1000)
        expect.set_options(timeout=PATIENCE_S * 1000)
        raw.on("console", self._hear)
        raw.on("pageerror", lambda error: self.errors.append(str(error)))

    def _hear(self, message: ConsoleMessage) -> None:
        expected = ("net::ERR_NAME_NOT_RESOLVED", "Invocation error (")
        if message.type == "error" and not any(words in message.text for words in expected):
            self.errors.append(message.text)

    # Navigation

    def open(self) -> None:
        """Open or reload the page, and wait until it is loaded."""
        self.raw.goto(self._invoke.url)
        expect(self.tab("Generate")).to_be_visible(timeout=_LOADING_S * 1000)

    def close_news(self) -> None:
        """Close *What's New*, which opens a moment after the page until it was closed once."""
        with suppress(Error):
            self.raw.get_by_role("dialog", name="What's New").get_by_role("button", name="Close").click(timeout=10_000)

    def tab(self, name: str) -> Locator:
        """The button of a tab on the left edge: Generate, Canvas, Workflows, Models, Nodes, Queue."""
        return self.raw.get_by_role("button", name=name, exact=True)

    def open_tab(self, name: str) -> None:
        self.tab(name).click()

    def notices(self) -> list[str]:
        """The texts of the notices (toasts) in the corner, oldest first."""
        texts: list[str] = self._notices.all_inner_texts()
        return [" ".join(text.split()) for text in texts]

    def notice(self, text: str | re.Pattern[str]) -> Locator:
        """The notice in the corner with this text."""
        return self._notices.filter(has_text=text)

    def close_notices(self) -> None:
        """Close all notices in the corner, which would otherwise stay or cover a screenshot."""
        for _ in range(self._notices.count()):
            # It may have closed by itself.
            try:
                self._notices.first.get_by_role("button", name="Close").click(timeout=2000)
            except Error:
                continue
        expect(self._notices).to_have_count(0)

    @property
    def _notices(self) -> Locator:
        return self.raw.get_by_role("region", name=re.compile("^Notifications-")).get_by_role("status")

    def switch(self, box: Locator, on: bool) -> None:
        """Turn a switch on or off. The box itself is invisible below its drawn label."""
        if box.is_checked() != on:
            box.locator("xpath=ancestor::label[1]").click()
        expect(box).to_be_checked(checked=on)

    def switch_setting(self, name: str, on: bool) -> None:
        """Turn a switch of the dialog *Settings* on or off, such as *Show Progress Details*."""
        dialog = self.raw.get_by_role("dialog", name="Settings")
        menu = self.raw.get_by_role("button", name="Menu", exact=True)
        self._click_through(menu, self.raw.get_by_role("menuitem", name="Settings"), to=dialog)
        self.switch(dialog.get_by_role("checkbox", name=name, exact=True), on)
        dialog.get_by_role("button", name="Close", exact=True).first.click()
        expect(dialog).to_have_count(0)

    # The tab Nodes

    def install_node_pack(self, url: str) -> None:
        """Paste the URL of a git repository into the node manager and press *Install*."""
        self.open_tab("Nodes")
        self.raw.get_by_role("textbox", name="Repository URL").fill(url)
        self.raw.get_by_role("button", name="Install", exact=True).click()

    def node_pack(self, name: str) -> Locator:
        """The card of an installed node pack, on the open tab *Nodes*."""
        return _around(self.raw.get_by_role("heading", name=name, exact=True), "p")

    # The tab Models

    def open_external_providers(self) -> None:
        """Open the page *External Providers* of the model manager."""
        self.open_tab("Models")
        self.raw.get_by_role("tab", name="External Providers").click()

    def provider_card(self, provider: str) -> Locator:
        """The card of a provider on the open page *External Providers*."""
        return _around(self.raw.get_by_role("heading", name=provider, exact=True), "input")

    def set_external_key(self, provider: str, key: str) -> None:
        """Enter a key in the provider's card and press *Save*."""
        card = self.provider_card(provider)
        field = card.get_by_role("textbox", name="API Key")
        expect(field).to_have_attribute("type", "password")
        field.fill(key)
        card.get_by_role("button", name="Save").click()

    def model_list(self) -> list[str]:
        """The names of the installed models in the open model manager."""
        rows = self.raw.get_by_role("row").filter(has=self.raw.get_by_role("button", name="Delete Config"))
        return [row.split("\n")[0] for row in rows.all_inner_texts()]

    # The panel of the tab Generate

    @property
    def panel(self) -> Locator:
        """The panel on the left, from the prompt to the last option."""
        return self.prompt.locator("xpath=ancestor::*[.//*[@data-testid='generation-accordion']][1]")

    @property
    def model_button(self) -> Locator:
        """The button that shows the chosen model and opens the list of models."""
        return self.raw.get_by_role("region", name="Generation").get_by_role("button").first

    def open_model_menu(self, *, full: bool = False) -> Locator:
        """Open the list of models, in its full view (with providers and descriptions) or as before; return the list."""
        menu = self._model_menu
        self._click_through(self.model_button, to=menu)
        switch = menu.get_by_role("button", name="Full View")
        if full and switch.is_visible():
            switch.click()
        return menu

    @property
    def _model_menu(self) -> Locator:
        return self.raw.get_by_role("dialog").filter(has=self.raw.get_by_role("button", name="Manage Models"))

    def choose_model(self, name: str) -> None:
        # The list closes by itself while the page is still loading.
        chosen = self.model_button.filter(has_text=re.compile(f"^{re.escape(name)}$"))
        self._click_through(self.model_button, self._model_menu.get_by_text(name, exact=True), to=chosen)
        expect(self._model_menu).to_have_count(0)

    def choose(self, field: str, option: str) -> None:
        """Choose from a drop-down list of the panel: Aspect, Resolution, Quality ..."""
        self.raw.get_by_role("combobox", name=field, exact=True).select_option(label=option)

    def chosen(self, field: str) -> str:
        """The selected option of a drop-down list of the panel."""
        box = self.raw.get_by_role("combobox", name=field, exact=True)
        text: str = box.evaluate("list => list.selectedOptions[0].label")
        return text

    def options(self, field: str) -> list[str]:
        """The options of a drop-down list of the panel."""
        found: list[str] = self.raw.get_by_role("combobox", name=field, exact=True).locator("option").all_inner_texts()
        return found

    def number(self, field: str) -> Locator:
        """A number of the panel: Width, Height, Seed, Temperature."""
        return self.raw.get_by_role("spinbutton", name=field, exact=True)

    def write_number(self, field: str, value: str) -> None:
        box = self.number(field)
        # The field appends text that is filled in at once.
        box.press("ControlOrMeta+a")
        box.press_sequentially(value)
        box.press("Tab")
        expect(box).to_have_value(value)

    @property
    def prompt(self) -> Locator:
        # It has no accessible name.
        return self.raw.locator("textarea[name=prompt]")

    def write_prompt(self, text: str) -> None:
        self.prompt.fill(text)

    # Runs

    @property
    def invoke_button(self) -> Locator:
        return self.raw.get_by_role("button", name="Invoke", exact=True)

    @property
    def cancel_button(self) -> Locator:
        """The red button beside *Invoke*; disabled while the page thinks that nothing is running."""
        return self.raw.get_by_role("button", name="Cancel", exact=True)

    @property
    def progress(self) -> Locator:
        """The progress line in the viewer, which needs *Show Progress Details*."""
        # While the gallery is empty, the page shows it twice.
        return self.raw.get_by_role("alert").filter(has_text="Generating").first

    def generate(self) -> str:
        """Press *Invoke*, wait for the new image in the gallery and in the viewer, and return its name."""
        before = set(self.gallery())
        self.invoke_button.click()
        name = self.wait_for(lambda: next((name for name in self.gallery() if name not in before), None))
        self.wait_for_queue_idle()
        expect(self.shown(name)).to_be_visible()
        return name

    def wait_for_queue_idle(self) -> None:
        """Wait until Invoke's queue is empty. After a quick run, the page's own button may be outdated."""
        self.wait_for(lambda: not self._busy())

    def _busy(self) -> int:
        queue = self._invoke.get("/v1/queue/default/status")["queue"]
        busy: int = queue["in_progress"] + queue["pending"]
        return busy

    @property
    def newest_queue_item(self) -> Locator:
        """The first line of the open tab *Queue*: status, times, prompt."""
        return self.raw.get_by_test_id("queue-item").first

    # Images

    def gallery(self) -> list[str]:
        """The names of the images in the gallery, as in Invoke's routes, in the order of the page."""
        names: list[str] = self.raw.locator("[data-item-id]").evaluate_all("all => all.map(one => one.dataset.itemId)")
        return names

    def open_picture(self, name: str) -> None:
        """Click an image in the gallery, which the viewer then shows."""
        self.raw.locator(f"[data-item-id='{name}']").click()
        expect(self.shown(name)).to_be_visible()

    def shown(self, name: str) -> Locator:
        """The image with this name in the viewer."""
        return self.raw.locator(f"img[src$='{name}/full']")

    # Waiting and screenshots

    def _click_through(self, *buttons: Locator, to: Locator) -> None:
        """Click buttons one after the other until something shows; repeat if the busy page missed a click."""

        def shows() -> bool:
            try:
                for button in buttons:
                    button.click(timeout=3000)
                to.wait_for(timeout=3000)
            except Error:
                self.raw.keyboard.press("Escape")
                return False
            return True

        self.wait_for(shows)

    def wait_for(self, look: Callable[[], Found | None]) -> Found:
        """Call ``look`` until it returns something, while the page goes on."""
        deadline = time.monotonic() + PATIENCE_S
        while not (found := look()):
            assert time.monotonic() < deadline, f"nothing found within {PATIENCE_S:g} s"
            self.raw.wait_for_timeout(100)
        return found

    def screenshot(self, name: str, *, of: Locator | None = None, hide: Sequence[Locator] = ()) -> Path:
        """Save a screenshot of the page, or of a part of it, as a JPEG file; return its path.

        Args:
            name: The name of the file, without an extension.
            of: The part; by default everything in view.
            hide: Elements whose text means nothing to a reader, such as paths on the computer that runs the tests.
        """
        self.raw.mouse.move(*_NOWHERE)
        expect(self.raw.get_by_role("tooltip")).to_have_count(0)
        for notice in self._notices.element_handles():
            notice.wait_for_element_state("stable")
        self._screenshots.mkdir(parents=True, exist_ok=True)
        path = self._screenshots / f"{name}.jpg"
        with _without_text(hide):
            (of or self.raw).screenshot(path=path, type="jpeg", quality=80, animations="disabled")
        assert path.stat().st_size < _LARGEST_SCREENSHOT
        return path


_STATUS = re.compile("pending|in progress|completed|failed|canceled", re.IGNORECASE)


def _around(heading: Locator, tag: str) -> Locator:
    """The card of a heading: the smallest element around it that also contains an element of this tag."""
    return heading.locator(f"xpath=ancestor::*[.//{tag}][1]")


@contextmanager
def _without_text(elements: Sequence[Locator]) -> Iterator[None]:
    for element in elements:
        element.evaluate_all("all => all.forEach(one => { one.style.color = 'transparent' })")
    try:
        yield
    finally:
        for element in elements:
            element.evaluate_all("all => all.forEach(one => { one.style.color = '' })")
