"""The page with the costs, as an administrator, a user and a stranger see it, wide and narrow, empty and full."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from invokeai_external.root_folder import SPENDING_FILE, USER_FILE

from ...support.made_up_spending import call, clear, fill, many_calls
from ..graphs import workflow_graph
from ..invoke import Invoke, Json, wait_for
from ..sandbox import Sandbox
from ..test_host_look_ahead import batch
from ..test_host_money_page import spent
from ..users import PASSWORD, Users

WIDTHS = (1440, 400)
NAMES = ("admin@example.com", "anna@example.com", "bob@example.com")
LIMITS = "budgets:\n  timezone: UTC\n  total: {day_usd: 5, month_usd: 60}\n  users:\n    default: {day_usd: 2}\n"

CANCELLED_BATCHES = 20

# Before the tests change it.
_SCREENSHOTS = os.environ.get("INVOKEAI_EXTERNAL_SCREENSHOTS")
_PATIENCE_MS = 20_000


class MoneyPage:
    """The page in a tab, and what its console and its requests said.

    Attributes:
        raw: Playwright's page.
        errors: The errors of its console and its scripts.
        hosts: The hosts that it sent requests to.
    """

    def __init__(self, raw: Page) -> None:
        self.raw = raw
        self.errors: list[str] = []
        self.hosts: set[str] = set()
        raw.set_default_timeout(_PATIENCE_MS)
        raw.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        raw.on("pageerror", lambda error: self.errors.append(str(error)))
        raw.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc))

    def open(self, url: str) -> None:
        """Open or reload it; the second to last thing that it does is to show the prices."""
        self.raw.goto(f"{url}/external")
        expect(self.raw.locator("#price-answer")).not_to_be_empty(timeout=_PATIENCE_MS)

    def section(self, title: str) -> Locator:
        return self.raw.get_by_role("region", name=title, exact=True)

    def button(self, name: str) -> Locator:
        return self.raw.get_by_role("button", name=name, exact=True)

    @property
    def said(self) -> Locator:
        """What it says about the last thing that the user did."""
        return self.raw.locator("#status")

    def screenshot(self, name: str, of: Locator | None = None) -> None:
        """Take one of what is in view, or of a part of the page, for the docs."""
        if _SCREENSHOTS:
            self.raw.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
            path = Path(_SCREENSHOTS).absolute() / f"{name}.jpg"
            (of or self.raw).screenshot(path=path, type="jpeg", quality=80)

    def fits(self) -> bool:
        """True if nothing is wider than the window."""
        fits: bool = self.raw.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        return fits


Open = Callable[..., MoneyPage]


@pytest.fixture
def page_of(users: Users, chromium: Browser, sandbox: Sandbox) -> Iterator[Open]:
    """Opens the page for a user, or for a stranger, in a fresh profile of a width."""
    contexts = []
    url = users.nobody.url

    def open_page(name: str | None, width: int) -> MoneyPage:
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, locale="en-US", timezone_id="UTC", color_scheme="dark"
        )
        contexts.append(context)
        if name:
            account = {"email": name, "password": PASSWORD}
            token = context.request.post(f"{url}/api/v1/auth/login", data=account).json()["token"]
            # As Invoke's own page keeps it.
            context.add_init_script(
                f"localStorage.getItem('auth_token') ?? localStorage.setItem('auth_token', '{token}')"
            )
        page = MoneyPage(context.new_page())
        if name:
            page.open(url)
        else:
            page.raw.goto(f"{url}/external/")
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture(autouse=True)
def _as_new(users: Users) -> Iterator[None]:
    """No runs and no limits."""
    record, settings = (users.admin.root / name for name in (SPENDING_FILE, USER_FILE))
    clear(record)
    settings.unlink(missing_ok=True)
    yield
    clear(record)
    settings.unlink(missing_ok=True)


@pytest.mark.parametrize(("name", "width", "height"), [("money", 1180, 1020), ("money-narrow", 400, 820)])
def test_it_looks_as_in_the_docs(users: Users, page_of: Open, name: str, width: int, height: int) -> None:
    set_up(users, 0)
    now = time.time()
    month = [
        call(now - 5 * 24 * 3600 - number * 7 * 3600, usd=0.211, at_most_usd=0.25, user=NAMES[number % 3])
        for number in range(40)
    ]
    today = [call(now - 600 - number * 60, usd=0.041, user=NAMES[number % 3]) for number in range(30)]
    unclear = [call(now - 400, state="unconfirmed", error="timed_out", user=NAMES[1])] * 2
    refused = [call(now - 300, state="not_charged", error="budget_exceeded", user=NAMES[2], model="gpt-image-2")]
    last = [call(now - 200, usd=0.041, user=NAMES[0])]
    fill(users.admin.root / SPENDING_FILE, [*month, *today, *unclear, *refused, *last])
    page = page_of(NAMES[0], width)
    page.raw.set_viewport_size({"width": width, "height": height})
    expect(page.raw.locator(".tile").first).to_contain_text("of $5.00")
    expect(page.section("Needs you")).to_contain_text("2 runs may have been charged, up to $0.10")
    expect(page.section("Can I make images?")).to_contain_text("key accepted, checked", timeout=_PATIENCE_MS)
    expect(page.button("Check the keys again")).to_be_visible()
    assert page.fits()
    page.screenshot(name)


def set_up(users: Users, runs: int) -> None:
    """Write limits, and a record with some runs."""
    (users.admin.root / USER_FILE).write_text(LIMITS, encoding="utf-8")
    now = time.time()
    calls = many_calls(runs, now, NAMES)
    if runs == 3:
        calls = [
            call(now - 1.3, usd=1.33, user=NAMES[0], zone="UTC"),
            call(now - 1.2, state="unconfirmed", error="timed_out", user=NAMES[1], zone="UTC"),
            call(now - 1.1, usd=0.04, user=NAMES[0], zone="UTC"),
        ]
    fill(users.admin.root / SPENDING_FILE, calls)


@pytest.mark.parametrize("width", WIDTHS)
def test_without_runs_it_says_what_there_is_to_do(users: Users, page_of: Open, width: int) -> None:
    page = page_of(NAMES[0], width)
    expect(page.section("Can I make images?")).to_contain_text("Yes, with Google Gemini and OpenAI.")
    expect(page.section("Can I make images?")).to_contain_text("key accepted, checked", timeout=_PATIENCE_MS)
    expect(page.section("Spent")).to_contain_text("No limit is set.")
    expect(page.section("Needs you")).to_contain_text("Nothing.")
    expect(page.section("Last runs")).to_contain_text("Nothing was sent yet.")
    assert page.fits()
    assert page.errors == []
    assert page.hosts == {urlsplit(users.nobody.url).netloc}


@pytest.mark.parametrize("width", WIDTHS)
def test_an_administrator_settles_in_two_clicks_and_raises_a_limit(users: Users, page_of: Open, width: int) -> None:
    set_up(users, 3)
    page = page_of(NAMES[0], width)
    today = page.raw.locator(".tile").first
    expect(today).to_contain_text("$1.42 of $5.00")
    # The next limit to be reached is the administrator's own.
    expect(today).to_contain_text("About 15 more like the last one ($0.04), by your limit of the day.")
    assert page.fits()
    page.button("It was not charged").click()
    page.button("Yes, settle 1 run as not charged").click()
    expect(page.said).to_have_text("1 run settled as not charged.")
    expect(today).to_contain_text("$1.37 of $5.00")
    expect(page.section("Needs you")).to_contain_text("Nothing.")
    expect(page.section("Needs you").get_by_role("heading")).to_be_focused()
    page.raw.get_by_label("Everybody together, a day, in USD").fill("7.5")
    page.raw.get_by_label("Everybody together, a day, in USD").press("Enter")
    expect(page.said).to_have_text("Saved: Everybody together.")
    expect(today).to_contain_text("$1.37 of $7.50")
    assert "{day_usd: 7.5, month_usd: 60}" in (users.admin.root / USER_FILE).read_text(encoding="utf-8")
    assert page.fits()
    assert page.errors == []


def test_refused_runs_can_be_hidden_until_another_is_refused(users: Users, page_of: Open) -> None:
    record = users.admin.root / SPENDING_FILE
    refused = [call(time.time(), state="not_charged", error="budget_exceeded", user=NAMES[0])]
    fill(record, refused * 2)
    page = page_of(NAMES[0], WIDTHS[0])
    needs = page.section("Needs you")
    expect(needs).to_contain_text("2 runs refused today by a limit")
    page.button("Hide").click()
    expect(needs).to_contain_text("Nothing.")
    expect(needs.get_by_role("heading")).to_be_focused()
    page.open(users.nobody.url)
    expect(needs).to_contain_text("Nothing.")
    fill(record, refused)
    page.open(users.nobody.url)
    expect(needs).to_contain_text("3 runs refused today by a limit")
    assert page.errors == []


def test_a_total_without_a_limit_has_no_bar_and_says_that_there_are_others(users: Users, page_of: Open) -> None:
    (users.admin.root / USER_FILE).write_text("budgets:\n  users:\n    default: {day_usd: 2}\n", encoding="utf-8")
    fill(users.admin.root / SPENDING_FILE, [call(time.time(), usd=0.00004, user=NAMES[0])])
    page = page_of(NAMES[0], WIDTHS[0])
    today, month = page.raw.locator(".tile").all()
    expect(today).to_contain_text("under $0.0001")
    expect(today).to_contain_text("The limits that are set are below.")
    expect(month).to_contain_text("No limit is set.")
    expect(page.raw.locator(".tile svg")).to_have_count(0)
    expect(page.raw.locator("#other-limits svg")).to_have_count(1)


@pytest.mark.parametrize("width", WIDTHS)
def test_an_administrator_changes_the_settings_with_the_keyboard(users: Users, page_of: Open, width: int) -> None:
    page = page_of(NAMES[0], width)
    settings = page.section("Settings")
    settings.get_by_label("Previews of each image").select_option("2")
    settings.get_by_label("Send queued runs ahead").select_option("off")
    settings.get_by_label("Weights in prompts").select_option("not sent")
    calls = settings.get_by_label("Calls at once")
    expect(calls).to_have_value("8")
    calls.fill("3")
    calls.press("Enter")
    expect(page.said).to_have_text("Saved: Settings.")
    file = (users.admin.root / USER_FILE).read_text(encoding="utf-8")
    assert file == "settings:\n  previews: 2\n  look_ahead: false\n  concurrency: 3\n  strip_prompt_weights: true\n"
    page.open(users.nobody.url)
    expect(settings.get_by_label("Previews of each image")).to_have_value("2")
    expect(settings.get_by_label("Send queued runs ahead")).to_have_value("false")
    calls.fill("100")
    calls.press("Enter")
    # The browser says what is wrong, and nothing is sent.
    assert calls.evaluate("input => input.validity.rangeOverflow")
    assert (users.admin.root / USER_FILE).read_text(encoding="utf-8") == file
    assert page.fits()
    assert page.errors == []


def cancel_a_batch(user: Invoke, sandbox: Sandbox, graph: Json) -> None:
    """Queue eight items, and cancel them when all are sent, before a response."""
    sent = len(sandbox.calls()) + 8
    sandbox.order("openai", "slow", times=8, seconds=60)
    numbers = batch(user, graph, [f"image {i}" for i in range(8)], node="picture", field="prompt")
    wait_for(lambda: len(sandbox.calls()) == sent, 60)
    batches = {"batch_ids": [user.item(numbers[0])["batch_id"]]}
    user.send("PUT", "/v1/queue/default/cancel_by_batch_ids", json=batches)
    wait_for(lambda: sandbox.in_flight() == 0, 10)


def test_what_cancelled_batches_may_have_cost_is_freed_in_two_clicks(
    users: Users, page_of: Open, sandbox: Sandbox
) -> None:
    set_up(users, 0)
    graph = workflow_graph(users.model, quality="low")
    for _ in range(CANCELLED_BATCHES):
        cancel_a_batch(users.anna, sandbox, graph)
    calls = 8 * CANCELLED_BATCHES
    wait_for(lambda: spent(users.admin)["unconfirmed"]["calls"] == calls)
    found = spent(users.admin)
    assert found["day"]["unconfirmed_usd"] == found["day"]["used_usd"] == found["unconfirmed"]["at_most_usd"] > 0
    page = page_of(NAMES[0], WIDTHS[0])
    expect(page.section("Needs you")).to_contain_text(f"{calls} runs may have been charged")
    page.button("No run was charged").click()
    page.button(f"Yes, settle {calls} runs as not charged").click()
    expect(page.said).to_have_text(f"{calls} runs settled as not charged.")
    expect(page.section("Needs you")).to_contain_text("Nothing.")
    assert spent(users.admin)["day"]["used_usd"] == 0
    assert len(sandbox.calls()) == calls
    # There is room again.
    users.anna.run(graph)


@pytest.mark.parametrize("width", WIDTHS)
def test_an_administrator_sets_and_removes_a_default(users: Users, page_of: Open, width: int) -> None:
    page = page_of(NAMES[0], width)
    settings = page.section("Settings")
    expect(settings).to_contain_text("No default is set.")
    form = settings.get_by_role("form", name="Defaults of models")
    form.get_by_label("Model").select_option(label="OpenAI: GPT Image 2.5 Flare")
    form.get_by_label("Option").select_option("quality")
    form.get_by_label("Value").select_option("xhigh")
    form.get_by_role("button", name="Save the default").click()
    expect(page.said).to_have_text("Saved: quality of GPT Image 2.5 Flare is xhigh.")
    form.get_by_label("Option").select_option("output_compression")
    form.get_by_label("Value").fill("80")
    form.get_by_label("Value").press("Enter")
    expect(page.said).to_have_text("Saved: output compression of GPT Image 2.5 Flare is 80.")
    file = (users.admin.root / USER_FILE).read_text(encoding="utf-8")
    assert file.endswith("    defaults:\n      quality: xhigh\n      output_compression: 80\n")
    assert page.fits()
    page.open(users.nobody.url)
    if width == WIDTHS[0]:
        page.screenshot("money-settings", settings)
    for text in ("quality xhigh", "output compression 80"):
        page.button(f"Remove: GPT Image 2.5 Flare: {text}").click()
        expect(settings.get_by_role("heading", name="Defaults of models")).to_be_focused()
    expect(settings).to_contain_text("No default is set.")
    assert "defaults" not in (users.admin.root / USER_FILE).read_text(encoding="utf-8")
    assert page.errors == []


@pytest.mark.parametrize("width", WIDTHS)
def test_twenty_thousand_runs_are_shown_in_parts_and_settled_at_once(users: Users, page_of: Open, width: int) -> None:
    set_up(users, 20_000)
    page = page_of(NAMES[0], width)
    rows = page.raw.locator("#runs-table tbody tr")
    expect(rows).to_have_count(12)
    page.button("Show more").click()
    expect(rows).to_have_count(37)
    expect(rows.nth(12)).to_be_focused()
    assert page.fits()
    page.button("Refused by a limit").click()
    expect(rows.first).to_contain_text("refused by a limit")
    expect(page.section("Needs you")).to_contain_text("1,000 runs may have been charged")
    page.button("All runs were charged").click()
    page.button("Yes, settle 1,000 runs as charged").click()
    expect(page.said).to_have_text("1,000 runs settled as charged.", timeout=60_000)
    expect(page.section("Needs you")).not_to_contain_text("may have been charged")
    assert page.errors == []


@pytest.mark.parametrize("width", WIDTHS)
def test_a_user_sees_their_own_runs_and_no_limits_of_others(users: Users, page_of: Open, width: int) -> None:
    set_up(users, 60)
    page = page_of(NAMES[1], width)
    expect(page.raw.locator("#viewer")).to_have_text(NAMES[1])
    expect(page.raw.locator(".tile").first).to_contain_text("of $2.00")
    expect(page.section("Limits")).to_have_count(0)
    expect(page.section("Settings")).to_have_count(0)
    for other in (NAMES[0], NAMES[2]):
        expect(page.raw.locator("body")).not_to_contain_text(other)
    page.button("May have been charged").click()
    row = page.raw.locator("#runs-table tbody tr").first
    row.get_by_role("button", name=re.compile("^Not charged")).click()
    expect(page.said).to_have_text("1 run settled as not charged.")
    assert page.fits()
    assert page.errors == []


def test_the_image_of_a_run_is_shown_to_the_user_who_made_it(users: Users, page_of: Open) -> None:
    [picture] = users.anna.run(workflow_graph(users.model, prompt="a fox in snow"))
    page = page_of(NAMES[1], WIDTHS[0])
    image = page.raw.locator("#runs-table img")
    expect(image).to_have_attribute("src", re.compile(re.escape(picture.name)))
    image.scroll_into_view_if_needed()
    page.raw.wait_for_function("document.querySelector('#runs-table img').naturalWidth > 0")
    page = page_of(NAMES[0], WIDTHS[0])
    expect(page.raw.locator("#runs-table tbody tr")).to_have_count(1)
    expect(page.raw.locator("#runs-table img")).to_have_count(0)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_stranger_is_sent_to_the_sign_in(users: Users, page_of: Open, width: int) -> None:
    set_up(users, 3)
    page = page_of(None, width)
    expect(page.said).to_contain_text("You are not signed in.")
    expect(page.raw.get_by_role("main")).to_be_hidden()
    page.said.get_by_role("link", name="Sign in to Invoke").click()
    expect(page.raw).to_have_url(re.compile(rf"^{re.escape(users.nobody.url)}/(?!external)"))


def test_the_price_is_that_of_the_chosen_number_of_images(users: Users, page_of: Open) -> None:
    page = page_of(NAMES[1], WIDTHS[0])
    price = page.section("What will it cost?")
    price.locator("select[name=model]").select_option(label="OpenAI: GPT Image 2.5 Flare")
    price.locator("select[name=quality]").select_option("low")
    answer = price.get_by_role("status")
    one = answer.inner_text()
    price.locator("input[name=n]").fill("4")
    expect(answer).not_to_have_text(one)
    amounts = [float(re.findall(r"\$(\d+\.\d+)", text)[0]) for text in (one, answer.inner_text())]
    assert amounts[1] == pytest.approx(4 * amounts[0], abs=0.0002)
    price.locator("input[name=n]").fill("40")
    expect(answer).to_have_text("Choose 1 to 10 images.")


def test_it_can_be_used_with_the_keyboard_and_read_aloud(users: Users, page_of: Open) -> None:
    set_up(users, 3)
    page = page_of(NAMES[0], WIDTHS[0])
    page.raw.keyboard.press("Tab")
    expect(page.raw.get_by_role("link", name="Skip to the page")).to_be_focused()
    page.raw.keyboard.press("Enter")
    expect(page.raw.get_by_role("main")).to_be_focused()
    for control in page.raw.locator("button:visible, input:visible, select:visible, a:visible").all():
        expect(control).to_have_accessible_name(re.compile(r"\S"))
    for image in page.raw.locator("svg[role=img]").all():
        expect(image).to_have_accessible_name(re.compile(r"\S"))
    titles = page.raw.get_by_role("heading", level=2).all_inner_texts()
    assert titles == [
        *("Can I make images?", "Spent", "Needs you", "Last runs", "What will it cost?", "Limits", "Settings"),
        "The last 31 days",
    ]


def test_a_new_token_of_a_change_is_kept_and_an_old_one_is_not(users: Users, page_of: Open) -> None:
    set_up(users, 3)
    page = page_of(NAMES[0], WIDTHS[0])
    token = "localStorage.getItem('auth_token')"
    before = page.raw.evaluate(token)
    page.raw.get_by_label("One image, at most, in USD").fill("0.5")
    page.raw.get_by_role("button", name="Save: One image").click()
    expect(page.said).to_have_text("Saved: One image.")
    assert page.raw.evaluate(token).count(".") == before.count(".") == 2
    page.raw.evaluate("localStorage.setItem('auth_token', 'signed.out.meanwhile')")
    page.button("Refused by a limit").click()
    expect(page.said).to_have_class(re.compile("bad"))
    assert page.raw.evaluate(token) == "signed.out.meanwhile"
