"""The output of ``--help``."""

from __future__ import annotations

import contextlib
import io
import os
from unittest import mock

import typer

from invokeai_external.cli.app import app

from .markdown import fenced

__all__ = ["help_text"]

_TERMINAL_COLUMNS = 80


def help_text(*command: str) -> str:
    """What ``--help`` prints on a terminal of 80 columns."""
    printed = io.StringIO()
    with mock.patch.dict(os.environ, COLUMNS=str(_TERMINAL_COLUMNS)), contextlib.redirect_stdout(printed):
        typer.main.get_command(app).main([*command, "--help"], prog_name="invokeai-external", standalone_mode=False)
    return fenced("text", [line.rstrip() for line in printed.getvalue().strip().splitlines()])
