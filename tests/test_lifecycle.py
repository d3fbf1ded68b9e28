"""The status of a model depends on the date: it is available on its last day and retired on the day after."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import anyio
import pytest
from starlette.testclient import TestClient

from invokeai_external import GenerationRequest, Registry, Service, load_settings
from invokeai_external.cli.entry_point import main
from invokeai_external.errors import ModelRetiredError
from invokeai_external.providers.lifecycle import Lifecycle
from invokeai_external.sandbox import create_app
from invokeai_external.sizing import Size

from .support.servers import SandboxServer

LAST = datetime.date(2026, 12, 1)
"""The last day of GPT Image 1.5 and GPT Image 1 Mini."""

AFTER = datetime.date(2026, 12, 2)
ENDING = ("gpt-image-1.5", "gpt-image-1-mini")


def registry(day: datetime.date, tmp_path: Path | None = None, models: str = "") -> Registry:
    """The models on a day, merged with the user's own."""
    if tmp_path is None:
        return Registry(today=lambda: day)
    (tmp_path / "invokeai_external.yaml").write_text(f"models:\n{models}", encoding="utf-8")
    return Registry(load_settings(tmp_path, {}).catalog, today=lambda: day)


def service(day: datetime.date, tmp_path: Path) -> Service:
    """The sandbox on a day."""
    return Service(load_settings(tmp_path, {}), sandbox=True, today=lambda: day)


@pytest.mark.parametrize(
    ("fields", "on_the_last_day", "after"),
    [
        ({}, "active", "active"),
        ({"shutdown": LAST}, "deprecated", "retired"),
        ({"shutdown": LAST, "shutdown_confirmed": False}, "deprecated", "deprecated"),
        ({"status": "deprecated"}, "deprecated", "deprecated"),
        ({"status": "deprecated", "shutdown": LAST}, "deprecated", "retired"),
        ({"status": "active", "shutdown": LAST}, "active", "active"),
        ({"status": "retired"}, "retired", "retired"),
    ],
)
def test_the_status_on_a_day(fields: dict[str, Any], on_the_last_day: str, after: str) -> None:
    life = Lifecycle(**fields)
    assert (life.status_on(LAST), life.status_on(AFTER)) == (on_the_last_day, after)


def test_two_models_of_the_catalogue_are_retired_on_the_day_after_their_last() -> None:
    statuses = {
        day: {m.id: m.lifecycle.status for m in registry(day).models("openai") if m.id in ENDING}
        for day in (LAST, AFTER)
    }
    assert statuses == {LAST: dict.fromkeys(ENDING, "deprecated"), AFTER: dict.fromkeys(ENDING, "retired")}


def test_a_model_is_never_retired_by_a_date_that_is_not_confirmed() -> None:
    on = {m.id: m.lifecycle.status for m in registry(datetime.date(2040, 1, 1)).models("gemini")}
    unconfirmed = {
        *("gemini-3.1-flash-image", "gemini-2.5-flash-image"),
        *("gemini-3-pro-image-preview", "gemini-3.1-flash-image-preview"),
    }
    assert {name for name, status in on.items() if status == "deprecated"} == unconfirmed
    assert "retired" not in on.values()


def test_the_date_may_change_while_a_registry_is_in_use() -> None:
    days = [LAST]
    used = Registry(today=lambda: days[-1])
    assert used.resolve("gpt-image-1.5").model.lifecycle.status == "deprecated"
    days.append(AFTER)
    assert used.resolve("gpt-image-1.5").model.lifecycle.status == "retired"
    # A dated snapshot is retired with its model.
    assert used.resolve("gpt-image-1.5-2025-12-16").model.lifecycle.status == "retired"


@pytest.mark.parametrize(
    ("fields", "status", "shutdown"),
    [
        # A status in the user's file overrides the date in the catalogue.
        ("{status: active}", "active", None),
        ("{status: deprecated}", "deprecated", None),
        ("{shutdown: 2027-01-31}", "deprecated", datetime.date(2027, 1, 31)),
        ("{status: deprecated, shutdown: 2026-11-30}", "retired", datetime.date(2026, 11, 30)),
        ("{shutdown_confirmed: false}", "deprecated", LAST),
        ("{successor: gpt-image-2}", "retired", LAST),
    ],
)
def test_the_users_lifecycle_overrides_the_catalogues(
    fields: str, status: str, shutdown: datetime.date | None, tmp_path: Path
) -> None:
    found = registry(AFTER, tmp_path, f"  openai/gpt-image-1.5:\n    lifecycle: {fields}\n")
    life = found.resolve("gpt-image-1.5").model.lifecycle
    assert (life.status, life.shutdown) == (status, shutdown)


def test_a_date_in_the_users_file_is_confirmed(tmp_path: Path) -> None:
    found = registry(AFTER, tmp_path, "  gemini/gemini-3.1-flash-image:\n    lifecycle: {shutdown: 2026-12-01}\n")
    assert found.resolve("gemini-3.1-flash-image").model.lifecycle.status == "retired"


def test_the_successor_of_a_model_does_not_end_if_another_one_can_follow(tmp_path: Path) -> None:
    chain = """
  openai/gpt-image-1: {lifecycle: {successor: gpt-image-1.5}}
  openai/gpt-image-1.5: {lifecycle: {successor: gpt-image-1-mini}}
  openai/dall-e-2: {lifecycle: {successor: dall-e-3}}
  openai/dall-e-3: {lifecycle: {successor: dall-e-2}}
"""
    successors = {
        day: {m.id: m.lifecycle.successor for m in registry(day, tmp_path, chain).models("openai")}
        for day in (LAST, AFTER)
    }
    assert successors[LAST]["gpt-image-1"] == "gpt-image-2"
    assert successors[AFTER]["gpt-image-1"] == "gpt-image-2"
    # Two retired models that name each other have no successor.
    assert successors[LAST]["dall-e-2"] is successors[LAST]["dall-e-3"] is None


