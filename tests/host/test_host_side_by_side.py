"""The page that compares the built-in and the plugin: what it says about the plugin is true."""

from __future__ import annotations

import pytest

from .conftest import NewInvoke
from .invoke import Invoke
from .sandbox import Sandbox
from .side_by_side import ROWS, cell, documented, make_ready


@pytest.fixture(scope="module")
def plugin(new_invoke: NewInvoke, host_sandbox: Sandbox) -> Invoke:
    """An Invoke with our plugin, set up like in the session."""
    invoke = new_invoke()
    make_ready(invoke, host_sandbox)
    return invoke


def test_the_table_has_the_rows_of_the_session() -> None:
    assert list(documented()) == list(ROWS)


@pytest.mark.parametrize("title", ROWS)
def test_the_plugin_does_what_the_table_says(plugin: Invoke, sandbox: Sandbox, title: str) -> None:
    assert cell(ROWS[title](plugin, sandbox)) == documented()[title], "run: python -m tests.host.side_by_side"
