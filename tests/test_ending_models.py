"""From 30 days before a model ends, what of the user's uses it is named, with the successor and its price."""

from __future__ import annotations

import datetime
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from invokeai_external import Notice, Registry, load_settings
from invokeai_external.cli.entry_point import main
from invokeai_external.cli.invoke_database import saved_workflows
from invokeai_external.invoke.runtime import Runtime
from invokeai_external.service.uses_of_ending_models import ending_notices

from .support.fake_invoke import FakeInvoke

LAST = datetime.date(2026, 12, 1)
"""The last day of GPT Image 1.5 and GPT Image 1 Mini."""

BEFORE, AFTER = LAST - datetime.timedelta(days=31), LAST + datetime.timedelta(days=1)


def workflow(name: str, *models: str, category: str = "user") -> str:
    """A saved workflow with one node for each model, ``provider:id``."""
    nodes = [
        {"data": {"inputs": {"prompt": {"value": "x"}, "model": {"value": {"hash": f"external:{model}"}}}}}
        for model in models
    ]
    return json.dumps({"name": name, "meta": {"category": category}, "nodes": nodes})


def named(
    tmp_path: Path, day: datetime.date, *, file: str = "", workflows: list[str] | None = None, base_url: str = ""
) -> list[Notice]:
    (tmp_path / "invokeai_external.yaml").write_text(file, encoding="utf-8")
    url = {"INVOKEAI_EXTERNAL_OPENAI_API_KEY": "sk-x", "INVOKEAI_EXTERNAL_OPENAI_BASE_URL": base_url}
    settings = load_settings(tmp_path, url if base_url else {})
    return ending_notices(settings, Registry(settings.catalog, today=lambda: day), workflows or [], day)


@pytest.mark.parametrize(
    ("day", "codes"),
    [
        (BEFORE, []),
        (LAST - datetime.timedelta(days=30), ["model_deprecated"]),
        (LAST, ["model_deprecated"]),
        (AFTER, ["model_retired"]),
        (datetime.date(2030, 1, 1), ["model_retired"]),
    ],
)
@pytest.mark.parametrize(
    ("file", "workflows", "place"),
    [
        ("settings: {default_model: gpt-image-1.5}", [], "default_model"),
        ("settings: {default_model: chatgpt-image-latest}", [], "default_model"),
        ("models:\n  openai/gpt-image-1.5: {prices: {image_out: 9}}\n", [], "models:"),
        ("budgets: {models: {openai/gpt-image-1.5: {day_usd: 3}}}", [], "budgets:"),
        ("", [workflow("Cats", "openai:gpt-image-1.5", "openai:gpt-image-2")], "Cats"),
    ],
)
def test_each_place_is_named_from_30_days_before_the_end(
    day: datetime.date, codes: list[str], file: str, workflows: list[str], place: str, tmp_path: Path
) -> None:
    found = named(tmp_path, day, file=file, workflows=workflows)
    assert [notice.code for notice in found] == codes
    facts = (place, "GPT Image 1.5", "OpenAI", "2026-12-01", "GPT Image 2.5 Sunburst", "openai/gpt-image-2.5-sunburst")
    assert [fact for notice in found for fact in (*facts, "per image") if fact not in notice.message] == []


def test_what_nobody_uses_is_not_named(tmp_path: Path) -> None:
    file = "settings: {default_model: gpt-image-2}\nmodels:\n  openai/gpt-image-2.6-flare: {prices: {image_out: 9}}\n"
    workflows = [workflow("Dogs", "gemini:gemini-3-pro-image", "nobody:x", "openai:gpt-imge-2"), "?", "[]", "{}"]
    assert named(tmp_path, AFTER, file=file, workflows=workflows) == []
    # Invoke's own examples are not the user's.
    assert named(tmp_path, AFTER, workflows=[workflow("x", "openai:gpt-image-1.5", category="default")]) == []


def test_one_notice_names_all_places_and_those_that_have_ended_come_first(tmp_path: Path) -> None:
    workflows = [workflow(f"W{i}", "openai:gpt-image-1.5", "openai:gpt-image-1") for i in range(12)]
    ending, ended = "GPT Image 1.5", "GPT Image 1 "
    first, second = named(tmp_path, LAST, workflows=workflows)
    assert ((first.code, ended in first.message), (second.code, ending in second.message)) == (
        ("model_retired", True),
        ("model_deprecated", True),
    )
    assert second.message.count("the workflow") == 10
    assert "2 more" in second.message


def test_an_end_that_is_not_confirmed_says_so(tmp_path: Path) -> None:
    (notice,) = named(tmp_path, AFTER, workflows=[workflow("x", "gemini:gemini-3.1-flash-image")])
    assert (notice.code, "reported as" in notice.message) == ("model_deprecated", True)


def test_a_date_in_the_users_file_counts(tmp_path: Path) -> None:
    file = "models:\n  openai/gpt-image-1.5: {lifecycle: {status: active}}\n"
    assert named(tmp_path, AFTER, file=file, workflows=[workflow("x", "openai:gpt-image-1.5")]) == []


