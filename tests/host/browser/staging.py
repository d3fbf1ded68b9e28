"""Runs batches on the Canvas and counts the images that can be accepted: ``python -m tests.host.browser.staging``.

Run it in the repository's folder. It runs the long forms (``LONG``) in a real Invoke; ``INVOKE_VERSION`` sets another
version, and arguments select forms. It prints the counts, and fails if an image cannot be accepted.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from playwright.sync_api import Locator, expect, sync_playwright

from ...support.servers import SandboxServer

# isort: split
# Found from here on: the module above puts its folder on the path.
from .. import environment, packing
from ..invoke import PROVIDERS, Invoke, Json, output_names, wait_for
from ..sandbox import Sandbox
from .chromium import FLAGS, chromium_of
from .page import VIEWPORT, InvokePage

MODEL = "GPT Image 2.5 Flare"
SIZE = 6
"""How many images a batch has."""

_PATIENCE_S = 60.0
"""How long something on the page is waited for, whose browser is slow and shares a busy machine with its Invoke."""


class Form(NamedTuple):
    """How batches are made.

    Attributes:
        batches: How many, one after the other.
        seconds: What each image takes; at 0 each is there before its turn comes.
        slowdown: How many times slower the browser's processor is.
    """

    batches: int
    seconds: float
    slowdown: int = 1


LONG = {"5s": Form(20, 5), "5s-slow-browser": Form(20, 5, slowdown=4), "at-once": Form(5, 0)}
"""What the long run makes."""


def button(page: InvokePage, name: str) -> Locator:
    return page.raw.get_by_role("button", name=name, exact=True)


def open_empty_canvas(page: InvokePage) -> None:
    """Open the Canvas without a layer, on which *Invoke* makes images from the prompt only."""
    page.open_tab("Canvas")
    page.choose_model(MODEL)
    page.write_prompt("a house by a lake")


@contextmanager
def slowed(page: InvokePage, times: int) -> Iterator[None]:
    """Slow the browser's processor down by a factor."""
    devtools = page.raw.context.new_cdp_session(page.raw)
    devtools.send("Emulation.setCPUThrottlingRate", {"rate": times})
    try:
        yield
    finally:
        devtools.send("Emulation.setCPUThrottlingRate", {"rate": 1})
        devtools.detach()


def run_batch(page: InvokePage, invoke: Invoke, sandbox: Sandbox, seconds: float, size: int = SIZE) -> list[str]:
    """Run a batch on the open Canvas, and check each of its staged items; return the images that can be accepted.

    An image can be accepted if its thumbnail shows the image of its item, and *Accept* is enabled when it is selected.
    At the end all are discarded.
    """
    if seconds:
        sandbox.order("openai", "slow", times=size, seconds=seconds)
    # It has no name; nothing stands between it and *Invoke*.
    iterations = page.raw.get_by_role("spinbutton").first
    iterations.press("ControlOrMeta+a")
    iterations.press_sequentially(str(size))
    expect(iterations).to_have_value(str(size))
    before = {item["item_id"] for item in invoke.get("/v1/queue/default/list_all")}
    page.invoke_button.click()
    items = wait_for(lambda: ended(invoke, before, size), 2 * _PATIENCE_S + seconds * size)
    assert [item["status"] for item in items] == ["completed"] * size, [item["error_message"] for item in items]
    made = [name for item in items for name in output_names(item)]
    assert len(set(made)) == size
    try:
        return acceptable(page, made)
    finally:
        button(page, "Discard All").click(timeout=_PATIENCE_S * 1000)
        expect(button(page, "Discard All")).to_have_count(0, timeout=_PATIENCE_S * 1000)


def acceptable(page: InvokePage, names: list[str]) -> list[str]:
    """Which of the images, that the staged items have made in this order, can be accepted."""
    found = []
    for number, name in enumerate(names):
        shown = thumbnail(page, number).locator(f"img[src*='{name}']")
        label = page.raw.get_by_text(f"{number + 1} of {len(names)}", exact=True)
        try:
            expect(shown).to_be_visible(timeout=_PATIENCE_S * 1000)
            thumbnail(page, number).click(timeout=_PATIENCE_S * 1000)
            expect(label).to_be_visible(timeout=_PATIENCE_S * 1000)
            expect(button(page, "Accept (Enter)")).to_be_enabled(timeout=_PATIENCE_S * 1000)
        except AssertionError:
            continue
        found.append(name)
    return found


def thumbnail(page: InvokePage, number: int) -> Locator:
    """The thumbnail of a staged item; it has no role and no name but this."""
    return page.raw.locator(f"#queue-item-preview-{number}")


def ended(invoke: Invoke, before: set[int], size: int) -> list[Json] | None:
    """The items that were not there before, once there are ``size`` of them and all have ended."""
    # Not asked for by their destination, as the page asks: the plugin must not take this for the page's own look.
    items = [item for item in invoke.get("/v1/queue/default/list_all") if item["item_id"] not in before]
    return items if len(items) == size and all(item["completed_at"] for item in items) else None


def main() -> int:
    environ = dict(os.environ)
    names = sys.argv[1:] or list(LONG)
    lost = 0
    with SandboxServer() as server, tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        sandbox = Sandbox(server.url)
        invoke = Invoke(environment.python_of(environ), Path(folder) / "root", sandbox.url, PROVIDERS)
        packing.copy_to(invoke.root / "nodes")
        try:
            invoke.start_with_models()
            browser = playwright.chromium.launch(executable_path=chromium_of(environ), args=FLAGS)
            width, height = VIEWPORT
            tab = browser.new_context(viewport={"width": width, "height": height}, locale="en-US").new_page()
            page = InvokePage(tab, invoke, Path(folder))
            page.open()
            page.close_news()
            open_empty_canvas(page)
            for name in names:
                lost += _made(page, invoke, sandbox, name, LONG[name])
            browser.close()
            invoke.stop()
        finally:
            invoke.close()
            sandbox.close()
    return bool(lost)


def _made(page: InvokePage, invoke: Invoke, sandbox: Sandbox, name: str, form: Form) -> int:
    """Make the batches of a form, and print how many of their images can be accepted; return how many cannot."""
    counts = []
    with slowed(page, form.slowdown):
        for _ in range(form.batches):
            counts.append(len(run_batch(page, invoke, sandbox, form.seconds)))
            print(f"   {name}: {counts[-1]} of {SIZE}", flush=True)
    total = form.batches * SIZE
    print(f"== {name}: {sum(counts)} of {total} images of {form.batches} batches can be accepted", flush=True)
    return total - sum(counts)


if __name__ == "__main__":
    sys.exit(main())
