"""What Invoke says to do about an error: every action, in its own terms."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import get_args

import pytest

import invokeai_external
from invokeai_external.errors import (
    BudgetExceededError,
    ContentBlockedError,
    ExternalError,
    InvalidRequestError,
    QuotaError,
    RejectedRequestError,
    Remedy,
    RemedyAction,
)
from invokeai_external.invoke.remedies import errors_in_invoke, in_invoke, limit_name, shown_text, text_in_invoke
from invokeai_external.progress import Waiting
from invokeai_external.service.progress_text import ProgressLine

IN_INVOKE = {
    "advice": "Run it.",
    "set_key": "Set the key on Invoke's External Providers page.",
    "replace_key": "Replace the key on Invoke's External Providers page.",
    "pair_key": (
        "Set the key and the base URL together on Invoke's External Providers page, or set both in Invoke's "
        "environment."
    ),
    "fix_base_url": (
        "Enter a base URL such as https://api.openai.com/v1 on Invoke's External Providers page, or leave it empty."
    ),
    "list_models": "Choose another model.",
    "check_model": "Choose another model, or check the base URL on Invoke's External Providers page.",
    "change_setting": "Run it.",
    "raise_limit": "Raise max_wait_s in invokeai_external.yaml in Invoke's root folder.",
    "set_field": "Use the node's own field for it.",
}


@pytest.mark.parametrize("action", get_args(RemedyAction))
def test_every_action_has_words_in_invoke(action: RemedyAction) -> None:
    remedy = Remedy("Run it.", action=action, provider="openai", url="https://api.openai.com/v1", setting="max_wait_s")
    assert text_in_invoke(remedy) == IN_INVOKE[action]


OF_ANOTHER_PROVIDER = {
    "set_key": "Set external_acme_api_key in invokeai_external_keys.yaml in Invoke's root folder.",
    "replace_key": "Replace external_acme_api_key in invokeai_external_keys.yaml in Invoke's root folder.",
    "pair_key": (
        "Set the key and the base URL together in invokeai_external_keys.yaml in Invoke's root folder, or set both in "
        "Invoke's environment."
    ),
    "fix_base_url": (
        "Set the base_url of acme in invokeai_external.yaml in Invoke's root folder, such as https://a.example."
    ),
    "check_model": (
        "Choose another model, or check the base URL of acme in invokeai_external.yaml in Invoke's root folder."
    ),
}


@pytest.mark.parametrize("action", OF_ANOTHER_PROVIDER)
def test_what_to_do_about_a_provider_that_invoke_does_not_know(action: RemedyAction) -> None:
    """Invoke's page has no settings for it."""
    remedy = Remedy("Run it.", action=action, provider="acme", url="https://a.example")
    assert text_in_invoke(remedy) == OF_ANOTHER_PROVIDER[action]


@pytest.mark.parametrize("action", sorted({*get_args(RemedyAction)} - {"advice", "change_setting"}))
def test_invoke_says_nothing_of_the_command_line(action: RemedyAction) -> None:
    remedy = Remedy("Run: invokeai-external keys set openai --root x", action=action, url="https://a.example")
    assert not re.search("invokeai-external|--", text_in_invoke(remedy))


@pytest.mark.parametrize(
    ("source", "is_variable"),
    [
        (None, False),
        ("Invoke", False),
        ("/root/api_keys.yaml", False),
        ("INVOKEAI_EXTERNAL_OPENAI_API_KEY", True),
    ],
)
@pytest.mark.parametrize("action", ["set_key", "replace_key", "fix_base_url"])
def test_what_invoke_has_from_its_environment_is_changed_there(
    action: RemedyAction, source: str | None, is_variable: bool
) -> None:
    text = text_in_invoke(Remedy("Fix it.", action=action, provider="openai", url="https://a.example", source=source))
    assert ("External Providers" in text) is not is_variable
    assert (f"{source} " in text and "restart" in text) is is_variable