@pytest.mark.parametrize(
    ("base_url", "is_own"),
    [
        ("", True),
        ("https://api.openai.com/v1", True),
        ("https://eu.api.openai.com/v1", True),
        ("https://res.openai.azure.com/openai/v1", False),
        ("https://api.openai.com.example/v1", False),
        ("https://[bad/v1", False),
    ],
)
def test_the_dates_are_those_of_the_providers_own_server(base_url: str, is_own: bool, tmp_path: Path) -> None:
    found = named(tmp_path, AFTER, workflows=[workflow("x", "openai:gpt-image-1.5")], base_url=base_url)
    assert bool(found) == is_own


def test_a_workflow_with_a_model_of_another_provider_is_named(tmp_path: Path) -> None:
    """Invoke's page knows it as a model of OpenAI."""
    day = datetime.date(2026, 12, 10)
    (notice,) = named(tmp_path, day, workflows=[workflow("Cats", "openai:azure/gpt-image-1.5")])
    assert (notice.code, "Azure OpenAI" in notice.message, "2026-12-16" in notice.message) == (
        "model_deprecated",
        True,
        True,
    )


def test_the_name_of_a_workflow_is_made_fit_to_be_shown(tmp_path: Path) -> None:
    (notice,) = named(tmp_path, AFTER, workflows=[workflow("a\x1b[31m\u202eb" + "c" * 500, "openai:gpt-image-1.5")])
    assert "\x1b" not in notice.message
    assert "\u202e" not in notice.message
    assert len(notice.message) < 400


# On the command line and in Invoke.


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with a default model that ends, and a workflow in Invoke's database."""
    (tmp_path / "invokeai.yaml").write_text("schema_version: 4.0.2\n", encoding="utf-8")
    (tmp_path / "invokeai_external.yaml").write_text("settings: {default_model: gpt-image-1-mini}", encoding="utf-8")
    (tmp_path / "databases").mkdir()
    with closing(sqlite3.connect(tmp_path / "databases" / "invokeai.db")) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE workflow_library (workflow_id TEXT, workflow TEXT)")
        database.execute("INSERT INTO workflow_library VALUES ('1', ?)", (workflow("Cats", "openai:gpt-image-1.5"),))
        database.commit()
    return tmp_path


@pytest.mark.parametrize(("day", "word"), [(LAST, "ok"), (AFTER, "WRONG")])
def test_the_doctor_names_what_uses_them(
    day: datetime.date, word: str, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("invokeai_external.clock.utc_today", lambda: day)
    main(["doctor", "--root", str(root)])
    lines = " ".join(capsys.readouterr().out.split())
    for name, place in (("GPT Image 1 Mini", "default_model"), ("GPT Image 1.5", "the workflow Cats")):
        assert f"{word} {name} w" in lines
        assert place in lines


def test_models_names_what_uses_them_beside_the_list(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(day: datetime.date) -> tuple[list[Any], str]:
        monkeypatch.setattr("invokeai_external.clock.utc_today", lambda: day)
        assert main(["models", "--json", "--root", str(root)]) == 0
        printed = capsys.readouterr()
        return json.loads(printed.out), " ".join(printed.err.split())

    assert said(BEFORE)[1] == ""
    listed, notes = said(LAST)
    assert listed
    assert [fact for fact in ("Cats", "default_model", "GPT Image 2 ") if fact not in notes] == []


@pytest.mark.parametrize("broken", [b"", b"no database", None])
def test_a_database_that_cannot_be_read_hides_nothing_else(
    broken: bytes | None, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("invokeai_external.clock.utc_today", lambda: AFTER)
    for file in (root / "databases").iterdir():
        file.unlink()
    if broken is not None:
        (root / "databases" / "invokeai.db").write_bytes(broken)
    assert main(["models", "--root", str(root)]) == 0
    assert "default_model" in capsys.readouterr().err


def test_invokes_start_names_what_uses_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("invokeai_external.clock.utc_today", lambda: AFTER)
    host = FakeInvoke(tmp_path)
    host.workflows = [workflow("Cats", "openai:gpt-image-1.5"), json.dumps({"name": "other"})]
    runtime = Runtime(host)
    try:
        (notice,) = runtime.ending_models()
    finally:
        runtime.close()
    assert notice.code == "model_retired"
    assert "the workflow Cats" in notice.message


def test_the_successor_in_a_notice_and_an_error_has_its_name() -> None:
    life = Registry(today=lambda: AFTER).resolve("gpt-image-1.5").model.lifecycle
    assert life.instead == " Use GPT Image 2.5 Sunburst (gpt-image-2.5-sunburst) instead."


def test_a_view_in_the_place_of_the_workflows_is_not_read(root: Path) -> None:
    with closing(sqlite3.connect(root / "databases" / "invokeai.db")) as database:
        database.execute("ALTER TABLE workflow_library RENAME TO others")
        database.execute("CREATE VIEW workflow_library AS SELECT * FROM others")
        database.commit()
    assert saved_workflows(root, "gpt-image-1.5") == []
    with closing(sqlite3.connect(root / "databases" / "invokeai.db")) as database:
        database.execute("DROP VIEW workflow_library")
        database.execute("ALTER TABLE others RENAME TO workflow_library")
    assert len(saved_workflows(root, "gpt-image-1.5")) == 1
