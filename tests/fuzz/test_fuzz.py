"""A fixed number of fuzzed cases of each kind, and those that once failed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from .targets import TARGETS, Target, targets

pytestmark = pytest.mark.slow

_CASES = {"openai_answer": 150, "openai_stream": 150, "gemini_answer": 150, "gemini_stream": 150}
_CASES |= {"image": 300, "metadata": 150, "settings": 150, "keys": 100}
_EXAMPLES = sorted(path for path in (Path(__file__).parent / "examples").glob("*/*") if path.is_file())


@pytest.fixture(scope="module")
def known() -> Iterator[dict[str, Target]]:
    with targets() as found:
        yield found


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_foreign_ends_in_anything_but_an_image_or_a_sentence(known: dict[str, Target], name: str) -> None:
    for seed in range(_CASES[name]):
        try:
            known[name].check(known[name].make(random.Random(f"{name} {seed}")))
        except Exception as error:
            raise AssertionError(f"to repeat it: python -m tests.fuzz {name} {seed}") from error


@pytest.mark.parametrize("path", _EXAMPLES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_once_failed_holds(known: dict[str, Target], path: Path) -> None:
    known[path.parent.name].check(path.read_bytes())