LIMITS_ON_THE_PAGE = {
    "total.day": '"Everybody together, a day" on Invoke\'s page /external',
    "users.default.month": '"Each user, if not set below, a month" on Invoke\'s page /external',
    "users.anna@example.com.day": '"anna@example.com, a day" on Invoke\'s page /external',
    "max_per_image": '"One image, at most" on Invoke\'s page /external',
    "models.openai/gpt-image-2.5-flare.day": (
        "models.openai/gpt-image-2.5-flare.day in invokeai_external.yaml in Invoke's root folder"
    ),
}


@pytest.mark.parametrize("setting", LIMITS_ON_THE_PAGE)
@pytest.mark.parametrize("is_admin", [True, False])
def test_a_limit_is_named_as_on_the_page_and_the_cheaper_choice_is_first(setting: str, is_admin: bool) -> None:
    remedy = Remedy("Raise it.", action="raise_limit", setting=setting)
    raise_it = "raise " if is_admin else "ask an administrator to raise "
    of_request = BudgetExceededError("No.", remedy=remedy, limit=setting, cheaper="--quality low")
    shown = in_invoke(of_request, is_admin=is_admin)
    assert shown.hint == f"Quality low would fit. Or {raise_it}{LIMITS_ON_THE_PAGE[setting]}."
    assert len(f"BudgetExceededError: {shown_text(shown)}") <= 200
    without = in_invoke(BudgetExceededError("No.", remedy=remedy, limit=setting), is_admin=is_admin)
    assert (without.hint or "").startswith(raise_it.capitalize())
    two = in_invoke(BudgetExceededError("No.", remedy=remedy, cheaper="--size 1024x1024 -n 2"), is_admin=is_admin)
    assert (two.hint or "").startswith("Size 1024x1024, num images 2 would fit. Or ")


@pytest.mark.parametrize(("could_cost_usd", "is_enough"), [(0.5, True), (3.0, False)])
def test_runs_to_settle_come_first_if_that_is_enough(could_cost_usd: float, is_enough: bool) -> None:
    error = BudgetExceededError(
        "No.",
        remedy=Remedy("Raise it.", action="raise_limit", setting="total.day"),
        limit_usd=2.75,
        used_usd=2.83,
        unconfirmed_usd=2.12,
        could_cost_usd=could_cost_usd,
    )
    shown = in_invoke(error)
    assert (shown.hint or "").startswith("Settle the runs that may have been charged") is is_enough
    assert LIMITS_ON_THE_PAGE["total.day"] in (shown.hint or "")
    assert len(f"BudgetExceededError: {shown_text(shown)}") <= 200


@pytest.mark.parametrize("action", get_args(RemedyAction))
def test_a_plain_user_is_not_sent_to_a_page_of_administrators(action: RemedyAction) -> None:
    remedy = Remedy("Run it.", action=action, provider="openai", url="https://a.example", setting="total.day")
    hint = in_invoke(ExternalError("No.", remedy=remedy), is_admin=False).hint or ""
    assert hint.startswith("Ask an administrator to ") or "page" not in hint


def test_only_the_remedy_of_an_error_changes() -> None:
    error = RejectedRequestError("No.", remedy=Remedy("List them.", action="list_models"), status=404, request_id="r")
    found = in_invoke(error)
    assert type(found) is RejectedRequestError
    assert (found.message, found.status, found.request_id) == ("No.", 404, "r")
    assert found.remedy == Remedy(IN_INVOKE["list_models"])
    # A second time changes nothing, as for the errors of a result from the cache.
    assert in_invoke(found).remedy == found.remedy
    assert in_invoke(ExternalError("Only this.")).remedy is None


def test_errors_of_a_block_have_remedies_of_invoke() -> None:
    with pytest.raises(RejectedRequestError) as caught, errors_in_invoke():
        raise RejectedRequestError("No.", remedy=Remedy("List them.", action="list_models"))
    assert caught.value.hint == IN_INVOKE["list_models"]


