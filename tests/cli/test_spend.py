"""``spend``: what the record has, as a table, JSON and CSV; single calls; calls that may have been charged."""

from __future__ import annotations

import csv
import io
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, get_args

import pytest

from invokeai_external.cli.spend_app import SpendBy
from invokeai_external.root_folder import SPENDING_FILE, USER_FILE
from invokeai_external.spending.amounts import NANO
from invokeai_external.spending.limits import Budgets
from invokeai_external.spending.record import SpendingRecord
from invokeai_external.spending.recorded_call import Payer, PlannedCall, Settlement, State
from invokeai_external.spending.reports import By

Make = Callable[..., int]


@pytest.fixture
def make(root: Path) -> Make:
    """Records a call: what it was expected to cost in cents, what became of it, and what it cost."""

    def make(
        expected: int | None = 40,
        state: State = "charged",
        cost: int | None = None,
        *,
        error: str | None = None,
        sandbox: bool = False,
        model: str = "gpt-image-2",
        **payer: str | None,
    ) -> int:
        amount = None if expected is None else expected * NANO // 100
        planned = PlannedCall(
            provider="openai", model=model, n=1, expected=amount, at_most=amount and amount * 2, basis="bounded"
        )
        with closing(SpendingRecord(root / SPENDING_FILE)) as record:
            [number] = record.reserve([planned], Payer(**payer), Budgets(), sandbox=sandbox).ids  # type: ignore[arg-type]
            if state == "charged":
                paid = (cost if cost is not None else expected or 0) * NANO // 100
                record.settle(number, Settlement(state=state, cost=paid, cost_from="prices", images=1))
            else:
                record.settle(number, Settlement(state=state, error=error))
        return number

    return make


