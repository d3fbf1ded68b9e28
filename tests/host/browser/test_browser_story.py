"""What a new user does in Invoke's own page, from the install to an image and its recall: the tests go on in order."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Locator, expect

from invokeai_external.errors import ContentBlockedError, ExternalError, QuotaError

from ...support.guard import CANARY
from ..conftest import NewInvoke
from ..graphs import panel_graph
from ..invoke import NODE_TYPES, Invoke
from ..packing import PACK
from ..sandbox import Sandbox
from ..test_host_models import offered
from .conftest import OpenPage
from .page import InvokePage

GPT = "GPT Image 2.5 Flare"
BANANA = "Gemini Nano Banana 2.1"
PROMPT = "a red fox in snow"


@pytest.fixture(scope="module")
def stock(new_invoke: NewInvoke) -> Invoke:
    """An Invoke as it was published: no pack, no key."""
    invoke = new_invoke(pack=False)
    invoke.start()
    return invoke


@pytest.fixture(scope="module")
def page(stock: Invoke, open_page: OpenPage) -> InvokePage:
    return open_page(stock)


def test_the_node_manager_installs_the_pack_without_a_restart(page: InvokePage, clone_source: Path) -> None:
    page.install_node_pack(str(clone_source))
    card = page.node_pack(PACK)
    expect(card).to_contain_text("4 nodes")
    for node_type in NODE_TYPES.values():
        expect(card).to_contain_text(node_type)
    expect(page.raw.get_by_role("row", name=re.compile(f"^{PACK} Completed"))).to_be_visible()
    paths = page.raw.get_by_text(str(clone_source.parent)), page.raw.get_by_text(f"nodes/{PACK}")
    page.screenshot("install", hide=paths)
    page.close_notices()


def test_a_key_brings_the_provider_s_models_by_name(page: InvokePage, stock: Invoke) -> None:
    page.open_external_providers()
    page.set_external_key("openai", CANARY)
    expect(page.provider_card("openai")).to_contain_text("Configured")
    expect(page.raw.get_by_role("heading", name="External Image Generator")).to_be_visible()
    page.wait_for(lambda: GPT in page.model_list())
    page.set_external_key("gemini", CANARY)
    expect(page.provider_card("gemini")).to_contain_text("Configured")
    page.wait_for(lambda: BANANA in page.model_list())
    stock.settled_models()
    names = {model["name"] for model in stock.models()}
    page.wait_for(lambda: set(page.model_list()) == names)
    page.close_notices()
    page.raw.get_by_role("heading", name="gemini").scroll_into_view_if_needed()
    page.screenshot("keys")


def test_only_the_catalogue_s_models_are_there(stock: Invoke) -> None:
    """Whatever the page had read of the built-in's list of starter models before the pack came."""
    assert {model["source"].removeprefix("external://") for model in stock.models()} == offered(*NODE_TYPES)


def test_the_menu_shows_the_models_and_their_providers(page: InvokePage, stock: Invoke) -> None:
    page.open_tab("Generate")
    menu = page.open_model_menu(full=True)
    for model in stock.models():
        expect(menu.get_by_text(model["name"], exact=True)).to_have_count(1)
        expect(menu.get_by_text(model["description"], exact=True)).to_have_count(1)
    page.screenshot("picker")
    page.raw.keyboard.press("Escape")
    expect(menu).to_have_count(0)


def test_the_panel_shows_what_the_chosen_model_has(page: InvokePage) -> None:
    page.choose_model(GPT)
    assert "16:9 (2K)" in page.options("Resolution")
    expect(page.raw.get_by_role("button", name="Reference Image")).to_be_visible()
    expect(page.number("Seed")).to_have_count(0)
    expect(page.raw.get_by_role("combobox", name="Quality")).to_be_visible()
    expect(page.invoke_button).to_be_enabled()
    page.screenshot("panel-openai", of=page.panel)
    page.choose_model(BANANA)
    assert "8:1 (4K)" in page.options("Resolution")
    expect(page.number("Seed")).to_be_visible()
    expect(page.raw.get_by_role("combobox", name="Quality")).to_have_count(0)
    expect(page.number("Temperature")).to_be_visible()
    expect(page.invoke_button).to_be_enabled()
    page.screenshot("panel-gemini", of=page.panel)


def test_sizes_are_chosen_from_the_model_s_own_and_not_by_hand(page: InvokePage) -> None:
    for field in ("Width", "Height"):
        expect(page.number(field)).to_be_disabled()
    for button in ("Swap Dimensions", "Lock Aspect Ratio", "Optimize size for model"):
        expect(page.raw.get_by_role("button", name=button, exact=True)).to_be_disabled()
    page.choose("Resolution", "16:9 (2K)")
    expect(page.number("Width")).to_have_value("2752")
    expect(page.number("Height")).to_have_value("1536")
    page.choose("Aspect", "3:2")
    assert page.chosen("Resolution") == "3:2 (2K)"


def test_what_external_models_do_not_have_is_not_offered(page: InvokePage) -> None:
    for name in ("Steps", "CFG Scale", "Scheduler", "Denoising Strength", "VAE"):
        expect(page.raw.get_by_label(name, exact=True)).to_have_count(0)
    expect(page.raw.get_by_text("Negative Prompt", exact=False)).to_have_count(0)
    expect(page.raw.get_by_text("Concepts", exact=True)).to_have_count(0)


