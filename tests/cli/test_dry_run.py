"""``generate --dry-run``: what it shows, and that it sends nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from invokeai_external.adapters.openai_images import OpenAIImagesAdapter
from invokeai_external.planning.plan import MASK_SENTENCE
from invokeai_external.root_folder import SPENDING_FILE, USER_FILE
from invokeai_external.transport.messages import HttpRequest

from ..support.programs import GEMINI, OPENAI, image_file


def test_dry_run_shows_the_text_sent_with_a_mask(run: Any, out: Path, tmp_path: Path) -> None:
    base, mask = image_file(tmp_path / "base.png"), image_file(tmp_path / "mask.png", mode="L")
    arguments = ("generate", "a hat", "--model", GEMINI, "--init", base, "--mask", mask, "--dry-run", "--json")
    *images, sentence, prompt = run(*arguments).json["requests"][0]["json"]["contents"][0]["parts"]
    assert [list(part) for part in images] == [["inlineData"]] * 2
    assert (sentence, prompt) == ({"text": MASK_SENTENCE}, {"text": "a hat"})


def test_dry_run_shows_the_request_without_key_or_image_data_and_sends_nothing(
    run: Any, out: Path, tmp_path: Path, sandbox_url: str
) -> None:
    ref = image_file(tmp_path / "private-name.png", (640, 480))
    arguments = ("generate", "a fox", "--out", out, "--dry-run", "--image-size", "2K", "--aspect-ratio", "1:1")
    planned = run(*arguments, "--model", GEMINI, "--ref", ref, "-n", 2, "--json").json
    assert planned["estimated_cost_usd"] == pytest.approx(2 * 1680 * 30 / 1e6)
    assert len(planned["requests"]) == 2
    request = planned["requests"][0]
    assert request["url"].endswith("/gemini/v1beta/models/gemini-nano-banana-2.1:generateContent")
    assert request["json"]["contents"][0]["parts"][1] == {"text": "a fox"}
    assert "characters of base64" in request["json"]["contents"][0]["parts"][0]["inlineData"]["data"]
    shown = run(*arguments, "--model", OPENAI, "--ref", ref)
    assert shown.code == 0
    assert "POST" in shown.stdout
    assert "image: image-1.png, image/png" in shown.stdout
    assert "at most $" in shown.stderr
    assert httpx.get(f"{sandbox_url}/sandbox/requests").json()["requests"] == []
    assert not out.exists()


def test_dry_run_shows_the_headers_of_a_request_if_it_has_any(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ("generate", "a fox", "--model", OPENAI, "--dry-run")
    assert "headers" not in run(*asked, "--json").json["requests"][0]
    build = OpenAIImagesAdapter.build
    own = {"X-Title": "Foxes"}
    monkeypatch.setattr(OpenAIImagesAdapter, "build", lambda *given: replace(build(*given), headers=own))
    assert run(*asked, "--json").json["requests"][0]["headers"] == own
    head, title, body = run(*asked).stdout.splitlines()[:3]
    assert (head.split()[0], title, body) == ("POST", "X-Title: Foxes", "{")


def test_dry_run_shows_a_form_without_files(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    request = HttpRequest(url="https://x.test/v1/images", form={"prompt": "a fox"})
    assert request.method == "POST"
    monkeypatch.setattr(OpenAIImagesAdapter, "build", lambda *_: request)
    asked = ("generate", "a fox", "--model", OPENAI, "--dry-run")
    shown = {"url": request.url, "form": {"prompt": "a fox"}, "files": []}
    assert run(*asked, "--json").json["requests"] == [shown]
    assert run(*asked).stdout.startswith(f"POST {request.url}\n")


def test_dry_run_needs_no_key(run: Any, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INVOKEAI_EXTERNAL_OPENAI_API_KEY")
    dry = run(
        "generate", "a fox", "--model", "openai/gpt-image-1.5", "--size", "1024x1024", "--quality", "low", "--dry-run"
    )
    assert dry.code == 0
    assert "2026-12-01" in dry.stderr
    assert "$0.0087 for the image" in dry.stderr


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ((), "With --size 1024x1024 --quality medium: up to $0.0137."),
        (("--quality", "low"), "With --size 1024x1024: up to $0.0064."),
        (("--size", "1024x1024"), "With --quality medium: up to $0.0137."),
        (("--size", "1024x1024", "--quality", "low"), "With --size 944x1120: up to $0.0053."),
        (("--size", "1536x512", "--quality", "low"), None),
    ],
)
def test_the_estimate_names_what_makes_it_small(given: tuple[str, ...], hint: str | None, run: Any) -> None:
    shown = run("generate", "a fox", "--model", "openai/gpt-image-2.5-flare", *given, "--dry-run").stderr
    assert hint is None or hint in shown
    assert ("With --" in shown) == (hint is not None)


def test_what_is_left_to_the_model_is_expected_at_its_usual_choice(run: Any) -> None:
    asked = ("generate", "a fox", "--model", "openai/gpt-image-2.5-flare", "-n", 2, "--dry-run")
    assert "Estimated cost: about $0.0264 for 2 images, at most $1.42" in run(*asked).stderr
    estimate = run(*asked, "--json").json["estimate"]
    # 439 tokens of the image at 30 USD per million and 2 of the prompt at 5, twice.
    assert estimate["expected_usd"] == pytest.approx(2 * (439 * 30 + 2 * 5) / 1e6)
    assert (estimate["usd"], estimate["basis"]) == (None, "bounded")
    named = run(*asked, "--size", "1024x1024", "--quality", "medium", "--json").json["estimate"]
    assert named["usd"] == named["expected_usd"] == estimate["expected_usd"]


def test_the_estimate_says_that_searches_are_not_counted(run: Any) -> None:
    shown = run("generate", "a fox", "--model", GEMINI, "--web-search", "web", "--dry-run").stderr
    assert "an unknown amount in total" in shown
    assert "may search the web as often as it likes" in shown


def test_the_price_of_an_image_is_the_whole_estimate(run: Any, tmp_path: Path) -> None:
    """It is the same for each size and quality, so no cheaper one is named."""
    acme = "name: Acme, sizing: {kind: fixed, sizes: [1024x1024, 1536x1024]}, prices: {per_image: 0.02}"
    (tmp_path / "invokeai_external.yaml").write_text(f"models: {{openai/acme-1: {{{acme}}}}}", encoding="utf-8")
    asked = ("generate", "a fox", "--model", "openai/acme-1", "-n", 2, "--root", tmp_path, "--dry-run")
    assert "Estimated cost: $0.0400 for 2 images, at most $0.0400 in total. Nothing was sent." in run(*asked).stderr
    estimate = run(*asked, "--json").json["estimate"]
    assert (estimate["usd"], estimate["basis"]) == (0.04, "exact")
    assert [part["name"] for part in estimate["parts"]] == ["images"]
    shown = run("models", "show", "openai/acme-1", "--root", tmp_path).stdout
    assert "USD per image: 0.02" in shown
    assert "exact, as images are billed" in shown


def test_the_estimate_of_an_edit_names_no_other_size(run: Any, tmp_path: Path) -> None:
    base = image_file(tmp_path / "base.png")
    shown = run("generate", "a fox", "--model", "openai/gpt-image-2.5-flare", "--init", base, "--dry-run").stderr
    assert "With --quality medium: up to" in shown
    assert "--size" not in shown


def test_dry_run_says_what_a_limit_would_refuse(run: Any, root: Path) -> None:
    asked = ("generate", "a fox", "--model", OPENAI, "--size", "1024x1024", "--dry-run")
    assert run(*asked, "--json").json["refusal"] is None
    (root / USER_FILE).write_text("budgets: {total: {day_usd: 0.0001}}")
    found = run(*asked, "--json")
    assert (found.code, found.json["refusal"]["code"], found.json["refusal"]["limit"]) == (
        0,
        "budget_exceeded",
        "total.day",
    )
    shown = run(*asked)
    assert shown.code == 0
    assert "refused" in shown.stderr
    assert "$0.0001" in shown.stderr
    assert not (root / SPENDING_FILE).exists()
    (root / USER_FILE).unlink()
    assert run(*asked, "--json", "--max-cost", "0.0001").json["refusal"]["limit"] == "max_cost"
    assert run(*asked, "--json", "--sandbox").json["refusal"] is None
