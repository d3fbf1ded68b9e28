"""What is known of a key after a check: accepted, not accepted, or neither, and of which key."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from invokeai_external.errors import (
    AuthenticationError,
    ExternalError,
    NetworkError,
    NotConfiguredError,
    UnavailableError,
    UnknownProviderError,
)
from invokeai_external.invoke.key_checks import KeyChecks, status_text
from invokeai_external.result import ConnectionCheck
from invokeai_external.settings.settings import Credentials

NOON = 1_780_000_000.0
ACCEPTED = ConnectionCheck("OpenAI", ("gpt-image-2",), ())


def with_key(key: str) -> Credentials:
    return Credentials(SecretStr(key), "https://api.openai.com/v1", "", "")


class Provider:
    """Answers checks as the test says.

    Attributes:
        keys: The keys that are set.
        answers: What is returned, or raised, by the next checks.
        changes: How often a key began or ceased to be one that is not accepted.
    """

    def __init__(self, *answers: ConnectionCheck | ExternalError) -> None:
        self.keys = {"openai": with_key("sk-one-one-one")}
        self.answers: list[Any] = [*answers]
        self.changes = 0
        self.checks = KeyChecks(self._ask, lambda: self.keys, lambda: NOON, self._changed)

    def _changed(self) -> None:
        self.changes += 1

    def _ask(self, provider: str) -> ConnectionCheck:
        if provider not in self.keys:
            raise UnknownProviderError("There is no such provider.")
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, ConnectionCheck)
        return answer


def test_a_check_counts_for_the_key_that_was_checked() -> None:
    provider = Provider(ACCEPTED, AuthenticationError("OpenAI refused the key.", status=401))
    checks = provider.checks
    assert checks.last("openai") is None
    assert checks.run("openai").accepted
    found = checks.last("openai")
    assert found
    assert (found.accepted, found.at) == (True, NOON)
    provider.keys["openai"] = replace(provider.keys["openai"], api_key=SecretStr("two"))
    assert checks.last("openai") is None
    assert checks.run("openai").accepted is False
    with pytest.raises(UnknownProviderError):
        checks.run("nobody")


@pytest.mark.parametrize(
    ("error", "key", "accepted"),
    [
        (AuthenticationError("refused", status=401), "sk-one-one-one", False),
        (AuthenticationError("API key not valid", status=400), "sk-one-one-one", False),
        # It may still make images.
        (AuthenticationError("not allowed to list models", status=403), "sk-one-one-one", None),
        (NetworkError("not reachable"), "sk-one-one-one", None),
        (UnavailableError("overloaded", status=503), "sk-one-one-one", None),
        (NotConfiguredError("has no list of models"), "sk-one-one-one", None),
        (NotConfiguredError("is a placeholder"), "your-openai-key", False),
    ],
)
def test_only_a_key_that_cannot_work_is_not_accepted(error: ExternalError, key: str, accepted: bool | None) -> None:
    provider = Provider(error)
    provider.keys["openai"] = with_key(key)
    assert provider.checks.run("openai").accepted is accepted
    assert provider.checks.is_refused("openai") is (accepted is False)
    assert provider.changes == (accepted is False)


def test_a_change_is_said_once_and_a_new_key_is_not_refused() -> None:
    refusal = AuthenticationError("OpenAI refused the key.", status=401)
    provider = Provider(refusal, refusal, ACCEPTED)
    for _ in range(2):
        provider.checks.run("openai")
    assert provider.changes == 1
    provider.keys["openai"] = with_key("sk-two-two-two")
    assert not provider.checks.is_refused("openai")
    provider.checks.run("openai")
    assert provider.changes == 1


def test_the_result_is_in_the_log_unless_the_key_was_changed_meanwhile(caplog: pytest.LogCaptureFixture) -> None:
    provider = Provider(ACCEPTED, AuthenticationError("OpenAI refused the key.", status=401), ACCEPTED)
    with caplog.at_level(logging.INFO, "InvokeAI"):
        provider.checks.run("openai")
        provider.checks.run("openai")
        assert [record.levelname for record in caplog.records] == ["INFO", "WARNING"]
        caplog.clear()
        answer = provider.answers.pop()

        def change_key_and_answer(_: str) -> ConnectionCheck:
            provider.keys["openai"] = with_key("sk-two-two-two")
            assert isinstance(answer, ConnectionCheck)
            return answer

        checks = KeyChecks(change_key_and_answer, lambda: provider.keys, lambda: NOON)
        checks.run("openai")
    assert caplog.records == []
    assert checks.last("openai") is None


def test_a_late_answer_about_the_old_key_does_not_replace_that_about_the_new_one() -> None:
    provider = Provider(AuthenticationError("OpenAI refused the key.", status=401))

    def set_and_check_another_key(_: str) -> ConnectionCheck:
        if provider.answers:
            provider.keys["openai"] = with_key("sk-two-two-two")
            refusal = provider.answers.pop()
            checks.run("openai")
            raise refusal
        return ACCEPTED

    checks = KeyChecks(set_and_check_another_key, lambda: provider.keys, lambda: NOON)
    checks.run("openai")
    found = checks.last("openai")
    assert found
    assert found.accepted


def test_what_everybody_may_read_has_nothing_that_the_provider_said() -> None:
    refusal = AuthenticationError("The organisation org-secret has no such key.", status=401)
    unclear = NetworkError("proxy.internal is not reachable")
    provider = Provider(ACCEPTED, refusal, unclear)
    texts = {status_text("OpenAI", provider.checks.run("openai")) for _ in range(3)}
    assert len(texts) == 3
    assert not any("secret" in text or "proxy" in text for text in texts)
