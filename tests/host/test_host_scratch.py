"""``make invoke``: models without a key, an image without cost, and an end by Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from . import scratch
from .graphs import panel_graph
from .invoke import ENDING_WITH_US, PROVIDERS, Json, output_names, wait_for
from .packing import REPOSITORY
from .test_host_models import offered, references

_START_S = 180.0
_STOP_S = 30.0


class Scratch:
    """The program with its own root and its output in a file."""

    def __init__(self, python: Path, folder: Path) -> None:
        self.root = folder / "scratch"
        self._said = folder / "said.txt"
        environ = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
        with self._said.open("wb") as out:
            self.process = subprocess.Popen(
                [*ENDING_WITH_US, sys.executable, "-m", "tests.host.scratch", self.root],
                cwd=REPOSITORY,
                # Nothing listens there: a request through the proxy would not reach Invoke.
                env={**environ, "INVOKEAI_EXTERNAL_HOST_PYTHON": str(python), "http_proxy": "http://127.0.0.1:9"},
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def said(self) -> str:
        return self._said.read_text(encoding="utf-8")

    def address(self) -> str | None:
        """Where it says that Invoke is; None before that. Fails if the program has ended."""
        assert self.process.poll() is None, self.said()
        found = re.search(r"Open (http://\S+)", self.said())
        return found[1] if found else None

    def alive(self) -> list[str]:
        """The processes that were started with this root."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                command = path.read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if str(self.root).encode() in command:
                found.append(command.replace(b"\0", b" ").decode())
        return found

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(_STOP_S)


@pytest.fixture
def started(host_python: Path, tmp_path: Path) -> Iterator[Scratch]:
    made = Scratch(host_python, tmp_path)
    yield made
    made.close()


def test_it_makes_an_image_on_the_sandbox_and_leaves_no_process(started: Scratch) -> None:
    address = wait_for(started.address, _START_S)
    with httpx.Client(base_url=f"{address}/api", timeout=60) as http:
        models: list[Json] = http.get("/v2/models/", params={"base_models": "external"}).json()["models"]
        assert references(models) == sorted(offered(*PROVIDERS))
        assert f"{len(models)} models" in started.said()
        graph = panel_graph(next(model for model in models if model["provider_model_id"] == "gpt-image-2.5-flare"))
        queued = http.post("/v1/queue/default/enqueue_batch", json={"batch": {"graph": graph}}).json()

        def ended() -> Json | None:
            item: Json = http.get(f"/v1/queue/default/i/{queued['item_ids'][0]}").json()
            return item if item["status"] not in ("pending", "in_progress") else None

        item = wait_for(ended, 60)
        assert item["status"] == "completed", item["error_message"]
        [name] = output_names(item)
        metadata = http.get(f"/v1/images/i/{name}/metadata").json()
        assert "sandbox" in [notice["code"] for notice in metadata["external"]["notices"]]
    # The program and its Invoke.
    assert len(started.alive()) == 2
    started.process.send_signal(signal.SIGINT)
    assert started.process.wait(_STOP_S) == 0, started.said()
    assert started.said().endswith("== Ended.\n")
    assert started.alive() == []


def test_a_second_ctrl_c_does_not_leave_it_running(monkeypatch: pytest.MonkeyPatch) -> None:
    deaf = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        wait = process.wait

        def interrupted(timeout: float | None = None) -> int:
            if timeout is None:
                return wait()
            raise KeyboardInterrupt

        monkeypatch.setattr(process, "wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            scratch._stop(process)
        assert process.poll() == -signal.SIGKILL
