"""Limits hold while several programs spend at once; the long form is ``python -m tests.spending.contention 10000``."""

from __future__ import annotations

from pathlib import Path

import pytest

from .contention import run


@pytest.mark.slow
@pytest.mark.parametrize("overruns", [False, True], ids=["as estimated", "dearer"])
def test_no_limit_is_exceeded_and_no_call_is_refused_without_need(tmp_path: Path, overruns: bool) -> None:
    found = run(tmp_path, 640, "1", overruns=overruns)
    assert found.accepted > 100
    assert found.refused > 100
    assert (found.excess > 0) == overruns
