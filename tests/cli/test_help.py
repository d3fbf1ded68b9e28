"""``--help``, ``--version``, completion, and how little they load."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Any

import pytest

from invokeai_external.providers.built_in import built_in_ids


@pytest.mark.slow
def test_help_loads_nothing_that_takes_time() -> None:
    code = (
        "import sys; from invokeai_external.cli.entry_point import main; assert main(['generate', '--help']) == 0;"
        "print([name for name in ('pydantic', 'httpx', 'PIL', 'fastapi', 'rich', 'yaml') if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "--thinking-level" in shown
    assert shown.splitlines()[-1] == "[]"


@pytest.mark.slow
def test_completion_loads_nothing_that_takes_time() -> None:
    code = (
        "import atexit, sys; from invokeai_external.cli.entry_point import main;"
        "names = ('pydantic', 'httpx', 'PIL', 'fastapi', 'rich', 'yaml');"
        "atexit.register(lambda: print([name for name in names if name in sys.modules]));"
        "sys.argv[0] = 'invokeai-external'; main([])"
    )
    asked = {"_INVOKEAI_EXTERNAL_COMPLETE": "complete_bash", "COMP_WORDS": "invokeai-external ge", "COMP_CWORD": "1"}
    command = [sys.executable, "-c", code]
    shown = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **asked}, check=True).stdout
    assert shown.splitlines() == ["generate", "[]"]


def test_no_command_shows_the_help(run: Any) -> None:
    assert "Commands:" in run().stdout
    assert "remove" in run("keys").stdout
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", run("--version").stdout)


@pytest.mark.parametrize("command", [("keys", "set"), ("keys", "test"), ("keys", "remove"), ("models", "check")])
def test_the_help_names_the_providers(command: tuple[str, str], run: Any) -> None:
    assert "|".join(built_in_ids()) in run(*command, "--help").stdout