def _texts(node: ast.expr) -> str:
    return " ".join(str(part.value) for part in ast.walk(node) if isinstance(part, ast.Constant))


def test_outside_of_the_command_line_a_remedy_with_a_command_has_an_action() -> None:
    """Advice is shown by every host as it is."""
    package = Path(invokeai_external.__file__).parent
    found = []
    for path in package.rglob("*.py"):
        # Invoke's nodes have their own remedy for a mask that is coloured: tests/test_node_inputs.py.
        if path.relative_to(package).parts[0] == "cli" or path.name == "painted_masks.py":
            continue
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(call, ast.Call):
                continue
            keywords = {keyword.arg: keyword.value for keyword in call.keywords}
            is_advice = isinstance(call.func, ast.Name) and call.func.id == "Remedy" and "action" not in keywords
            texts = [*(call.args if is_advice else []), *([keywords["remedy"]] if "remedy" in keywords else [])]
            plain = [text for text in texts if isinstance(text, ast.Constant | ast.JoinedStr | ast.BinOp)]
            found += [
                f"{path.name}: {_texts(text)}" for text in plain if re.search("invokeai-external |--", _texts(text))
            ]
    assert found == []


LONG = (
    "OpenAI refused the request for lack of credit (insufficient_quota): You exceeded your current quota, please check "
    "your plan and billing details. For more information on this error, read the docs: "
    "https://platform.openai.com/docs/guides/error-codes/api-errors."
)


def test_the_text_of_a_provider_s_error_begins_with_what_to_do_and_fits_in_a_toast() -> None:
    url = "https://platform.openai.com/settings/organization/billing"
    text = shown_text(QuotaError(LONG, remedy=Remedy(f"Add credit at {url}", url=url)))
    assert text.startswith(f"Add credit at {url} · OpenAI refused the request for lack of credit (insufficient_quota)")
    assert text.endswith("…")
    assert len(f"QuotaError: {text}") <= 200
    short = shown_text(QuotaError("OpenAI refused it: No.", remedy="Add credit."))
    assert short == "Add credit. OpenAI refused it: No."
    assert len(f"QuotaError: {shown_text(QuotaError(LONG))}") <= 200


@pytest.mark.parametrize("length", [0, 100, 188, 189, 400])
def test_a_remedy_is_never_cut(length: int) -> None:
    remedy = "x" * length or None
    text = shown_text(QuotaError(LONG, remedy=remedy))
    assert text.startswith(remedy or "OpenAI")


def test_an_error_without_a_provider_s_words_says_first_what_is_wrong() -> None:
    error = InvalidRequestError("The prompt is empty.", remedy="Describe the image that you want.")
    assert shown_text(error) == str(error)


def test_a_remedy_names_an_option_only_where_it_can_be_set() -> None:
    tip = "The option moderation=low is less strict."
    remedy = Remedy(f"Change the prompt. {tip}", option=tip)
    error = ContentBlockedError("No.", remedy=remedy)
    assert in_invoke(error).hint == f"Change the prompt. {tip}"
    in_a_tab = in_invoke(error, has_options=False)
    assert in_a_tab.hint == "Change the prompt."
    assert in_invoke(in_a_tab, has_options=False).hint == "Change the prompt."
    # The first step may not have known it.
    assert in_invoke(in_invoke(error), has_options=False).hint == "Change the prompt."


@pytest.mark.parametrize(
    ("limit", "name"),
    [
        ("total.day", "Everybody together, a day"),
        ("users.default.month", "Each user, if not set below, a month"),
        ("users.anna@example.com.day", "anna@example.com, a day"),
        ("max_per_image", "One image, at most"),
        ("models.openai/gpt-image-2.5-flare.day", "models.openai/gpt-image-2.5-flare.day"),
    ],
)
def test_a_run_waits_for_a_limit_by_its_name_on_the_page(limit: str, name: str) -> None:
    line = ProgressLine(limit_name=limit_name)
    line.on_progress(Waiting(0, 1, limit))
    assert line.text() == f"waiting for room in the limit {name}"
