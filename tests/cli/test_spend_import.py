"""``spend import`` and ``spend check``: images that were made before the record, and the provider's bill."""

from __future__ import annotations

import datetime
import hashlib
import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from invokeai_external.images.metadata_files import embed
from invokeai_external.root_folder import SPENDING_FILE, USER_FILE
from invokeai_external.spending.amounts import NANO
from invokeai_external.spending.limits import Budget, Budgets
from invokeai_external.spending.record import SpendingRecord
from invokeai_external.spending.recorded_call import Payer, PlannedCall, Settlement
from invokeai_external.testing import png_of

COLOURS = ("red", "green", "blue")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    (folder / "deeper").mkdir(parents=True)
    return folder


def write(path: Path, colour: str = "red", **external: Any) -> Path:
    """An image that was made earlier."""
    known = {"provider": "openai", "model": "gpt-image-2", "created": "2026-10-05T12:00:00+00:00", **external}
    metadata = {"positive_prompt": "a fox", "external": known}
    path.write_bytes(embed(png_of(colour), metadata))
    return path


def counts(found: Any) -> tuple[int, int, float]:
    assert found.code == 0, found.stderr
    return found.json["imported"], found.json["known"], found.json["cost_usd"]


def test_each_image_is_imported_once_and_counts_against_no_limit(run: Any, root: Path, images: Path) -> None:
    (root / USER_FILE).write_text("settings: {record_prompts: true}", encoding="utf-8")
    write(images / "a.png", "red", cost_usd=0.04, cost_from="prices")
    write(images / "deeper" / "b.png", "green", cost_usd=0.05)
    (images / "copy of a.png").write_bytes((images / "a.png").read_bytes())
    assert counts(run("spend", "import", images, "--json")) == (2, 1, 0.09)
    assert counts(run("spend", "import", images, "--json")) == (0, 3, 0)
    found = run("spend", "--since", "2026-10", "--json").json
    assert found["totals"] == []
    assert [(each["id"], each["images"], each["charged_usd"]) for each in found["imported"]] == [
        ("2026-10-05", 2, 0.09)
    ]
    calls = run("spend", "show", "--json").json["calls"]
    assert [(call["imported"], call["state"], call["host"], call["prompt"]) for call in calls] == [
        (True, "charged", "import", "a fox")
    ] * 2
    with closing(SpendingRecord(root / SPENDING_FILE)) as record:
        call = PlannedCall(provider="openai", model="gpt-image-2", n=1, expected=1, at_most=NANO, basis="exact")
        assert record.reserve([call], Payer(), Budgets(total=Budget(day_usd=1, month_usd=1))).ids


def test_an_image_of_a_call_that_was_recorded_is_not_imported(run: Any, root: Path, images: Path) -> None:
    with closing(SpendingRecord(root / SPENDING_FILE)) as record:
        call = PlannedCall(provider="openai", model="gpt-image-2", n=1, expected=1, at_most=1, basis="exact")
        [number] = record.reserve([call], Payer(), Budgets()).ids
        record.settle(number, Settlement(state="charged", cost=1, images=1, request_id="req_1"))
    # What Invoke saves has other bytes than what arrived.
    write(images / "a.png", cost_usd=0.04, request_id="req_1")
    assert counts(run("spend", "import", images, "--json")) == (0, 1, 0)


def test_of_a_call_there_are_as_many_images_as_it_made(run: Any, root: Path, images: Path) -> None:
    for colour in COLOURS:
        write(images / f"{colour}.png", colour, cost_usd=0.01, request_id="req_1", images_in_call=2)
    assert counts(run("spend", "import", images, "--json")) == (2, 1, 0.02)


def test_images_without_a_cost_and_those_of_the_sandbox(run: Any, root: Path, images: Path) -> None:
    write(images / "a.png", "red")
    write(images / "b.png", "green", cost_usd=9, notices=[{"code": "sandbox", "message": "It cost nothing."}])
    (images / "c.png").write_bytes(png_of("blue"))
    (images / "d.png").write_bytes(b"not an image")
    found = run("spend", "import", images, "--json").json
    assert {name: found[name] for name in ("imported", "unknown_cost", "from_sandbox", "without_metadata")} == {
        "imported": 1,
        "unknown_cost": 1,
        "from_sandbox": 1,
        "without_metadata": 2,
    }
    [call] = run("spend", "show", "--json").json["calls"]
    assert (call["cost_usd"], call["prompt"]) == (None, None)
    assert run("spend", "show", call["id"]).code == 0


def test_the_metadata_beside_a_signed_image_counts(run: Any, root: Path, images: Path) -> None:
    data = png_of("red")
    (images / "a.png").write_bytes(data)
    beside = {
        "format": 1,
        "sha256": hashlib.sha256(data).hexdigest(),
        "metadata": {"external": {"provider": "openai", "model": "gpt-image-2", "cost_usd": 0.04}},
    }
    (images / "a.png.json").write_text(json.dumps(beside), encoding="utf-8")
    assert counts(run("spend", "import", images / "a.png", "--json")) == (1, 0, 0.04)


