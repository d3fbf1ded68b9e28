"""What the page in Invoke shows of the spending record, to whom, and what it changes; all of it without an Invoke."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from invokeai_external.errors import InvalidRequestError
from invokeai_external.invoke.gallery.result_cache import Destination, KeptImages
from invokeai_external.invoke.spending_page.files import HEADERS, TYPES, file_of
from invokeai_external.invoke.spending_page.overview import CHART_DAYS, more_like, runs
from invokeai_external.invoke.spending_page.page_data import PageData
from invokeai_external.invoke.spending_page.price_list import prices_of
from invokeai_external.invoke.spending_page.viewer import Viewer
from invokeai_external.providers.registry import Registry
from invokeai_external.root_folder import RESCUED_FOLDER, SPENDING_FILE, USER_FILE
from invokeai_external.settings.settings import load_settings
from invokeai_external.spending.amounts import NANO

from .support.made_up_spending import call, fill, many_calls
from .wording import Text, hits

NOON = datetime.datetime(2026, 11, 30, 12, tzinfo=datetime.UTC).timestamp()
DAY_S = 24 * 3600.0

ONLY = Viewer("system", None, is_admin=True)
ADMIN = Viewer("1", "admin@example.com", is_admin=True)
ANNA = Viewer("2", "anna@example.com", is_admin=False)
BOB = Viewer("3", "bob@example.com", is_admin=False)

Data = Callable[..., PageData]


@pytest.fixture
def data(tmp_path: Path) -> Data:
    """Makes the data of a root folder whose settings file has limits, on a fixed day."""

    def make(budgets: str = "") -> PageData:
        (tmp_path / USER_FILE).write_text(f"budgets:\n  timezone: UTC\n{budgets}", encoding="utf-8")
        return PageData(lambda: load_settings(tmp_path, environ={}), clock=lambda: NOON)

    return make


def record(root: Path, *calls: Any) -> list[int]:
    return fill(root / SPENDING_FILE, [replace(each, day=_utc_day(each.started_at)) for each in calls])


def _utc_day(at: float) -> str:
    return datetime.datetime.fromtimestamp(at, datetime.UTC).date().isoformat()


def test_without_a_record_nothing_was_spent_and_no_file_is_made(data: Data, tmp_path: Path) -> None:
    shown = data().overview(ONLY)
    assert shown["spent"] is None
    assert shown["record"] == {"is_on": True, "message": None, "file": str(tmp_path / SPENDING_FILE)}
    assert data().runs(ONLY, count=25) == []
    assert data().charts(ONLY, {}) is None
    assert data().settle(ONLY, charged=True, up_to=1000) == {"settled": 0}
    assert not (tmp_path / SPENDING_FILE).exists()


def test_today_and_the_month_have_their_limits_and_what_is_left(data: Data, tmp_path: Path) -> None:
    record(
        tmp_path,
        call(NOON - 10 * DAY_S, usd=20),
        call(NOON - 3600, usd=1.33),
        call(NOON - 1800, state="unconfirmed", at_most_usd=0.05),
        call(NOON - 900, usd=0.04, at_most_usd=0.05),
    )
    spent = data("  total: {day_usd: 5, month_usd: 60}\n").overview(ONLY)["spent"]
    assert spent["day"]["used_usd"] == 1.42
    assert spent["day"]["unconfirmed_usd"] == 0.05
    assert spent["day"]["resets_at"] == "2026-12-01T00:00:00+00:00"
    assert spent["month"]["used_usd"] == 21.42
    assert [(limit["name"], limit["limit_usd"], limit["left_usd"]) for limit in spent["limits"]] == [
        ("total.day", 5, 3.58),
        ("total.month", 60, 38.58),
    ]
    # 88 more leave $0.06, of which a last one may use $0.05.
    assert spent["last"] == {"model": "openai/gpt-image-2.5-flare", "usd": 0.04, "more": 89, "limit": "total.day"}
    assert spent["unconfirmed"] == {"calls": 1, "at_most_usd": 0.05, "unknown": 0, "up_to": 3}


@pytest.mark.parametrize(
    ("left", "cost", "at_most", "images", "more"),
    [(358, 4, 5, 1, 89), (5, 4, 5, 1, 1), (4, 4, 5, 1, 0), (0, 4, 5, 1, 0), (10, 5, None, 2, 4), (3, 4, 2, 1, 0)],
)
def test_as_many_more_fit_as_the_limit_will_allow(
    left: int, cost: int, at_most: int | None, images: int, more: int
) -> None:
    assert more_like(left, cost, at_most, images) == more


def test_a_user_sees_their_own_and_an_administrator_all_amounts(data: Data, tmp_path: Path) -> None:
    users = (ADMIN.name, ANNA.name, BOB.name)
    record(tmp_path, *(call(NOON - 60 + number, user=user, board="secret") for number, user in enumerate(users)))
    page = data("  total: {day_usd: 5}\n  users: {default: {day_usd: 1}}\n")
    assert page.overview(ADMIN)["spent"]["day"]["used_usd"] == 0.12
    assert page.overview(ANNA)["spent"]["day"]["used_usd"] == 0.04
    assert [limit["who"] for limit in page.overview(ANNA)["spent"]["limits"]] == [ANNA.name]
    assert page.overview(ANNA)["record"]["file"] is None
    assert {limit["who"] for limit in page.overview(ADMIN)["spent"]["limits"]} == {"", *users}
    assert [found.payer.user for found in page.runs(BOB, count=25)] == [BOB.name]
    assert [found.payer.user for found in page.runs(ADMIN, count=25)] == [*reversed(users)]
    shown = runs(page.runs(ADMIN, count=25), ADMIN, {})
    # The board is as private as the images on it.
    assert [(run["user"], run["board"]) for run in shown] == [
        (BOB.name, None),
        (ANNA.name, None),
        (ADMIN.name, "secret"),
    ]
    charts = page.charts(ANNA, {})
    assert charts
    assert "users" not in charts
    assert sum(day["charged_usd"] for day in charts["days"]) == 0.04


def test_runs_without_a_user_are_for_administrators(data: Data, tmp_path: Path) -> None:
    [number] = record(tmp_path, call(NOON, host="cli", state="unconfirmed"))
    assert data().runs(ANNA, count=25) == []
    assert data().settle(ANNA, charged=True, calls=[number]) == {"settled": 0}
    assert data().settle(Viewer("2", None, is_admin=False), charged=True, calls=[number]) == {"settled": 0}
    assert data().settle(ADMIN, charged=True, calls=[number]) == {"settled": 1}


def test_a_user_settles_only_their_own(data: Data, tmp_path: Path) -> None:
    hers, his = record(tmp_path, *(call(NOON, state="unconfirmed", user=user) for user in (ANNA.name, BOB.name)))
    page = data()
    assert page.settle(ANNA, charged=True, calls=[hers, his]) == {"settled": 1}
    assert page.settle(ANNA, charged=False, up_to=his) == {"settled": 0}
    assert page.overview(ADMIN)["spent"]["day"]["charged_usd"] == 0.05
    assert page.overview(ADMIN)["spent"]["unconfirmed"]["calls"] == 1


def test_all_that_was_shown_is_settled_in_one_step_and_what_is_newer_is_not(data: Data, tmp_path: Path) -> None:
    numbers = record(tmp_path, *(call(NOON, state="unconfirmed", at_most_usd=0.04) for _ in range(1201)))
    page = data("  total: {day_usd: 60}\n")
    seen = page.overview(ONLY)["spent"]["unconfirmed"]["up_to"]
    assert seen == numbers[-1]
    record(tmp_path, call(NOON, state="unconfirmed"))
    assert page.settle(ONLY, charged=False, up_to=seen) == {"settled": 1201}
    spent = page.overview(ONLY)["spent"]
    assert (spent["unconfirmed"]["calls"], spent["day"]["used_usd"]) == (1, 0.05)


def test_a_settled_run_counts_and_another_answer_changes_nothing(data: Data, tmp_path: Path) -> None:
    [number] = record(tmp_path, call(NOON, state="unconfirmed", at_most_usd=0.05))
    assert data().settle(ONLY, charged=True, calls=[number]) == {"settled": 1}
    assert data().settle(ONLY, charged=False, calls=[number]) == {"settled": 0}
    assert data().overview(ONLY)["spent"]["day"]["charged_usd"] == 0.05


def test_runs_are_listed_in_pages_and_by_what_became_of_them(data: Data, tmp_path: Path) -> None:
    record(tmp_path, *many_calls(60, NOON))
    page = data()
    first = page.runs(ONLY, count=25)
    rest = page.runs(ONLY, count=100, before=first[-1].id)
    numbers = [found.id for found in (*first, *rest)]
    assert numbers == sorted(numbers, reverse=True)
    assert len(numbers) == 60
    unsettled = page.runs(ONLY, only="unconfirmed", count=2)
    assert {found.end.state for found in unsettled} == {"unconfirmed"}
    assert len([*unsettled, *page.runs(ONLY, only="unconfirmed", count=25, before=unsettled[-1].id)]) == 3
    refused = runs(page.runs(ONLY, only="refused", count=25), ONLY, {})
    assert [run["is_refused"] for run in refused] == [True, True, True]


def test_a_run_says_what_it_cost_and_for_how_long_it_took(data: Data, tmp_path: Path) -> None:
    record(
        tmp_path,
        call(NOON - 20, usd=0.06, at_most_usd=0.05, board="foxes"),
        call(NOON - 10, state="unconfirmed", error="timed_out"),
    )
    names = {"openai/gpt-image-2.5-flare": "GPT Image 2.5 Flare"}
    unclear, overrun = runs(data().runs(ONLY, count=2), ONLY, names)
    assert (overrun["cost_usd"], overrun["is_overrun"], overrun["seconds"]) == (0.06, True, 12.0)
    assert (overrun["model_name"], overrun["board"], overrun["at"]) == (
        "GPT Image 2.5 Flare",
        "foxes",
        "2026-11-30T11:59:40+00:00",
    )
    assert (unclear["cost_usd"], unclear["at_most_usd"], unclear["may_settle"]) == (None, 0.05, True)
    assert data().usual_seconds() == {"openai/gpt-image-2.5-flare": 12.0}


def test_refused_runs_of_today_are_counted(data: Data, tmp_path: Path) -> None:
    times = (NOON - DAY_S, NOON, NOON)
    record(tmp_path, *(call(at, state="not_charged", error="budget_exceeded") for at in times))
    record(tmp_path, *(call(NOON) for _ in range(300)))
    assert data().overview(ONLY)["spent"]["refused_today"]["runs"] == 2


def test_what_is_unclear_is_counted_and_summed_as_it_is_listed(data: Data, tmp_path: Path) -> None:
    unclear = call(NOON, state="unconfirmed", at_most_usd=0.05, user=ANNA.name)
    unknown = replace(unclear, call=replace(unclear.call, at_most=None))
    [*_, last] = record(tmp_path, unclear, unknown, unclear, call(NOON - 40 * DAY_S, state="unconfirmed"))
    # Not these: another kind, or another state.
    record(tmp_path, replace(unclear, sandbox=True), replace(unclear, imported=True), call(NOON))
    page = data()
    assert page.overview(ADMIN)["spent"]["unconfirmed"] == {
        "calls": 4,
        "at_most_usd": 0.15,
        "unknown": 1,
        "up_to": last,
    }
    assert page.overview(ANNA)["spent"]["unconfirmed"] == {
        "calls": 3,
        "at_most_usd": 0.1,
        "unknown": 1,
        "up_to": last - 1,
    }
    assert page.overview(BOB)["spent"]["unconfirmed"] == {"calls": 0, "at_most_usd": 0, "unknown": 0, "up_to": None}


def test_all_refused_runs_of_a_long_queue_are_counted(data: Data, tmp_path: Path) -> None:
    record(tmp_path, *(call(NOON, state="not_charged", error="budget_exceeded", user=ANNA.name) for _ in range(1001)))
    assert data().overview(ADMIN)["spent"]["refused_today"]["runs"] == 1001
    assert data().overview(BOB)["spent"]["refused_today"]["runs"] == 0


def test_files_that_the_gallery_did_not_accept_are_shown_to_their_user_and_to_administrators(
    data: Data, tmp_path: Path
) -> None:
    folder = tmp_path / RESCUED_FOLDER
    (folder / ANNA.id).mkdir(parents=True)
    # Files without an owner are of an Invoke that had one user, or of an earlier version.
    for name in ("picture-1.png", "picture-2.png", "picture-2.png.json", f"{ANNA.id}/picture-3.png"):
        (folder / name).touch()
    shown = {viewer: data().overview(viewer)["undelivered"] for viewer in (ADMIN, ANNA, replace(ANNA, id="bob"))}
    assert shown[ADMIN] == {"images": 3, "folder": RESCUED_FOLDER}
    assert shown[ANNA] == {"images": 1, "folder": RESCUED_FOLDER}
    assert [*shown.values()][2] is None


def test_images_that_wait_for_a_retry_are_shown_to_their_user_and_to_administrators(tmp_path: Path) -> None:
    kept = [KeptImages(Destination(user), images, NOON + images) for user, images in ((ANNA.id, 2), (BOB.id, 1))]
    page = PageData(lambda: load_settings(tmp_path, environ={}), kept=lambda: kept)
    shown = [page.overview(viewer)["kept"] for viewer in (ADMIN, ANNA, BOB, replace(ANNA, id="other"))]
    assert [found and found["images"] for found in shown] == [3, 2, 1, None]
    assert shown[2] == {"images": 1, "until": "2026-11-30T12:00:01+00:00"}


@pytest.mark.parametrize("name", ["", ".", "..", f"../{RESCUED_FOLDER}", "a/b"])
def test_a_strange_id_opens_no_folder(data: Data, tmp_path: Path, name: str) -> None:
    (tmp_path / RESCUED_FOLDER).mkdir()
    (tmp_path / RESCUED_FOLDER / "picture-1.png").touch()
    assert data().overview(replace(ANNA, id=name))["undelivered"] is None


def test_a_broken_record_is_said_and_the_rest_is_shown(data: Data, tmp_path: Path) -> None:
    (tmp_path / SPENDING_FILE).write_bytes(b"not a database, but text" * 100)
    shown = data().overview(ONLY)
    assert shown["spent"] is None
    assert "cannot be used" in shown["record"]["message"]
    assert data().usual_seconds() == {}


def test_a_record_that_is_off_is_said(tmp_path: Path) -> None:
    (tmp_path / USER_FILE).write_text('settings: {spending_record: "off"}\n', encoding="utf-8")
    page = PageData(lambda: load_settings(tmp_path, environ={}))
    assert page.overview(ONLY)["record"] == {"is_on": False, "message": None, "file": None}


def test_the_charts_show_every_day_and_the_dearest_models_first(data: Data, tmp_path: Path) -> None:
    record(tmp_path, call(NOON, usd=1), call(NOON - 40 * DAY_S), call(NOON - DAY_S, usd=2, model="gpt-image-2"))
    charts = data().charts(ONLY, {"openai/gpt-image-2": "GPT Image 2"})
    assert charts
    assert len(charts["days"]) == CHART_DAYS
    assert [(day["name"], day["charged_usd"]) for day in charts["days"][-2:]] == [("2026-11-29", 2), ("2026-11-30", 1)]
    assert [model["name"] for model in charts["models"]] == ["GPT Image 2", "openai/gpt-image-2.5-flare"]


def test_limits_are_set_and_removed_and_the_next_look_has_them(data: Data, tmp_path: Path) -> None:
    page = data()
    page.set_limit("total.day", 5)
    page.set_limit("users.default.day", 2)
    page.set_limit(f"users.{ANNA.name}.day", 4)
    shown = page.limits([ANNA.name or "", BOB.name or ""])
    assert (shown["total"]["day_usd"], shown["default"]["day_usd"]) == (5, 2)
    assert [(user["name"], user["day_usd"], user["is_default"]) for user in shown["users"]] == [
        (ANNA.name, 4, False),
        (BOB.name, 2, True),
    ]
    # 4 and 2 are more than 5.
    assert shown["exceed_total"] == ["day"]
    page.set_limit("total.day", None)
    assert page.limits([])["total"]["day_usd"] is None
    with pytest.raises(InvalidRequestError):
        page.set_limit("settings.previews", 1)


def test_a_raised_limit_is_shown_while_it_holds(data: Data) -> None:
    page = data("  total: {day_usd: 5, raised: {day_usd: 20, until: 2026-11-30}}\n")
    assert page.limits([])["total"]["raised"]["day_usd"] == 20
    page = data("  total: {day_usd: 5, raised: {day_usd: 20, until: 2026-11-29}}\n")
    assert page.limits([])["total"]["raised"] is None


def test_prices_have_a_row_for_each_size_and_a_price_for_each_quality() -> None:
    models = {model.reference: model for model in Registry().models()}
    flare = prices_of(models["openai/gpt-image-2.5-flare"], {"openai/gpt-image-2.5-flare": 22.0})
    assert len(flare["prices"]) == len(flare["sizes"])
    assert {len(row) for row in flare["prices"]} == {len(flare["qualities"])}
    square = flare["prices"][next(number for number, size in enumerate(flare["sizes"]) if size.startswith("1024x1024"))]
    assert all(0 < price["usd"] <= price["at_most_usd"] for price in square)
    # Invoke's tabs send no quality. Medium quality at 1024x1024 is expected of what is left to the model, and
    # its dearest choice is the most.
    assert (flare["qualities"][0], flare["prices"][0][0]["at_most_usd"]) == ("auto", 0.71157)
    low = flare["qualities"].index("low")
    assert (flare["prices"][0][low]["usd"], flare["prices"][0][-1]["at_most_usd"]) == (0.00588, 0.71157)
    assert flare["usual_s"] == 22.0
    banana = prices_of(models["gemini/gemini-nano-banana-2.1"], {})
    assert banana["qualities"] == []
    assert {len(row) for row in banana["prices"]} == {1}
    # What it writes and thinks is billed with an image.
    assert banana["prices"][0][0] == {"usd": 0.0336, "at_most_usd": 0.0561, "basis": "bounded"}


def test_prices_are_those_of_the_default_quality_and_the_previews() -> None:
    models = {model.reference: model for model in Registry().models()}
    flare = models["openai/gpt-image-2.5-flare"]
    plain = prices_of(flare, {})
    xhigh = plain["qualities"].index("xhigh")
    ours = prices_of(flare.model_copy(update={"defaults": {"quality": "xhigh"}}), {})
    assert ours["qualities"][0] == "auto: xhigh"
    assert [row[0] for row in ours["prices"]] == [row[xhigh] for row in plain["prices"]]
    shown = prices_of(flare, {}, previews=2)
    low = plain["qualities"].index("low")
    # 100 tokens each, at 30 USD for a million.
    assert shown["previews"] == 2
    assert shown["prices"][0][low]["usd"] == pytest.approx(plain["prices"][0][low]["usd"] + 0.006)
    assert prices_of(models["gemini/gemini-nano-banana-2.1"], {}, previews=2)["previews"] == 0


def files() -> dict[str, str]:
    folder = Path(__file__).parents[1] / "invokeai_external" / "invoke" / "spending_page" / "static"
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.iterdir())}


def test_the_page_asks_no_other_host_and_has_no_script_in_it() -> None:
    for name, text in files().items():
        assert not re.findall(r"""(?:src|href|url|from|import|fetch)\s*[=(]?\s*["'(]https?:""", text), name
        assert not re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text), name
    page = files()["index.html"]
    assert re.findall(r"<script(?![^>]*\bsrc=)", page) == []
    assert re.findall(r"\son\w+=|\sstyle=|<style|href=\"/|src=\"/", page) == []
    policy = HEADERS["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_every_file_that_the_page_uses_is_served_and_nothing_else_is() -> None:
    used = set(re.findall(r"""(?:src|href|from) ?=? ?["'](?:\./)?([\w-]+\.\w+)["']""", "\n".join(files().values())))
    assert used == set(files()) - {"index.html"}
    for name in files():
        content, media_type = file_of(name) or (b"", "")
        assert content.decode() == files()[name]
        assert media_type.startswith(TYPES[name.rpartition(".")[2]])
    for name in ("", "..", "../routes.py", "routes.py", "page.js/", "PAGE.JS", "page.js\0"):
        assert file_of(name) is None


def test_what_the_page_says_has_no_word_that_the_glossary_replaces() -> None:
    texts = []
    for name, text in files().items():
        if name.endswith(".html"):
            said = [re.sub(r"<[^>]*>", " ", text)]
        else:
            said = re.findall(r'"([^"\n]*[ A-Z][^"\n]*)"|`([^`]*)`|// (.*)', text)
            said = [part for parts in said for part in parts if part]
        texts += [Text(name, 1, "user", re.sub(r"\$\{.*?\}", "…", part)) for part in said]
    assert len(texts) > 100
    assert [str(hit) for hit in hits(texts)] == []


def test_every_id_that_a_script_looks_for_is_on_the_page() -> None:
    ids = set(re.findall(r'\bid="([\w-]+)"', files()["index.html"]))
    wanted = set(re.findall(r'byId\("([\w-]+)"\)', "\n".join(files().values())))
    assert wanted <= ids
    labelled = re.findall(r'aria-labelledby="([\w-]+)"', files()["index.html"])
    assert set(labelled) <= ids


def test_amounts_on_the_page_are_sums_of_nano_dollars(data: Data, tmp_path: Path) -> None:
    record(tmp_path, *(call(NOON, usd=0.1) for _ in range(3)))
    assert data().overview(ONLY)["spent"]["day"]["charged_usd"] == 300_000_000 / NANO == 0.3
