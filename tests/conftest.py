"""What all tests share: the guard against real requests, the canary keys, and a sandbox served over HTTP."""

from __future__ import annotations

import http.client
import os
import subprocess
import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import hypothesis
import pytest

from invokeai_external.providers import catalog
from invokeai_external.root_folder import API_KEYS_FILE, KEYS_FILE

from .support.clock import TODAY
from .support.guard import CANARY
from .support.servers import SandboxServer

_MAIN = threading.main_thread()

# No test fails because the machine is busy, and each run has the same cases; HYPOTHESIS_NEW_CASES=1 looks for others.
hypothesis.settings.register_profile(
    "project",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    derandomize=not os.environ.get("HYPOTHESIS_NEW_CASES"),
)
hypothesis.settings.load_profile("project")

_USUAL_KEYS = {name for provider in catalog.providers() for name in provider.key_env}


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No key, proxy or folder of the person who runs the tests; canary keys for both providers."""
    for name in list(os.environ):
        is_ours = name.startswith(("INVOKEAI_", "OPENAI_", "GEMINI_", "GOOGLE_", "SSL_CERT_")) or name in _USUAL_KEYS
        if is_ours or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for provider in ("OPENAI", "GEMINI"):
        monkeypatch.setenv(f"INVOKEAI_EXTERNAL_{provider}_API_KEY", CANARY)
    monkeypatch.setenv("INVOKEAI_ROOT", str(tmp_path / "root"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture(autouse=True)
def _on_the_day_of_the_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The day of the catalogue's facts, whenever the tests run: a day after it models of the catalogue may be retired.

    Programs that a test starts have the real day; a test of another day gives it to what it looks at.
    """
    monkeypatch.setattr("invokeai_external.clock.utc_today", lambda: TODAY)


@pytest.fixture(autouse=True)
def _fast(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """In ``make test-fast``, fail a test that starts a process or sleeps."""
    if request.config.getoption("markexpr") != "not slow":
        return

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("This test starts a process or sleeps: mark it with @pytest.mark.slow")

    sleep = time.sleep
    monkeypatch.setattr(subprocess.Popen, "__init__", refuse)
    # Threads may poll.
    monkeypatch.setattr(
        time, "sleep", lambda seconds: (sleep if threading.current_thread() is not _MAIN else refuse)(seconds)
    )


@pytest.fixture
def canary() -> str:
    """The key that no output, log, error or file may hold."""
    return CANARY


@pytest.fixture(scope="session")
def _sandbox_server() -> Iterator[SandboxServer]:
    with SandboxServer() as server:
        yield server


@pytest.fixture
def sandbox_url(_sandbox_server: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """The sandbox's URL, without faults or calls of other tests; the settings' base URLs point to it."""
    url = _sandbox_server.url
    for path in ("/sandbox/faults", "/sandbox/requests"):
        connection = http.client.HTTPConnection(url.removeprefix("http://"))
        connection.request("DELETE", path)
        assert connection.getresponse().status == 204
        connection.close()
    monkeypatch.setenv("INVOKEAI_EXTERNAL_OPENAI_BASE_URL", f"{url}/openai/v1")
    monkeypatch.setenv("INVOKEAI_EXTERNAL_GEMINI_BASE_URL", f"{url}/gemini/v1beta")
    return url


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test if the canary is in what it printed, logged or raised, or in the files that it left."""
    report = yield
    leaks = []
    text = "\n".join([report.longreprtext, *(content for _, content in report.sections)])
    if CANARY in text:
        leaks.append("KEY LEAKED: shown or logged")
    if call.when == "teardown" and (folder := getattr(item, "funcargs", {}).get("tmp_path")):
        leaks.extend(f"KEY LEAKED: in {path}" for path in _files_with_canary(folder))
    if leaks:
        report.outcome = "failed"
        report.longrepr = "\n".join(filter(None, [report.longreprtext, *leaks]))
    return report


def _files_with_canary(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.is_file() and path.name not in (API_KEYS_FILE, KEYS_FILE) and CANARY.encode() in path.read_bytes():
            yield path
