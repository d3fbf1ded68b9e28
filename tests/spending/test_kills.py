"""A program that is killed at any step leaves no call whose cost is forgotten, and no sum that is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_a_kill_at_each_step_of_a_call() -> None:
    """In a new process, since a program with threads should not fork."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.spending.kills", "60"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "'unconfirmed'" in done.stdout
    assert "'charged'" in done.stdout
