"""The pack is loaded into a Python without Invoke, as into an Invoke that lacks something."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from invokeai_external.invoke import active_plugin
from invokeai_external.invoke.entry_point import activate
from invokeai_external.invoke.runtime import Runtime

from .support.fake_invoke import FakeInvoke


def test_an_invoke_that_lacks_something_gets_one_line_in_its_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "InvokeAI"):
        activate("invokeai_external")
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert "invokeai" in str(record.args)


def test_the_nodes_get_the_runtime_of_the_active_plugin(tmp_path: Path) -> None:
    runtime = Runtime(FakeInvoke(tmp_path))
    active_plugin.set_runtime(runtime)
    assert active_plugin.runtime() is runtime
    active_plugin.set_runtime(None)
    with pytest.raises(AssertionError):
        active_plugin.runtime()
