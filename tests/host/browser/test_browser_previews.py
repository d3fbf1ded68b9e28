"""A preview in the viewer of Invoke's page while the image is being made, if the settings request some."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from ..conftest import NewInvoke
from ..invoke import Invoke
from ..sandbox import Sandbox
from .conftest import OpenPage
from .page import InvokePage


@pytest.fixture(scope="module")
def showing(new_invoke: NewInvoke) -> Invoke:
    invoke = new_invoke(keys=("openai",))
    (invoke.root / "invokeai_external.yaml").write_text("settings:\n  previews: 3\n", encoding="utf-8")
    invoke.start_with_models()
    return invoke


@pytest.fixture(scope="module")
def page(showing: Invoke, open_page: OpenPage) -> InvokePage:
    return open_page(showing)


def test_the_viewer_shows_each_preview_and_then_the_image(page: InvokePage, sandbox: Sandbox) -> None:
    page.switch_setting("Show Progress Details", True)
    page.choose_model("GPT Image 2.5 Flare")
    page.choose("Resolution", "4:3 (1K)")
    page.write_prompt("a harbour at dusk")
    sandbox.order("openai", "slow_stream", seconds=4)
    page.invoke_button.click()
    preview = page.raw.locator("img[src^='data:image/jpeg;base64,']").first
    expect(page.progress).to_contain_text("preview 1 of 3")
    expect(preview).to_be_visible()
    first = preview.get_attribute("src")
    # The line goes on, and the preview stays until the next one.
    expect(page.progress).to_contain_text("preview 2 of 3 · waiting")
    expect(preview).to_be_visible()
    assert preview.get_attribute("src") != first
    assert page.gallery() == []
    page.close_notices()
    page.screenshot("preview")
    (name,) = page.wait_for(page.gallery)
    page.wait_for_queue_idle()
    expect(page.shown(name)).to_be_visible()
    assert page.errors == []