def test_if_all_successors_end_the_first_one_is_named(tmp_path: Path) -> None:
    circle = """
  openai/gpt-image-1: {lifecycle: {successor: gpt-image-1.5}}
  openai/gpt-image-1.5: {lifecycle: {successor: gpt-image-1-mini}}
  openai/gpt-image-1-mini: {lifecycle: {successor: gpt-image-1}}
"""
    for day, named in ((LAST, "gpt-image-1.5"), (AFTER, None)):
        found = registry(day, tmp_path, circle).resolve("openai/gpt-image-1").model
        assert found.lifecycle.successor == named


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"status": "retired", "shutdown": LAST}, f"was retired by P after {LAST}"),
        ({"status": "retired"}, "was retired by P"),
        ({"status": "deprecated", "shutdown": LAST}, f"will be retired by P after {LAST}"),
        ({"status": "deprecated"}, "will be retired by P on a date that is not known"),
        (
            {"status": "deprecated", "shutdown": LAST, "shutdown_confirmed": False},
            f"is deprecated: its last day at P is reported as {LAST}",
        ),
    ],
)
def test_the_end_of_a_model_has_one_wording(fields: dict[str, Any], says: str) -> None:
    assert Lifecycle(**fields).ending("P") == says


def test_no_successor_in_the_catalogue_is_retired() -> None:
    found = {model.id: model for model in registry(AFTER).models()}
    named = [model.lifecycle.successor for model in found.values() if model.lifecycle.successor]
    assert {found[name].lifecycle.status for name in named} == {"active"}
    assert found["gpt-image-1.5"].lifecycle.successor == "gpt-image-2.5-sunburst"


def test_the_default_is_not_retired(tmp_path: Path) -> None:
    newest = "  openai/gpt-image-2.6-sunburst: {lifecycle: {shutdown: 2026-12-01}}\n"
    assert [registry(day, tmp_path, newest).default_model(["openai"]).id for day in (LAST, AFTER)] == [
        *("gpt-image-2.6-flare", "gpt-image-2.6-flare")
    ]
    every = "".join(
        f"  {model.reference}: {{lifecycle: {{shutdown: 2026-12-01}}}}\n" for model in registry(LAST).models("openai")
    )
    assert registry(AFTER, tmp_path, every).default_model(["openai"]).id == "gpt-image-2.6-sunburst"


@pytest.mark.parametrize("model", ENDING)
def test_a_retired_model_has_a_notice_and_is_planned(model: str, tmp_path: Path) -> None:
    request = GenerationRequest(prompt="a fox", model=model, size=Size(1024, 1024), options={"quality": "low"})
    plans = [service(day, tmp_path).plan(request) for day in (LAST, AFTER)]
    assert [[notice.code for notice in plan.notices] for plan in plans] == [["model_deprecated"], ["model_retired"]]
    assert [len(plan.calls) for plan in plans] == [1, 1]


def test_the_sandbox_offers_a_model_until_the_end_of_its_last_day(tmp_path: Path) -> None:
    async def make(day: datetime.date) -> str:
        async with service(day, tmp_path) as used:
            return (await used.generate(GenerationRequest(prompt="a fox", model="gpt-image-1.5"))).model

    assert anyio.run(make, LAST) == "gpt-image-1.5"
    with pytest.raises(ModelRetiredError, match=r"gpt-image-2\.5-sunburst"):
        anyio.run(make, AFTER)


def test_the_sandboxs_list_of_models_depends_on_the_date() -> None:
    def listed(day: datetime.date, *, serve_retired: bool = False) -> set[str]:
        app = create_app(today=lambda: day, serve_retired=serve_retired)
        with TestClient(app, headers={"Authorization": "Bearer sk-test"}) as client:
            return {model["id"] for model in client.get("/openai/v1/models").json()["data"]}

    assert listed(LAST) - listed(AFTER) == {*ENDING, "chatgpt-image-latest"}
    assert listed(AFTER, serve_retired=True) >= set(ENDING)


def test_a_connection_test_does_not_report_retired_models_as_missing(tmp_path: Path) -> None:
    async def missing(url: str, day: datetime.date) -> set[str]:
        environ = {
            "INVOKEAI_EXTERNAL_OPENAI_API_KEY": "sk-test",
            "INVOKEAI_EXTERNAL_OPENAI_BASE_URL": f"{url}/openai/v1",
        }
        async with Service(load_settings(tmp_path, environ), today=lambda: day) as used:
            return set((await used.check_connection("openai")).missing)

    with SandboxServer(create_app(today=lambda: AFTER)) as server:
        assert anyio.run(missing, server.url, LAST) == set(ENDING)
        assert anyio.run(missing, server.url, AFTER) == set()


def test_the_listing_on_a_day(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def listed(day: datetime.date, *more: str) -> dict[str, str]:
        monkeypatch.setattr("invokeai_external.clock.utc_today", lambda: day)
        assert main(["models", "--provider", "openai", "--json", *more]) == 0
        return {model["id"]: model["lifecycle"]["status"] for model in json.loads(capsys.readouterr().out)}

    assert listed(LAST).keys() - listed(AFTER).keys() == set(ENDING)
    assert {listed(AFTER, "--all")[name] for name in ENDING} == {"retired"}


def test_todays_date_is_in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    from invokeai_external import clock

    before = datetime.datetime.now(datetime.UTC).date()
    assert before <= clock.utc_today() <= datetime.datetime.now(datetime.UTC).date()
