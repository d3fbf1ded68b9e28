"""A provider that Invoke does not know, on its page: Generate, Canvas and editor, with and without a key of OpenAI."""

from __future__ import annotations

import pytest

from .. import acme
from ..acme import GPT, PLAIN, Acme
from ..conftest import NewInvoke
from ..invoke import Invoke
from ..test_host_external_image import results_of
from .canvas import edited, fit, inpainted, paint_mask, run
from .conftest import OpenPage
from .page import InvokePage
from .test_browser_external_image import open_in_editor, workflow_of

NAMES = {PLAIN: "Acme Image (Acme Gateway)", GPT: "Acme GPT (Acme Gateway)"}


@pytest.fixture(scope="module")
def invoke(new_invoke: NewInvoke, server: tuple[Acme, str]) -> Invoke:
    made = new_invoke()
    acme.configure(made.root, server[1])
    made.start_with_models()
    made.send("POST", "/v1/workflows/", json={"workflow": workflow_of(made, PLAIN)})
    return made


@pytest.fixture(scope="module")
def fresh_page(invoke: Invoke, open_page: OpenPage) -> InvokePage:
    return open_page(invoke)


@pytest.fixture(scope="module", params=[False, True], ids=["without OpenAI", "with OpenAI"])
def openai(request: pytest.FixtureRequest, invoke: Invoke) -> bool:
    """Whether there is a key of OpenAI, which carries one of the models."""
    found: bool = request.param
    if found:
        invoke.set_key("openai")
        invoke.settled_models()
    return found


@pytest.fixture(scope="module")
def page(fresh_page: InvokePage, openai: bool) -> InvokePage:
    """The page, loaded after the keys changed."""
    fresh_page.open()
    fresh_page.open_tab("Generate")
    return fresh_page


@pytest.fixture(params=[PLAIN, GPT])
def model(request: pytest.FixtureRequest) -> str:
    return NAMES[request.param]


def test_the_picker_offers_its_models(page: InvokePage, openai: bool) -> None:
    page.open_tab("Generate")
    menu = page.open_model_menu()
    text = menu.inner_text()
    assert all(name in text for name in NAMES.values())
    assert ("GPT Image 2.5 Flare" in text) == openai
    page.raw.keyboard.press("Escape")


def test_it_runs_on_generate(page: InvokePage, invoke: Invoke, provider: Acme, model: str) -> None:
    page.open_tab("Generate")
    page.choose_model(model)
    page.write_prompt("a house by a lake")
    picture = invoke.picture(page.generate())
    [call] = provider.calls
    assert call["prompt"] == "a house by a lake"
    assert (picture.metadata["external"]["provider"], picture.metadata["model"]["name"]) == ("acme", model)
    page.screenshot(f"generate-{picture.metadata['external']['model']}")


def test_it_inpaints_on_the_canvas(page: InvokePage, invoke: Invoke, provider: Acme, model: str) -> None:
    edited(page, model)
    fit(page)
    paint_mask(page)
    page.write_prompt("a red balloon")
    made = run(page, invoke)
    [call] = provider.calls
    assert call.keys() >= {"image", "mask"}
    found = inpainted(made, invoke)
    assert made.node["mode"] == "inpaint"
    assert made.picture.image.size == found.init.size
    assert found.changed_outside.getbbox() is None
    assert found.changed.getbbox() is not None
    page.raw.get_by_role("button", name="Discard All", exact=True).click()


def test_it_runs_in_the_editor(page: InvokePage, invoke: Invoke, provider: Acme) -> None:
    page.open_tab("Workflows")
    open_in_editor(page)
    before = set(page.gallery())
    page.invoke_button.click()
    [made] = page.wait_for(lambda: set(page.gallery()) - before)
    page.wait_for_queue_idle()
    [call] = provider.calls
    assert call["prompt"] == "a brass lantern"
    assert invoke.picture(made).metadata["external"]["cost_usd"] == 0.02
    assert results_of(invoke.get("/v1/queue/default/list_all")[-1])["cost_usd"]["value"] == 0.02


def test_its_key_went_to_its_own_server_only(server: tuple[Acme, str]) -> None:
    assert server[0].keys == {f"Bearer {acme.KEY}"}
    assert server[0].alibaba == []


def test_the_page_logged_no_error(page: InvokePage) -> None:
    assert page.errors == []