@pytest.mark.parametrize(
    "external",
    [
        {"cost_usd": "0.04", "created": 5, "size": {}, "options": [], "request_id": ["x"], "notices": 3},
        {"cost_usd": -1, "created": "yesterday", "images_in_call": -1},
        {"cost_usd": 1e300, "created": "0001-01-01T00:00:00"},
        {"cost_usd": True, "created": "9999-12-31T23:59:59-23:00", "notices": ["sandbox"]},
    ],
)
def test_metadata_may_hold_anything(run: Any, root: Path, images: Path, external: dict[str, Any]) -> None:
    write(images / "a.png", **external)
    assert counts(run("spend", "import", images, "--json")) == (1, 0, 0)
    [call] = run("spend", "show", "--json").json["calls"]
    assert call["day"] == datetime.date.fromtimestamp((images / "a.png").stat().st_mtime).isoformat()


def test_an_old_image_is_imported_once_too(run: Any, root: Path, images: Path) -> None:
    """Single calls are kept for 400 days, and imported ones for good."""
    write(images / "a.png", cost_usd=0.04, created="2021-05-05T12:00:00+00:00")
    assert counts(run("spend", "import", images, "--json")) == (1, 0, 0.04)
    assert run("spend", "show").code == 0
    assert counts(run("spend", "import", images, "--json")) == (0, 1, 0)


def test_an_image_that_may_be_in_the_sums_of_an_old_day_is_not_imported(run: Any, root: Path, images: Path) -> None:
    spent(root, 5, at="2024-05-05T12:00:00+00:00")
    # The single call is deleted, and its sum stays.
    assert run("spend", "show", "--json").json["calls"] == []
    write(images / "a.png", "red", cost_usd=0.05, created="2024-05-05T12:00:00+00:00")
    write(images / "b.png", "green", cost_usd=0.07, created="2024-05-04T12:00:00+00:00")
    assert counts(run("spend", "import", images, "--json")) == (1, 1, 0.07)


def test_what_is_not_there(run: Any, root: Path, tmp_path: Path) -> None:
    assert run("spend", "import", tmp_path / "nothing").code == 2
    assert list(root.iterdir()) == []
    refused = run("spend", "import", tmp_path, "--root", tmp_path / "mistyped")
    assert (refused.code, (tmp_path / "mistyped").exists()) == (2, False)


def spent(root: Path, cents: int, state: str = "charged", *, at: str = "2026-11-15T12:00:00+00:00") -> None:
    amount, now = cents * NANO // 100, datetime.datetime.fromisoformat(at).timestamp()
    with closing(SpendingRecord(root / SPENDING_FILE, clock=lambda: now)) as record:
        call = PlannedCall(provider="openai", model="gpt-image-2", n=1, expected=amount, at_most=amount, basis="exact")
        [number] = record.reserve([call], Payer(), Budgets(timezone="Europe/Berlin")).ids
        record.settle(number, Settlement(state=state, cost=amount if state == "charged" else None))  # type: ignore[arg-type]


def test_a_bill_is_compared_with_the_record(run: Any, root: Path, images: Path) -> None:
    spent(root, 4000)
    spent(root, 70, "unconfirmed")
    spent(root, 500, at="2026-12-15T12:00:00+00:00")
    # In Berlin it is December.
    spent(root, 60, at="2026-11-30T23:30:00+00:00")
    write(images / "a.png", cost_usd=0.04, created="2026-11-05T12:00:00+00:00")
    assert run("spend", "import", images).code == 0
    found = run("spend", "check", "openai", "2026-11", "41.20", "--json")
    assert found.code == 0
    assert found.json == {
        "provider": "openai",
        "month": "2026-11",
        "billed_usd": 41.2,
        "charged_usd": 40,
        "imported_usd": 0.04,
        "difference_usd": 1.16,
        "unconfirmed_usd": 0.7,
        "in_progress_usd": 0,
        "imported_of_unknown_cost": 0,
        "charged_by_utc_usd": 40.64,
        "record_begins": "2026-11-15",
    }
    assert run("spend", "check", "openai", "2026-11", "41.20").code == 0
    assert run("spend", "check", "OpenAI", "2026-11", "$40.04", "--json").json["difference_usd"] == 0
    assert run("spend", "check", "openai", "2026-11", "1", "--json").json["difference_usd"] == -39.04
    # It has a key, perhaps, and no call.
    assert run("spend", "check", "gemini", "2026-11", "1", "--json").json["charged_usd"] == 0


def test_a_bill_of_a_month_of_which_only_sums_are_left(run: Any, root: Path) -> None:
    spent(root, 500, at="2024-11-15T12:00:00+00:00")
    found = run("spend", "check", "openai", "2024-11", "6", "--json").json
    assert (found["charged_usd"], found["difference_usd"], found["charged_by_utc_usd"]) == (5, 1, None)
    assert run("spend", "check", "openai", "2024-11", "6").code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("opnai", "2026-11", "1"),
        ("openai", "2026-13", "1"),
        ("openai", "2026-11-05", "1"),
        ("openai", "9999-12", "1"),
        ("openai", "2026-11", "-1"),
        ("openai", "2026-11", "nan"),
        ("openai", "2026-11", "41,20"),
    ],
)
def test_a_bill_that_cannot_be_one(run: Any, root: Path, arguments: tuple[str, ...]) -> None:
    spent(root, 5)
    refused = run("spend", "check", "--json", "--", *arguments)
    assert (refused.code, refused.json["error"]["code"]) == (2, "usage")
