"""What a newcomer sees who has no key: an Invoke whose settings say ``sandbox: true``, as ``make invoke`` starts it."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from ..conftest import NewInvoke
from ..invoke import Invoke, wait_for
from ..sandbox import Sandbox
from .conftest import OpenPage
from .page import InvokePage


@pytest.fixture(scope="module")
def keyless(new_invoke: NewInvoke) -> Invoke:
    invoke = new_invoke()
    (invoke.root / "invokeai_external.yaml").write_text("sandbox: true\n", encoding="utf-8")
    invoke.start()
    wait_for(invoke.models)
    return invoke


@pytest.fixture(scope="module")
def page(keyless: Invoke, open_page: OpenPage) -> InvokePage:
    return open_page(keyless)


def test_a_new_user_without_a_key_makes_an_image(page: InvokePage, keyless: Invoke, sandbox: Sandbox) -> None:
    page.switch_setting("Show Progress Details", True)
    page.choose_model("GPT Image 2.5 Flare")
    page.choose("Resolution", "1:1 (4K)")
    page.write_prompt("a harbour at dusk")
    page.invoke_button.click()
    # It may be there for a moment only.
    page.raw.wait_for_function("document.body.innerText.includes('SANDBOX · ')")
    (name,) = page.wait_for(page.gallery)
    page.wait_for_queue_idle()
    expect(page.shown(name)).to_be_visible()
    assert "sandbox" in str(keyless.picture(name).metadata["external"]["notices"])
    # The in-process sandbox made it; nothing went to the base URLs of the settings.
    assert sandbox.calls() == []
    assert page.errors == []
