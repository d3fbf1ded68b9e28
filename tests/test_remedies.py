"""What Invoke says to do about an error: every action, in its own terms."""

from __future__ import annotations

import re
from typing import get_args

import pytest

from invokeai_external.errors import ExternalError, RejectedRequestError, Remedy, RemedyAction
from invokeai_external.invoke.remedies import in_invoke, text_in_invoke

IN_INVOKE = {
    "advice": "Run it.",
    "set_key": "Set the key on Invoke's External Providers page.",
    "pair_key": (
        "Set the key and the base URL together on Invoke's External Providers page, or set both in Invoke's "
        "environment."
    ),
    "fix_base_url": (
        "On Invoke's External Providers page, enter a base URL such as https://api.openai.com/v1, or leave it empty."
    ),
    "list_models": "Choose another model.",
    "check_model": "Choose another model, or check the base URL on Invoke's External Providers page.",
    "change_setting": "Run it. Restart Invoke after you change it.",
}


@pytest.mark.parametrize("action", get_args(RemedyAction))
def test_every_action_has_words_in_invoke(action: RemedyAction) -> None:
    remedy = Remedy("Run it.", action=action, provider="openai", url="https://api.openai.com/v1", setting="max_wait_s")
    assert text_in_invoke(remedy) == IN_INVOKE[action]


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
def test_a_key_that_invoke_has_from_its_environment_is_changed_there(source: str | None, is_variable: bool) -> None:
    text = text_in_invoke(Remedy("Set the key.", action="set_key", provider="openai", source=source))
    assert ("External Providers" in text) is not is_variable
    assert (f"{source} " in text and "restart" in text) is is_variable


def test_only_the_remedy_of_an_error_changes() -> None:
    error = RejectedRequestError("No.", remedy=Remedy("List them.", action="list_models"), status=404, request_id="r")
    found = in_invoke(error)
    assert type(found) is RejectedRequestError
    assert (found.message, found.status, found.request_id) == ("No.", 404, "r")
    assert found.remedy == Remedy(IN_INVOKE["list_models"])
    # A second time changes nothing, as for the errors of a result from the cache.
    assert in_invoke(found).remedy == found.remedy
    assert in_invoke(ExternalError("Only this.")).remedy is None