def test_a_prompt_becomes_an_image_in_the_gallery_and_the_viewer(page: InvokePage, stock: Invoke) -> None:
    page.choose("Resolution", "4:3 (1K)")
    page.write_prompt(PROMPT)
    name = page.generate()
    assert page.gallery() == [name]
    assert stock.picture(name).image.size == (1200, 896)
    page.close_notices()
    page.screenshot("result")


def test_the_progress_is_shown(page: InvokePage, sandbox: Sandbox) -> None:
    page.switch_setting("Show Progress Details", True)
    sandbox.order("gemini", "slow", seconds=4)
    page.invoke_button.click()
    expect(page.progress).to_contain_text("2 s")
    page.close_notices()
    page.screenshot("progress")
    page.wait_for(lambda: len(page.gallery()) == 2)
    page.wait_for_queue_idle()


def test_recall_restores_the_settings_of_the_image(page: InvokePage, stock: Invoke, sandbox: Sandbox) -> None:
    page.choose("Resolution", "16:9 (1K)")
    page.switch(page.raw.get_by_role("checkbox", name="Random"), False)
    page.write_number("Seed", "1234")
    page.write_number("Temperature", "0.4")
    page.choose("Thinking Level", "High")
    name = page.generate()
    page.write_prompt("something else")
    page.choose("Resolution", "1:1 (4K)")
    page.write_number("Seed", "5")
    page.write_number("Temperature", "1.8")
    page.choose("Thinking Level", "Minimal")
    page.raw.get_by_role("button", name="Use All (A)").click()
    expect(page.prompt).to_have_value(PROMPT)
    expect(page.number("Seed")).to_have_value("1234")
    expect(page.number("Temperature")).to_have_value("0.4")
    expect(page.raw.get_by_role("combobox", name="Thinking Level")).to_have_value("high")
    # The lists of ratios and resolutions do not follow a recall (6.14.2); what is sent is width and height.
    expect(page.number("Width")).to_have_value("1376")
    expect(page.number("Height")).to_have_value("768")
    again = page.generate()
    assert again != name
    assert stock.picture(again).image.tobytes() == stock.picture(name).image.tobytes()
    first, second = sandbox.calls()
    assert first["json"] == second["json"]


def test_remix_brings_back_all_but_the_seed(page: InvokePage) -> None:
    page.write_prompt("something else")
    page.write_number("Seed", "5")
    page.raw.get_by_role("button", name="Remix Image (R)").click()
    expect(page.prompt).to_have_value(PROMPT)
    expect(page.number("Seed")).to_have_value("5")


def test_cancel_ends_a_run_at_once_and_frees_the_queue(page: InvokePage, sandbox: Sandbox) -> None:
    sandbox.order("gemini", "slow", seconds=30)
    page.invoke_button.click()
    expect(page.progress).to_contain_text("waiting 1 s")
    pressed = time.monotonic()
    page.cancel_button.click()
    expect(page.notice("Item Canceled")).to_be_visible()
    page.wait_for_queue_idle()
    # A second, and what the page itself takes on a busy machine.
    assert time.monotonic() - pressed < 2
    page.open_tab("Queue")
    expect(page.newest_queue_item).to_contain_text("canceled", ignore_case=True)
    page.open_tab("Generate")
    page.generate()


def test_a_failure_shows_its_message_and_its_remedy(page: InvokePage, sandbox: Sandbox) -> None:
    sandbox.order("gemini", "quota", limit="zero")
    expect(failure(page, QuotaError)).to_contain_text("billing")


def test_the_message_of_a_blocked_prompt_fits_into_the_notice(page: InvokePage, sandbox: Sandbox) -> None:
    page.choose("Resolution", "4:3 (1K)")
    sandbox.order("gemini", "blocked_prompt")
    notice = failure(page, ContentBlockedError)
    assert notice.locator("p").evaluate("text => text.scrollHeight <= text.clientHeight")
    page.screenshot("failure")
    page.open_tab("Queue")
    expect(page.newest_queue_item).to_contain_text("failed", ignore_case=True)


def failure(page: InvokePage, expected: type[ExternalError]) -> Locator:
    """Press *Invoke* for a run that fails; return the notice, which must be for people."""
    page.close_notices()
    page.invoke_button.click()
    notice = page.notice(expected.__name__)
    expect(notice).to_be_visible()
    expect(notice).not_to_contain_text("{")
    expect(notice).not_to_contain_text(CANARY)
    page.wait_for_queue_idle()
    return notice


def test_recall_restores_the_reference_images(
    page: InvokePage, stock: Invoke, sandbox: Sandbox, photo: Image.Image
) -> None:
    reference = stock.upload(photo)
    model = stock.model("gemini/gemini-nano-banana-2.1")
    [picture] = stock.run(panel_graph(model, reference_images=[{"image_name": reference}]))
    page.open_tab("Generate")
    page.wait_for(lambda: picture.name in page.gallery())
    page.open_picture(picture.name)
    page.raw.get_by_role("button", name="Use All (A)").click()
    expect(page.panel.locator(f"img[src*='{reference}']")).to_be_visible()
    again = stock.picture(page.generate())
    assert [each["name"] for each in again.metadata["external"]["references"]] == [reference]
    first, second = sandbox.calls()
    assert first["json"]["contents"] == second["json"]["contents"]


def test_the_page_holds_no_key(page: InvokePage) -> None:
    assert CANARY not in page.raw.content()
    page.open_external_providers()
    expect(page.provider_card("openai").get_by_role("textbox", name="API Key")).to_have_value("")
    assert CANARY not in page.raw.content()


def test_the_page_logged_no_error(page: InvokePage) -> None:
    assert page.errors == []
