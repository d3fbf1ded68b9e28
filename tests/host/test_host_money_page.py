"""The page at ``/external``: its files, what each user sees, and who may change what."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import yaml

from invokeai_external.root_folder import SPENDING_FILE, USER_FILE

from ..support.made_up_spending import call, clear, fill
from .graphs import panel_graph, workflow_graph
from .invoke import Invoke, Json, wait_for
from .sandbox import Sandbox
from .test_host_saving import blocked_gallery
from .users import Users

FROM_PAGE = {"X-InvokeAI-External": "page"}
SETTLE = "/v1/external/spending/settle"
LIMITS = "/v1/external/limits"
SETTINGS = "/v1/external/settings"
DEFAULTS = "/v1/external/settings/defaults"


@pytest.fixture(scope="module", autouse=True)
def _runs(users: Users) -> Iterator[None]:
    """A record with a run of each user that was charged and one that may have been, and no limits."""
    record, settings = (users.admin.root / name for name in (SPENDING_FILE, USER_FILE))
    now = time.time()
    names = [f"{name}@example.com" for name in ("admin", "anna", "bob")]
    calls = [call(now - 60, usd=0.04, user=name, board="secret") for name in names]
    calls += [call(now - 30, state="unconfirmed", error="timed_out", user=name) for name in names]
    clear(record)
    fill(record, calls)
    yield
    clear(record)
    settings.unlink(missing_ok=True)


def post(user: Invoke, path: str, body: Json, **headers: str) -> httpx.Response:
    return user.request("POST", path, json=body, headers={**FROM_PAGE, **headers})


def spent(user: Invoke) -> Any:
    return user.get("/v1/external/spending")["spent"]


def test_the_page_is_served_to_everybody_with_and_without_a_slash(users: Users) -> None:
    moved = users.nobody.request("GET", "/../external")
    # Relative, for an Invoke below a sub-path.
    assert (moved.status_code, moved.headers["Location"]) == (307, "external/")
    page = users.nobody.request("GET", "/../external/")
    assert page.status_code == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    for name in re.findall(r'(?:src|href)="([\w.-]+\.\w+)"', page.text):
        file = users.nobody.request("GET", f"/../external/{name}")
        assert (file.status_code, file.headers["X-Content-Type-Options"]) == (200, "nosniff")
    assert users.nobody.request("GET", "/../external/routes.py").status_code == 404
    # Invoke's own page is where it was.
    assert "<title>Invoke" in users.nobody.request("GET", "/../").text


@pytest.mark.parametrize(
    "path", ["spending", "spending/runs", "spending/charts", "prices", "status", "limits", "settings"]
)
def test_a_stranger_sees_nothing(users: Users, path: str) -> None:
    assert users.nobody.request("GET", f"/v1/external/{path}").status_code == 401


def test_a_user_sees_their_own_and_an_administrator_all_amounts(users: Users) -> None:
    assert spent(users.anna)["day"]["charged_usd"] == pytest.approx(0.04)
    assert spent(users.admin)["day"]["charged_usd"] == pytest.approx(0.12)
    assert spent(users.anna)["unconfirmed"]["calls"] == 1
    assert spent(users.admin)["unconfirmed"]["calls"] == 3
    hers = users.anna.get("/v1/external/spending/runs")["runs"]
    assert [(run["state"], run["board"], run["user"]) for run in hers] == [
        ("unconfirmed", None, None),
        ("charged", "secret", None),
    ]
    everything = users.admin.get("/v1/external/spending/runs")["runs"]
    assert len(everything) == 6
    # Only the administrator's own board.
    assert [run["user"] for run in everything if run["board"]] == ["admin@example.com"]
    assert users.anna.get("/v1/external/spending")["record"]["file"] is None
    assert "users" not in users.anna.get("/v1/external/spending/charts")


def test_only_administrators_see_and_change_the_limits(users: Users) -> None:
    assert users.anna.request("GET", LIMITS).status_code == 403
    body = {"name": "total.day", "usd": 5}
    assert post(users.anna, LIMITS, body).status_code == 403
    assert post(users.nobody, LIMITS, body).status_code == 401
    assert not (users.admin.root / USER_FILE).exists()
    limits = post(users.admin, LIMITS, body).json()
    assert limits["total"]["day_usd"] == 5
    assert [user["name"] for user in limits["users"]] == [f"{name}@example.com" for name in ("admin", "anna", "bob")]
    post(users.admin, LIMITS, {"name": "users.anna@example.com.day", "usd": 0.5}).raise_for_status()
    file = yaml.safe_load((users.admin.root / USER_FILE).read_text(encoding="utf-8"))
    assert file == {"budgets": {"total": {"day_usd": 5}, "users": {"anna@example.com": {"day_usd": 0.5}}}}
    # The running Invoke follows them.
    [hers] = spent(users.anna)["limits"]
    assert (hers["name"], hers["limit_usd"], hers["left_usd"]) == (
        "users.anna@example.com.day",
        0.5,
        pytest.approx(0.41),
    )
    for wrong in ({"name": "settings.previews", "usd": 1}, {"name": "total.day", "usd": -1}, {"name": "total.day"}):
        assert post(users.admin, LIMITS, wrong).status_code == 422


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (LIMITS, {"name": "total.day", "usd": 999}),
        (SETTLE, {"charged": True, "up_to": 999}),
        (SETTINGS, {"name": "previews", "value": 3}),
        (DEFAULTS, {"model": "openai/gpt-image-2.5-flare", "option": "quality", "value": "max"}),
    ],
)
def test_a_page_of_another_site_changes_nothing(users: Users, path: str, body: Json) -> None:
    token = users.admin._http.headers["Authorization"].removeprefix("Bearer ")
    for cookie in ("invokeai_media_token", "auth_token"):
        sent = users.nobody.request("POST", path, json=body, headers={**FROM_PAGE, "Cookie": f"{cookie}={token}"})
        assert sent.status_code == 401
    # What a browser sends without asking first.
    text = httpx.Request("POST", "http://localhost/", json=body).content.decode()
    for media_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        headers = {**FROM_PAGE, "Content-Type": media_type}
        assert users.admin.request("POST", path, content=text, headers=headers).status_code == 403
    assert users.admin.request("POST", path, json=body).status_code == 403
    for site in ("cross-site", "same-site"):
        assert post(users.admin, path, body, **{"Sec-Fetch-Site": site}).status_code == 403
    asked = {"Origin": "https://other.example", "Access-Control-Request-Method": "POST"}
    asked["Access-Control-Request-Headers"] = "content-type,x-invokeai-external"
    preflight = users.nobody.request("OPTIONS", path, headers=asked)
    assert "Access-Control-Allow-Origin" not in preflight.headers
    assert spent(users.admin)["unconfirmed"]["calls"] == 3
    assert users.admin.get(SETTINGS)["previews"] == 0


def test_only_administrators_see_and_change_the_settings(users: Users) -> None:
    body = {"name": "previews", "value": 2}
    assert users.anna.request("GET", SETTINGS).status_code == 403
    assert post(users.anna, SETTINGS, body).status_code == 403
    assert post(users.nobody, SETTINGS, body).status_code == 401
    assert (users.admin.get(SETTINGS)["previews"], users.admin.get(SETTINGS)["look_ahead"]) == (0, True)
    for wrong in (
        {"name": "previews", "value": 9},
        {"name": "concurrency", "value": True},
        {"name": "look_ahead", "value": "no"},
        {"name": "strip_prompt_weights", "value": 1},
        {"name": "spending_record", "value": 0},
        {"name": "previews"},
    ):
        assert post(users.admin, SETTINGS, wrong).status_code == 422
    assert users.admin.get(SETTINGS)["previews"] == 0


def test_a_user_settles_their_own_and_an_administrator_all(users: Users) -> None:
    numbers = [run["id"] for run in users.admin.get("/v1/external/spending/runs", only="unconfirmed")["runs"]]
    assert post(users.nobody, SETTLE, {"charged": False, "calls": numbers}).status_code == 401
    assert post(users.anna, SETTLE, {"charged": True, "calls": numbers}).json() == {"settled": 1}
    assert spent(users.anna)["day"]["charged_usd"] == pytest.approx(0.09)
    assert spent(users.bob)["unconfirmed"]["calls"] == 1
    seen = spent(users.admin)["unconfirmed"]["up_to"]
    assert post(users.admin, SETTLE, {"charged": False, "up_to": seen}).json() == {"settled": 2}
    assert spent(users.bob)["unconfirmed"]["calls"] == 0
    assert post(users.admin, SETTLE, {"charged": False, "up_to": "all"}).status_code == 422


def test_in_two_hundred_requests_nobody_gets_through_the_walls(users: Users) -> None:
    chance = random.Random(13)
    # Those of the administrator and of the command line are not theirs to settle.
    now = time.time()
    others_runs = [call(now, state="unconfirmed", user="admin@example.com"), call(now, state="unconfirmed", host="cli")]
    fill(users.admin.root / SPENDING_FILE, others_runs)
    numbers = [run["id"] for run in users.admin.get("/v1/external/spending/runs", count=100)["runs"]]
    before = spent(users.admin), users.admin.get(SETTINGS)
    bodies: dict[str, Json] = {
        LIMITS: {"name": "total.day", "usd": 999},
        SETTLE: {"charged": True, "calls": numbers},
        SETTINGS: {"name": "previews", "value": 3},
        DEFAULTS: {"model": "openai/gpt-image-2.5-flare", "option": "quality", "value": "max"},
    }
    for _ in range(200):
        name = chance.choice(("anna", "bob", "nobody"))
        user: Invoke = getattr(users, name)
        path = chance.choice(
            ("spending", "spending/runs", "spending/charts", "limits", "settings", SETTLE, LIMITS, SETTINGS, DEFAULTS)
        )
        if path.startswith("/v1"):
            answer = post(user, path, bodies[path])
        else:
            parameters = {"before": chance.choice(numbers), "only": chance.choice(("all", "refused", "unconfirmed"))}
            answer = user.request("GET", f"/v1/external/{path}", params=parameters)
        others = {f"{other}@example.com" for other in ("admin", "anna", "bob") if other != name}
        assert not any(other in answer.text for other in others)
        if name == "nobody":
            assert answer.status_code == 401
        elif path in ("limits", "settings", LIMITS, SETTINGS, DEFAULTS):
            assert answer.status_code == 403
    assert (spent(users.admin), users.admin.get(SETTINGS)) == before


def test_a_run_is_on_the_page_with_its_image_for_its_owner_only(users: Users, sandbox: Sandbox) -> None:
    post(users.admin, LIMITS, {"name": "users.anna@example.com.day", "usd": None}).raise_for_status()
    [picture] = users.anna.run(workflow_graph(users.model, prompt="a private fox"))
    [hers, *_] = users.anna.get("/v1/external/spending/runs")["runs"]
    assert (hers["image"], hers["state"], hers["host"]) == (picture.name, "charged", "invoke")
    assert hers["cost_usd"] == pytest.approx(picture.metadata["external"]["cost_usd"])
    answer = users.admin.request("GET", "/v1/external/spending/runs")
    [same, *_] = answer.json()["runs"]
    assert (same["id"], same["image"], same["notices"]) == (hers["id"], None, [])
    assert "private fox" not in answer.text
    assert users.bob.get("/v1/external/spending/runs")["runs"][0]["id"] != hers["id"]


def test_refused_runs_are_on_the_page_of_their_user(users: Users) -> None:
    refused = call(time.time(), state="not_charged", error="budget_exceeded", user="bob@example.com")
    [number] = fill(users.admin.root / SPENDING_FILE, [refused])
    [shown, *_] = users.bob.get("/v1/external/spending/runs", only="refused")["runs"]
    assert (shown["id"], shown["is_refused"], shown["state"]) == (number, True, "not_charged")
    assert spent(users.bob)["refused_today"]["runs"] >= 1
    assert users.anna.get("/v1/external/spending/runs", only="refused")["runs"] == []
    assert spent(users.anna)["refused_today"]["runs"] == 0


def test_a_refused_run_names_the_page_and_succeeds_after_the_limit_is_raised_there(
    users: Users, sandbox: Sandbox
) -> None:
    post(users.admin, LIMITS, {"name": "users.bob@example.com.day", "usd": 0.04}).raise_for_status()
    failed = users.bob.failure(workflow_graph(users.model))
    assert "/external" in failed["error_message"]
    assert sandbox.calls() == []
    post(users.admin, LIMITS, {"name": "users.bob@example.com.day", "usd": 5}).raise_for_status()
    retried = users.bob.send("PUT", "/v1/queue/default/retry_items_by_id", json=[failed["item_id"]])
    assert retried["retried_item_ids"] == [failed["item_id"]]
    wait_for(lambda: users.bob.get("/v1/external/spending/runs")["runs"][0]["state"] == "charged")


def test_the_switches_hold_for_the_next_run_without_a_restart(users: Users, sandbox: Sandbox) -> None:
    for name, value in {"previews": 2, "look_ahead": False}.items():
        assert post(users.admin, SETTINGS, {"name": name, "value": value}).json()[name] == value
    users.anna.run(workflow_graph(users.model, prompt="with previews"))
    assert [call["json"]["partial_images"] for call in sandbox.calls()] == [2]
    post(users.admin, SETTINGS, {"name": "previews", "value": 0}).raise_for_status()
    sandbox.clear()
    most = []
    # Without look-ahead, one call at a time; with it, as many as may be in flight.
    for look_ahead, concurrency in ((False, 8), (True, 2)):
        post(users.admin, SETTINGS, {"name": "look_ahead", "value": look_ahead}).raise_for_status()
        post(users.admin, SETTINGS, {"name": "concurrency", "value": concurrency}).raise_for_status()
        sandbox.order("openai", "slow", times=4, seconds=2)
        items = [users.anna.enqueue(workflow_graph(users.model, prompt=f"{look_ahead} {n}")) for n in range(4)]
        seen = 0
        while any(users.anna.item(item)["status"] in ("pending", "in_progress") for item in items):
            seen = max(seen, sandbox.in_flight())
        most.append(seen)
    assert most == [1, 2]
    file = yaml.safe_load((users.admin.root / USER_FILE).read_text(encoding="utf-8"))
    assert file["settings"] == {"previews": 0, "look_ahead": True, "concurrency": 2}
    post(users.admin, SETTINGS, {"name": "concurrency", "value": 8}).raise_for_status()


def test_a_default_of_a_model_counts_for_what_the_panel_does_not_set(users: Users, sandbox: Sandbox) -> None:
    flare, banana = "openai/gpt-image-2.5-flare", "gemini/gemini-nano-banana-2.1"
    for wrong in (
        {"model": flare, "option": "quality", "value": "ultra"},
        {"model": flare, "option": "qualty", "value": "high"},
        {"model": "openai/nothing", "option": "quality", "value": "high"},
        {"model": flare, "option": "quality", "value": True},
    ):
        assert post(users.admin, DEFAULTS, wrong).status_code == 422
    assert post(users.anna, DEFAULTS, {"model": flare, "option": "quality", "value": "max"}).status_code == 403
    for model, option, value in (
        (flare, "quality", "xhigh"),
        (flare, "moderation", "low"),
        (banana, "thinking_level", "medium"),
    ):
        body = {"model": model, "option": option, "value": value}
        shown = {found["model"]: found for found in post(users.admin, DEFAULTS, body).json()["models"]}
        assert shown[model]["defaults"][option] == value
    # What the panel sends if nobody has touched its fields, and if somebody has chosen a quality.
    for quality, expected in (("auto", "xhigh"), ("low", "low")):
        sandbox.clear()
        [picture] = users.anna.run(panel_graph(users.model, quality=quality, background="auto"))
        [call] = sandbox.calls()
        assert (call["json"]["quality"], call["json"]["moderation"]) == (expected, "low")
        assert picture.metadata["external"]["options"]["quality"] == expected
    sandbox.clear()
    users.anna.run(panel_graph(users.admin.model(banana)))
    [call] = sandbox.calls()
    assert call["json"]["generationConfig"]["thinkingConfig"]["thinkingLevel"].lower() == "medium"
    for model, option in ((flare, "quality"), (flare, "moderation"), (banana, "thinking_level")):
        post(users.admin, DEFAULTS, {"model": model, "option": option, "value": None}).raise_for_status()
    file = yaml.safe_load((users.admin.root / USER_FILE).read_text(encoding="utf-8"))
    assert not file.get("models")


def test_an_image_that_the_gallery_cannot_save_is_counted_for_its_user(users: Users, sandbox: Sandbox) -> None:
    with blocked_gallery(users.admin):
        users.anna.failure(workflow_graph(users.model, prompt="a fox without a home"))
    found = [user.get("/v1/external/spending")["kept"] for user in (users.anna, users.bob, users.admin)]
    assert [shown and shown["images"] for shown in found] == [1, None, 1]
    # The same again gets it, and it is no longer counted.
    users.anna.run(workflow_graph(users.model, prompt="a fox without a home"))
    assert (users.anna.get("/v1/external/spending")["kept"], len(sandbox.calls())) == (None, 1)


def test_a_checked_key_is_shown_to_everybody_and_what_the_provider_said_to_administrators(users: Users) -> None:
    def checks(user: Invoke) -> dict[str, Json | None]:
        return {found["provider"]: found["check"] for found in user.get("/v1/external/status")["providers"]}

    # A key is checked when it is saved.
    assert wait_for(lambda: all(checks(users.admin).values()))
    users.admin.send("POST", "/v1/external/test/openai")
    for check in checks(users.admin).values():
        assert check
        assert check["ok"]
        assert check["message"]
    for check in checks(users.anna).values():
        assert check
        assert check["ok"]
        assert check["message"] is None


def test_a_single_user_sees_and_changes_everything(invoke: Invoke, sandbox: Sandbox) -> None:
    [picture] = invoke.run(workflow_graph(invoke.model("openai/gpt-image-2.5-flare")))
    shown = invoke.get("/v1/external/spending")
    assert shown["viewer"] == {"name": None, "is_admin": True}
    assert shown["spent"]["day"]["charged_usd"] >= picture.metadata["external"]["cost_usd"]
    assert invoke.get("/v1/external/spending/runs", count=1)["runs"][0]["image"] == picture.name
    assert post(invoke, SETTLE, {"charged": False, "calls": []}).json() == {"settled": 0}
    assert invoke.get(LIMITS)["users"] == []
    prices = {model["model"]: model for model in invoke.get("/v1/external/prices")}
    assert prices["openai/gpt-image-2.5-flare"]["usual_s"] > 0


def test_the_log_names_the_page_at_the_start(invoke: Invoke) -> None:
    assert wait_for(lambda: [line for line in invoke.log() if f"{invoke.url}/external" in line.text])


def test_the_log_says_at_the_start_where_to_set_a_missing_key(users: Users, invoke: Invoke) -> None:
    def says(started: Invoke) -> bool:
        """Beside the line that names our page."""
        log = [line.text for line in started.log()]
        places = [number for number, text in enumerate(log) if f"{started.url}/external" in text]
        return any("External Providers" in text for place in places for text in log[place : place + 4])

    # These users got their keys after the start.
    assert wait_for(lambda: says(users.admin))
    assert not says(invoke)
