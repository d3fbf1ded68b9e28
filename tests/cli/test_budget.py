"""Limits on the command line: what a run may cost, who pays, and what is asked at a terminal."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from invokeai_external import Registry
from invokeai_external.root_folder import SPENDING_FILE, USER_FILE

from ..support.programs import GEMINI, OPENAI

SQUARE = ("--size", "1024x1024", "--quality", "low")


@pytest.fixture
def generate(run: Any, out: Path, root: Path, sandbox_url: str) -> Any:
    """Runs ``generate`` with a provider that bills."""

    def generate_one(*arguments: object, model: str = OPENAI) -> Any:
        return run("generate", "a fox", "--model", model, "--out", out, *arguments)

    return generate_one


def configure(root: Path, text: str) -> None:
    (root / USER_FILE).write_text(text, encoding="utf-8")


def recorded(root: Path, *columns: str) -> list[tuple[Any, ...]]:
    if not (root / SPENDING_FILE).exists():
        return []
    with closing(sqlite3.connect(root / SPENDING_FILE)) as db:
        return db.execute(f"SELECT {', '.join(columns)} FROM calls WHERE sandbox = 0 ORDER BY id").fetchall()


def sent(sandbox_url: str) -> int:
    return len(httpx.get(f"{sandbox_url}/sandbox/requests").json()["requests"])


def test_a_run_is_recorded_with_its_tag(generate: Any, root: Path) -> None:
    configure(root, "settings: {tag: usual}")
    assert generate().code == 0
    assert generate("--tag", "client-a").code == 0
    assert recorded(root, "host", "tag", "state") == [("cli", "usual", "charged"), ("cli", "client-a", "charged")]
    assert generate("--tag", "a" * 101).code == 2


def test_a_run_that_could_cost_more_than_it_may_is_not_sent(generate: Any, root: Path, sandbox_url: str) -> None:
    refused = generate(*SQUARE, "-n", 2, "--max-cost", "0.01", "--json")
    assert refused.code == 2
    error = refused.json["error"]
    assert (error["code"], error["limit"], error["limit_usd"]) == ("budget_exceeded", "max_cost", 0.01)
    assert error["could_cost_usd"] > 0.01
    assert error["cheaper"] == "-n 1"
    assert sent(sandbox_url) == 0
    assert recorded(root, "id") == []
    assert generate(*SQUARE, "--max-cost", "0.1").code == 0


@pytest.mark.parametrize("amount", ["-1", "nan", "inf", "a lot"])
def test_an_amount_that_cannot_be_one(generate: Any, amount: str, sandbox_url: str) -> None:
    refused = generate("--max-cost", amount, "--json")
    assert (refused.code, refused.json["error"]["code"]) == (2, "usage")
    assert sent(sandbox_url) == 0


def test_a_limit_that_is_exceeded_says_all_about_it(generate: Any, root: Path, sandbox_url: str) -> None:
    configure(root, "budgets: {timezone: UTC, total: {day_usd: 0.008}}")
    assert generate(*SQUARE).code == 0
    refused = generate(*SQUARE, "-n", 2, "--json")
    error = refused.json["error"]
    assert (refused.code, error["code"], error["limit"]) == (2, "budget_exceeded", "total.day")
    assert error["limit_usd"] == 0.008
    assert 0 < error["used_usd"] < 0.008 < error["used_usd"] + error["could_cost_usd"]
    assert (error["unconfirmed_usd"], error["in_progress_usd"]) == (0, 0)
    assert error["resets_at"].endswith("T00:00:00+00:00")
    assert "invokeai-external budget set total.day AMOUNT" in error["hint"]
    assert sent(sandbox_url) == 1


def test_the_sandbox_never_counts(run: Any, out: Path, root: Path) -> None:
    configure(root, "budgets: {total: {day_usd: 0}, max_per_image_usd: 0}")
    made = run("generate", "a fox", "--model", OPENAI, "--out", out, "--sandbox", "--max-cost", 0)
    assert made.code == 0
    assert run("demo", "--out", out).code == 0
    assert recorded(root, "id") == []


UNKNOWN = "openai/gpt-image-9"


def test_an_unknown_price_where_a_limit_applies(generate: Any, root: Path, sandbox_url: str) -> None:
    assert generate("--dry-run", model=UNKNOWN).code == 0
    configure(root, "budgets: {total: {day_usd: 1}}")
    refused = generate(model=UNKNOWN)
    assert refused.code == 2
    assert "set budgets.unknown_price to allow" in refused.stderr
    assert sent(sandbox_url) == 0


@pytest.mark.parametrize(("answer", "limits", "is_made"), [("y", "", True), ("n", "", False), ("", "refuse", False)])
def test_an_unknown_price_is_asked_about_at_a_terminal(
    generate: Any,
    root: Path,
    sandbox_url: str,
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    limits: str,
    is_made: bool,
) -> None:
    configure(root, f"budgets: {{total: {{day_usd: 1}}, unknown_price: {limits or 'ask'}}}")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    questions: list[str] = []

    def confirm(question: str, **_: object) -> bool:
        questions.append(question)
        return answer == "y"

    monkeypatch.setattr("typer.confirm", confirm)
    result = generate(model=UNKNOWN)
    assert len(questions) == (0 if limits else 1)
    # What the question says is not said again.
    assert result.stderr.count("is not known") == (1 if limits else 0)
    assert sent(sandbox_url) == int(is_made)
    assert result.code in ((0, 1) if is_made else (2,))
    assert generate("--json", model=UNKNOWN).code == 2


def test_a_program_is_not_asked(generate: Any, root: Path, sandbox_url: str) -> None:
    configure(root, "budgets: {max_per_image_usd: 0.001}")
    refused = generate(*SQUARE, "--json", model=GEMINI)
    assert refused.json["error"]["limit"] == "max_per_image"
    assert "budget set max_per_image AMOUNT" in refused.json["error"]["hint"]


def test_a_limit_is_set_listed_and_removed(run: Any, generate: Any, root: Path) -> None:
    saved = run("budget", "set", "total.day", "5")
    assert (saved.code, "Saved total.day: $5.00, in" in saved.stderr) == (0, True)
    assert run("budget", "set", "total.day", "9.5", "--until", "2099-12-05").code == 0
    assert run("budget", "set", "users.default.month", "$2").code == 0
    assert run("budget", "set", "max_per_image", "0.5").code == 0
    made = generate(*SQUARE, "--json").json
    total, users = run("budget", "list", "--json").json["limits"]
    assert (total["name"], total["limit_usd"], total["until"]) == ("total.day", 9.5, "2099-12-05")
    assert total["used_usd"] == pytest.approx(made["cost_usd"])
    assert (users["name"], users["limit_usd"], users["used_usd"]) == ("users.default.month", 2, None)
    shown = run("budget", "list").stdout
    assert re.search(r"total\.day +\$9\.50 until 2099-12-05 +\$0\.00", shown)
    assert re.search(r"users\.default\.month +\$2\.00 +each user's own", shown)
    assert re.search(r"max_per_image +\$0\.50", shown)
    for name in ("total.day", "users.default.month", "max_per_image"):
        assert run("budget", "set", name, "off").code == 0
    assert not (root / USER_FILE).read_text(encoding="utf-8").strip()
    assert "invokeai-external budget set total.day 5" in run("budget", "list").stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("total.day", "much"),
        ("total.day", "-5"),
        ("total.day", "nan"),
        ("total.week", "5"),
        ("providers.opanai.day", "5"),
        ("total.day", "5", "--until", "tomorrow"),
        ("total.day", "5", "--until", "2020-01-01"),
        ("total.day", "off", "--until", "2099-01-01"),
        ("max_per_image", "5", "--until", "2099-01-01"),
    ],
)
def test_a_limit_that_is_not_valid_is_not_written(run: Any, root: Path, arguments: tuple[str, ...]) -> None:
    result = run("budget", "set", "--", *arguments) if "-5" in arguments else run("budget", "set", *arguments)
    assert result.code == 2
    assert "Error: " in result.stderr
    assert not (root / USER_FILE).exists()


def test_what_lines_cannot_change_is_printed_to_paste(run: Any, root: Path) -> None:
    configure(root, "budgets: {total: {month_usd: 60,\n  warn_at: 0.9}}\n")
    result = run("budget", "set", "total.day", "5")
    assert result.code == 2
    assert "budgets:\n" in result.stderr
    assert "    day_usd: 5" in result.stderr
    assert (root / USER_FILE).read_text(encoding="utf-8") == "budgets: {total: {month_usd: 60,\n  warn_at: 0.9}}\n"


def test_a_limit_on_a_model_that_ends_does_not_follow_it_by_itself(run: Any, generate: Any, root: Path) -> None:
    """``limit_not_moved`` is reported until the successor has a limit, too."""
    ending = next(model for model in Registry().models("openai") if model.lifecycle.status == "deprecated")
    successor = f"openai/{ending.lifecycle.successor}"
    saved = run("budget", "set", f"models.{ending.reference}.day", "3")
    warning = f"The limit on {ending.name} does not apply to its successor"
    assert warning in saved.stderr
    assert warning in run("budget", "list").stderr
    for model, is_reported in ((successor, True), (ending.reference, True), (GEMINI, False)):
        codes = [notice["code"] for notice in generate("--json", model=model).json["notices"]]
        assert ("limit_not_moved" in codes) is is_reported
    assert warning not in run("budget", "set", f"models.{successor}.month", "30").stderr
    assert "limit_not_moved" not in generate("--json", model=successor).stdout


@pytest.mark.parametrize("has_cost", [True, False])
def test_metadata_has_at_most_the_cost_of_the_image(run: Any, generate: Any, root: Path, has_cost: bool) -> None:
    configure(root, f"settings: {{metadata_cost: {str(has_cost).lower()}}}\nbudgets: {{total: {{day_usd: 0.0075}}}}\n")
    made = generate(*SQUARE, "--max-cost", "0.05", "--tag", "client-a", "--json").json
    assert made["cost_usd"] > 0
    assert "budget_warning" in [notice["code"] for notice in made["notices"]]
    recalled = run("recall", made["images"][0]["path"], "--json").json
    external = recalled["external"]
    assert external.get("cost_usd") == (made["cost_usd"] if has_cost else None)
    assert ("cost_from" in external) is has_cost
    assert not re.search("budget|limit|client-a|total.day|max_cost", json.dumps(recalled))


def test_after_a_run_it_says_what_today_comes_to(run: Any, generate: Any, root: Path, sandbox_url: str) -> None:
    first = generate(*SQUARE, "--json").json
    assert (first["today_usd"], first["day_limit_usd"]) == (first["cost_usd"], None)
    cost = first["cost_usd"]
    assert generate(*SQUARE).stderr.splitlines()[-1].endswith(f", ${cost:.4f}, today ${2 * cost:.4f}")
    run("budget", "set", "total.day", "5")
    assert generate(*SQUARE).stderr.splitlines()[-1].endswith(f", today ${3 * cost:.4f} of $5.00")
    httpx.post(f"{sandbox_url}/sandbox/faults", json={"provider": "openai", "fault": "gateway_timeout"})
    assert generate(*SQUARE).code == 1
    last = generate(*SQUARE).stderr.splitlines()[-1]
    assert re.search(r", today \$0\.0\d+ of \$5\.00, of it \$0\.0\d+ may have been charged$", last)
    run("budget", "set", "total.day", "off")
    assert generate(*SQUARE, "--json").json["today_usd"] == pytest.approx(5 * cost + 0.0064, abs=0.0001)


def test_a_run_of_the_sandbox_or_without_a_record_says_nothing_of_today(run: Any, generate: Any, root: Path) -> None:
    assert generate(*SQUARE).code == 0
    assert "today" not in generate(*SQUARE, "--sandbox").stderr
    assert "today_usd" not in generate(*SQUARE, "--sandbox", "--json").json
    configure(root, "settings: {spending_record: off}")
    assert "today_usd" not in generate(*SQUARE, "--json").json
    configure(root, "")
    (root / SPENDING_FILE).write_bytes(b"damaged" * 1000)
    result = generate(*SQUARE, "--json")
    assert result.code == 0
    assert "today_usd" not in result.json


def test_a_limit_that_is_not_there_is_not_removed(run: Any, root: Path) -> None:
    run("budget", "set", "total.day", "5")
    assert "Removed" in run("budget", "set", "total.day", "off").stderr
    again = run("budget", "set", "total.day", "off")
    assert again.code == 0
    assert "Removed" not in again.stderr


def test_a_name_that_is_wrong_names_no_line_of_a_file_that_was_not_written(run: Any, root: Path) -> None:
    refused = run("budget", "set", "providers.opnai.month", "4")
    assert refused.code == 2
    assert "openai?" in refused.stderr
    assert "line" not in refused.stderr
    configure(root, "settings: {concurency: 3}")
    assert "line 1" in run("budget", "set", "total.day", "4").stderr


def test_a_request_to_a_sandbox_counts_as_its_notice_says(generate: Any, root: Path, monkeypatch: Any) -> None:
    def made() -> tuple[str, int]:
        [about] = [each["message"] for each in generate("--json").json["notices"] if each["code"] == "sandbox"]
        return about, len(recorded(root, "id"))

    about, count = made()
    assert ("counts" in about, "cost nothing" in about, count) == (True, False, 1)
    monkeypatch.setenv("INVOKEAI_EXTERNAL_OPENAI_API_KEY", "sandbox")
    about, count = made()
    assert ("counts" in about, "cost nothing" in about, count) == (False, True, 1)


def test_the_sandbox_says_that_it_has_no_limits(generate: Any) -> None:
    assert "--max-cost" in generate("--sandbox", "--max-cost", "0.0001").stderr
