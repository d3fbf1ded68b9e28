"""The texts of Invoke's log."""

from __future__ import annotations

import pytest

from invokeai_external.invoke.log import BatchLog, calls_were, log, naming


@pytest.mark.parametrize(
    ("count", "model", "text"),
    [
        (1, None, "1 call was"),
        (6, None, "6 calls were"),
        (1, "openai/gpt-image-2", "1 call to openai/gpt-image-2 was"),
        (6, "openai/gpt-image-2", "6 calls to openai/gpt-image-2 were"),
    ],
)
def test_calls_are_counted(count: int, model: str | None, text: str) -> None:
    assert calls_were(count, model) == text


def test_a_model_is_named_once() -> None:
    assert naming("GPT Image 2", "GPT Image 2 has no option seed.") == "GPT Image 2 has no option seed."
    assert naming("GPT Image 2", "The mask marks 5%.") == "GPT Image 2: The mask marks 5%."
    ending = "GPT Image 1.5 (ends 2026-12-01)"
    assert naming(ending, "GPT Image 1.5 has no option seed.") == "GPT Image 1.5 has no option seed."
    assert naming(ending, "No seed.") == f"{ending}: No seed."


def test_what_is_the_same_for_each_item_of_a_batch_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    batches = BatchLog()
    with caplog.at_level("INFO", logger=log.name):
        for batch in ("one", "one", "two", "one"):
            batches.info(batch, "No seed, 100% sure.")
        batches.info("one", "Another size.")
        for number in range(100):
            batches.info(f"{number}", "Another size.")
        batches.info("one", "No seed, 100% sure.")
    assert caplog.messages[:3] == ["No seed, 100% sure.", "No seed, 100% sure.", "Another size."]
    # What was long ago is forgotten.
    assert caplog.messages[-1] == "No seed, 100% sure."
