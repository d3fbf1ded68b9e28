"""Which prompt weights are removed, and what stays."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invokeai_external.planning.prompt_weights import without_weights
from invokeai_external.request import GenerationRequest
from invokeai_external.result import GenerationResult
from invokeai_external.service.service import Service
from invokeai_external.settings.settings import Limits, Settings


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("on textured paper. sketch+++", "on textured paper. sketch"),
        ("a fox anime++, cel", "a fox anime, cel"),
        ("otherworldly. painting+, oil", "otherworldly. painting, oil"),
        ("a fox. (digital painterly art style)++, mythological", "a fox. digital painterly art style, mythological"),
        ("(a red fox)1.2 in (snow)- and (ice)0.8", "a red fox in snow and ice"),
        ("((a fox)1.2 in snow)++", "a fox in snow"),
        ("dull colour-, bright", "dull colour, bright"),
        ("(gemalt, weiß)--", "gemalt, weiß"),
        ('"sketch++"', '"sketch"'),
    ],
)
def test_weights_are_removed_and_the_text_stays(written: str, sent: str) -> None:
    assert without_weights(written) == sent


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "(b)12.5x and (fox)--known",
        "a fox (red) in snow",
        "the letters C++ on a shirt",
        "grade A+, 18+, 5+5",
        "pre- and post-war houses, well-known",
        "one + one",
        "f(x)2x",
        "(semi)-transparent glass",
        r"a smile \(happy\)",
        "https://example.org/a++b",
    ],
)
def test_other_signs_stay(prompt: str) -> None:
    assert without_weights(prompt) == prompt


@given(st.text(alphabet="ab(c)+-1.2 ,", max_size=60))
def test_any_prompt_keeps_its_letters(prompt: str) -> None:
    found = without_weights(prompt)
    assert [sign for sign in found if sign.isalpha()] == [sign for sign in prompt if sign.isalpha()]


def test_a_prompt_of_brackets_is_read_at_once() -> None:
    prompt = "(" * 60_000 + "fox" + ")1" * 60_000
    assert "fox" in without_weights(prompt)


async def generated(root: Path, prompt: str, *, strip: bool) -> GenerationResult:
    async with Service(
        Settings(root=root, credentials={}, limits=Limits(strip_prompt_weights=strip)), sandbox=True
    ) as service:
        return await service.generate(GenerationRequest(model="openai/gpt-image-2", prompt=prompt))


@pytest.mark.anyio
@pytest.mark.parametrize("strip", [False, True])
async def test_a_setting_removes_them_and_the_metadata_has_what_was_written_and_what_was_sent(
    tmp_path: Path, strip: bool
) -> None:
    result = await generated(tmp_path, "a fox, sketch+++", strip=strip)
    metadata = result.images[0].metadata
    external = metadata["external"]
    assert isinstance(external, dict)
    # Recall restores what was written.
    assert metadata["positive_prompt"] == "a fox, sketch+++"
    assert external.get("prompt_sent") == ("a fox, sketch" if strip else None)
    code = "prompt_weights" if strip else "prompt_weights_sent"
    assert [notice.code for notice in result.notices if "weights" in notice.code] == [code]
    assert [notice["code"] for notice in external["notices"] if "weights" in notice["code"]] == [code]