def test_a_record_that_another_program_holds_is_shown(
    run: Any, root: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(40, cost=50)
    monkeypatch.setattr("invokeai_external.spending.record.SOON_S", 0.1)
    with closing(sqlite3.connect(root / SPENDING_FILE, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert len(run("spend", "show", "--json").json["calls"]) == 1
        assert run("spend", "--json").json["totals"]


def test_totals_as_json(run: Any, make: Make) -> None:
    make(40, cost=50, tag="client-a")
    make(10, "unconfirmed", error="timed_out")
    make(None, "unconfirmed")
    make(70, sandbox=True)
    found = run("spend", "--by", "tag", "--json")
    assert found.code == 0
    assert [(each["name"], each["calls"], each["charged_usd"]) for each in found.json["totals"]] == [
        ("client-a", 1, 0.5),
        (None, 2, 0),
    ]
    total = found.json["total"]
    assert (total["images"], total["unconfirmed_usd"], total["expected_usd"], total["compared_usd"]) == (
        1,
        0.2,
        0.4,
        0.5,
    )
    assert found.json["unconfirmed"] == {"calls": 2, "failed": 1, "at_most_usd": 0.2, "of_unknown_price": 1}
    assert [each["charged_usd"] for each in found.json["sandbox"]] == [0.7]


def test_the_columns_of_csv_stay(run: Any, make: Make) -> None:
    make(1, cost=1, board_id="b1", board="=1+1")
    assert run("spend", "--by", "board", "--csv").stdout.splitlines() == [
        "kind,by,id,name,calls,images,charged_usd,unconfirmed_usd,in_progress_usd,expected_usd,compared_usd",
        # A spreadsheet would calculate the name.
        "paid,board,b1,'=1+1,1,1,0.010000000,0.000000000,0.000000000,0.010000000,0.010000000",
    ]
    output = run("spend", "show", "--csv").stdout
    assert output.splitlines()[0] == (
        "id,state,started_at,settled_at,day,provider,model,tier,size,quality,n,images,expected_usd,at_most_usd,basis,"
        "prices_of,cost_usd,cost_from,computed_usd,input_text_tokens,input_image_tokens,output_text_tokens,"
        "output_image_tokens,total_tokens,request_id,error,host,user,board_id,board,tag,sandbox,imported,prompt,"
        "image_hashes"
    )
    [row] = csv.DictReader(io.StringIO(output))
    assert [row[name] for name in ("state", "cost_usd", "board", "sandbox")] == ["charged", "0.010000000", "'=1+1", "0"]


def test_the_table_has_a_line_for_each_and_a_bar(run: Any, make: Make) -> None:
    make(60)
    make(20, model="gpt-image-1.5")
    _, headings, first, second, total, *_ = map(_words, run("spend", "--by", "model").stdout.splitlines())
    assert headings == "Model Images Calls Charged May have been charged In progress Estimates"
    assert first == f"openai/gpt-image-2 1 1 $0.60 - - +0% {'█' * 24}"
    assert second == f"openai/gpt-image-1.5 1 1 $0.20 - - +0% {'█' * 8}"
    assert total == "total 2 2 $0.80 - - +0%"


def _words(line: str) -> str:
    return " ".join(line.split())


@pytest.mark.parametrize("name", ["[/red]", ":fox:", "[bold]x", "\x1b[31m"])
def test_a_board_may_have_any_name(run: Any, make: Make, name: str) -> None:
    make(board_id="b1", board=name)
    shown = run("spend", "--by", "board")
    assert (shown.code, name.replace("\x1b", "") in shown.stdout) == (0, True)


@pytest.mark.parametrize("by", get_args(SpendBy))
def test_without_a_record_and_with_an_empty_one(run: Any, root: Path, by: str) -> None:
    assert run("spend", "--by", by).code == 0
    assert run("spend", "--by", by, "--json").json["totals"] == []
    # Nothing was created.
    assert list(root.iterdir()) == []
    SpendingRecord(root / SPENDING_FILE).release_ended()
    assert run("spend", "--by", by, "--json").json["totals"] == []
    assert run("spend", "show").code == 0


def test_what_totals_can_be_grouped_by() -> None:
    assert get_args(SpendBy) == get_args(By)


def test_only_since_a_day(run: Any, make: Make) -> None:
    make()
    assert run("spend", "--since", "2999-01", "--json").json["totals"] == []
    assert len(run("spend", "--since", "2001-01-31", "--json").json["totals"]) == 1
    refused = run("spend", "--since", "yesterday", "--json")
    assert (refused.code, refused.json["error"]["code"]) == (2, "usage")


def test_one_call_and_the_newest(run: Any, make: Make) -> None:
    numbers = [make(tag="client-a"), make(10, "not_charged", error="content_blocked")]
    found = run("spend", "show", numbers[0], "--json").json
    assert (found["id"], found["tag"], found["cost_usd"], found["at_most_usd"]) == (numbers[0], "client-a", 0.4, 0.8)
    assert run("spend", "show", numbers[0]).code == 0
    assert [call["id"] for call in run("spend", "show", "--json").json["calls"]] == numbers[::-1]
    assert [call["id"] for call in run("spend", "show", "--last", 1, "--json").json["calls"]] == numbers[1:]


@pytest.mark.parametrize("number", [99, 0, 2**63])
def test_a_call_that_is_not_there(run: Any, make: Make, number: int) -> None:
    make(10, "unconfirmed")
    for arguments in [("show", number), ("confirm", number, "--charged")]:
        refused = run("spend", *arguments, "--json")
        assert (refused.code, refused.json["error"]["code"]) == (2, "usage")


def test_calls_that_may_have_been_charged_are_settled(run: Any, make: Make) -> None:
    first, second, unknown = make(10, "unconfirmed"), make(20, "unconfirmed"), make(None, "unconfirmed")
    assert [call["id"] for call in run("spend", "confirm", "--json").json["calls"]] == [unknown, second, first]
    assert run("spend", "confirm").code == 0
    settled = run("spend", "confirm", first, "--charged", "--json")
    assert settled.json == {"settled": [first], "charged": True, "amount_usd": 0.2}
    assert run("spend", "confirm", "--all", "--not-charged", "--json").json == {
        "settled": [unknown, second],
        "charged": False,
        "amount_usd": 0,
    }
    total = run("spend", "--json").json["total"]
    assert (total["charged_usd"], total["unconfirmed_usd"]) == (0.2, 0)


def test_no_call_is_settled_if_one_cannot_be(run: Any, make: Make) -> None:
    first, second = make(10, "unconfirmed"), make(20)
    refused = run("spend", "confirm", first, second, "--charged", "--json")
    assert (refused.code, refused.json["error"]["code"]) == (2, "usage")
    assert run("spend", "show", first, "--json").json["state"] == "unconfirmed"


@pytest.mark.parametrize("arguments", [("1",), ("--all",), ("--charged",), ("1", "--all", "--charged")])
def test_a_choice_that_is_not_complete(run: Any, make: Make, arguments: tuple[str, ...]) -> None:
    make(10, "unconfirmed")
    refused = run("spend", "confirm", *arguments, "--json")
    assert (refused.code, refused.json["error"]["code"]) == (2, "usage")


@pytest.mark.parametrize("arguments", [(), ("show",), ("show", "1"), ("confirm",), ("confirm", "--all", "--charged")])
def test_a_broken_record_is_an_error(run: Any, root: Path, arguments: tuple[str, ...]) -> None:
    (root / SPENDING_FILE).write_bytes(b"no database" * 500)
    refused = run("spend", *arguments, "--json")
    assert (refused.code, refused.json["error"]["code"]) == (2, "spending_record")


@pytest.mark.parametrize(
    "arguments", [(), ("--by", "model", "--csv"), ("show",), ("show", "1"), ("show", "--csv"), ("show", "--json")]
)
def test_a_damaged_record_is_an_error(run: Any, root: Path, make: Make, arguments: tuple[str, ...]) -> None:
    make()
    with closing(sqlite3.connect(root / SPENDING_FILE)) as db, db:
        db.execute("UPDATE calls SET state = '\x1b[2Jodd', cost = 'x', started_at = 'y'")
        db.execute("UPDATE sums SET charged = 9e999")
    refused = run("spend", *arguments)
    assert refused.code == 2
    assert "data restore" in refused.stdout + refused.stderr
    assert "\x1b" not in refused.stdout + refused.stderr


def test_no_foreign_word_acts_on_a_terminal(run: Any, make: Make) -> None:
    make(10, "unconfirmed", tag="\x1b[31m\u202eevil\r\nSaved: x", user="\x9b2J", board="\x1b]0;t\x07", board_id="b")
    for by in ("tag", "user", "board"):
        for arguments in [(), ("--csv",)]:
            shown = run("spend", "--by", by, *arguments).stdout
            assert not {"\x1b", "\x9b", "\x07", "\r", "\u202e"} & {*shown}
    for arguments in [("show",), ("show", "1"), ("confirm",)]:
        shown = run("spend", *arguments).stdout
        assert not any(line.startswith("Saved") for line in shown.splitlines())
    assert "\x1b" not in run("spend", "show", "--csv").stdout


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(("show",), 0), (("show", "1"), 2), (("confirm",), 0), (("confirm", "--all", "--charged"), 2)],
)
def test_without_a_record_there_is_no_call(run: Any, root: Path, arguments: tuple[str, ...], code: int) -> None:
    assert run("spend", *arguments).code == code
    assert list(root.iterdir()) == []


def test_a_record_that_is_off(run: Any, root: Path) -> None:
    (root / USER_FILE).write_text("settings: {spending_record: off}", encoding="utf-8")
    assert run("spend").code == 2


def test_csv_and_json_cannot_be_combined(run: Any, make: Make) -> None:
    make()
    assert run("spend", "--csv", "--json").code == 2
    assert run("spend", "show", "--csv", "--json").code == 2


def test_a_call_that_you_cancelled_did_not_fail(run: Any, make: Make) -> None:
    make(10, "unconfirmed", error="cancelled")
    assert run("spend", "--json").json["unconfirmed"]["failed"] == 0
    assert "failed" not in run("spend").stdout
